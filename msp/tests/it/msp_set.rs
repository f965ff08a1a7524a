//! A channel's MSPs and their memory.

use std::sync::Arc;

use ripstop_msp::{IdentityError, Msp, MspSet, MspVersion};

use crate::pki::{Authority, Leaf, ORG, config, setup};

fn set_of(root: &Authority) -> MspSet {
    MspSet::new(vec![setup(&config(&[root], &[])).unwrap()])
}

#[test]
fn an_identity_is_read_once() {
    let root = Authority::root("ca");
    let msps = set_of(&root);
    let serialized = root.leaf("someone", &["client"]).serialized(ORG);
    let first = msps.identity(&serialized).unwrap();
    assert!(Arc::ptr_eq(&first, &msps.identity(&serialized).unwrap()));
}

#[test]
fn invalid_identities_can_be_read_but_are_refused() {
    let root = Authority::root("ca");
    let msps = set_of(&root);
    let leaf: Leaf = root.leaf("someone", &["client", "peer"]);
    for _ in 0..2 {
        let error = msps.identity(&leaf.serialized(ORG)).unwrap_err();
        assert!(matches!(error, IdentityError::Invalid { .. }));
        assert!(msps.read(&leaf.serialized(ORG)).unwrap().validity().is_err());
    }
}

#[test]
fn unknown_msps_are_named_with_the_known_ones() {
    let root = Authority::root("ca");
    let msps = set_of(&root);
    let error = msps.identity(&root.leaf("x", &["client"]).serialized("Org9MSP")).unwrap_err();
    let text = "MSP Org9MSP is not defined on channel (known are: Org1MSP)";
    assert_eq!(error.to_string(), text);
    assert_eq!(msps.msp_ids().collect::<Vec<_>>(), [ORG]);
    assert!(msps.msp(ORG).is_some() && msps.msp("Org9MSP").is_none());
}

#[test]
fn each_msp_reads_by_its_own_version() {
    let root = Authority::root("ca");
    let mut second = config(&[&root], &[]);
    second.name = "Org2MSP".into();
    let msps =
        MspSet::new(vec![setup(&config(&[&root], &[])).unwrap(), Msp::new(&second, MspVersion::V1_4_3).unwrap()]);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let leaf = root.leaf_of("edward", &["client"], key, crate::pki::unchanged);
    assert!(msps.identity(&leaf.serialized(ORG)).is_ok());
    assert!(msps.identity(&leaf.serialized("Org2MSP")).is_err());
}

#[test]
fn the_memory_is_bounded_and_stays_right() {
    let root = Authority::root("ca");
    let msps = set_of(&root);
    let leaf = root.leaf("someone", &["client"]);
    let id = *msps.identity(&leaf.serialized(ORG)).unwrap().id();
    // Each trailing newline is other bytes, so another entry: more of them than two generations.
    for count in 0..5_000usize {
        let text = format!("{}{}", leaf.pem, "\n".repeat(count % 4_500));
        let serialized = crate::pki::serialized(ORG, text.as_bytes());
        assert_eq!(msps.identity(&serialized).unwrap().id(), &id);
    }
}

#[test]
fn many_threads_read_the_same_identities() {
    let root = Authority::root("ca");
    let msps = set_of(&root);
    let serialized: Vec<_> = (0..8).map(|index| root.leaf(&format!("u{index}"), &["client"]).serialized(ORG)).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..200 {
                    assert!(msps.identity(&serialized[round % serialized.len()]).is_ok());
                }
            });
        }
    });
}
