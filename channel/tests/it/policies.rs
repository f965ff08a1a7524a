//! The policies of our genesis, evaluated over real signatures.

use prost::Message;
use ripstop_channel::{ApplicationPolicyError, Layout, Policy, PolicyError};
use ripstop_msp::signature_policy::valid_identities;
use ripstop_msp::{KeyKind, SignedBytes, policy_text};
use ripstop_proto::common::{ConfigGroup, ImplicitMetaPolicy};
use ripstop_proto::protos::ApplicationPolicy;
use ripstop_proto::protos::application_policy::Type;

use crate::world::{MESSAGE, World, satisfied};

#[test]
fn writers_and_readers_are_told_apart_by_role() {
    for keys in [KeyKind::P256, KeyKind::Ed25519] {
        let world = World::new(2, keys);
        let config = world.config();
        let (peer, user, admin) = (world.peer(1), world.user(2, "User1"), world.user(2, "Admin"));
        let orderer = world.orderer();
        let writers = "/Channel/Application/Writers";
        assert!(satisfied(&config, writers, &[&user]));
        assert!(satisfied(&config, writers, &[&admin]));
        assert!(!satisfied(&config, writers, &[&peer]), "a peer is no writer of the application");
        assert!(!satisfied(&config, writers, &[&orderer]));
        assert!(!satisfied(&config, writers, &[]));
        assert!(satisfied(&config, "/Channel/Application/Readers", &[&peer]));
        assert!(satisfied(&config, "/Channel/Writers", &[&user]));
        assert!(satisfied(&config, "/Channel/Writers", &[&orderer]), "orderers are writers of the channel");
        assert!(satisfied(&config, "/Channel/Orderer/BlockValidation", &[&orderer]));
        assert!(!satisfied(&config, "/Channel/Orderer/BlockValidation", &[&peer]));
    }
}

#[test]
fn a_majority_is_more_than_half_of_the_organizations() {
    for (organizations, needed) in [(1, 1), (2, 2), (3, 2), (4, 3)] {
        let world = World::new(organizations, KeyKind::P256);
        let config = world.config();
        let peers: Vec<_> = (1..=organizations).map(|number| world.peer(number)).collect();
        for count in 0..=organizations {
            let signers: Vec<_> = peers[..count].iter().collect();
            let path = "/Channel/Application/Endorsement";
            assert_eq!(satisfied(&config, path, &signers), count >= needed, "{count} of {organizations}");
        }
    }
}

#[test]
fn two_signatures_of_one_organization_are_no_majority_of_two() {
    let world = World::new(2, KeyKind::P256);
    let config = world.config();
    let (user, admin) = (world.user(1, "User1"), world.user(1, "Admin"));
    assert!(!satisfied(&config, "/Channel/Application/Admins", &[&admin, &user]));
    assert!(!satisfied(&config, "/Channel/Application/Admins", &[&admin, &admin]));
    assert!(satisfied(&config, "/Channel/Application/Admins", &[&admin, &world.user(2, "Admin")]));
}

#[test]
fn the_channels_admins_are_a_majority_of_both_sides() {
    let world = World::new(1, KeyKind::P256);
    let config = world.config();
    assert!(!satisfied(&config, "/Channel/Admins", &[&world.user(1, "Admin")]), "one side of two");
}

#[test]
fn paths_may_be_relative_to_the_channel_and_unknown_ones_are_never_satisfied() {
    let world = World::new(1, KeyKind::P256);
    let config = world.config();
    let user = world.user(1, "User1");
    assert!(satisfied(&config, "Application/Writers", &[&user]));
    assert!(satisfied(&config, "Application/Org1MSP/Writers", &[&user]));
    for unknown in ["", "/", "Writers/", "/Application/Writers", "/Channel/Application", "/Channel/Application/None"] {
        assert!(config.policy(unknown).is_none(), "{unknown}");
        let error = config.check(unknown, &[]).unwrap_err();
        assert_eq!(error, PolicyError::NoSuchPolicy(unknown.to_owned()));
    }
}

#[test]
fn a_signature_over_something_else_counts_for_nothing() {
    let world = World::new(1, KeyKind::P256);
    let config = world.config();
    let user = world.user(1, "User1");
    let signature = user.sign(b"something else").unwrap();
    let signed = SignedBytes { identity: user.serialized(), message: MESSAGE.into(), signature: &signature };
    let error = config.check("/Channel/Application/Writers", &[signed]).unwrap_err().to_string();
    assert!(error.contains("0 sub-policies were satisfied") && error.ends_with("signed: []"), "{error}");
}

/// The configuration with its application group changed.
fn changed(world: &World, change: impl FnOnce(&mut ConfigGroup)) -> ripstop_channel::ChannelConfig {
    let mut config = world.config().config().clone();
    change(config.channel_group.as_mut().unwrap().groups.get_mut("Application").unwrap());
    ripstop_channel::ChannelConfig::from_config("mychannel", &config).unwrap()
}

