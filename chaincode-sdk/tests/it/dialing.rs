//! The program that dials its peer: registration, TLS, and peers that come and go.

use std::net::SocketAddr;

use futures::StreamExt;
use futures::stream::BoxStream;
use ripstop_chaincode_sdk::{DialSettings, DialTlsSettings, Dialer};
use ripstop_proto::protos::ChaincodeMessage;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::chaincode_support_server::{ChaincodeSupport, ChaincodeSupportServer};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use crate::probe::Probe;
use crate::scripted_peer::{ScriptedPeer, multi_get};
use crate::service::{authority, issue};

/// Hands each stream that is opened to the test.
struct Accepting(mpsc::Sender<ScriptedPeer>);

#[tonic::async_trait]
impl ChaincodeSupport for Accepting {
    type RegisterStream = BoxStream<'static, Result<ChaincodeMessage, Status>>;

    async fn register(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::RegisterStream>, Status> {
        let (to_chaincode, outgoing) = mpsc::channel(1024);
        let peer = ScriptedPeer { to_chaincode, from_chaincode: request.into_inner() };
        self.0.send(peer).await.unwrap();
        Ok(Response::new(ReceiverStream::new(outgoing).map(Ok).boxed()))
    }
}

/// A peer that accepts streams until it is told to stop.
struct Listening {
    address: SocketAddr,
    streams: mpsc::Receiver<ScriptedPeer>,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<()>,
}

async fn listen(address: &str, tls: Option<ServerTlsConfig>) -> Listening {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (streams_in, streams) = mpsc::channel(8);
    let (stop, stopped) = oneshot::channel::<()>();
    let mut server = Server::builder();
    if let Some(tls) = tls {
        server = server.tls_config(tls).unwrap();
    }
    let router = server.add_service(ChaincodeSupportServer::new(Accepting(streams_in)));
    let ended = tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        router.serve_with_incoming_shutdown(TcpIncoming::from(listener), stopped).await.unwrap();
    });
    Listening { address, streams, stop, ended }
}

fn settings(address: SocketAddr) -> DialSettings {
    DialSettings { peer_address: address.to_string(), package_id: "basic_1.0:abcd".into(), tls: None }
}

#[tokio::test]
async fn the_program_registers_and_answers_as_the_service_does() {
    let mut listening = listen("127.0.0.1:0", None).await;
    let dialer = Dialer::new(settings(listening.address), Probe::default());
    let running = tokio::spawn(dialer.run(std::future::pending()));
    let mut peer = listening.streams.recv().await.unwrap();
    let register = peer.expect(Type::Register).await;
    assert_eq!(register.payload, &b"\x12\x0ebasic_1.0:abcd"[..]);
    peer.admit(Some(multi_get(1000))).await;
    peer.call("ch", "tx", &["Copy", "from", "to"]).await;
    let get = peer.expect(Type::GetState).await;
    peer.answer(&get, "value").await;
    let put = peer.expect(Type::PutState).await;
    peer.answer(&put, "").await;
    peer.expect(Type::Completed).await;
    running.abort();
}

#[tokio::test]
async fn a_peer_that_ends_the_stream_or_goes_away_is_dialed_again() {
    let mut listening = listen("127.0.0.1:0", None).await;
    let address = listening.address;
    let running = tokio::spawn(Dialer::new(settings(address), Probe::default()).run(std::future::pending()));
    // A stream that ends in the middle of a transaction, one that was never accepted.
    let mut peer = listening.streams.recv().await.unwrap();
    peer.expect(Type::Register).await;
    peer.admit(None).await;
    peer.call("ch", "tx", &["Delete", "key"]).await;
    peer.expect(Type::DelState).await;
    drop(peer);
    drop(listening.streams.recv().await.unwrap());
    // The whole peer restarts at its address.
    let mut peer = listening.streams.recv().await.unwrap();
    peer.expect(Type::Register).await;
    listening.stop.send(()).unwrap();
    drop((peer, listening.streams));
    listening.ended.await.unwrap();
    let mut listening = listen(&address.to_string(), None).await;
    let mut peer = listening.streams.recv().await.unwrap();
    peer.expect(Type::Register).await;
    peer.admit(None).await;
    peer.call("ch", "tx", &["Delete", "key"]).await;
    let request = peer.expect(Type::DelState).await;
    peer.answer(&request, "").await;
    peer.expect(Type::Completed).await;
    running.abort();
}

#[tokio::test]
async fn a_stopped_program_lets_running_transactions_finish() {
    let mut listening = listen("127.0.0.1:0", None).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let dialer = Dialer::new(settings(listening.address), Probe::default());
    let running = tokio::spawn(dialer.run(async { stopped.await.unwrap() }));
    let mut peer = listening.streams.recv().await.unwrap();
    peer.expect(Type::Register).await;
    peer.admit(None).await;
    peer.call("ch", "tx", &["Delete", "key"]).await;
    let request = peer.expect(Type::DelState).await;
    stop.send(()).unwrap();
    peer.answer(&request, "").await;
    peer.expect(Type::Completed).await;
    assert_eq!(peer.next().await, None);
    drop(peer);
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_program_without_a_peer_stops_when_it_is_told_to() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    Dialer::new(settings(free), Probe::default()).run(std::future::ready(())).await.unwrap();
    let nowhere = DialSettings { peer_address: "no address".into(), ..settings(free) };
    let refused = Dialer::new(nowhere, Probe::default()).run(std::future::ready(())).await.unwrap_err();
    assert!(refused.to_string().contains("cannot dial the peer at no address"), "{refused}");
}

#[tokio::test]
async fn with_tls_both_sides_show_certificates() {
    let (servers, clients) = (authority(), authority());
    let (certificate, key) = issue(&servers, "localhost");
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .client_ca_root(Certificate::from_pem(clients.pem()));
    let mut listening = listen("127.0.0.1:0", Some(tls)).await;
    let (certificate, key) = issue(&clients, "basic");
    let tls = DialTlsSettings { roots_pem: servers.pem().into(), identity: Some((certificate.into(), key.into())) };
    let peer_address = format!("localhost:{}", listening.address.port());
    let settings = DialSettings { peer_address, tls: Some(tls), ..settings(listening.address) };
    let running = tokio::spawn(Dialer::new(settings, Probe::default()).run(std::future::pending()));
    let mut peer = listening.streams.recv().await.unwrap();
    peer.expect(Type::Register).await;
    running.abort();
}
