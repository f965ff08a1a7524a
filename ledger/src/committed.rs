//! The committed entries that deciding over one block needs, read beforehand: each key
//! once, in key order, on all threads.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use rayon::prelude::*;
use ripstop_proto::read_write_set::{CollectionSet, NamespaceSet};

use crate::contents::{Contents, Entry};
use crate::derived;
use crate::state::{self, Rows, Space, StateView};
use crate::store::StoreError;
use crate::version::VersionedValue;

const KEYS_PER_TASK: usize = 64;

/// State and index before a block.
pub(crate) struct Committed<'a> {
    view: &'a StateView,
    entries: HashMap<Vec<u8>, Option<VersionedValue>>,
    known_tx_ids: HashSet<String>,
    /// Of the namespaces that the block writes, those whose keys may have metadata.
    with_metadata: BTreeSet<String>,
}

impl<'a> Committed<'a> {
    /// Reads what `entries` read or write, and which of their ids the ledger knows.
    ///
    /// A write without a read only asks for the key's metadata, so it is looked up only
    /// where there may be any.
    pub(crate) fn load(view: &'a StateView, entries: &[Entry]) -> Result<Self, StoreError> {
        let with_metadata = with_metadata(view, entries)?;
        let keys_of = |entry| keys_of(entry, &with_metadata);
        let mut keys: Vec<Vec<u8>> = entries.par_iter().flat_map_iter(keys_of).collect();
        keys.par_sort_unstable();
        keys.dedup();
        let entries_by_key = read_sorted(keys, |key| view.snapshot().get(key)?.map(state::decode_entry).transpose())?;
        let mut ids: Vec<&String> = entries.iter().filter_map(|entry| entry.tx_id.as_ref()).collect();
        ids.sort_unstable();
        ids.dedup();
        let known = read_sorted(ids, |id| view.snapshot().get(&derived::tx_key(id)))?;
        let known_tx_ids = known.into_iter().filter(|(_, place)| place.is_some()).map(|(id, _)| id.clone()).collect();
        Ok(Self { view, entries: entries_by_key.into_iter().collect(), known_tx_ids, with_metadata })
    }

    /// The metadata of a key that the block writes.
    pub(crate) fn metadata(&self, space: Space<'_>, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.with_metadata.contains(space.namespace()) {
            true => Ok(self.get(space, key)?.and_then(|entry| entry.metadata)),
            false => Ok(None),
        }
    }

    /// The entry of a key.
    pub(crate) fn get(&self, space: Space<'_>, key: &[u8]) -> Result<Option<VersionedValue>, StoreError> {
        let key = state::store_key(space, key);
        match self.entries.get(&key) {
            Some(entry) => Ok(entry.clone()),
            None => self.view.snapshot().get(&key)?.map(state::decode_entry).transpose(),
        }
    }

    /// The public entries in [start, end); an empty `end` is the end of the namespace.
    pub(crate) fn rows(&self, namespace: &str, start: &[u8], end: &[u8]) -> Rows {
        self.view.rows(Space::Public(namespace), start, end)
    }

    /// Whether an earlier block holds a transaction with this id.
    pub(crate) fn knows_tx_id(&self, tx_id: &str) -> bool {
        self.known_tx_ids.contains(tx_id)
    }
}

fn read_sorted<K, V>(keys: Vec<K>, read: impl Fn(&K) -> Result<V, StoreError> + Sync) -> Result<Vec<(K, V)>, StoreError>
where
    K: Send,
    V: Send,
{
    let read_one = |key: K| read(&key).map(|value| (key, value));
    keys.into_par_iter().with_min_len(KEYS_PER_TASK).map(read_one).collect()
}

fn with_metadata(view: &StateView, entries: &[Entry]) -> Result<BTreeSet<String>, StoreError> {
    let namespaces: BTreeSet<&str> = entries.iter().flat_map(namespaces_of).map(|set| set.namespace.as_str()).collect();
    let mut found = BTreeSet::new();
    for namespace in namespaces {
        if derived::may_have_metadata(view.snapshot(), namespace)? {
            found.insert(namespace.to_owned());
        }
    }
    Ok(found)
}

fn namespaces_of(entry: &Entry) -> &[NamespaceSet] {
    match &entry.contents {
        Contents::Endorsed(read_write_set) => &read_write_set.namespaces,
        _ => &[],
    }
}

fn keys_of(entry: &Entry, with_metadata: &BTreeSet<String>) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    for set in namespaces_of(entry) {
        let with_writes = with_metadata.contains(&set.namespace);
        add_public_keys(&mut keys, set, with_writes);
        for collection in &set.collections {
            add_hashed_keys(&mut keys, &set.namespace, collection, with_writes);
        }
    }
    keys
}

fn add_public_keys(keys: &mut Vec<Vec<u8>>, namespace: &NamespaceSet, with_writes: bool) {
    let set = &namespace.public;
    let read = set.reads.iter().map(|read| &read.key);
    let written = set.writes.iter().filter(|_| with_writes).map(|write| &write.key);
    let metadata_written = set.metadata_writes.iter().map(|write| &write.key);
    let space = Space::Public(&namespace.namespace);
    keys.extend(read.chain(written).chain(metadata_written).map(|key| state::store_key(space, key.as_bytes())));
}

fn add_hashed_keys(keys: &mut Vec<Vec<u8>>, namespace: &str, collection: &CollectionSet, with_writes: bool) {
    let set = &collection.hashed;
    let read = set.hashed_reads.iter().map(|read| &read.key_hash);
    let written = set.hashed_writes.iter().filter(|_| with_writes).map(|write| &write.key_hash);
    let metadata_written = set.metadata_writes.iter().map(|write| &write.key_hash);
    let space = Space::Hashed(namespace, &collection.name);
    keys.extend(read.chain(written).chain(metadata_written).map(|key| state::store_key(space, key)));
}
