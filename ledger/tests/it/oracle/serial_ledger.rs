//! The rules in their plainest form: one map, one transaction after the other.
//!
//! Written from Fabric's rules and not from the ledger's code, with which it shares the
//! messages of the wire and nothing else. There is no batch: a transaction changes the
//! state at once, and the block remembers which keys it has touched.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::PrivateWrite;
use ripstop_proto::kvrwset::range_query_info::ReadsInfo;
use ripstop_proto::kvrwset::{self, KvMetadataEntry, KvMetadataWrite, KvRead, KvWriteHash, RangeQueryInfo};
use ripstop_proto::protos::TxValidationCode::{self, DuplicateTxid, MvccReadConflict, PhantomReadConflict, Valid};
use ripstop_proto::read_write_set::{NamespaceSet, ReadWriteSet};
use sha2::{Digest, Sha256};

use super::commit_hash;
use super::summary::summary;

/// Block and index in it.
pub(crate) type Number = (u64, u64);
/// Namespace, collection (empty for a public key) and key (for a collection its hash).
pub(crate) type Place = (String, String, Vec<u8>);
pub(crate) type State = BTreeMap<Place, Row>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) value: Bytes,
    pub(crate) metadata: Option<Bytes>,
    pub(crate) version: Number,
}

#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    pub(crate) tx_id: String,
    /// What stage one says.
    pub(crate) verdict: TxValidationCode,
    pub(crate) contents: Contents,
    /// Clear private values that come with it.
    pub(crate) private_writes: Vec<PrivateWrite>,
}

#[derive(Debug, Clone)]
pub(crate) enum Contents {
    Endorsed(ReadWriteSet),
    Config(Bytes),
}

/// One entry of a key's history.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Modification {
    pub(crate) tx_id: String,
    pub(crate) value: Bytes,
    pub(crate) is_delete: bool,
}

#[derive(Default)]
pub(crate) struct SerialLedger {
    pub(crate) state: State,
    /// Private values in clear, by their clear keys.
    pub(crate) private: State,
    /// Where each transaction id was seen first, and the code it got there.
    pub(crate) positions: BTreeMap<String, (Number, TxValidationCode)>,
    /// What valid transactions wrote to each public key, oldest first.
    pub(crate) history: BTreeMap<(String, String), Vec<Modification>>,
    pub(crate) commit_hash: Vec<u8>,
    touched: BTreeMap<Place, Number>,
}

impl SerialLedger {
    /// After a genesis block that holds this configuration.
    pub(crate) fn begun_with(config: &'static [u8]) -> Self {
        let mut ledger = Self::default();
        ledger.set(config_place(), Bytes::from_static(config), None, (0, 0));
        ledger
    }

    pub(crate) fn commit(&mut self, number: u64, transactions: &[Transaction]) -> Vec<TxValidationCode> {
        self.touched.clear();
        let mut codes = self.without_duplicates(transactions);
        for ((transaction, code), index) in transactions.iter().zip(&mut codes).zip(0..) {
            if *code == Valid {
                *code = self.judge(&transaction.contents);
            }
            if *code == Valid {
                self.apply(transaction, (number, index));
            }
            self.positions.entry(transaction.tx_id.clone()).or_insert(((number, index), *code));
        }
        let filter: Vec<u8> = codes.iter().map(|code| *code as i32 as u8).collect();
        let updates = self.touched.iter().map(|(place, number)| (place, number, self.state.get(place)));
        self.commit_hash = commit_hash::next(&filter, updates, &self.commit_hash);
        codes
    }

    /// An id counts as seen when an earlier block has it, whatever became of it there, or
    /// when an earlier transaction of this block has it that stage one found valid.
    fn without_duplicates(&self, transactions: &[Transaction]) -> Vec<TxValidationCode> {
        let mut seen = BTreeSet::new();
        let codes = transactions.iter().map(|transaction| match &transaction.contents {
            Contents::Endorsed(_) if transaction.verdict == Valid => {
                let is_old = self.positions.contains_key(&transaction.tx_id);
                if is_old || !seen.insert(&transaction.tx_id) { DuplicateTxid } else { Valid }
            }
            _ => transaction.verdict,
        });
        codes.collect()
    }

