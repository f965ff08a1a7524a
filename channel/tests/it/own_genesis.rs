//! The genesis block of our own networks.

use std::time::{Duration, SystemTime};

use ripstop_channel::genesis::{self, GenesisError};
use ripstop_channel::{ApplicationLevel, ChannelConfig, ChannelLevel, LiveConfig, OrdererLevel};
use ripstop_msp::KeyKind;
use ripstop_proto::block::{data_hash, header_hash, is_config, last_config_index};

use crate::world::World;

#[test]
fn a_genesis_block_says_what_its_profile_says() {
    let world = World::new(2, KeyKind::Ed25519);
    let mut profile = world.profile();
    profile.batch_timeout = Duration::from_millis(500);
    profile.batch_size.max_message_count = 500;
    profile.acls.insert("event/Block".to_owned(), "Admins".to_owned());
    let block = genesis::block(&profile, [1; 24], SystemTime::UNIX_EPOCH).unwrap();

    let header = block.header.as_ref().unwrap();
    assert_eq!((header.number, header.previous_hash.len()), (0, 0));
    assert_eq!(header.data_hash, data_hash(&block.data.as_ref().unwrap().data)[..]);
    assert!(is_config(&block));
    assert_eq!(last_config_index(&block).unwrap(), 0);

    let config = ChannelConfig::from_block(&block).unwrap();
    let capabilities = config.capabilities();
    assert_eq!(
        (capabilities.channel, capabilities.orderer, capabilities.application),
        (ChannelLevel::V3_0, OrdererLevel::V2_0, ApplicationLevel::V2_5)
    );
    let orderer = config.orderer().unwrap();
    assert_eq!(orderer.batch_timeout, Duration::from_millis(500));
    assert_eq!(orderer.batch_size, profile.batch_size);
    assert_eq!(orderer.raft.as_ref().unwrap().consenters, profile.orderer_organizations[0].consenters);
    assert_eq!(orderer.organizations[0].endpoints, ["orderer.example.com:7050"]);
    let application = config.application().unwrap();
    assert_eq!(application.organizations[1].anchor_peers, [("peer0.org2.example.com".to_owned(), 7051)]);
    assert_eq!(config.acl("event/Block"), "/Channel/Application/Admins");
    assert_eq!(config.acl("peer/Propose"), "/Channel/Application/Writers");
}

#[test]
fn the_same_arguments_make_the_same_block_and_the_nonce_another() {
    let profile = World::new(1, KeyKind::P256).profile();
    let hash = |nonce, now| header_hash(genesis::block(&profile, nonce, now).unwrap().header.as_ref().unwrap());
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
    assert_eq!(hash([1; 24], now), hash([1; 24], now));
    assert_ne!(hash([1; 24], now), hash([2; 24], now));
    assert_ne!(hash([1; 24], now), hash([1; 24], SystemTime::UNIX_EPOCH));
}

#[test]
fn a_profile_that_no_node_would_take_makes_no_block() {
    let world = World::new(2, KeyKind::P256);
    let refused = |change: &dyn Fn(&mut genesis::Profile)| {
        let mut profile = world.profile();
        change(&mut profile);
        genesis::block(&profile, [1; 24], SystemTime::UNIX_EPOCH).unwrap_err()
    };
    let error = refused(&|profile| profile.channel_id = "My Channel".to_owned());
    assert!(error.to_string().contains("channel id 'My Channel' is not allowed"), "{error}");
    let error = refused(&|profile| profile.orderer_organizations[0].endpoints.clear());
    assert!(error.to_string().contains("/Channel/Orderer/OrdererOrg/Endpoints"), "{error}");
    let error = refused(&|profile| profile.orderer_organizations[0].consenters.clear());
    assert!(error.to_string().contains("there is no consenter"), "{error}");
    let error = refused(&|profile| profile.batch_size.preferred_max_bytes = u32::MAX);
    assert!(error.to_string().contains("are more than absolute max bytes"), "{error}");
    let error = refused(&|profile| profile.batch_timeout = Duration::ZERO);
    assert!(error.to_string().contains("'0s' is no duration above zero"), "{error}");
    let error = refused(&|profile| {
        profile.organizations[0].policies.insert("Readers".to_owned(), "OR(".to_owned());
    });
    assert!(matches!(error, GenesisError::Policy { .. }), "{error}");
    let error = refused(&|profile| profile.organizations[1].name = "Org1MSP".to_owned());
    assert!(matches!(error, GenesisError::Name(_)), "{error}");
    let error = refused(&|profile| profile.organizations[1].msp.name = "Org1MSP".to_owned());
    assert!(error.to_string().contains("MSP Org1MSP is defined twice"), "{error}");
}

#[test]
fn a_replaced_configuration_leaves_the_one_that_was_taken() {
    let world = World::new(1, KeyKind::P256);
    let live = LiveConfig::new(world.config());
    let taken = live.current();
    let mut profile = world.profile();
    profile.batch_size.max_message_count = 77;
    let block = genesis::block(&profile, [2; 24], SystemTime::UNIX_EPOCH).unwrap();
    live.replace(ChannelConfig::from_block(&block).unwrap());
    let count = |config: &ChannelConfig| config.orderer().unwrap().batch_size.max_message_count;
    assert_eq!((count(&taken), count(&live.current())), (10, 77));
}
