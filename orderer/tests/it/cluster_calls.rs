//! What clients, other consenters and strangers ask of the orderers of a cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use parking_lot::Mutex;
use prost::Message;
use ripstop_node::transport::Dialer;
use ripstop_proto::common::{Block, Envelope, HeaderType, Status};
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::orderer::seek_info::SeekErrorResponse;
use ripstop_proto::orderer::seek_position::Type as Position;
use ripstop_proto::orderer::{SeekInfo, SeekPosition, SeekSpecified, deliver_response};
use ripstop_proto::ripstop::v1::ordering_client::OrderingClient;
use ripstop_proto::ripstop::v1::{SubmitItem, SubmitOutcome, SubmitRequest};
use tonic::transport::Channel;

use crate::cluster_world::{COUNT, Cluster};
use crate::material::{CHANNEL, Material, Running, advertised, signed};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

pub(crate) fn transaction(material: &Material, content: &str) -> Envelope {
    signed(&material.user(), CHANNEL, HeaderType::EndorserTransaction, content.as_bytes())
}

/// Submits envelopes on one stream; the outcomes in the order of the envelopes.
pub(crate) async fn submit(connection: Channel, envelopes: &[Envelope]) -> Result<Vec<SubmitOutcome>, tonic::Status> {
    let items = (0..).zip(envelopes).map(|(correlation_id, envelope)| SubmitItem {
        correlation_id,
        channel_id: CHANNEL.to_owned(),
        envelope: envelope.encode_to_vec().into(),
    });
    let request = SubmitRequest { items: items.collect() };
    let mut answers = OrderingClient::new(connection).submit(stream::iter([request])).await?.into_inner();
    let mut outcomes = Vec::new();
    while outcomes.len() < envelopes.len()
        && let Some(answer) = answers.message().await?
    {
        outcomes.extend(answer.outcomes);
    }
    outcomes.sort_by_key(|outcome: &SubmitOutcome| outcome.correlation_id);
    Ok(outcomes)
}

