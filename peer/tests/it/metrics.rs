//! What `/metrics` shows, against the names and labels that Fabric's dashboards ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use ripstop_node::operations::Metrics;
use ripstop_peer::chaincode::host::HostSettings;
use ripstop_proto::protos::TxValidationCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::organizations::Organizations;
use crate::peers::{Call, TestNetwork};
use crate::run::Peer;

/// Fabric's metrics of a peer whose meaning exists here, with their labels. Of Fabric's list
/// are missing: CouchDB, gossip and containers, which there are none of, instantiation of
/// the lifecycle before 2.0, and entries checked before the filter of the log.
const METRICS: &[(&str, &[&str])] = &[
    ("chaincode_execute_timeouts", &["chaincode"]),
    ("chaincode_launch_duration", &["chaincode", "success"]),
    ("chaincode_launch_failures", &["chaincode"]),
    ("chaincode_shim_request_duration", &["channel", "chaincode", "success", "type"]),
    ("chaincode_shim_requests_completed", &["channel", "chaincode", "success", "type"]),
    ("chaincode_shim_requests_received", &["channel", "chaincode", "type"]),
    ("endorser_duplicate_transaction_failures", &["channel", "chaincode"]),
    ("endorser_endorsement_failures", &["channel", "chaincode", "chaincodeerror"]),
    ("endorser_proposal_acl_failures", &["channel", "chaincode"]),
    ("endorser_proposal_duration", &["channel", "chaincode", "success"]),
    ("endorser_proposal_simulation_failures", &["channel", "chaincode"]),
    ("endorser_proposal_validation_failures", &[]),
    ("endorser_proposals_received", &[]),
    ("endorser_successful_proposals", &[]),
    ("fabric_version", &["version"]),
    ("grpc_comm_conn_closed", &[]),
    ("grpc_comm_conn_opened", &[]),
    ("grpc_server_unary_request_duration", &["code", "method", "service"]),
    ("grpc_server_unary_requests_completed", &["code", "method", "service"]),
    ("grpc_server_unary_requests_received", &["method", "service"]),
    ("ledger_block_processing_time", &["channel"]),
    ("ledger_blockchain_height", &["channel"]),
    ("ledger_blockstorage_and_pvtdata_commit_time", &["channel"]),
    ("ledger_blockstorage_commit_time", &["channel"]),
    ("ledger_statedb_commit_time", &["channel"]),
    ("ledger_transaction_count", &["channel", "chaincode", "transaction_type", "validation_code"]),
    ("logging_entries_written", &["level"]),
];

pub(crate) async fn scrape(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// The label names of every series, by metric; the parts of a histogram are one metric.
fn labels_by_metric(text: &str) -> BTreeMap<String, BTreeSet<Vec<String>>> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut found: BTreeMap<_, BTreeSet<_>> = types.map(|(name, _)| (name.to_owned(), BTreeSet::new())).collect();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((series, _)) = line.rsplit_once(' ') else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let metric =
            [name, name.trim_end_matches("_bucket"), name.trim_end_matches("_sum"), name.trim_end_matches("_count")];
        let Some(metric) = metric.into_iter().find(|metric| found.contains_key(*metric)) else { continue };
        let names = labels.split(',').filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
        let mut names: Vec<String> = names.filter(|name| name != "le").collect();
        names.sort();
        found.get_mut(metric).unwrap().insert(names);
    }
    found
}

/// Things that are counted, on peers without a listener.
async fn what_is_counted() {
    let settings = HostSettings { execute_timeout: Duration::from_secs(2), ..HostSettings::default() };
    let (network, server) = TestNetwork::with_settings(settings).with_contract().await;
    let ([one, two], client) = (&network.peers, network.client());
    let put = Call::new("basic", &["put", "key", "value"]);
    network.submit(&put, client, &[one, two]).await;
    assert!(one.endorser.process(put.signed(client)).await.error.is_some(), "a duplicate");
    let reader = &network.organizations.org1.peer;
    assert!(one.endorser.process(put.signed(reader)).await.error.is_some(), "no writer");
    let mut unsigned = put.signed(client);
    unsigned.signature = Default::default();
    assert!(one.endorser.process(unsigned).await.error.is_some());
    assert_eq!(one.ask(&Call::new("basic", &["status", "400"]), client).await.0, 400);
    assert_eq!(one.ask(&Call::new("basic", &["silent"]), client).await.0, 500);
    drop(server);
    // The stream may take a moment to end, and nobody can be dialled any more after that.
    while !one.ask(&Call::new("basic", &["nothing"]), client).await.1.contains("could not launch") {}
    assert_eq!(network.commit("no transaction".into()).await, TxValidationCode::InvalidOtherReason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_tells_fabrics_metrics_with_their_labels_and_its_height_from_the_start() {
    // Peers of other tests count into the same recorder.
    Metrics::install();
    what_is_counted().await;
    let (organizations, data) = (Organizations::named("measured"), tempfile::tempdir().unwrap());
    let mut peer = Peer::start(&organizations, data.path()).await;
    peer.join(&organizations).await;
    peer.stop().await;
    metrics::gauge!("ledger_blockchain_height", "channel" => "measured").set(0.0);

    let mut peer = Peer::start(&organizations, data.path()).await;
    peer.channels(&organizations.org1.client).await;
    tracing::error!("this test writes to the log");
    let text = scrape(peer.operations).await;
    assert!(text.contains("ledger_blockchain_height{channel=\"measured\"} 1\n"), "{text}");
    let found = labels_by_metric(&text);
    for (metric, labels) in METRICS {
        let found = found.get(*metric).unwrap_or_else(|| panic!("{metric} is missing in {text}"));
        let mut labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        labels.sort();
        assert_eq!(found, &BTreeSet::from([labels]), "{metric}");
    }
    for line in [
        "chaincode_shim_requests_completed{channel=\"mychannel\",chaincode=\"basic_1.0:",
        "endorser_endorsement_failures{channel=\"mychannel\",chaincode=\"basic\",chaincodeerror=\"true\"}",
        "endorser_proposal_acl_failures{channel=\"mychannel\",chaincode=\"basic\"}",
        "grpc_server_unary_requests_completed{service=\"protos_Endorser\",method=\"ProcessProposal\",code=\"OK\"}",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    peer.stop().await;
}
