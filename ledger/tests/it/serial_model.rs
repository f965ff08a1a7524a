//! Random blocks, committed by the ledger and by a model that is too simple to be wrong:
//! one map, one transaction after the other.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ripstop_ledger::{Explanation, Ledger, ReadConflict, Simulator, Version};
use ripstop_proto::commit_hash::{self, Update};
use ripstop_proto::kvrwset::range_query_info::ReadsInfo;
use ripstop_proto::kvrwset::{self, KvRead, RangeQueryInfo};
use ripstop_proto::protos::TxValidationCode::{self, MvccReadConflict, PhantomReadConflict, Valid};
use ripstop_proto::range_query::ReadsSummary;
use ripstop_proto::read_write_set::ReadWriteSet;
use ripstop_proto::ripstop::v1::explanation::Reason;

use crate::build::{Sets, commit, hash, new_ledger, sets, stored_metadata};
use crate::explanations::explanation;

const KEYS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// What a transaction does, by key index.
#[derive(Debug, Clone)]
enum Op {
    Read(usize),
    Write(usize, u8),
    Delete(usize),
    Metadata(usize, u8),
    /// From key to key, that many rows, or to the end when there are fewer.
    Range(usize, usize, usize),
    PrivateHash(usize),
    PrivateWrite(usize, u8),
    PrivateDelete(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..KEYS.len();
    prop_oneof![
        3 => key.clone().prop_map(Op::Read),
        4 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Op::Write(key, value)),
        2 => key.clone().prop_map(Op::Delete),
        2 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Op::Metadata(key, value)),
        2 => (key.clone(), key.clone(), 0_usize..6).prop_map(|(start, end, rows)| Op::Range(start, end, rows)),
        1 => key.clone().prop_map(Op::PrivateHash),
        1 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Op::PrivateWrite(key, value)),
        1 => key.prop_map(Op::PrivateDelete),
    ]
}

/// A transaction, and whether it is held back for a block, so that its reads grow stale.
type Planned = (Vec<Op>, bool);

fn blocks() -> impl Strategy<Value = Vec<Vec<Planned>>> {
    let transaction = (prop::collection::vec(op(), 1..5), any::<bool>());
    prop::collection::vec(prop::collection::vec(transaction, 1..7), 1..7)
}

/// Runs a transaction on the ledger's state.
fn simulate(ledger: &Ledger, ops: &[Op]) -> Sets {
    let mut simulator = ledger.simulator();
    for op in ops {
        match op {
            Op::Read(key) => drop(simulator.get_state("cc", KEYS[*key]).unwrap()),
            Op::Write(key, value) => simulator.put_state("cc", KEYS[*key], format!("v{value}").into()).unwrap(),
            Op::Delete(key) => simulator.delete_state("cc", KEYS[*key]).unwrap(),
            Op::Metadata(key, value) => {
                let entry = (!value.is_multiple_of(5)).then(|| ("m".to_owned(), value.to_string().into()));
                simulator.put_metadata("cc", KEYS[*key], entry.into_iter().collect()).unwrap();
            }
            Op::Range(start, end, rows) => run_range(&mut simulator, KEYS[*start], KEYS[*end], *rows),
            Op::PrivateHash(key) => drop(simulator.private_hash("cc", "coll", KEYS[*key]).unwrap()),
            Op::PrivateWrite(key, value) => {
                simulator.put_private("cc", "coll", KEYS[*key], format!("p{value}").into()).unwrap()
            }
            Op::PrivateDelete(key) => simulator.delete_private("cc", "coll", KEYS[*key]).unwrap(),
        }
    }
    let result = simulator.finish().read_write_set;
    Sets(ReadWriteSet::decode(prost::Message::encode_to_vec(&result).into()).unwrap())
}

fn run_range(simulator: &mut Simulator, start: &str, end: &str, rows: usize) {
    let range = simulator.open_range("cc", start, end);
    let mut fetched = 0;
    while fetched < rows && simulator.next(range).unwrap().is_some() {
        fetched += 1;
    }
    simulator.close_range(range);
}

/// Public keys stand as they are, private ones as "#" and the hash.
#[derive(Default)]
struct Model {
    state: BTreeMap<Vec<u8>, Entry>,
    /// Keys that the block has touched, with the version of the last write.
    touched: BTreeMap<Vec<u8>, Version>,
    commit_hash: Vec<u8>,
    /// Every touch of every key, with whether the key was there afterwards.
    history: BTreeMap<Vec<u8>, Vec<(Version, bool)>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    value: Vec<u8>,
    metadata: Option<Vec<u8>>,
    version: Version,
}

fn private(key_hash: &[u8]) -> Vec<u8> {
    [b"#", key_hash].concat()
}

