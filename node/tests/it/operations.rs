//! Operations HTTP over a real socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ripstop_node::operations::{self, HealthChecks, Limits, Metrics, Operations, Version};
use ripstop_node::{CancellationToken, logging};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn ask(address: std::net::SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

#[tokio::test]
async fn an_operator_sees_health_version_metrics_and_log_filter() {
    let health = HealthChecks::default();
    let ill = Arc::new(AtomicBool::new(false));
    let is_ill = ill.clone();
    health.register("disk", move || if is_ill.load(Ordering::SeqCst) { Err("full".to_owned()) } else { Ok(()) });
    health.register("consensus", || Ok(()));
    let metrics = Metrics::install();
    metrics::counter!("broadcast_processed_count", "channel" => "mychannel", "status" => "SUCCESS").increment(3);
    metrics::histogram!("ledger_block_processing_time", "channel" => "mychannel").record(0.003);
    let version = Version { commit: "0123abc".to_owned(), version: "1.2.3".to_owned() };
    let operations = Operations { metrics, version, health, log_spec: logging::init() };
    let listener = operations::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(operations::serve(listener, operations, Limits::default(), shutdown.clone()));

    let well = ask(address, "GET", "/healthz", "").await;
    assert_eq!(well.status, 200);
    assert!(well.head.contains("content-type: application/json"));
    assert!(well.body.starts_with(r#"{"status":"OK","time":"20"#) && well.body.ends_with("Z\"}"), "{}", well.body);
    ill.store(true, Ordering::SeqCst);
    let unwell = ask(address, "GET", "/healthz", "").await;
    assert_eq!(unwell.status, 503);
    assert!(unwell.body.starts_with(r#"{"status":"Service Unavailable","time":"#), "{}", unwell.body);
    assert!(unwell.body.ends_with(r#""failed_checks":[{"component":"disk","reason":"full"}]}"#), "{}", unwell.body);

    let version = ask(address, "GET", "/version", "").await;
    assert_eq!((version.status, &version.body[..]), (200, r#"{"CommitSHA":"0123abc","Version":"1.2.3"}"#));

    let metrics = ask(address, "GET", "/metrics", "").await;
    assert!(metrics.head.contains("text/plain; version=0.0.4"));
    for line in [
        r#"broadcast_processed_count{channel="mychannel",status="SUCCESS"} 3"#,
        r#"ledger_block_processing_time_bucket{channel="mychannel",le="0.005"} 1"#,
        r#"ledger_block_processing_time_bucket{channel="mychannel",le="0.0025"} 0"#,
        r#"fabric_version{version="1.2.3"} 1"#,
    ] {
        assert!(metrics.body.contains(line), "{line} is not in {}", metrics.body);
    }

    let put = ask(address, "PUT", "/logspec", r#"{"spec":"peer.gateway=debug:warn"}"#).await;
    assert_eq!((put.status, &put.body[..]), (204, ""));
    let got = ask(address, "GET", "/logspec", "").await;
    assert_eq!((got.status, &got.body[..]), (200, r#"{"spec":"peer.gateway=debug:warn"}"#));
    for wrong in [r#"{"spec":"loud"}"#, r#"{"level":"info"}"#, "info", ""] {
        let refused = ask(address, "PUT", "/logspec", wrong).await;
        assert_eq!(refused.status, 400, "{wrong}");
        assert!(refused.body.starts_with(r#"{"error":""#), "{}", refused.body);
    }
    assert_eq!(ask(address, "POST", "/logspec", "").await.status, 400);
    assert_eq!(ask(address, "GET", "/logspec", "").await.body, r#"{"spec":"peer.gateway=debug:warn"}"#);
    assert_eq!(ask(address, "GET", "/elsewhere", "").await.status, 404);

    let open = TcpStream::connect(address).await.unwrap();
    shutdown.cancel();
    serving.await.unwrap();
    drop(open);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

/// What a client reads until the node hangs up.
async fn heard(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    // A reset instead of an end is a way to hang up, too.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("the node hangs up");
    text
}

#[tokio::test]
async fn clients_that_draw_out_their_request_keep_no_place() {
    let limits = Limits { connections_max: 2, request_timeout: Duration::from_millis(300) };
    let version = Version { commit: String::new(), version: String::new() };
    let operations =
        Operations { metrics: Metrics::install(), version, health: HealthChecks::default(), log_spec: logging::init() };
    let listener = operations::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(operations::serve(listener, operations, limits, shutdown.clone()));

    // All places are taken by clients who say nothing, half a head, half a body.
    let beginnings =
        ["", "GET /healthz HTTP/1.1\r\nhost: n", "PUT /logspec HTTP/1.1\r\nhost: node\r\ncontent-length: 9\r\n\r\n{"];
    let mut slow = Vec::new();
    for beginning in beginnings {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    assert_eq!(ask(address, "GET", "/healthz", "").await.status, 200, "the next one gets a place in time");
    for mut stream in slow {
        let text = heard(&mut stream).await;
        assert!(!text.contains("200"), "{text}");
    }

    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\nlong: {}", "x".repeat(100_000)).as_bytes()).await;
    let text = heard(&mut stream).await;
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
    shutdown.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let first = operations::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = first.local_addr().unwrap();
    let error = operations::bind(address).await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("operations-listen"), "{error}");
}
