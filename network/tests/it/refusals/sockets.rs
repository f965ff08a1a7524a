//! What arrives before any message: bytes that are no protocol, old TLS, none at all,
//! headers and lengths without measure. Every port has to let go of it and serve on.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::grpc::{announced, call, call_with, framed};
use super::http::exchange;
use super::stage::{Stage, patiently};
use super::table::Table;

/// `ClientHello` of TLS 1.1, with two of its cipher suites and no extension.
const HELLO_TLS_1_1: &[u8] = &[
    22, 3, 1, 0, 47, 1, 0, 0, 43, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
    23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 0, 0, 4, 0xc0, 0x13, 0xc0, 0x14, 1, 0,
];
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const ENDORSE: &str = "/protos.Endorser/ProcessProposal";

pub(super) async fn run(stage: &Stage, table: &mut Table<'_>) {
    let tls = [
        ("the orderer", stage.port("/orderers/0/port")),
        ("participation", stage.port("/orderers/0/admin_port")),
        ("Org1's peer", stage.port("/organizations/0/peers/0/port")),
        ("Org2's peer", stage.port("/organizations/1/peers/0/port")),
    ];
    let plain = [
        ("the orderer's operations", stage.port("/orderers/0/operations_port")),
        ("the peer's operations", stage.port("/organizations/0/peers/0/operations_port")),
        ("the contract", stage.port("/contracts/0/port")),
    ];
    for (name, port) in tls {
        let got = send(port, HELLO_TLS_1_1).await;
        table.case(&format!("sockets: TLS 1.1 to {name}"), format!("{got:?}"), "[21, 3, 3, 0, 2, 2, 40]").await;
        let got = send(port, PREFACE).await;
        let text = if got.first() == Some(&21) { "an alert" } else { "something else" };
        table.case(&format!("sockets: no TLS to {name}"), text.to_owned(), "an alert").await;
    }
    let mut random = StdRng::seed_from_u64(7);
    for (name, port) in tls.into_iter().chain(plain) {
        for round in 0..8 {
            let mut garbage = vec![0; 1 << (2 * round)];
            random.fill_bytes(&mut garbage);
            send(port, &garbage).await;
        }
        table.case(&format!("sockets: garbage to {name}"), "it closed".to_owned(), "it closed").await;
    }
    operations(stage, table).await;
    messages(stage, table).await;
    promises(stage, table).await;
}

/// Sends bytes and the end of the stream; what comes back until the other side closes, too.
async fn send(port: u16, bytes: &[u8]) -> Vec<u8> {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // The other side may refuse before it has read everything.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    patiently("a port", exchange).await
}

async fn operations(stage: &Stage, table: &mut Table<'_>) {
    let port = stage.port("/organizations/0/peers/0/operations_port");
    let large = vec![b'a'; 4 << 20];
    for (name, head, body, wanted) in [
        ("a path that is not there", "GET /chaincode HTTP/1.1", &b""[..], "404 "),
        ("a method that is not allowed", "DELETE /metrics HTTP/1.1", b"", "405 "),
        ("a log filter that is none", "PUT /logspec HTTP/1.1", b"{\"spec\":\"no=such=filter\"}", "400 {\"error\":…"),
        (
            "a log filter that is no JSON",
            "PUT /logspec HTTP/1.1",
            b"\xff\xfe",
            "400 Request body didn't contain valid UTF-8: …",
        ),
        (
            "a body of 4 MiB",
            "PUT /logspec HTTP/1.1",
            &large,
            "413 Failed to buffer the request body: length limit exceeded",
        ),
    ] {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        table.case(&format!("operations: {name}"), exchange(stream, head, body).await, wanted).await;
    }
}

async fn messages(stage: &Stage, table: &mut Table<'_>) {
    let peer = &stage.own_connection().await;
    for (name, path, bytes, wanted) in [
        ("a service that is not there", "/protos.Nothing/Do", framed(0, 0), "Unimplemented: "),
        ("a method that is not there", "/protos.Endorser/Do", framed(0, 0), "Unimplemented: "),
        ("no message", ENDORSE, Bytes::new(), "Internal: Missing request message."),
        (
            "a message of 4 GiB by its length",
            ENDORSE,
            framed(0, u32::MAX),
            "OutOfRange: Error, decoded message length too large: found 4294967295 bytes, the limit is: 104857600 bytes",
        ),
        (
            "a message of one byte too much by its length",
            ENDORSE,
            framed(0, 104_857_601),
            "OutOfRange: Error, decoded message length too large: found 104857601 bytes, the limit is: 104857600 bytes",
        ),
        ("a message that ends early", ENDORSE, framed(0, 1000), "Internal: Missing request message."),
        (
            "a compressed message",
            ENDORSE,
            framed(1, 0),
            "Internal: protocol error: received message with compressed-flag but no grpc-encoding was specified",
        ),
        (
            "a flag that is none",
            ENDORSE,
            framed(9, 0),
            "Internal: protocol error: received message with invalid compression flag: 9 (valid flags are 0 and 1), while sending request",
        ),
    ] {
        let got = call(peer, path, bytes).await;
        table.case(&format!("grpc: {name}"), got, wanted).await;
    }
    let got = call_with(peer, ENDORSE, &[("grpc-timeout", "soon")], framed(0, 0)).await;
    table.case("grpc: a deadline that is none", got, "Unknown: ChaincodeHeaderExtension.ChaincodeId is nil").await;
    let giant = "a".repeat(200_000);
    let got = call_with(peer, ENDORSE, &[("giant", &giant)], framed(0, 0)).await;
    table.case("grpc: a header of 200,000 bytes", got, "cut: transport error").await;
}

/// Streams that announce large messages and send none must not cost their memory.
async fn promises(stage: &Stage, table: &mut Table<'_>) {
    let pid = stage.network.node("peer0.org1.example.com")["pid"].as_u64().unwrap();
    let before = resident_bytes(pid);
    let mut open = Vec::new();
    let connection = stage.own_connection().await;
    for _ in 0..200 {
        let peer = connection.clone();
        open.push(tokio::spawn(async move { announced(&peer, ENDORSE, 104_857_600).await }));
    }
    stage.commit_honestly().await;
    let grown = resident_bytes(pid).saturating_sub(before) >> 20;
    let text = if grown < 200 { "little".to_owned() } else { format!("{grown} MiB") };
    table.case("grpc: 200 announcements of 100 MiB each", text, "little").await;
    open.iter().for_each(tokio::task::JoinHandle::abort);
}

fn resident_bytes(pid: u64) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
