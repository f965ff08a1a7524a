//! What a simulation has noted so far, and the read/write set that follows from it.
//!
//! Everything is kept by name in byte order, which is the order of the wire; only ranges
//! stand in the order in which they were opened. Private reads and writes are kept by
//! clear key: their hashes are written in that order, not in their own.
//! Source: Fabric `core/ledger/kvledger/txmgmt/rwsetutil/rwset_builder.go`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use ripstop_proto::hash::sha256;
use ripstop_proto::kvrwset::{
    HashedRwSet, KvMetadataEntry, KvMetadataWrite, KvMetadataWriteHash, KvRead, KvReadHash, KvWrite, KvWriteHash,
    KvrwSet, RangeQueryInfo,
};
use ripstop_proto::rwset::{
    CollectionHashedReadWriteSet, CollectionPvtReadWriteSet, NsPvtReadWriteSet, NsReadWriteSet, TxPvtReadWriteSet,
    TxReadWriteSet,
};

use super::{SimulationResult, WrittenKey};
use crate::state::Metadata;
use crate::version::{Version, VersionedValue};

/// What one transaction read and wrote, by namespace.
#[derive(Default)]
pub(super) struct Notes {
    namespaces: BTreeMap<String, NamespaceNotes>,
}

/// Reads and writes of one namespace.
#[derive(Default)]
pub(super) struct NamespaceNotes {
    pub(super) public: KeyNotes,
    ranges: Vec<RangeQueryInfo>,
    collections: BTreeMap<String, CollectionNotes>,
}

/// Reads and writes of one collection.
#[derive(Default)]
pub(super) struct CollectionNotes {
    pub(super) keys: KeyNotes,
    purged: BTreeSet<String>,
    was_read_in_clear: bool,
}

/// Reads and writes of keys, public or of one collection.
#[derive(Default)]
pub(super) struct KeyNotes {
    reads: BTreeMap<String, Option<Version>>,
    writes: BTreeMap<String, Option<Bytes>>,
    metadata_writes: BTreeMap<String, Metadata>,
    /// The metadata, before this transaction, of every key that it writes.
    metadata_before: BTreeMap<String, Metadata>,
}

impl Notes {
    pub(super) fn namespace(&mut self, namespace: &str) -> &mut NamespaceNotes {
        self.namespaces.entry(namespace.to_owned()).or_default()
    }

    pub(super) fn collection(&mut self, namespace: &str, collection: &str) -> &mut CollectionNotes {
        self.namespace(namespace).collections.entry(collection.to_owned()).or_default()
    }

    pub(super) fn into_result(self) -> SimulationResult {
        let private = self.private_sets();
        let (written_keys, private_reads) = (self.written_keys(), self.private_reads());
        let ns_rwset = self.namespaces.into_iter().map(|(namespace, notes)| notes.into_set(namespace)).collect();
        let read_write_set = TxReadWriteSet { data_model: 0, ns_rwset };
        SimulationResult { read_write_set, private, written_keys, private_reads }
    }

    fn private_sets(&self) -> Option<TxPvtReadWriteSet> {
        let sets = self.namespaces.iter().filter_map(|(namespace, notes)| {
            let collections = notes.collections.iter().filter_map(|(name, notes)| {
                let rwset = notes.clear_set()?.into();
                Some(CollectionPvtReadWriteSet { collection_name: name.clone(), rwset })
            });
            let collection_pvt_rwset: Vec<_> = collections.collect();
            let set = NsPvtReadWriteSet { namespace: namespace.clone(), collection_pvt_rwset };
            (!set.collection_pvt_rwset.is_empty()).then_some(set)
        });
        let ns_pvt_rwset: Vec<_> = sets.collect();
        (!ns_pvt_rwset.is_empty()).then_some(TxPvtReadWriteSet { data_model: 0, ns_pvt_rwset })
    }

    fn written_keys(&self) -> Vec<WrittenKey> {
        let mut written = Vec::new();
        for (namespace, notes) in &self.namespaces {
            let collections = notes.collections.iter().map(|(name, notes)| (Some(name), &notes.keys));
            for (collection, keys) in std::iter::once((None, &notes.public)).chain(collections) {
                written.extend(keys.metadata_before.iter().map(|(key, metadata)| WrittenKey {
                    namespace: namespace.clone(),
                    collection: collection.cloned(),
                    key: key.clone(),
                    metadata: metadata.clone(),
                }));
            }
        }
        written
    }

    fn private_reads(&self) -> BTreeSet<(String, String)> {
        let collections = self.namespaces.iter().flat_map(|(namespace, notes)| {
            notes.collections.iter().map(move |(collection, notes)| (namespace, collection, notes))
        });
        let read = collections.filter(|(.., notes)| notes.was_read_in_clear);
        read.map(|(namespace, collection, _)| (namespace.clone(), collection.clone())).collect()
    }
}

