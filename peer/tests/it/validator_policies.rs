//! Which endorsement policies stage one asks for, and who satisfies them.

use ripstop_msp::SigningIdentity;
use ripstop_peer::validator::Halt;
use ripstop_proto::protos::TxValidationCode as Code;

use crate::blocks::{Definition, define};
use crate::organizations::Organizations;
use crate::transactions::{Draft, hashed_writes, writes};
use crate::validator::{BOTH, EITHER, Setting, change};

#[test]
fn a_write_to_a_namespace_without_definition_is_invalid_and_a_read_is_not() {
    let setting = Setting::new();
    let basic = || writes("basic", &[("k", "v")]);
    let draft = setting.draft(1).sets([basic(), writes("nowhere", &[("k", "v")])]);
    assert_eq!(setting.code(&draft), Code::InvalidChaincode);
    let draft = setting.draft(1).sets([basic(), hashed_writes("nowhere", "c", &[([1; 32], [2; 32])])]);
    assert_eq!(setting.code(&draft), Code::InvalidChaincode);
    let draft = setting.draft(1).sets([basic(), writes("nowhere", &[])]);
    assert_eq!(setting.code(&draft), Code::Valid);
}

#[test]
fn a_policy_failure_names_rule_key_and_who_signed() {
    let setting = Setting::new();
    let org1 = &setting.organizations.org1;
    let verdict = setting.verdict(setting.endorsed_by(&[&org1.peer], vec![writes("basic", &[("k", "v")])]).entry());
    assert_eq!(verdict.code, Code::EndorsementPolicyFailure);
    let reason = verdict.reason.unwrap();
    assert_eq!((reason.namespace.as_str(), reason.key.as_str()), ("basic", "k"));
    assert_eq!(reason.rule, BOTH.replace(',', ", "));
    assert_eq!(reason.signed_by, ["Org1MSP"]);
    assert_eq!(reason.missing, ["Org2MSP"]);
}

#[test]
fn the_chaincodes_policy_holds_also_when_nothing_is_written() {
    let setting = Setting::new();
    let Organizations { org1, org2, .. } = &setting.organizations;
    assert_eq!(setting.code(&setting.endorsed_by(&[&org1.peer], vec![])), Code::EndorsementPolicyFailure);
    assert_eq!(setting.code(&setting.endorsed_by(&[&org1.peer, &org2.peer], vec![])), Code::Valid);
}

#[test]
fn every_written_namespace_asks_for_its_own_policy() {
    let setting = Setting::new();
    let org1 = &setting.organizations.org1;
    let mut draft = setting.endorsed_by(&[&org1.peer], vec![writes("open", &[("k", "v")])]);
    draft.chaincode = "open".into();
    assert_eq!(setting.code(&draft), Code::Valid);
    draft.sets.namespaces.push(writes("other", &[("k", "v")]));
    let reason = setting.verdict(draft.entry()).reason.unwrap();
    assert_eq!(reason.namespace, "other");
}

#[test]
fn an_endorser_counts_once_and_only_with_the_role_that_is_asked_for() {
    let setting = Setting::new();
    let Organizations { org1, org2, .. } = &setting.organizations;
    for endorsers in [[&org1.peer, &org1.peer], [&org1.peer, &org2.client]] {
        let draft = setting.endorsed_by(&endorsers, vec![writes("basic", &[("k", "v")])]);
        let verdict = setting.verdict(draft.entry());
        assert_eq!(verdict.code, Code::EndorsementPolicyFailure);
        assert_eq!(verdict.reason.unwrap().missing, ["Org2MSP"]);
    }
}

#[test]
fn a_wrong_signature_before_a_good_one_of_the_same_endorser_does_no_harm() {
    let setting = Setting::new();
    let mut draft = setting.draft(1);
    change(&mut draft.changes.endorsements, |endorsements| {
        let mut wrong = endorsements[0].clone();
        wrong.signature = endorsements[1].signature.clone();
        endorsements.insert(0, wrong);
    });
    assert_eq!(setting.code(&draft), Code::Valid);
}

