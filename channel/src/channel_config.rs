//! One configuration of a channel, typed and checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_msp::signature_policy::valid_identities;
use ripstop_msp::{Identity, Msp, MspSet, MspVersion, SignedBytes};
use ripstop_proto::common::{Block, BlockDataHashingStructure, Config, HashingAlgorithm, OrdererAddresses};
use ripstop_proto::config::config_envelope;
use ripstop_proto::msp::{FabricMspConfig, MspConfig};

use crate::application::{self, ApplicationConfig};
use crate::application_policy::{ApplicationPolicyError, ResolvedPolicy};
use crate::capabilities::{self, Capabilities, ChannelLevel};
use crate::config_error::ConfigError;
use crate::config_group::Group;
use crate::layout::Layout;
use crate::orderer::{self, OrdererConfig};
use crate::policy::{Policies, Policy, PolicyError, ROOT};
use crate::{acl, names};

pub(crate) const HASHING_ALGORITHM: &str = "HashingAlgorithm";
pub(crate) const BLOCK_DATA_HASHING_STRUCTURE: &str = "BlockDataHashingStructure";
pub(crate) const MSP: &str = "MSP";
const ORDERER_ADDRESSES: &str = "OrdererAddresses";
const VALUES: &[&str] =
    &[HASHING_ALGORITHM, BLOCK_DATA_HASHING_STRUCTURE, ORDERER_ADDRESSES, "Orderers", "Consortium", capabilities::KEY];

/// One configuration of a channel. It never changes; a configuration block makes another.
///
/// Every name is known, every value is of its form and every policy compiles, or the
/// configuration was refused. Paths of policies are absolute (`/Channel/Application/Writers`)
/// or relative to the channel group (`Application/Writers`).
#[derive(Debug)]
pub struct ChannelConfig {
    channel_id: String,
    config: Config,
    capabilities: Capabilities,
    orderer: Option<OrdererConfig>,
    application: Option<ApplicationConfig>,
    policies: Policies,
    msps: MspSet,
}

impl ChannelConfig {
    /// The configuration that a configuration block carries.
    ///
    /// # Errors
    /// When the block carries none, or one that is refused.
    pub fn from_block(block: &Block) -> Result<Self, ConfigError> {
        let (channel_id, envelope) = config_envelope(block)?;
        let config = envelope.config.ok_or(ConfigError::NoChannelGroup)?;
        Self::new(&channel_id, config)
    }

    /// A configuration of the channel `channel_id`.
    ///
    /// # Errors
    /// Names the element that is refused, and why.
    pub fn from_config(channel_id: &str, config: &Config) -> Result<Self, ConfigError> {
        Self::new(channel_id, config.clone())
    }

    fn new(channel_id: &str, config: Config) -> Result<Self, ConfigError> {
        names::check_channel_id(channel_id)?;
        let root = config.channel_group.as_ref().ok_or(ConfigError::NoChannelGroup)?;
        names::check_keys(ROOT, root)?;
        capabilities::check_order(root)?;
        let channel = Group::new(ROOT.to_owned(), root, VALUES)?;
        let part = |name: &str, values| {
            root.groups.get(name).map(|group| Group::new(format!("{ROOT}/{name}"), group, values)).transpose()
        };
        if let Some(name) =
            root.groups.keys().find(|name| ![orderer::GROUP, application::GROUP].contains(&name.as_str()))
        {
            return Err(ConfigError::Group(format!("{ROOT}/{name}")));
        }
        let orderer_group = part(orderer::GROUP, orderer::VALUES)?;
        let application_group = part(application::GROUP, application::VALUES)?;
        let capabilities = Capabilities::read(&channel, orderer_group.as_ref(), application_group.as_ref())?;
        check_channel_values(&channel, capabilities.channel)?;
        let mut msps = Msps::new(capabilities.channel.msp_version()?);
        let orderer =
            orderer_group.map(|group| OrdererConfig::read(&group, capabilities.channel, &mut msps)).transpose()?;
        let application = application_group
            .map(|group| ApplicationConfig::read(&group, capabilities.application, &mut msps))
            .transpose()?;
        let policies = Policies::read(root)?;
        let msps = msps.finish();
        Ok(Self { channel_id: channel_id.to_owned(), config, capabilities, orderer, application, policies, msps })
    }

    /// The channel.
    pub fn channel_id(&self) -> &str {
        &self.channel_id
    }

    /// How many updates came before this configuration; 0 in the genesis block.
    pub fn sequence(&self) -> u64 {
        self.config.sequence
    }

    /// The configuration as a message. Its encoding is not canonical (it has maps): never
    /// hash it, compare it by value.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The levels of rules that the channel follows.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The MSPs of all organizations, orderers' included, with their identity cache.
    pub fn msps(&self) -> &MspSet {
        &self.msps
    }

    /// The ordering service; none in a configuration without that group.
    pub fn orderer(&self) -> Option<&OrdererConfig> {
        self.orderer.as_ref()
    }

    /// The organizations with peers; none in a configuration without that group.
    pub fn application(&self) -> Option<&ApplicationConfig> {
        self.application.as_ref()
    }

    /// The policy at `path`, if there is one.
    pub fn policy(&self, path: &str) -> Option<&Policy> {
        self.policies.get(path)
    }

