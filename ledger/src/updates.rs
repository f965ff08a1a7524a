//! The updates of a block: what its valid transactions so far make of the keys they write.
//!
//! A later transaction of the block sees these updates when its reads are judged. The
//! rules, corner cases included, are Fabric's (`core/ledger/kvledger/txmgmt/validation/
//! tx_ops.go`), because the commit hash covers their outcome.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::commit_hash;
use ripstop_proto::config;
use ripstop_proto::hash::sha256;
use ripstop_proto::kvrwset::{KvMetadataEntry, KvMetadataWrite, KvWriteHash};
use ripstop_proto::read_write_set::ReadWriteSet;

use crate::PrivateWrite;
use crate::committed::Committed;
use crate::contents::Contents;
use crate::state::{self, Space};
use crate::store::StoreError;
use crate::version::Version;

/// The namespace of the channel configuration. It stays out of the commit hash.
const CONFIG_NAMESPACE: &str = "";
/// SHA-256 of nothing: as a value hash it means a delete.
const HASH_OF_NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// The final update of one key so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    /// The new value or value hash; `None` is a delete, also of an absent key.
    pub(crate) value: Option<Bytes>,
    /// The new metadata, marshalled.
    pub(crate) metadata: Option<Bytes>,
    /// The writing transaction.
    pub(crate) version: Version,
}

/// Updates by key.
type Keys = BTreeMap<Bytes, Update>;

/// All updates of a block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Updates {
    namespaces: BTreeMap<String, NamespaceUpdates>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct NamespaceUpdates {
    public: Keys,
    collections: BTreeMap<String, Keys>,
}

impl Updates {
    /// The update of a key, when an earlier transaction of the block made one.
    pub(crate) fn get(&self, space: Space<'_>, key: &[u8]) -> Option<&Update> {
        match space {
            Space::Public(namespace) => self.namespaces.get(namespace)?.public.get(key),
            Space::Hashed(namespace, collection) => {
                self.namespaces.get(namespace)?.collections.get(collection)?.get(key)
            }
            Space::Private(..) => None,
        }
    }

    /// The public updates of a namespace in [start, end), ascending; an empty `end` is the end.
    pub(crate) fn range(&self, namespace: &str, start: &[u8], end: &[u8]) -> impl Iterator<Item = (&Bytes, &Update)> {
        let to = match end.is_empty() {
            true => Bound::Unbounded,
            false => Bound::Excluded(end),
        };
        let is_empty = !end.is_empty() && start >= end;
        let keys = self.namespaces.get(namespace).filter(|_| !is_empty).map(|namespace| &namespace.public);
        keys.into_iter().flat_map(move |keys| keys.range::<[u8], _>((Bound::Included(start), to)))
    }

    /// Adds what a valid transaction writes.
    pub(crate) fn apply(
        &mut self,
        read_write_set: &ReadWriteSet,
        version: Version,
        committed: &Committed<'_>,
    ) -> Result<(), StoreError> {
        for ((namespace, collection, key), change) in changes_of(read_write_set) {
            let space = space_of(namespace, collection);
            if let Some((value, metadata)) = self.resolve(space, key, change, committed)? {
                let update = Update { value, metadata, version };
                self.insert(space, Bytes::copy_from_slice(key), update);
            }
        }
        Ok(())
    }

    /// Adds what a configuration transaction writes.
    pub(crate) fn apply_config(&mut self, config_envelope: Bytes, version: Version) {
        let update = Update { value: Some(config_envelope), metadata: None, version };
        self.insert(Space::Public(CONFIG_NAMESPACE), Bytes::from_static(config::STATE_KEY.as_bytes()), update);
    }

