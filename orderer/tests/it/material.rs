//! An organization with an orderer, one with a user, and a channel of both.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use prost::Message;
use ripstop_channel::genesis::{self, Profile};
use ripstop_channel::{BatchSize, Consenter};
use ripstop_msp::material::{self, MemberFolder, Node, Organization, OrganizationFolders, OrganizationKind};
use ripstop_msp::{KeyKind, Msp, Role, SigningIdentity};
use ripstop_node::operations::Version;
use ripstop_node::transport::{ClientIdentity, Dialer};
use ripstop_orderer::{Orderer, OrdererSettings};
use ripstop_proto::common::{
    Block, ChannelHeader, ConfigEnvelope, Envelope, Header, HeaderType, Payload, SignatureHeader,
};
use ripstop_proto::orderer::{ConsensusType, consensus_type};
use ripstop_proto::{block, envelope};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const ORDERER: &str = "orderer.example.com";
pub(crate) const CHANNEL: &str = "mychannel";
pub(crate) const MESSAGE_COUNT_MAX: u32 = 5;
pub(crate) const ABSOLUTE_BYTES_MAX: u32 = 64 * 1024;

/// The files of a small network, in a folder that goes with this value.
pub(crate) struct Material {
    root: tempfile::TempDir,
    count: usize,
    pub(crate) orderers: OrganizationFolders,
    pub(crate) peers: OrganizationFolders,
}

impl Material {
    pub(crate) fn new() -> Self {
        Self::with_orderers(1)
    }

    /// The files of a network with several orderers.
    pub(crate) fn with_orderers(count: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let organization = |domain: &str, kind, nodes, users: &[&str]| Organization {
            domain: domain.to_owned(),
            kind,
            nodes,
            users: users.iter().map(|user| (*user).to_owned()).collect(),
            node_keys: KeyKind::P256,
            user_keys: KeyKind::P256,
        };
        let node = |index| Node { name: name(index), role: Role::Orderer, sans: Vec::new() };
        let nodes = (0..count).map(node).collect();
        let orderers = organization("example.com", OrganizationKind::Orderers, nodes, &[]);
        let peers = organization("org1.example.com", OrganizationKind::Peers, Vec::new(), &["User1"]);
        let orderers = material::write(root.path(), &orderers).unwrap();
        let peers = material::write(root.path(), &peers).unwrap();
        Self { root, orderers, peers, count }
    }

    pub(crate) fn node(&self) -> MemberFolder {
        self.orderers.node(ORDERER, Role::Orderer)
    }

    pub(crate) fn orderer(&self, index: usize) -> MemberFolder {
        self.orderers.node(&name(index), Role::Orderer)
    }

    pub(crate) fn data_folder(&self) -> PathBuf {
        self.data_folder_of(0)
    }

    fn data_folder_of(&self, index: usize) -> PathBuf {
        self.root.path().join(format!("data{index}"))
    }

    /// A channel profile with all orderers as its consenters.
    pub(crate) fn profile(&self, channel_id: &str) -> Profile {
        let consenter = |index: usize| {
            let certificate = Bytes::from(std::fs::read(self.orderer(index).tls_certificate()).unwrap());
            Consenter {
                host: name(index),
                port: 7050,
                client_tls_certificate_pem: certificate.clone(),
                server_tls_certificate_pem: certificate,
            }
        };
        let msp = |id, folders: &OrganizationFolders| Msp::from_folder(id, folders.msp()).unwrap().to_config();
        let mut profile = Profile::new(channel_id);
        profile.batch_size = BatchSize {
            max_message_count: MESSAGE_COUNT_MAX,
            absolute_max_bytes: ABSOLUTE_BYTES_MAX,
            preferred_max_bytes: 32 * 1024,
        };
        profile.orderer_organizations.push(genesis::OrdererOrganization::new(
            "OrdererOrg",
            msp("OrdererMSP", &self.orderers),
            (0..self.count).map(advertised).collect(),
            (0..self.count).map(consenter).collect(),
        ));
        profile.organizations.push(genesis::Organization::new(msp("Org1MSP", &self.peers), Vec::new()));
        profile
    }

    pub(crate) fn genesis(&self, channel_id: &str) -> Block {
        genesis::block(&self.profile(channel_id), [7; 24], SystemTime::now()).unwrap()
    }

    pub(crate) fn settings(&self, table: &str) -> OrdererSettings {
        self.settings_of(0, "127.0.0.1:0", &[], table)
    }

    /// The settings of an orderer that listens and dials as said.
    pub(crate) fn settings_of(
        &self,
        index: usize,
        listen: &str,
        dial: &[(String, SocketAddr)],
        table: &str,
    ) -> OrdererSettings {
        let node = self.orderer(index);
        let dial: Vec<String> = dial.iter().map(|(name, address)| format!("{name:?} = \"{address}\"")).collect();
        let text = format!(
            r#"
            [node]
            name = "{name}"
            msp-id = "OrdererMSP"
            msp-folder = {:?}
            data-folder = {:?}
            listen = "{listen}"
            operations-listen = "127.0.0.1:0"
            advertise = "{advertised}"
            tls = {{ certificate = {:?}, key = {:?}, client-roots = [{:?}] }}
            dial = {{ {dial} }}
            [orderer]
            admin-listen = "127.0.0.1:0"
            admin-client-roots = [{:?}]
            {table}
            "#,
            node.msp(),
            self.data_folder_of(index),
            node.tls_certificate(),
            node.tls_key(),
            node.tls_root(),
            node.tls_root(),
            name = name(index),
            advertised = advertised(index),
            dial = dial.join(", "),
        );
        let none: [(String, String); 0] = [];
        ripstop_node::settings::parse(Path::new("orderer.toml"), &text, "RIPSTOP_ORDERER", none).unwrap()
    }

