//! A whole peer: started from settings, asked over TLS, stopped, started again.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prost::Message;
use ripstop_msp::SigningIdentity;
use ripstop_node::operations::Version;
use ripstop_node::settings::{NodeSettings, TlsSettings};
use ripstop_node::transport::Dialer;
use ripstop_peer::PeerSettings;
use ripstop_proto::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use ripstop_proto::protos::endorser_client::EndorserClient;
use ripstop_proto::protos::{
    ChaincodeHeaderExtension, ChaincodeId, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload,
    ChaincodeSpec, ChannelQueryResponse, Proposal, Response, SignedProposal,
};
use ripstop_proto::tx_id;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::organizations::{CHANNEL, Organizations};

const NAME: &str = "peer0.org1.example.com";

fn version() -> Version {
    Version { commit: "0123abc".to_owned(), version: "0.0.0".to_owned() }
}

/// Settings on a port that was free a moment ago.
fn settings(organizations: &Organizations, data: &Path) -> PeerSettings {
    let folder = &organizations.org1.peer_folder;
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    PeerSettings {
        node: NodeSettings {
            name: NAME.to_owned(),
            msp_id: "Org1MSP".to_owned(),
            msp_folder: folder.msp(),
            data_folder: data.to_owned(),
            listen,
            advertise: format!("{NAME}:{}", listen.port()),
            tls: TlsSettings {
                certificate: folder.tls_certificate(),
                key: folder.tls_key(),
                client_roots: Vec::new(),
                client_auth_required: false,
            },
            operations_listen: Some(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()),
            dial: BTreeMap::new(),
        },
        peer: Default::default(),
    }
}

/// A peer that serves.
pub(crate) struct Peer {
    /// Where operations HTTP is.
    pub(crate) operations: SocketAddr,
    client: EndorserClient<tonic::transport::Channel>,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), ripstop_peer::Error>>,
}

impl Peer {
    pub(crate) async fn start(organizations: &Organizations, data: &Path) -> Self {
        let settings = settings(organizations, data);
        let operations = settings.node.operations_listen.unwrap();
        let advertised = settings.node.advertise.clone();
        let dialer = Dialer::new([(advertised.clone(), settings.node.listen.to_string())].into());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(ripstop_peer::run(settings, version(), shutdown.clone()));
        let roots = [std::fs::read(organizations.org1.peer_folder.tls_root()).unwrap()];
        let connection = loop {
            assert!(!running.is_finished(), "{:?}", running.await);
            if let Ok(connection) = dialer.connect(&advertised, &roots, None).await {
                break connection;
            }
            tokio::task::yield_now().await;
        };
        Self { operations, client: EndorserClient::new(connection), shutdown, running }
    }

    async fn cscc(&mut self, who: &SigningIdentity, args: &[Bytes]) -> Response {
        let answer = self.client.process_proposal(channelless("cscc", who, args)).await.unwrap();
        answer.into_inner().response.unwrap()
    }

    pub(crate) async fn channels(&mut self, who: &SigningIdentity) -> Vec<String> {
        let answer = self.cscc(who, &["GetChannels".into()]).await;
        assert_eq!(answer.status, 200, "{}", answer.message);
        let channels = ChannelQueryResponse::decode(answer.payload).unwrap().channels;
        channels.into_iter().map(|channel| channel.channel_id).collect()
    }

    pub(crate) async fn join(&mut self, organizations: &Organizations) {
        let join = ["JoinChain".into(), organizations.genesis.encode_to_vec().into()];
        assert_eq!(self.cscc(&organizations.org1.admin, &join).await.status, 200);
    }

    pub(crate) async fn stop(self) {
        drop(self.client);
        self.shutdown.cancel();
        self.running.await.unwrap().unwrap();
    }
}

fn channelless(chaincode: &str, creator: &SigningIdentity, args: &[Bytes]) -> SignedProposal {
    let id = Some(ChaincodeId { name: chaincode.to_owned(), ..Default::default() });
    let nonce = Bytes::copy_from_slice(&rand::random::<[u8; 24]>());
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let channel_header = ChannelHeader {
        r#type: HeaderType::EndorserTransaction as i32,
        tx_id: tx_id::compute(&nonce, creator.serialized()),
        timestamp: Some(prost_types::Timestamp { seconds: since.as_secs() as i64, nanos: 0 }),
        extension: ChaincodeHeaderExtension { chaincode_id: id.clone() }.encode_to_vec().into(),
        ..Default::default()
    };
    let signature_header = SignatureHeader { creator: creator.serialized().clone(), nonce };
    let header = Header {
        channel_header: channel_header.encode_to_vec().into(),
        signature_header: signature_header.encode_to_vec().into(),
    };
    let input = ChaincodeInput { args: args.to_vec(), ..Default::default() };
    let spec = ChaincodeSpec { chaincode_id: id, input: Some(input), ..Default::default() };
    let payload = ChaincodeProposalPayload {
        input: ChaincodeInvocationSpec { chaincode_spec: Some(spec) }.encode_to_vec().into(),
        ..Default::default()
    };
    let proposal = Proposal {
        header: header.encode_to_vec().into(),
        payload: payload.encode_to_vec().into(),
        ..Default::default()
    };
    let proposal_bytes: Bytes = proposal.encode_to_vec().into();
    SignedProposal { signature: creator.sign(&proposal_bytes).unwrap().into(), proposal_bytes }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_joins_a_channel_and_has_it_again_after_a_restart() {
    let (organizations, data) = (Organizations::new(), tempfile::tempdir().unwrap());
    let Organizations { org1, org2, .. } = &organizations;
    let mut peer = Peer::start(&organizations, data.path()).await;
    assert!(peer.channels(&org1.client).await.is_empty());
    let join = ["JoinChain".into(), organizations.genesis.encode_to_vec().into()];
    assert_eq!(peer.cscc(&org1.client, &join).await.status, 500, "only admins join");
    peer.join(&organizations).await;
    assert_eq!(peer.channels(&org1.client).await, [CHANNEL]);
    assert!(peer.client.process_proposal(channelless("cscc", &org2.admin, &join)).await.is_err(), "not our admin");
    peer.stop().await;

    let mut peer = Peer::start(&organizations, data.path()).await;
    assert_eq!(peer.channels(&org1.client).await, [CHANNEL]);
    peer.stop().await;
}

#[tokio::test]
async fn a_peer_whose_address_is_taken_says_so() {
    let (organizations, data) = (Organizations::new(), tempfile::tempdir().unwrap());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(&organizations, data.path());
    settings.node.listen = taken.local_addr().unwrap();
    let running = ripstop_peer::run(settings, version(), CancellationToken::new());
    let error = tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap_err();
    assert!(error.to_string().contains(&taken.local_addr().unwrap().to_string()), "{error}");
}
