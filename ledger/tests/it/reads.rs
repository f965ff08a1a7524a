//! What readers ask of a ledger.

use ripstop_ledger::{CheckedBlock, CommitError, Ledger, LedgerError, Options, Refusal, Verdict};
use ripstop_proto::block::header_hash;
use ripstop_proto::protos::TxValidationCode;

use crate::build::{CHANNEL, checked, commit, endorsed, genesis, new_ledger, next_block, sets};

#[test]
fn genesis_is_block_zero_with_its_config_in_the_state() {
    let ledger = new_ledger();
    assert_eq!((ledger.height(), ledger.channel_id()), (1, CHANNEL));
    let config = ledger.state().get("", "CHANNEL_CONFIG_ENV_BYTES").unwrap().unwrap();
    assert_eq!(&config.value[..], b"config");
    assert_eq!((config.version.block_number, config.version.tx_index), (0, 0));
    let block = ledger.block(0).unwrap().unwrap();
    assert_eq!(ripstop_proto::block::metadata_slot(&block, 2), [0]);
    assert_eq!(ripstop_proto::block::commit_hash(&block), None);
}

#[test]
fn blocks_and_transactions_are_found_by_number_hash_and_id() {
    let ledger = new_ledger();
    commit(&ledger, &[sets().write("a", "1"), sets().read("b", crate::build::version(9, 9))]);
    let header = ledger.block(1).unwrap().unwrap().header.clone().unwrap();
    assert_eq!(ledger.block_number_by_hash(&header_hash(&header)).unwrap(), Some(1));
    assert_eq!(ledger.block_number_by_hash(&[7; 32]).unwrap(), None);
    let position = ledger.transaction("tx-1-1").unwrap().unwrap();
    assert_eq!((position.block_number, position.tx_index), (1, 1));
    assert_eq!(position.code, TxValidationCode::MvccReadConflict);
    assert_eq!(ledger.transaction("unknown").unwrap(), None);
    assert!(ledger.block(2).unwrap().is_none());
    let info = ledger.chain_info().unwrap();
    assert_eq!((info.height, &info.current_block_hash[..]), (2, &header_hash(&header)[..]));
    assert_eq!(info.previous_block_hash, header.previous_hash);
}

#[test]
fn an_id_of_any_length_is_found() {
    let ledger = new_ledger();
    let long = "x".repeat(100_000);
    let entries = vec![endorsed(&long, &sets().write("a", "1")), endorsed(&"y".repeat(64), &sets().write("b", "1"))];
    ledger.commit(checked(next_block(&ledger, entries))).unwrap();
    assert_eq!(ledger.transaction(&long).unwrap().unwrap().tx_index, 0);
    assert_eq!(ledger.transaction(&"y".repeat(64)).unwrap().unwrap().tx_index, 1);
    assert_eq!(ledger.transaction(&"x".repeat(99_999)).unwrap(), None);
}

#[test]
fn the_height_moves_when_the_block_and_its_state_are_visible() {
    let ledger = new_ledger();
    let mut heights = ledger.heights();
    assert_eq!(*heights.borrow_and_update(), 1);
    commit(&ledger, &[sets().write("a", "1")]);
    assert!(heights.has_changed().unwrap());
    assert_eq!(*heights.borrow_and_update(), 2);
    assert!(ledger.block(1).unwrap().is_some() && ledger.state().get("cc", "a").unwrap().is_some());
}

#[test]
fn a_refusals_reason_is_kept_with_its_index() {
    let ledger = new_ledger();
    let entries = vec![endorsed("good", &sets().write("a", "1")), endorsed("bad", &sets().write("b", "1"))];
    let reason = Refusal { text: "Org2MSP did not sign".into(), rule: "AND".into(), ..Refusal::default() };
    let refused = Verdict { code: TxValidationCode::EndorsementPolicyFailure, reason: Some(reason) };
    let verdicts = vec![Verdict::valid(), refused];
    let block = next_block(&ledger, entries);
    ledger.commit(CheckedBlock { block, verdicts, private_writes: vec![] }).unwrap();
    let refusals = ledger.record(1).unwrap().unwrap().refusals;
    assert_eq!((refusals.len(), refusals[0].tx_index, refusals[0].rule.as_str()), (1, 1, "AND"));
    assert_eq!(ledger.state().get("cc", "b").unwrap(), None);
}

#[test]
fn a_block_that_does_not_follow_is_refused_and_changes_nothing() {
    let ledger = new_ledger();
    commit(&ledger, &[sets().write("a", "1")]);
    let good = next_block(&ledger, vec![endorsed("tx", &sets().write("a", "2"))]);
    let mut other_number = good.clone();
    other_number.header.as_mut().unwrap().number = 3;
    let mut other_previous = good.clone();
    other_previous.header.as_mut().unwrap().previous_hash = vec![1; 32].into();
    let mut headless = good.clone();
    headless.header = None;
    for block in [other_number, other_previous, headless] {
        assert!(matches!(ledger.commit(checked(block)), Err(CommitError::NotNext { height: 2, .. })));
    }
    let unjudged = CheckedBlock { verdicts: vec![], ..checked(good.clone()) };
    assert!(matches!(ledger.commit(unjudged), Err(CommitError::Verdicts { entries: 1, verdicts: 0, .. })));
    assert_eq!(ledger.height(), 2);
    ledger.commit(checked(good)).unwrap();
}

#[test]
fn creating_and_opening_say_what_is_there() {
    let options = Options::in_memory();
    assert!(matches!(Ledger::open("l", options.clone()), Err(LedgerError::Empty { .. })));
    let error = Ledger::create("l", "otherchannel", genesis(), options.clone()).err().unwrap();
    assert!(error.to_string().contains("it is of channel \"mychannel\""), "{error}");
    let mut late = genesis();
    late.header.as_mut().unwrap().number = 1;
    assert!(matches!(Ledger::create("l", CHANNEL, late, options.clone()), Err(LedgerError::Genesis { .. })));
    Ledger::create("l", CHANNEL, genesis(), options.clone()).unwrap();
    let error = Ledger::create("l", CHANNEL, genesis(), options.clone()).err().unwrap();
    assert!(matches!(error, LedgerError::Exists { height: 1, .. }), "{error}");
    assert_eq!(Ledger::open("l", options).unwrap().channel_id(), CHANNEL);
}
