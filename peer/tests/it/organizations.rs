//! Two organizations with peers, one with orderers, and their channel.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ripstop_channel::genesis::{self, OrdererOrganization, Organization, Profile};
use ripstop_channel::{ChannelConfig, Consenter};
use ripstop_ledger::{Ledger, Options};
use ripstop_msp::material::{self, MemberFolder, Node, OrganizationFolders, OrganizationKind};
use ripstop_msp::{KeyKind, Msp, Role, SigningIdentity};
use ripstop_peer::channel::Channel;
use ripstop_proto::common::Block;
use tempfile::TempDir;

pub(crate) const CHANNEL: &str = "mychannel";
/// What the orderer advertises; tests dial where it listens.
pub(crate) const ORDERER: &str = "orderer.example.com:7050";
const ORDERER_2: &str = "orderer2.example.com:7150";

/// An organization with peers.
pub(crate) struct PeerOrganization {
    pub(crate) msp: Msp,
    pub(crate) client: SigningIdentity,
    pub(crate) admin: SigningIdentity,
    pub(crate) peer: SigningIdentity,
    pub(crate) peer_folder: MemberFolder,
}

/// The organization with orderers.
pub(crate) struct OrdererSide {
    pub(crate) identity: SigningIdentity,
    pub(crate) folder: MemberFolder,
}

pub(crate) struct Organizations {
    pub(crate) org1: PeerOrganization,
    pub(crate) org2: PeerOrganization,
    pub(crate) orderer: OrdererSide,
    /// What the channel's genesis block was made of.
    pub(crate) profile: Profile,
    pub(crate) genesis: Block,
    _folder: TempDir,
}

/// A ledger with the genesis block, and its configuration.
pub(crate) struct TestLedger {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) config: Arc<ChannelConfig>,
}

impl Organizations {
    pub(crate) fn new() -> Self {
        Self::make(KeyKind::P256, |_| {})
    }

    pub(crate) fn with_ed25519_peers() -> Self {
        Self::make(KeyKind::Ed25519, |_| {})
    }

    /// With a channel that `change` made different.
    pub(crate) fn with_channel(change: impl FnOnce(&mut Profile)) -> Self {
        Self::make(KeyKind::P256, change)
    }

    /// With a channel of another name than [`CHANNEL`].
    pub(crate) fn named(channel_id: &str) -> Self {
        Self::with_channel(|profile| channel_id.clone_into(&mut profile.channel_id))
    }

    fn make(node_keys: KeyKind, change: impl FnOnce(&mut Profile)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let written = |domain: &str, kind, node: &str, role| {
            let node = Node { name: node.to_owned(), role, sans: Vec::new() };
            let organization = material::Organization {
                domain: domain.to_owned(),
                kind,
                nodes: vec![node],
                users: vec!["User1".to_owned()],
                node_keys,
                user_keys: KeyKind::P256,
            };
            material::write(folder.path(), &organization).unwrap()
        };
        let peers = |number: u8| {
            let domain = format!("org{number}.example.com");
            let name = format!("peer0.{domain}");
            let folders = written(&domain, OrganizationKind::Peers, &name, Role::Peer);
            PeerOrganization::read(&format!("Org{number}MSP"), &folders, &name)
        };
        let (org1, org2) = (peers(1), peers(2));
        let folders = written("example.com", OrganizationKind::Orderers, "orderer.example.com", Role::Orderer);
        let orderer = OrdererSide::read(&folders);
        let mut profile = profile(&[&org1.msp, &org2.msp], &folders, &orderer);
        change(&mut profile);
        let genesis = genesis::block(&profile, [7; 24], UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
        Self { org1, org2, orderer, profile, genesis, _folder: folder }
    }

    /// The channel in memory, with nothing running for it.
    pub(crate) fn channel(&self) -> Arc<Channel> {
        Channel::create("mychannel".as_ref(), self.genesis.clone(), Options::in_memory()).unwrap()
    }

    pub(crate) fn ledger(&self) -> TestLedger {
        let channel = self.channel();
        TestLedger { ledger: Arc::clone(channel.ledger()), config: channel.config() }
    }
}

impl PeerOrganization {
    fn read(msp_id: &str, folders: &OrganizationFolders, peer: &str) -> Self {
        let peer_folder = folders.node(peer, Role::Peer);
        let identity = |folder: &MemberFolder| SigningIdentity::from_msp_folder(msp_id, folder.msp()).unwrap();
        Self {
            msp: Msp::from_folder(msp_id, folders.msp()).unwrap(),
            client: identity(&folders.user("User1")),
            admin: identity(&folders.user("Admin")),
            peer: identity(&peer_folder),
            peer_folder,
        }
    }
}

impl OrdererSide {
    fn read(folders: &OrganizationFolders) -> Self {
        let folder = folders.node("orderer.example.com", Role::Orderer);
        Self { identity: SigningIdentity::from_msp_folder("OrdererMSP", folder.msp()).unwrap(), folder }
    }
}

fn profile(peers: &[&Msp], orderers: &OrganizationFolders, orderer: &OrdererSide) -> Profile {
    let tls = std::fs::read(orderer.folder.tls_certificate()).unwrap();
    let consenter = Consenter {
        host: "orderer.example.com".to_owned(),
        port: 7050,
        client_tls_certificate_pem: tls.clone().into(),
        server_tls_certificate_pem: tls.into(),
    };
    let orderer_msp = Msp::from_folder("OrdererMSP", orderers.msp()).unwrap().to_config();
    let endpoints = vec![ORDERER.to_owned(), ORDERER_2.to_owned()];
    let mut profile = Profile::new(CHANNEL);
    profile.organizations = peers.iter().map(|msp| Organization::new(msp.to_config(), Vec::new())).collect();
    profile.orderer_organizations =
        vec![OrdererOrganization::new("OrdererOrg", orderer_msp, endpoints, vec![consenter])];
    profile
}
