//! Listening, TLS, and the end of the service.

use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use ripstop_chaincode_sdk::{ServeError, Server, ServerSettings, TlsSettings};
use ripstop_proto::protos::chaincode_message::Type;
use tokio::sync::oneshot;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::probe::{Probe, settings};
use crate::scripted_peer::ScriptedPeer;

#[tokio::test]
async fn a_stopped_service_lets_running_transactions_finish_and_ends_its_streams() {
    let server = Server::new(settings(), Probe::default()).bind().await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async { stopped.await.unwrap() }));
    let mut idle = ScriptedPeer::registered(address).await;
    let mut busy = ScriptedPeer::registered(address).await;
    busy.call("ch", "tx", &["Delete", "key"]).await;
    let request = busy.expect(Type::DelState).await;
    stop.send(()).unwrap();
    assert_eq!(idle.next().await, None);
    busy.answer(&request, "").await;
    busy.expect(Type::Completed).await;
    assert_eq!(busy.next().await, None);
    running.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn transactions_of_a_peer_that_is_gone_are_dropped() {
    let (held, dropped) = oneshot::channel();
    let probe = Probe { hanging: Arc::new(Mutex::new(Some(held))) };
    let server = Server::new(settings(), probe).bind().await.unwrap();
    let address = server.address();
    tokio::spawn(server.run(std::future::pending()));
    let mut peer = ScriptedPeer::registered(address).await;
    peer.call("ch", "tx", &["Hang"]).await;
    peer.expect(Type::GetState).await;
    drop(peer);
    assert!(dropped.await.is_err());
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let server = Server::new(settings(), Probe::default()).bind().await.unwrap();
    let taken = ServerSettings { address: server.address().to_string(), ..settings() };
    let refused = Server::new(taken, Probe::default()).bind().await.err().unwrap();
    assert!(matches!(&refused, ServeError::Listen { address, .. } if *address == server.address().to_string()));
}

pub(crate) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key in PEM.
pub(crate) fn issue(authority: &CertifiedIssuer<'static, KeyPair>, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

#[tokio::test]
async fn with_tls_and_client_roots_only_peers_with_a_certificate_are_served() {
    let (servers, clients) = (authority(), authority());
    let (certificate, key) = issue(&servers, "contract.example.com");
    let tls = TlsSettings {
        certificate_pem: certificate.into(),
        key_pem: key.into(),
        client_roots_pem: Some(clients.pem().into()),
    };
    let server = Server::new(ServerSettings { tls: Some(tls), ..settings() }, Probe::default()).bind().await.unwrap();
    let address = server.address();
    tokio::spawn(server.run(std::future::pending()));

    let client =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(servers.pem())).domain_name("contract.example.com");
    let endpoint = Channel::from_shared(format!("https://{address}")).unwrap();
    let (certificate, key) = issue(&clients, "peer0.org1.example.com");
    let known = client.clone().identity(Identity::from_pem(certificate, key));
    let channel = endpoint.clone().tls_config(known).unwrap().connect().await.unwrap();
    let mut peer = ScriptedPeer::on(channel).await;
    peer.expect(Type::Register).await;

    let (certificate, key) = issue(&authority(), "peer0.org1.example.com");
    let stranger = client.clone().identity(Identity::from_pem(certificate, key));
    for refused in [client, stranger] {
        let channel = endpoint.clone().tls_config(refused).unwrap().connect_lazy();
        let mut client = ripstop_proto::protos::chaincode_client::ChaincodeClient::new(channel);
        assert!(client.connect(tokio_stream::empty()).await.is_err());
    }
}
