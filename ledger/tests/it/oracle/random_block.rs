//! Random blocks whose transactions were endorsed on one of the last few states, so that
//! many are still valid and many lose, and some are such as no endorser makes.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::RngExt;
use proptest::test_runner::TestRng;
use ripstop_ledger::PrivateWrite;
use ripstop_proto::kvrwset::range_query_info::ReadsInfo;
use ripstop_proto::kvrwset::{
    KvMetadataEntry, KvMetadataWrite, KvMetadataWriteHash, KvRead, KvReadHash, KvWrite, KvWriteHash, QueryReads,
    QueryReadsMerkleSummary, RangeQueryInfo, Version,
};
use ripstop_proto::protos::TxValidationCode::{self, EndorsementPolicyFailure, Valid};
use ripstop_proto::read_write_set::{CollectionSet, NamespaceSet, ReadWriteSet};

use super::serial_ledger::{Contents, State, Transaction, rows, sha256};
use super::summary::summary;

pub(crate) const NAMESPACES: [&str; 4] = ["a", "ab", "b", MANY];
pub(crate) const COLLECTIONS: [&str; 2] = ["coll", "collection"];
pub(crate) const PRIVATE_KEYS: [&str; 4] = ["", "p", "q", "secret"];
/// The namespace with enough keys for deep summaries.
const MANY: &str = "many";
const MANY_KEYS: usize = 130;
const KEYS: [&str; 14] = [
    "",
    "\0",
    "\0pair\0a\0",
    "\0pair\0a\0b\0",
    "\u{1}",
    "a",
    "a\0",
    "aa",
    "ab",
    "b",
    "key with a length that is more than a few bytes, as keys made of addresses and dates have, and then some more",
    "\u{ffff}",
    "\u{10ffff}",
    "\u{10ffff}x",
];
const STATES_BACK: usize = 3;
const DEGREES: [u32; 6] = [2, 2, 3, 5, 20, 50];

pub(crate) struct RandomBlocks {
    rng: TestRng,
    /// The states after the last few blocks, newest first.
    states: VecDeque<State>,
    tx_ids: Vec<String>,
}

impl RandomBlocks {
    pub(crate) fn new(rng: TestRng) -> Self {
        Self { rng, states: VecDeque::new(), tx_ids: Vec::new() }
    }

    /// The next block, after one that left `state`.
    pub(crate) fn next(&mut self, state: &State, number: u64) -> Vec<Transaction> {
        self.states.push_front(state.clone());
        self.states.truncate(STATES_BACK);
        let count = self.rng.random_range(1..=16);
        (0..count).map(|index| self.transaction(number, index)).collect()
    }

    fn transaction(&mut self, number: u64, index: u32) -> Transaction {
        let mut tx_id = format!("tx {number} {index}");
        if !self.tx_ids.is_empty() && self.percent(4) {
            tx_id = one_of(&mut self.rng, &self.tx_ids).clone();
        }
        self.tx_ids.push(tx_id.clone());
        let verdict = if self.percent(5) { EndorsementPolicyFailure } else { Valid };
        if self.percent(1) {
            let contents = Contents::Config(self.value());
            return Transaction {
                tx_id: format!("config {number} {index}"),
                verdict,
                contents,
                private_writes: vec![],
            };
        }
        let read_write_set = self.read_write_set(number);
        let private_writes = self.private_writes(&read_write_set, index);
        Transaction { tx_id, verdict, contents: Contents::Endorsed(read_write_set), private_writes }
    }

    fn read_write_set(&mut self, number: u64) -> ReadWriteSet {
        let back = [0, 0, 0, 0, 0, 1, 2][self.rng.random_range(0..7)];
        let state = self.states.get(back).or(self.states.front()).cloned().unwrap_or_default();
        let mut set = ReadWriteSet::default();
        let mut name = self.namespace();
        for _ in 0..self.rng.random_range(1..=5) {
            if self.percent(25) {
                name = self.namespace();
            }
            let namespace = namespace_set(&mut set, name);
            self.add_one(namespace, &state, number);
        }
        set
    }

    fn add_one(&mut self, set: &mut NamespaceSet, state: &State, number: u64) {
        let key = self.key(&set.namespace);
        match self.rng.random_range(0..100) {
            0..20 => {
                let place = (set.namespace.clone(), String::new(), key.as_bytes().to_vec());
                let version = self.read_version(state, &place, number);
                set.public.reads.push(KvRead { key, version });
            }
            20..44 => self.add_write(set, key),
            44..54 => {
                let value = if self.percent(10) { self.value() } else { Bytes::new() };
                set.public.writes.push(KvWrite { key, is_delete: true, value });
            }
            54..64 => {
                let entries = self.entries();
                set.public.metadata_writes.push(KvMetadataWrite { key, entries });
            }
            64..80 => {
                let range = self.range(state, &set.namespace);
                set.public.range_queries_info.push(range);
            }
            80..83 => self.repeat_write(set),
            _ => {
                let namespace = set.namespace.clone();
                let name = *one_of(&mut self.rng, &COLLECTIONS);
                self.add_hashed(collection_set(set, name), &namespace, state, number);
            }
        }
    }

