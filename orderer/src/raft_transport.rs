//! Outgoing Raft messages: one long `ripstop.v1.Cluster/Step` stream to each other consenter.
//!
//! ```text
//! consenter ─▶ queue (bounded by count and bytes) ─▶ batches ─▶ stream
//! ```
//! Nothing here ever waits for another node: what finds no room or no connection is dropped,
//! and Raft sends it again. A broken stream takes its queue with it, so that a consenter that
//! comes back is not told what is long out of date.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{Stream, stream};
use metrics::{Counter, Gauge, Label, counter, gauge};
use parking_lot::Mutex;
use ripstop_node::transport::MESSAGE_BYTES_MAX;
use ripstop_proto::ripstop::v1::StepRequest;
use ripstop_proto::ripstop::v1::cluster_client::ClusterClient;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::backoff::Backoff;
use crate::consenter::ConsenterMessage;
use crate::members::{Caller, Member, Members};
use crate::raft_record::entry_bytes;
use crate::raft_wire;

/// Messages that may wait for one consenter.
const WAITING_MAX: usize = 4096;
/// Bytes of them; one larger message may wait alone.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Bytes that one permit of the queue stands for.
const ROOM_UNIT_BYTES: usize = 1024;
/// A request takes no further message once it holds this many bytes.
const REQUEST_BYTES_TARGET: usize = 1 << 20;
/// A stream that lasted this long was a working one.
const WORKING: Duration = Duration::from_secs(1);

/// The streams to all other consenters of a channel; they end when this is dropped.
pub(crate) struct RaftTransport {
    links: BTreeMap<u64, (Arc<Link>, AbortOnDropHandle<()>)>,
}

/// The way to one consenter; no queue while there is no connection.
struct Link {
    queue: Mutex<Option<Queue>>,
    dropped: Counter,
    length: Gauge,
}

struct Queue {
    messages: mpsc::Sender<(ConsenterMessage, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

impl RaftTransport {
    /// Begins to connect to all others.
    pub(crate) fn start(channel_id: &str, members: &Arc<Members>, caller: &Caller, runtime: &Handle) -> Self {
        gauge!("consensus_etcdraft_active_nodes", "channel" => channel_id.to_owned()).set(1.0);
        gauge!("cluster_comm_egress_stream_count", "channel" => channel_id.to_owned()).set(0.0);
        let links = members.others().map(|member| {
            let link = Arc::new(Link::new(channel_id, &member.address));
            let keeper = Keeper {
                channel_id: channel_id.to_owned(),
                members: Arc::clone(members),
                member: member.clone(),
                caller: caller.clone(),
                link: Arc::clone(&link),
            };
            (member.id, (link, AbortOnDropHandle::new(runtime.spawn(keeper.run()))))
        });
        Self { links: links.collect() }
    }

    /// Queues each message for the consenter in its `to` field, or drops it.
    pub(crate) fn send(&self, messages: Vec<ConsenterMessage>) {
        for message in messages {
            if let Some((link, _)) = self.links.get(&message.to) {
                link.send(message);
            }
        }
    }
}

impl Link {
    fn new(channel_id: &str, address: &str) -> Self {
        let labels = vec![Label::new("host", address.to_owned()), Label::new("channel", channel_id.to_owned())];
        let of_queue = [labels.clone(), vec![Label::new("msg_type", "consensus")]].concat();
        gauge!("cluster_comm_egress_queue_capacity", of_queue.clone()).set(WAITING_MAX as f64);
        Self {
            queue: Mutex::default(),
            dropped: counter!("cluster_comm_msg_dropped_count", labels),
            length: gauge!("cluster_comm_egress_queue_length", of_queue),
        }
    }

    fn send(&self, message: ConsenterMessage) {
        let queue = self.queue.lock();
        let Some(Queue { messages, room }) = queue.as_ref() else { return };
        let bytes: usize = message.entries.iter().map(entry_bytes).sum();
        let units = (bytes.min(WAITING_BYTES_MAX) / ROOM_UNIT_BYTES) as u32;
        let taken = Arc::clone(room).try_acquire_many_owned(units).ok();
        if taken.is_none_or(|taken| messages.try_send((message, taken)).is_err()) {
            self.dropped.increment(1);
        }
        self.length.set((WAITING_MAX - messages.capacity()) as f64);
    }
}

/// Keeps a stream to one consenter.
struct Keeper {
    channel_id: String,
    members: Arc<Members>,
    member: Member,
    caller: Caller,
    link: Arc<Link>,
}

impl Keeper {
    async fn run(self) {
        let mut backoff = Backoff::new();
        let mut known_lost = false;
        loop {
            let started = Instant::now();
            let ended = self.stream().await;
            *self.link.queue.lock() = None;
            if started.elapsed() > WORKING {
                (known_lost, _) = (false, backoff.reset());
            }
            let Self { channel_id, member, .. } = &self;
            match std::mem::replace(&mut known_lost, true) {
                false => {
                    tracing::warn!(channel_id, consenter = member.id, address = member.address, "no stream: {ended}")
                }
                true => {
                    tracing::debug!(channel_id, consenter = member.id, address = member.address, "no stream: {ended}")
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Runs a stream until it ends; says why it did.
    async fn stream(&self) -> String {
        let connection = match self.members.connect(&self.member, &self.caller).await {
            Ok(connection) => connection,
            Err(error) => return error.to_string(),
        };
        let (messages, waiting) = mpsc::channel(WAITING_MAX);
        let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX / ROOM_UNIT_BYTES));
        *self.link.queue.lock() = Some(Queue { messages, room });
        let _open = OpenStream::new(&self.channel_id);
        tracing::debug!(self.channel_id, consenter = self.member.id, "connected");
        let mut client = ClusterClient::new(connection).max_encoding_message_size(MESSAGE_BYTES_MAX);
        match client.step(requests(self.channel_id.clone(), waiting)).await {
            Ok(_) => "the other side ended it".to_owned(),
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
        }
    }
}

/// A stream to another consenter, counted while it stands: whoever takes it is alive.
struct OpenStream([Gauge; 2]);

impl OpenStream {
    fn new(channel_id: &str) -> Self {
        let gauges = ["cluster_comm_egress_stream_count", "consensus_etcdraft_active_nodes"]
            .map(|metric| gauge!(metric, "channel" => channel_id.to_owned()));
        gauges.iter().for_each(|gauge| gauge.increment(1.0));
        Self(gauges)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.iter().for_each(|gauge| gauge.decrement(1.0));
    }
}

/// Gathers waiting messages into requests.
fn requests(
    channel_id: String,
    waiting: mpsc::Receiver<(ConsenterMessage, OwnedSemaphorePermit)>,
) -> impl Stream<Item = StepRequest> {
    stream::unfold((channel_id, waiting), |(channel_id, mut waiting)| async move {
        let (first, _taken) = waiting.recv().await?;
        let mut messages: Vec<Bytes> = raft_wire::encode(first).into_iter().collect();
        let mut bytes: usize = messages.iter().map(Bytes::len).sum();
        while bytes < REQUEST_BYTES_TARGET
            && let Ok((message, _taken)) = waiting.try_recv()
        {
            let message = raft_wire::encode(message);
            bytes += message.as_ref().map_or(0, Bytes::len);
            messages.extend(message);
        }
        Some((StepRequest { channel_id: channel_id.clone(), messages }, (channel_id, waiting)))
    })
}
