//! A channel configuration as the tree it is: groups, values, policies.

use std::fmt::{self, Display, Write};

use bytes::Bytes;
use prost::Message;
use ripstop_msp::Certificate;
use ripstop_proto::common::{
    BlockDataHashingStructure, Capabilities, ConfigEnvelope, ConfigGroup, ConfigUpdate, ConfigUpdateEnvelope,
    ConfigValue, Consortium, HashingAlgorithm, OrdererAddresses, Orderers, SignatureHeader,
};
use ripstop_proto::etcdraft::ConfigMetadata;
use ripstop_proto::msp::{FabricMspConfig, MspConfig};
use ripstop_proto::orderer::consensus_type::State;
use ripstop_proto::orderer::{BatchSize, BatchTimeout, ChannelRestrictions, ConsensusType};
use ripstop_proto::protos::{AcLs, AnchorPeers};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::identity::Signer;
use super::policy;
use super::readable::Printable;

/// A configuration, or an update of one.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Configuration {
    /// What is in force from this block on.
    Complete { sequence: u64, channel_group: Value },
    /// What somebody asks to change, and who agrees.
    Update { channel: String, read_set: Value, write_set: Value, signatures: Vec<Signer> },
}

impl Configuration {
    /// Opens a `ConfigEnvelope`.
    pub(crate) fn open(data: &Bytes) -> Result<Self, String> {
        let envelope = ConfigEnvelope::decode(data.clone()).map_err(|error| undecodable("configuration", &error))?;
        let config = envelope.config.ok_or("the configuration is empty")?;
        Ok(Self::Complete {
            sequence: config.sequence,
            channel_group: group(&config.channel_group.unwrap_or_default()),
        })
    }

    /// Opens a `ConfigUpdateEnvelope`.
    pub(crate) fn open_update(data: &Bytes) -> Result<Self, String> {
        let envelope = ConfigUpdateEnvelope::decode(data.clone()).map_err(|error| undecodable("update", &error))?;
        let update = ConfigUpdate::decode(envelope.config_update).map_err(|error| undecodable("update", &error))?;
        let signer = |header: Bytes| Signer::of(&SignatureHeader::decode(header).unwrap_or_default().creator);
        Ok(Self::Update {
            channel: update.channel_id,
            read_set: group(&update.read_set.unwrap_or_default()),
            write_set: group(&update.write_set.unwrap_or_default()),
            signatures: envelope.signatures.into_iter().map(|it| signer(it.signature_header)).collect(),
        })
    }
}

fn undecodable(what: &str, error: &prost::DecodeError) -> String {
    format!("the {what} does not decode: {error}")
}

/// A group; decoding has bounded how deep they nest.
fn group(group: &ConfigGroup) -> Value {
    let mut values = Map::new();
    for (name, ConfigValue { version, value: bytes, mod_policy }) in &group.values {
        let shown = value(name, bytes).unwrap_or_else(|| json!({ "hex": hex::encode(bytes) }));
        values.insert(name.clone(), json!({ "version": version, "mod_policy": mod_policy, "value": shown }));
    }
    let mut policies = Map::new();
    for (name, entry) in &group.policies {
        let shown = match &entry.policy {
            None => Value::Null,
            Some(entry) => policy::text(entry).map_or_else(|| json!({ "hex": hex::encode(&entry.value) }), Value::from),
        };
        let shown = json!({ "version": entry.version, "mod_policy": entry.mod_policy, "policy": shown });
        policies.insert(name.clone(), shown);
    }
    let groups: Map<_, _> = group.groups.iter().map(|(name, child)| (name.clone(), self::group(child))).collect();
    json!({ "version": group.version, "mod_policy": group.mod_policy, "values": values, "policies": policies,
            "groups": groups })
}

