//! The orderer group: how blocks are cut, who orders, where they are reached.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common::OrdererAddresses;
use ripstop_proto::orderer::consensus_type::State;
use ripstop_proto::{etcdraft, orderer};

use crate::capabilities::ChannelLevel;
use crate::channel_config::Msps;
use crate::config_error::ConfigError;
use crate::config_group::Group;
use crate::go_duration;

pub(crate) const GROUP: &str = "Orderer";
pub(crate) const CONSENSUS_TYPE: &str = "ConsensusType";
pub(crate) const BATCH_SIZE: &str = "BatchSize";
pub(crate) const BATCH_TIMEOUT: &str = "BatchTimeout";
pub(crate) const CHANNEL_RESTRICTIONS: &str = "ChannelRestrictions";
pub(crate) const ENDPOINTS: &str = "Endpoints";
pub(crate) const VALUES: &[&str] = &[
    CONSENSUS_TYPE,
    BATCH_SIZE,
    BATCH_TIMEOUT,
    CHANNEL_RESTRICTIONS,
    "KafkaBrokers",
    "Orderers",
    crate::capabilities::KEY,
];
const ORGANIZATION_VALUES: &[&str] = &[ENDPOINTS, crate::channel_config::MSP];

/// Consensus by Raft.
pub const CONSENSUS_ETCDRAFT: &str = "etcdraft";

/// The orderer group of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrdererConfig {
    /// `etcdraft`, or another that this program may not have.
    pub consensus_type: String,
    /// Whether only configuration updates are taken.
    pub maintenance: bool,
    /// The Raft cluster; none for other consensus types.
    pub raft: Option<RaftConfig>,
    /// When a batch is full.
    pub batch_size: BatchSize,
    /// How long a batch waits for more.
    pub batch_timeout: Duration,
    /// Organizations that run orderers, by group name.
    pub organizations: Vec<OrdererOrganization>,
}

/// When a batch is full; sizes count payload and signature of each envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    /// Messages per batch, at least 1.
    pub max_message_count: u32,
    /// No message is larger.
    pub absolute_max_bytes: u32,
    /// A batch of several messages is not larger; at most `absolute_max_bytes`.
    pub preferred_max_bytes: u32,
}

/// An organization of the ordering service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrdererOrganization {
    /// Name of its group.
    pub name: String,
    /// Its MSP.
    pub msp_id: String,
    /// Its orderers' `host:port`.
    pub endpoints: Vec<String>,
    /// Certificate authorities of its TLS certificates, intermediates included, PEM.
    pub tls_roots_pem: Vec<Vec<u8>>,
}

/// A Raft cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftConfig {
    /// The members, in the configuration's order; at least one, no two with one
    /// certificate.
    pub consenters: Vec<Consenter>,
    /// Timing and limits.
    pub options: RaftOptions,
}

/// A member of a Raft cluster. It is known by its certificates, not by its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consenter {
    /// Host that others dial.
    pub host: String,
    /// Port that others dial.
    pub port: u32,
    /// Certificate it shows as a client, PEM.
    pub client_tls_certificate_pem: Bytes,
    /// Certificate it shows as a server, PEM.
    pub server_tls_certificate_pem: Bytes,
}

/// Raft's timing and limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftOptions {
    /// Length of a tick.
    pub tick_interval: Duration,
    /// Ticks without a leader before an election; more than `heartbeat_tick`.
    pub election_tick: u32,
    /// Ticks between heartbeats.
    pub heartbeat_tick: u32,
    /// Blocks proposed but not committed.
    pub max_inflight_blocks: u32,
    /// Bytes of log between snapshots.
    pub snapshot_interval_bytes: u32,
}

impl Default for RaftOptions {
    /// Fabric's defaults.
    fn default() -> Self {
        Self {
            tick_interval: Duration::from_millis(500),
            election_tick: 10,
            heartbeat_tick: 1,
            max_inflight_blocks: 5,
            snapshot_interval_bytes: 16 * 1024 * 1024,
        }
    }
}

