//! One channel of this orderer: its configuration, its blocks on disk, and its chain.
//!
//! ```text
//! FOLDER/raft/    the Raft log
//! FOLDER/blocks/  the block store; a channel is joined once its genesis block is in it
//! FOLDER/catching-up  there while the blocks may be ahead of the Raft log
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use ripstop_channel::{CONSENSUS_ETCDRAFT, ChannelConfig, ConfigError, LiveConfig, OrdererConfig, RaftConfig};
use ripstop_ledger::files::{DiskFiles, FileError, Files};
use ripstop_ledger::{BlockRecord, BlockStore, BlockStoreError};
use ripstop_msp::{Certificate, SigningIdentity};
use ripstop_proto::block;
use ripstop_proto::common::{Block, Status};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::block_cutter::{BatchLimits, Cutting};
use crate::block_fetch::BlockFetch;
use crate::block_writer::{BlockWriter, BlockWriterError};
use crate::chain::{Chain, ChainFailure, ChainStartError, Leadership, Orders, Parts};
use crate::consenter::{Consenter, Refusal, Settings};
use crate::forwarding::Forwarding;
use crate::members::{Caller, Members};
use crate::raft_log::{self, RaftLog, Recovered};
use crate::raft_node::{RaftSettings, StartError};
use crate::raft_segment::SegmentError;
use crate::raft_transport::RaftTransport;
use crate::recent_blocks::RecentBlocks;

/// Bytes of applied entries that the Raft log keeps at least, so that it is not compacted all the time.
const KEPT_BYTES_MIN: u64 = 1 << 20;

/// The file that says that blocks were fetched which the Raft log did not follow yet.
const CATCHING_UP: &str = "catching-up";

/// Election timeouts for which envelopes wait for a leader.
const ELECTIONS_WAITED: u32 = 2;

/// What every channel of this orderer shares.
pub(crate) struct Node {
    pub(crate) signer: Arc<SigningIdentity>,
    /// The certificate that this orderer shows to others, by which channels know it.
    pub(crate) tls_certificate: Certificate,
    pub(crate) cutting: Cutting,
    pub(crate) intake_bytes_max: u32,
    pub(crate) caller: Caller,
    /// Where the tasks of channels run.
    pub(crate) runtime: Handle,
    pub(crate) failures: mpsc::UnboundedSender<ChainFailure>,
}

/// Why a channel cannot be opened or joined.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The channel's configuration is refused.
    #[error("the channel's configuration: {0}")]
    Config(#[from] ConfigError),
    /// The configuration has no ordering service that this program can be a part of.
    #[error("{0}")]
    Ordering(String),
    /// The block store.
    #[error(transparent)]
    Store(#[from] BlockStoreError),
    /// The Raft log.
    #[error(transparent)]
    Log(#[from] SegmentError),
    /// The channel has blocks but no Raft log.
    #[error(
        "{folder} has blocks but no Raft log: it was lost, and this consenter must not vote any more. Remove the channel's \
         folder and join it anew as another consenter", folder = folder.display()
    )]
    LogMissing {
        /// The channel's folder.
        folder: PathBuf,
    },
    /// The channel has a Raft log that was in use, but no blocks.
    #[error(
        "{folder} has a Raft log that was in use, but no blocks: they were lost. Restore them from a copy, or remove the \
         channel's folder and join it anew as another consenter", folder = folder.display()
    )]
    BlocksMissing {
        /// The channel's folder.
        folder: PathBuf,
    },
    /// Log and blocks contradict each other.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The blocks cannot be continued.
    #[error(transparent)]
    Writer(#[from] BlockWriterError),
    /// The chain does not start.
    #[error(transparent)]
    Chain(#[from] ChainStartError),
    /// A folder.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: String,
        /// What the operating system says.
        cause: std::io::Error,
    },
}

impl From<FileError> for ChannelError {
    fn from(error: FileError) -> Self {
        Self::Log(error.into())
    }
}

/// One channel.
pub(crate) struct Channel {
    config: LiveConfig,
    store: Arc<BlockStore>,
    recent: Arc<RecentBlocks>,
    heights: watch::Receiver<u64>,
    members: Arc<Members>,
    chain: Chain,
    forwarding: Forwarding,
    election_patience: Duration,
    _fetch: AbortOnDropHandle<()>,
}

impl Channel {
    /// Begins a channel with its genesis block and starts its chain.
    pub(crate) fn create(folder: &Path, genesis: &Block, node: &Node) -> Result<Self, ChannelError> {
        let config = ChannelConfig::from_block(genesis)?;
        let part = Part::of(&config, node)?;
        let files: Arc<dyn Files> = Arc::new(DiskFiles);
        let log = folder.join("raft");
        RaftLog::create(Arc::clone(&files), &log, raft_log::SEGMENT_BYTES, rand::random(), &part.members.ids())?;
        let store = BlockStore::open(files, folder.join("blocks"))?;
        store.append(&BlockRecord { block: Some(genesis.clone()), ..BlockRecord::default() })?;
        Self::start(folder, store, node)
    }