#[test]
fn a_policy_that_cannot_be_read_is_satisfied_by_nobody() {
    let setting = Setting::new();
    let mut draft = setting.draft(1).sets([]);
    draft.chaincode = "badpolicy".into();
    assert_eq!(setting.code(&draft), Code::EndorsementPolicyFailure);
}

#[test]
fn an_unknown_validation_plugin_stops_the_channel() {
    let setting = Setting::new();
    let strange = Definition { plugin: "mine", ..Definition::new("strange", EITHER) };
    define(&setting.ledger.ledger, &setting.organizations, &[strange]);
    let mut draft = setting.draft(1).sets([]);
    draft.chaincode = "strange".into();
    let halt = setting.findings(vec![draft.entry()]).unwrap_err();
    assert!(matches!(halt, Halt::UnknownPlugin { .. }), "{halt}");
}

#[test]
fn the_implicit_collection_of_an_organization_is_written_by_itself_only() {
    let setting = Setting::new();
    let Organizations { org1, org2, .. } = &setting.organizations;
    let approve = |endorser, collection| {
        let mut draft =
            setting.endorsed_by(&[endorser], vec![hashed_writes("_lifecycle", collection, &[([1; 32], [2; 32])])]);
        draft.chaincode = "_lifecycle".into();
        setting.verdict(draft.entry())
    };
    assert_eq!(approve(&org1.peer, "_implicit_org_Org1MSP").code, Code::Valid);
    assert_eq!(approve(&org2.peer, "_implicit_org_Org2MSP").code, Code::Valid);
    let refused = approve(&org1.peer, "_implicit_org_Org2MSP");
    assert_eq!(refused.code, Code::EndorsementPolicyFailure);
    let reason = refused.reason.unwrap();
    assert_eq!((&*reason.namespace, &*reason.collection), ("_lifecycle", "_implicit_org_Org2MSP"));
    assert_eq!(reason.key, "01".repeat(32));
    assert_eq!((&reason.signed_by[..], &reason.missing[..]), (&["Org1MSP".into()][..], &["Org2MSP".into()][..]));
    assert_eq!(approve(&org1.peer, "_implicit_org_NobodyMSP").code, Code::EndorsementPolicyFailure);
    assert_eq!(approve(&org1.peer, "secrets").code, Code::EndorsementPolicyFailure);
}

#[test]
fn a_definition_needs_a_majority_of_the_organizations() {
    let setting = Setting::new();
    let Organizations { org1, org2, .. } = &setting.organizations;
    let commit = |endorsers: &[&SigningIdentity]| {
        let sets = vec![writes("_lifecycle", &[("namespaces/metadata/x", "v")])];
        let mut draft = Draft::new(&org1.client, endorsers, 7).sets(sets);
        draft.chaincode = "_lifecycle".into();
        setting.code(&draft)
    };
    assert_eq!(commit(&[&org1.peer, &org2.peer]), Code::Valid);
    assert_eq!(commit(&[&org1.peer]), Code::EndorsementPolicyFailure);
}

#[test]
fn a_collection_has_its_own_policy_or_its_chaincodes() {
    let setting = Setting::new();
    let Organizations { org1, org2, .. } = &setting.organizations;
    let write = |endorsers: &[&SigningIdentity], collection| {
        let sets = vec![hashed_writes("collected", collection, &[([1; 32], [2; 32])])];
        let mut draft = Draft::new(&org1.client, endorsers, 7).sets(sets);
        draft.chaincode = "collected".into();
        setting.code(&draft)
    };
    assert_eq!(write(&[&org1.peer], "loose"), Code::Valid);
    assert_eq!(write(&[&org1.peer], "plain"), Code::EndorsementPolicyFailure);
    assert_eq!(write(&[&org1.peer, &org2.peer], "plain"), Code::Valid);
    assert_eq!(write(&[&org1.peer, &org2.peer], "unknown"), Code::EndorsementPolicyFailure);
}
