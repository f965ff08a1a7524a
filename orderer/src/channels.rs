//! The channels of this orderer, and how one is joined.
//!
//! Each has its own folder below `channels/`; a channel is here from the moment its genesis
//! block is on disk, and again after every start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use ripstop_channel::{ChannelConfig, ConfigError};
use ripstop_ledger::files::{DiskFiles, Files};
use ripstop_msp::Certificate;
use ripstop_proto::block;
use ripstop_proto::common::Block;

use crate::channel::{Channel, ChannelError, Node};

/// All channels. Opening and joining block; call them where that is allowed.
pub(crate) struct Channels {
    folder: PathBuf,
    node: Node,
    joined: RwLock<BTreeMap<String, Arc<Channel>>>,
    joining: Mutex<()>,
}

/// Why a channel is not joined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    /// The block is not one to begin a channel with.
    #[error("invalid join block: {0}")]
    Block(String),
    /// The block's configuration is refused.
    #[error("invalid join block: {0}")]
    Config(#[from] ConfigError),
    /// The channel is here already.
    #[error("cannot join: channel already exists")]
    Exists,
    /// It cannot be stored or started.
    #[error("cannot join: {0}")]
    Channel(#[from] ChannelError),
}

impl Channels {
    /// Opens every channel that was joined.
    pub(crate) fn open(folder: PathBuf, node: Node) -> Result<Self, ChannelError> {
        let mut joined = BTreeMap::new();
        DiskFiles.create_folder(&folder)?;
        for channel_id in folders_in(&folder)? {
            let path = folder.join(&channel_id);
            match Channel::open(&path, &node)? {
                Some(channel) => _ = joined.insert(channel_id, Arc::new(channel)),
                None => {
                    tracing::warn!(channel_id, "removing what is left of an unfinished join: join the channel again");
                    remove_unfinished(&path)?;
                }
            }
        }
        Ok(Self { folder, node, joined: RwLock::new(joined), joining: Mutex::new(()) })
    }

    /// A channel, if it is here.
    pub(crate) fn get(&self, channel_id: &str) -> Option<Arc<Channel>> {
        self.joined.read().get(channel_id).cloned()
    }

    /// The ids of all channels, ascending.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.joined.read().keys().cloned().collect()
    }

    /// Whether a certificate is that of a consenter of any channel here.
    pub(crate) fn knows(&self, certificate: &Certificate) -> bool {
        self.joined.read().values().any(|channel| channel.members().id_of(certificate).is_some())
    }

    /// Joins the channel of a genesis block and starts ordering for it.
    pub(crate) fn join(&self, genesis: &Block) -> Result<(String, Arc<Channel>), JoinError> {
        let channel_id = checked_genesis(genesis)?;
        let _one_at_a_time = self.joining.lock();
        if self.get(&channel_id).is_some() {
            return Err(JoinError::Exists);
        }
        let path = self.folder.join(&channel_id);
        remove_unfinished(&path)?;
        let channel = Channel::create(&path, genesis, &self.node).map(Arc::new).inspect_err(|_| {
            if let Err(error) = remove_unfinished(&path) {
                tracing::warn!(channel_id, %error, "cannot remove what is left of an unfinished join");
            }
        })?;
        self.joined.write().insert(channel_id.clone(), Arc::clone(&channel));
        tracing::info!(channel_id, "joined the channel");
        Ok((channel_id, channel))
    }

    /// Ends all chains and waits for them.
    pub(crate) fn stop(&self) {
        for channel in self.joined.read().values() {
            channel.chain().stop();
        }
    }
}

/// The channel that a block may begin. Source: Fabric
/// `orderer/common/channelparticipation/validator.go`.
fn checked_genesis(genesis: &Block) -> Result<String, JoinError> {
    let refuse = |reason: &str| Err(JoinError::Block(reason.to_owned()));
    if !block::is_config(genesis) {
        return refuse("block is not a config block");
    }
    let Some(header) = &genesis.header else { return refuse("invalid block: does not have a header") };
    if genesis.metadata.as_ref().is_none_or(|metadata| metadata.metadata.is_empty()) {
        return refuse("invalid block: does not have metadata");
    }
    let entries = genesis.data.as_ref().map_or(&[][..], |data| &data.data);
    if header.data_hash != block::data_hash(entries)[..] {
        return refuse("invalid block: Header.DataHash is different from Hash(block.Data)");
    }
    let config = ChannelConfig::from_block(genesis)?;
    if config.application().is_none() {
        return refuse("invalid config: must contain application config");
    }
    if header.number > 0 {
        let reason = format!(
            "it has number {}: joining a running channel by its newest configuration block (onboarding) is not \
             implemented, join with the genesis block",
            header.number
        );
        return Err(JoinError::Block(reason));
    }
    Ok(config.channel_id().to_owned())
}

/// Removes the folder of a channel that was not joined, if there is one.
fn remove_unfinished(path: &Path) -> Result<(), ChannelError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(system("cannot remove", path, error)),
        _ => Ok(()),
    }
}

fn folders_in(folder: &Path) -> Result<Vec<String>, ChannelError> {
    let unreadable = |cause| system("cannot read", folder, cause);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_type().map_err(unreadable)?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn system(what: &str, path: &Path, cause: std::io::Error) -> ChannelError {
    ChannelError::System { what: format!("{what} {}", path.display()), cause }
}
