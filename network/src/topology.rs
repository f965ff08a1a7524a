//! What a local network consists of: organizations, peers, orderers, their names and ports.
//!
//! Made once from the options of `network up`, written to `network.json` in the network's
//! folder, and read from there by every later command.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::ports::{PortError, Ports};

/// Domain and MSP id of the ordering organization.
pub(crate) const ORDERER_DOMAIN: &str = "example.com";
/// MSP id of the ordering organization.
pub(crate) const ORDERER_MSP_ID: &str = "OrdererMSP";

/// A network, complete with every port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Topology {
    pub(crate) channel: String,
    pub(crate) batch: Batch,
    pub(crate) cutting: Cutting,
    /// Key kind of users; nodes always sign with Ed25519.
    pub(crate) identities: Identities,
    pub(crate) organizations: Vec<Organization>,
    pub(crate) orderers: Vec<Orderer>,
    pub(crate) contracts: Vec<Contract>,
}

/// When the orderer cuts a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub(crate) timeout_ms: u64,
    pub(crate) message_count_max: u32,
    pub(crate) preferred_bytes_max: u32,
    pub(crate) absolute_bytes_max: u32,
}

/// Whether an idle orderer waits for the batch timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cutting {
    /// With nothing in flight, pending transactions are cut at once.
    Adaptive,
    /// Only count, bytes and timeout cut.
    Timeout,
}

/// Key kind of the users' signing certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Identities {
    /// ECDSA P-256, which every SDK sample can sign with.
    P256,
    /// Ed25519, faster.
    Ed25519,
}

/// An organization with peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Organization {
    /// Its domain, `org1.example.com`.
    pub(crate) domain: String,
    pub(crate) msp_id: String,
    pub(crate) peers: Vec<Peer>,
}

/// A peer and where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// Its host name, `peer0.org1.example.com`.
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) chaincode_port: u16,
    pub(crate) operations_port: u16,
}

/// An orderer and where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Orderer {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) admin_port: u16,
    pub(crate) operations_port: u16,
}

/// A sample contract that the network runs itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contract {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) port: u16,
}

/// Something that runs as a process of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    /// Where a node answers questions about itself; contracts do not.
    pub(crate) operations_port: Option<u16>,
}

/// How large a network to make.
#[derive(Debug, Clone)]
pub(crate) struct Size {
    pub(crate) organizations: usize,
    /// By organization; a single number is for all.
    pub(crate) peers: Vec<usize>,
    pub(crate) orderers: usize,
}

impl Topology {
    /// Names and ports for a network of this size, with the samples.
    ///
    /// # Errors
    /// When a port would be beyond 65535 or no free one is to be had.
    pub(crate) fn new(
        channel: String,
        batch: Batch,
        cutting: Cutting,
        identities: Identities,
        size: &Size,
        ports: &mut Ports,
    ) -> Result<Self, PortError> {
        let mut orderers = Vec::new();
        for index in 0..size.orderers {
            let [port, admin_port, operations_port] = ports.orderer(index)?;
            let host = if index == 0 { "orderer".to_owned() } else { format!("orderer{}", index + 1) };
            orderers.push(Orderer { name: format!("{host}.{ORDERER_DOMAIN}"), port, admin_port, operations_port });
        }
        let mut organizations = Vec::new();
        for index in 0..size.organizations {
            let domain = format!("org{}.example.com", index + 1);
            let mut peers = Vec::new();
            for peer in 0..size.peers_of(index) {
                let [port, chaincode_port, operations_port] = ports.peer(index, peer)?;
                peers.push(Peer { name: format!("peer{peer}.{domain}"), port, chaincode_port, operations_port });
            }
            organizations.push(Organization { domain, msp_id: format!("Org{}MSP", index + 1), peers });
        }
        let contracts = vec![Contract { name: "basic".to_owned(), version: "1.0".to_owned(), port: ports.contract()? }];
        Ok(Self { channel, batch, cutting, identities, organizations, orderers, contracts })
    }

