//! What a simulation notes, byte for byte against recorded vectors of Fabric's formats.

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{CheckedBlock, Ledger, PrivateWrite, SimulatorError, Verdict};
use ripstop_proto::hash::sha256;
use ripstop_proto::kvrwset::KvrwSet;
use ripstop_proto::kvrwset::range_query_info::ReadsInfo;

use crate::build::{Sets, commit, endorsed, hash, new_ledger, next_block, sets};

/// A ledger whose block `number` holds these transactions.
fn written_at(number: u64, transactions: &[Sets]) -> Ledger {
    let ledger = new_ledger();
    while ledger.height() < number {
        commit(&ledger, &[sets().write("filler", "x")]);
    }
    commit(&ledger, transactions);
    ledger
}

fn public_set(ledger: &Ledger, run: impl FnOnce(&mut ripstop_ledger::Simulator)) -> Bytes {
    let mut simulator = ledger.simulator();
    run(&mut simulator);
    let mut sets = simulator.finish().read_write_set.ns_rwset;
    assert_eq!(sets.len(), 1);
    sets.remove(0).rwset
}

#[test]
fn reads_and_writes_give_the_recorded_bytes() {
    let ledger = written_at(5, &[sets().write("asset1", "old")]);
    let set = public_set(&ledger, |simulator| {
        assert_eq!(simulator.get_state("basic", "asset2").unwrap(), None);
        simulator.delete_state("basic", "asset3").unwrap();
        simulator.put_state("basic", "asset1", "first".into()).unwrap();
        simulator.put_state("basic", "asset1", "v1".into()).unwrap();
    });
    assert_eq!(hex::encode(&set), "0a080a066173736574321a0c0a066173736574311a0276311a0a0a066173736574331001");
}

#[test]
fn a_whole_result_gives_the_recorded_bytes() {
    // The vector: _lifecycle was read at {4, 0}, asset1 at {5, 0}.
    let ledger = new_ledger();
    while ledger.height() < 4 {
        commit(&ledger, &[sets().write("filler", "x")]);
    }
    let mut definition = sets().write("namespaces/fields/basic/Sequence", "1");
    definition.0.namespaces[0].namespace = "_lifecycle".to_owned();
    commit(&ledger, &[definition]);
    let mut asset = sets().write("asset1", "old");
    asset.0.namespaces[0].namespace = "basic".to_owned();
    commit(&ledger, &[asset]);

    let mut simulator = ledger.simulator();
    assert_eq!(simulator.height(), 6);
    let values = simulator.get_states("basic", &["asset1", "asset2"]).unwrap();
    assert_eq!(values, [Some("old".into()), None]);
    simulator.get_state("_lifecycle", "namespaces/fields/basic/Sequence").unwrap();
    simulator.delete_state("basic", "asset3").unwrap();
    simulator.put_state("basic", "asset1", "v1".into()).unwrap();
    assert_eq!(simulator.get_state("basic", "asset1").unwrap(), Some("old".into()), "no read of its own writes");
    let result = simulator.finish();
    assert_eq!(
        hex::encode(result.read_write_set.encode_to_vec()),
        "12360a0a5f6c6966656379636c6512280a260a206e616d657370616365732f6669656c64732f62617369632f53657175656e6365\
         12020804123b0a05626173696312320a0c0a06617373657431120208050a080a066173736574321a0c0a066173736574311a0276\
         311a0a0a06617373657433100 1"
            .replace(' ', "")
    );
    assert_eq!(result.private, None);
}

#[test]
fn a_range_that_was_run_to_its_end_gives_the_recorded_bytes_in_all_three_forms() {
    let recorded = [
        (1, "d73923a01a72a8da54a6f460e745e7595cdd1babba741f8e0144d2216ae83c1d"),
        (50, "b171c521cfcef63d3d1f30891e5e1a8157ca305f8ce2a41dac54c0cbb663ae7a"),
        (51, "8a875557e5573f717d67ad33405a304045387dc65bde6b77266dbf6552cc1a11"),
        (102, "e8e626ff1bda6e21c2607539d6fc1c9b7029ca704812a2fbf1742b27b8a50599"),
        (2_550, "6bbbbb9e9bf4027e775882bc225db7eceea0aa2d64c32dd655ff0ec66a01c48b"),
    ];
    for (count, expected) in recorded {
        let rows: Vec<Sets> = (0..count).map(|index| sets().write(&format!("k{index:06}"), "v")).collect();
        let ledger = written_at(7, &rows);
        let set = public_set(&ledger, |simulator| {
            let range = simulator.open_range("cc", "k", "l");
            let mut rows = 0;
            while let Some((key, value)) = simulator.next(range).unwrap() {
                assert_eq!((key, value), (format!("k{rows:06}"), Bytes::from_static(b"v")));
                rows += 1;
            }
            assert_eq!(rows, count);
        });
        let info = KvrwSet::decode(set).unwrap().range_queries_info.remove(0);
        assert_eq!(hex::encode(sha256(&[&info.encode_to_vec()])), expected, "{count} rows");
    }
}

