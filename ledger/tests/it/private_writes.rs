//! Private values are kept only where they are what the transaction announced.

use ripstop_ledger::{CheckedBlock, Ledger, Options, PrivateWrite, Verdict};
use ripstop_proto::protos::TxValidationCode;

use crate::build::{CHANNEL, checked, endorsed, genesis, next_block, sets};

fn private(tx_index: u32, collection: &str, key: &str, value: Option<&'static str>) -> PrivateWrite {
    let value = value.map(Into::into);
    PrivateWrite { tx_index, namespace: "cc".into(), collection: collection.into(), key: key.into(), value }
}

fn held(ledger: &Ledger, key: &str) -> Option<String> {
    let entry = ledger.state().private("cc", "coll", key).unwrap()?;
    Some(format!("{}@{}", String::from_utf8_lossy(&entry.value), entry.version.tx_index))
}

#[test]
fn only_matching_values_of_valid_transactions_are_kept_and_survive_a_rebuild() {
    let options = Options::in_memory();
    let ledger = Ledger::create("ledger", CHANNEL, genesis(), options.clone()).unwrap();
    let transactions = [
        sets()
            .private_write("coll", "good", "v")
            .private_write("coll", "twice", "1")
            .private_write("coll", "gone", "x"),
        sets().private_write("coll", "twice", "2").private_delete("coll", "gone"),
        sets().private_write("coll", "refused", "v"),
    ];
    let entries = transactions.iter().enumerate().map(|(index, sets)| endorsed(&format!("tx{index}"), sets)).collect();
    let mut verdicts = vec![Verdict::valid(); 3];
    verdicts[2].code = TxValidationCode::EndorsementPolicyFailure;
    let private_writes = vec![
        private(0, "coll", "good", Some("v")),
        private(0, "coll", "good", Some("another value")),
        private(0, "other", "good", Some("v")),
        private(0, "coll", "never announced", Some("v")),
        private(0, "coll", "twice", Some("1")),
        private(0, "coll", "gone", Some("x")),
        private(1, "coll", "twice", Some("2")),
        private(1, "coll", "gone", None),
        private(1, "coll", "good", Some("v")),
        private(2, "coll", "refused", Some("v")),
        private(7, "coll", "good", Some("v")),
    ];
    let block = next_block(&ledger, entries);
    ledger.commit(CheckedBlock { block, verdicts, private_writes }).unwrap();

    let expect = |ledger: &Ledger| {
        assert_eq!(held(ledger, "good").as_deref(), Some("v@0"));
        assert_eq!(held(ledger, "twice").as_deref(), Some("2@1"));
        for key in ["gone", "refused", "never announced"] {
            assert_eq!(held(ledger, key), None, "{key}");
        }
        assert_eq!(ledger.record(1).unwrap().unwrap().private_writes.len(), 5);
    };
    expect(&ledger);
    drop(ledger);
    let stores = std::sync::Arc::new(ripstop_ledger::store::MemoryStores::new());
    expect(&Ledger::open("ledger", Options { stores, ..options }).unwrap());
}

#[test]
fn a_later_write_of_unknown_value_leaves_a_value_that_no_longer_counts() {
    let ledger = Ledger::create("ledger", CHANNEL, genesis(), Options::in_memory()).unwrap();
    let first = CheckedBlock {
        private_writes: vec![private(0, "coll", "k", Some("v"))],
        ..checked(next_block(&ledger, vec![endorsed("tx1", &sets().private_write("coll", "k", "v"))]))
    };
    ledger.commit(first).unwrap();
    let second = next_block(&ledger, vec![endorsed("tx2", &sets().private_write("coll", "k", "w"))]);
    ledger.commit(checked(second)).unwrap();
    assert!(ledger.simulator().get_private("cc", "coll", "k").is_err());
}