impl NamespaceNotes {
    /// Adds a range, unless the same one was noted before.
    pub(super) fn add_range(&mut self, info: RangeQueryInfo) {
        let same = |other: &RangeQueryInfo| {
            (&other.start_key, &other.end_key, other.itr_exhausted)
                == (&info.start_key, &info.end_key, info.itr_exhausted)
        };
        if !self.ranges.iter().any(same) {
            self.ranges.push(info);
        }
    }

    fn into_set(self, namespace: String) -> NsReadWriteSet {
        let read = |(key, version): (String, Option<Version>)| KvRead { key, version: version.map(Into::into) };
        let metadata_write =
            |(key, metadata): (String, Metadata)| KvMetadataWrite { key, entries: entries_of(metadata) };
        let public = KvrwSet {
            writes: self.public.clear_writes(),
            reads: self.public.reads.into_iter().map(read).collect(),
            range_queries_info: self.ranges,
            metadata_writes: self.public.metadata_writes.into_iter().map(metadata_write).collect(),
        };
        let collections = self.collections.into_iter().map(|(name, notes)| notes.into_set(name));
        NsReadWriteSet {
            namespace,
            rwset: public.encode_to_vec().into(),
            collection_hashed_rwset: collections.collect(),
        }
    }
}

impl CollectionNotes {
    /// Notes a read that gave a clear value, not only its hash.
    pub(super) fn read_in_clear(&mut self, key: &str, entry: &Option<VersionedValue>) {
        self.was_read_in_clear = true;
        self.keys.read(key, entry);
    }

    pub(super) fn write(&mut self, key: &str, value: Option<Bytes>) {
        self.purged.remove(key);
        self.keys.write(key, value);
    }

    pub(super) fn purge(&mut self, key: &str) {
        self.keys.write(key, None);
        self.purged.insert(key.to_owned());
    }

    fn into_set(self, collection_name: String) -> CollectionHashedReadWriteSet {
        let pvt_rwset_hash = self.clear_set().map_or(Bytes::new(), |set| hash_of(&set));
        let read = |(key, version): (String, Option<Version>)| KvReadHash {
            key_hash: hash_of(key.as_bytes()),
            version: version.map(Into::into),
        };
        let write = |(key, value): (String, Option<Bytes>)| KvWriteHash {
            key_hash: hash_of(key.as_bytes()),
            is_delete: value.is_none(),
            value_hash: value.map_or(Bytes::new(), |value| hash_of(&value)),
            is_purge: self.purged.contains(&key),
        };
        let metadata_write = |(key, metadata): (String, Metadata)| KvMetadataWriteHash {
            key_hash: hash_of(key.as_bytes()),
            entries: entries_of(metadata),
        };
        let hashed = HashedRwSet {
            hashed_reads: self.keys.reads.into_iter().map(read).collect(),
            hashed_writes: self.keys.writes.into_iter().map(write).collect(),
            metadata_writes: self.keys.metadata_writes.into_iter().map(metadata_write).collect(),
        };
        CollectionHashedReadWriteSet { collection_name, hashed_rwset: hashed.encode_to_vec().into(), pvt_rwset_hash }
    }

    /// The marshalled private write set; `None` without private writes. Metadata stands only
    /// in the hashed set: here a write of it shows by its key, since it changes the version.
    fn clear_set(&self) -> Option<Vec<u8>> {
        if self.keys.writes.is_empty() && self.keys.metadata_writes.is_empty() {
            return None;
        }
        let metadata_write = |key: &String| KvMetadataWrite { key: key.clone(), entries: Vec::new() };
        let set = KvrwSet {
            writes: self.keys.clear_writes(),
            metadata_writes: self.keys.metadata_writes.keys().map(metadata_write).collect(),
            ..KvrwSet::default()
        };
        Some(set.encode_to_vec())
    }
}

impl KeyNotes {
    pub(super) fn read(&mut self, key: &str, entry: &Option<VersionedValue>) {
        self.reads.insert(key.to_owned(), entry.as_ref().map(|entry| entry.version));
    }

    /// Notes a new value, or a delete.
    pub(super) fn write(&mut self, key: &str, value: Option<Bytes>) {
        self.writes.insert(key.to_owned(), value);
    }

    /// Notes new metadata in place of all entries there are.
    pub(super) fn write_metadata(&mut self, key: &str, metadata: Metadata) {
        self.metadata_writes.insert(key.to_owned(), metadata);
    }

    pub(super) fn knows_metadata_before(&self, key: &str) -> bool {
        self.metadata_before.contains_key(key)
    }

    pub(super) fn set_metadata_before(&mut self, key: &str, metadata: Metadata) {
        self.metadata_before.insert(key.to_owned(), metadata);
    }

    fn clear_writes(&self) -> Vec<KvWrite> {
        let write = |(key, value): (&String, &Option<Bytes>)| KvWrite {
            key: key.clone(),
            is_delete: value.is_none(),
            value: value.clone().unwrap_or_default(),
        };
        self.writes.iter().map(write).collect()
    }
}

fn entries_of(metadata: Metadata) -> Vec<KvMetadataEntry> {
    metadata.into_iter().map(|(name, value)| KvMetadataEntry { name, value }).collect()
}

fn hash_of(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&sha256(&[bytes]))
}
