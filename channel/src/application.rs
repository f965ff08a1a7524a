//! The application group: the organizations that have peers, and who may do what.

use std::collections::BTreeMap;

use ripstop_proto::protos;

use crate::acl;
use crate::capabilities::ApplicationLevel;
use crate::channel_config::Msps;
use crate::config_error::ConfigError;
use crate::config_group::Group;

pub(crate) const GROUP: &str = "Application";
pub(crate) const ACLS: &str = "ACLs";
pub(crate) const ANCHOR_PEERS: &str = "AnchorPeers";
pub(crate) const VALUES: &[&str] = &[ACLS, crate::capabilities::KEY];
const ORGANIZATION_VALUES: &[&str] = &[ANCHOR_PEERS, crate::channel_config::MSP];

/// The application group of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationConfig {
    /// Organizations that take part with peers, by group name.
    pub organizations: Vec<ApplicationOrganization>,
    /// Policy paths that the configuration sets for resources, absolute.
    pub acls: BTreeMap<String, String>,
    /// The rules of peers.
    pub capabilities: ApplicationLevel,
}

/// An organization with peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationOrganization {
    /// Name of its group; its policies stand below `/Channel/Application/NAME`.
    pub name: String,
    /// Its MSP.
    pub msp_id: String,
    /// Host and port of the peers it makes known to others. Entries whose port is none
    /// are left out.
    pub anchor_peers: Vec<(String, u16)>,
    /// Certificate authorities of its TLS certificates, intermediates included, PEM.
    pub tls_roots_pem: Vec<Vec<u8>>,
}

impl ApplicationConfig {
    pub(crate) fn read(group: &Group<'_>, level: ApplicationLevel, msps: &mut Msps) -> Result<Self, ConfigError> {
        if level < ApplicationLevel::V1_2 && group.has(ACLS) {
            return Err(ConfigError::value(group.at(ACLS), "ACLs need application capability V1_2 or later"));
        }
        let acls: protos::AcLs = group.value(ACLS)?;
        let organizations = group.organizations(ORGANIZATION_VALUES)?.into_iter();
        Ok(Self {
            organizations: organizations
                .map(|(name, group)| ApplicationOrganization::read(name, &group, msps))
                .collect::<Result<_, _>>()?,
            acls: acl::overrides(acls),
            capabilities: level,
        })
    }
}

impl ApplicationOrganization {
    fn read(name: &str, group: &Group<'_>, msps: &mut Msps) -> Result<Self, ConfigError> {
        let anchors: protos::AnchorPeers = group.value(ANCHOR_PEERS)?;
        let anchor = |peer: protos::AnchorPeer| Some((peer.host, u16::try_from(peer.port).ok()?));
        let msp = msps.add(group)?;
        Ok(Self {
            name: name.to_owned(),
            msp_id: msp.id,
            anchor_peers: anchors.anchor_peers.into_iter().filter_map(anchor).collect(),
            tls_roots_pem: msp.tls_roots_pem,
        })
    }
}
