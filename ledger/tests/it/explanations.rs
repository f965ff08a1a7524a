//! What an invalid transaction is told: the key that decided, what was read, what was found
//! instead, and who won.

use std::sync::Arc;

use ripstop_ledger::store::MemoryStores;
use ripstop_ledger::{CheckedBlock, Explanation, Ledger, Options, ReadConflict, Refusal, Verdict};
use ripstop_proto::kvrwset::range_query_info::ReadsInfo;
use ripstop_proto::kvrwset::{KvRead, RangeQueryInfo, Version};
use ripstop_proto::protos::TxValidationCode::{self, *};
use ripstop_proto::range_query::ReadsSummary;
use ripstop_proto::ripstop::v1::explanation::Reason;

use crate::build::{CHANNEL, Sets, commit, endorsed, genesis, hash, new_ledger, next_block, sets, version};

/// Why the transaction with this id is invalid.
pub(crate) fn explanation(ledger: &Ledger, tx_id: &str) -> Option<Explanation> {
    let position = ledger.transaction(tx_id).unwrap().unwrap();
    let explanation = ledger.explanation(&position).unwrap();
    if let Some(explanation) = &explanation {
        assert_eq!((explanation.tx_index, explanation.code), (position.tx_index, position.code as i32), "{tx_id}");
    }
    explanation
}

/// What the transaction with this id lost by.
fn conflict(ledger: &Ledger, tx_id: &str) -> ReadConflict {
    match explanation(ledger, tx_id).and_then(|explanation| explanation.reason) {
        Some(Reason::Conflict(conflict)) => conflict,
        other => panic!("{tx_id} lost by {other:?}"),
    }
}

/// A range over the rows from `start` up to `end`, run to its end.
fn range(start: &str, end: &str, rows: &[(&str, Option<Version>)]) -> Sets {
    let mut summary = ReadsSummary::default();
    rows.iter().for_each(|(key, version)| summary.push(KvRead { key: (*key).to_owned(), version: *version }));
    let (start_key, end_key, reads_info) = (start.to_owned(), end.to_owned(), summary.finish());
    sets().range(RangeQueryInfo { start_key, end_key, itr_exhausted: true, reads_info })
}

/// Key, version read, version found, winning transaction.
type Told = (&'static str, Option<Version>, Option<Version>, &'static str);

/// One way to lose: the blocks before, the block with the loser as its last transaction.
struct Case {
    name: &'static str,
    before: Vec<Vec<Sets>>,
    block: Vec<Sets>,
    code: TxValidationCode,
    told: Told,
}