    /// Opens a channel and starts its chain; `None` when it was never joined completely.
    pub(crate) fn open(folder: &Path, node: &Node) -> Result<Option<Self>, ChannelError> {
        let store = BlockStore::open(Arc::new(DiskFiles), folder.join("blocks"))?;
        if store.height() > 0 {
            return Self::start(folder, store, node).map(Some);
        }
        // A consenter's first word comes after the genesis block.
        match open_log(folder)? {
            Some((_, recovered)) if recovered.hard_state != Default::default() => {
                Err(ChannelError::BlocksMissing { folder: folder.to_owned() })
            }
            _ => Ok(None),
        }
    }

    fn start(folder: &Path, store: BlockStore, node: &Node) -> Result<Self, ChannelError> {
        let unreadable = |number| ChannelError::Ordering(format!("block {number} is missing in {}", folder.display()));
        let last = store.last_block()?.ok_or_else(|| unreadable(0))?;
        let number = block::last_config_index(&last).map_err(|error| ChannelError::Ordering(error.to_string()))?;
        let config_block = store.block(number)?.ok_or_else(|| unreadable(number))?;
        let config = ChannelConfig::from_block(&config_block)?;
        let part = Part::of(&config, node)?;
        let writer = BlockWriter::after(&last, part.members.ids())?;
        let (log, recovered) =
            open_log(folder)?.ok_or_else(|| ChannelError::LogMissing { folder: folder.to_owned() })?;
        say_found(config.channel_id(), store.height(), &recovered);
        let catching_up = folder.join(CATCHING_UP);
        let settings = part.settings(&writer, catching_up.exists(), node.cutting);
        let consenter = Consenter::new(settings, recovered)?;

        let store = Arc::new(store);
        let recent = Arc::new(RecentBlocks::default());
        let (height, heights) = watch::channel(store.height());
        tell_joined(config.channel_id(), store.height());
        let recently_written = Arc::clone(&recent);
        let written = move |blocks: Vec<Block>| {
            let next = blocks.last().and_then(|block| block.header.as_ref()).map(|header| header.number + 1);
            recently_written.add(blocks);
            height.send_if_modified(|height| std::mem::replace(height, next.unwrap_or(*height)) != *height);
        };
        let transport = RaftTransport::start(config.channel_id(), &part.members, &node.caller, &node.runtime);
        let (fetching, wanted) = mpsc::unbounded_channel();
        let chain = Chain::start(Parts {
            channel_id: config.channel_id().to_owned(),
            consenter,
            consenter_id: part.members.own_id(),
            tick_interval: part.raft.options.tick_interval,
            log,
            writer,
            store: Arc::clone(&store),
            signer: Arc::clone(&node.signer),
            written: Box::new(written),
            fetching,
            outbox: Box::new(move |messages| transport.send(messages)),
            intake_bytes_max: node.intake_bytes_max,
            failures: node.failures.clone(),
        })?;
        let options = &part.raft.options;
        let election_patience = ELECTIONS_WAITED * options.tick_interval * options.election_tick;
        let members = part.members;
        let (caller, leadership) = (node.caller.clone(), chain.leadership());
        let forwarding =
            Forwarding::new(config.channel_id(), Arc::clone(&members), caller, leadership, node.intake_bytes_max);
        let config = LiveConfig::new(config);
        let fetch = BlockFetch {
            config: config.current(),
            members: Arc::clone(&members),
            caller: node.caller.clone(),
            signer: Arc::clone(&node.signer),
            store: Arc::clone(&store),
            fetched: chain.fetched(),
            catching_up,
        };
        let _fetch = AbortOnDropHandle::new(node.runtime.spawn(fetch.run(wanted)));
        Ok(Self { config, store, recent, heights, members, chain, forwarding, election_patience, _fetch })
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<ChannelConfig> {
        self.config.current()
    }

    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// All consenters.
    pub(crate) fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// Whether a consenter leads now, so that envelopes are not kept waiting.
    pub(crate) fn has_leader(&self) -> bool {
        self.chain.leadership().borrow().leader.is_some()
    }

    /// Brings envelopes in their order to whoever leads, waiting for room, and during an
    /// election for its end. Returns when they are on their way; what becomes of them, the
    /// items are told. What another consenter has forwarded (`is_forwarded`) goes no further.
    ///
    /// # Errors
    /// When none of them is taken; the items are told, too.
    pub(crate) async fn order(&self, orders: Orders, is_forwarded: bool) -> Result<(), String> {
        let refuse = |orders: Orders, reason: String| {
            let items = orders.into_iter().filter_map(|(_, item)| item);
            items.for_each(|item| item.answer(Status::ServiceUnavailable, reason.clone()));
            Err(reason)
        };
        match self.leadership(&orders).await {
            Leadership { is_self: true, .. } => self.chain.submit(orders).await.map_err(|stopped| stopped.to_string()),
            Leadership { leader: None, .. } => refuse(orders, Refusal::NoLeader.to_string()),
            Leadership { leader: Some(leader), .. } if is_forwarded => {
                refuse(orders, Refusal::NotLeader { leader }.to_string())
            }
            Leadership { leader: Some(leader), .. } => {
                self.forwarding.forward(leader, orders).await;
                Ok(())
            }
        }
    }

    /// Who leads; while nobody does and there is room to keep the envelopes, waits a little.
    async fn leadership(&self, orders: &Orders) -> Leadership {
        let mut leadership = self.chain.leadership();
        let now = *leadership.borrow_and_update();
        if now.leader.is_some() {
            return now;
        }
        let room: Option<Vec<_>> = orders.iter().map(|(order, _)| self.forwarding.room_for(order)).collect();
        if room.is_none() {
            return now;
        }
        let elected = leadership.wait_for(|leadership| leadership.leader.is_some());
        match tokio::time::timeout(self.election_patience, elected).await {
            Ok(Ok(elected)) => *elected,
            Ok(Err(_)) | Err(_) => now,
        }
    }

    /// The number of blocks, and word of every further one.
    pub(crate) fn heights(&self) -> watch::Receiver<u64> {
        self.heights.clone()
    }

    /// A block, if it is there; reads the disk unless it is among the newest.
    pub(crate) fn block(&self, number: u64) -> Result<Option<Arc<Block>>, BlockStoreError> {
        match self.recent.get(number) {
            Some(block) => Ok(Some(block)),
            None => Ok(self.store.block(number)?.map(Arc::new)),
        }
    }

    /// A block that is among the newest.
    pub(crate) fn recent_block(&self, number: u64) -> Option<Arc<Block>> {
        self.recent.get(number)
    }
}

/// What `/metrics` says of a channel before anything happens on it.
fn tell_joined(channel_id: &str, height: u64) {
    let tell = |metric: &'static str, value: f64| gauge!(metric, "channel" => channel_id.to_owned()).set(value);
    tell("ledger_blockchain_height", height as f64);
    tell("consensus_etcdraft_committed_block_number", height.saturating_sub(1) as f64);
    // Fabric's numbers: active, and as a consenter.
    tell("participation_status", 1.0);
    tell("participation_consensus_relation", 1.0);
}

fn open_log(folder: &Path) -> Result<Option<(RaftLog, Recovered)>, SegmentError> {
    RaftLog::open(Arc::new(DiskFiles), &folder.join("raft"), raft_log::SEGMENT_BYTES, rand::random())
}

fn say_found(channel_id: &str, height: u64, recovered: &Recovered) {
    let Recovered { hard_state, compacted, entries, torn, .. } = recovered;
    let (first, last) = (compacted.index + 1, compacted.index + entries.len() as u64);
    tracing::info!(channel_id, height, term = hard_state.term, first, last, "opened the channel and its Raft log");
    if *torn {
        tracing::warn!(channel_id, last, "dropped an unfinished record that a crash left at the end of the Raft log");
    }
}

/// This orderer's part in a channel's ordering service.
struct Part {
    members: Arc<Members>,
    raft: RaftConfig,
    limits: BatchLimits,
    absolute_bytes_max: u64,
}

impl Part {
    fn of(config: &ChannelConfig, node: &Node) -> Result<Self, ChannelError> {
        let refuse = |reason: String| Err(ChannelError::Ordering(reason));
        let Some(orderer) = config.orderer() else {
            return refuse("the channel's configuration has no Orderer group".to_owned());
        };
        let Some(raft) = orderer.raft.clone().filter(|_| orderer.consensus_type == CONSENSUS_ETCDRAFT) else {
            return refuse(format!("consensus type '{}': this orderer knows etcdraft only", orderer.consensus_type));
        };
        let Some(members) = Members::of(orderer, &node.tls_certificate) else {
            return refuse(
                "none of the channel's consenters has this orderer's TLS certificate, and following a channel without \
                 being a consenter is not implemented: add this orderer to the consenters of the configuration"
                    .to_owned(),
            );
        };
        let (limits, absolute_bytes_max) = limits(orderer);
        Ok(Self { members: Arc::new(members), raft, limits, absolute_bytes_max })
    }

    fn settings(&self, writer: &BlockWriter, catching_up: bool, cutting: Cutting) -> Settings {
        let options = &self.raft.options;
        let raft = RaftSettings {
            id: self.members.own_id(),
            election_ticks: options.election_tick as usize,
            heartbeat_ticks: options.heartbeat_tick as usize,
            uncommitted_bytes_max: 4 * self.absolute_bytes_max,
            kept_bytes: u64::from(options.snapshot_interval_bytes).max(KEPT_BYTES_MIN),
            applied_index: writer.raft_index(),
            height: writer.height(),
            catching_up,
            seed: rand::random(),
        };
        Settings { raft, limits: self.limits, cutting, in_flight_max: options.max_inflight_blocks.max(1) as usize }
    }
}

fn limits(orderer: &OrdererConfig) -> (BatchLimits, u64) {
    let size = orderer.batch_size;
    let limits = BatchLimits {
        message_count_max: size.max_message_count as usize,
        preferred_bytes_max: size.preferred_max_bytes as usize,
        timeout: orderer.batch_timeout,
    };
    (limits, u64::from(size.absolute_max_bytes))
}
