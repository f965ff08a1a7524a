//! A channel's first block, as Fabric's configtxgen makes it for the test network: channel
//! capability V3_0, orderer V2_0, application V2_5, ordering by Raft.
//!
//! ```text
//! Channel      ANY Readers, ANY Writers, MAJORITY Admins
//!   Orderer      the same, BlockValidation: ANY Writers; ConsensusType, BatchSize, BatchTimeout
//!     organization   OR(member), OR(member), OR(admin); MSP, Endpoints
//!   Application  the same, Endorsement and LifecycleEndorsement: MAJORITY Endorsement
//!     organization   by role, Endorsement: OR(peer); MSP, AnchorPeers
//! ```
//! Every element is changed under `Admins` of its group, every version is 0. The block is
//! unsigned; its nonce makes it unique.
//! Sources: Fabric `internal/configtxgen/encoder`, `common/genesis`.

mod elements;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use ripstop_proto::block::{LAST_CONFIG, METADATA_SLOTS, SIGNATURES, data_hash};
use ripstop_proto::common::{
    Block, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Config, ConfigEnvelope, Envelope, Header, HeaderType,
    LastConfig, Metadata, OrdererBlockMetadata, Payload, SignatureHeader,
};
use ripstop_proto::msp::FabricMspConfig;
use ripstop_proto::tx_id;

use crate::channel_config::ChannelConfig;
use crate::config_error::ConfigError;
use crate::orderer::{BatchSize, Consenter, RaftOptions};

/// Version in the channel header of configuration made by tools.
const HEADER_VERSION: i32 = 1;

/// What a new channel consists of.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The channel's id.
    pub channel_id: String,
    /// When a batch is full.
    pub batch_size: BatchSize,
    /// How long a batch waits for more.
    pub batch_timeout: Duration,
    /// Raft's timing and limits.
    pub raft_options: RaftOptions,
    /// Organizations with peers.
    pub organizations: Vec<Organization>,
    /// Organizations with orderers.
    pub orderer_organizations: Vec<OrdererOrganization>,
    /// Policy references by resource, beside the defaults.
    pub acls: BTreeMap<String, String>,
}

/// An organization with peers.
#[derive(Debug, Clone)]
pub struct Organization {
    /// Name of its group, for instance `Org1MSP`.
    pub name: String,
    /// Its MSP.
    pub msp: FabricMspConfig,
    /// Signature policies by name, in Fabric's text form.
    pub policies: BTreeMap<String, String>,
    /// Host and port of peers that others are to know.
    pub anchor_peers: Vec<(String, u16)>,
}

/// An organization with orderers.
#[derive(Debug, Clone)]
pub struct OrdererOrganization {
    /// Name of its group, for instance `OrdererOrg`.
    pub name: String,
    /// Its MSP.
    pub msp: FabricMspConfig,
    /// Signature policies by name, in Fabric's text form.
    pub policies: BTreeMap<String, String>,
    /// `host:port` of its orderers.
    pub endpoints: Vec<String>,
    /// Its members of the Raft cluster.
    pub consenters: Vec<Consenter>,
}

/// Why there is no genesis block.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// A policy's text does not parse.
    #[error("policy {name} of organization {organization}: {cause}")]
    Policy {
        /// The organization's group.
        organization: String,
        /// The policy.
        name: String,
        /// What is wrong.
        cause: ripstop_msp::policy_text::TextError,
    },
    /// Two organizations of one kind have one name.
    #[error("two organizations are named {0}; a group's name stands once")]
    Name(String),
    /// The configuration that came out would be refused by every node.
    #[error("the channel's configuration would be refused: {0}")]
    Refused(#[from] ConfigError),
}

impl Profile {
    /// A channel without organizations, with the test network's batch settings: 10
    /// messages, 512 KiB preferred, 99 MiB at most, 2 s.
    pub fn new(channel_id: impl Into<String>) -> Self {
        Self {
            channel_id: channel_id.into(),
            batch_size: BatchSize {
                max_message_count: 10,
                absolute_max_bytes: 99 * 1024 * 1024,
                preferred_max_bytes: 512 * 1024,
            },
            batch_timeout: Duration::from_secs(2),
            raft_options: RaftOptions::default(),
            organizations: Vec::new(),
            orderer_organizations: Vec::new(),
            acls: BTreeMap::new(),
        }
    }
}

