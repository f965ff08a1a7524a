//! The history of keys: every write of a valid transaction, newest first.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{Ledger, Options};
use ripstop_proto::common::{Envelope, HeaderType, Payload};
use ripstop_proto::config::config_envelope;
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::queryresult::KeyModification;
use ripstop_proto::read_write_set::ReadWriteSet;
use ripstop_proto::transaction::OpenTransaction;

use crate::build::{CHANNEL, commit, genesis, new_ledger, sets, version};
use crate::fabric_chains::{as_delivered, chain, stored_codes};

fn history(ledger: &Ledger, key: &str) -> Vec<(String, String, bool)> {
    let plain = |modification: KeyModification| {
        (modification.tx_id, String::from_utf8(modification.value.into()).unwrap(), modification.is_delete)
    };
    ledger.history("cc", key).map(|modification| plain(modification.unwrap())).collect()
}

fn entry(tx_id: &str, value: &str, is_delete: bool) -> (String, String, bool) {
    (tx_id.to_owned(), value.to_owned(), is_delete)
}

#[test]
fn a_history_has_values_and_deletes_newest_first_but_no_metadata_and_no_losers() {
    let ledger = new_ledger();
    commit(&ledger, &[sets().write("k", "1"), sets().write("k", "2").write("ka", "other")]);
    commit(&ledger, &[sets().metadata("k", Some("m"))]);
    commit(&ledger, &[sets().delete("k"), sets().delete("never")]);
    commit(&ledger, &[sets().read("k", version(1, 0)).write("k", "lost"), sets().write("k", "")]);
    commit(&ledger, &[sets().private_write("coll", "k", "hidden"), sets().write("k", "3")]);
    let expected = [
        entry("tx-5-1", "3", false),
        entry("tx-4-1", "", true),
        entry("tx-3-0", "", true),
        entry("tx-1-1", "2", false),
        entry("tx-1-0", "1", false),
    ];
    assert_eq!(history(&ledger, "k"), expected);
    assert_eq!(history(&ledger, "never"), [entry("tx-3-1", "", true)]);
    assert_eq!(history(&ledger, "unknown"), []);
    assert_eq!(ledger.history("other", "k").count(), 0);
}

#[test]
fn a_simulator_sees_the_history_of_its_height_and_notes_nothing() {
    let ledger = new_ledger();
    commit(&ledger, &[sets().write("k", "1")]);
    let simulator = ledger.simulator();
    commit(&ledger, &[sets().write("k", "2")]);
    assert_eq!(simulator.history("cc", "k").count(), 1);
    assert_eq!(ledger.history("cc", "k").count(), 2);
    assert!(simulator.finish().read_write_set.ns_rwset.is_empty());
}

#[test]
fn a_history_survives_the_loss_of_everything_derived() {
    let options = Options::in_memory();
    let ledger = Ledger::create("l", CHANNEL, genesis(), options.clone()).unwrap();
    for value in ["1", "2", "3"] {
        commit(&ledger, &[sets().write("k", value)]);
    }
    let before = history(&ledger, "k");
    ledger.rebuild_at_next_start();
    drop(ledger);
    assert_eq!(history(&Ledger::open("l", options).unwrap(), "k"), before);
    assert_eq!(before.len(), 3);
}

/// The writes of a key in a namespace, oldest first.
type Histories = BTreeMap<(String, String), Vec<KeyModification>>;

fn add(histories: &mut Histories, entry: &Bytes) {
    let envelope = OpenEnvelope::open(entry).unwrap();
    if envelope.header_type() != Some(HeaderType::EndorserTransaction) {
        return;
    }
    let action = OpenTransaction::open(envelope.payload.data).unwrap().chaincode_action().unwrap();
    for set in ReadWriteSet::decode(action.results).unwrap().namespaces {
        for write in set.public.writes {
            let modification = KeyModification {
                tx_id: envelope.channel_header.tx_id.clone(),
                value: write.value,
                timestamp: envelope.channel_header.timestamp,
                is_delete: write.is_delete,
            };
            histories.entry((set.namespace.clone(), write.key)).or_default().push(modification);
        }
    }
}

#[test]
fn the_history_of_each_key_of_a_real_chain_is_what_a_walk_over_its_blocks_finds() {
    let blocks = chain("mixed");
    let (channel_id, _) = config_envelope(&blocks[0]).unwrap();
    let ledger = Ledger::create("ledger", &channel_id, blocks[0].clone(), Options::in_memory()).unwrap();
    let mut histories = Histories::new();
    for block in &blocks[1..] {
        ledger.commit(as_delivered(block)).unwrap();
        let valid = stored_codes(block).into_iter().map(|code| code == TxValidationCode::Valid);
        let entries = block.data.as_ref().unwrap().data.iter().zip(valid).filter(|(_, is_valid)| *is_valid);
        entries.for_each(|(entry, _)| add(&mut histories, entry));
    }
    let mut longest = 0;
    for ((namespace, key), mut expected) in histories {
        expected.reverse();
        longest = longest.max(expected.len());
        assert!(expected.iter().all(|modification| modification.timestamp.is_some()));
        let found: Vec<_> = ledger.history(&namespace, &key).map(Result::unwrap).collect();
        assert_eq!(found, expected, "{namespace} {key}");
    }
    assert_eq!(longest, 14);
}

#[test]
fn an_envelope_is_found_by_its_position_with_its_code() {
    let ledger = new_ledger();
    commit(&ledger, &[sets().write("k", "1"), sets().read("k", version(9, 9)).write("k", "2")]);
    for (index, code) in [(0, TxValidationCode::Valid), (1, TxValidationCode::MvccReadConflict)] {
        let (bytes, found) = ledger.envelope(1, index).unwrap().unwrap();
        assert_eq!(found, code);
        let payload = Payload::decode(Envelope::decode(bytes.clone()).unwrap().payload).unwrap();
        assert!(payload.header.is_some());
        assert_eq!(OpenEnvelope::open(&bytes).unwrap().channel_header.tx_id, format!("tx-1-{index}"));
    }
    assert_eq!(ledger.envelope(1, 2).unwrap(), None);
    assert_eq!(ledger.envelope(2, 0).unwrap(), None);
}
