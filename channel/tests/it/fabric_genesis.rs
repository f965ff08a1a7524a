//! The first two blocks of a channel made by Fabric 3.1.5 (configtxgen, osnadmin, a Raft
//! orderer), as a peer stored them.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use ripstop_channel::genesis::{self, Profile};
use ripstop_channel::{
    ApplicationLevel, BatchSize, BlockSignatureError, ChannelConfig, ChannelLevel, OrdererLevel, RaftOptions,
};
use ripstop_proto::block::metadata_slot;
use ripstop_proto::common::{Block, ConfigGroup};
use ripstop_proto::config::config_envelope;
use ripstop_proto::msp::{FabricMspConfig, MspConfig};

pub(crate) fn genesis_block() -> Block {
    Block::decode(&include_bytes!("../../testdata/fabric-genesis.block")[..]).unwrap()
}

fn second_block() -> Block {
    Block::decode(&include_bytes!("../../testdata/fabric-block-1.block")[..]).unwrap()
}

fn root(block: &Block) -> ConfigGroup {
    config_envelope(block).unwrap().1.config.unwrap().channel_group.unwrap()
}

#[test]
fn a_configuration_made_by_fabric_is_read() {
    let config = ChannelConfig::from_block(&genesis_block()).unwrap();
    assert_eq!((config.channel_id(), config.sequence()), ("ch1", 0));
    let capabilities = config.capabilities();
    assert_eq!(capabilities.orderer, OrdererLevel::V2_0);
    assert_eq!(capabilities.application, ApplicationLevel::V2_5);
    assert!(capabilities.channel >= ChannelLevel::V2_0);
    assert_eq!(config.msps().msp_ids().collect::<Vec<_>>(), ["OrdererMSP", "Org1MSP", "Org2MSP"]);

    let orderer = config.orderer().unwrap();
    assert_eq!((orderer.consensus_type.as_str(), orderer.maintenance), ("etcdraft", false));
    let raft = orderer.raft.as_ref().unwrap();
    assert_eq!(raft.options, RaftOptions::default());
    assert_eq!(raft.consenters.len(), 1);
    assert_eq!(raft.consenters[0].host, "127.0.0.1");
    let [organization] = &orderer.organizations[..] else { panic!("one orderer organization") };
    assert_eq!((organization.name.as_str(), organization.msp_id.as_str()), ("OrdererOrg", "OrdererMSP"));
    assert_eq!(organization.endpoints, ["127.0.0.1:7050"]);
    assert_eq!(organization.tls_roots_pem.len(), 1);

    let application = config.application().unwrap();
    assert_eq!(application.organizations.len(), 2);
    assert_eq!(application.organizations[0].anchor_peers.len(), 1);
    assert!(application.acls.is_empty());
}

#[test]
fn the_orderers_signature_over_a_real_block_is_accepted() {
    let config = ChannelConfig::from_block(&genesis_block()).unwrap();
    config.check_block_signatures(&second_block()).unwrap();
}

#[test]
fn a_block_that_was_changed_after_signing_is_refused() {
    let config = ChannelConfig::from_block(&genesis_block()).unwrap();
    let mut block = second_block();
    block.header.as_mut().unwrap().data_hash = vec![0; 32].into();
    let error = config.check_block_signatures(&block).unwrap_err();
    assert!(matches!(error, BlockSignatureError::Policy { number: 1, .. }), "{error}");
    let error = config.check_block_signatures(&genesis_block()).unwrap_err();
    assert!(error.to_string().contains("0 sub-policies were satisfied"), "an unsigned block: {error}");
}

/// Everything that a profile says, taken out of a configuration.
fn profile_of(block: &Block) -> Profile {
    let config = ChannelConfig::from_block(block).unwrap();
    let root = root(block);
    let msp = |group: &str, name: &str| {
        let value = &root.groups[group].groups[name].values["MSP"].value;
        FabricMspConfig::decode(MspConfig::decode(value.clone()).unwrap().config).unwrap()
    };
    let orderer = config.orderer().unwrap();
    let raft = orderer.raft.clone().unwrap();
    let mut profile = Profile::new(config.channel_id());
    profile.batch_size = orderer.batch_size;
    profile.batch_timeout = orderer.batch_timeout;
    profile.raft_options = raft.options;
    for organization in &orderer.organizations {
        profile.orderer_organizations.push(genesis::OrdererOrganization::new(
            &organization.name,
            msp("Orderer", &organization.name),
            organization.endpoints.clone(),
            raft.consenters.clone(),
        ));
    }
    for organization in &config.application().unwrap().organizations {
        let msp = msp("Application", &organization.name);
        profile.organizations.push(genesis::Organization::new(msp, organization.anchor_peers.clone()));
    }
    profile
}

