//! A channel's chain at work: the consenter's core and the threads around it.
//!
//! ```text
//! intake ─▶ consenter thread ─▶ log thread    (Raft log: append, sync) ─▶ Persisted ─▶ consenter
//!                            └▶ writer thread (block store: append, sync) ─▶ Applied ─▶ consenter
//!                                ▲ block_fetch (a log that is too far behind)
//! ```
//! The consenter never waits for a disk, so a slow sync costs no leader its leadership. The
//! two disks' threads take whatever has gathered meanwhile with one sync. Intake is bounded
//! by the bytes under way; whoever brings an envelope waits for room.
//!
//! When a thread fails, the whole node has to stop: it says so once, by [`ChainFailure`].

mod consenter_thread;
mod failure;
mod log_thread;
mod writer_thread;

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use metrics::{Label, gauge};
use ripstop_ledger::BlockStore;
use ripstop_msp::SigningIdentity;
use ripstop_proto::common::Block;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc as tokio_mpsc, oneshot, watch};

use crate::block_writer::BlockWriter;
use crate::consenter::{Consenter, ConsenterError, ConsenterMessage, Input, Submission};
use crate::raft_log::RaftLog;
use crate::receipt::{Item, Receipt};

use consenter_thread::ConsenterThread;
use failure::Spawner;
pub use failure::{ChainFailure, FailureCause};
use writer_thread::Goods;

/// Bytes that one permit of the intake stands for.
const ROOM_UNIT_BYTES: usize = 1024;
/// Bytes of other consenters' messages that wait for the consenter.
const INBOX_BYTES_MAX: usize = 64 << 20;

/// Everything a chain is made of.
pub(crate) struct Parts {
    pub(crate) channel_id: String,
    pub(crate) consenter: Consenter<Receipt>,
    pub(crate) consenter_id: u64,
    pub(crate) tick_interval: Duration,
    pub(crate) log: RaftLog,
    pub(crate) writer: BlockWriter,
    pub(crate) store: Arc<BlockStore>,
    pub(crate) signer: Arc<SigningIdentity>,
    pub(crate) written: Box<dyn Fn(Vec<Block>) + Send>,
    pub(crate) fetching: tokio_mpsc::UnboundedSender<Fetching>,
    pub(crate) outbox: Box<dyn Fn(Vec<ConsenterMessage>) + Send>,
    pub(crate) intake_bytes_max: u32,
    pub(crate) failures: tokio_mpsc::UnboundedSender<ChainFailure>,
}

/// What is to be fetched from other consenters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetching {
    /// Blocks until there are so many.
    UpTo(u64),
    /// Nothing more: the log has followed so many blocks.
    CaughtUp(u64),
}

/// Where blocks of other consenters go.
#[derive(Clone)]
pub(crate) struct FetchedBlocks(Arc<parking_lot::Mutex<Option<Sender<Goods>>>>);

impl FetchedBlocks {
    /// Stores verified blocks, in their order; returns when they are durable.
    pub(crate) async fn store(&self, blocks: Vec<Block>) -> Result<(), Stopped> {
        let (stored, is_stored) = oneshot::channel();
        let sent = match self.0.lock().as_ref() {
            Some(goods) => goods.send(Goods::Fetched(blocks, stored)).map_err(|_| Stopped),
            None => Err(Stopped),
        };
        sent?;
        is_stored.await.map_err(|_| Stopped)
    }
}

/// Who leads, as this consenter sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// The leader's id.
    pub(crate) leader: Option<u64>,
    /// Whether it is this consenter.
    pub(crate) is_self: bool,
}

/// What the consenter thread is told.
enum Event {
    Input(Input<Receipt>),
    /// A message of another consenter, with its part of the inbox.
    Message {
        sender: u64,
        message: Box<ConsenterMessage>,
        _room: OwnedSemaphorePermit,
    },
    Stop,
}

/// A running chain.
pub(crate) struct Chain {
    events: Sender<Event>,
    fetched: FetchedBlocks,
    room: Arc<Semaphore>,
    room_units: u32,
    inbox: Arc<Semaphore>,
    leadership: watch::Receiver<Leadership>,
    healthy: watch::Receiver<bool>,
    threads: parking_lot::Mutex<Vec<JoinHandle<()>>>,
}

/// An envelope that may be ordered, before it has found room.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) envelope: Bytes,
    pub(crate) size: usize,
    pub(crate) config_sequence: u64,
}

/// Envelopes in their order, each with the item that waits for its outcome, if any does.
pub(crate) type Orders = Vec<(Order, Option<Item>)>;

