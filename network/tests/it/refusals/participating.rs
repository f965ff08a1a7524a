//! Channel participation: who may not get in, and what is refused to those who may.

use std::time::{Duration, Instant};

use prost::Message;
use ripstop_proto::common::Block;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::http::{client, exchange_tls};
use super::proposal::GARBAGE;
use super::stage::Stage;
use super::table::Table;

const CHANNELS: &str = "/participation/v1/channels";

/// The admin listener of the first orderer.
struct Admin<'a> {
    stage: &'a Stage,
    tls: TlsConnector,
    port: u16,
}

impl Admin<'_> {
    async fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> String {
        exchange_tls(&self.tls, self.port, &format!("{method} {path} HTTP/1.1{headers}"), body).await
    }

    /// Posts a form with these files.
    async fn join(&self, files: &[(&str, &[u8])]) -> String {
        let mut body = Vec::new();
        for (name, content) in files {
            let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n");
            body.extend_from_slice(&[head.as_bytes(), content, b"\r\n"].concat());
        }
        body.extend_from_slice(b"--b--\r\n");
        self.ask("POST", CHANNELS, "\r\ncontent-type: multipart/form-data; boundary=b", &body).await
    }

    fn genesis(&self) -> Block {
        let file = self.stage.network.dir().join("channel-artifacts/mychannel.block");
        Block::decode(&std::fs::read(file).unwrap()[..]).unwrap()
    }
}

pub(super) async fn run(stage: &Stage, table: &mut Table<'_>) {
    let organizations = stage.network.dir().join("organizations");
    let orderers = organizations.join("ordererOrganizations/example.com");
    let root = orderers.join("tlsca/tlsca.example.com-cert.pem");
    let port = stage.port("/orderers/0/admin_port");
    let of = |folder: std::path::PathBuf| Some((folder.join("client.crt"), folder.join("client.key")));
    let own = of(orderers.join("users/Admin@example.com/tls"));
    let others = of(organizations.join("peerOrganizations/org1.example.com/users/Admin@org1.example.com/tls"));
    let list = format!("GET {CHANNELS} HTTP/1.1");
    let got = exchange_tls(&client(&root, None), port, &list, b"").await;
    table.case("participation: no client certificate", got, "cut: received fatal alert: CertificateRequired").await;
    let got = exchange_tls(&client(&root, others), port, &list, b"").await;
    table.case("participation: another organization's certificate", got, "cut: received fatal alert: UnknownCA").await;
    silence(port, &client(&root, own.clone()), table).await;
    let admin = Admin { stage, tls: client(&root, own), port };
    requests(&admin, table).await;
    joins(&admin, table).await;
}

/// Whoever connects and says nothing keeps nobody out.
async fn silence(port: u16, tls: &TlsConnector, table: &mut Table<'_>) {
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let began = Instant::now();
    let got = exchange_tls(tls, port, &format!("GET {CHANNELS}/mychannel HTTP/1.1"), b"").await;
    // A handshake that nobody continues is given up after ten seconds.
    assert!(began.elapsed() < Duration::from_secs(5), "an admin waited {:?}", began.elapsed());
    table.case("participation: 100 silent connections", got, "200 {\"name\":\"mychannel\",…").await;
}

