//! Blocks of ordinary transactions at which every Fabric 3.1.5 peer panics or halts for good.
//! Here they have an outcome, and the ledger goes on: with the next block, after a restart,
//! and when index and state are built again.

use std::sync::Arc;

use ripstop_ledger::store::MemoryStores;
use ripstop_ledger::{Ledger, Options, Version};
use ripstop_proto::kvrwset::range_query_info::ReadsInfo;
use ripstop_proto::kvrwset::{KvRead, QueryReads, RangeQueryInfo};
use ripstop_proto::protos::TxValidationCode::{self, PhantomReadConflict, Valid};
use ripstop_proto::range_query::ReadsSummary;

use crate::build::{CHANNEL, Sets, codes, commit, genesis, hash, sets, version};

/// Commits a block of the transactions after one that writes `before`, and the block after it.
/// The codes, the commit hash and everything later must be the same after a restart and a rebuild.
fn outcome(before: Sets, transactions: &[Sets]) -> (Vec<TxValidationCode>, [u8; 32], Ledger) {
    let options = Options::in_memory();
    let ledger = Ledger::create("ledger", CHANNEL, genesis(), options.clone()).unwrap();
    commit(&ledger, &[before]);
    let committed = commit(&ledger, transactions);
    assert_eq!(codes(&ledger, &[sets().write("next", "x")]), [Valid], "the ledger does not go on");
    drop(ledger);
    let reopened = Ledger::open("ledger", options.clone()).unwrap();
    assert_eq!(reopened.height(), 4);
    drop(reopened);
    let rebuilt = Options { stores: Arc::new(MemoryStores::new()), ..options };
    let ledger = Ledger::open("ledger", rebuilt).unwrap();
    assert_eq!(codes(&ledger, &[sets().read("next", version(3, 0)).write("next", "y")]), [Valid]);
    (committed.codes, committed.commit_hash, ledger)
}

#[test]
fn metadata_after_a_delete_in_the_block_changes_nothing() {
    let nothing = || sets().read("elsewhere", None);
    for (name, key) in [("a key that is there", "k"), ("a key that never was", "absent")] {
        let before = || sets().write("k", "old").metadata("k", Some("meta"));
        let (_, without, _) = outcome(before(), &[sets().delete(key), nothing(), nothing()]);
        for entries in [Some("m"), None] {
            let metadata = || sets().metadata(key, entries);
            let (codes, hash, ledger) = outcome(before(), &[sets().delete(key), metadata(), nothing()]);
            assert_eq!(codes, [Valid; 3], "{name}");
            assert_eq!(hash, without, "{name}: the delete keeps its version");
            assert_eq!(ledger.state().get("cc", key).unwrap(), None, "{name}");
        }
        // The delete stays what a later reader of the block meets.
        let transactions = [sets().delete(key), sets().metadata(key, Some("m")), sets().write(key, "new")];
        let (_, _, ledger) = outcome(before(), &transactions);
        let entry = ledger.state().get("cc", key).unwrap().unwrap();
        assert_eq!((entry.metadata, entry.version), (None, Version { block_number: 2, tx_index: 2 }), "{name}");
    }
}

#[test]
fn metadata_of_a_hashed_key_after_its_delete_in_the_block_changes_nothing() {
    let nothing = || sets().read("elsewhere", None);
    for key in ["p", "absent"] {
        let before = || sets().private_write("coll", "p", "old");
        let (_, without, _) = outcome(before(), &[sets().private_delete("coll", key), nothing()]);
        for entries in [Some("m"), None] {
            let metadata = sets().hashed_metadata("coll", key, entries);
            let (codes, commit_hash, ledger) = outcome(before(), &[sets().private_delete("coll", key), metadata]);
            assert_eq!((codes, commit_hash), (vec![Valid; 2], without), "{key}");
            assert_eq!(ledger.state().hashed("cc", "coll", &hash(key)).unwrap(), None);
        }
    }
}

fn rows(count: usize) -> impl Iterator<Item = KvRead> {
    (0..count).map(|index| KvRead { key: format!("k{index:05}"), version: version(1, 0) })
}

/// A range over all keys that begin with k, of which `count` were read.
fn range(reads_info: Option<ReadsInfo>) -> Sets {
    sets().range(RangeQueryInfo { start_key: "k".to_owned(), end_key: "l".to_owned(), itr_exhausted: true, reads_info })
}

fn summary(max_degree: u32, count: usize) -> Option<ReadsInfo> {
    let mut summary = ReadsSummary::new(max_degree);
    rows(count).for_each(|row| summary.push(row));
    summary.finish()
}

#[test]
fn a_summary_of_fifty_full_hashes_is_a_phantom_when_fifty_one_rows_more_are_there() {
    let now = rows(2_601).fold(sets(), |sets, row| sets.write(&row.key, "v"));
    let read = summary(50, 2_550);
    let Some(ReadsInfo::ReadsMerkleHashes(hashes)) = &read else { panic!("no summary") };
    assert_eq!((hashes.max_level, hashes.max_level_hashes.len()), (1, 50));
    let (codes, _, _) = outcome(now, &[range(read), range(summary(50, 2_601)), range(summary(50, 2_550))]);
    assert_eq!(codes, [PhantomReadConflict, Valid, PhantomReadConflict]);
}

#[test]
fn a_row_without_version_and_a_summary_without_shape_are_phantoms() {
    let before = || rows(60).fold(sets(), |sets, row| sets.write(&row.key, "v"));
    let mut unversioned: Vec<KvRead> = rows(60).collect();
    unversioned[59].version = None;
    let raw = Some(ReadsInfo::RawReads(QueryReads { kv_reads: unversioned }));
    let of_degree = |degree| match summary(50, 60) {
        Some(ReadsInfo::ReadsMerkleHashes(mut hashes)) => {
            hashes.max_degree = degree;
            Some(ReadsInfo::ReadsMerkleHashes(hashes))
        }
        other => other,
    };
    let transactions = [range(raw), range(of_degree(0)), range(of_degree(1)), range(of_degree(50))];
    let (codes, _, _) = outcome(before(), &transactions);
    assert_eq!(codes, [PhantomReadConflict, PhantomReadConflict, PhantomReadConflict, Valid]);
}
