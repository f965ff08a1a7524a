//! The channels this peer has joined, each with its ledger and configuration.
//!
//! One folder per channel below the channels folder. What runs for a channel
//! (deliver client, committer) is started by a function that `run` gives; this
//! module only decides that a channel is there, whole or not at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use ripstop_channel::{ChannelConfig, LiveConfig};
use ripstop_ledger::Ledger;
use ripstop_proto::block;
use ripstop_proto::common::Block;

use crate::commits::Commits;

/// Channel ids are short: they are folder names and stand in every envelope.
const ID_LENGTH_MAX: usize = 249;
/// Prefix of the folder of a channel that is being joined; no channel id begins so.
const JOINING: &str = ".joining-";

/// One channel that this peer has joined.
pub struct Channel {
    live_config: LiveConfig,
    ledger: Arc<Ledger>,
    commits: Commits,
}

/// Starts what runs for a channel, once per channel.
pub type Start = Box<dyn Fn(&Arc<Channel>) + Send + Sync>;

/// All channels of this peer.
pub struct Channels {
    folder: PathBuf,
    options: ripstop_ledger::Options,
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
    /// The id is no channel id.
    #[error(
        "cannot create ledger from genesis block: {0:?} is no channel id; it begins with a lower-case letter, \
         goes on with lower-case letters, digits, dots and dashes, and has at most {ID_LENGTH_MAX} characters"
    )]
    BadId(String),
    /// The ledger cannot be made or opened.
    #[error("the ledger of channel {channel_id}: {cause}")]
    Ledger {
        /// The channel.
        channel_id: String,
        /// What the ledger says.
        cause: ripstop_ledger::Error,
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
    /// Opens the channel whose ledger is in `folder`. Nothing runs for it yet.
    ///
    /// # Errors
    /// When the ledger or its newest configuration cannot be read.
    pub fn open(folder: &Path, channel_id: &str, options: ripstop_ledger::Options) -> Result<Arc<Self>, ChannelError> {
        let trouble = |cause| ChannelError::Ledger { channel_id: channel_id.to_owned(), cause };
        let ledger = Arc::new(Ledger::open(folder, options).map_err(trouble)?);
        let config_block = newest_config(&ledger)?;
        let config = ChannelConfig::from_block(&config_block)?;
        Ok(Arc::new(Self { live_config: LiveConfig::new(config), ledger, commits: Commits::new() }))
    }

    /// The channel's id.
    pub fn id(&self) -> &str {
        self.ledger.channel_id()
    }

    /// The configuration in force now. Take it once per request.
    pub fn config(&self) -> Arc<ChannelConfig> {
        self.live_config.current()
    }

    /// Where the committer puts a new configuration.
    pub fn live_config(&self) -> &LiveConfig {
        &self.live_config
    }

    /// The channel's blocks and state.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Who waits for which transaction.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }
}

fn newest_config(ledger: &Ledger) -> Result<Block, ChannelError> {
    let trouble = |cause| ChannelError::Ledger { channel_id: ledger.channel_id().to_owned(), cause };
    let missing = |number| ChannelError::NoConfigBlock { channel_id: ledger.channel_id().to_owned(), number };
    let last = ledger.height() - 1;
    let last_block = ledger.block(last).map_err(trouble)?.ok_or_else(|| missing(last))?;
    let number = block::last_config_index(&last_block).unwrap_or(0);
    ledger.block(number).map_err(trouble)?.ok_or_else(|| missing(number)).map(Arc::unwrap_or_clone)
}

impl Channels {
    /// Opens every channel below `folder` (made if missing) and starts each.
    /// Remains of an unfinished join are removed. Blocks on the disk.
    ///
    /// # Errors
    /// When one channel cannot be opened; none runs unseen.
    pub fn open(folder: PathBuf, options: ripstop_ledger::Options, start: Start) -> Result<Self, ChannelError> {
        let trouble = |cause| ChannelError::Folder { path: folder.clone(), cause };
        std::fs::create_dir_all(&folder).map_err(trouble)?;
        let mut by_id = BTreeMap::new();
        for entry in std::fs::read_dir(&folder).map_err(trouble)? {
            let path = entry.map_err(trouble)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name.starts_with(JOINING) {
                tracing::warn!(folder = %path.display(), "removing the remains of an unfinished join");
                std::fs::remove_dir_all(&path).map_err(trouble)?;
            } else if path.is_dir() && is_channel_id(name) {
                by_id.insert(name.to_owned(), Channel::open(&path, name, options.clone())?);
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
        let number = genesis.header.as_ref().ok_or(ChannelError::NoHeader)?.number;
        if number != 0 {
            return Err(ChannelError::NotGenesis(number));
        }
        let config = ChannelConfig::from_block(&genesis)?;
        let channel_id = config.channel_id().to_owned();
        if !is_channel_id(&channel_id) {
            return Err(ChannelError::BadId(channel_id));
        }
        if config.application().is_none() {
            return Err(ChannelError::NoApplication(channel_id));
        }
        let _one_at_a_time = self.joining.lock();
        if self.get(&channel_id).is_some() {
            return Err(ChannelError::AlreadyJoined(channel_id));
        }
        let channel = self.create(&channel_id, genesis)?;
        self.by_id.write().insert(channel_id, Arc::clone(&channel));
        (self.start)(&channel);
        Ok(channel)
    }

    /// Makes the ledger beside its place and renames the whole, so that a crash
    /// leaves a channel or none.
    fn create(&self, channel_id: &str, genesis: Block) -> Result<Arc<Channel>, ChannelError> {
        let making = self.folder.join(format!("{JOINING}{channel_id}"));
        let folder = self.folder.join(channel_id);
        let trouble = |cause| ChannelError::Folder { path: making.clone(), cause };
        if making.exists() {
            std::fs::remove_dir_all(&making).map_err(trouble)?;
        }
        drop(
            Ledger::create(&making, channel_id, genesis, self.options.clone())
                .map_err(|cause| ChannelError::Ledger { channel_id: channel_id.to_owned(), cause })?,
        );
        std::fs::rename(&making, &folder).map_err(trouble)?;
        std::fs::File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(trouble)?;
        Channel::open(&folder, channel_id, self.options.clone())
    }
}

fn is_channel_id(name: &str) -> bool {
    let rest = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || ".-".contains(character);
    name.len() <= ID_LENGTH_MAX && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_id_is_safe_as_a_folder_name() {
        assert!(is_channel_id("mychannel") && is_channel_id("a.b-1"));
        for wrong in ["", "..", "../x", "a/b", "Abc", "1a", "a b", ".joining-a", &"a".repeat(250)] {
            assert!(!is_channel_id(wrong), "{wrong}");
        }
    }
}
