//! The language of signature policies.

use prost::Message as _;
use ripstop_msp::policy_text::{n_out_of, parse, role_principal, signed_by};
use ripstop_proto::common::msp_role::MspRoleType;
use ripstop_proto::common::{MspRole, SignaturePolicyEnvelope};

fn names(policy: &SignaturePolicyEnvelope) -> Vec<String> {
    let name = |bytes: &bytes::Bytes| {
        let role = MspRole::decode(bytes.clone()).unwrap();
        format!("{}.{}", role.msp_identifier, role.role)
    };
    policy.identities.iter().map(|principal| name(&principal.principal)).collect()
}

#[test]
fn gates_become_counts() {
    let and = parse("AND('A.member', 'B.member')").unwrap();
    assert_eq!(and.rule, Some(n_out_of(2, vec![signed_by(0), signed_by(1)])));
    assert_eq!(and.identities[1], role_principal("B", MspRoleType::Member));
    assert_eq!(and.version, 0);
    let or = parse("or(\"A.admin\",'B.orderer')").unwrap();
    assert_eq!(or.rule, Some(n_out_of(1, vec![signed_by(0), signed_by(1)])));
    assert_eq!(names(&or), ["A.1", "B.4"]);
    let out_of = parse(" OutOf ( 2 , 'A.client','B.peer' , 'C.member' ) ").unwrap();
    assert_eq!(out_of.rule, Some(n_out_of(2, vec![signed_by(0), signed_by(1), signed_by(2)])));
    assert_eq!(parse("OutOf('1','A.peer')").unwrap(), parse("OutOf(1,'A.peer')").unwrap());
    assert_eq!(parse("Or('A.peer')").unwrap(), parse("OR('A.peer')").unwrap());
}

/// Fabric's parser evaluates inner gates first, so their principals are numbered first; what
/// organizations approve is compared byte by byte.
#[test]
fn inner_gates_are_numbered_first() {
    let policy = parse("OR('A.member', AND('B.member', 'C.member'))").unwrap();
    assert_eq!(names(&policy), ["B.0", "C.0", "A.0"]);
    let inner = n_out_of(2, vec![signed_by(0), signed_by(1)]);
    assert_eq!(policy.rule, Some(n_out_of(1, vec![signed_by(2), inner])));
    let two = parse("OR(AND('A.member', 'B.member'), OR('C.admin', 'D.member'))").unwrap();
    assert_eq!(names(&two), ["A.0", "B.0", "C.1", "D.0"]);
}

#[test]
fn principals_are_not_deduplicated() {
    let policy = parse("AND('A.peer','A.peer')").unwrap();
    assert_eq!(names(&policy), ["A.3", "A.3"]);
}

#[test]
fn msp_ids_may_have_dots_and_dashes() {
    let policy = parse("OR('org-1.example.com.peer')").unwrap();
    assert_eq!(names(&policy), ["org-1.example.com.3"]);
}

#[test]
fn counts_up_to_one_above_the_places_are_taken() {
    assert!(parse("OutOf(0,'A.peer')").is_ok());
    assert!(parse("OutOf(2,'A.peer')").is_ok());
    assert!(parse("OutOf(3,'A.peer')").is_err());
    assert!(parse("OutOf(-1,'A.peer')").is_err());
}

#[test]
fn mistakes_are_located() {
    let position = |text: &str| parse(text).unwrap_err().position;
    assert_eq!(position("XOR('A.peer')"), 0);
    assert_eq!(position("AND('A.peer' 'B.peer')"), 13);
    assert_eq!(position("AND('A.boss')"), 4);
    for wrong in [
        "",
        "AND",
        "AND(",
        "AND()",
        "AND('A.peer'",
        "AND('A.peer',)",
        "'A.peer'",
        "AND('A.peer')x",
        "AND('.peer')",
        "AND('A_B.peer')",
        "AND('peer')",
        "AND(A.peer)",
        "OutOf('A.peer')",
        "OutOf(1)",
        "AND('A.peer",
        "AND(\u{e9}'A.peer')",
        "OutOf(99999999,'A.peer')",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
    let deep = "OR(".repeat(10_000) + "'A.peer'" + &")".repeat(10_000);
    assert!(parse(&deep).unwrap_err().to_string().contains("deep"));
}

#[test]
fn the_deepest_text_still_decodes() {
    let deep = "OR(".repeat(40) + "'A.peer'" + &")".repeat(40);
    let policy = parse(&deep).unwrap();
    let decoded = SignaturePolicyEnvelope::decode(&policy.encode_to_vec()[..]).unwrap();
    assert_eq!(decoded, policy);
    assert!(ripstop_msp::signature_policy::SignaturePolicy::compile(&decoded).is_ok());
}
