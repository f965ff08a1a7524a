//! The channels this peer has joined, each with its ledger and configuration.
//!
//! One folder per channel below the channels folder. What runs for a channel
//! (deliver client, committer) is started by a function that `run` gives; this
//! module only decides that a channel is there, whole or not at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard, RwLock};
use ripstop_channel::{ChannelConfig, LiveConfig};
use ripstop_ledger::{Ledger, LedgerError, Options};
use ripstop_proto::block;
use ripstop_proto::common::Block;
use tokio::sync::watch;

use crate::commits::Commits;
use crate::divergence::Finding;
use crate::exchange::KnownPeers;

/// One channel that this peer has joined.
pub struct Channel {
    live_config: LiveConfig,
    config_sequences: watch::Sender<u64>,
    ledger: Arc<Ledger>,
    commits: Commits,
    peers: Mutex<KnownPeers>,
    finding: Finding,
}

/// Starts what runs for a channel, once per channel.
pub type Start = Box<dyn Fn(&Arc<Channel>) + Send + Sync>;

/// All channels of this peer.
pub struct Channels {
    folder: PathBuf,
    options: Options,
    start: Start,
    joining: Mutex<()>,
    by_id: RwLock<BTreeMap<String, Arc<Channel>>>,
}

/// Why a channel is not joined or not opened.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The peer is in the channel already.
    #[error("cannot create ledger from genesis block: ledger [{0}] already exists with state [ACTIVE]")]
    AlreadyJoined(String),
    /// The block is not the first of a channel.
    #[error("cannot create ledger from block {0}: a channel is joined with its block 0")]
    NotGenesis(u64),
    /// The block has no header, so it is no block.
    #[error("cannot create ledger from a block without header")]
    NoHeader,
    /// The block carries no usable configuration.
    #[error("cannot create ledger from genesis block: {0}")]
    Config(#[from] ripstop_channel::ConfigError),
    /// The configuration is not for peers.
    #[error("cannot create ledger from genesis block: the configuration of channel {0} has no Application group")]
    NoApplication(String),
    /// The ledger cannot be made or opened.
    #[error("the ledger of channel {channel_id}: {cause}")]
    Ledger {
        /// The channel.
        channel_id: String,
        /// What the ledger says.
        cause: LedgerError,
    },
    /// The stored configuration block is missing.
    #[error("the ledger of channel {channel_id} names block {number} as its configuration, and does not have it")]
    NoConfigBlock {
        /// The channel.
        channel_id: String,
        /// The block.
        number: u64,
    },
    /// A folder cannot be made, renamed or read.
    #[error("the folder {path}: {cause}", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        cause: std::io::Error,
    },
}

impl Channel {
    /// Makes the channel that `genesis` begins, with its ledger in `folder`. Nothing
    /// runs for it yet.
    ///
    /// # Errors
    /// When the block is no genesis block of a channel for peers, or the ledger is there.
    pub fn create(folder: &Path, genesis: Block, options: Options) -> Result<Arc<Self>, ChannelError> {
        let config = config_for_peers(&genesis)?;
        let channel_id = config.channel_id().to_owned();
        let ledger = Ledger::create(folder, &channel_id, genesis, options)
            .map_err(|cause| ChannelError::Ledger { channel_id, cause })?;
        Ok(Arc::new(Self::new(config, ledger)?))
    }

    /// Opens the channel whose ledger is in `folder`. Nothing runs for it yet.
    ///
    /// # Errors
    /// When the ledger or its newest configuration cannot be read.
    pub fn open(folder: &Path, channel_id: &str, options: Options) -> Result<Arc<Self>, ChannelError> {
        let ledger = Ledger::open(folder, options)
            .map_err(|cause| ChannelError::Ledger { channel_id: channel_id.to_owned(), cause })?;
        let config = ChannelConfig::from_block(&newest_config(&ledger)?)?;
        Ok(Arc::new(Self::new(config, ledger)?))
    }

    fn new(config: ChannelConfig, ledger: Ledger) -> Result<Self, ChannelError> {
        let finding = Finding::of(&ledger)
            .map_err(|cause| ChannelError::Ledger { channel_id: ledger.channel_id().to_owned(), cause })?;
        metrics::gauge!("ledger_blockchain_height", "channel" => ledger.channel_id().to_owned())
            .set(ledger.height() as f64);
        Ok(Self {
            config_sequences: watch::Sender::new(config.sequence()),
            live_config: LiveConfig::new(config),
            ledger: Arc::new(ledger),
            commits: Commits::new(),
            peers: Mutex::default(),
            finding,
        })
    }

    /// The channel's id.
    pub fn id(&self) -> &str {
        self.ledger.channel_id()
    }

    /// The configuration in force now. Take it once per request.
    pub fn config(&self) -> Arc<ChannelConfig> {
        self.live_config.current()
    }

