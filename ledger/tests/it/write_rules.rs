//! What a valid transaction makes of the keys it writes (Fabric's
//! `core/ledger/kvledger/txmgmt/validation/tx_ops.go`), corner cases included.

use bytes::Bytes;
use ripstop_ledger::{Version, VersionedValue};
use ripstop_proto::kvrwset::KvWriteHash;
use ripstop_proto::protos::TxValidationCode::Valid;

use crate::build::{Sets, commit, hash, new_ledger, sets, stored_metadata};

/// Value, metadata and index of the writing transaction in block 2; `None` for an absent key.
type After = Option<(&'static str, Option<&'static str>, Version)>;

const OLD: Version = Version { block_number: 1, tx_index: 0 };

fn by_tx(tx_index: u64) -> Version {
    Version { block_number: 2, tx_index }
}

/// Block 1 gives key "k" the value "old" with metadata "meta"; key "absent" is not there.
fn before() -> Sets {
    sets().write("k", "old").metadata("k", Some("meta"))
}

fn check(name: &str, transactions: &[Sets], key: &str, after: After) {
    let ledger = new_ledger();
    commit(&ledger, &[before()]);
    let committed = commit(&ledger, transactions);
    assert_eq!(committed.codes, vec![Valid; transactions.len()], "{name}");
    let found = ledger.state().get("cc", key).unwrap();
    let expected = after.map(|(value, metadata, version)| VersionedValue {
        value: value.into(),
        metadata: metadata.map(stored_metadata),
        version,
    });
    assert_eq!(found, expected, "{name}");
}

#[test]
fn value_and_metadata_of_a_key_follow_fabrics_rules() {
    let k = "k";
    let cases: Vec<(&str, Vec<Sets>, &str, After)> = vec![
        ("a value keeps the metadata", vec![sets().write(k, "new")], k, Some(("new", Some("meta"), by_tx(0)))),
        (
            "a value with metadata replaces both",
            vec![sets().write(k, "new").metadata(k, Some("x"))],
            k,
            Some(("new", Some("x"), by_tx(0))),
        ),
        (
            "a value with zero entries removes the metadata",
            vec![sets().write(k, "new").metadata(k, None)],
            k,
            Some(("new", None, by_tx(0))),
        ),
        (
            "metadata alone keeps the value with a new version",
            vec![sets().metadata(k, Some("x"))],
            k,
            Some(("old", Some("x"), by_tx(0))),
        ),
        ("zero entries alone remove the metadata", vec![sets().metadata(k, None)], k, Some(("old", None, by_tx(0)))),
        (
            "an entry with an empty value stays metadata",
            vec![sets().metadata(k, Some(""))],
            k,
            Some(("old", Some(""), by_tx(0))),
        ),
        ("metadata alone on an absent key does nothing", vec![sets().metadata("absent", Some("x"))], "absent", None),
        ("a delete removes the key", vec![sets().delete(k)], k, None),
        ("an empty value is a delete", vec![sets().write(k, "")], k, None),
        ("a delete wins over metadata", vec![sets().delete(k).metadata(k, Some("x"))], k, None),
        (
            "a value twice counts as metadata alone, without any",
            vec![sets().write(k, "a").write(k, "b")],
            k,
            Some(("old", None, by_tx(0))),
        ),
        (
            "a value twice does nothing to an absent key",
            vec![sets().write("absent", "a").write("absent", "b")],
            "absent",
            None,
        ),
        ("a delete twice counts as metadata alone", vec![sets().delete(k).delete(k)], k, Some(("old", None, by_tx(0)))),
        ("a value and a delete is a delete", vec![sets().write(k, "a").delete(k)], k, None),
        (
            "of metadata twice the last counts with a value",
            vec![sets().write(k, "a").metadata(k, Some("x")).metadata(k, Some("y"))],
            k,
            Some(("a", Some("y"), by_tx(0))),
        ),
        (
            "a value after a delete in the block starts without metadata",
            vec![sets().delete(k), sets().write(k, "new")],
            k,
            Some(("new", None, by_tx(1))),
        ),
        (
            "metadata after a delete in the block does nothing",
            vec![sets().delete(k), sets().metadata(k, Some("x"))],
            k,
            None,
        ),
        (
            "metadata after a delete of an absent key does nothing",
            vec![sets().delete("absent"), sets().metadata("absent", None)],
            "absent",
            None,
        ),
        (
            "metadata sees the value of an earlier transaction",
            vec![sets().write(k, "new"), sets().metadata(k, Some("x"))],
            k,
            Some(("new", Some("x"), by_tx(1))),
        ),
        (
            "a value sees the metadata of an earlier transaction",
            vec![sets().metadata(k, Some("x")), sets().write(k, "new")],
            k,
            Some(("new", Some("x"), by_tx(1))),
        ),
        (
            "the last of two blind writes counts",
            vec![sets().write(k, "a"), sets().write(k, "b")],
            k,
            Some(("b", Some("meta"), by_tx(1))),
        ),
        (
            "a value three times counts as a value with metadata, without any",
            vec![sets().write(k, "a").write(k, "b").write(k, "c")],
            k,
            Some(("c", None, by_tx(0))),
        ),
        (
            "a value twice with metadata counts as metadata alone",
            vec![sets().write(k, "a").write(k, "b").metadata(k, Some("x"))],
            k,
            Some(("old", Some("x"), by_tx(0))),
        ),
        (
            // 1 + 8 + 8 = 17: no bit of a delete, and more than a value alone.
            "a value and two deletes count as metadata alone, without any",
            vec![sets().write(k, "a").delete(k).delete(k)],
            k,
            Some(("old", None, by_tx(0))),
        ),
        (
            "zero entries and entries count as the entries",
            vec![sets().metadata(k, None).metadata(k, Some("x"))],
            k,
            Some(("old", Some("x"), by_tx(0))),
        ),
        ("zero entries twice delete", vec![sets().metadata(k, None).metadata(k, None)], k, None),
        (
            "metadata four times deletes",
            vec![(0..4).fold(sets(), |sets, index| sets.metadata(k, Some(&index.to_string())))],
            k,
            None,
        ),
        ("what is not written stays", vec![sets().write("other", "a")], k, Some(("old", Some("meta"), OLD))),
    ];
    for (name, transactions, key, after) in cases {
        check(name, &transactions, key, after);
    }
}