    /// One write, or in the namespace of many keys often a run of them.
    fn add_write(&mut self, set: &mut NamespaceSet, key: String) {
        let value = if self.percent(5) { Bytes::new() } else { self.value() };
        if set.namespace != MANY || self.percent(50) {
            set.public.writes.push(KvWrite { key, is_delete: false, value });
            return;
        }
        let first = self.rng.random_range(0..MANY_KEYS);
        let last = MANY_KEYS.min(first + self.rng.random_range(1..20));
        let keys =
            (first..last).map(|number| KvWrite { key: numbered(number), is_delete: false, value: value.clone() });
        set.public.writes.extend(keys);
    }

    /// What is written already, once more with another value: no endorser does so.
    fn repeat_write(&mut self, set: &mut NamespaceSet) {
        if let Some(mut write) = set.public.writes.last().cloned() {
            write.value = self.value();
            set.public.writes.push(write);
        }
        if let Some(mut write) = set.public.metadata_writes.last().cloned() {
            write.entries = self.entries();
            set.public.metadata_writes.push(write);
        }
    }

    fn add_hashed(&mut self, set: &mut CollectionSet, namespace: &str, state: &State, number: u64) {
        let key = *one_of(&mut self.rng, &PRIVATE_KEYS);
        let key_hash = sha256(key.as_bytes());
        match self.rng.random_range(0..100) {
            0..30 => {
                let place = (namespace.to_owned(), set.name.clone(), key_hash.to_vec());
                let version = self.read_version(state, &place, number);
                set.hashed.hashed_reads.push(KvReadHash { key_hash, version });
            }
            30..80 => {
                let nothing = [Bytes::new(), sha256(b"")];
                let value_hash =
                    if self.percent(10) { one_of(&mut self.rng, &nothing).clone() } else { sha256(&self.value()) };
                let (is_delete, is_purge) = (self.percent(20), self.percent(10));
                let write = KvWriteHash { key_hash, is_delete, value_hash, is_purge };
                let times = if self.percent(5) { 2 } else { 1 };
                set.hashed.hashed_writes.extend(vec![write; times]);
            }
            _ => {
                let entries = self.entries();
                set.hashed.metadata_writes.push(KvMetadataWriteHash { key_hash, entries });
            }
        }
    }

    /// The clear values of some hashed writes, and some that do not fit.
    fn private_writes(&mut self, read_write_set: &ReadWriteSet, tx_index: u32) -> Vec<PrivateWrite> {
        let mut writes = Vec::new();
        for set in &read_write_set.namespaces {
            for collection in &set.collections {
                for hashed in &collection.hashed.hashed_writes {
                    let is_key = |key: &&&str| sha256(key.as_bytes()) == hashed.key_hash;
                    let key = PRIVATE_KEYS.iter().find(is_key).unwrap();
                    let known = VALUES.iter().find(|value| sha256(value.as_bytes()) == hashed.value_hash);
                    let value = known.filter(|_| !hashed.is_delete || self.percent(20)).map(|value| (*value).into());
                    if self.percent(70) {
                        writes.push(PrivateWrite {
                            tx_index,
                            namespace: set.namespace.clone(),
                            collection: collection.name.clone(),
                            key: (*key).to_owned(),
                            value: if self.percent(10) { Some(self.value()) } else { value },
                        });
                    }
                }
            }
        }
        writes
    }

    fn range(&mut self, state: &State, namespace: &str) -> RangeQueryInfo {
        let (start, end) = (self.bound(namespace), self.bound(namespace));
        let mut kv_reads = rows(state, namespace, &start, &end);
        let itr_exhausted = self.percent(60);
        let end_key = if itr_exhausted {
            end
        } else if self.percent(30) {
            // No iterator ends like this, but whoever writes the set may: any key after the rows.
            kv_reads.extend(rows(state, namespace, &end, &(end.clone() + "\0")));
            end
        } else {
            kv_reads.truncate(self.rng.random_range(0..=kv_reads.len()));
            kv_reads.last().map_or(String::new(), |row| row.key.clone())
        };
        let mut info = RangeQueryInfo { start_key: start, end_key, itr_exhausted, reads_info: None };
        if self.percent(12) {
            self.spoil(&mut info, &mut kv_reads);
        }
        let degree = *one_of(&mut self.rng, &DEGREES);
        info.reads_info = match summary(degree, &kv_reads).filter(|_| self.percent(80)) {
            Some(hashes) => Some(ReadsInfo::ReadsMerkleHashes(self.spoilt(hashes))),
            None if kv_reads.is_empty() && self.percent(50) => None,
            None => Some(ReadsInfo::RawReads(QueryReads { kv_reads })),
        };
        info
    }

