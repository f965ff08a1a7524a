//! Configurations that are refused: a good one with one thing wrong, and what is said.

use prost::Message;
use ripstop_channel::{ChannelConfig, ConfigError};
use ripstop_proto::common::{
    Block, BlockDataHashingStructure, Capabilities, Capability, Config, ConfigGroup, ConfigPolicy, ConfigValue,
    HashingAlgorithm, ImplicitMetaPolicy, OrdererAddresses, Policy, SignaturePolicyEnvelope,
};
use ripstop_proto::config::config_envelope;
use ripstop_proto::{etcdraft, msp, orderer};

use crate::fabric_genesis::genesis_block;

fn good() -> Config {
    config_envelope(&genesis_block()).unwrap().1.config.unwrap()
}

/// The group at a path of names below the channel group.
fn group<'a>(config: &'a mut Config, path: &[&str]) -> &'a mut ConfigGroup {
    let root = config.channel_group.as_mut().unwrap();
    path.iter().fold(root, |group, name| group.groups.get_mut(*name).unwrap())
}

fn set(group: &mut ConfigGroup, key: &str, value: &impl Message) {
    let value = ConfigValue { value: value.encode_to_vec().into(), mod_policy: "Admins".into(), version: 0 };
    group.values.insert(key.to_owned(), value);
}