impl Chain {
    /// Starts the threads. A sole consenter leads when this returns.
    pub(crate) fn start(parts: Parts) -> Result<Self, ChainStartError> {
        let Parts { channel_id, consenter, consenter_id, tick_interval, log, writer, store, signer, .. } = parts;
        let (events, arrived) = mpsc::channel();
        let (records, to_persist) = mpsc::channel();
        let (goods, to_write) = mpsc::channel();
        let (leadership_seen, leadership) = watch::channel(Leadership::default());
        let (healthy_seen, healthy) = watch::channel(true);
        let labels = vec![Label::new("channel", channel_id.clone())];
        gauge!("consensus_etcdraft_cluster_size", labels.clone()).set(consenter.members().len() as f64);
        gauge!("consensus_etcdraft_is_leader", labels.clone()).set(0.0);
        gauge!("consensus_etcdraft_snapshot_block_number", labels.clone()).set(0.0);
        let mut consenter_thread = ConsenterThread {
            channel_id: channel_id.clone(),
            consenter,
            consenter_id,
            height: store.height(),
            tick_interval,
            arrived,
            records,
            goods: goods.clone(),
            fetching: parts.fetching,
            leadership: leadership_seen,
            healthy: healthy_seen,
            outbox: parts.outbox,
            labels: labels.clone(),
        };
        let log_thread = log_thread::LogThread { log, to_persist, events: events.clone(), labels: labels.clone() };
        let writer_thread = writer_thread::WriterThread {
            writer,
            store,
            signer,
            to_write,
            events: events.clone(),
            written: parts.written,
            labels,
        };
        consenter_thread.step(Input::Wake)?;
        let spawner = Spawner { channel_id, failures: parts.failures };
        let threads = vec![
            spawner.spawn("consenter", || consenter_thread.run())?,
            spawner.spawn("raft log", || log_thread.run())?,
            spawner.spawn("block writer", || writer_thread.run())?,
        ];
        let room_units = parts.intake_bytes_max.div_ceil(ROOM_UNIT_BYTES as u32).max(1);
        let room = Arc::new(Semaphore::new(room_units as usize));
        let inbox = Arc::new(Semaphore::new(INBOX_BYTES_MAX / ROOM_UNIT_BYTES));
        let fetched = FetchedBlocks(Arc::new(parking_lot::Mutex::new(Some(goods))));
        Ok(Self { events, fetched, room, room_units, inbox, leadership, healthy, threads: threads.into() })
    }

    /// Who leads, and word of every change.
    pub(crate) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Brings a message of `bytes` that the authenticated consenter `sender` sent, waiting
    /// while too many others are on their way.
    pub(crate) async fn receive(&self, sender: u64, message: ConsenterMessage, bytes: usize) -> Result<(), Stopped> {
        let units = (bytes.min(INBOX_BYTES_MAX) / ROOM_UNIT_BYTES).max(1) as u32;
        let room = Arc::clone(&self.inbox).acquire_many_owned(units).await.map_err(|_| Stopped)?;
        let message = Event::Message { sender, message: Box::new(message), _room: room };
        self.events.send(message).map_err(|_| Stopped)
    }

    /// Where blocks of other consenters go.
    pub(crate) fn fetched(&self) -> FetchedBlocks {
        self.fetched.clone()
    }

    /// Whether blocks go out: not while a cluster of more than two has no leader.
    pub(crate) fn healthy(&self) -> watch::Receiver<bool> {
        self.healthy.clone()
    }

    /// Brings envelopes in their order, waiting for room. Returns when the consenter has them;
    /// what becomes of them, the items are told.
    pub(crate) async fn submit(&self, orders: Orders) -> Result<(), Stopped> {
        let mut submissions = Vec::with_capacity(orders.len());
        for (order, item) in orders {
            let units = (order.size / ROOM_UNIT_BYTES + 1).min(self.room_units as usize) as u32;
            let room = match Arc::clone(&self.room).try_acquire_many_owned(units) {
                Ok(room) => room,
                // What is here already must go on while this one waits.
                Err(_) => {
                    self.send(std::mem::take(&mut submissions))?;
                    Arc::clone(&self.room).acquire_many_owned(units).await.map_err(|_| Stopped)?
                }
            };
            let Order { envelope, size, config_sequence } = order;
            submissions.push(Submission { envelope, size, config_sequence, receipt: Receipt::new(room, item) });
        }
        self.send(submissions)
    }

    fn send(&self, submissions: Vec<Submission<Receipt>>) -> Result<(), Stopped> {
        if submissions.is_empty() {
            return Ok(());
        }
        self.events.send(Event::Input(Input::Envelopes(submissions))).map_err(|_| Stopped)
    }

    /// Ends the threads and waits for them; what is under way is finished or refused.
    pub(crate) fn stop(&self) {
        // No thread left to tell means that they have ended.
        let _ = self.events.send(Event::Stop);
        self.room.close();
        self.inbox.close();
        self.fetched.0.lock().take();
        for thread in self.threads.lock().drain(..) {
            // A panic has been told as a failure.
            let _ = thread.join();
        }
    }
}

/// Why a chain does not start.
#[derive(Debug, thiserror::Error)]
pub enum ChainStartError {
    /// The log holds what cannot be there.
    #[error(transparent)]
    Consenter(#[from] ConsenterError),
    /// The operating system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The chain does not take envelopes any more.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("chain is stopped")]
pub(crate) struct Stopped;

#[cfg(test)]
mod tests;
