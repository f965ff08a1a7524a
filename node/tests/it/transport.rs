//! Listener and dialer over real sockets with real TLS.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, stream};
use ripstop_node::CancellationToken;
use ripstop_node::deliver::{self, Deliver, OrdererBlocks, Terms};
use ripstop_node::health;
use ripstop_node::transport::{
    ClientIdentity, Dialer, Limits, Listener, MESSAGE_BYTES_MAX, ServeError, ServerTls, TlsError,
    client_certificate_hash,
};
use ripstop_proto::common::{Envelope, Status as BlockStatus};
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::orderer::atomic_broadcast_server::{AtomicBroadcast, AtomicBroadcastServer};
use ripstop_proto::orderer::deliver_response::Type;
use ripstop_proto::orderer::{BroadcastResponse, DeliverResponse};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::BoxStream;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::certificates::Authority;
use crate::chain::{MemoryChain, MemoryChannels, at, clock, newest, oldest, seek};

const HOST: &str = "peer0.org1.example.com";
const PATIENCE: Duration = Duration::from_secs(20);

/// Deliver over a chain in memory, and a Broadcast that tells the size of each envelope
/// and the caller's certificate.
struct Orderer(Arc<Deliver<MemoryChannels, OrdererBlocks>>);

#[tonic::async_trait]
impl AtomicBroadcast for Orderer {
    type BroadcastStream = BoxStream<BroadcastResponse>;
    type DeliverStream = BoxStream<DeliverResponse>;

