//! A connection to one peer as one user of a local network.

use anyhow::{Context, bail};
use ripstop_client::{Contract, Gateway, SigningIdentity};
use ripstop_msp::Role;
use ripstop_node::transport::Dialer;
use tonic::transport::Channel;

use crate::cli::Target;
use crate::folder::Folder;
use crate::node_config::dial_map;
use crate::topology::{Orderer, Organization, Peer, Topology};

/// Who submits when nobody is named.
const DEFAULT_USER: &str = "User1";

/// A gateway, and the channel to use it on.
pub(crate) struct Session {
    gateway: Gateway,
    channel: String,
}

impl Session {
    /// Connects to the peer and as the user that `target` names.
    pub(crate) async fn open(folder: &Folder, target: &Target) -> anyhow::Result<Self> {
        let topology = folder.topology()?;
        let (user, organization) = user(&topology, target)?;
        let identity = identity(folder, organization, user)?;
        let (peer_organization, peer) = match &target.peer {
            None => (organization, first_peer(organization)?),
            Some(name) => named_peer(&topology, name)?,
        };
        let connection = connect(folder, &topology, peer_organization, peer).await?;
        let channel = target.channel.clone().unwrap_or_else(|| topology.channel.clone());
        Ok(Self { gateway: Gateway::connect(connection, identity), channel })
    }

    /// A chaincode of the channel.
    pub(crate) fn contract(&self, chaincode: &str) -> Contract {
        self.gateway.network(&self.channel).contract(chaincode)
    }
}

/// The user and organization of `--as`, or the defaults.
pub(crate) fn user<'a>(topology: &'a Topology, target: &'a Target) -> anyhow::Result<(&'a str, &'a Organization)> {
    let Some(text) = &target.user else {
        let first = topology.organizations.first().context("the network has no organization with peers")?;
        return Ok((DEFAULT_USER, first));
    };
    let Some((user, organization)) = text.rsplit_once('@') else {
        bail!("--as {text}: write USER@ORG, for instance User1@org1");
    };
    let organization = topology.organization(organization).with_context(|| {
        let known: Vec<&str> = topology.organizations.iter().map(|known| known.domain.as_str()).collect();
        format!("--as {text}: there is no organization {organization}, there are {}", known.join(", "))
    })?;
    Ok((user, organization))
}

fn first_peer(organization: &Organization) -> anyhow::Result<&Peer> {
    organization.peers.first().with_context(|| format!("{} has no peer", organization.domain))
}

fn named_peer<'a>(topology: &'a Topology, name: &str) -> anyhow::Result<(&'a Organization, &'a Peer)> {
    topology.peers().find(|(_, peer)| peer.name == name).with_context(|| {
        let known: Vec<&str> = topology.peers().map(|(_, peer)| peer.name.as_str()).collect();
        format!("--peer {name}: there is no such peer, there are {}", known.join(", "))
    })
}

/// Reads a user's certificate and key.
pub(crate) fn identity(folder: &Folder, organization: &Organization, user: &str) -> anyhow::Result<SigningIdentity> {
    let msp = folder.organization(organization).user(user).msp();
    SigningIdentity::from_msp_folder(&organization.msp_id, &msp)
        .with_context(|| format!("{user}@{} cannot be used ({})", organization.domain, msp.display()))
}

/// Connects to a peer of the network.
pub(crate) async fn connect(
    folder: &Folder,
    topology: &Topology,
    organization: &Organization,
    peer: &Peer,
) -> anyhow::Result<Channel> {
    let member = folder.organization(organization).node(&peer.name, Role::Peer);
    dial(topology, &peer.advertised(), &member.tls_root()).await
}

/// Connects to an orderer of the network.
pub(crate) async fn connect_orderer(
    folder: &Folder,
    topology: &Topology,
    orderer: &Orderer,
) -> anyhow::Result<Channel> {
    let member = folder.orderer_organization().node(&orderer.name, Role::Orderer);
    dial(topology, &orderer.advertised(), &member.tls_root()).await
}

async fn dial(topology: &Topology, advertised: &str, tls_root: &std::path::Path) -> anyhow::Result<Channel> {
    let root = std::fs::read(tls_root).with_context(|| format!("cannot read {}", tls_root.display()))?;
    Dialer::new(dial_map(topology))
        .connect(advertised, &[root], None)
        .await
        .context("is the network up? `ripstop network up` starts it, `ripstop network status` shows it")
}
