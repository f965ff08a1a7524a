//! Running a chaincode's reads and writes over one unchanging state, and noting them.
//!
//! Reads give the committed state of one height, never the transaction's own writes. What
//! is noted, and in which order, is byte for byte what a Fabric peer notes, since all
//! endorsers of a transaction have to sign the same bytes
//! (`core/ledger/kvledger/txmgmt/rwsetutil/rwset_builder.go`).

mod range;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::hash::sha256;
use ripstop_proto::kvrwset::{HashedRwSet, KvRead, KvReadHash, KvWrite, KvWriteHash, KvrwSet, RangeQueryInfo};
use ripstop_proto::rwset::{
    CollectionHashedReadWriteSet, CollectionPvtReadWriteSet, NsPvtReadWriteSet, NsReadWriteSet, TxPvtReadWriteSet,
    TxReadWriteSet,
};

use crate::state::StateView;
use crate::store::StoreError;
use crate::version::{Version, VersionedValue};
use range::Range;
pub use range::RangeId;

/// Notes what one transaction reads and writes.
pub struct Simulator {
    state: StateView,
    namespaces: BTreeMap<String, Noted>,
    ranges: Vec<Range>,
    wrote: bool,
    ran_private_range: bool,
}

/// What a transaction read and wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulationResult {
    /// The public sets and the hashes of the private ones: what gets endorsed.
    pub read_write_set: TxReadWriteSet,
    /// The private writes in clear; `None` when there are none.
    pub private: Option<TxPvtReadWriteSet>,
}

/// A read or write that the transaction may not make. Texts are Fabric's where it has one,
/// spelling included, because applications match on them.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SimulatorError {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StoreError),
    /// The private value is not held here, or not the current one.
    #[error("private data matching public hash version is not available. Public hash version = {public}, Private data version = {private}", public = shown(.hash_version), private = shown(.private_version))]
    PrivateValueMissing {
        /// Version of the hashed key.
        hash_version: Option<Version>,
        /// Version of the private key that is held here.
        private_version: Option<Version>,
    },
    /// A range over private data after a write.
    #[error("unsuppored transaction. Queries on pvt data is supported only in a read-only transaction")]
    PrivateRangeAfterWrite,
    /// A write after a range over private data.
    #[error("unsuppored transaction. Transaction has already performed queries on pvt data. Writes are not allowed")]
    WriteAfterPrivateRange,
    /// The range was closed, or never opened by this simulator.
    #[error("query iterator not found")]
    UnknownRange,
}

fn shown(version: &Option<Version>) -> String {
    match version {
        Some(version) => format!("{{BlockNum: {}, TxNum: {}}}", version.block_number, version.tx_index),
        None => "<nil>".to_owned(),
    }
}

/// Reads and writes of one namespace, by key.
#[derive(Default)]
struct Noted {
    reads: BTreeMap<String, Option<Version>>,
    writes: BTreeMap<String, Option<Bytes>>,
    ranges: Vec<RangeQueryInfo>,
    collections: BTreeMap<String, NotedPrivate>,
}

/// Reads and writes of one collection, by clear key: their hashes are written in this order.
#[derive(Default)]
struct NotedPrivate {
    reads: BTreeMap<String, Option<Version>>,
    writes: BTreeMap<String, Option<Bytes>>,
}

impl Simulator {
    pub(crate) fn new(state: StateView) -> Self {
        Self { state, namespaces: BTreeMap::new(), ranges: Vec::new(), wrote: false, ran_private_range: false }
    }

    /// The height of the state that is read.
    pub fn height(&self) -> u64 {
        self.state.height()
    }

    /// The state that is read, for reads that leave no trace in the read set.
    pub fn state(&self) -> &StateView {
        &self.state
    }

