//! Channel participation over mutual TLS, as `osnadmin` speaks it.

use std::sync::Arc;

use prost::Message;
use ripstop_node::transport::ClientIdentity;
use ripstop_proto::common::Block;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::material::{CHANNEL, Material, ORDERER, Running, version};

/// A field of a form, and its file.
type Part<'a> = (&'a str, &'a [u8]);

/// An HTTP response.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }

    fn has_header(&self, header: &str) -> bool {
        self.head.lines().any(|line| line.eq_ignore_ascii_case(header))
    }
}

/// Sends one request on a connection of its own.
async fn send(
    running: &Running,
    material: &Material,
    identity: Option<&ClientIdentity>,
    head: &str,
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&material.tls_root()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let certificate = CertificateDer::from_pem_slice(&identity.certificate_pem).unwrap();
            let key = PrivateKeyDer::from_pem_slice(&identity.key_pem).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let stream = TcpStream::connect(running.admin_address).await?;
    let name = ServerName::try_from(running.name.clone()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let length = body.len();
    let head = format!("{head}\r\nhost: {ORDERER}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer { status, head, body: answer[end + 4..].to_vec() })
}

async fn ask(running: &Running, material: &Material, request: &str) -> Answer {
    let head = format!("{} HTTP/1.1", request.replacen(' ', " /participation/v1/", 1));
    send(running, material, Some(&material.admin()), &head, b"").await.unwrap()
}

async fn post(running: &Running, material: &Material, method: &str, parts: &[Part<'_>]) -> Answer {
    let mut body = Vec::new();
    for (field, content) in parts {
        let head = format!(
            "--boundary\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{field}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(&[head.as_bytes(), content, b"\r\n"].concat());
    }
    body.extend_from_slice(b"--boundary--\r\n");
    let head =
        format!("{method} /participation/v1/channels HTTP/1.1\r\ncontent-type: multipart/form-data; boundary=boundary");
    send(running, material, Some(&material.admin()), &head, &body).await.unwrap()
}

/// Joins the orderer to the channel of a genesis block.
pub(crate) async fn join(running: &Running, material: &Material, genesis: &Block) {
    let answer = post(running, material, "POST", &[("config-block", &genesis.encode_to_vec())]).await;
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_joined_listed_shown_and_still_there_after_a_restart() {
    let material = Material::new();
    let running = Running::start(&material).await;
    let none = ask(&running, &material, "GET channels").await;
    assert_eq!((none.status, none.json()), (200, serde_json::json!({ "systemChannel": null, "channels": null })));
    assert!(none.has_header("cache-control: no-store"), "{}", none.head);

    let genesis = material.genesis(CHANNEL).encode_to_vec();
    let joined = post(&running, &material, "POST", &[("config-block", &genesis)]).await;
    let shown = serde_json::json!({
        "name": "mychannel", "url": "/participation/v1/channels/mychannel",
        "consensusRelation": "consenter", "status": "active", "height": 1
    });
    assert_eq!((joined.status, joined.json()), (201, shown.clone()));
    assert!(joined.has_header("location: /participation/v1/channels/mychannel"), "{}", joined.head);
    join(&running, &material, &material.genesis("another.channel")).await;
    running.stop().await;

    let running = Running::start(&material).await;
    let list = ask(&running, &material, "GET channels").await.json();
    let expected = serde_json::json!([
        { "name": "another.channel", "url": "/participation/v1/channels/another.channel" },
        { "name": "mychannel", "url": "/participation/v1/channels/mychannel" }
    ]);
    assert_eq!(list["channels"], expected);
    let one = ask(&running, &material, "GET channels/mychannel").await;
    assert_eq!((one.status, one.json()), (200, shown));
    for block_id in ["newest", "oldest", "config", "0"] {
        let block = ask(&running, &material, &format!("GET channels/mychannel/blocks/{block_id}")).await;
        assert_eq!((block.status, &block.body), (200, &genesis), "{block_id}");
        assert!(block.has_header("content-type: application/octet-stream"), "{}", block.head);
    }
    let redirect = ask(&running, &material, "GET ").await;
    assert!(redirect.status == 302 && redirect.has_header("location: /participation/v1/channels"), "{}", redirect.head);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_get_fabric_statuses_and_say_what_is_wrong() {
    let material = Material::new();
    let running = Running::start(&material).await;
    let genesis = material.genesis(CHANNEL);
    join(&running, &material, &genesis).await;

    let again = post(&running, &material, "POST", &[("config-block", &genesis.encode_to_vec())]).await;
    assert_eq!((again.status, again.error().as_str()), (405, "cannot join: channel already exists"));
    assert!(again.has_header("allow: GET, DELETE"), "{}", again.head);

    let mut other = material.genesis("other");
    other.header.as_mut().unwrap().data_hash = vec![1; 32].into();
    let other = other.encode_to_vec();
    let mut later = material.genesis("later");
    later.header.as_mut().unwrap().number = 7;
    let later = later.encode_to_vec();
    let mut foreign = material.profile("foreign");
    let stranger = Material::new();
    foreign.orderer_organizations[0].consenters = stranger.profile("x").orderer_organizations[0].consenters.clone();
    let foreign = ripstop_channel::genesis::block(&foreign, [1; 24], std::time::SystemTime::now()).unwrap();
    let foreign = foreign.encode_to_vec();
    let forms: [(&[Part<'_>], &str); 7] = [
        (&[("other-field", b"x")], "form does not contains part key: config-block"),
        (&[("config-block", b"\xff\xff")], "cannot unmarshal file part config-block into a block"),
        (&[("config-block", b"")], "invalid join block: block is not a config block"),
        (&[("config-block", &other), ("more", b"x")], "form contains too many parts"),
        (&[("config-block", &other)], "Header.DataHash is different from Hash(block.Data)"),
        (&[("config-block", &later)], "onboarding"),
        (&[("config-block", &foreign)], "none of the channel's consenters has this orderer's TLS certificate"),
    ];
    for (parts, error) in forms {
        let answer = post(&running, &material, "POST", parts).await;
        assert_eq!(answer.status, 400, "{error}");
        assert!(answer.error().contains(error), "'{}' does not say '{error}'", answer.error());
    }
    let requests = [
        ("GET channels/nowhere", 404, "channel does not exist"),
        ("GET channels/No_Channel", 400, "invalid channel ID"),
        ("GET channels/mychannel/blocks/1", 404, "block 1 is not here"),
        ("GET channels/mychannel/blocks/last", 400, "invalid block ID: 'last'"),
        ("GET channels/nowhere/blocks/0", 404, "channel does not exist"),
        ("DELETE channels/nowhere", 404, "cannot remove: channel does not exist"),
        ("DELETE channels/mychannel", 501, "does not implement leaving a channel"),
        ("DELETE channels", 405, "invalid request method: DELETE"),
        ("POST channels", 400, "unsupported Content-Type"),
        ("POST channels/mychannel", 405, "invalid request method: POST"),
        ("POST channels/mychannel/blocks/0", 405, "invalid request method: POST"),
    ];
    for (request, status, error) in requests {
        let answer = ask(&running, &material, request).await;
        assert_eq!(answer.status, status, "{request}");
        assert!(answer.error().contains(error), "{request}: '{}' does not say '{error}'", answer.error());
    }
    let update = post(&running, &material, "PUT", &[("config-update-envelope", b"x")]).await;
    assert_eq!(update.status, 501);
    assert!(update.error().contains("updates of a channel's configuration"), "{}", update.error());
    let head = "GET /participation/v1/channels HTTP/1.1\r\naccept: text/html";
    let html = send(&running, &material, Some(&material.admin()), head, b"").await.unwrap();
    assert_eq!(html.status, 406);
    let list = ask(&running, &material, "GET channels").await.json();
    assert_eq!(list["channels"].as_array().unwrap().len(), 1, "nothing of all that was joined");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_without_a_certificate_of_the_administrators_gets_in() {
    let material = Material::new();
    let running = Running::start(&material).await;
    let head = "GET /participation/v1/channels HTTP/1.1";
    let stranger = Material::new().admin();
    for identity in [None, Some(&stranger)] {
        assert!(send(&running, &material, identity, head, b"").await.is_err());
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_unfinished_join_left_behind_is_removed_at_the_next_start() {
    let material = Material::new();
    let folder = material.data_folder().join("channels").join(CHANNEL);
    std::fs::create_dir_all(folder.join("raft")).unwrap();
    std::fs::write(folder.join("raft").join("spare"), b"half a file").unwrap();
    let running = Running::start(&material).await;
    assert!(!folder.exists());
    join(&running, &material, &material.genesis(CHANNEL)).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_whose_raft_log_is_lost_is_not_opened() {
    let material = Material::new();
    let running = Running::start(&material).await;
    join(&running, &material, &material.genesis(CHANNEL)).await;
    running.stop().await;
    std::fs::remove_dir_all(material.data_folder().join("channels").join(CHANNEL).join("raft")).unwrap();
    let error = ripstop_orderer::Orderer::start(material.settings(""), version()).await.err().unwrap().to_string();
    assert!(error.contains("has blocks but no Raft log"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_whose_blocks_are_lost_is_not_taken_for_an_unfinished_join() {
    let material = Material::new();
    let running = Running::start(&material).await;
    join(&running, &material, &material.genesis(CHANNEL)).await;
    running.stop().await;
    let folder = material.data_folder().join("channels").join(CHANNEL);
    std::fs::remove_dir_all(folder.join("blocks")).unwrap();
    let error = ripstop_orderer::Orderer::start(material.settings(""), version()).await.err().unwrap().to_string();
    assert!(error.contains("has a Raft log that was in use, but no blocks"), "{error}");
    assert!(folder.join("raft").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_tell_fabric_metrics() {
    let material = Material::new();
    let running = Running::start(&material).await;
    join(&running, &material, &material.genesis("measured")).await;
    let mut stream = TcpStream::connect(running.operations_address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let expected =
        ["consensus_etcdraft_cluster_size{channel=\"measured\"} 1", "ledger_blockchain_height{channel=\"measured\"} 1"];
    for metric in expected {
        assert!(text.contains(metric), "{metric} is not told");
    }
    running.stop().await;
}