    /// Every peer with its organization, in order.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (&Organization, &Peer)> {
        self.organizations
            .iter()
            .flat_map(|organization| organization.peers.iter().map(move |peer| (organization, peer)))
    }

    /// Everything that runs as a process: orderers, peers, contracts.
    pub(crate) fn members(&self) -> Vec<Member<'_>> {
        let node = |name, port| Member { name, operations_port: Some(port) };
        let orderers = self.orderers.iter().map(|orderer| node(&orderer.name, orderer.operations_port));
        let peers = self.peers().map(|(_, peer)| node(&peer.name, peer.operations_port));
        let contracts = self.contracts.iter().map(|contract| Member { name: &contract.name, operations_port: None });
        orderers.chain(peers).chain(contracts).collect()
    }

    /// Like [`Topology::organization`]; the error lists the organizations there are.
    pub(crate) fn known_organization(&self, name: &str) -> anyhow::Result<&Organization> {
        self.organization(name).with_context(|| {
            let known: Vec<&str> = self.organizations.iter().map(|known| known.domain.as_str()).collect();
            format!("there is no organization {name} with peers; there are {}", known.join(", "))
        })
    }

    /// The organization that `name` means: its MSP id, its domain, or the domain's first part.
    pub(crate) fn organization(&self, name: &str) -> Option<&Organization> {
        self.organizations.iter().find(|organization| {
            let short = organization.domain.split('.').next().unwrap_or_default();
            [organization.msp_id.as_str(), organization.domain.as_str(), short].contains(&name)
        })
    }
}

impl Size {
    fn peers_of(&self, organization: usize) -> usize {
        self.peers.get(organization).or(self.peers.last()).copied().unwrap_or(1)
    }
}

impl Peer {
    /// What clients and other nodes are told.
    pub(crate) fn advertised(&self) -> String {
        format!("{}:{}", self.name, self.port)
    }
}

impl Orderer {
    /// What peers and clients are told.
    pub(crate) fn advertised(&self) -> String {
        format!("{}:{}", self.name, self.port)
    }
}

/// A port on this machine only.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(size: &Size) -> Topology {
        let batch = Batch {
            timeout_ms: 2000,
            message_count_max: 500,
            preferred_bytes_max: 2 << 20,
            absolute_bytes_max: 10 << 20,
        };
        let mut ports = Ports::fabric();
        Topology::new("mychannel".into(), batch, Cutting::Adaptive, Identities::P256, size, &mut ports).unwrap()
    }

    #[test]
    fn names_and_ports_are_those_of_the_test_network() {
        let topology = topology(&Size { organizations: 2, peers: vec![1], orderers: 1 });
        let peers: Vec<_> = topology.peers().map(|(_, peer)| (peer.name.as_str(), peer.port)).collect();
        assert_eq!(peers, [("peer0.org1.example.com", 7051), ("peer0.org2.example.com", 9051)]);
        let orderer = &topology.orderers[0];
        assert_eq!((orderer.name.as_str(), orderer.port), ("orderer.example.com", 7050));
        assert_eq!((orderer.admin_port, orderer.operations_port), (7053, 9443));
    }

    #[test]
    fn peers_can_be_counted_for_each_organization() {
        let topology = topology(&Size { organizations: 3, peers: vec![2, 1], orderers: 1 });
        let counts: Vec<_> = topology.organizations.iter().map(|organization| organization.peers.len()).collect();
        assert_eq!(counts, [2, 1, 1]);
    }

    #[test]
    fn an_organization_goes_by_three_names() {
        let topology = topology(&Size { organizations: 2, peers: vec![1], orderers: 1 });
        for name in ["Org2MSP", "org2.example.com", "org2"] {
            assert_eq!(topology.organization(name).unwrap().msp_id, "Org2MSP");
        }
        assert!(topology.organization("org3").is_none());
    }
}