    /// The committed value of a key; noted as read, also when the key is absent.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn get_state(&mut self, namespace: &str, key: &str) -> Result<Option<Bytes>, SimulatorError> {
        let entry = self.state.get(namespace, key)?;
        self.noted(namespace).reads.insert(key.to_owned(), version_of(&entry));
        Ok(entry.map(|entry| entry.value))
    }

    /// The committed values of several keys, in order; each is noted as read.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn get_states<K: AsRef<str>>(
        &mut self,
        namespace: &str,
        keys: &[K],
    ) -> Result<Vec<Option<Bytes>>, SimulatorError> {
        keys.iter().map(|key| self.get_state(namespace, key.as_ref())).collect()
    }

    /// Writes a value; the last write of a key counts. An empty value is a delete.
    ///
    /// # Errors
    /// After a range over private data.
    pub fn put_state(&mut self, namespace: &str, key: &str, value: Bytes) -> Result<(), SimulatorError> {
        self.begin_write()?;
        self.noted(namespace).writes.insert(key.to_owned(), (!value.is_empty()).then_some(value));
        Ok(())
    }

    /// Deletes a key, which is a write even when the key is absent.
    ///
    /// # Errors
    /// After a range over private data.
    pub fn delete_state(&mut self, namespace: &str, key: &str) -> Result<(), SimulatorError> {
        self.put_state(namespace, key, Bytes::new())
    }

    /// The hash of a private value, from the public state; noted as a hashed read.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn private_hash(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, SimulatorError> {
        let entry = self.state.hashed(namespace, collection, &sha256(&[key.as_bytes()]))?;
        self.noted_private(namespace, collection).reads.insert(key.to_owned(), version_of(&entry));
        Ok(entry.map(|entry| entry.value))
    }

    /// A private value in clear; noted as a hashed read.
    ///
    /// # Errors
    /// [`SimulatorError::PrivateValueMissing`] when this node does not hold the current value.
    pub fn get_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, SimulatorError> {
        let entry = self.state.private(namespace, collection, key)?;
        let hashed = self.state.hashed(namespace, collection, &sha256(&[key.as_bytes()]))?;
        let (private_version, hash_version) = (version_of(&entry), version_of(&hashed));
        if private_version != hash_version {
            return Err(SimulatorError::PrivateValueMissing { hash_version, private_version });
        }
        self.noted_private(namespace, collection).reads.insert(key.to_owned(), private_version);
        Ok(entry.map(|entry| entry.value))
    }

    /// Writes a private value; the last write of a key counts. An empty value is a delete.
    ///
    /// # Errors
    /// After a range over private data.
    pub fn put_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: Bytes,
    ) -> Result<(), SimulatorError> {
        self.begin_write()?;
        let value = (!value.is_empty()).then_some(value);
        self.noted_private(namespace, collection).writes.insert(key.to_owned(), value);
        Ok(())
    }

    /// Deletes a private key.
    ///
    /// # Errors
    /// After a range over private data.
    pub fn delete_private(&mut self, namespace: &str, collection: &str, key: &str) -> Result<(), SimulatorError> {
        self.put_private(namespace, collection, key, Bytes::new())
    }

    /// Opens a walk over the committed keys from `start` up to but not including `end`; an
    /// empty `end` is the end of the namespace. Every row that is fetched is noted, also
    /// when it is fetched ahead, and so is the end if it is reached.
    pub fn open_range(&mut self, namespace: &str, start: &str, end: &str) -> RangeId {
        self.add_range(Range::public(&self.state, namespace, start, end))
    }

    /// Opens a walk over private keys that this node holds in clear. Nothing of it is
    /// noted, so the transaction must not write.
    ///
    /// # Errors
    /// After a write.
    pub fn open_private_range(
        &mut self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<RangeId, SimulatorError> {
        if self.wrote {
            return Err(SimulatorError::PrivateRangeAfterWrite);
        }
        self.ran_private_range = true;
        Ok(self.add_range(Range::private(&self.state, namespace, collection, start, end)))
    }

    /// The next row of a range; `None` at its end.
    ///
    /// # Errors
    /// When the range is closed or the state cannot be read.
    pub fn next(&mut self, range: RangeId) -> Result<Option<(String, Bytes)>, SimulatorError> {
        self.ranges.get_mut(range.index()).ok_or(SimulatorError::UnknownRange)?.next()
    }

    /// Ends a range. What was noted of it stays; an unknown or closed range is no error.
    pub fn close_range(&mut self, range: RangeId) {
        if let Some(range) = self.ranges.get_mut(range.index()) {
            range.close();
        }
    }

    /// Ends the simulation.
    pub fn finish(mut self) -> SimulationResult {
        for range in std::mem::take(&mut self.ranges) {
            if let Some((namespace, info)) = range.into_info() {
                let noted = &mut self.noted(&namespace).ranges;
                let same = |other: &RangeQueryInfo| {
                    (&other.start_key, &other.end_key, other.itr_exhausted)
                        == (&info.start_key, &info.end_key, info.itr_exhausted)
                };
                if !noted.iter().any(same) {
                    noted.push(info);
                }
            }
        }
        let private = private_sets(&self.namespaces);
        let ns_rwset = self.namespaces.into_iter().map(|(namespace, noted)| noted.into_set(namespace)).collect();
        SimulationResult { read_write_set: TxReadWriteSet { data_model: 0, ns_rwset }, private }
    }

    fn add_range(&mut self, range: Range) -> RangeId {
        self.ranges.push(range);
        RangeId::new(self.ranges.len() - 1)
    }

    fn begin_write(&mut self) -> Result<(), SimulatorError> {
        if self.ran_private_range {
            return Err(SimulatorError::WriteAfterPrivateRange);
        }
        self.wrote = true;
        Ok(())
    }

    fn noted(&mut self, namespace: &str) -> &mut Noted {
        self.namespaces.entry(namespace.to_owned()).or_default()
    }

    fn noted_private(&mut self, namespace: &str, collection: &str) -> &mut NotedPrivate {
        self.noted(namespace).collections.entry(collection.to_owned()).or_default()
    }
}

