//! The groups, values and policies of a new channel.

use std::collections::BTreeMap;

use prost::Message;
use ripstop_msp::policy_text;
use ripstop_proto::common::implicit_meta_policy::Rule;
use ripstop_proto::common::policy::PolicyType;
use ripstop_proto::common::{
    BlockDataHashingStructure, ConfigGroup, ConfigPolicy, ConfigValue, HashingAlgorithm, ImplicitMetaPolicy,
    OrdererAddresses, Policy,
};
use ripstop_proto::msp::{FabricMspConfig, MspConfig};
use ripstop_proto::{etcdraft, orderer, protos};

use super::{GenesisError, OrdererOrganization, Organization, Profile};
use crate::capabilities::{self, ApplicationLevel, ChannelLevel, OrdererLevel};
use crate::channel_config::{BLOCK_DATA_HASHING_STRUCTURE, HASHING_ALGORITHM, MSP};
use crate::orderer::{CONSENSUS_ETCDRAFT, Consenter, RaftOptions};
use crate::{application, go_duration};

const ADMINS: &str = "Admins";

pub(super) fn channel(profile: &Profile) -> Result<ConfigGroup, GenesisError> {
    let mut group = group();
    usual_policies(&mut group);
    value(&mut group, HASHING_ALGORITHM, &HashingAlgorithm { name: "SHA256".to_owned() });
    value(&mut group, BLOCK_DATA_HASHING_STRUCTURE, &BlockDataHashingStructure { width: u32::MAX });
    capability(&mut group, ChannelLevel::V3_0.name());
    group.groups.insert(crate::orderer::GROUP.to_owned(), orderer(profile)?);
    group.groups.insert(application::GROUP.to_owned(), application(profile)?);
    Ok(group)
}

fn orderer(profile: &Profile) -> Result<ConfigGroup, GenesisError> {
    let mut group = group();
    usual_policies(&mut group);
    implicit(&mut group, "BlockValidation", Rule::Any, "Writers");
    let batch_size = orderer::BatchSize {
        max_message_count: profile.batch_size.max_message_count,
        absolute_max_bytes: profile.batch_size.absolute_max_bytes,
        preferred_max_bytes: profile.batch_size.preferred_max_bytes,
    };
    value(&mut group, crate::orderer::BATCH_SIZE, &batch_size);
    let timeout = go_duration::text(profile.batch_timeout);
    value(&mut group, crate::orderer::BATCH_TIMEOUT, &orderer::BatchTimeout { timeout });
    value(&mut group, crate::orderer::CHANNEL_RESTRICTIONS, &orderer::ChannelRestrictions { max_count: 0 });
    capability(&mut group, OrdererLevel::V2_0.name());
    let consensus = orderer::ConsensusType {
        r#type: CONSENSUS_ETCDRAFT.to_owned(),
        metadata: raft_metadata(profile).encode_to_vec().into(),
        ..orderer::ConsensusType::default()
    };
    value(&mut group, crate::orderer::CONSENSUS_TYPE, &consensus);
    for organization in &profile.orderer_organizations {
        let child = orderer_organization(organization)?;
        add_organization(&mut group, &organization.name, child)?;
    }
    Ok(group)
}

fn orderer_organization(organization: &OrdererOrganization) -> Result<ConfigGroup, GenesisError> {
    let mut group = self::organization(&organization.name, &organization.msp, &organization.policies)?;
    let endpoints = OrdererAddresses { addresses: organization.endpoints.clone() };
    value(&mut group, crate::orderer::ENDPOINTS, &endpoints);
    Ok(group)
}

fn application(profile: &Profile) -> Result<ConfigGroup, GenesisError> {
    let mut group = group();
    usual_policies(&mut group);
    implicit(&mut group, "LifecycleEndorsement", Rule::Majority, "Endorsement");
    implicit(&mut group, "Endorsement", Rule::Majority, "Endorsement");
    if !profile.acls.is_empty() {
        let resource =
            |(name, path): (&String, &String)| (name.clone(), protos::ApiResource { policy_ref: path.clone() });
        value(&mut group, application::ACLS, &protos::AcLs { acls: profile.acls.iter().map(resource).collect() });
    }
    capability(&mut group, ApplicationLevel::V2_5.name());
    for organization in &profile.organizations {
        let child = application_organization(organization)?;
        add_organization(&mut group, &organization.name, child)?;
    }
    Ok(group)
}