/// A value that Fabric gives a meaning, by its name; `None` for others and when it does not decode.
fn value(name: &str, bytes: &Bytes) -> Option<Value> {
    let bytes = bytes.clone();
    Some(match name {
        "Capabilities" => json!(Capabilities::decode(bytes).ok()?.capabilities.into_keys().collect::<Vec<_>>()),
        "HashingAlgorithm" => json!(HashingAlgorithm::decode(bytes).ok()?.name),
        "BlockDataHashingStructure" => json!(BlockDataHashingStructure::decode(bytes).ok()?.width),
        "OrdererAddresses" | "Endpoints" => json!(OrdererAddresses::decode(bytes).ok()?.addresses),
        "Consortium" => json!(Consortium::decode(bytes).ok()?.name),
        "ConsensusType" => consensus_type(bytes)?,
        "BatchSize" => {
            let size = BatchSize::decode(bytes).ok()?;
            json!({ "max_message_count": size.max_message_count, "absolute_max_bytes": size.absolute_max_bytes,
                    "preferred_max_bytes": size.preferred_max_bytes })
        }
        "BatchTimeout" => json!(BatchTimeout::decode(bytes).ok()?.timeout),
        "ChannelRestrictions" => json!({ "max_count": ChannelRestrictions::decode(bytes).ok()?.max_count }),
        "MSP" => msp(bytes)?,
        "AnchorPeers" => {
            let peers = AnchorPeers::decode(bytes).ok()?.anchor_peers;
            json!(peers.into_iter().map(|peer| format!("{}:{}", peer.host, peer.port)).collect::<Vec<_>>())
        }
        "ACLs" => {
            let rules = AcLs::decode(bytes).ok()?.acls.into_iter();
            Value::Object(rules.map(|(resource, rule)| (resource, rule.policy_ref.into())).collect())
        }
        "Orderers" => {
            let orderers = Orderers::decode(bytes).ok()?.consenter_mapping.into_iter();
            let orderers = orderers.map(|it| {
                json!({ "id": it.id, "host": it.host, "port": it.port, "msp_id": it.msp_id,
                        "identity": subject(&it.identity) })
            });
            json!(orderers.collect::<Vec<_>>())
        }
        _ => return None,
    })
}

fn consensus_type(bytes: Bytes) -> Option<Value> {
    let consensus = ConsensusType::decode(bytes).ok()?;
    let state = State::try_from(consensus.state).ok()?.as_str_name();
    let mut shown = json!({ "type": consensus.r#type, "state": state });
    if consensus.r#type == "etcdraft" {
        let ConfigMetadata { consenters, options } = ConfigMetadata::decode(consensus.metadata).ok()?;
        let consenters = consenters.into_iter().map(|it| {
            json!({ "host": it.host, "port": it.port, "client_tls_certificate": subject(&it.client_tls_cert),
                    "server_tls_certificate": subject(&it.server_tls_cert) })
        });
        shown["consenters"] = json!(consenters.collect::<Vec<_>>());
        let options = options.unwrap_or_default();
        shown["options"] = json!({
            "tick_interval": options.tick_interval, "election_tick": options.election_tick,
            "heartbeat_tick": options.heartbeat_tick, "max_inflight_blocks": options.max_inflight_blocks,
            "snapshot_interval_size": options.snapshot_interval_size,
        });
    }
    Some(shown)
}

fn msp(bytes: Bytes) -> Option<Value> {
    let config = MspConfig::decode(bytes).ok()?;
    if config.r#type != 0 {
        return None;
    }
    let config = FabricMspConfig::decode(config.config).ok()?;
    let subjects = |certificates: &[Bytes]| certificates.iter().map(|it| subject(it)).collect::<Vec<_>>();
    Some(json!({
        "msp_id": config.name,
        "root_certificates": subjects(&config.root_certs),
        "intermediate_certificates": subjects(&config.intermediate_certs),
        "admins": subjects(&config.admins),
        "revocation_lists": config.revocation_list.len(),
        "tls_root_certificates": subjects(&config.tls_root_certs),
        "node_roles_by_unit": config.fabric_node_ous.is_some_and(|units| units.enable),
    }))
}

fn subject(pem: &[u8]) -> Value {
    Certificate::from_pem(pem).map_or(Value::Null, |certificate| certificate.subject_text().into())
}

impl Display for Configuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete { sequence, channel_group } => {
                writeln!(formatter, "     sequence  {sequence}")?;
                write_group(formatter, "/Channel", channel_group)
            }
            Self::Update { channel, write_set, signatures, .. } => {
                writeln!(formatter, "     update    of {}", Printable(channel))?;
                for signer in signatures {
                    writeln!(formatter, "     agreed    {signer}")?;
                }
                write_group(formatter, "/Channel", write_set)
            }
        }
    }
}

/// One line for each value and policy, with its path.
fn write_group(formatter: &mut fmt::Formatter<'_>, path: &str, group: &Value) -> fmt::Result {
    for (kind, part) in [("values", "value"), ("policies", "policy")] {
        for (name, entry) in group[kind].as_object().into_iter().flatten() {
            let shown = match &entry[part] {
                Value::String(text) => Printable(text).to_string(),
                other => Printable(&other.to_string()).to_string(),
            };
            writeln!(formatter, "     {part:<8}  {} = {shown}", Printable(&format!("{path}/{name}")))?;
        }
    }
    for (name, child) in group["groups"].as_object().into_iter().flatten() {
        let mut path = path.to_owned();
        write!(path, "/{name}")?;
        write_group(formatter, &path, child)?;
    }
    Ok(())
}