    /// Makes of a range one that nobody has read.
    fn spoil(&mut self, info: &mut RangeQueryInfo, rows: &mut Vec<KvRead>) {
        let place = self.rng.random_range(0..=rows.len());
        match self.rng.random_range(0..6) {
            0 => info.itr_exhausted = !info.itr_exhausted,
            1 => info.end_key = self.bound(NAMESPACES[0]),
            2 => rows.truncate(place),
            3 => rows.rotate_left(place),
            4 => rows.iter_mut().skip(place).take(1).for_each(|row| row.version = None),
            _ => rows.insert(place, KvRead { key: "never".into(), version: Some(Version::default()) }),
        }
    }

    fn spoilt(&mut self, mut hashes: QueryReadsMerkleSummary) -> QueryReadsMerkleSummary {
        if self.percent(8) {
            match self.rng.random_range(0..4) {
                0 => hashes.max_degree = self.rng.random_range(0..4),
                1 => hashes.max_level += 1,
                2 => drop(hashes.max_level_hashes.pop()),
                _ => hashes.max_level_hashes.push(sha256(b"more")),
            }
        }
        hashes
    }

    fn read_version(&mut self, state: &State, place: &(String, String, Vec<u8>), number: u64) -> Option<Version> {
        if self.percent(3) {
            let block_num = self.rng.random_range(0..=number);
            return self.percent(70).then(|| Version { block_num, tx_num: self.rng.random_range(0..3) });
        }
        state.get(place).map(|row| Version { block_num: row.version.0, tx_num: row.version.1 })
    }

    /// One or two entries, one with an empty value, or none at all.
    fn entries(&mut self) -> Vec<KvMetadataEntry> {
        let entry = |name: &str, value: Bytes| KvMetadataEntry { name: name.to_owned(), value };
        let value = self.value();
        match self.rng.random_range(0..5) {
            0 => Vec::new(),
            1 => vec![entry("VALIDATION_PARAMETER", Bytes::new())],
            2 => vec![entry("", value.clone()), entry("VALIDATION_PARAMETER", value)],
            _ => vec![entry("VALIDATION_PARAMETER", value)],
        }
    }

    fn namespace(&mut self) -> &'static str {
        NAMESPACES[self.rng.random_range(0..NAMESPACES.len())]
    }

    fn key(&mut self, namespace: &str) -> String {
        match namespace == MANY {
            true => numbered(self.rng.random_range(0..MANY_KEYS)),
            false => (*one_of(&mut self.rng, &KEYS)).to_owned(),
        }
    }

    /// The start or end of a range: a key, nothing, or between keys.
    fn bound(&mut self, namespace: &str) -> String {
        match self.rng.random_range(0..6) {
            0 | 1 => String::new(),
            2 => self.key(namespace) + "\0",
            _ => self.key(namespace),
        }
    }

    fn value(&mut self) -> Bytes {
        (*one_of(&mut self.rng, &VALUES)).into()
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }
}

fn one_of<'a, T>(rng: &mut TestRng, items: &'a [T]) -> &'a T {
    &items[rng.random_range(0..items.len())]
}

const VALUES: [&str; 6] = ["0", "1", "\0", "yes", "no", "a value that is somewhat longer than the others"];

fn numbered(number: usize) -> String {
    format!("key {number:04}")
}

fn namespace_set<'a>(set: &'a mut ReadWriteSet, name: &str) -> &'a mut NamespaceSet {
    let place = set.namespaces.iter().position(|set| set.namespace == name).unwrap_or_else(|| {
        set.namespaces.push(NamespaceSet { namespace: name.to_owned(), ..NamespaceSet::default() });
        set.namespaces.len() - 1
    });
    &mut set.namespaces[place]
}

fn collection_set<'a>(set: &'a mut NamespaceSet, name: &str) -> &'a mut CollectionSet {
    let place = set.collections.iter().position(|set| set.name == name).unwrap_or_else(|| {
        set.collections.push(CollectionSet { name: name.to_owned(), ..CollectionSet::default() });
        set.collections.len() - 1
    });
    &mut set.collections[place]
}

/// The codes with which stage one may refuse.
pub(crate) const REFUSED: TxValidationCode = EndorsementPolicyFailure;