#[test]
fn a_range_without_rows_or_left_early_says_so() {
    let ledger = written_at(1, &[sets().write("a", "1").write("b", "2").write("c", "3")]);
    let set = public_set(&ledger, |simulator| {
        let early = simulator.open_range("cc", "a", "");
        let empty = simulator.open_range("cc", "x", "y");
        simulator.next(early).unwrap();
        simulator.next(early).unwrap();
        assert_eq!(simulator.next(empty).unwrap(), None);
        simulator.close_range(early);
        assert!(matches!(simulator.next(early), Err(SimulatorError::UnknownRange)));
        let same = simulator.open_range("cc", "x", "y");
        assert_eq!(simulator.next(same).unwrap(), None);
        simulator.open_range("cc", "never", "asked");
    });
    let infos = KvrwSet::decode(set).unwrap().range_queries_info;
    let shape = |info: &ripstop_proto::kvrwset::RangeQueryInfo| {
        let rows = match &info.reads_info {
            Some(ReadsInfo::RawReads(reads)) => reads.kv_reads.len(),
            Some(ReadsInfo::ReadsMerkleHashes(_)) => panic!("two rows are no summary"),
            None => 0,
        };
        (info.start_key.clone(), info.end_key.clone(), info.itr_exhausted, rows)
    };
    let found: Vec<_> = infos.iter().map(shape).collect();
    let expected = [("a", "b", false, 2), ("x", "y", true, 0), ("never", "", false, 0)];
    assert_eq!(found, expected.map(|(start, end, exhausted, rows)| (start.into(), end.into(), exhausted, rows)));
}

#[test]
fn private_writes_give_the_recorded_bytes() {
    let ledger = new_ledger();
    let mut simulator = ledger.simulator();
    for (key, value) in [("c", "vc"), ("a", "va"), ("b", "vb")] {
        simulator.put_private("cc", "coll", key, value.into()).unwrap();
    }
    let result = simulator.finish();
    let collection = &result.read_write_set.ns_rwset[0].collection_hashed_rwset[0];
    let private = &result.private.unwrap().ns_pvt_rwset[0].collection_pvt_rwset[0];
    assert_eq!(hex::encode(&private.rwset), "1a070a01611a0276611a070a01621a0276621a070a01631a027663");
    assert_eq!(
        hex::encode(&collection.pvt_rwset_hash),
        "b3000ca727ca27842eaceb09eb3f92690d62279d872a09c53884317428c625ba"
    );
    assert_eq!(
        hex::encode(&collection.hashed_rwset),
        "12440a20ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb1a20198dea392afc21d070f8abfc7c06d1\
         1060f1b278e5d62501bd57f1159a72ebac12440a203e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d\
         1a2088d2f47e5eec541d907a3951ea1586732930d4a84510624b48c5e259c51d139b12440a202e7d2c03a9507ae265ecf5b5356885\
         a53393a2029d241394997265a1a25aefc61a20522a45442726c9f9ddc6cdd60b3b627c4a34268a2a30910475a7347cfe32900d"
            .replace(' ', "")
    );
}

#[test]
fn a_private_read_needs_the_value_that_the_hash_is_of() {
    let ledger = new_ledger();
    let held = PrivateWrite {
        tx_index: 0,
        namespace: "cc".into(),
        collection: "coll".into(),
        key: "held".into(),
        value: Some("v".into()),
    };
    let transaction = sets().private_write("coll", "held", "v").private_write("coll", "unknown", "w");
    let block = next_block(&ledger, vec![endorsed("tx", &transaction)]);
    let checked = CheckedBlock { block, verdicts: vec![Verdict::valid()], private_writes: vec![held] };
    ledger.commit(checked).unwrap();

    let mut simulator = ledger.simulator();
    assert_eq!(simulator.get_private("cc", "coll", "held").unwrap(), Some("v".into()));
    assert_eq!(simulator.get_private("cc", "coll", "absent").unwrap(), None);
    assert_eq!(simulator.private_hash("cc", "coll", "unknown").unwrap(), Some(hash("w")));
    let error = simulator.get_private("cc", "coll", "unknown").unwrap_err();
    assert_eq!(
        error.to_string(),
        "private data matching public hash version is not available. Public hash version = {BlockNum: 1, TxNum: 0}, \
         Private data version = <nil>"
    );
    let result = simulator.finish();
    assert_eq!(result.private, None, "reads leave no private writes");
    let collection = &result.read_write_set.ns_rwset[0].collection_hashed_rwset[0];
    assert!(collection.pvt_rwset_hash.is_empty());
}

#[test]
fn a_private_range_and_writes_exclude_each_other() {
    let ledger = new_ledger();
    let mut simulator = ledger.simulator();
    let range = simulator.open_private_range("cc", "coll", "", "").unwrap();
    assert_eq!(simulator.next(range).unwrap(), None);
    let error = simulator.put_state("cc", "k", "v".into()).unwrap_err();
    assert!(error.to_string().starts_with("unsuppored transaction."), "{error}");
    assert!(simulator.finish().read_write_set.ns_rwset.is_empty(), "nothing is noted of it");

    let mut simulator = ledger.simulator();
    simulator.put_private("cc", "coll", "k", "v".into()).unwrap();
    let error = simulator.open_private_range("cc", "coll", "", "").unwrap_err();
    assert!(matches!(error, SimulatorError::PrivateRangeAfterWrite));
}

#[test]
fn a_simulator_stays_at_its_height() {
    let ledger = written_at(1, &[sets().write("k", "old")]);
    let mut simulator = ledger.simulator();
    let range = simulator.open_range("cc", "", "");
    commit(&ledger, &[sets().write("k", "new").write("l", "new")]);
    assert_eq!(simulator.get_state("cc", "k").unwrap(), Some("old".into()));
    assert_eq!(simulator.next(range).unwrap(), Some(("k".to_owned(), "old".into())));
    assert_eq!(simulator.next(range).unwrap(), None);
    assert_eq!((simulator.height(), ledger.height()), (2, 3));
}

#[test]
fn a_simulator_and_its_state_may_move_between_threads() {
    fn moves<T: Send + 'static>(_: &T) {}
    let ledger = new_ledger();
    let mut simulator = ledger.simulator();
    simulator.open_range("cc", "", "");
    moves(&simulator);
    moves(&ledger.state());
}