#[test]
fn an_organization_without_the_policy_counts_as_one_that_never_agrees() {
    let world = World::new(3, KeyKind::P256);
    let config = changed(&world, |application| {
        application.groups.get_mut("Org3MSP").unwrap().policies.remove("Endorsement");
    });
    let peers = [world.peer(1), world.peer(2), world.peer(3)];
    let endorsement = "/Channel/Application/Endorsement";
    assert!(!satisfied(&config, endorsement, &[&peers[0], &peers[2]]), "two of three are needed still");
    assert!(satisfied(&config, endorsement, &[&peers[0], &peers[1]]));
}

#[test]
fn all_means_every_organization_and_without_any_it_is_satisfied() {
    let world = World::new(2, KeyKind::P256);
    let all = |application: &mut ConfigGroup| {
        let policy = application.policies.get_mut("Endorsement").unwrap().policy.as_mut().unwrap();
        policy.value = ImplicitMetaPolicy { sub_policy: "Endorsement".into(), rule: 1 }.encode_to_vec().into();
    };
    let config = changed(&world, all);
    let endorsement = "/Channel/Application/Endorsement";
    let peers = [world.peer(1), world.peer(2)];
    assert!(!satisfied(&config, endorsement, &[&peers[0]]));
    assert!(satisfied(&config, endorsement, &[&peers[0], &peers[1]]));
    let config = changed(&world, |application| {
        all(application);
        application.groups.clear();
    });
    assert!(satisfied(&config, endorsement, &[]));
    assert!(satisfied(&config, "/Channel/Application/Writers", &[]), "ANY of nobody");
    assert!(satisfied(&config, "/Channel/Application/Admins", &[]), "MAJORITY of nobody");
}

fn parameter(policy: Type) -> Vec<u8> {
    ApplicationPolicy { r#type: Some(policy) }.encode_to_vec()
}

fn layout(parts: &[(&str, usize)]) -> Layout {
    parts.iter().map(|(msp_id, count)| ((*msp_id).to_owned(), *count)).collect()
}

#[test]
fn a_validation_parameter_is_written_out_or_refers_to_the_channel() {
    let world = World::new(2, KeyKind::P256);
    let config = world.config();
    let written = Type::SignaturePolicy(policy_text::parse("AND('Org1MSP.peer','Org2MSP.peer')").unwrap());
    let written = config.application_policy(&parameter(written)).unwrap();
    let reference = Type::ChannelConfigPolicyReference("/Channel/Application/Endorsement".into());
    let referring = config.application_policy(&parameter(reference)).unwrap();
    let peers = [world.peer(1), world.peer(2)];
    let signatures: Vec<_> = peers.iter().map(|peer| peer.sign(MESSAGE).unwrap()).collect();
    let signed: Vec<_> = peers
        .iter()
        .zip(&signatures)
        .map(|(peer, signature)| SignedBytes { identity: peer.serialized(), message: MESSAGE.into(), signature })
        .collect();
    let identities = valid_identities(config.msps(), &signed);
    for policy in [&written, &referring] {
        assert_eq!(policy.evaluate_identities(&config, &identities), Ok(()));
        assert!(policy.evaluate_identities(&config, &identities[..1]).is_err());
        assert_eq!(policy.endorsing_organizations(&config), [layout(&[("Org1MSP", 1), ("Org2MSP", 1)])]);
    }
}

#[test]
fn an_unusable_validation_parameter_says_why() {
    let config = World::new(1, KeyKind::P256).config();
    let undecodable = config.application_policy(&[0xff]).unwrap_err();
    assert!(matches!(undecodable, ApplicationPolicyError::Undecodable(_)));
    assert!(matches!(config.application_policy(&[]).unwrap_err(), ApplicationPolicyError::Empty));
    let missing = Type::ChannelConfigPolicyReference("/Channel/Application/None".into());
    let error = config.application_policy(&parameter(missing)).unwrap_err();
    assert_eq!(error.to_string(), "no such policy: '/Channel/Application/None'");
    let empty = Type::SignaturePolicy(ripstop_proto::common::SignaturePolicyEnvelope::default());
    assert!(matches!(config.application_policy(&parameter(empty)).unwrap_err(), ApplicationPolicyError::Compile(_)));
}

#[test]
fn a_plan_for_a_majority_of_three_has_three_pairs() {
    let config = World::new(3, KeyKind::P256).config();
    let layouts = config.layouts("/Channel/Application/LifecycleEndorsement");
    assert_eq!(layouts.len(), 3);
    assert!(layouts.contains(&layout(&[("Org1MSP", 1), ("Org3MSP", 1)])));
    assert!(config.layouts("/Channel/Application/Admins").is_empty(), "peers are no admins");
    assert!(matches!(
        config.policy("/Channel/Application/Endorsement"),
        Some(Policy::ImplicitMeta { threshold: 2, members, .. }) if members.len() == 3
    ));
}