#[test]
fn a_delete_that_carries_a_value_is_a_delete() {
    let mut written = sets().write("k", "new");
    written.0.namespaces[0].public.writes[0].is_delete = true;
    check("is_delete with a value", std::slice::from_ref(&written), "k", None);
    let plain = |set: &Sets| {
        let ledger = new_ledger();
        commit(&ledger, &[before()]);
        commit(&ledger, std::slice::from_ref(set)).commit_hash
    };
    assert_eq!(plain(&written), plain(&sets().delete("k")), "the value is not in the commit hash");
    assert_eq!(plain(&sets().write("k", "")), plain(&sets().delete("k")), "nor is an empty one");
}

#[test]
fn metadata_twice_alone_keeps_the_last() {
    // Flags 2 + 2 = 4: no value, so the metadata-only path with the metadata remembered last.
    check(
        "metadata twice",
        &[sets().metadata("k", Some("x")).metadata("k", Some("y"))],
        "k",
        Some(("old", Some("y"), by_tx(0))),
    );
}

#[test]
fn flags_that_wrap_around_count_as_a_value_alone() {
    let many = (0..256).fold(sets(), |sets, index| sets.write("k", &format!("value {index}")));
    check("256 values", &[many], "k", Some(("value 255", Some("meta"), by_tx(0))));
    let deletes = (0..32).fold(sets(), |sets, _| sets.delete("k"));
    check("32 deletes and nothing to set", &[deletes], "k", Some(("old", Some("meta"), OLD)));
}