fn version_of(entry: &Option<VersionedValue>) -> Option<Version> {
    entry.as_ref().map(|entry| entry.version)
}

impl Noted {
    fn into_set(self, namespace: String) -> NsReadWriteSet {
        let read = |(key, version): (String, Option<Version>)| KvRead { key, version: version.map(Into::into) };
        let public = KvrwSet {
            reads: self.reads.into_iter().map(read).collect(),
            range_queries_info: self.ranges,
            writes: clear_writes(&self.writes),
            metadata_writes: Vec::new(),
        };
        let collections = self.collections.into_iter().map(|(name, noted)| noted.into_set(name));
        NsReadWriteSet {
            namespace,
            rwset: public.encode_to_vec().into(),
            collection_hashed_rwset: collections.collect(),
        }
    }
}

impl NotedPrivate {
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
            is_purge: false,
        };
        let hashed = HashedRwSet {
            hashed_reads: self.reads.into_iter().map(read).collect(),
            hashed_writes: self.writes.into_iter().map(write).collect(),
            metadata_writes: Vec::new(),
        };
        CollectionHashedReadWriteSet { collection_name, hashed_rwset: hashed.encode_to_vec().into(), pvt_rwset_hash }
    }

    /// The marshalled private write set; `None` without private writes.
    fn clear_set(&self) -> Option<Vec<u8>> {
        let set = KvrwSet { writes: clear_writes(&self.writes), ..KvrwSet::default() };
        (!self.writes.is_empty()).then(|| set.encode_to_vec())
    }
}

fn clear_writes(writes: &BTreeMap<String, Option<Bytes>>) -> Vec<KvWrite> {
    let write = |(key, value): (&String, &Option<Bytes>)| KvWrite {
        key: key.clone(),
        is_delete: value.is_none(),
        value: value.clone().unwrap_or_default(),
    };
    writes.iter().map(write).collect()
}

fn private_sets(namespaces: &BTreeMap<String, Noted>) -> Option<TxPvtReadWriteSet> {
    let sets = namespaces.iter().filter_map(|(namespace, noted)| {
        let collections = noted.collections.iter().filter_map(|(name, noted)| {
            let rwset = noted.clear_set()?.into();
            Some(CollectionPvtReadWriteSet { collection_name: name.clone(), rwset })
        });
        let collection_pvt_rwset: Vec<_> = collections.collect();
        let set = NsPvtReadWriteSet { namespace: namespace.clone(), collection_pvt_rwset };
        (!set.collection_pvt_rwset.is_empty()).then_some(set)
    });
    let ns_pvt_rwset: Vec<_> = sets.collect();
    (!ns_pvt_rwset.is_empty()).then_some(TxPvtReadWriteSet { data_model: 0, ns_pvt_rwset })
}

fn hash_of(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&sha256(&[bytes]))
}