impl Model {
    fn commit(&mut self, number: u64, transactions: &[Sets]) -> Vec<TxValidationCode> {
        self.touched.clear();
        let mut codes = Vec::new();
        for (transaction, tx_index) in transactions.iter().zip(0..) {
            let code = self.judge(transaction);
            if code == Valid {
                self.apply(transaction, Version::new(number, tx_index));
            }
            codes.push(code);
        }
        let filter: Vec<u8> = codes.iter().map(|code| *code as i32 as u8).collect();
        self.commit_hash = commit_hash::chain(&filter, self.updates(), &self.commit_hash).to_vec();
        codes
    }

    /// The explanation names what the transaction read, what was there when it was judged,
    /// and a transaction that touched the key in between.
    fn require_true(&self, loser: &Sets, place: Version, explanation: &Explanation) {
        let Some(Reason::Conflict(conflict)) = &explanation.reason else { panic!("{explanation:?} has no conflict") };
        let key = match conflict.collection.as_str() {
            "" => conflict.key.clone().into_bytes(),
            _ => private(&hex::decode(&conflict.key).unwrap()),
        };
        let read = conflict.read_version.as_ref().map(Version::from);
        assert!(was_read(loser, &key, read, conflict), "{conflict:?} was not read by {loser:?}");

        let earlier = self.history.get(&key).into_iter().flatten().filter(|(version, _)| *version < place);
        let earlier: Vec<_> = earlier.collect();
        let found = earlier.last().filter(|(_, is_there)| *is_there).map(|(version, _)| *version);
        assert_eq!(conflict.found_version.as_ref().map(Version::from), found, "{conflict:?}: {earlier:?}");

        let winner = conflict.winner.as_ref().map(Version::from).unwrap();
        assert!(earlier.iter().any(|(version, _)| *version == winner), "{conflict:?}: {earlier:?}");
        assert!(read.is_none_or(|read| winner > read), "{conflict:?}");
        let is_mvcc = explanation.code() == MvccReadConflict;
        assert!(read != found || (is_mvcc && conflict.within_block), "{conflict:?}");
        assert_eq!(conflict.within_block, winner.block_number == place.block_number, "{conflict:?}");
        assert_eq!(conflict.winner_tx_id, format!("tx-{}-{}", winner.block_number, winner.tx_index));
    }

    fn judge(&self, transaction: &Sets) -> TxValidationCode {
        for set in &transaction.0.namespaces {
            let mut reads = set.public.reads.iter().map(|read| (read.key.as_bytes().to_vec(), read.version));
            if reads.any(|(key, version)| self.is_stale(&key, version.map(|version| Version::from(&version)))) {
                return MvccReadConflict;
            }
            if set.public.range_queries_info.iter().any(|info| self.has_other_rows(info)) {
                return PhantomReadConflict;
            }
            let hashed = set.collections.iter().flat_map(|set| &set.hashed.hashed_reads);
            let mut reads = hashed.map(|read| (private(&read.key_hash), read.version));
            if reads.any(|(key, version)| self.is_stale(&key, version.map(|version| Version::from(&version)))) {
                return MvccReadConflict;
            }
        }
        Valid
    }

    fn is_stale(&self, key: &[u8], read: Option<Version>) -> bool {
        self.touched.contains_key(key) || self.state.get(key).map(|entry| entry.version) != read
    }

    fn has_other_rows(&self, info: &RangeQueryInfo) -> bool {
        let (start, end) = (info.start_key.as_bytes(), info.end_key.as_bytes());
        let inside = |key: &[u8]| !key.starts_with(b"#") && key >= start && (end.is_empty() || key < end);
        let mut summary = ReadsSummary::default();
        let mut add = |key: &[u8], entry: &Entry| {
            let key = String::from_utf8(key.to_vec()).unwrap();
            summary.push(KvRead { key, version: Some(entry.version.into()) });
        };
        self.state.iter().filter(|(key, _)| inside(key)).for_each(|(key, entry)| add(key, entry));
        if !info.itr_exhausted
            && let Some(entry) = self.state.get(end)
        {
            add(end, entry);
        }
        let now: Option<ReadsInfo> = summary.finish();
        now != info.reads_info
    }

    fn apply(&mut self, transaction: &Sets, version: Version) {
        for set in &transaction.0.namespaces {
            for write in &set.public.writes {
                let value = (!write.is_delete).then(|| write.value.to_vec());
                self.write(write.key.clone().into_bytes(), value, version);
            }
            for write in &set.public.metadata_writes {
                let key = write.key.clone().into_bytes();
                let deleted = set.public.writes.iter().any(|other| other.key == write.key && other.is_delete);
                if !deleted && let Some(entry) = self.state.get_mut(&key) {
                    let value = write.entries.first().map(|entry| String::from_utf8(entry.value.to_vec()).unwrap());
                    entry.metadata = value.map(|value| stored_metadata(&value).to_vec());
                    entry.version = version;
                    self.touch(key, version);
                }
            }
            for write in set.collections.iter().flat_map(|set| &set.hashed.hashed_writes) {
                let value = (!write.is_delete).then(|| write.value_hash.to_vec());
                self.write(private(&write.key_hash), value, version);
            }
        }
    }

    fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>, version: Version) {
        match value {
            Some(value) => {
                let metadata = self.state.get(&key).and_then(|entry| entry.metadata.clone());
                self.state.insert(key.clone(), Entry { value, metadata, version });
            }
            None => drop(self.state.remove(&key)),
        }
        self.touch(key, version);
    }

    fn touch(&mut self, key: Vec<u8>, version: Version) {
        let is_there = self.state.contains_key(&key);
        self.history.entry(key.clone()).or_default().push((version, is_there));
        self.touched.insert(key, version);
    }

    /// The block's updates in the order of the commit hash: public keys, then hashed ones.
    fn updates(&self) -> Vec<Update<'_>> {
        let (hashed, public): (Vec<_>, Vec<_>) = self.touched.iter().partition(|(key, _)| key.starts_with(b"#"));
        let entry = |key: &'_ Vec<u8>| self.state.get(key).map(|entry| entry.value.as_slice());
        public
            .into_iter()
            .map(|(key, version)| (None, &key[..], entry(key), version))
            .chain(hashed.into_iter().map(|(key, version)| (Some("coll"), &key[1..], entry(key), version)))
            .map(|(collection, key, value, version)| Update {
                namespace: "cc",
                collection,
                key,
                value,
                block_number: version.block_number,
                tx_index: version.tx_index,
            })
            .collect()
    }
}

/// Whether a transaction read this key with this version, or a range that holds it.
fn was_read(transaction: &Sets, key: &[u8], version: Option<Version>, conflict: &ReadConflict) -> bool {
    let same = |read: &Option<kvrwset::Version>| read.as_ref().map(Version::from) == version;
    let set = &transaction.0.namespaces[0];
    let Some(range) = &conflict.range else {
        let public = set.public.reads.iter().any(|read| read.key.as_bytes() == key && same(&read.version));
        let hashed = set.collections.iter().flat_map(|set| &set.hashed.hashed_reads);
        return public || hashed.into_iter().any(|read| private(&read.key_hash) == key && same(&read.version));
    };
    set.public.range_queries_info.iter().any(|info| {
        let rows = match &info.reads_info {
            Some(ReadsInfo::RawReads(reads)) => &reads.kv_reads[..],
            _ => &[],
        };
        let row = rows.iter().find(|row| row.key.as_bytes() == key);
        let is_same_range = info.start_key == range.start_key && info.end_key == range.end_key;
        is_same_range && row.is_some() == version.is_some() && row.is_none_or(|row| same(&row.version))
    })
}

fn public_state(ledger: &Ledger) -> BTreeMap<Vec<u8>, Entry> {
    let rows = ledger.state().range("cc", "", "").map(Result::unwrap);
    rows.map(|(key, entry)| (key.into_bytes(), entry_of(entry))).collect()
}

fn entry_of(entry: ripstop_ledger::VersionedValue) -> Entry {
    let metadata = entry.metadata.map(|metadata| metadata.to_vec());
    Entry { value: entry.value.to_vec(), metadata, version: entry.version }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn committing_blocks_equals_one_transaction_after_the_other_on_a_plain_map(blocks in blocks()) {
        let ledger = new_ledger();
        let mut model = Model::default();
        let mut held_back: Vec<Sets> = Vec::new();
        for (planned, number) in blocks.iter().zip(1..) {
            let mut transactions = std::mem::take(&mut held_back);
            for (ops, holds_back) in planned {
                let target = if *holds_back { &mut held_back } else { &mut transactions };
                target.push(simulate(&ledger, ops));
            }
            if transactions.is_empty() {
                transactions.push(sets().write("g", "filler"));
            }
            let committed = commit(&ledger, &transactions);
            let codes = model.commit(number, &transactions);
            prop_assert_eq!(&committed.codes, &codes);
            for ((transaction, code), tx_index) in transactions.iter().zip(codes).zip(0..) {
                let explanation = explanation(&ledger, &format!("tx-{number}-{tx_index}"));
                prop_assert_eq!(explanation.is_some(), code != Valid);
                if let Some(explanation) = explanation {
                    model.require_true(transaction, Version::new(number, tx_index), &explanation);
                }
            }
            prop_assert_eq!(&committed.commit_hash[..], &model.commit_hash[..]);
            let public = model.state.iter().filter(|(key, _)| !key.starts_with(b"#"));
            let expected: BTreeMap<_, _> = public.map(|(key, entry)| (key.clone(), entry.clone())).collect();
            prop_assert_eq!(public_state(&ledger), expected);
            for key in KEYS.iter().collect::<BTreeSet<_>>() {
                let found = ledger.state().hashed("cc", "coll", &hash(key)).unwrap().map(entry_of);
                prop_assert_eq!(found.as_ref(), model.state.get(&private(&hash(key))));
            }
        }
    }
}
