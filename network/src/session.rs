//! A connection to one peer as one user of a local network.

use anyhow::{Context, ensure};
use bytes::Bytes;
use ripstop_client::{Contract, Gateway, SigningIdentity};
use ripstop_msp::Role;
use ripstop_node::transport::{Dialer, MESSAGE_BYTES_MAX};
use ripstop_proto::protos::endorser_client::EndorserClient;
use tonic::transport::Channel;

use crate::cli::Target;
use crate::folder::Folder;
use crate::naming::resolve;
use crate::node_config::dial_map;
use crate::topology::{Organization, Peer, Topology};

/// Who submits when nobody is named.
const DEFAULT_USER: &str = "User1";

/// A peer, the user who talks to it, and the channel to talk about.
pub(crate) struct Session {
    gateway: Gateway,
    connection: Channel,
    peer: String,
    channel: String,
}

impl Session {
    /// Connects to the peer and as the user that `target` names. Where it names no peer, it is the
    /// first that can be reached of the user's organization.
    pub(crate) async fn open(folder: &Folder, target: &Target) -> anyhow::Result<Self> {
        let topology = folder.topology()?;
        let (user, organization) = user(&topology, target)?;
        let identity = identity(folder, organization, user)?;
        let (peer, connection) = match &target.peer {
            None => first_peer(folder, &topology, organization).await?,
            Some(name) => {
                let (organization, peer) = named_peer(&topology, name)?;
                (peer, connect(folder, &topology, organization, peer).await?)
            }
        };
        let channel = target.channel.clone().unwrap_or_else(|| topology.channel.clone());
        let gateway = Gateway::connect(connection.clone(), identity);
        Ok(Self { gateway, connection, peer: peer.name.clone(), channel })
    }

    /// The channel to talk about.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// The peer's name.
    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    /// The connection to the peer.
    pub(crate) fn connection(&self) -> &Channel {
        &self.connection
    }

    /// Asks a system chaincode of this very peer, on `channel` or, where that is empty, on none.
    pub(crate) async fn ask(
        &self,
        channel: &str,
        chaincode: &str,
        function: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Bytes> {
        let builder = self.gateway.network(channel).contract(chaincode).new_proposal(function);
        let proposal = builder.arguments(arguments).build()?;
        let mut endorser = EndorserClient::new(self.connection.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let refused = || format!("{} refused {function}", self.peer);
        let answer = endorser.process_proposal(proposal.signed().clone()).await.with_context(refused)?.into_inner();
        let response = answer.response.unwrap_or_default();
        ensure!(response.status == 200, "{}: {}", self.peer, response.message);
        Ok(response.payload)
    }

    /// A chaincode of the channel.
    pub(crate) fn contract(&self, chaincode: &str) -> Contract {
        self.gateway.network(&self.channel).contract(chaincode)
    }
}

/// The user and organization of `--as`, or the defaults.
pub(crate) fn user<'a>(topology: &'a Topology, target: &'a Target) -> anyhow::Result<(&'a str, &'a Organization)> {
    let Some(user) = &target.user else {
        let first = topology.organizations.first().context("the network has no organization with peers")?;
        return Ok((DEFAULT_USER, first));
    };
    let organization = topology.known_organization(&user.organization).context("--as")?;
    Ok((&user.name, organization))
}

async fn first_peer<'a>(
    folder: &Folder,
    topology: &Topology,
    organization: &'a Organization,
) -> anyhow::Result<(&'a Peer, Channel)> {
    let mut failure = anyhow::anyhow!("{} has no peer", organization.domain);
    for peer in &organization.peers {
        match connect(folder, topology, organization, peer).await {
            Ok(connection) => return Ok((peer, connection)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The peer that `--peer` names, with its organization.
pub(crate) fn named_peer<'a>(topology: &'a Topology, name: &str) -> anyhow::Result<(&'a Organization, &'a Peer)> {
    let names: Vec<&str> = topology.peers().map(|(_, peer)| peer.name.as_str()).collect();
    let name = resolve("peer", name, &names).context("--peer")?;
    topology.peers().find(|(_, peer)| peer.name == name).context("a resolved name is a peer's")
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

async fn dial(topology: &Topology, advertised: &str, tls_root: &std::path::Path) -> anyhow::Result<Channel> {
    let root = std::fs::read(tls_root).with_context(|| format!("cannot read {}", tls_root.display()))?;
    Dialer::new(dial_map(topology))
        .connect(advertised, &[root], None)
        .await
        .context("is the network up? `ripstop network up` starts it, `ripstop network status` shows it")
}