#[test]
fn a_hashed_write_deletes_when_it_says_so_or_its_value_is_nothing() {
    let write =
        |is_delete, value_hash: Bytes, is_purge| KvWriteHash { key_hash: hash("p"), is_delete, value_hash, is_purge };
    let new = hash("new");
    let cases = [
        ("a value hash", write(false, new.clone(), false), Some(new.clone())),
        ("is_delete with a value hash", write(true, new.clone(), false), None),
        ("no value hash", write(false, Bytes::new(), false), None),
        ("the hash of nothing", write(false, hash(""), false), None),
        ("a purge that deletes", write(true, Bytes::new(), true), None),
        ("a purge with a value hash", write(false, new.clone(), true), Some(new.clone())),
    ];
    for (name, write, expected) in cases {
        let ledger = new_ledger();
        commit(&ledger, &[sets().private_write("coll", "p", "old")]);
        let committed = commit(&ledger, &[sets().hashed_write("coll", write)]);
        assert_eq!(committed.codes, [Valid], "{name}");
        let found = ledger.state().hashed("cc", "coll", &hash("p")).unwrap();
        assert_eq!(found.map(|entry| entry.value), expected, "{name}");
    }
}

#[test]
fn hashed_metadata_follows_the_same_rules() {
    let ledger = new_ledger();
    commit(&ledger, &[sets().private_write("coll", "p", "v").hashed_metadata("coll", "p", Some("m1"))]);
    commit(&ledger, &[sets().private_write("coll", "p", "w"), sets().hashed_metadata("coll", "q", Some("m2"))]);
    let state = ledger.state();
    let p = state.hashed("cc", "coll", &hash("p")).unwrap().unwrap();
    assert_eq!((p.value, p.metadata, p.version), (hash("w"), Some(stored_metadata("m1")), by_tx(0)));
    assert_eq!(state.hashed("cc", "coll", &hash("q")).unwrap(), None);
    commit(&ledger, &[sets().hashed_metadata("coll", "p", None)]);
    let p = ledger.state().hashed("cc", "coll", &hash("p")).unwrap().unwrap();
    assert_eq!((p.value, p.metadata, p.version.block_number), (hash("w"), None, 3));
}

#[test]
fn a_hashed_write_without_a_collection_name_is_a_public_one() {
    let ledger = new_ledger();
    let write =
        KvWriteHash { key_hash: Bytes::from_static(b"plain"), value_hash: "v".into(), ..KvWriteHash::default() };
    commit(&ledger, &[sets().hashed_write("", write)]);
    assert_eq!(ledger.state().get("cc", "plain").unwrap().unwrap().value, Bytes::from_static(b"v"));
}

/// The vector of the wire notes: two blocks with public, deleted and hashed keys, and a conflict.
#[test]
fn the_commit_hash_of_two_blocks_is_the_known_one() {
    let ledger = new_ledger();
    let mut first = sets();
    first.namespace("a");
    first.0.namespaces[0].public.writes = sets().write("k1", "v1").0.namespaces[0].public.writes.clone();
    let mut second = sets().delete("k2").private_write("c1", "pk", "pv");
    second.0.namespaces[0].namespace = "a".to_owned();
    let mut third = sets().write("z", "w");
    third.0.namespaces[0].namespace = "b".to_owned();
    let mut conflicting = sets().read("k1", None);
    conflicting.0.namespaces[0].namespace = "a".to_owned();
    let committed = commit(&ledger, &[first, second, third, conflicting]);
    assert_eq!(hex::encode(committed.commit_hash), "1465b8b3acdeb0499b968d7d8984621c66119b2dbb7adce5a0fac65e71544813");
    let committed = commit(&ledger, &[sets().read("k", None)]);
    assert_eq!(hex::encode(committed.commit_hash), "223c90950e1059317d5d00a52193723282ebd634d35ffafd1e3d97f2f815a1d7");
}

#[test]
fn a_metadata_write_on_an_absent_key_leaves_no_trace_in_the_commit_hash_but_a_delete_does() {
    let hash_of = |written: Sets| {
        let ledger = new_ledger();
        commit(&ledger, &[written]).commit_hash
    };
    assert_eq!(hash_of(sets().metadata("absent", Some("x"))), hash_of(sets().read("absent", None)));
    assert_ne!(hash_of(sets().delete("absent")), hash_of(sets().read("absent", None)));
}