fn demand(group: &mut ConfigGroup, names: &[&str]) {
    let capabilities = names.iter().map(|name| ((*name).to_owned(), Capability {})).collect();
    set(group, "Capabilities", &Capabilities { capabilities });
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Config), expected: &str) {
    let mut config = good();
    change(&mut config);
    let error = ChannelConfig::from_config("ch1", &config).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn the_unchanged_configuration_is_taken() {
    ChannelConfig::from_config("ch1", &good()).unwrap();
}

#[test]
fn a_block_without_a_configuration_has_none() {
    assert!(matches!(ChannelConfig::from_block(&Block::default()), Err(ConfigError::Block(_))));
    assert!(matches!(ChannelConfig::from_config("ch1", &Config::default()), Err(ConfigError::NoChannelGroup)));
}

#[test]
fn names_are_checked() {
    let error = ChannelConfig::from_config("Ch1", &good()).unwrap_err();
    assert!(matches!(error, ConfigError::ChannelId(_)));
    refused(
        |config| {
            let application = group(config, &["Application"]);
            let organization = application.groups.remove("Org1MSP").unwrap();
            application.groups.insert("Org 1".into(), organization);
        },
        "'Org 1' in /Channel/Application is no name",
    );
}

#[test]
fn unknown_capabilities_are_refused_in_every_group() {
    refused(|config| demand(group(config, &[]), &["V2_0", "V9_0"]), "/Channel demands capability V9_0");
    refused(|config| demand(group(config, &["Orderer"]), &["V2_5"]), "/Channel/Orderer demands capability V2_5");
    refused(
        |config| demand(group(config, &["Application"]), &["V3_0"]),
        "(it knows V1_1, V1_2, V1_3, V1_4_2, V2_0, V2_5)",
    );
}

#[test]
fn levels_from_before_the_msp_rules_we_have_are_refused() {
    refused(|config| demand(group(config, &[]), &["V1_4_2"]), "/Channel has capability level V1_4_2");
    refused(
        |config| {
            group(config, &[]).values.remove("Capabilities");
        },
        "/Channel has capability level none",
    );
    refused(
        |config| {
            group(config, &["Orderer"]).values.remove("Capabilities");
        },
        "need orderer capabilities to be set first",
    );
}

#[test]
fn addresses_for_the_whole_channel_end_with_v3_0() {
    let addresses = OrdererAddresses { addresses: vec!["orderer:7050".into()] };
    let mut config = good();
    demand(group(&mut config, &[]), &["V2_0"]);
    set(group(&mut config, &[]), "OrdererAddresses", &addresses);
    ChannelConfig::from_config("ch1", &config).unwrap();
    demand(group(&mut config, &[]), &["V3_0"]);
    let error = ChannelConfig::from_config("ch1", &config).unwrap_err().to_string();
    assert!(error.contains("name Endpoints in each orderer organization"), "{error}");
    set(group(&mut config, &[]), "OrdererAddresses", &OrdererAddresses::default());
    ChannelConfig::from_config("ch1", &config).unwrap();
}

#[test]
fn every_orderer_organization_needs_endpoints_under_v3_0() {
    let without = |config: &mut Config, level: &str| {
        demand(group(config, &[]), &[level]);
        group(config, &["Orderer", "OrdererOrg"]).values.remove("Endpoints");
    };
    let mut older = good();
    without(&mut older, "V2_0");
    ChannelConfig::from_config("ch1", &older).unwrap();
    refused(|config| without(config, "V3_0"), "must name its endpoints");
}

#[test]
fn groups_and_values_have_their_places() {
    refused(
        |config| {
            group(config, &[]).groups.insert("Consortiums".into(), ConfigGroup::default());
        },
        "group /Channel/Consortiums is not allowed",
    );
    refused(
        |config| {
            group(config, &["Application", "Org1MSP"]).groups.insert("Inner".into(), ConfigGroup::default());
        },
        "group /Channel/Application/Org1MSP/Inner is not allowed",
    );
    for path in [&[][..], &["Orderer"], &["Application"], &["Orderer", "OrdererOrg"], &["Application", "Org1MSP"]] {
        let change = |config: &mut Config| set(group(config, path), "Novelty", &HashingAlgorithm::default());
        refused(change, "unexpected key 'Novelty'");
    }
    refused(
        |config| set(group(config, &["Application"]), "BatchSize", &orderer::BatchSize::default()),
        "unexpected key 'BatchSize' in /Channel/Application",
    );
}

#[test]
fn hashing_is_as_it_is() {
    let hashing = |name: &str| HashingAlgorithm { name: name.into() };
    refused(|config| set(group(config, &[]), "HashingAlgorithm", &hashing("MD5")), "'MD5' is neither");
    let structure = BlockDataHashingStructure { width: 4 };
    refused(|config| set(group(config, &[]), "BlockDataHashingStructure", &structure), "width 4 is not supported");
}

#[test]
fn a_value_of_another_form_is_refused_with_its_path() {
    refused(
        |config| {
            let value = group(config, &["Orderer"]).values.get_mut("BatchSize").unwrap();
            value.value = vec![0xff, 0xff].into();
        },
        "/Channel/Orderer/BatchSize does not decode",
    );
}

#[test]
fn batch_settings_are_above_zero_and_in_order() {
    let size = |max_message_count, absolute_max_bytes, preferred_max_bytes| orderer::BatchSize {
        max_message_count,
        absolute_max_bytes,
        preferred_max_bytes,
    };
    let sizes = [
        (size(0, 2, 1), "max message count is 0"),
        (size(1, 0, 1), "absolute max bytes is 0"),
        (size(1, 2, 0), "preferred max bytes is 0"),
        (size(1, 2, 3), "preferred max bytes (3) are more than absolute max bytes (2)"),
    ];
    for (size, expected) in sizes {
        refused(|config| set(group(config, &["Orderer"]), "BatchSize", &size), expected);
    }
    for timeout in ["", "0s", "-1s", "soon"] {
        let timeout = orderer::BatchTimeout { timeout: timeout.into() };
        refused(|config| set(group(config, &["Orderer"]), "BatchTimeout", &timeout), "is no duration above zero");
    }
}

fn raft(change: impl FnOnce(&mut etcdraft::ConfigMetadata)) -> impl FnOnce(&mut Config) {
    |config| {
        let orderer = group(config, &["Orderer"]);
        let mut consensus = orderer::ConsensusType::decode(orderer.values["ConsensusType"].value.clone()).unwrap();
        let mut metadata = etcdraft::ConfigMetadata::decode(consensus.metadata).unwrap();
        change(&mut metadata);
        consensus.metadata = metadata.encode_to_vec().into();
        set(orderer, "ConsensusType", &consensus);
    }
}

#[test]
fn a_raft_cluster_has_members_and_timing() {
    refused(raft(|metadata| metadata.consenters.clear()), "there is no consenter");
    refused(raft(|metadata| metadata.options = None), "the Raft options are missing");
    refused(raft(|metadata| metadata.options.as_mut().unwrap().max_inflight_blocks = 0), "can be zero");
    refused(raft(|metadata| metadata.options.as_mut().unwrap().election_tick = 1), "must be greater than heartbeat");
    refused(raft(|metadata| metadata.options.as_mut().unwrap().tick_interval = "0".into()), "tick interval '0'");
    let twice = |metadata: &mut etcdraft::ConfigMetadata| metadata.consenters.push(metadata.consenters[0].clone());
    refused(raft(twice), "have the same TLS certificate");
}

#[test]
fn an_organization_needs_a_usable_msp() {
    let organization = ["Application", "Org1MSP"];
    let with = |config: &msp::MspConfig| config.clone();
    refused(
        |config| {
            group(config, &organization).values.remove("MSP");
        },
        "/Channel/Application/Org1MSP/MSP: the MSP has no id",
    );
    let idemix = msp::MspConfig { r#type: 1, ..Default::default() };
    refused(|config| set(group(config, &organization), "MSP", &with(&idemix)), "MSP type 1 is not supported");
    let rootless = msp::FabricMspConfig { name: "Org1MSP".into(), ..Default::default() };
    let rootless = msp::MspConfig { r#type: 0, config: rootless.encode_to_vec().into() };
    refused(|config| set(group(config, &organization), "MSP", &with(&rootless)), "cannot be set up");
}

#[test]
fn one_msp_may_stand_in_two_groups_but_not_two_msps_under_one_id() {
    let mut config = good();
    let shared = group(&mut config, &["Orderer", "OrdererOrg"]).values["MSP"].clone();
    group(&mut config, &["Application", "Org1MSP"]).values.insert("MSP".into(), shared.clone());
    ChannelConfig::from_config("ch1", &config).unwrap();
    let other = group(&mut config, &["Application", "Org2MSP"]).values["MSP"].value.clone();
    let other = msp::MspConfig::decode(other).unwrap();
    let mut fabric = msp::FabricMspConfig::decode(other.config).unwrap();
    fabric.name = "OrdererMSP".into();
    let twin = msp::MspConfig { r#type: 0, config: fabric.encode_to_vec().into() };
    set(group(&mut config, &["Application", "Org2MSP"]), "MSP", &twin);
    let error = ChannelConfig::from_config("ch1", &config).unwrap_err();
    assert!(matches!(&error, ConfigError::TwoMsps { msp_id, .. } if msp_id == "OrdererMSP"), "{error}");
}

#[test]
fn policies_compile_or_the_configuration_is_refused() {
    let policy = |r#type: i32, value: Vec<u8>| ConfigPolicy {
        policy: Some(Policy { r#type, value: value.into() }),
        ..ConfigPolicy::default()
    };
    let meta = |rule| ImplicitMetaPolicy { sub_policy: "Readers".into(), rule }.encode_to_vec();
    let later = SignaturePolicyEnvelope { version: 1, ..Default::default() }.encode_to_vec();
    let cases = [
        (ConfigPolicy::default(), "it has no content"),
        (policy(0, vec![]), "neither SIGNATURE nor IMPLICIT_META"),
        (policy(2, vec![]), "neither SIGNATURE nor IMPLICIT_META"),
        (policy(3, meta(7)), "none of ANY, ALL and MAJORITY"),
        (policy(3, vec![0xff]), "does not decode"),
        (policy(1, vec![]), "does not compile"),
        (policy(1, later), "version was 1"),
    ];
    for (policy, expected) in cases {
        let change = |config: &mut Config| {
            group(config, &["Application", "Org1MSP"]).policies.insert("Readers".into(), policy);
        };
        let mut config = good();
        change(&mut config);
        let error = ChannelConfig::from_config("ch1", &config).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("/Channel/Application/Org1MSP/Readers"), "{error}");
    }
}

#[test]
fn truncated_and_flipped_configurations_never_panic() {
    let bytes = good().encode_to_vec();
    let mut refused_count = 0;
    for step in 0..200 {
        let mut bytes = bytes.clone();
        let at = step * 131 % bytes.len();
        bytes[at] ^= 1 << (step % 8);
        if step % 3 == 0 {
            bytes.truncate(at);
        }
        let taken = Config::decode(&bytes[..]).is_ok_and(|config| ChannelConfig::from_config("ch1", &config).is_ok());
        refused_count += usize::from(!taken);
    }
    assert!(refused_count > 100, "{refused_count} of 200 refused");
}
