//! Random blocks, committed by ledgers with 1, 2 and 8 threads and by a serial one that is
//! written from the rules: codes, commit hashes and states are equal after
//! every block, and histories at the end.
//!
//! `RIPSTOP_ORACLE_BLOCKS` sets how many, `RIPSTOP_ORACLE_SEED` where to begin: every
//! message of a failure names the seed of its chain.

mod commit_hash;
mod random_block;
mod serial_ledger;
mod summary;
mod twin;

use std::collections::BTreeMap;

use ripstop_proto::common::HeaderType;
use ripstop_proto::kvrwset::range_query_info::ReadsInfo;
use ripstop_proto::protos::TxValidationCode::{self, DuplicateTxid, MvccReadConflict, PhantomReadConflict, Valid};
use ripstop_proto::read_write_set::ReadWriteSet;

use crate::build::{Sets, checked, endorsed, envelope, next_block};
use crate::environment::{number, random};
use random_block::{REFUSED, RandomBlocks};
use serial_ledger::{Contents, SerialLedger, Transaction};
use twin::Twin;

const BLOCKS: u64 = 600;
const SEED: u64 = 31;
const BLOCKS_PER_CHAIN: u64 = 200;

/// How often each kind of transaction got each code.
type Counts = BTreeMap<(&'static str, TxValidationCode), u64>;

#[test]
fn random_blocks_give_what_a_serial_ledger_gives_whatever_the_number_of_threads() {
    let (blocks, first_seed) = (number("RIPSTOP_ORACLE_BLOCKS", BLOCKS), number("RIPSTOP_ORACLE_SEED", SEED));
    println!("{blocks} blocks from RIPSTOP_ORACLE_SEED={first_seed} on");
    let mut counts = Counts::new();
    for (chain, seed) in (first_seed..).take(blocks.div_ceil(BLOCKS_PER_CHAIN) as usize).enumerate() {
        let left = blocks - chain as u64 * BLOCKS_PER_CHAIN;
        commit_chain(seed, left.min(BLOCKS_PER_CHAIN), &mut counts);
    }
    println!("{counts:#?}");
    if blocks >= BLOCKS {
        require_all_kinds(&counts);
    }
}

fn commit_chain(seed: u64, blocks: u64, counts: &mut Counts) {
    let mut serial = SerialLedger::begun_with(b"config");
    let twins = [Twin::in_memory(1), Twin::on_disk(2), Twin::in_memory(8)];
    let mut random_blocks = RandomBlocks::new(random(seed));
    for number in 1..=blocks {
        let place = format!("RIPSTOP_ORACLE_SEED={seed}, block {number}");
        let transactions = random_blocks.next(&serial.state, number);
        let entries = transactions.iter().map(entry).collect();
        let mut block = checked(next_block(&twins[0].ledger, entries));
        for (verdict, transaction) in block.verdicts.iter_mut().zip(&transactions) {
            verdict.code = transaction.verdict;
            block.private_writes.extend(transaction.private_writes.iter().cloned());
        }
        let codes = serial.commit(number, &transactions);
        for twin in &twins {
            let committed = twin.commit(block.clone(), &place);
            let threads = twin.threads;
            for ((index, found), expected) in committed.codes.iter().enumerate().zip(&codes) {
                assert_eq!(found, expected, "{place}, {threads} threads: {:#?}", transactions[index]);
            }
            assert_eq!(committed.commit_hash[..], serial.commit_hash, "{place}, {threads} threads: commit hash");
            twin.require_state_of(&serial, number, &place);
            let same_bytes = twin.ledger.record(number).unwrap() == twins[0].ledger.record(number).unwrap();
            assert!(same_bytes, "{place}, {threads} threads: another record");
        }
        count(&transactions, &codes, counts);
    }
    twins[0].require_history_of(&serial, &format!("RIPSTOP_ORACLE_SEED={seed}"));
    for twin in twins {
        let place = format!("RIPSTOP_ORACLE_SEED={seed}, index and state built again from {blocks} blocks");
        let twin = twin.rebuilt();
        twin.require_state_of(&serial, 0, &place);
        twin.require_history_of(&serial, &place);
    }
}

fn entry(transaction: &Transaction) -> bytes::Bytes {
    match &transaction.contents {
        Contents::Endorsed(read_write_set) => endorsed(&transaction.tx_id, &Sets(read_write_set.clone())),
        Contents::Config(config) => envelope(HeaderType::Config, &transaction.tx_id, config.to_vec()),
    }
}

fn count(transactions: &[Transaction], codes: &[TxValidationCode], counts: &mut Counts) {
    for (transaction, code) in transactions.iter().zip(codes) {
        for kind in kinds(transaction) {
            *counts.entry((kind, *code)).or_default() += 1;
        }
    }
}

fn kinds(transaction: &Transaction) -> Vec<&'static str> {
    let Contents::Endorsed(ReadWriteSet { namespaces }) = &transaction.contents else { return vec!["config"] };
    let public = || namespaces.iter().map(|set| &set.public);
    let ranges = || public().flat_map(|set| &set.range_queries_info);
    let summaries = || {
        ranges().filter_map(|range| match &range.reads_info {
            Some(ReadsInfo::ReadsMerkleHashes(hashes)) => Some(hashes),
            _ => None,
        })
    };
    let hashed = || namespaces.iter().flat_map(|set| &set.collections).map(|set| &set.hashed);
    let is_repeated = public().any(|set| {
        let keys = set.writes.iter().map(|write| &write.key);
        keys.clone().collect::<std::collections::BTreeSet<_>>().len() < keys.count()
    });
    let kinds = [
        ("read", public().any(|set| set.reads.iter().any(|read| read.version.is_some()))),
        ("read of nothing", public().any(|set| set.reads.iter().any(|read| read.version.is_none()))),
        ("range", ranges().any(|range| matches!(range.reads_info, Some(ReadsInfo::RawReads(_))))),
        ("range left early", ranges().any(|range| !range.itr_exhausted && range.reads_info.is_some())),
        ("empty range", ranges().any(|range| range.reads_info.is_none())),
        ("summary", summaries().count() > 0),
        ("deep summary", summaries().any(|hashes| hashes.max_level > 2)),
        ("summary of 50", summaries().any(|hashes| hashes.max_degree == 50)),
        ("write", public().any(|set| set.writes.iter().any(|write| !write.is_delete && !write.value.is_empty()))),
        ("empty value", public().any(|set| set.writes.iter().any(|write| !write.is_delete && write.value.is_empty()))),
        ("delete", public().any(|set| set.writes.iter().any(|write| write.is_delete))),
        ("key twice", is_repeated),
        ("metadata", public().any(|set| set.metadata_writes.iter().any(|write| !write.entries.is_empty()))),
        ("zero entries", public().any(|set| set.metadata_writes.iter().any(|write| write.entries.is_empty()))),
        ("hashed read", hashed().any(|set| !set.hashed_reads.is_empty())),
        ("hashed write", hashed().any(|set| !set.hashed_writes.is_empty())),
        ("hashed metadata", hashed().any(|set| !set.metadata_writes.is_empty())),
        ("purge", hashed().any(|set| set.hashed_writes.iter().any(|write| write.is_purge))),
        ("private value", !transaction.private_writes.is_empty()),
        ("several namespaces", namespaces.len() > 1),
        ("any", true),
    ];
    kinds.into_iter().filter(|(_, is_so)| *is_so).map(|(kind, _)| kind).collect()
}

/// A run in which some rule was never asked for would prove little.
fn require_all_kinds(counts: &Counts) {
    let count = |kind, code| counts.get(&(kind, code)).copied().unwrap_or_default();
    let kinds: std::collections::BTreeSet<&str> = counts.keys().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds.len(), 22, "{kinds:?}");
    for kind in kinds {
        assert!(count(kind, Valid) >= 5, "few valid ones of {kind:?}: {counts:#?}");
    }
    for (kind, code) in [
        ("read", MvccReadConflict),
        ("read of nothing", MvccReadConflict),
        ("hashed read", MvccReadConflict),
        ("range", PhantomReadConflict),
        ("range left early", PhantomReadConflict),
        ("empty range", PhantomReadConflict),
        ("summary", PhantomReadConflict),
        ("deep summary", PhantomReadConflict),
        ("summary of 50", PhantomReadConflict),
        ("several namespaces", PhantomReadConflict),
        ("any", DuplicateTxid),
        ("any", REFUSED),
    ] {
        assert!(count(kind, code) >= 5, "few of {kind:?} got {code:?}: {counts:#?}");
    }
}