    fn judge(&self, contents: &Contents) -> TxValidationCode {
        let Contents::Endorsed(read_write_set) = contents else { return Valid };
        for set in &read_write_set.namespaces {
            let place = |key: &str| (set.namespace.clone(), String::new(), key.as_bytes().to_vec());
            if set.public.reads.iter().any(|read| self.is_stale(&place(&read.key), &read.version)) {
                return MvccReadConflict;
            }
            if !set.public.range_queries_info.iter().all(|range| self.gives_the_same(&set.namespace, range)) {
                return PhantomReadConflict;
            }
            for collection in &set.collections {
                let place = |key: &Bytes| (set.namespace.clone(), collection.name.clone(), key.to_vec());
                let mut reads = collection.hashed.hashed_reads.iter();
                if reads.any(|read| self.is_stale(&place(&read.key_hash), &read.version)) {
                    return MvccReadConflict;
                }
            }
        }
        Valid
    }

    fn is_stale(&self, place: &Place, read: &Option<kvrwset::Version>) -> bool {
        let read = read.as_ref().map(|version| (version.block_num, version.tx_num));
        self.touched.contains_key(place) || self.state.get(place).map(|row| row.version) != read
    }

    fn gives_the_same(&self, namespace: &str, range: &RangeQueryInfo) -> bool {
        let mut rows = rows(&self.state, namespace, &range.start_key, &range.end_key);
        if !range.itr_exhausted {
            let place = (namespace.to_owned(), String::new(), range.end_key.as_bytes().to_vec());
            rows.extend(self.state.get(&place).map(|row| read_of(&place, row)));
        }
        match &range.reads_info {
            None => rows.is_empty(),
            Some(ReadsInfo::RawReads(reads)) => reads.kv_reads == rows,
            Some(ReadsInfo::ReadsMerkleHashes(hashes)) => summary(hashes.max_degree, &rows).as_ref() == Some(hashes),
        }
    }

    fn apply(&mut self, transaction: &Transaction, number: Number) {
        match &transaction.contents {
            Contents::Config(config) => self.set(config_place(), config.clone(), None, number),
            Contents::Endorsed(read_write_set) => {
                for (place, change) in changes(read_write_set) {
                    self.apply_change(place, change, number);
                }
                self.remember(&transaction.tx_id, read_write_set);
                for write in &transaction.private_writes {
                    self.apply_private(read_write_set, write, number);
                }
            }
        }
    }

    fn apply_change(&mut self, place: Place, change: Change, number: Number) {
        let current = self.state.get(&place).cloned();
        let has = |bit: u8| change.flag & bit == bit;
        if has(DELETE) {
            self.state.remove(&place);
            self.touched.insert(place, number);
        } else if has(VALUE) && (has(METADATA) || has(NO_METADATA)) {
            self.set(place, change.value, change.metadata, number);
        } else if change.flag == VALUE {
            self.set(place, change.value, current.and_then(|row| row.metadata), number);
        } else if let Some(row) = current {
            self.set(place, row.value, change.metadata, number);
        }
    }

    /// A key that is written twice has one entry, of the first write.
    fn remember(&mut self, tx_id: &str, read_write_set: &ReadWriteSet) {
        for set in &read_write_set.namespaces {
            let mut keys = BTreeSet::new();
            for write in set.public.writes.iter().filter(|write| keys.insert(&write.key)) {
                let is_delete = write.is_delete || write.value.is_empty();
                let entry = Modification { tx_id: tx_id.to_owned(), value: write.value.clone(), is_delete };
                self.history.entry((set.namespace.clone(), write.key.clone())).or_default().push(entry);
            }
        }
    }

    fn set(&mut self, place: Place, value: Bytes, metadata: Option<Bytes>, version: Number) {
        self.state.insert(place.clone(), Row { value, metadata, version });
        self.touched.insert(place, version);
    }