impl OrdererConfig {
    pub(crate) fn read(group: &Group<'_>, level: ChannelLevel, msps: &mut Msps) -> Result<Self, ConfigError> {
        let consensus: orderer::ConsensusType = group.value(CONSENSUS_TYPE)?;
        let path = group.at(CONSENSUS_TYPE);
        let raft = (consensus.r#type == CONSENSUS_ETCDRAFT)
            .then(|| RaftConfig::read(&path, consensus.metadata.clone()))
            .transpose()?;
        Ok(Self {
            maintenance: consensus.state == State::Maintenance as i32,
            consensus_type: consensus.r#type,
            raft,
            batch_size: BatchSize::read(group)?,
            batch_timeout: batch_timeout(group)?,
            organizations: organizations(group, level, msps)?,
        })
    }
}

impl BatchSize {
    fn read(group: &Group<'_>) -> Result<Self, ConfigError> {
        let value: orderer::BatchSize = group.value(BATCH_SIZE)?;
        let refuse = |reason: String| Err(ConfigError::value(group.at(BATCH_SIZE), reason));
        let parts = [
            ("max message count", value.max_message_count),
            ("absolute max bytes", value.absolute_max_bytes),
            ("preferred max bytes", value.preferred_max_bytes),
        ];
        if let Some((name, _)) = parts.iter().find(|(_, part)| *part == 0) {
            return refuse(format!("{name} is 0, it must be at least 1"));
        }
        if value.preferred_max_bytes > value.absolute_max_bytes {
            return refuse(format!(
                "preferred max bytes ({}) are more than absolute max bytes ({})",
                value.preferred_max_bytes, value.absolute_max_bytes
            ));
        }
        Ok(Self {
            max_message_count: value.max_message_count,
            absolute_max_bytes: value.absolute_max_bytes,
            preferred_max_bytes: value.preferred_max_bytes,
        })
    }
}

fn batch_timeout(group: &Group<'_>) -> Result<Duration, ConfigError> {
    let value: orderer::BatchTimeout = group.value(BATCH_TIMEOUT)?;
    match go_duration::parse(&value.timeout) {
        Some(timeout) if !timeout.is_zero() => Ok(timeout),
        _ => {
            let reason = format!("'{}' is no duration above zero, such as 2s or 500ms", value.timeout);
            Err(ConfigError::value(group.at(BATCH_TIMEOUT), reason))
        }
    }
}

fn organizations(
    group: &Group<'_>,
    level: ChannelLevel,
    msps: &mut Msps,
) -> Result<Vec<OrdererOrganization>, ConfigError> {
    let read = |(name, group): (&str, Group<'_>)| {
        if level < ChannelLevel::V1_4_2 && group.has(ENDPOINTS) {
            let reason = "endpoints of organizations need channel capability V1_4_2 or later";
            return Err(ConfigError::value(group.at(ENDPOINTS), reason));
        }
        let endpoints: OrdererAddresses = group.value(ENDPOINTS)?;
        if level >= ChannelLevel::V3_0 && endpoints.addresses.is_empty() {
            let reason = "an orderer organization must name its endpoints under channel capability V3_0";
            return Err(ConfigError::value(group.at(ENDPOINTS), reason));
        }
        let msp = msps.add(&group)?;
        Ok(OrdererOrganization {
            name: name.to_owned(),
            tls_roots_pem: msp.tls_roots_pem,
            msp_id: msp.id,
            endpoints: endpoints.addresses,
        })
    };
    group.organizations(ORGANIZATION_VALUES)?.into_iter().map(read).collect()
}

impl RaftConfig {
    fn read(path: &str, metadata: Bytes) -> Result<Self, ConfigError> {
        let metadata = etcdraft::ConfigMetadata::decode(metadata)
            .map_err(|cause| ConfigError::Undecodable { path: format!("{path} metadata"), cause })?;
        let refuse = |reason: &str| ConfigError::value(format!("{path} metadata"), reason);
        let options = metadata.options.ok_or_else(|| refuse("the Raft options are missing"))?;
        let options = RaftOptions::read(options).map_err(|reason| refuse(&reason))?;
        if metadata.consenters.is_empty() {
            return Err(refuse("there is no consenter"));
        }
        let consenters: Vec<Consenter> = metadata.consenters.into_iter().map(Consenter::from).collect();
        check_distinct(&consenters).map_err(|reason| refuse(&reason))?;
        Ok(Self { consenters, options })
    }
}

impl RaftOptions {
    fn read(options: etcdraft::Options) -> Result<Self, String> {
        if options.heartbeat_tick == 0 || options.election_tick == 0 || options.max_inflight_blocks == 0 {
            return Err("none of heartbeat tick, election tick and max inflight blocks can be zero".to_owned());
        }
        if options.election_tick <= options.heartbeat_tick {
            let (election, heartbeat) = (options.election_tick, options.heartbeat_tick);
            return Err(format!("election tick ({election}) must be greater than heartbeat tick ({heartbeat})"));
        }
        let tick_interval =
            go_duration::parse(&options.tick_interval).filter(|interval| !interval.is_zero()).ok_or_else(|| {
                format!("tick interval '{}' is no duration above zero, such as 500ms", options.tick_interval)
            })?;
        let snapshot_interval_bytes = match options.snapshot_interval_size {
            0 => Self::default().snapshot_interval_bytes,
            bytes => bytes,
        };
        Ok(Self {
            tick_interval,
            election_tick: options.election_tick,
            heartbeat_tick: options.heartbeat_tick,
            max_inflight_blocks: options.max_inflight_blocks,
            snapshot_interval_bytes,
        })
    }
}

impl From<etcdraft::Consenter> for Consenter {
    fn from(consenter: etcdraft::Consenter) -> Self {
        Self {
            host: consenter.host,
            port: consenter.port,
            client_tls_certificate_pem: consenter.client_tls_cert,
            server_tls_certificate_pem: consenter.server_tls_cert,
        }
    }
}

/// A certificate belongs to one consenter, whether as client or as server.
fn check_distinct(consenters: &[Consenter]) -> Result<(), String> {
    for (index, consenter) in consenters.iter().enumerate() {
        let own = [&consenter.client_tls_certificate_pem, &consenter.server_tls_certificate_pem];
        let taken = consenters[..index].iter().find(|earlier| {
            own.contains(&&earlier.client_tls_certificate_pem) || own.contains(&&earlier.server_tls_certificate_pem)
        });
        if let Some(earlier) = taken {
            return Err(format!(
                "consenters {}:{} and {}:{} have the same TLS certificate",
                earlier.host, earlier.port, consenter.host, consenter.port
            ));
        }
    }
    Ok(())
}