/// The blocks of an orderer, also of one that has no leader, until `is_last` is one of them.
pub(crate) async fn blocks_until(
    running: &Running,
    material: &Material,
    is_last: impl Fn(&Block) -> bool,
) -> Vec<Block> {
    let at = |number| Some(SeekPosition { r#type: Some(Position::Specified(SeekSpecified { number })) });
    let error_response = SeekErrorResponse::BestEffort.into();
    let seek = SeekInfo { start: at(0), stop: at(u64::MAX), error_response, ..SeekInfo::default() };
    let request = signed(&material.user(), CHANNEL, HeaderType::DeliverSeekInfo, &seek.encode_to_vec());
    let mut client = AtomicBroadcastClient::new(running.connect(material).await);
    let mut answers = client.deliver(stream::iter([request])).await.unwrap().into_inner();
    let mut blocks = Vec::new();
    loop {
        let answer = tokio::time::timeout(PATIENCE, answers.message()).await.expect("a block in time");
        match answer.unwrap().unwrap().r#type.unwrap() {
            deliver_response::Type::Block(block) => blocks.push(block),
            deliver_response::Type::Status(status) => panic!("status {status} after {} blocks", blocks.len()),
        }
        if blocks.last().is_some_and(&is_last) {
            return blocks;
        }
    }
}

/// Blocks 0 to `last`.
pub(crate) async fn blocks(running: &Running, material: &Material, last: u64) -> Vec<Block> {
    blocks_until(running, material, |block| block.header.as_ref().unwrap().number == last).await
}

pub(crate) fn entries(blocks: &[Block]) -> Vec<Bytes> {
    blocks[1..].iter().flat_map(|block| block.data.clone().unwrap().data).collect()
}

impl Cluster {
    /// Submits one more envelope through whoever takes it, then reads the chain of every
    /// running orderer up to it: all are equal. Returns it.
    pub(crate) async fn same_chain(&self, last: &str) -> Vec<Block> {
        let last = transaction(&self.material, last);
        let load = Load::over(self);
        load.submit_until_ordered(&last, 0).await;
        let bytes = Bytes::from(last.encode_to_vec());
        let mut chains: Vec<Vec<Block>> = Vec::new();
        for running in self.running.iter().flatten() {
            let has_last = |block: &Block| block.data.as_ref().unwrap().data.contains(&bytes);
            chains.push(blocks_until(running, &self.material, has_last).await);
        }
        for chain in &chains[1..] {
            let without_metadata = |block: &Block| (block.header.clone(), block.data.clone());
            assert_eq!(
                chain.iter().map(without_metadata).collect::<Vec<_>>(),
                chains[0].iter().map(without_metadata).collect::<Vec<_>>()
            );
        }
        chains.swap_remove(0)
    }

    /// The index of the orderer that leads, by what orderers answer to one of their own: they
    /// do not forward for each other.
    pub(crate) async fn leader(&self) -> usize {
        let started = tokio::time::Instant::now();
        loop {
            for index in 0..COUNT {
                let Some(running) = &self.running[index] else { continue };
                let identity = self.identity((index + 1) % COUNT);
                let connection = running.connect_as(&self.material, Some(&identity)).await;
                let question = [transaction(&self.material, "who leads?")];
                let asked = submit(connection, &question);
                let outcome = tokio::time::timeout(Duration::from_secs(3), asked).await;
                if let Ok(Ok(outcomes)) = outcome
                    && outcomes[0].status() == Status::Success
                {
                    return index;
                }
            }
            assert!(started.elapsed() < PATIENCE, "nobody leads");
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Submits from several tasks until told to end, each envelope again until it is ordered.
pub(crate) struct Load {
    addresses: Arc<Mutex<Vec<Option<SocketAddr>>>>,
    acknowledged: Arc<Mutex<Vec<(Bytes, tokio::time::Instant)>>>,
    ending: Arc<AtomicBool>,
    tls_root: Vec<u8>,
    user: Arc<ripstop_msp::SigningIdentity>,
}

impl Load {
    pub(crate) fn over(cluster: &Cluster) -> Self {
        Self {
            addresses: Arc::new(Mutex::new(cluster.addresses())),
            acknowledged: Arc::default(),
            ending: Arc::default(),
            tls_root: cluster.material.tls_root(),
            user: Arc::new(cluster.material.user()),
        }
    }

    /// Orderers that were started again listen elsewhere.
    pub(crate) fn follow(&self, cluster: &Cluster) {
        *self.addresses.lock() = cluster.addresses();
    }

    /// Begins; the tasks end when [`Load::end`] is called.
    pub(crate) fn begin(self: &Arc<Self>, tasks: usize) -> Vec<tokio::task::JoinHandle<()>> {
        let task = |task: usize| {
            let load = Arc::clone(self);
            tokio::spawn(async move {
                let mut number = 0;
                while !load.ending.load(Ordering::Relaxed) {
                    let content = format!("task {task}, number {number}");
                    let envelope = signed(&load.user, CHANNEL, HeaderType::EndorserTransaction, content.as_bytes());
                    load.submit_until_ordered(&envelope, task).await;
                    load.acknowledged.lock().push((envelope.encode_to_vec().into(), tokio::time::Instant::now()));
                    number += 1;
                }
            })
        };
        (0..tasks).map(task).collect()
    }

    /// Sends the same envelope to one orderer after the other until one has ordered it.
    pub(crate) async fn submit_until_ordered(&self, envelope: &Envelope, first: usize) {
        let started = tokio::time::Instant::now();
        for index in (0..COUNT).cycle().skip(first % COUNT) {
            assert!(started.elapsed() < PATIENCE, "no orderer orders an envelope");
            let Some(address) = self.addresses.lock()[index] else { continue };
            let dialer = Dialer::new([(advertised(index), address.to_string())].into());
            let connection = dialer.connect(&advertised(index), std::slice::from_ref(&self.tls_root), None).await;
            let Ok(connection) = connection else { continue };
            let one = std::slice::from_ref(envelope);
            let outcome = tokio::time::timeout(Duration::from_secs(4), submit(connection, one)).await;
            if let Ok(Ok(outcomes)) = outcome
                && outcomes.first().is_some_and(|outcome| outcome.status() == Status::Success)
            {
                return;
            }
        }
    }

    /// Waits until `count` further envelopes are acknowledged; how long that took.
    pub(crate) async fn progress(&self, count: usize) -> Duration {
        let started = tokio::time::Instant::now();
        let before = self.acknowledged.lock().len();
        while self.acknowledged.lock().len() < before + count {
            assert!(started.elapsed() < PATIENCE, "the load stands still");
            tokio::time::sleep(POLL).await;
        }
        started.elapsed()
    }

    /// Ends the load; everything that was acknowledged.
    pub(crate) async fn end(&self, tasks: Vec<tokio::task::JoinHandle<()>>) -> Vec<Bytes> {
        self.ending.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.unwrap();
        }
        self.acknowledged.lock().iter().map(|(envelope, _)| envelope.clone()).collect()
    }
}