    /// Follows the sequence of the configuration in force.
    pub fn config_sequences(&self) -> watch::Receiver<u64> {
        self.config_sequences.subscribe()
    }

    /// Puts another configuration in force; the committer does, after its block.
    pub(crate) fn replace_config(&self, config: ChannelConfig) {
        let sequence = config.sequence();
        self.live_config.replace(config);
        self.config_sequences.send_replace(sequence);
    }

    /// The channel's blocks and state.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Who waits for which transaction.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }

    /// The other peers that made themselves known. Held for a moment only.
    pub fn peers(&self) -> MutexGuard<'_, KnownPeers> {
        self.peers.lock()
    }

    /// Whether this peer's state was found to be another than most organizations have.
    pub fn finding(&self) -> &Finding {
        &self.finding
    }
}

impl Channels {
    /// Opens every channel below `folder` (made if missing) and starts each.
    /// A join that a crash interrupted has not happened. Blocks on the disk.
    ///
    /// # Errors
    /// When one channel cannot be opened; none is left out silently.
    pub fn open(folder: PathBuf, options: Options, start: Start) -> Result<Self, ChannelError> {
        let mut by_id = BTreeMap::new();
        for channel_id in channel_ids(&folder)? {
            match Channel::open(&folder.join(&channel_id), &channel_id, options.clone()) {
                Ok(channel) => {
                    by_id.insert(channel.id().to_owned(), channel);
                }
                Err(ChannelError::Ledger { cause: LedgerError::Empty { .. }, .. }) => {
                    tracing::warn!(channel = channel_id, "joining this channel was interrupted; join it again");
                }
                Err(error) => return Err(error),
            }
        }
        by_id.values().for_each(&start);
        Ok(Self { folder, options, start, joining: Mutex::new(()), by_id: RwLock::new(by_id) })
    }

    /// The channel with this id, if the peer has joined it.
    pub fn get(&self, channel_id: &str) -> Option<Arc<Channel>> {
        self.by_id.read().get(channel_id).cloned()
    }

    /// The ids of all channels, ascending.
    pub fn ids(&self) -> Vec<String> {
        self.by_id.read().keys().cloned().collect()
    }

    /// Makes the channel of a genesis block and starts it. When this returns, the
    /// channel survives a crash. Blocks on the disk: call it off the runtime's threads.
    ///
    /// # Errors
    /// When the block is no genesis block of a channel for peers, or the peer has
    /// joined it before.
    pub fn join(&self, genesis: Block) -> Result<Arc<Channel>, ChannelError> {
        let channel_id = config_for_peers(&genesis)?.channel_id().to_owned();
        let _one_at_a_time = self.joining.lock();
        if self.get(&channel_id).is_some() {
            return Err(ChannelError::AlreadyJoined(channel_id));
        }
        let channel = Channel::create(&self.folder.join(&channel_id), genesis, self.options.clone())?;
        self.by_id.write().insert(channel_id, Arc::clone(&channel));
        (self.start)(&channel);
        Ok(channel)
    }
}

/// The configuration in a genesis block, if it is one that a peer can join.
fn config_for_peers(genesis: &Block) -> Result<ChannelConfig, ChannelError> {
    let number = genesis.header.as_ref().ok_or(ChannelError::NoHeader)?.number;
    if number != 0 {
        return Err(ChannelError::NotGenesis(number));
    }
    let config = ChannelConfig::from_block(genesis)?;
    if config.application().is_none() {
        return Err(ChannelError::NoApplication(config.channel_id().to_owned()));
    }
    Ok(config)
}

fn newest_config(ledger: &Ledger) -> Result<Block, ChannelError> {
    let channel_id = || ledger.channel_id().to_owned();
    let read = |number| {
        ledger
            .block(number)
            .map_err(|cause| ChannelError::Ledger { channel_id: channel_id(), cause })?
            .ok_or_else(|| ChannelError::NoConfigBlock { channel_id: channel_id(), number })
    };
    let last_block = read(ledger.height().saturating_sub(1))?;
    // Block 0 states no index where it is the newest configuration itself.
    let number = block::last_config_index(&last_block).unwrap_or(0);
    read(number).map(Arc::unwrap_or_clone)
}

/// The channel ids that have a folder below `folder`, which is made if missing.
fn channel_ids(folder: &Path) -> Result<Vec<String>, ChannelError> {
    let trouble = |cause| ChannelError::Folder { path: folder.to_owned(), cause };
    std::fs::create_dir_all(folder).map_err(trouble)?;
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(trouble)? {
        let entry = entry.map_err(trouble)?;
        let name = entry.file_name();
        if let Some(name) = name.to_str().filter(|name| is_channel_id(name)) {
            ids.push(name.to_owned());
        }
    }
    Ok(ids)
}

/// Whether a folder's name can be a channel's id. (That ids are safe as names is the
/// channel's configuration's to check.)
fn is_channel_id(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
}