async fn requests(admin: &Admin<'_>, table: &mut Table<'_>) {
    let error = |status: u16, text: &str| format!("{status} {{\"error\":\"{text}\"}}");
    let wrong_id = "invalid channel ID: 'UPPER' is not [a-z][a-z0-9.-]* of at most 249 characters";
    for (name, method, path, headers, wanted) in [
        ("a channel that is not here", "GET", "/elsewhere", "", error(404, "channel does not exist")),
        ("a channel in capitals", "GET", "/UPPER", "", error(400, wrong_id)),
        ("a channel that is a path", "GET", "/..%2f..%2fetc", "", "400 {\"error\":\"invalid channel ID: …".to_owned()),
        ("a block that is not there", "GET", "/mychannel/blocks/4711", "", error(404, "block 4711 is not here")),
        (
            "a block that has no number",
            "GET",
            "/mychannel/blocks/first",
            "",
            error(400, "invalid block ID: 'first' not equal <newest|oldest|config|(number)>"),
        ),
        (
            "a number too large",
            "GET",
            "/mychannel/blocks/18446744073709551616",
            "",
            "400 {\"error\":\"invalid block ID: …".to_owned(),
        ),
        ("a method that is not allowed", "PATCH", "", "", error(405, "invalid request method: PATCH")),
        (
            "an answer in another form",
            "GET",
            "",
            "\r\naccept: text/html",
            error(406, "response Content-Type is application/json only"),
        ),
        (
            "removing a channel that is not here",
            "DELETE",
            "/elsewhere",
            "",
            error(404, "cannot remove: channel does not exist"),
        ),
        (
            "joining in another form",
            "POST",
            "",
            "\r\ncontent-type: text/plain",
            error(400, "unsupported Content-Type: [text/plain]"),
        ),
        (
            "a form without boundary",
            "POST",
            "",
            "\r\ncontent-type: multipart/form-data",
            "400 {\"error\":\"cannot parse Mime media type: …".to_owned(),
        ),
    ] {
        let got = admin.ask(method, &format!("{CHANNELS}{path}"), headers, b"").await;
        table.case(&format!("participation: {name}"), got, &wanted).await;
    }
    let got = admin.ask("GET", "/participation/v1/channels\0", "", b"").await;
    table.case("participation: a path that is none", got, "400 ").await;
    // The answer may be lost when the connection closes with bytes unread.
    let long = format!("GET /{} HTTP/1.1", "a".repeat(1 << 20));
    let got = exchange_tls(&admin.tls, admin.port, &long, b"").await;
    let refused = ["414 ", "431 ", "cut:"].iter().any(|refused| got.starts_with(refused));
    let text = if refused { "refused".to_owned() } else { got };
    table.case("participation: a path of a mebibyte", text, "refused").await;
}

async fn joins(admin: &Admin<'_>, table: &mut Table<'_>) {
    let genesis = admin.genesis();
    let good = genesis.encode_to_vec();
    let changed = |change: fn(&mut Block)| {
        let mut block = genesis.clone();
        change(&mut block);
        block.encode_to_vec()
    };
    let headless = changed(|block| block.header = None);
    let other_hash = changed(|block| block.header.as_mut().unwrap().data_hash = vec![7; 32].into());
    let no_metadata = changed(|block| block.metadata = None);
    let empty = changed(|block| block.data.as_mut().unwrap().data.clear());
    let large = vec![0; 2 << 20];
    let refused = |status: u16, text: &str| format!("{status} {{\"error\":\"{text}");
    for (name, files, wanted) in [
        (
            "a channel that is here",
            vec![("config-block", &good[..])],
            refused(405, "cannot join: channel already exists\"}"),
        ),
        ("no file", vec![], refused(400, "form does not contains part key: config-block\"}")),
        ("another file", vec![("block", &good)], refused(400, "form does not contains part key: config-block\"}")),
        (
            "two files",
            vec![("config-block", &good), ("config-block", &good)],
            refused(400, "form contains too many parts\"}"),
        ),
        (
            "garbage",
            vec![("config-block", GARBAGE)],
            refused(400, "cannot unmarshal file part config-block into a block: …"),
        ),
        ("nothing", vec![("config-block", b"")], refused(400, "invalid join block: block is not a config block\"}")),
        (
            "no header",
            vec![("config-block", &headless)],
            refused(400, "invalid join block: invalid block: does not have a header\"}"),
        ),
        (
            "another data hash",
            vec![("config-block", &other_hash)],
            refused(400, "invalid join block: invalid block: Header.DataHash is different from Hash(block.Data)\"}"),
        ),
        (
            "no metadata",
            vec![("config-block", &no_metadata)],
            refused(400, "invalid join block: invalid block: does not have metadata\"}"),
        ),
        (
            "no entry",
            vec![("config-block", &empty)],
            refused(400, "invalid join block: block is not a config block\"}"),
        ),
        (
            "more bytes than are read",
            vec![("config-block", &large)],
            refused(400, "cannot read form from request body: Request payload is too large\"}"),
        ),
    ] {
        table.case(&format!("participation: joining with {name}"), admin.join(&files).await, &wanted).await;
    }
}
