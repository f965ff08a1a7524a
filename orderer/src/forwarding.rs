//! From a follower to the leader: envelopes that came to the wrong consenter.
//!
//! They travel over `ripstop.v1.Ordering/Submit`, and whoever waits for an envelope's outcome
//! is told the leader's answer. The leader checks each envelope itself, under its own
//! configuration. When it is lost, everybody who waits is told to send again: whether the
//! envelope was ordered is not known here. What another consenter has forwarded is never
//! forwarded again.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{Stream, stream};
use parking_lot::Mutex;
use ripstop_node::logging::Seldom;
use ripstop_node::transport::MESSAGE_BYTES_MAX;
use ripstop_proto::common::Status as Answer;
use ripstop_proto::ripstop::v1::ordering_client::OrderingClient;
use ripstop_proto::ripstop::v1::{SubmitItem, SubmitOutcome, SubmitRequest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::chain::{Leadership, Order, Orders};
use crate::members::{Caller, Member, Members};
use crate::receipt::Receipt;

/// Envelopes that may wait for the stream; more make their senders wait.
const WAITING_MAX: usize = 1024;
/// A request takes no further envelope once it holds this many bytes, or items.
const REQUEST_BYTES_TARGET: usize = 1 << 20;
const REQUEST_ITEMS_MAX: usize = 1024;
/// Bytes that one permit of the room stands for.
const ROOM_UNIT_BYTES: usize = 1024;

/// Forwards the envelopes of one channel.
pub(crate) struct Forwarding {
    channel_id: Arc<str>,
    members: Arc<Members>,
    caller: Caller,
    leadership: watch::Receiver<Leadership>,
    room: Arc<Semaphore>,
    room_units: u32,
    current: Mutex<Option<(u64, Arc<Leader>)>>,
    endings: Arc<Seldom>,
}

/// The stream to one leader.
struct Leader {
    items: mpsc::Sender<SubmitItem>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next_correlation_id: u64,
    receipts: HashMap<u64, Receipt>,
    ended: bool,
}

impl Forwarding {
    /// Forwards with at most `bytes_max` bytes under way.
    pub(crate) fn new(
        channel_id: &str,
        members: Arc<Members>,
        caller: Caller,
        leadership: watch::Receiver<Leadership>,
        bytes_max: u32,
    ) -> Self {
        let room_units = bytes_max.div_ceil(ROOM_UNIT_BYTES as u32).max(1);
        Self {
            channel_id: channel_id.into(),
            members,
            caller,
            leadership,
            room: Arc::new(Semaphore::new(room_units as usize)),
            room_units,
            current: Mutex::new(None),
            endings: Arc::default(),
        }
    }

    /// Room for an envelope, if there is any now.
    pub(crate) fn room_for(&self, order: &Order) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_many_owned(self.units(order)).ok()
    }

    fn units(&self, order: &Order) -> u32 {
        (order.size / ROOM_UNIT_BYTES + 1).min(self.room_units as usize) as u32
    }

    /// Sends envelopes to the leader, waiting for room. Returns when they are on their way;
    /// what becomes of them, the items are told.
    pub(crate) async fn forward(&self, leader: u64, orders: Orders) {
        let stream = self.stream_to(leader);
        for (order, item) in orders {
            let Ok(room) = Arc::clone(&self.room).acquire_many_owned(self.units(&order)).await else { return };
            let receipt = Receipt::new(room, item);
            let Some(stream) = &stream else {
                receipt.refused(&lost(leader));
                continue;
            };
            let Some(correlation_id) = stream.register(receipt, leader) else { continue };
            let item = SubmitItem { correlation_id, channel_id: self.channel_id.to_string(), envelope: order.envelope };
            if stream.items.send(item).await.is_err() {
                stream.end(leader);
            }
        }
    }

    /// The open stream to the leader, or a new one.
    fn stream_to(&self, id: u64) -> Option<Arc<Leader>> {
        let mut current = self.current.lock();
        if let Some((leader, stream)) = current.as_ref()
            && *leader == id
            && !stream.waiting.lock().ended
        {
            return Some(Arc::clone(stream));
        }
        let member = self.members.get(id)?.clone();
        let (items, waiting) = mpsc::channel(WAITING_MAX);
        let stream = Arc::new(Leader { items, waiting: Mutex::default() });
        let (members, caller) = (Arc::clone(&self.members), self.caller.clone());
        let (mut leadership, leader, channel_id) =
            (self.leadership.clone(), Arc::clone(&stream), Arc::clone(&self.channel_id));
        let endings = Arc::clone(&self.endings);
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = leader.run(&members, &member, &caller, waiting) => ended,
                // Also when the chain has ended.
                _ = leadership.wait_for(|leadership| leadership.leader != Some(id)) => "it leads no more".to_owned(),
            };
            tracing::debug!(channel_id = &*channel_id, leader = id, "forwarding to the leader ended: {ended}");
            // Each envelope that meets a lost leader tries again.
            if let Some(count) = endings.note(std::time::Instant::now()) {
                tracing::info!(
                    channel_id = &*channel_id,
                    leader = id,
                    count,
                    "forwarding to the leader ended: {ended}"
                );
            }
            leader.end(id);
        });
        *current = Some((id, Arc::clone(&stream)));
        Some(stream)
    }
}