fn application_organization(organization: &Organization) -> Result<ConfigGroup, GenesisError> {
    let mut group = self::organization(&organization.name, &organization.msp, &organization.policies)?;
    if !organization.anchor_peers.is_empty() {
        let peer = |(host, port): &(String, u16)| protos::AnchorPeer { host: host.clone(), port: i32::from(*port) };
        let anchor_peers = organization.anchor_peers.iter().map(peer).collect();
        value(&mut group, application::ANCHOR_PEERS, &protos::AnchorPeers { anchor_peers });
    }
    Ok(group)
}

fn organization(
    name: &str,
    msp: &FabricMspConfig,
    policies: &BTreeMap<String, String>,
) -> Result<ConfigGroup, GenesisError> {
    let mut group = group();
    for (policy_name, text) in policies {
        let envelope = policy_text::parse(text).map_err(|cause| GenesisError::Policy {
            organization: name.to_owned(),
            name: policy_name.clone(),
            cause,
        })?;
        policy(&mut group, policy_name, PolicyType::Signature, &envelope);
    }
    value(&mut group, MSP, &MspConfig { r#type: 0, config: msp.encode_to_vec().into() });
    Ok(group)
}

fn raft_metadata(profile: &Profile) -> etcdraft::ConfigMetadata {
    let consenter = |consenter: &Consenter| etcdraft::Consenter {
        host: consenter.host.clone(),
        port: consenter.port,
        client_tls_cert: consenter.client_tls_certificate_pem.clone(),
        server_tls_cert: consenter.server_tls_certificate_pem.clone(),
    };
    let RaftOptions { tick_interval, election_tick, heartbeat_tick, max_inflight_blocks, snapshot_interval_bytes } =
        profile.raft_options;
    etcdraft::ConfigMetadata {
        consenters: profile
            .orderer_organizations
            .iter()
            .flat_map(|organization| &organization.consenters)
            .map(consenter)
            .collect(),
        options: Some(etcdraft::Options {
            tick_interval: go_duration::text(tick_interval),
            election_tick,
            heartbeat_tick,
            max_inflight_blocks,
            snapshot_interval_size: snapshot_interval_bytes,
        }),
    }
}

fn group() -> ConfigGroup {
    ConfigGroup { mod_policy: ADMINS.to_owned(), ..ConfigGroup::default() }
}

fn usual_policies(group: &mut ConfigGroup) {
    implicit(group, "Readers", Rule::Any, "Readers");
    implicit(group, "Writers", Rule::Any, "Writers");
    implicit(group, ADMINS, Rule::Majority, ADMINS);
}

fn implicit(group: &mut ConfigGroup, name: &str, rule: Rule, sub_policy: &str) {
    let meta = ImplicitMetaPolicy { sub_policy: sub_policy.to_owned(), rule: rule.into() };
    policy(group, name, PolicyType::ImplicitMeta, &meta);
}

fn policy(group: &mut ConfigGroup, name: &str, kind: PolicyType, content: &impl Message) {
    let content = Policy { r#type: kind.into(), value: content.encode_to_vec().into() };
    let policy = ConfigPolicy { version: 0, policy: Some(content), mod_policy: ADMINS.to_owned() };
    group.policies.insert(name.to_owned(), policy);
}

fn value(group: &mut ConfigGroup, key: &str, content: &impl Message) {
    value_bytes(group, key, content.encode_to_vec());
}

fn value_bytes(group: &mut ConfigGroup, key: &str, content: Vec<u8>) {
    let value = ConfigValue { version: 0, value: content.into(), mod_policy: ADMINS.to_owned() };
    group.values.insert(key.to_owned(), value);
}

/// `Capabilities{capabilities: {name: {}}}`, with the empty map value written out as Go's
/// encoder does and ours does not: Fabric's tools compare values as bytes.
///
/// ```text
/// 0a LL  0a NN name  12 00
/// ```
fn capability(group: &mut ConfigGroup, name: &str) {
    let length = u8::try_from(name.len()).expect("a capability's name is a few bytes long");
    let content = [&[0x0a, length + 4, 0x0a, length], name.as_bytes(), &[0x12, 0]].concat();
    value_bytes(group, capabilities::KEY, content);
}

fn add_organization(group: &mut ConfigGroup, name: &str, child: ConfigGroup) -> Result<(), GenesisError> {
    match group.groups.insert(name.to_owned(), child) {
        None => Ok(()),
        Some(_) => Err(GenesisError::Name(name.to_owned())),
    }
}