/// Block 1: tx 0 writes a, b and c, tx 1 writes private key p. Blocks of a case begin with 2.
fn cases() -> Vec<Case> {
    let v = || version(1, 0);
    let read = || sets().read("a", v());
    let absent = || sets().read("absent", None);
    let hashed = || sets().hashed_read("coll", "p", version(1, 1));
    let all = || range("a", "d", &[("a", v()), ("b", v()), ("c", v())]);
    let write = |key| sets().write(key, "x");
    let delete = |key| sets().delete(key);
    let filler = || write("filler");
    let case = |name, before, block, code, told| Case { name, before, block, code, told };
    let mvcc = |name, before, block, told| case(name, before, block, MvccReadConflict, told);
    let phantom = |name, before, block, told| case(name, before, block, PhantomReadConflict, told);
    vec![
        mvcc("written in the block", vec![], vec![filler(), write("a"), read()], ("a", v(), version(2, 1), "tx-2-1")),
        mvcc(
            "written twice in the block",
            vec![],
            vec![write("a"), write("a"), read()],
            ("a", v(), version(2, 1), "tx-2-1"),
        ),
        mvcc("deleted in the block", vec![], vec![delete("a"), read()], ("a", v(), None, "tx-2-0")),
        mvcc(
            "absent and deleted in the block",
            vec![],
            vec![delete("absent"), absent()],
            ("absent", None, None, "tx-2-0"),
        ),
        mvcc(
            "created in the block",
            vec![],
            vec![write("absent"), absent()],
            ("absent", None, version(2, 0), "tx-2-0"),
        ),
        mvcc(
            "metadata set in the block",
            vec![],
            vec![sets().metadata("a", Some("m")), read()],
            ("a", v(), version(2, 0), "tx-2-0"),
        ),
        mvcc(
            "the first stale read is named",
            vec![],
            vec![write("b"), write("a"), read().read("b", v())],
            ("a", v(), version(2, 1), "tx-2-1"),
        ),
        mvcc(
            "written in an earlier block",
            vec![vec![filler(), write("a")], vec![filler()]],
            vec![read()],
            ("a", v(), version(2, 1), "tx-2-1"),
        ),
        mvcc(
            "created in an earlier block",
            vec![vec![write("absent")]],
            vec![absent()],
            ("absent", None, version(2, 0), "tx-2-0"),
        ),
        mvcc(
            "deleted in an earlier block",
            vec![vec![filler(), delete("a")], vec![filler()]],
            vec![read()],
            ("a", v(), None, "tx-2-1"),
        ),
        mvcc(
            "deleted again, without effect",
            vec![vec![delete("a")], vec![delete("a")]],
            vec![read()],
            ("a", v(), None, "tx-2-0"),
        ),
        mvcc(
            "deleted, written, deleted",
            vec![vec![delete("a"), write("a")], vec![delete("a")]],
            vec![read()],
            ("a", v(), None, "tx-3-0"),
        ),
        mvcc(
            "a loser's delete does not count",
            vec![vec![delete("a"), read().delete("a")]],
            vec![read()],
            ("a", v(), None, "tx-2-0"),
        ),
        mvcc(
            "hashed, in the block",
            vec![],
            vec![sets().private_write("coll", "p", "w"), hashed()],
            ("#p", version(1, 1), version(2, 0), "tx-2-0"),
        ),
        mvcc(
            "hashed, in an earlier block",
            vec![vec![sets().private_write("coll", "p", "w")]],
            vec![hashed()],
            ("#p", version(1, 1), version(2, 0), "tx-2-0"),
        ),
        mvcc(
            "hashed, deleted in an earlier block",
            vec![vec![sets().private_delete("coll", "p")]],
            vec![hashed()],
            ("#p", version(1, 1), None, "tx-2-0"),
        ),
        phantom("inserted in the block", vec![], vec![write("bb"), all()], ("bb", None, version(2, 0), "tx-2-0")),
        phantom(
            "inserted before all rows",
            vec![],
            vec![write("a!"), write("c"), all()],
            ("a!", None, version(2, 0), "tx-2-0"),
        ),
        phantom("inserted after all rows", vec![vec![write("ca")]], vec![all()], ("ca", None, version(2, 0), "tx-2-0")),
        phantom(
            "into an empty range",
            vec![vec![write("y")]],
            vec![range("x", "z", &[])],
            ("y", None, version(2, 0), "tx-2-0"),
        ),
        phantom("deleted in the block", vec![], vec![delete("b"), all()], ("b", v(), None, "tx-2-0")),
        phantom("deleted in an earlier block", vec![vec![delete("b")]], vec![all()], ("b", v(), None, "tx-2-0")),
        phantom(
            "the last row deleted in an earlier block",
            vec![vec![delete("c")]],
            vec![all()],
            ("c", v(), None, "tx-2-0"),
        ),
        phantom("changed in the block", vec![], vec![write("c"), all()], ("c", v(), version(2, 0), "tx-2-0")),
        phantom(
            "changed in an earlier block",
            vec![vec![write("c")]],
            vec![all()],
            ("c", v(), version(2, 0), "tx-2-0"),
        ),
        phantom(
            "the first difference is named",
            vec![vec![write("c")]],
            vec![delete("b"), all()],
            ("b", v(), None, "tx-3-0"),
        ),
    ]
}

#[test]
fn a_loser_is_told_key_versions_and_winner() {
    for Case { name, before, block, code, told } in cases() {
        let ledger = new_ledger();
        let seed = [sets().write("a", "1").write("b", "2").write("c", "3"), sets().private_write("coll", "p", "v")];
        commit(&ledger, &seed);
        before.iter().for_each(|transactions| drop(commit(&ledger, transactions)));
        let number = ledger.height();
        let codes = commit(&ledger, &block).codes;
        assert_eq!(codes.last(), Some(&code), "{name}");
        let conflict = conflict(&ledger, &format!("tx-{number}-{}", block.len() - 1));
        let (key, read, found, winner) = told;
        let (collection, key) = match key.strip_prefix('#') {
            Some(key) => ("coll", hex::encode(hash(key))),
            None => ("", key.to_owned()),
        };
        let found_instead = (conflict.namespace.as_str(), conflict.collection.as_str(), conflict.key.as_str());
        assert_eq!(found_instead, ("cc", collection, key.as_str()), "{name}");
        assert_eq!((conflict.read_version, conflict.found_version), (read, found), "{name}");
        assert_eq!(conflict.winner_tx_id, winner, "{name}");
        assert_eq!(conflict.within_block, winner.starts_with(&format!("tx-{number}-")), "{name}");
        assert_eq!(conflict.range.is_some(), code == PhantomReadConflict, "{name}");
    }
}

