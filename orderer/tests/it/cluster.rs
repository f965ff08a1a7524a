//! Three orderers over TLS sockets: leaders that are lost, consenters that come late, and
//! messages of strangers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_node::transport::ClientIdentity;
use ripstop_proto::common::{Envelope, Status};
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::ripstop::v1::cluster_client::ClusterClient;
use ripstop_proto::ripstop::v1::{RaftMessage, RaftMessageKind, StepRequest};
use tonic::Code;

use crate::cluster_calls::{Load, PATIENCE, blocks, entries, submit, transaction};
use crate::cluster_world::{COUNT, Cluster};
use crate::material::CHANNEL;

#[tokio::test(flavor = "multi_thread")]
async fn every_orderer_takes_envelopes_and_all_write_the_same_blocks() {
    let cluster = Cluster::start(COUNT).await;
    // Before anybody leads, envelopes wait.
    for (index, running) in cluster.running.iter().enumerate() {
        let envelopes: Vec<Envelope> =
            (0..20).map(|number| transaction(&cluster.material, &format!("{index}: {number}"))).collect();
        let connection = running.as_ref().unwrap().connect(&cluster.material).await;
        let outcomes = submit(connection.clone(), &envelopes).await.unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.status() == Status::Success), "{outcomes:?}");
        let refused = submit(connection.clone(), &[Envelope::default()]).await.unwrap();
        assert_eq!(refused[0].status(), Status::BadRequest, "{refused:?}");
        let mut client = AtomicBroadcastClient::new(connection);
        let sent = stream::iter([transaction(&cluster.material, &format!("{index}: broadcast"))]);
        let answer = client.broadcast(sent).await.unwrap().into_inner().message().await.unwrap().unwrap();
        assert_eq!(answer.status(), Status::Success, "{}", answer.info);
    }
    let chain = cluster.same_chain("last").await;
    let config = ChannelConfig::from_block(&cluster.genesis).unwrap();
    chain[1..].iter().for_each(|block| config.check_block_signatures(block).unwrap());
    let ordered = entries(&chain);
    assert!(ordered.len() >= 61, "only {}", ordered.len());
    for index in 0..COUNT {
        let broadcast = transaction(&cluster.material, &format!("{index}: 19"));
        assert_eq!(ordered.iter().filter(|entry| same_payload(entry, &broadcast)).count(), 1);
    }
    cluster.stop_all().await;
}