#[test]
fn our_genesis_is_the_one_that_configtxgen_makes() {
    let theirs = genesis_block();
    let ours = genesis::block(&profile_of(&theirs), [7; 24], std::time::SystemTime::UNIX_EPOCH).unwrap();
    for slot in [0, 1, 3] {
        assert_eq!(metadata_slot(&ours, slot), metadata_slot(&theirs, slot), "metadata slot {slot}");
    }
    let (ours, mut theirs) = (elements("/Channel", &root(&ours)), elements("/Channel", &root(&theirs)));
    // Theirs is of level V2_0, the one thing that is meant to differ.
    let level = &mut theirs.get_mut("/Channel/value Capabilities").unwrap().1;
    assert_eq!(level[..], *b"\x0a\x08\x0a\x04V2_0\x12\x00");
    level[5] = b'3';
    for (path, element) in &theirs {
        assert_eq!(ours.get(path), Some(element), "{path}");
    }
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
}

/// Every element of a group by path: its version, content and mod policy.
fn elements(path: &str, group: &ConfigGroup) -> BTreeMap<String, (u64, Vec<u8>, String)> {
    let own = (group.version, Vec::new(), group.mod_policy.clone());
    let mut elements = BTreeMap::from([(path.to_owned(), own)]);
    for (name, child) in &group.groups {
        elements.extend(self::elements(&format!("{path}/{name}"), child));
    }
    for (key, value) in &group.values {
        elements.insert(format!("{path}/value {key}"), (value.version, value.value.to_vec(), value.mod_policy.clone()));
    }
    for (key, policy) in &group.policies {
        let content = policy.policy.as_ref().map(Message::encode_to_vec).unwrap_or_default();
        elements.insert(format!("{path}/policy {key}"), (policy.version, content, policy.mod_policy.clone()));
    }
    elements
}

#[test]
fn the_headers_of_our_genesis_are_of_configtxgens_form() {
    use ripstop_proto::envelope::OpenEnvelope;
    let open = |block: &Block| OpenEnvelope::open(&block.data.as_ref().unwrap().data[0]).unwrap();
    let theirs = open(&genesis_block());
    let now = std::time::UNIX_EPOCH + Duration::new(1_700_000_000, 5);
    let ours = open(&genesis::block(&profile_of(&genesis_block()), [7; 24], now).unwrap());
    assert_eq!(ours.channel_header.r#type, theirs.channel_header.r#type);
    assert_eq!(ours.channel_header.version, theirs.channel_header.version);
    assert_eq!(ours.channel_header.channel_id, theirs.channel_header.channel_id);
    assert_eq!(ours.channel_header.epoch, theirs.channel_header.epoch);
    let timestamp = ours.channel_header.timestamp.unwrap();
    assert_eq!((timestamp.seconds, timestamp.nanos), (1_700_000_000, 0));
    assert_eq!(theirs.channel_header.timestamp.unwrap().nanos, 0);
    for genesis in [&ours, &theirs] {
        let header = &genesis.signature_header;
        assert_eq!((header.creator.len(), header.nonce.len()), (0, 24));
        let tx_id = ripstop_proto::tx_id::compute(&header.nonce, &header.creator);
        assert_eq!(genesis.channel_header.tx_id, tx_id);
        assert!(genesis.envelope.signature.is_empty());
    }
}

#[test]
fn batch_settings_are_read_as_numbers() {
    let config = ChannelConfig::from_block(&genesis_block()).unwrap();
    let orderer = config.orderer().unwrap();
    let BatchSize { max_message_count, absolute_max_bytes, preferred_max_bytes } = orderer.batch_size;
    assert!(max_message_count > 0 && preferred_max_bytes > 0 && preferred_max_bytes <= absolute_max_bytes);
    assert!(orderer.batch_timeout > Duration::ZERO);
}