impl Organization {
    /// An organization with the test network's policies, whose group is named as its MSP.
    pub fn new(msp: FabricMspConfig, anchor_peers: Vec<(String, u16)>) -> Self {
        let id = &msp.name;
        let policies = BTreeMap::from([
            ("Readers".to_owned(), format!("OR('{id}.admin', '{id}.peer', '{id}.client')")),
            ("Writers".to_owned(), format!("OR('{id}.admin', '{id}.client')")),
            ("Admins".to_owned(), format!("OR('{id}.admin')")),
            ("Endorsement".to_owned(), format!("OR('{id}.peer')")),
        ]);
        Self { name: id.clone(), policies, anchor_peers, msp }
    }
}

impl OrdererOrganization {
    /// An organization with the test network's policies.
    pub fn new(
        name: impl Into<String>,
        msp: FabricMspConfig,
        endpoints: Vec<String>,
        consenters: Vec<Consenter>,
    ) -> Self {
        let id = &msp.name;
        let policies = BTreeMap::from([
            ("Readers".to_owned(), format!("OR('{id}.member')")),
            ("Writers".to_owned(), format!("OR('{id}.member')")),
            ("Admins".to_owned(), format!("OR('{id}.admin')")),
        ]);
        Self { name: name.into(), policies, endpoints, consenters, msp }
    }
}

/// The genesis block of `profile`. `nonce` and `now` (of which seconds count) make it
/// unique; the same arguments give the same bytes.
///
/// # Errors
/// When a policy does not parse, or a node would refuse the configuration.
pub fn block(profile: &Profile, nonce: [u8; 24], now: SystemTime) -> Result<Block, GenesisError> {
    let config = Config { sequence: 0, channel_group: Some(elements::channel(profile)?) };
    let config_envelope = ConfigEnvelope { config: Some(config), last_update: None };
    let payload =
        Payload { header: Some(header(&profile.channel_id, nonce, now)), data: config_envelope.encode_to_vec().into() };
    let envelope = Envelope { payload: payload.encode_to_vec().into(), ..Envelope::default() };
    let data = vec![envelope.encode_to_vec().into()];
    let header = BlockHeader { number: 0, data_hash: data_hash(&data).to_vec().into(), ..BlockHeader::default() };
    let block = Block { header: Some(header), data: Some(BlockData { data }), metadata: Some(metadata()) };
    ChannelConfig::from_block(&block)?;
    Ok(block)
}

fn header(channel_id: &str, nonce: [u8; 24], now: SystemTime) -> Header {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let channel_header = ChannelHeader {
        r#type: HeaderType::Config.into(),
        version: HEADER_VERSION,
        timestamp: Some(prost_types::Timestamp { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 }),
        channel_id: channel_id.to_owned(),
        tx_id: tx_id::compute(&nonce, &[]),
        ..ChannelHeader::default()
    };
    let signature_header = SignatureHeader { nonce: nonce.to_vec().into(), ..SignatureHeader::default() };
    Header {
        channel_header: channel_header.encode_to_vec().into(),
        signature_header: signature_header.encode_to_vec().into(),
    }
}

fn metadata() -> BlockMetadata {
    let last_config = LastConfig { index: 0 };
    let orderer = OrdererBlockMetadata { last_config: Some(last_config), ..OrdererBlockMetadata::default() };
    let wrapped = |value: Vec<u8>| Metadata { value: value.into(), signatures: Vec::new() }.encode_to_vec().into();
    let mut metadata = vec![bytes::Bytes::new(); METADATA_SLOTS];
    metadata[SIGNATURES] = wrapped(orderer.encode_to_vec());
    metadata[LAST_CONFIG] = wrapped(last_config.encode_to_vec());
    BlockMetadata { metadata }
}