/// Signatures differ each time, what is signed does not, within a second.
fn same_payload(entry: &Bytes, envelope: &Envelope) -> bool {
    let content = |envelope: &Envelope| {
        ripstop_proto::common::Payload::decode(envelope.payload.clone()).map(|payload| payload.data).unwrap()
    };
    content(&Envelope::decode(entry.clone()).unwrap()) == content(envelope)
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_stops_another_serves_and_nothing_that_was_acknowledged_is_lost() {
    let mut cluster = Cluster::start(COUNT).await;
    let load = Arc::new(Load::over(&cluster));
    let tasks = load.begin(6);
    load.progress(20).await;
    for _ in 0..3 {
        let leader = cluster.leader().await;
        cluster.stop(leader).await;
        load.follow(&cluster);
        let without = load.progress(6).await;
        assert!(without < Duration::from_secs(6), "nobody served for {without:?}");
        cluster.restart(leader).await;
        load.follow(&cluster);
        load.progress(10).await;
    }
    let acknowledged = load.end(tasks).await;
    let ordered = entries(&cluster.same_chain("last").await);
    assert!(acknowledged.iter().all(|envelope| ordered.contains(envelope)), "an acknowledged envelope is lost");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_nobody_hears_is_replaced_and_steps_down_when_it_is_heard_again() {
    let cluster = Cluster::start(COUNT).await;
    let load = Arc::new(Load::over(&cluster));
    let tasks = load.begin(6);
    load.progress(20).await;
    let first = cluster.leader().await;
    cluster.freeze(first, true);
    load.progress(40).await;
    cluster.freeze(first, false);
    load.progress(20).await;
    let acknowledged = load.end(tasks).await;
    let ordered = entries(&cluster.same_chain("last").await);
    assert!(acknowledged.iter().all(|envelope| ordered.contains(envelope)), "an acknowledged envelope is lost");
    assert_ne!(cluster.leader().await, first);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_envelopes_are_refused_and_blocks_withheld() {
    let mut cluster = Cluster::start(COUNT).await;
    let leader = cluster.leader().await;
    for index in (0..COUNT).filter(|index| *index != leader) {
        cluster.stop(index).await;
    }
    let running = cluster.running[leader].as_ref().unwrap();
    let envelope = transaction(&cluster.material, "nobody agrees");
    let asked = async {
        loop {
            let connection = running.connect(&cluster.material).await;
            let outcome = submit(connection, std::slice::from_ref(&envelope)).await.unwrap().remove(0);
            assert_eq!(outcome.status(), Status::ServiceUnavailable);
            if outcome.info == "no Raft leader" {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap();
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consenter_that_joins_late_fetches_the_blocks_that_the_log_no_longer_has() {
    let mut cluster = Cluster::start(2).await;
    let leader = cluster.leader().await;
    let connection = cluster.running[leader].as_ref().unwrap().connect(&cluster.material).await;
    let content = "x".repeat(60_000);
    // Far more than what the log keeps.
    for round in 0..10 {
        let envelopes: Vec<Envelope> =
            (0..30).map(|number| transaction(&cluster.material, &format!("{round} {number} {content}"))).collect();
        let outcomes = submit(connection.clone(), &envelopes).await.unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.status() == Status::Success));
    }
    cluster.restart(2).await;
    cluster.join(2).await;
    let chain = cluster.same_chain("after the late one joined").await;
    assert!(entries(&chain).len() > 300);
    // What the late one has are the blocks of those from whom it fetched them, signatures too.
    let late = blocks(cluster.running[2].as_ref().unwrap(), &cluster.material, 20).await;
    let mut others = Vec::new();
    for index in 0..2 {
        others.push(blocks(cluster.running[index].as_ref().unwrap(), &cluster.material, 20).await);
    }
    assert!((1..=20).all(|number| others.iter().any(|other| other[number] == late[number])), "they were not fetched");

    // Now it is needed for a majority; and it still is, after a restart.
    cluster.stop(1 - leader).await;
    cluster.same_chain("with the late one").await;
    cluster.stop(2).await;
    cluster.restart(2).await;
    cluster.same_chain("with the late one, started again").await;
    cluster.stop_all().await;
}

/// What the orderer answers to a stream of requests.
async fn step(
    cluster: &Cluster,
    identity: Option<&ClientIdentity>,
    requests: Vec<StepRequest>,
) -> Result<(), tonic::Status> {
    let running = cluster.running[0].as_ref().unwrap();
    let connection = running.connect_as(&cluster.material, identity).await;
    ClusterClient::new(connection).step(stream::iter(requests)).await.map(|_| ())
}

fn request(channel_id: &str, messages: &[&[u8]]) -> StepRequest {
    let messages = messages.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect();
    StepRequest { channel_id: channel_id.to_owned(), messages }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_strangers_and_messages_that_are_none_are_refused() {
    let cluster = Cluster::start(COUNT).await;
    let leader = cluster.leader().await;
    let heartbeat = |from, to, term, commit| {
        let kind = RaftMessageKind::Heartbeat.into();
        RaftMessage { kind, from, to, term, commit, ..RaftMessage::default() }.encode_to_vec()
    };
    let good = heartbeat(2, 1, 1, 0);
    // Of the right authority, and no consenter.
    let stranger = cluster.material.admin();
    let refused = step(&cluster, Some(&stranger), vec![request(CHANNEL, &[&good])]).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains("is not the certificate of a consenter"), "{refused}");
    let refused = step(&cluster, Some(&stranger), vec![request("other", &[&good])]).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let refused = step(&cluster, None, vec![request(CHANNEL, &[&good])]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");

    let consenter = cluster.identity(1);
    let refused = step(&cluster, Some(&consenter), vec![request("other", &[&good])]).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
    let of_unknown_kind = RaftMessage { kind: 77, ..RaftMessage::default() }.encode_to_vec();
    for garbage in [&b"\xff\xff\xff"[..], &[0x3a; 1000], &of_unknown_kind] {
        let refused = step(&cluster, Some(&consenter), vec![request(CHANNEL, &[garbage])]).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().starts_with("not a Raft message: "), "{refused}");
    }
    // These decode, and the algorithm never sees them.
    let lies = [
        heartbeat(3, 1, 1, 0),
        heartbeat(2, 3, 1, 0),
        heartbeat(2, 1, u64::MAX, 0),
        heartbeat(2, 1, 1, u64::MAX / 4),
        RaftMessage {
            kind: RaftMessageKind::Append.into(),
            from: 2,
            to: 1,
            term: 1,
            index: u64::MAX,
            ..RaftMessage::default()
        }
        .encode_to_vec(),
        RaftMessage { kind: RaftMessageKind::Snapshot.into(), from: 2, to: 1, term: 1, ..RaftMessage::default() }
            .encode_to_vec(),
    ];
    let lies: Vec<&[u8]> = lies.iter().map(Vec::as_slice).collect();
    step(&cluster, Some(&consenter), vec![request(CHANNEL, &lies)]).await.unwrap();
    cluster.same_chain("nothing has happened").await;
    assert_eq!(cluster.leader().await, leader, "the same consenter leads");
    cluster.stop_all().await;
}