    /// The final value and metadata of a key after one transaction; `None` when it has no
    /// effect on the key.
    #[expect(clippy::type_complexity, reason = "value and metadata, either of which may be absent")]
    fn resolve(
        &self,
        space: Space<'_>,
        key: &[u8],
        change: Change<'_>,
        committed: &Committed<'_>,
    ) -> Result<Option<(Option<Bytes>, Option<Bytes>)>, StoreError> {
        if change.deletes() {
            return Ok(Some((None, None)));
        }
        if change.sets_value_and_metadata() {
            let metadata = change.metadata();
            return Ok(Some((change.value, metadata)));
        }
        let updated = self.get(space, key);
        if change.sets_only_value() {
            let metadata = match updated {
                Some(update) => update.metadata.clone(),
                None => committed.metadata(space, key)?,
            };
            return Ok(change.value.map(|value| (Some(value), metadata)));
        }
        // Metadata only. On an absent key, or one deleted earlier in the block, nothing happens.
        let value = match updated {
            Some(update) => update.value.clone(),
            None => committed.get(space, key)?.map(|entry| entry.value),
        };
        Ok(value.map(|value| (Some(value), change.metadata())))
    }

    fn insert(&mut self, space: Space<'_>, key: Bytes, update: Update) {
        let (namespace, collection) = match space {
            Space::Public(namespace) => (namespace, None),
            Space::Hashed(namespace, collection) | Space::Private(namespace, collection) => {
                (namespace, Some(collection))
            }
        };
        if !self.namespaces.contains_key(namespace) {
            self.namespaces.insert(namespace.to_owned(), NamespaceUpdates::default());
        }
        let Some(updates) = self.namespaces.get_mut(namespace) else { return };
        match collection {
            None => updates.public.insert(key, update),
            Some(collection) => updates.collections.entry(collection.to_owned()).or_default().insert(key, update),
        };
    }

    /// All updates with the space they are in: namespaces ascending, in each the public
    /// keys, then collections ascending, keys ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Space<'_>, &Bytes, &Update)> {
        self.namespaces.iter().flat_map(|(name, updates)| {
            let public = updates.public.iter().map(|(key, update)| (Space::Public(name), key, update));
            let hashed = updates.collections.iter().flat_map(|(collection, keys)| {
                keys.iter().map(|(key, update)| (Space::Hashed(name, collection), key, update))
            });
            public.chain(hashed)
        })
    }

    /// The updates in the form and order of the commit hash.
    pub(crate) fn hashed(&self) -> impl Iterator<Item = commit_hash::Update<'_>> {
        self.iter().filter_map(|(space, key, update)| {
            let (namespace, collection) = match space {
                Space::Public(CONFIG_NAMESPACE) | Space::Hashed(CONFIG_NAMESPACE, _) | Space::Private(..) => {
                    return None;
                }
                Space::Public(namespace) => (namespace, None),
                Space::Hashed(namespace, collection) => (namespace, Some(collection)),
            };
            let Version { block_number, tx_index } = update.version;
            Some(commit_hash::Update {
                namespace,
                collection,
                key,
                value: update.value.as_deref(),
                block_number,
                tx_index,
            })
        })
    }
}

/// What one transaction does to one key, summed up as Fabric does: its flags are added,
/// not or-ed, which decides the outcome when a write set names a key twice.
#[derive(Default)]
struct Change<'a> {
    flags: u8,
    value: Option<Bytes>,
    entries: Option<&'a [KvMetadataEntry]>,
}

const SETS_VALUE: u8 = 1;
const SETS_METADATA: u8 = 2;
const REMOVES_METADATA: u8 = 4;
const DELETES: u8 = 8;

impl<'a> Change<'a> {
    fn add_value(&mut self, value: Option<&Bytes>) {
        match value {
            Some(value) => {
                self.flags = self.flags.wrapping_add(SETS_VALUE);
                self.value = Some(value.clone());
            }
            None => self.flags = self.flags.wrapping_add(DELETES),
        }
    }

    fn add_metadata(&mut self, entries: &'a [KvMetadataEntry]) {
        if entries.is_empty() {
            self.flags = self.flags.wrapping_add(REMOVES_METADATA);
        } else {
            self.flags = self.flags.wrapping_add(SETS_METADATA);
            self.entries = Some(entries);
        }
    }

    fn deletes(&self) -> bool {
        self.flags & DELETES != 0
    }

    fn sets_value_and_metadata(&self) -> bool {
        self.flags & SETS_VALUE != 0 && self.flags & (SETS_METADATA | REMOVES_METADATA) != 0
    }