    async fn broadcast(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::BroadcastStream>, Status> {
        let certificate = client_certificate_hash(&request);
        let answers = stream::unfold(request.into_inner(), move |mut envelopes| async move {
            let answer = match envelopes.message().await {
                Ok(None) => return None,
                Ok(Some(envelope)) => Ok(BroadcastResponse {
                    status: BlockStatus::Success.into(),
                    info: format!("{} {:?}", envelope.payload.len(), certificate),
                }),
                Err(status) => Err(status),
            };
            Some((answer, envelopes))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn deliver(&self, request: Request<Streaming<Envelope>>) -> Result<Response<Self::DeliverStream>, Status> {
        let certificate = client_certificate_hash(&request);
        Ok(Response::new(deliver::stream(self.0.clone(), request.into_inner(), certificate)))
    }
}

/// A running node.
struct Node {
    address: SocketAddr,
    chain: Arc<MemoryChain>,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Node {
    async fn start(tls: Arc<ServerTls>, limits: Limits) -> Self {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), tls).await.unwrap().with_limits(limits);
        let address = listener.local_address().unwrap();
        let chain = MemoryChain::new(2);
        let shutdown = CancellationToken::new();
        // Its streams are not told of the shutdown: the listener alone has to end them.
        let mut deliver =
            Deliver::new(MemoryChannels::one(&chain), OrdererBlocks, Terms::default(), CancellationToken::new());
        deliver.clock = Arc::new(clock);
        let orderer = AtomicBroadcastServer::new(Orderer(Arc::new(deliver)))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (_, health) = health::service();
        let routes = Routes::new(health).add_service(orderer);
        let serving = tokio::spawn(listener.serve(routes, shutdown.clone()));
        Self { address, chain, shutdown, serving }
    }

    fn dialer(&self, host: &str) -> Dialer {
        Dialer::new(BTreeMap::from([(format!("{host}:7051"), self.address.to_string())]))
    }

    async fn connect(&self, authority: &Authority, identity: Option<&ClientIdentity>) -> Channel {
        let advertised = format!("{HOST}:7051");
        self.dialer(HOST).connect(&advertised, &[authority.pem()], identity).await.unwrap()
    }

    /// A client that has TLS, and no HTTP/2.
    async fn shake_hands(&self, authority: &Authority) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&authority.pem()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(self.address).await.unwrap();
        TlsConnector::from(Arc::new(tls)).connect(HOST.try_into().unwrap(), stream).await.unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.serving).await.expect("the listener ends").unwrap().unwrap();
    }
}

fn limits() -> Limits {
    Limits { shutdown_grace: Duration::from_millis(50), ..Limits::default() }
}

async fn health(channel: Channel) -> Result<i32, Status> {
    let request = HealthCheckRequest { service: String::new() };
    let answer = HealthClient::new(channel).check(request).await?;
    Ok(answer.into_inner().status)
}

async fn tell_sizes(
    channel: Channel,
    envelopes: impl Stream<Item = Envelope> + Send + 'static,
) -> Result<Vec<String>, Status> {
    let mut client = AtomicBroadcastClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let mut answers = client.broadcast(envelopes).await?.into_inner();
    let mut infos = Vec::new();
    while let Some(answer) = answers.message().await? {
        infos.push(answer.info);
    }
    Ok(infos)
}

fn sized(bytes: usize) -> Envelope {
    Envelope { payload: vec![7; bytes].into(), ..Envelope::default() }
}

#[tokio::test]
async fn a_node_is_reached_under_the_name_it_advertises() {
    let authority = Authority::new("ca");
    let node = Node::start(authority.server(HOST), limits()).await;
    let channel = node.connect(&authority, None).await;
    assert_eq!(health(channel).await.unwrap(), 1, "SERVING");
    let lazy = node.dialer(HOST).connect_lazy(&format!("{HOST}:7051"), &[authority.pem()], None).unwrap();
    assert_eq!(health(lazy).await.unwrap(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_root_that_did_not_issue_the_certificate_is_no_root() {
    let (authority, stranger) = (Authority::new("ca"), Authority::new("stranger"));
    let node = Node::start(authority.server(HOST), limits()).await;
    let advertised = format!("{HOST}:7051");
    let error = node.dialer(HOST).connect(&advertised, &[stranger.pem()], None).await.unwrap_err().to_string();
    assert!(error.contains(&advertised) && error.contains(&node.address.to_string()), "{error}");
    assert!(error.contains("certificate"), "{error}");
    let both = [stranger.pem(), authority.pem()];
    let channel = node.dialer(HOST).connect(&advertised, &both, None).await.unwrap();
    assert_eq!(health(channel).await.unwrap(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_wherever_it_is_dialled() {
    let authority = Authority::new("ca");
    let node = Node::start(authority.server("peer1.org1.example.com"), limits()).await;
    let error = node.dialer(HOST).connect(&format!("{HOST}:7051"), &[authority.pem()], None).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    node.stop().await;
}

#[tokio::test]
async fn nobody_at_the_address_is_said_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let dialer = Dialer::new(BTreeMap::from([("a:1".to_owned(), address.to_string())]));
    let error = dialer.connect("a:1", &[Authority::new("ca").pem()], None).await.unwrap_err().to_string();
    assert!(error.contains("cannot connect to a:1") && error.contains("refused"), "{error}");
}

#[tokio::test]
async fn mutual_tls_takes_known_clients_only_and_tells_who_they_are() {
    let (authority, clients, stranger) = (Authority::new("ca"), Authority::new("clients"), Authority::new("stranger"));
    let server = authority.issue(HOST);
    let tls = ServerTls::from_pem(server.certificate_pem, server.key_pem, vec![clients.pem()], true).unwrap();
    assert!(tls.client_auth_required());
    let node = Node::start(tls.clone(), limits()).await;
    let advertised = format!("{HOST}:7051");
    let refused = async |identity: Option<ClientIdentity>| {
        // The client's side of the handshake ends before the server has judged.
        match node.dialer(HOST).connect(&advertised, &[authority.pem()], identity.as_ref()).await {
            Err(_) => true,
            Ok(channel) => health(channel).await.is_err(),
        }
    };
    assert!(refused(None).await);
    assert!(refused(Some(stranger.issue("someone"))).await);
    let client = clients.issue("someone");
    let channel = node.connect(&authority, Some(&client)).await;
    let told = tell_sizes(channel, stream::iter([sized(5)])).await.unwrap();
    let der = CertificateDer::from_pem_slice(&client.certificate_pem).unwrap();
    let hash = ripstop_proto::hash::sha256(&[&der]);
    assert_eq!(told, [format!("5 {:?}", Some(hash))]);

    tls.replace_client_roots(vec![clients.pem(), stranger.pem()]).unwrap();
    assert!(!refused(Some(stranger.issue("someone"))).await, "a root that came later");
    node.stop().await;
}

#[tokio::test]
async fn with_roots_but_no_demand_a_client_may_stay_unknown() {
    let (authority, clients) = (Authority::new("ca"), Authority::new("clients"));
    let server = authority.issue(HOST);
    let tls = ServerTls::from_pem(server.certificate_pem, server.key_pem, vec![clients.pem()], false).unwrap();
    let node = Node::start(tls, limits()).await;
    let unknown = node.connect(&authority, None).await;
    assert_eq!(tell_sizes(unknown, stream::iter([sized(5)])).await.unwrap(), ["5 None"]);
    let known = node.connect(&authority, Some(&clients.issue("someone"))).await;
    assert!(tell_sizes(known, stream::iter([sized(5)])).await.unwrap()[0].starts_with("5 Some"));
    node.stop().await;
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_to_the_next_connection() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let tls = old.server(HOST);
    let node = Node::start(tls.clone(), limits()).await;
    let before = node.connect(&old, None).await;
    let next = new.issue(HOST);
    tls.replace_certificate(next.certificate_pem, next.key_pem.clone()).unwrap();
    assert_eq!(health(before).await.unwrap(), 1, "the open connection goes on");
    let advertised = format!("{HOST}:7051");
    assert!(node.dialer(HOST).connect(&advertised, &[old.pem()], None).await.is_err());
    assert_eq!(health(node.connect(&new, None).await).await.unwrap(), 1);

    let error = tls.replace_certificate(old.issue(HOST).certificate_pem, next.key_pem).unwrap_err();
    assert!(matches!(error, TlsError::Identity(_)), "a key of another certificate: {error}");
    assert_eq!(health(node.connect(&new, None).await).await.unwrap(), 1, "the pair before stays");
    node.stop().await;
}

#[test]
fn unusable_tls_material_says_what_is_wrong() {
    let identity = Authority::new("ca").issue(HOST);
    let made = |certificate: &[u8], key: &[u8], roots: Vec<Vec<u8>>, required| {
        ServerTls::from_pem(certificate.to_vec(), key.to_vec(), roots, required).unwrap_err().to_string()
    };
    let ClientIdentity { certificate_pem, key_pem } = &identity;
    assert!(made(b"", key_pem, vec![], false).contains("no usable TLS certificate"));
    assert!(made(certificate_pem, b"", vec![], false).contains("no usable TLS key"));
    assert!(made(certificate_pem, key_pem, vec![b"x".to_vec()], false).contains("no usable TLS client root"));
    assert!(made(certificate_pem, key_pem, vec![], true).contains("client-roots is empty"));
}

#[tokio::test]
async fn a_block_of_10_mib_and_an_envelope_of_10_mib_pass() {
    const LARGE: usize = 10 * 1024 * 1024;
    let authority = Authority::new("ca");
    let node = Node::start(authority.server(HOST), limits()).await;
    node.chain.append(LARGE);
    let channel = node.connect(&authority, None).await;
    let mut client = AtomicBroadcastClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut blocks = client.deliver(stream::iter([seek(oldest(), newest())])).await.unwrap().into_inner();
    let mut sizes = Vec::new();
    while let Some(Type::Block(block)) = blocks.message().await.unwrap().unwrap().r#type {
        sizes.push(block.data.unwrap().data[0].len());
    }
    assert_eq!(sizes.len(), 3);
    assert!(sizes[2] > LARGE);
    assert_eq!(tell_sizes(channel, stream::iter([sized(LARGE)])).await.unwrap(), [format!("{LARGE} None")]);
    node.stop().await;
}

#[tokio::test]
async fn shutdown_ends_although_streams_are_open() {
    let authority = Authority::new("ca");
    let node = Node::start(authority.server(HOST), limits()).await;
    let channel = node.connect(&authority, None).await;
    let mut client = AtomicBroadcastClient::new(channel.clone());
    let mut blocks = client.deliver(stream::iter([seek(at(2), at(u64::MAX))])).await.unwrap().into_inner();
    let mut watch = HealthClient::new(channel).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    let idle = TcpStream::connect(node.address).await.unwrap();
    let address = node.address;
    node.stop().await;
    assert!(blocks.message().await.is_err(), "the stream was cut");
    assert!(watch.message().await.is_err());
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    drop(idle);
}

#[tokio::test]
async fn shutdown_waits_for_a_call_that_is_running() {
    let authority = Authority::new("ca");
    let patient = Limits { shutdown_grace: PATIENCE, ..Limits::default() };
    let node = Node::start(authority.server(HOST), patient).await;
    let channel = node.connect(&authority, None).await;
    let (sender, envelopes) = tokio::sync::mpsc::unbounded_channel();
    let envelopes = tokio_stream::wrappers::UnboundedReceiverStream::new(envelopes);
    let mut client = AtomicBroadcastClient::new(channel);
    sender.send(sized(1)).unwrap();
    let mut answers = client.broadcast(envelopes).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().info, "1 None");
    node.shutdown.cancel();
    sender.send(sized(2)).unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().info, "2 None", "the call goes on");
    drop(sender);
    assert!(answers.message().await.unwrap().is_none());
    node.stop().await;
}

#[tokio::test]
async fn requests_beyond_the_budget_are_refused_and_the_others_go_on() {
    let authority = Authority::new("ca");
    let small = Limits { request_bytes_max: 1024 * 1024, ..limits() };
    let node = Node::start(authority.server(HOST), small).await;
    let channel = node.connect(&authority, None).await;
    let error = tell_sizes(channel.clone(), stream::iter([sized(2 * 1024 * 1024)])).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(error.message().contains("1048576 bytes"), "{error}");
    // Bytes of answered messages do not add up: eight times the budget in one stream.
    let many = stream::iter((0..16).map(|_| sized(512 * 1024)));
    assert_eq!(tell_sizes(channel.clone(), many).await.unwrap().len(), 16);
    assert_eq!(health(channel).await.unwrap(), 1);
    node.stop().await;
}

#[tokio::test]
async fn the_connection_after_the_last_one_allowed_waits_for_a_place() {
    let authority = Authority::new("ca");
    let node = Node::start(authority.server(HOST), Limits { connections_max: 1, ..limits() }).await;
    let first = node.connect(&authority, None).await;
    assert_eq!(health(first.clone()).await.unwrap(), 1);
    let advertised = format!("{HOST}:7051");
    let impatient = node.dialer(HOST).with_connect_timeout(Duration::from_millis(200));
    let error = impatient.connect(&advertised, &[authority.pem()], None).await.unwrap_err().to_string();
    assert!(error.contains("no answer within 200ms"), "{error}");
    assert_eq!(health(first.clone()).await.unwrap(), 1, "the first one is not disturbed");
    drop(first);
    let second = node.connect(&authority, None).await;
    assert_eq!(health(second).await.unwrap(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_client_that_is_silent_after_its_handshake_keeps_no_place() {
    let authority = Authority::new("ca");
    let opening_timeout = Duration::from_millis(300);
    let strict = Limits { connections_max: 2, opening_timeout, ..limits() };
    let node = Node::start(authority.server(HOST), strict).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for beginning in [&b""[..], &preface[..10], preface] {
        let idle = node.connect(&authority, None).await;
        assert_eq!(health(idle.clone()).await.unwrap(), 1);
        let mut silent = node.shake_hands(&authority).await;
        silent.write_all(beginning).await.unwrap();
        let mut heard = Vec::new();
        // An end without a TLS alert is an end.
        let _ = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut heard)).await.expect("the node hangs up");
        assert_eq!(health(idle).await.unwrap(), 1, "who has begun may be silent");
        assert_eq!(health(node.connect(&authority, None).await).await.unwrap(), 1);
    }
    node.stop().await;
}

#[tokio::test]
async fn what_is_no_tls_disturbs_nobody() {
    let authority = Authority::new("ca");
    let node = Node::start(authority.server(HOST), limits()).await;
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff, 0, 0, 0], &[0; 70_000]] {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let _ = stream.write_all(noise).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the node hangs up");
    }
    assert_eq!(health(node.connect(&authority, None).await).await.unwrap(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let authority = Authority::new("ca");
    let node = Node::start(authority.server(HOST), limits()).await;
    let Err(error) = Listener::bind(node.address, authority.server(HOST)).await else { panic!("the address is taken") };
    assert!(error.to_string().contains(&node.address.to_string()), "{error}");
    node.stop().await;
}
