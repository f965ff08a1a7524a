//! When a read is stale (Fabric's `core/ledger/kvledger/txmgmt/validation/validator.go` and
//! `rangequery_validator.go`), corner cases included.

use ripstop_ledger::{CheckedBlock, Ledger, Verdict};
use ripstop_proto::common::HeaderType;
use ripstop_proto::kvrwset::range_query_info::ReadsInfo;
use ripstop_proto::kvrwset::{KvRead, QueryReads, RangeQueryInfo, Version};
use ripstop_proto::protos::TxValidationCode::{
    self, BadProposalTxid, DuplicateTxid, InvalidConfigTransaction, InvalidOtherReason, MvccReadConflict, NilTxaction,
    PhantomReadConflict, Valid,
};
use ripstop_proto::range_query::ReadsSummary;

use crate::build::{Sets, codes, commit, endorsed, envelope, new_ledger, next_block, sets, version};

fn row(key: &str, version: Option<Version>) -> KvRead {
    KvRead { key: key.to_owned(), version }
}

/// A range over [start, end) that was run to its end, or up to and including `end`.
fn range(start: &str, end: &str, itr_exhausted: bool, rows: Vec<KvRead>) -> RangeQueryInfo {
    let reads_info = (!rows.is_empty()).then_some(ReadsInfo::RawReads(QueryReads { kv_reads: rows }));
    RangeQueryInfo { start_key: start.to_owned(), end_key: end.to_owned(), itr_exhausted, reads_info }
}

/// Block 1: tx 0 writes a, b and c, tx 1 writes private key p.
fn seeded() -> Ledger {
    let ledger = new_ledger();
    commit(&ledger, &[sets().write("a", "1").write("b", "2").write("c", "3"), sets().private_write("coll", "p", "v")]);
    ledger
}

fn check(name: &str, transactions: &[Sets], expected: &[TxValidationCode]) {
    assert_eq!(codes(&seeded(), transactions), expected, "{name}");
}

#[test]
fn a_point_read_is_stale_after_any_write_of_the_key() {
    let read = |key: &str| sets().read(key, version(1, 0));
    let absent = || sets().read("absent", None);
    check("nothing was written", &[read("a"), absent()], &[Valid, Valid]);
    check("another version", &[sets().read("a", version(1, 1))], &[MvccReadConflict]);
    check("read as absent", &[sets().read("a", None)], &[MvccReadConflict]);
    check("read as present", &[sets().read("absent", version(1, 0))], &[MvccReadConflict]);
    check("an empty version is not absence", &[sets().read("absent", version(0, 0))], &[MvccReadConflict]);
    check("written before in the block", &[sets().write("a", "x"), read("a")], &[Valid, MvccReadConflict]);
    check("written after in the block", &[read("a"), sets().write("a", "x")], &[Valid, Valid]);
    check("deleted in the block", &[sets().delete("a"), read("a")], &[Valid, MvccReadConflict]);
    check("an absent key deleted in the block", &[sets().delete("absent"), absent()], &[Valid, MvccReadConflict]);
    check("metadata changed in the block", &[sets().metadata("a", Some("m")), read("a")], &[Valid, MvccReadConflict]);
    check("metadata of an absent key", &[sets().metadata("absent", Some("m")), absent()], &[Valid, Valid]);
    check(
        "the in-block version itself",
        &[sets().write("a", "x"), sets().read("a", version(2, 0))],
        &[Valid, MvccReadConflict],
    );
    let loser = read("a").write("a", "y").write("b", "y");
    check(
        "a loser's writes do not count",
        &[sets().write("a", "x"), loser, read("b")],
        &[Valid, MvccReadConflict, Valid],
    );
    check("blind writes never conflict", &[sets().write("a", "x"), sets().write("a", "y")], &[Valid, Valid]);
}

#[test]
fn what_genesis_wrote_has_version_zero_and_is_not_absent() {
    let mut transaction = sets();
    transaction.namespace("").public.reads.push(row("CHANNEL_CONFIG_ENV_BYTES", version(0, 0)));
    assert_eq!(codes(&new_ledger(), &[transaction]), [Valid]);
}

#[test]
fn a_hashed_read_is_stale_after_any_write_of_the_hash() {
    let read = |tx_index| sets().hashed_read("coll", "p", version(1, tx_index));
    check("unchanged", &[read(1), sets().hashed_read("coll", "q", None)], &[Valid, Valid]);
    check("another version", &[read(0)], &[MvccReadConflict]);
    check("written in the block", &[sets().private_write("coll", "p", "w"), read(1)], &[Valid, MvccReadConflict]);
    check(
        "deleted in the block",
        &[sets().private_delete("coll", "q"), sets().hashed_read("coll", "q", None)],
        &[Valid, MvccReadConflict],
    );
    check("another collection", &[sets().private_write("other", "p", "w"), read(1)], &[Valid, Valid]);
    check("metadata", &[sets().hashed_metadata("coll", "p", Some("m")), read(1)], &[Valid, MvccReadConflict]);
}