    /// Checks signatures and evaluates the policy at `path` over those that are good.
    ///
    /// # Errors
    /// When there is no such policy, or the signatures are not enough for it.
    pub fn check(&self, path: &str, signed: &[SignedBytes<'_>]) -> Result<(), PolicyError> {
        self.check_identities(path, &valid_identities(&self.msps, signed))
    }

    /// [`ChannelConfig::check`] with identities whose signatures were checked, in
    /// signature order and without duplicates.
    ///
    /// # Errors
    /// As [`ChannelConfig::check`].
    pub fn check_identities(&self, path: &str, identities: &[Arc<Identity>]) -> Result<(), PolicyError> {
        self.policies.evaluate(path, identities)
    }

    /// Path of the policy that guards a resource such as `peer/Propose`: the one that the
    /// configuration's ACLs set, or the default. Empty where no policy could be right (an
    /// unknown resource, or one that the peer's own MSP guards); nobody satisfies that.
    pub fn acl(&self, resource: &str) -> String {
        acl::policy_path(resource, self.application.as_ref().map(|application| &application.acls))
    }

    /// Resolves the validation parameter of a chaincode definition (a marshalled
    /// `ApplicationPolicy`).
    ///
    /// # Errors
    /// When it does not decode or compile, or refers to a policy that is not there.
    pub fn application_policy(&self, validation_parameter: &[u8]) -> Result<ResolvedPolicy, ApplicationPolicyError> {
        ResolvedPolicy::read(validation_parameter, self)
    }

    /// For planning: how many peers of which organizations satisfy the policy at `path`,
    /// fewest first; none when peers alone cannot.
    pub fn layouts(&self, path: &str) -> Vec<Layout> {
        self.policies.layouts(path)
    }
}

fn check_channel_values(channel: &Group<'_>, level: ChannelLevel) -> Result<(), ConfigError> {
    let hashing: HashingAlgorithm = channel.value(HASHING_ALGORITHM)?;
    if !["SHA256", "SHA3_256"].contains(&hashing.name.as_str()) {
        let reason = format!("'{}' is neither SHA256 nor SHA3_256", hashing.name);
        return Err(ConfigError::value(channel.at(HASHING_ALGORITHM), reason));
    }
    let structure: BlockDataHashingStructure = channel.value(BLOCK_DATA_HASHING_STRUCTURE)?;
    if structure.width != u32::MAX {
        let reason = format!("width {} is not supported, only {}", structure.width, u32::MAX);
        return Err(ConfigError::value(channel.at(BLOCK_DATA_HASHING_STRUCTURE), reason));
    }
    let addresses: OrdererAddresses = channel.value(ORDERER_ADDRESSES)?;
    if level >= ChannelLevel::V3_0 && !addresses.addresses.is_empty() {
        let reason = "addresses for the whole channel are not allowed under capability V3_0; \
                      name Endpoints in each orderer organization";
        return Err(ConfigError::value(channel.at(ORDERER_ADDRESSES), reason));
    }
    Ok(())
}

/// The MSPs met while reading a configuration.
pub(crate) struct Msps {
    version: MspVersion,
    by_id: BTreeMap<String, (MspConfig, Msp)>,
}

/// What an organization needs to know of its MSP.
pub(crate) struct OrganizationMsp {
    pub(crate) id: String,
    pub(crate) tls_roots_pem: Vec<Vec<u8>>,
}

impl Msps {
    fn new(version: MspVersion) -> Self {
        Self { version, by_id: BTreeMap::new() }
    }

    /// Sets up the MSP of an organization's group. Two groups may share one MSP id if they
    /// define the same MSP.
    pub(crate) fn add(&mut self, group: &Group<'_>) -> Result<OrganizationMsp, ConfigError> {
        let value: MspConfig = group.value(MSP)?;
        if value.r#type != 0 {
            let reason = format!("MSP type {} is not supported, only X.509 (0)", value.r#type);
            return Err(ConfigError::value(group.at(MSP), reason));
        }
        let config = FabricMspConfig::decode(value.config.clone())
            .map_err(|cause| ConfigError::Undecodable { path: group.at(MSP), cause })?;
        if config.name.is_empty() {
            return Err(ConfigError::value(group.at(MSP), "the MSP has no id"));
        }
        if let Some((known, msp)) = self.by_id.get(&config.name) {
            if *known != value {
                return Err(ConfigError::TwoMsps { path: group.path.clone(), msp_id: config.name });
            }
            return Ok(OrganizationMsp::of(msp));
        }
        let msp =
            Msp::new(&config, self.version).map_err(|cause| ConfigError::Msp { path: group.path.clone(), cause })?;
        let organization = OrganizationMsp::of(&msp);
        self.by_id.insert(config.name, (value, msp));
        Ok(organization)
    }

    fn finish(self) -> MspSet {
        MspSet::new(self.by_id.into_values().map(|(_, msp)| msp).collect())
    }
}

impl OrganizationMsp {
    fn of(msp: &Msp) -> Self {
        let roots = msp.tls_roots_pem().iter().chain(msp.tls_intermediates_pem());
        Self { id: msp.id().to_owned(), tls_roots_pem: roots.map(|pem: &Bytes| pem.to_vec()).collect() }
    }
}