impl Leader {
    /// Keeps a receipt until its outcome comes; refuses it when the stream has ended.
    fn register(&self, receipt: Receipt, id: u64) -> Option<u64> {
        let mut waiting = self.waiting.lock();
        if waiting.ended {
            drop(waiting);
            receipt.refused(&lost(id));
            return None;
        }
        waiting.next_correlation_id += 1;
        let correlation_id = waiting.next_correlation_id;
        waiting.receipts.insert(correlation_id, receipt);
        Some(correlation_id)
    }

    /// Runs the stream until it ends; says why it did.
    async fn run(
        &self,
        members: &Members,
        member: &Member,
        caller: &Caller,
        waiting: mpsc::Receiver<SubmitItem>,
    ) -> String {
        let connection = match members.connect(member, caller).await {
            Ok(connection) => connection,
            Err(error) => return error.to_string(),
        };
        let mut client = OrderingClient::new(connection)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut responses = match client.submit(requests(waiting)).await {
            Ok(responses) => responses.into_inner(),
            Err(status) => return status.message().to_owned(),
        };
        loop {
            match responses.message().await {
                Ok(Some(response)) => response.outcomes.into_iter().for_each(|outcome| self.answer(outcome)),
                Ok(None) => return "it ended the stream".to_owned(),
                Err(status) => return status.message().to_owned(),
            }
        }
    }

    fn answer(&self, outcome: SubmitOutcome) {
        let receipt = self.waiting.lock().receipts.remove(&outcome.correlation_id);
        if let Some(receipt) = receipt {
            let status = Answer::try_from(outcome.status).unwrap_or(Answer::ServiceUnavailable);
            receipt.answered(status, &outcome.info);
        }
    }

    /// Tells everybody who waits that nothing more comes.
    fn end(&self, id: u64) {
        let receipts = {
            let mut waiting = self.waiting.lock();
            waiting.ended = true;
            std::mem::take(&mut waiting.receipts)
        };
        receipts.into_values().for_each(|receipt| receipt.refused(&lost(id)));
    }
}

fn lost(id: u64) -> String {
    format!("the Raft leader, consenter {id}, was lost before it answered: send the same envelope again")
}

/// Gathers waiting items into requests.
fn requests(waiting: mpsc::Receiver<SubmitItem>) -> impl Stream<Item = SubmitRequest> {
    stream::unfold(waiting, |mut waiting| async move {
        let first = waiting.recv().await?;
        let mut bytes = first.envelope.len();
        let mut items = vec![first];
        while bytes < REQUEST_BYTES_TARGET
            && items.len() < REQUEST_ITEMS_MAX
            && let Ok(item) = waiting.try_recv()
        {
            bytes += item.envelope.len();
            items.push(item);
        }
        Some((SubmitRequest { items }, waiting))
    })
}