#[test]
fn a_range_read_is_stale_when_running_it_again_gives_other_rows() {
    let v = || version(1, 0);
    let all = || sets().range(range("a", "d", true, vec![row("a", v()), row("b", v()), row("c", v())]));
    let two = || sets().range(range("a", "b", false, vec![row("a", v()), row("b", v())]));
    let empty = || sets().range(range("x", "y", true, vec![]));
    check("unchanged", &[all(), two(), empty()], &[Valid, Valid, Valid]);
    check("no end key is the end", &[sets().range(range("b", "", true, vec![row("b", v()), row("c", v())]))], &[Valid]);
    check("the end is exclusive when exhausted", &[sets().range(range("a", "b", true, vec![row("a", v())]))], &[Valid]);
    check(
        "a row too few",
        &[sets().range(range("a", "d", true, vec![row("a", v()), row("b", v())]))],
        &[PhantomReadConflict],
    );
    check(
        "a row too many",
        &[sets().range(range("a", "b", true, vec![row("a", v()), row("b", v())]))],
        &[PhantomReadConflict],
    );
    check(
        "another version",
        &[sets().range(range("a", "b", true, vec![row("a", version(1, 1))]))],
        &[PhantomReadConflict],
    );
    check(
        "a row without version",
        &[sets().range(range("a", "b", true, vec![row("a", None)]))],
        &[PhantomReadConflict],
    );
    check(
        "inserted in the block",
        &[sets().write("aa", "x"), all(), two()],
        &[Valid, PhantomReadConflict, PhantomReadConflict],
    );
    check("inserted after what was read", &[sets().write("bb", "x"), two()], &[Valid, Valid]);
    check("into an empty range", &[sets().write("xx", "x"), empty()], &[Valid, PhantomReadConflict]);
    check("changed in the block", &[sets().write("b", "x"), two()], &[Valid, PhantomReadConflict]);
    check("metadata changed in the block", &[sets().metadata("b", Some("m")), two()], &[Valid, PhantomReadConflict]);
    check("deleted in the block", &[sets().delete("b"), two()], &[Valid, PhantomReadConflict]);
    check(
        "the end key deleted in the block",
        &[sets().delete("b"), sets().range(range("a", "b", false, vec![row("a", v())]))],
        &[Valid, Valid],
    );
    check("an absent key deleted in the block is no phantom", &[sets().delete("aa"), all()], &[Valid, Valid]);
    check(
        "inserted and deleted again in the block",
        &[sets().write("aa", "x"), sets().delete("aa"), all()],
        &[Valid, Valid, Valid],
    );
}

#[test]
fn a_change_of_metadata_makes_reads_of_later_blocks_stale() {
    let v = || version(1, 0);
    for entries in [Some("m"), Some(""), None] {
        let ledger = seeded();
        commit(&ledger, &[sets().metadata("b", entries).hashed_metadata("coll", "p", entries)]);
        let of_b = |version| sets().range(range("a", "c", true, vec![row("a", v()), row("b", version)]));
        let transactions = [
            sets().read("b", v()),
            of_b(v()),
            sets().hashed_read("coll", "p", version(1, 1)),
            sets().read("b", version(2, 0)),
            of_b(version(2, 0)),
            sets().hashed_read("coll", "p", version(2, 0)),
        ];
        let expected = [MvccReadConflict, PhantomReadConflict, MvccReadConflict, Valid, Valid, Valid];
        assert_eq!(codes(&ledger, &transactions), expected, "{entries:?}");
    }
}

#[test]
fn raw_reads_without_rows_are_an_empty_result_as_no_reads_at_all_are() {
    let raw = |start: &str, end: &str| {
        let mut info = range(start, end, true, vec![]);
        info.reads_info = Some(ReadsInfo::RawReads(QueryReads { kv_reads: vec![] }));
        sets().range(info)
    };
    check("an empty range", &[raw("x", "y")], &[Valid]);
    check("rows are there", &[raw("a", "b")], &[PhantomReadConflict]);
    check("rows came in the block", &[sets().write("xx", "x"), raw("x", "y")], &[Valid, PhantomReadConflict]);
}

