//! The transaction simulator of Fabric 3.1.5 itself (its `LockBasedTxMgr` over LevelDB) was
//! given a state and some transactions. Here the same transactions run on the same state:
//! the bytes have to be the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{
    CheckedBlock, Ledger, Metadata, PrivateWrite, SimulationResult, Simulator, SimulatorError, Verdict,
};
use ripstop_proto::kvrwset::{KvMetadataEntry, KvMetadataWrite, KvWrite};

use crate::build::{endorsed, hash, new_ledger, next_block, sets};

/// By the name of a transaction: its marshalled "public" and "private" read/write sets in hex.
type Recorded = BTreeMap<String, BTreeMap<String, String>>;

fn metadata(entries: &[(&str, &str)]) -> Metadata {
    entries.iter().map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

/// All at version {1, 0}: `a` to `g` in `cc`, the first with metadata; `a` in `dd`; in
/// collection `c1` the keys `held`, with metadata and in clear, and `other`.
fn ledger() -> Ledger {
    let ledger = new_ledger();
    let mut state = "abcdefg".chars().fold(sets(), |sets, key| sets.write(&key.to_string(), &format!("v{key}")));
    let entries = [("VALIDATION_PARAMETER", "p1"), ("x", "1")];
    let entries = entries.map(|(name, value)| KvMetadataEntry { name: name.to_owned(), value: value.into() });
    let write = KvMetadataWrite { key: "a".to_owned(), entries: entries.to_vec() };
    state.namespace("cc").public.metadata_writes.push(write);
    state.namespace("dd").public.writes.push(KvWrite { key: "a".to_owned(), is_delete: false, value: "da".into() });
    let state = state.private_write("c1", "held", "hv").private_write("c1", "other", "ov");
    let state = state.hashed_metadata("c1", "held", Some("1"));
    let held = PrivateWrite {
        tx_index: 0,
        namespace: "cc".to_owned(),
        collection: "c1".to_owned(),
        key: "held".to_owned(),
        value: Some("hv".into()),
    };
    let block = next_block(&ledger, vec![endorsed("tx", &state)]);
    ledger.commit(CheckedBlock { block, verdicts: vec![Verdict::valid()], private_writes: vec![held] }).unwrap();
    ledger
}

/// Runs a transaction and compares with what Fabric recorded under this name.
fn simulate(name: &str, run: impl FnOnce(&mut Simulator)) -> SimulationResult {
    let recorded: Recorded = serde_json::from_str(include_str!("../../testdata/simulated-by-fabric.json")).unwrap();
    let ledger = ledger();
    let mut simulator = ledger.simulator();
    run(&mut simulator);
    let result = simulator.finish();
    let private = result.private.as_ref().map_or(Vec::new(), Message::encode_to_vec);
    assert_eq!(hex::encode(result.read_write_set.encode_to_vec()), recorded[name]["public"], "{name}");
    assert_eq!(hex::encode(private), recorded[name]["private"], "{name}");
    result
}

/// Namespace, collection, key, and how many metadata entries it has before.
fn written(result: &SimulationResult) -> Vec<(&str, &str, &str, usize)> {
    let keys = result.written_keys.iter();
    keys.map(|key| (&*key.namespace, key.collection.as_deref().unwrap_or(""), &*key.key, key.metadata.len())).collect()
}

#[test]
fn key_metadata_is_read_with_its_key_and_replaced_whole() {
    let result = simulate("metadata", |simulator| {
        let before = metadata(&[("VALIDATION_PARAMETER", "p1"), ("x", "1")]);
        assert_eq!(simulator.get_metadata("cc", "a").unwrap(), before);
        assert_eq!(simulator.get_metadata("cc", "b").unwrap(), Metadata::new());
        assert_eq!(simulator.get_metadata("cc", "absent").unwrap(), Metadata::new());
        let entries = metadata(&[("z", "1"), ("VALIDATION_PARAMETER", "p2"), ("b", "2")]);
        simulator.put_metadata("cc", "a", entries).unwrap();
        simulator.delete_metadata("cc", "c").unwrap();
        simulator.put_metadata("cc", "absent", metadata(&[("first", "1")])).unwrap();
        simulator.put_metadata("cc", "absent", metadata(&[("VALIDATION_PARAMETER", "")])).unwrap();
        simulator.put_state("cc", "a", "v2".into()).unwrap();
        simulator.put_state("dd", "a", Bytes::new()).unwrap();
    });
    assert_eq!(written(&result), [("cc", "", "a", 2), ("cc", "", "absent", 0), ("cc", "", "c", 0), ("dd", "", "a", 0)]);
    assert_eq!(result.written_keys[0].metadata["VALIDATION_PARAMETER"], "p1", "as it was before");
    assert!(result.private_reads.is_empty());
}

#[test]
fn collections_are_noted_by_hash_in_the_order_of_clear_keys() {
    let result = simulate("collections", |simulator| {
        assert_eq!(simulator.get_private("cc", "c1", "held").unwrap(), Some("hv".into()));
        assert_eq!(simulator.private_hash("cc", "c1", "other").unwrap(), Some(hash("ov")));
        assert_eq!(simulator.private_hash("cc", "c2", "absent").unwrap(), None);
        simulator.put_private("cc", "c2", "z", "vz".into()).unwrap();
        simulator.put_private("cc", "c2", "a", "va".into()).unwrap();
        simulator.delete_private("cc", "c2", "y").unwrap();
        simulator.purge_private("cc", "c2", "x").unwrap();
        simulator.purge_private("cc", "c2", "w").unwrap();
        simulator.put_private("cc", "c2", "w", "again".into()).unwrap();
        simulator.put_private("cc", "c2", "v", "first".into()).unwrap();
        simulator.purge_private("cc", "c2", "v").unwrap();
        assert_eq!(simulator.get_private_metadata("cc", "c1", "held").unwrap(), metadata(&[("m", "1")]));
        simulator.put_private_metadata("cc", "c1", "held", metadata(&[("n", "2"), ("m", "1")])).unwrap();
        simulator.put_private_metadata("cc", "c2", "a", Metadata::new()).unwrap();
        simulator.put_private("dd", "c1", "k", Bytes::new()).unwrap();
    });
    let expected = ["a", "v", "w", "x", "y", "z"].map(|key| ("cc", "c2", key, 0));
    assert_eq!(written(&result)[1..7], expected);
    assert_eq!((written(&result)[0], written(&result)[7]), (("cc", "c1", "held", 1), ("dd", "c1", "k", 0)));
    assert!(result.private_reads.iter().eq([&("cc".to_owned(), "c1".to_owned())]));
}

#[test]
fn private_metadata_alone_leaves_its_key_among_the_private_writes() {
    let result = simulate("private metadata alone", |simulator| {
        assert_eq!(simulator.get_private_metadata("cc", "c1", "absent").unwrap(), Metadata::new());
        simulator.put_private_metadata("cc", "c1", "other", metadata(&[("m", "2")])).unwrap();
    });
    assert!(result.private_reads.is_empty(), "a hash is no private read");
}

#[test]
fn several_keys_at_once_are_noted_like_each_alone() {
    let result = simulate("multiple private keys", |simulator| {
        let values = simulator.get_privates("cc", "c1", &["other", "held", "absent"]).unwrap();
        assert_eq!(values, [None, Some("hv".into()), None]);
        let values = simulator.get_states("cc", &["b", "absent", "a"]).unwrap();
        assert_eq!(values, [Some("vb".into()), None, Some("va".into())]);
    });
    assert_eq!(result.private_reads.len(), 1);
}

fn page(simulator: &mut Simulator, namespace: &str, start: &str, end: &str, rows_max: usize) -> (String, String) {
    let page = simulator.read_page(namespace, start, end, rows_max).unwrap();
    (page.rows.into_iter().map(|(key, _)| key).collect(), page.bookmark)
}

#[test]
fn a_page_that_is_full_does_not_look_for_the_end() {
    simulate("pages", |simulator| {
        let read = |(keys, bookmark): (&str, &str)| (keys.to_owned(), bookmark.to_owned());
        assert_eq!(page(simulator, "cc", "a", "f", 2), read(("ab", "c")));
        assert_eq!(page(simulator, "cc", "c", "f", 2), read(("cd", "e")));
        assert_eq!(page(simulator, "cc", "e", "f", 2), read(("e", "")));
        assert_eq!(page(simulator, "cc", "a", "f", 2), read(("ab", "c")));
        assert_eq!(page(simulator, "cc", "a", "f", 5), read(("abcde", "")));
        assert_eq!(page(simulator, "cc", "a", "", 7), read(("abcdefg", "")));
        assert_eq!(page(simulator, "cc", "a", "", 8), read(("abcdefg", "")));
        assert_eq!(page(simulator, "dd", "x", "y", 3), read(("", "")));
        let range = simulator.open_range("cc", "a", "");
        (0..3).for_each(|_| assert!(simulator.next(range).unwrap().is_some()));
    });
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T, SimulatorError>) -> String {
    let error = outcome.unwrap_err();
    assert!(error.is_unsupported_transaction());
    error.to_string()
}

/// Every kind of write is refused with this text.
fn no_write_is_possible(simulator: &mut Simulator, text: &str) {
    assert_eq!(refusal(simulator.put_state("cc", "a", "v".into())), text);
    assert_eq!(refusal(simulator.delete_state("cc", "a")), text);
    assert_eq!(refusal(simulator.put_metadata("cc", "a", Metadata::new())), text);
    assert_eq!(refusal(simulator.put_private("cc", "c1", "a", "v".into())), text);
    assert_eq!(refusal(simulator.purge_private("cc", "c1", "a")), text);
    assert_eq!(refusal(simulator.put_private_metadata("cc", "c1", "a", Metadata::new())), text);
}

#[test]
fn after_a_page_nothing_is_written() {
    simulate("refused after a page", |simulator| {
        page(simulator, "cc", "a", "f", 2);
        let text =
            "unsuppored transaction. Transaction has already performed a paginated query. Writes are not allowed";
        no_write_is_possible(simulator, text);
        page(simulator, "cc", "c", "f", 2);
        simulator.open_private_range("cc", "c1", "", "").unwrap();
    });
}

#[test]
fn after_a_private_range_nothing_is_written() {
    simulate("refused after a private range", |simulator| {
        let range = simulator.open_private_range("cc", "c1", "", "").unwrap();
        assert_eq!(simulator.next(range).unwrap(), Some(("held".to_owned(), "hv".into())));
        assert_eq!(simulator.next(range).unwrap(), None);
        let text =
            "unsuppored transaction. Transaction has already performed queries on pvt data. Writes are not allowed";
        no_write_is_possible(simulator, text);
        page(simulator, "cc", "c", "f", 2);
        no_write_is_possible(simulator, text);
    });
}

#[test]
fn after_a_write_there_is_neither_a_page_nor_a_private_range() {
    simulate("refused after a write", |simulator| {
        simulator.put_metadata("cc", "a", Metadata::new()).unwrap();
        let page = "unsuppored transaction. Paginated queries are supported only in a read-only transaction";
        assert_eq!(refusal(simulator.read_page("cc", "", "", 1)), page);
        let range = "unsuppored transaction. Queries on pvt data is supported only in a read-only transaction";
        assert_eq!(refusal(simulator.open_private_range("cc", "c1", "", "")), range);
        simulator.open_range("cc", "a", "b");
    });
}

#[test]
fn a_key_may_be_empty_and_a_collections_name_may_not() {
    let ledger = ledger();
    let mut simulator = ledger.simulator();
    simulator.put_state("cc", "", "v".into()).unwrap();
    assert_eq!(simulator.get_state("cc", "").unwrap(), None);
    let unnamed = |outcome: Result<(), SimulatorError>| matches!(outcome, Err(SimulatorError::UnnamedCollection));
    assert!(unnamed(simulator.put_private("cc", "", "k", "v".into())));
    assert!(unnamed(simulator.get_private("cc", "", "k").map(drop)));
    assert!(unnamed(simulator.private_hash("cc", "", "k").map(drop)));
    assert_eq!(simulator.finish().read_write_set.ns_rwset.len(), 1);
}