    /// A clear value is kept when the transaction writes its key and value by their hashes.
    fn apply_private(&mut self, read_write_set: &ReadWriteSet, private: &PrivateWrite, version: Number) {
        let announced = |set: &NamespaceSet| {
            let collections = set.collections.iter().filter(|set| set.name == private.collection);
            let mut writes = collections.flat_map(|set| &set.hashed.hashed_writes);
            writes.any(|write| {
                let is_same_value = match &private.value {
                    Some(value) => !deletes_hash(write) && write.value_hash == sha256(value),
                    None => deletes_hash(write),
                };
                is_same_value && write.key_hash == sha256(private.key.as_bytes())
            })
        };
        if !read_write_set.namespaces.iter().any(|set| set.namespace == private.namespace && announced(set)) {
            return;
        }
        let place = (private.namespace.clone(), private.collection.clone(), private.key.clone().into_bytes());
        match private.value.clone() {
            Some(value) => drop(self.private.insert(place, Row { value, metadata: None, version })),
            None => drop(self.private.remove(&place)),
        }
    }
}

fn config_place() -> Place {
    (String::new(), String::new(), b"CHANNEL_CONFIG_ENV_BYTES".to_vec())
}

/// The public rows from `start` up to but not including `end`; without an end all from `start` on.
pub(crate) fn rows(state: &State, namespace: &str, start: &str, end: &str) -> Vec<KvRead> {
    let is_inside = |key: &[u8]| key >= start.as_bytes() && (end.is_empty() || key < end.as_bytes());
    let public = state.iter().filter(|((other, collection, _), _)| other == namespace && collection.is_empty());
    public.filter(|((.., key), _)| is_inside(key)).map(|(place, row)| read_of(place, row)).collect()
}

fn read_of((.., key): &Place, row: &Row) -> KvRead {
    let (block_num, tx_num) = row.version;
    KvRead { key: String::from_utf8(key.clone()).unwrap(), version: Some(kvrwset::Version { block_num, tx_num }) }
}

const VALUE: u8 = 1;
const METADATA: u8 = 2;
const NO_METADATA: u8 = 4;
const DELETE: u8 = 8;

/// What a transaction asks for one key, with flags added up.
#[derive(Default)]
struct Change {
    flag: u8,
    value: Bytes,
    metadata: Option<Bytes>,
}

impl Change {
    fn write(&mut self, is_delete: bool, value: &Bytes) {
        self.flag += if is_delete { DELETE } else { VALUE };
        if !is_delete {
            self.value = value.clone();
        }
    }

    fn write_metadata(&mut self, entries: &[KvMetadataEntry]) {
        self.flag += if entries.is_empty() { NO_METADATA } else { METADATA };
        if !entries.is_empty() {
            let stored = KvMetadataWrite { key: String::new(), entries: entries.to_vec() };
            self.metadata = Some(stored.encode_to_vec().into());
        }
    }
}

fn changes(read_write_set: &ReadWriteSet) -> BTreeMap<Place, Change> {
    let mut changes: BTreeMap<Place, Change> = BTreeMap::new();
    for set in &read_write_set.namespaces {
        let public = |key: &str| (set.namespace.clone(), String::new(), key.as_bytes().to_vec());
        for write in &set.public.writes {
            let is_delete = write.is_delete || write.value.is_empty();
            changes.entry(public(&write.key)).or_default().write(is_delete, &write.value);
        }
        for write in &set.public.metadata_writes {
            changes.entry(public(&write.key)).or_default().write_metadata(&write.entries);
        }
        for collection in &set.collections {
            let hashed = |key: &Bytes| (set.namespace.clone(), collection.name.clone(), key.to_vec());
            for write in &collection.hashed.hashed_writes {
                changes.entry(hashed(&write.key_hash)).or_default().write(deletes_hash(write), &write.value_hash);
            }
            for write in &collection.hashed.metadata_writes {
                changes.entry(hashed(&write.key_hash)).or_default().write_metadata(&write.entries);
            }
        }
    }
    changes
}

/// Being a purge says nothing about being a delete.
fn deletes_hash(write: &KvWriteHash) -> bool {
    write.is_delete || write.value_hash.is_empty() || write.value_hash == sha256(b"")
}

pub(crate) fn sha256(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&Sha256::digest(bytes))
}
