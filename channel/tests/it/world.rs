//! Organizations with certificates for tests.

use std::borrow::Cow;
use std::time::SystemTime;

use ripstop_channel::ChannelConfig;
use ripstop_channel::Consenter;
use ripstop_channel::genesis::{self, OrdererOrganization, Organization, Profile};
use ripstop_msp::material::{self, OrganizationFolders, OrganizationKind};
use ripstop_msp::{KeyKind, Msp, Role, SignedBytes, SigningIdentity};
use ripstop_proto::msp::FabricMspConfig;

pub(crate) const MESSAGE: &[u8] = b"what is signed";

/// Some organizations with peers and one with an orderer, on disk.
pub(crate) struct World {
    root: tempfile::TempDir,
    keys: KeyKind,
    pub(crate) peer_organizations: usize,
}

impl World {
    pub(crate) fn new(peer_organizations: usize, keys: KeyKind) -> Self {
        let world = Self { root: tempfile::tempdir().unwrap(), keys, peer_organizations };
        for number in 1..=peer_organizations {
            world.write(&format!("org{number}.example.com"), OrganizationKind::Peers, "peer0", Role::Peer);
        }
        world.write("example.com", OrganizationKind::Orderers, "orderer", Role::Orderer);
        world
    }

    fn write(&self, domain: &str, kind: OrganizationKind, host: &str, role: Role) {
        let organization = material::Organization {
            domain: domain.to_owned(),
            kind,
            nodes: vec![material::Node { name: format!("{host}.{domain}"), role, sans: Vec::new() }],
            users: vec!["User1".to_owned()],
            node_keys: self.keys,
            user_keys: self.keys,
        };
        material::write(self.root.path(), &organization).unwrap();
    }

    pub(crate) fn organization(&self, number: usize) -> OrganizationFolders {
        OrganizationFolders::of(self.root.path(), OrganizationKind::Peers, &format!("org{number}.example.com"))
    }

    pub(crate) fn orderers(&self) -> OrganizationFolders {
        OrganizationFolders::of(self.root.path(), OrganizationKind::Orderers, "example.com")
    }

    pub(crate) fn msp(&self, number: usize) -> FabricMspConfig {
        Msp::from_folder(&format!("Org{number}MSP"), self.organization(number).msp()).unwrap().to_config()
    }

    pub(crate) fn profile(&self) -> Profile {
        let mut profile = Profile::new("mychannel");
        for number in 1..=self.peer_organizations {
            let anchor = (format!("peer0.org{number}.example.com"), 7051);
            profile.organizations.push(Organization::new(self.msp(number), vec![anchor]));
        }
        let orderers = self.orderers();
        let certificate = std::fs::read(orderers.node("orderer.example.com", Role::Orderer).tls_certificate()).unwrap();
        let consenter = Consenter {
            host: "orderer.example.com".to_owned(),
            port: 7050,
            client_tls_certificate_pem: certificate.clone().into(),
            server_tls_certificate_pem: certificate.into(),
        };
        let msp = Msp::from_folder("OrdererMSP", orderers.msp()).unwrap().to_config();
        let endpoints = vec!["orderer.example.com:7050".to_owned()];
        profile.orderer_organizations.push(OrdererOrganization::new("OrdererOrg", msp, endpoints, vec![consenter]));
        profile
    }

    pub(crate) fn config(&self) -> ChannelConfig {
        let block = genesis::block(&self.profile(), [1; 24], SystemTime::UNIX_EPOCH).unwrap();
        ChannelConfig::from_block(&block).unwrap()
    }

    pub(crate) fn peer(&self, number: usize) -> SigningIdentity {
        let node = self.organization(number).node(&format!("peer0.org{number}.example.com"), Role::Peer);
        SigningIdentity::from_msp_folder(&format!("Org{number}MSP"), node.msp()).unwrap()
    }

    pub(crate) fn user(&self, number: usize, name: &str) -> SigningIdentity {
        let folder = self.organization(number).user(name).msp();
        SigningIdentity::from_msp_folder(&format!("Org{number}MSP"), folder).unwrap()
    }

    pub(crate) fn orderer(&self) -> SigningIdentity {
        let node = self.orderers().node("orderer.example.com", Role::Orderer);
        SigningIdentity::from_msp_folder("OrdererMSP", node.msp()).unwrap()
    }
}

/// Whether the policy at `path` is satisfied by signatures of these.
pub(crate) fn satisfied(config: &ChannelConfig, path: &str, signers: &[&SigningIdentity]) -> bool {
    let signatures: Vec<Vec<u8>> = signers.iter().map(|signer| signer.sign(MESSAGE).unwrap()).collect();
    let signed: Vec<SignedBytes<'_>> = signers
        .iter()
        .zip(&signatures)
        .map(|(signer, signature)| SignedBytes {
            identity: signer.serialized(),
            message: Cow::Borrowed(MESSAGE),
            signature,
        })
        .collect();
    config.check(path, &signed).is_ok()
}