#[test]
fn a_range_that_was_closed_early_in_raw_form_ends_with_the_last_row_fetched() {
    let v = || version(1, 0);
    let closed = || sets().range(range("a", "b", false, vec![row("a", v()), row("b", v())]));
    check("nothing changed", &[closed()], &[Valid]);
    check("after the last row", &[sets().write("b0", "x").delete("c"), closed()], &[Valid, Valid]);
    check("before the last row", &[sets().write("a0", "x"), closed()], &[Valid, PhantomReadConflict]);
    check("the last row", &[sets().write("b", "x"), closed()], &[Valid, PhantomReadConflict]);
}

#[test]
fn conflicts_in_one_namespace_do_not_touch_another() {
    let in_other = |write: Sets| {
        let mut write = write;
        write.0.namespaces[0].namespace = "other".to_owned();
        write
    };
    let range_of_a = || sets().range(range("a", "b", true, vec![row("a", version(1, 0))]));
    check(
        "the same keys elsewhere",
        &[in_other(sets().write("a", "x").delete("b")), sets().read("a", version(1, 0)), range_of_a()],
        &[Valid, Valid, Valid],
    );
    let both = || {
        let mut both = sets().write("a", "x");
        both.namespace("other").public = sets().write("z", "1").0.namespaces[0].public.clone();
        both
    };
    let read_other = in_other(sets().read("z", None));
    check("written in both", &[both(), read_other, range_of_a()], &[Valid, MvccReadConflict, PhantomReadConflict]);
}

#[test]
fn a_range_that_was_not_run_to_its_end_has_its_end_key_after_all_rows() {
    let v = || version(1, 0);
    let check_one =
        |name, start, end, rows, expected| check(name, &[sets().range(range(start, end, false, rows))], &[expected]);
    check_one("start after end", "c", "a", vec![row("a", v())], Valid);
    check_one("an absent end key", "a", "bb", vec![row("a", v()), row("b", v())], Valid);
    check_one("no end key: to the end of the namespace", "b", "", vec![row("b", v()), row("c", v())], Valid);
    check_one("the end key missing", "a", "b", vec![row("a", v())], PhantomReadConflict);
    let written_in_block = range("a", "bb", false, vec![row("a", v()), row("b", v()), row("bb", version(2, 0))]);
    check("an end key of the block", &[sets().write("bb", "x"), sets().range(written_in_block)], &[Valid, Valid]);
}

#[test]
fn an_end_key_that_is_empty_is_looked_up_too() {
    let ledger = new_ledger();
    commit(&ledger, &[sets().write("", "odd").write("a", "1")]);
    let rows = vec![row("a", version(1, 0)), row("", version(1, 0))];
    assert_eq!(codes(&ledger, &[sets().range(range("a", "", false, rows))]), [Valid]);
}

#[test]
fn the_version_zero_is_a_version_in_a_range_and_in_a_summary_too() {
    let mut info =
        range("CHANNEL_CONFIG", "CHANNEL_CONFIH", true, vec![row("CHANNEL_CONFIG_ENV_BYTES", version(0, 0))]);
    let of_config = |info: RangeQueryInfo| {
        let mut transaction = sets();
        transaction.namespace("").public.range_queries_info.push(info);
        transaction
    };
    assert_eq!(codes(&new_ledger(), &[of_config(info.clone())]), [Valid]);
    info.reads_info =
        Some(ReadsInfo::RawReads(QueryReads { kv_reads: vec![row("CHANNEL_CONFIG_ENV_BYTES", version(0, 1))] }));
    assert_eq!(codes(&new_ledger(), &[of_config(info)]), [PhantomReadConflict]);
}

fn summarized(max_degree: u32, count: usize) -> RangeQueryInfo {
    let mut summary = ReadsSummary::new(max_degree);
    (0..count).for_each(|index| summary.push(row(&format!("k{index:05}"), version(1, 0))));
    RangeQueryInfo {
        start_key: "k".to_owned(),
        end_key: "l".to_owned(),
        itr_exhausted: true,
        reads_info: summary.finish(),
    }
}

#[test]
fn a_summary_is_compared_as_a_whole_whatever_its_degree() {
    for count in [51, 102, 2_550, 2_601, 2_602] {
        let ledger = new_ledger();
        let keys = (0..count).fold(sets(), |sets, index| sets.write(&format!("k{index:05}"), "v"));
        commit(&ledger, &[keys]);
        let transactions = [
            sets().range(summarized(50, count)),
            sets().range(summarized(2, count)),
            sets().range(summarized(50, count - 1)),
            sets().range(summarized(50, count + 51)),
            sets().write("k00007", "x"),
            sets().range(summarized(50, count)),
        ];
        let expected = [Valid, Valid, PhantomReadConflict, PhantomReadConflict, Valid, PhantomReadConflict];
        assert_eq!(codes(&ledger, &transactions), expected, "{count} rows");
    }
}