    pub(crate) fn user(&self) -> SigningIdentity {
        SigningIdentity::from_msp_folder("Org1MSP", self.peers.user("User1").msp()).unwrap()
    }

    /// What the orderer's administrator shows to the admin listener.
    pub(crate) fn admin(&self) -> ClientIdentity {
        let admin = self.orderers.user("Admin");
        ClientIdentity {
            certificate_pem: std::fs::read(admin.tls_certificate()).unwrap(),
            key_pem: std::fs::read(admin.tls_key()).unwrap(),
        }
    }

    pub(crate) fn tls_root(&self) -> Vec<u8> {
        std::fs::read(self.node().tls_root()).unwrap()
    }
}

/// The name of an orderer, from index 0.
pub(crate) fn name(index: usize) -> String {
    match index {
        0 => ORDERER.to_owned(),
        _ => format!("orderer{}.example.com", index + 1),
    }
}

/// Where others are told to reach it.
pub(crate) fn advertised(index: usize) -> String {
    format!("{}:7050", name(index))
}

pub(crate) fn version() -> Version {
    Version { commit: "0123abc".to_owned(), version: "0.0.0".to_owned() }
}

/// An orderer that runs in this process.
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) admin_address: SocketAddr,
    pub(crate) operations_address: SocketAddr,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), ripstop_orderer::Error>>,
}

impl Running {
    pub(crate) async fn start(material: &Material) -> Self {
        Self::start_with(material, "").await
    }

    /// Starts an orderer with further lines in its `[orderer]` table.
    pub(crate) async fn start_with(material: &Material, table: &str) -> Self {
        Self::with_settings(material.settings(table)).await
    }

    pub(crate) async fn with_settings(settings: OrdererSettings) -> Self {
        let name = settings.node.name.clone();
        let orderer = Orderer::start(settings, version()).await.unwrap();
        let (address, shutdown) = (orderer.address(), CancellationToken::new());
        let (admin_address, operations_address) =
            (orderer.admin_address().unwrap(), orderer.operations_address().unwrap());
        let ended = tokio::spawn(orderer.serve(shutdown.clone()));
        Self { name, address, admin_address, operations_address, shutdown, ended }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.ended.await.unwrap().unwrap();
    }

    /// A gRPC connection over TLS.
    pub(crate) async fn connect(&self, material: &Material) -> tonic::transport::Channel {
        self.connect_as(material, None).await
    }

    /// A connection of somebody who shows a certificate.
    pub(crate) async fn connect_as(
        &self,
        material: &Material,
        identity: Option<&ClientIdentity>,
    ) -> tonic::transport::Channel {
        let advertised = format!("{}:7050", self.name);
        let dial = [(advertised.clone(), self.address.to_string())].into();
        Dialer::new(dial).connect(&advertised, &[material.tls_root()], identity).await.unwrap()
    }
}

/// A signed message for a channel; `content` makes it distinct.
pub(crate) fn signed(signer: &SigningIdentity, channel_id: &str, kind: HeaderType, content: &[u8]) -> Envelope {
    let payload = payload(signer, channel_id, kind, content);
    let signature = signer.sign(&payload).unwrap();
    envelope::signed(payload, signature.into())
}

pub(crate) fn payload(signer: &SigningIdentity, channel_id: &str, kind: HeaderType, content: &[u8]) -> Bytes {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let timestamp = prost_types::Timestamp { seconds: now.as_secs() as i64, nanos: 0 };
    let channel_header = ChannelHeader {
        r#type: kind.into(),
        channel_id: channel_id.to_owned(),
        timestamp: Some(timestamp),
        ..ChannelHeader::default()
    };
    let signature_header =
        SignatureHeader { creator: signer.serialized().clone(), nonce: Bytes::from_static(b"a nonce") };
    let header = Header {
        channel_header: channel_header.encode_to_vec().into(),
        signature_header: signature_header.encode_to_vec().into(),
    };
    Payload { header: Some(header), data: Bytes::copy_from_slice(content) }.encode_to_vec().into()
}

/// Puts the channel of a genesis block into maintenance.
pub(crate) fn set_maintenance(genesis: &mut Block) {
    let entry = &mut genesis.data.as_mut().unwrap().data[0];
    let mut envelope = Envelope::decode(entry.clone()).unwrap();
    let mut payload = Payload::decode(envelope.payload.clone()).unwrap();
    let mut config = ConfigEnvelope::decode(payload.data.clone()).unwrap();
    let channel = config.config.as_mut().unwrap().channel_group.as_mut().unwrap();
    let value = channel.groups.get_mut("Orderer").unwrap().values.get_mut("ConsensusType").unwrap();
    let mut consensus = ConsensusType::decode(value.value.clone()).unwrap();
    consensus.set_state(consensus_type::State::Maintenance);
    value.value = consensus.encode_to_vec().into();
    payload.data = config.encode_to_vec().into();
    envelope.payload = payload.encode_to_vec().into();
    *entry = envelope.encode_to_vec().into();
    let data_hash = block::data_hash(&genesis.data.as_ref().unwrap().data);
    genesis.header.as_mut().unwrap().data_hash = data_hash.to_vec().into();
}