    fn sets_only_value(&self) -> bool {
        self.flags | SETS_VALUE == SETS_VALUE
    }

    /// Metadata as it is stored: the write's message without its key.
    fn metadata(&self) -> Option<Bytes> {
        let entries = self.entries?.to_vec();
        Some(KvMetadataWrite { key: String::new(), entries }.encode_to_vec().into())
    }
}

/// Namespace, collection (empty for a public key) and key.
type Place<'a> = (&'a str, &'a str, &'a [u8]);

fn changes_of(read_write_set: &ReadWriteSet) -> BTreeMap<Place<'_>, Change<'_>> {
    let mut changes: BTreeMap<Place<'_>, Change<'_>> = BTreeMap::new();
    for set in &read_write_set.namespaces {
        let namespace = set.namespace.as_str();
        for write in &set.public.writes {
            let value = (!write.is_delete && !write.value.is_empty()).then_some(&write.value);
            changes.entry((namespace, "", write.key.as_bytes())).or_default().add_value(value);
        }
        for write in &set.public.metadata_writes {
            changes.entry((namespace, "", write.key.as_bytes())).or_default().add_metadata(&write.entries);
        }
        for collection in &set.collections {
            for write in &collection.hashed.hashed_writes {
                let value = (!is_hashed_delete(write)).then_some(&write.value_hash);
                changes.entry((namespace, &collection.name, &write.key_hash)).or_default().add_value(value);
            }
            for write in &collection.hashed.metadata_writes {
                changes.entry((namespace, &collection.name, &write.key_hash)).or_default().add_metadata(&write.entries);
            }
        }
    }
    changes
}

/// The keys whose values a transaction sets or deletes, and whether it deletes them.
pub(crate) fn written_values(read_write_set: &ReadWriteSet) -> Vec<(Space<'_>, &[u8], bool)> {
    let changes = changes_of(read_write_set).into_iter();
    let of_values = changes.filter(|(_, change)| change.deletes() || change.value.is_some());
    of_values
        .map(|((namespace, collection, key), change)| (space_of(namespace, collection), key, change.deletes()))
        .collect()
}

/// The store keys of all keys that a transaction writes, or whose metadata it writes.
pub(crate) fn written_keys(contents: &Contents) -> Vec<Vec<u8>> {
    match contents {
        Contents::Endorsed(read_write_set) => changes_of(read_write_set)
            .into_keys()
            .map(|(namespace, collection, key)| state::store_key(space_of(namespace, collection), key))
            .collect(),
        Contents::Config(_) => {
            vec![state::store_key(Space::Public(CONFIG_NAMESPACE), config::STATE_KEY.as_bytes())]
        }
        Contents::Nothing | Contents::Unreadable(_) => Vec::new(),
    }
}

fn space_of<'a>(namespace: &'a str, collection: &'a str) -> Space<'a> {
    match collection.is_empty() {
        true => Space::Public(namespace),
        false => Space::Hashed(namespace, collection),
    }
}

/// Whether a hashed write deletes. A purge is a delete only if it says so, too.
fn is_hashed_delete(write: &KvWriteHash) -> bool {
    write.is_delete || write.value_hash.is_empty() || *write.value_hash == HASH_OF_NOTHING
}

/// Whether a transaction announces this private write by the hashes of its key and value.
pub(crate) fn announces(contents: &Contents, private: &PrivateWrite) -> bool {
    let Contents::Endorsed(read_write_set) = contents else { return false };
    let key_hash = sha256(&[private.key.as_bytes()]);
    let value_hash = private.value.as_ref().map(|value| sha256(&[value]));
    let namespaces = read_write_set.namespaces.iter().filter(|set| set.namespace == private.namespace);
    let collections = namespaces.flat_map(|set| &set.collections).filter(|set| set.name == private.collection);
    collections.flat_map(|set| &set.hashed.hashed_writes).any(|write| {
        let is_same_value = match &value_hash {
            Some(hash) => !is_hashed_delete(write) && *write.value_hash == *hash,
            None => is_hashed_delete(write),
        };
        *write.key_hash == key_hash && is_same_value
    })
}