/// A range read of all keys that begin with k, too many to be in the transaction one by one.
fn summarized(rows: &[(String, Option<Version>)]) -> Sets {
    let rows: Vec<_> = rows.iter().map(|(key, version)| (key.as_str(), *version)).collect();
    let set = range("k", "l", &rows);
    let info = &set.0.namespaces[0].public.range_queries_info[0];
    assert!(matches!(info.reads_info, Some(ReadsInfo::ReadsMerkleHashes(_))));
    set
}

#[test]
fn of_a_summarized_range_the_key_written_last_is_named() {
    let rows: Vec<_> = (0..200).map(|index| (format!("k{index:03}"), version(1, 0))).collect();
    let seed = rows.iter().fold(sets().write("other", "x"), |sets, (key, _)| sets.write(key, "v"));
    let write = |key: &str| sets().write(key, "x");
    let delete = |key: &str| sets().delete(key);
    let other = || write("other");
    type Case = (&'static str, Vec<Vec<Sets>>, Vec<Sets>, (&'static str, Option<Version>, &'static str));
    let cases: [Case; 9] = [
        ("changed in the block", vec![], vec![other(), write("k100")], ("k100", version(2, 1), "tx-2-1")),
        ("inserted in the block", vec![], vec![write("k100a"), other()], ("k100a", version(2, 0), "tx-2-0")),
        ("deleted in the block", vec![vec![write("k7")]], vec![delete("k100")], ("k100", None, "tx-3-0")),
        ("no effect in the block", vec![vec![write("k100")]], vec![delete("k5x")], ("k100", version(2, 0), "tx-2-0")),
        (
            "changed before",
            vec![vec![other(), write("k100")], vec![other()]],
            vec![],
            ("k100", version(2, 1), "tx-2-1"),
        ),
        ("inserted before", vec![vec![write("k100a")]], vec![other()], ("k100a", version(2, 0), "tx-2-0")),
        ("deleted before", vec![vec![other(), delete("k100")], vec![other()]], vec![], ("k100", None, "tx-2-1")),
        (
            "changed, then another deleted",
            vec![vec![write("k7")], vec![delete("k100")]],
            vec![],
            ("k100", None, "tx-3-0"),
        ),
        (
            "deleted, then another changed",
            vec![vec![delete("k7"), write("k100")]],
            vec![],
            ("k100", version(2, 1), "tx-2-1"),
        ),
    ];
    for (name, before, mut block, (key, found, winner)) in cases {
        let ledger = new_ledger();
        commit(&ledger, std::slice::from_ref(&seed));
        before.iter().for_each(|transactions| drop(commit(&ledger, transactions)));
        let number = ledger.height();
        block.push(summarized(&rows));
        assert_eq!(commit(&ledger, &block).codes.last(), Some(&PhantomReadConflict), "{name}");
        let conflict = conflict(&ledger, &format!("tx-{number}-{}", block.len() - 1));
        assert_eq!((conflict.key.as_str(), conflict.winner_tx_id.as_str()), (key, winner), "{name}");
        assert_eq!((conflict.read_version, conflict.found_version), (None, found), "{name}");
        assert_eq!(conflict.within_block, winner.starts_with(&format!("tx-{number}-")), "{name}");
        assert!(conflict.range.unwrap().summarized, "{name}");
    }
}

#[test]
fn a_summarized_range_that_lost_all_its_rows_is_explained_too() {
    let rows: Vec<_> = (0..200).map(|index| (format!("k{index:03}"), version(1, 0))).collect();
    let ledger = new_ledger();
    commit(&ledger, &[rows.iter().fold(sets(), |sets, (key, _)| sets.write(key, "v"))]);
    commit(&ledger, &[rows.iter().fold(sets(), |sets, (key, _)| sets.delete(key))]);
    commit(&ledger, &[summarized(&rows)]);
    let conflict = conflict(&ledger, "tx-3-0");
    assert_eq!((conflict.winner_tx_id.as_str(), conflict.found_version), ("tx-2-0", None));
    assert!(rows.iter().any(|(key, _)| *key == conflict.key), "{}", conflict.key);
}

/// A block with a refusal of stage one, a valid transaction, a loser, and a used id.
fn mixed(ledger: &Ledger) -> CheckedBlock {
    let number = ledger.height();
    let stale = sets().read("a", version(9, 9)).write("a", "x");
    let names = ["refused", "valid", "loser", "valid"];
    let entry = |(name, set)| endorsed(&format!("{name}-{number}"), set);
    let valid = sets().write("a", "1");
    let entries = names.into_iter().zip([&valid, &valid, &stale, &valid]).map(entry).collect();
    let reason = Refusal {
        text: "Org2MSP did not sign".into(),
        rule: "AND('Org1MSP.peer', 'Org2MSP.peer')".into(),
        signed_by: vec!["Org1MSP".into()],
        missing: vec!["Org2MSP".into()],
        ..Refusal::default()
    };
    let refused = Verdict { code: EndorsementPolicyFailure, reason: Some(reason) };
    let verdicts = vec![refused, Verdict::valid(), Verdict::valid(), Verdict::valid()];
    CheckedBlock { block: next_block(ledger, entries), verdicts, private_writes: vec![] }
}

#[test]
fn a_refusal_is_explained_by_its_reason_and_a_valid_transaction_not_at_all() {
    let ledger = new_ledger();
    ledger.commit(mixed(&ledger)).unwrap();
    let Some(Reason::Refusal(refusal)) = explanation(&ledger, "refused-1").unwrap().reason else { panic!() };
    assert_eq!((refusal.tx_index, refusal.text.as_str()), (0, "Org2MSP did not sign"));
    assert_eq!((&refusal.signed_by[..], &refusal.missing[..]), (&["Org1MSP".into()][..], &["Org2MSP".into()][..]));
    assert_eq!(explanation(&ledger, "valid-1"), None);
    assert_eq!(conflict(&ledger, "loser-1").winner_tx_id, "valid-1");
    // The index knows only the first transaction of an id, its place knows the second.
    let second = ripstop_ledger::TransactionPosition { block_number: 1, tx_index: 3, code: DuplicateTxid };
    let duplicate = ledger.explanation(&second).unwrap().unwrap();
    assert_eq!((duplicate.code, duplicate.reason), (DuplicateTxid as i32, None));
}

fn all_of(ledger: &Ledger) -> Vec<Option<Explanation>> {
    let ids =
        (1..ledger.height()).flat_map(|number| ["refused", "valid", "loser"].map(|name| format!("{name}-{number}")));
    ids.map(|tx_id| explanation(ledger, &tx_id)).collect()
}

#[test]
fn explanations_survive_reopening_and_come_back_when_index_and_state_are_rebuilt() {
    let options = Options::in_memory();
    let ledger = Ledger::create("ledger", CHANNEL, genesis(), options.clone()).unwrap();
    (0..20).for_each(|_| drop(ledger.commit(mixed(&ledger)).unwrap()));
    let expected = all_of(&ledger);
    assert_eq!(expected.iter().filter(|explanation| explanation.is_some()).count(), 40);
    drop(ledger);
    assert_eq!(all_of(&Ledger::open("ledger", options.clone()).unwrap()), expected);
    let rebuilt = Options { stores: Arc::new(MemoryStores::new()), ..options };
    assert_eq!(all_of(&Ledger::open("ledger", rebuilt).unwrap()), expected);
}

#[test]
fn explanations_are_kept_for_the_newest_blocks_only_and_a_rebuild_keeps_the_same_ones() {
    let options = Options { explained_blocks: 5, ..Options::in_memory() };
    let ledger = Ledger::create("ledger", CHANNEL, genesis(), options.clone()).unwrap();
    (0..12).for_each(|_| drop(ledger.commit(mixed(&ledger)).unwrap()));
    let expected = all_of(&ledger);
    assert_eq!((ledger.height(), ledger.explained_from()), (13, 8));
    for (explanation, index) in expected.iter().zip(0..) {
        let (number, name) = (1 + index / 3, index % 3);
        assert_eq!(explanation.is_some(), number >= 8 && name != 1, "block {number}");
    }
    drop(ledger);
    let rebuilt = Options { stores: Arc::new(MemoryStores::new()), ..options };
    let ledger = Ledger::open("ledger", rebuilt).unwrap();
    assert_eq!(all_of(&ledger), expected);
    assert_eq!(ledger.explained_from(), 8);
}
