//! Explanations as people and programs read them.

use ripstop_proto::ripstop::v1::{Explanation, RangeRead};

use super::*;

fn why(code: TxValidationCode, reason: Option<Reason>) -> Why {
    let explanation = Explanation { tx_index: 17, code: code.into(), reason };
    let (code, explanation) = (code.into(), Some(explanation));
    let response = ExplainResponse { block_number: 41, tx_index: 17, code, explanation, explained_from: 7 };
    Why { tx_id: "7d21".to_owned(), response }
}

fn conflict() -> ReadConflict {
    let version = |block_num, tx_num| Some(Version { block_num, tx_num });
    ReadConflict {
        namespace: "counter".to_owned(),
        key: "total".to_owned(),
        read_version: version(40, 3),
        found_version: version(41, 2),
        winner: version(41, 2),
        winner_tx_id: "9a03".to_owned(),
        within_block: true,
        ..ReadConflict::default()
    }
}

/// The lines without the advice.
fn facts(why: &Why) -> String {
    let text = why.to_string();
    text.lines().take(text.lines().count() - 1).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_conflict_is_told_with_versions_and_winner() {
    let why = why(TxValidationCode::MvccReadConflict, Some(Reason::Conflict(conflict())));
    let expected = "\
        MVCC_READ_CONFLICT (11)  block 41, transaction 17\n\
        tx id   7d21\n\
        key     \"total\" of counter\n\
        read    as written by transaction 3 of block 40\n\
        found   as written by transaction 2 of block 41\n\
        winner  9a03  in the same block, 15 transactions earlier";
    assert_eq!(facts(&why), expected);
    let conflicts = json!([{
        "namespace": "counter", "collection": null, "key": "total", "kind": "mvcc", "read_version": [40, 3],
        "found_version": [41, 2], "winner_tx_id": "9a03", "within_block": true, "range": null,
    }]);
    let shown = why.json();
    assert_eq!(shown["conflicts"], conflicts);
    for (field, value) in [
        ("tx_id", json!("7d21")),
        ("code", json!("MVCC_READ_CONFLICT")),
        ("block", json!(41)),
        ("tx_index", json!(17)),
        ("policy", Value::Null),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
}

#[test]
fn what_is_not_known_of_a_summarized_range_is_said() {
    let range = RangeRead { start_key: "k".to_owned(), summarized: true, ..RangeRead::default() };
    let namespace = "counter".to_owned();
    let conflict = ReadConflict { namespace, range: Some(range), ..ReadConflict::default() };
    let why = why(TxValidationCode::PhantomReadConflict, Some(Reason::Conflict(conflict)));
    let expected = "\
        PHANTOM_READ_CONFLICT (12)  block 41, transaction 17\n\
        tx id   7d21\n\
        range   from \"k\" to the end, in counter\n\
        key     not known: the transaction carries only hashes of the many rows it read\n\
        read    not known: the transaction carries only hashes of the rows it read\n\
        found   no such key\n\
        winner  not known";
    assert_eq!(facts(&why), expected);
    assert_eq!(why.json()["conflicts"][0]["winner_tx_id"], Value::Null);
}

#[test]
fn a_hashed_key_that_was_deleted_in_an_earlier_block_is_told() {
    let version = |block_num| Some(Version { block_num, tx_num: 0 });
    let conflict = ReadConflict {
        collection: "secrets".to_owned(),
        key: "ab12".to_owned(),
        found_version: None,
        winner: version(40),
        within_block: false,
        ..conflict()
    };
    let text = facts(&why(TxValidationCode::MvccReadConflict, Some(Reason::Conflict(conflict))));
    assert!(text.contains("key     the one with hash ab12 in collection secrets of counter\n"), "{text}");
    assert!(text.contains("found   no such key\nwinner  9a03  in block 40, 1 block earlier"), "{text}");
}

#[test]
fn a_policy_failure_names_rule_signers_and_missing_organizations() {
    let refusal = Refusal {
        text: "not satisfied".to_owned(),
        namespace: "basic".to_owned(),
        key: "k".to_owned(),
        rule: "AND('Org1MSP.peer', 'Org2MSP.peer')".to_owned(),
        signed_by: vec!["Org1MSP".to_owned()],
        missing: vec!["Org2MSP".to_owned()],
        ..Refusal::default()
    };
    let why = why(TxValidationCode::EndorsementPolicyFailure, Some(Reason::Refusal(refusal)));
    let expected = "\
        ENDORSEMENT_POLICY_FAILURE (10)  block 41, transaction 17\n\
        tx id    7d21\n\
        key      \"k\" of basic\n\
        policy   AND('Org1MSP.peer', 'Org2MSP.peer')\n\
        signed   Org1MSP\n\
        missing  Org2MSP\n\
        reason   not satisfied";
    assert_eq!(facts(&why), expected);
    assert_eq!(why.json()["policy"]["missing"], json!(["Org2MSP"]));
}

#[test]
fn what_others_wrote_does_not_reach_the_terminal_as_control_characters() {
    let hostile = || "\x1b[2J".to_owned();
    let refusal = Refusal { text: hostile(), namespace: hostile(), rule: hostile(), ..Refusal::default() };
    let conflict = ReadConflict { namespace: hostile(), key: "\0type\0a\0".to_owned(), ..conflict() };
    for reason in [Reason::Refusal(refusal), Reason::Conflict(conflict)] {
        let text = why(TxValidationCode::InvalidChaincode, Some(reason)).to_string();
        assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{text:?}");
    }
}

#[test]
fn an_explanation_that_is_gone_is_said_with_what_is_still_there() {
    let mut why = why(TxValidationCode::MvccReadConflict, None);
    assert!(!why.is_outdated());
    why.response.explanation = None;
    assert!(why.is_outdated());
    assert!(why.to_string().contains("they begin with block 7."), "{why}");
    assert_eq!((&why.json()["explained"], &why.json()["conflicts"]), (&json!(false), &json!([])));
}