#[test]
fn a_summary_of_no_shape_or_of_too_few_rows_is_a_conflict() {
    let ledger = seeded();
    let with_degree = |degree| {
        let mut info = summarized(50, 51);
        if let Some(ReadsInfo::ReadsMerkleHashes(summary)) = &mut info.reads_info {
            summary.max_degree = degree;
        }
        sets().range(info)
    };
    let transactions: Vec<Sets> = [0, 1, 50, u32::MAX].into_iter().map(with_degree).collect();
    assert_eq!(codes(&ledger, &transactions), [PhantomReadConflict; 4]);
}

#[test]
fn a_full_summary_with_more_rows_now_is_a_conflict() {
    // Fabric's early comparison runs over the end of its list here and panics.
    let ledger = new_ledger();
    let keys = (0..2_601).fold(sets(), |sets, index| sets.write(&format!("k{index:05}"), "v"));
    commit(&ledger, &[keys]);
    assert_eq!(codes(&ledger, &[sets().range(summarized(50, 2_550))]), [PhantomReadConflict]);
}

#[test]
fn namespaces_are_judged_in_order_and_reads_before_ranges_before_hashed_reads() {
    let stale_range = range("a", "b", true, vec![]);
    let stale_read = sets().read("a", None).range(stale_range.clone()).hashed_read("coll", "p", None);
    check("a stale read decides first", &[stale_read], &[MvccReadConflict]);
    check(
        "then a stale range",
        &[sets().range(stale_range.clone()).hashed_read("coll", "p", None)],
        &[PhantomReadConflict],
    );
    let mut other_first = sets().range(stale_range);
    other_first.0.namespaces[0].namespace = "cc".to_owned();
    other_first.namespace("other").public.reads.push(row("x", version(1, 0)));
    check("the first namespace's range before the second's read", &[other_first.clone()], &[PhantomReadConflict]);
    other_first.0.namespaces.reverse();
    check("and the other way round", &[other_first], &[MvccReadConflict]);
}

#[test]
fn only_still_valid_transactions_make_a_duplicate_inside_a_block() {
    let ledger = seeded();
    let same = |key: &str| endorsed("same", &sets().write(key, "x"));
    let entries = vec![same("a"), same("b"), same("c"), endorsed("tx-1-0", &sets().write("d", "x"))];
    let mut verdicts = vec![Verdict::valid(); 4];
    verdicts[0].code = BadProposalTxid;
    let block = next_block(&ledger, entries);
    let committed = ledger.commit(CheckedBlock { block, verdicts, private_writes: vec![] }).unwrap();
    assert_eq!(committed.codes, [BadProposalTxid, Valid, DuplicateTxid, DuplicateTxid]);
    let position = ledger.transaction("same").unwrap().unwrap();
    assert_eq!((position.block_number, position.tx_index, position.code), (2, 0, BadProposalTxid));
    let position = ledger.transaction("tx-1-0").unwrap().unwrap();
    assert_eq!((position.block_number, position.tx_index, position.code), (1, 0, Valid));
}

#[test]
fn a_stale_first_copy_makes_the_second_a_duplicate() {
    let ledger = seeded();
    let entries = vec![endorsed("same", &sets().read("a", None)), endorsed("same", &sets().write("b", "x"))];
    let block = next_block(&ledger, entries);
    let verdicts = vec![Verdict::valid(); 2];
    let committed = ledger.commit(CheckedBlock { block, verdicts, private_writes: vec![] }).unwrap();
    assert_eq!(committed.codes, [MvccReadConflict, DuplicateTxid]);
}

#[test]
fn what_cannot_be_read_gets_fabrics_code_and_writes_nothing() {
    let ledger = seeded();
    let broken_sets = {
        let mut envelope = endorsed("x", &sets().write("a", "x")).to_vec();
        let at = envelope.windows(2).position(|pair| pair == b"cc").unwrap();
        envelope[at] = 0xff;
        envelope
    };
    let entries = vec![
        b"no envelope".as_slice().into(),
        envelope(HeaderType::EndorserTransaction, "empty", Vec::new()),
        envelope(HeaderType::Config, "config", Vec::new()),
        envelope(HeaderType::Message, "message", b"whatever".to_vec()),
        broken_sets.into(),
    ];
    let verdicts = vec![Verdict::valid(); entries.len()];
    let block = next_block(&ledger, entries);
    let committed = ledger.commit(CheckedBlock { block, verdicts, private_writes: vec![] }).unwrap();
    assert_eq!(committed.codes, [InvalidOtherReason, NilTxaction, InvalidConfigTransaction, Valid, InvalidOtherReason]);
    assert_eq!(committed.tx_ids[1].as_deref(), Some("empty"));
    assert_eq!(ledger.state().get("cc", "a").unwrap().unwrap().version.block_number, 1);
}
