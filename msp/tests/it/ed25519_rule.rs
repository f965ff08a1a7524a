//! The Ed25519 rule is Go's, bit for bit: see docs/decisions/0001-ed25519-rule.md.

use ripstop_msp::PublicKey;

const CASES: &str = include_str!("../../testdata/ed25519-edge-cases.txt");

struct Case {
    accepted: bool,
    key: [u8; 32],
    signature: Vec<u8>,
    message: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let lines = CASES.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            Case {
                accepted: fields[0] == "1",
                key: hex::decode(fields[1]).unwrap().try_into().unwrap(),
                signature: hex::decode(fields[2]).unwrap(),
                message: hex::decode(fields[3]).unwrap(),
            }
        })
        .collect()
}

#[test]
fn every_edge_case_has_the_verdict_of_go() {
    let cases = cases();
    assert!(cases.len() > 800);
    for (index, case) in cases.iter().enumerate() {
        let key = PublicKey::from_ed25519(&case.key);
        let accepted = key.is_some_and(|key| key.verify(&case.message, &case.signature).is_ok());
        assert_eq!(accepted, case.accepted, "case {index}: key {}", hex::encode(case.key));
    }
}

/// The decision would be moot if both rules agreed on these cases.
#[test]
fn the_strict_rule_would_give_other_verdicts() {
    let differs = |case: &Case| {
        let signature = ed25519_dalek::Signature::from_slice(&case.signature).unwrap();
        let key = ed25519_dalek::VerifyingKey::from_bytes(&case.key);
        key.is_ok_and(|key| key.verify_strict(&case.message, &signature).is_ok()) != case.accepted
    };
    assert_eq!(cases().iter().filter(|case| differs(case)).count(), 159);
}
