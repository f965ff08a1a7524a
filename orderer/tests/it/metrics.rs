//! What `/metrics` shows, against the names and labels that Fabric's dashboards ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use futures::stream;
use ripstop_proto::common::Status;
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster_calls::{submit, transaction};
use crate::cluster_world::{COUNT, Cluster};

/// Fabric's metrics of an orderer whose meaning exists here, with their labels. Of Fabric's
/// list are missing: config proposals, egress workers, connections and send times, and
/// entries checked before the filter of the log.
const METRICS: &[(&str, &[&str])] = &[
    ("blockcutter_block_fill_duration", &["channel"]),
    ("broadcast_enqueue_duration", &["channel", "status", "type"]),
    ("broadcast_processed_count", &["channel", "status", "type"]),
    ("broadcast_validate_duration", &["channel", "status", "type"]),
    ("cluster_comm_egress_queue_capacity", &["channel", "host", "msg_type"]),
    ("cluster_comm_egress_queue_length", &["channel", "host", "msg_type"]),
    ("cluster_comm_egress_stream_count", &["channel"]),
    ("cluster_comm_ingress_stream_count", &[]),
    ("cluster_comm_msg_dropped_count", &["channel", "host"]),
    ("consensus_etcdraft_active_nodes", &["channel"]),
    ("consensus_etcdraft_cluster_size", &["channel"]),
    ("consensus_etcdraft_committed_block_number", &["channel"]),
    ("consensus_etcdraft_data_persist_duration", &["channel"]),
    ("consensus_etcdraft_is_leader", &["channel"]),
    ("consensus_etcdraft_leader_changes", &["channel"]),
    ("consensus_etcdraft_normal_proposals_received", &["channel"]),
    ("consensus_etcdraft_snapshot_block_number", &["channel"]),
    ("deliver_blocks_sent", &["channel", "data_type", "filtered"]),
    ("deliver_requests_completed", &["channel", "data_type", "filtered", "success"]),
    ("deliver_requests_received", &["channel", "data_type", "filtered"]),
    ("deliver_streams_closed", &[]),
    ("deliver_streams_opened", &[]),
    ("fabric_version", &["version"]),
    ("grpc_comm_conn_closed", &[]),
    ("grpc_comm_conn_opened", &[]),
    ("grpc_server_stream_messages_received", &["method", "service"]),
    ("grpc_server_stream_messages_sent", &["method", "service"]),
    ("grpc_server_stream_request_duration", &["code", "method", "service"]),
    ("grpc_server_stream_requests_completed", &["code", "method", "service"]),
    ("grpc_server_stream_requests_received", &["method", "service"]),
    ("ledger_blockchain_height", &["channel"]),
    ("ledger_blockstorage_commit_time", &["channel"]),
    ("logging_entries_written", &["level"]),
    ("participation_consensus_relation", &["channel"]),
    ("participation_status", &["channel"]),
];

async fn scrape(address: SocketAddr) -> String {
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

#[tokio::test(flavor = "multi_thread")]
async fn an_orderer_tells_fabrics_metrics_with_their_labels() {
    let cluster = Cluster::start(COUNT).await;
    let running = cluster.running[cluster.leader().await].as_ref().unwrap();
    let connection = running.connect(&cluster.material).await;
    let outcomes = submit(connection.clone(), &[transaction(&cluster.material, "measured")]).await.unwrap();
    assert_eq!(outcomes[0].status(), Status::Success);
    let sent = stream::iter([transaction(&cluster.material, "broadcast")]);
    let mut answers = AtomicBroadcastClient::new(connection).broadcast(sent).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    cluster.same_chain("last").await;
    tracing::error!("this test writes to the log");

    let text = scrape(running.operations_address).await;
    let found = labels_by_metric(&text);
    for (metric, labels) in METRICS {
        let found = found.get(*metric).unwrap_or_else(|| panic!("{metric} is missing in {text}"));
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        assert_eq!(found, &BTreeSet::from([labels]), "{metric}");
    }
    for line in [
        "consensus_etcdraft_cluster_size{channel=\"mychannel\"} ",
        "participation_status{channel=\"mychannel\"} 1",
        "participation_consensus_relation{channel=\"mychannel\"} 1",
        "grpc_server_stream_requests_received{service=\"orderer_AtomicBroadcast\",method=\"Broadcast\"}",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    cluster.stop_all().await;
}
