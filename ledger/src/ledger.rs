//! A channel's ledger: what others ask of it. Blocks come in through [`Ledger::commit`].

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use ripstop_proto::block::header_hash;
use ripstop_proto::common::{Block, BlockchainInfo};
use ripstop_proto::hash::Hash;
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::ripstop::v1::BlockRecord;
use tokio::sync::watch;

use crate::block_store::{self, BlockStore};
use crate::commit::Writer;
use crate::contents;
use crate::derived;
use crate::error::LedgerError;
use crate::explanation::EXPLAINED_BLOCKS;
use crate::files::{FileError, Files};
use crate::history::History;
use crate::roots::Roots;
use crate::simulator::Simulator;
use crate::state::StateView;
use crate::store::{Batch, Store, StoreError, Stores};

/// Committed blocks kept in memory.
const RECENT_BLOCKS: usize = 8;

/// What a ledger stands on.
#[derive(Clone)]
pub struct Options {
    /// Where the block store's files are.
    pub files: Arc<dyn Files>,
    /// Where the store of index and state is.
    pub stores: Arc<dyn Stores>,
    /// How blocks are written.
    pub blocks: block_store::Settings,
    /// For how many blocks it is kept why transactions are invalid, at least 1.
    pub explained_blocks: u64,
    /// How the state trie is kept; `None` where blocks get no roots, as in tests of contracts.
    pub trie: Option<TrieSettings>,
}

/// How the trie over the state is kept. Roots do not depend on it.
#[derive(Debug, Clone, Copy)]
pub struct TrieSettings {
    /// Bytes of memory for its nodes; others are read when they are needed.
    pub memory_bytes: usize,
    /// Blocks between two writes of what changed; about so many are looked at again after a crash.
    pub checkpoint_blocks: u64,
}

impl Default for TrieSettings {
    /// Memory for all nodes of about 300,000 keys.
    fn default() -> Self {
        Self { memory_bytes: 96 << 20, checkpoint_blocks: 256 }
    }
}

impl Options {
    /// Everything in memory, for tests: files and stores that only these options know.
    pub fn in_memory() -> Self {
        Self {
            files: Arc::new(crate::files::MemoryFiles::new()),
            stores: Arc::new(crate::store::MemoryStores::new()),
            blocks: block_store::Settings::default(),
            explained_blocks: EXPLAINED_BLOCKS,
            trie: Some(TrieSettings::default()),
        }
    }
}

#[cfg(feature = "leveldb")]
impl Default for Options {
    /// On the disk, index and state in LevelDB.
    fn default() -> Self {
        Self {
            files: Arc::new(crate::files::DiskFiles),
            stores: Arc::new(crate::store::LevelDbStores::default()),
            blocks: block_store::Settings::default(),
            explained_blocks: EXPLAINED_BLOCKS,
            trie: Some(TrieSettings::default()),
        }
    }
}

/// Where a transaction stands, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionPosition {
    /// Number of the block.
    pub block_number: u64,
    /// Index in the block from 0.
    pub tx_index: u32,
    /// Its final code.
    pub code: TxValidationCode,
}

/// The ledger of one channel: its blocks, and index and state derived from them.
///
/// Reads see one height: that of the last block whose state is visible.
pub struct Ledger {
    pub(crate) channel_id: String,
    pub(crate) folder: PathBuf,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) blocks: Arc<BlockStore>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) writer: Mutex<Writer>,
    /// The state trie; as far as the newest block, whose state may not be visible yet.
    pub(crate) roots: Option<Mutex<Roots>>,
    pub(crate) published: RwLock<StateView>,
    /// The newest blocks, which many ask for at once right after their commit.
    pub(crate) recent: Mutex<VecDeque<Arc<Block>>>,
    pub(crate) heights: watch::Sender<u64>,
    pub(crate) explained_blocks: u64,
}

impl Ledger {
    /// The channel's id, as its genesis block states it.
    pub fn channel_id(&self) -> &str {
        &self.channel_id
    }

    /// The number of blocks that readers see.
    pub fn height(&self) -> u64 {
        self.published.read().height()
    }

    /// Follows the height. It moves only once block, index and state are visible.
    pub fn heights(&self) -> watch::Receiver<u64> {
        self.heights.subscribe()
    }

    /// The state at the current height.
    pub fn state(&self) -> StateView {
        self.published.read().clone()
    }

    /// A simulator on the state at the current height.
    pub fn simulator(&self) -> Simulator {
        Simulator::new(self.state(), Arc::clone(&self.blocks))
    }

    /// A block with its codes and commit hash; `None` at or above the height.
    ///
    /// # Errors
    /// When the block store cannot be read.
    pub fn block(&self, number: u64) -> Result<Option<Arc<Block>>, LedgerError> {
        if number >= self.height() {
            return Ok(None);
        }
        let has_number = |block: &&Arc<Block>| block.header.as_ref().is_some_and(|header| header.number == number);
        if let Some(block) = self.recent.lock().iter().find(has_number) {
            return Ok(Some(Arc::clone(block)));
        }
        Ok(self.blocks.block(number)?.map(Arc::new))
    }

    /// All that is stored of a block; `None` at or above the height.
    ///
    /// # Errors
    /// When the block store cannot be read.
    pub fn record(&self, number: u64) -> Result<Option<BlockRecord>, LedgerError> {
        match number < self.height() {
            true => Ok(self.blocks.record(number)?),
            false => Ok(None),
        }
    }

    /// The number of the block with this hash.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn block_number_by_hash(&self, hash: &Hash) -> Result<Option<u64>, LedgerError> {
        Ok(derived::block_number(self.state().snapshot(), hash)?)
    }

    /// The earliest transaction with this id, valid or not.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn transaction(&self, tx_id: &str) -> Result<Option<TransactionPosition>, LedgerError> {
        Ok(derived::position(self.state().snapshot(), tx_id)?)
    }

    /// The envelope at a position, as it stands in its block, and its code; `None` where
    /// there is none.
    ///
    /// # Errors
    /// When the block store cannot be read.
    pub fn envelope(&self, block_number: u64, tx_index: u32) -> Result<Option<(Bytes, TxValidationCode)>, LedgerError> {
        let Some(block) = self.block(block_number)? else { return Ok(None) };
        let index = tx_index as usize;
        let entry = block.data.as_ref().and_then(|data| data.data.get(index)).cloned();
        let code = contents::codes(&block).and_then(|codes| codes.get(index).copied());
        Ok(entry.zip(code))
    }

    /// The writes of a public key by transactions that were valid, newest first.
    pub fn history(&self, namespace: &str, key: &str) -> History {
        History::of(self.state().snapshot(), Arc::clone(&self.blocks), namespace, key)
    }

    /// Height and the hashes of the last block and of the one before.
    ///
    /// # Errors
    /// When the last block cannot be read.
    pub fn chain_info(&self) -> Result<BlockchainInfo, LedgerError> {
        let height = self.height();
        let last = self.block(height.saturating_sub(1))?;
        let header = last.and_then(|block| block.header.clone()).unwrap_or_default();
        Ok(BlockchainInfo {
            height,
            current_block_hash: header_hash(&header).to_vec().into(),
            previous_block_hash: header.previous_hash,
            ..BlockchainInfo::default()
        })
    }

    /// Has index and state built again from the blocks at the next opening, for when a
    /// read says [`StoreError::Damaged`]. The ledger does so by itself when a commit fails
    /// for that reason.
    pub fn rebuild_at_next_start(&self) {
        match mark_for_rebuild(self.files.as_ref(), &self.folder) {
            Ok(()) => {
                tracing::error!(channel = %self.channel_id, "index and state are rebuilt from the blocks at the next start");
            }
            Err(error) => {
                tracing::error!(channel = %self.channel_id, %error, "cannot mark index and state for a rebuild");
            }
        }
    }

    /// Keeps a block at hand for those who read it soon.
    pub(crate) fn remember(&self, block: Arc<Block>) {
        let mut recent = self.recent.lock();
        if recent.len() == RECENT_BLOCKS {
            recent.pop_front();
        }
        recent.push_back(block);
    }

    /// Shows a new state to readers, then tells those who wait for the height.
    pub(crate) fn publish(&self, view: StateView) {
        let height = view.height();
        *self.published.write() = view;
        self.heights.send_replace(height);
    }
}

impl Drop for Ledger {
    /// Makes the derived store durable, so that the next start has nothing to replay.
    fn drop(&mut self) {
        // After a failure nothing more is written: what is true is found out at the next start.
        if self.writer.get_mut().ended.is_some() {
            return;
        }
        let saved = self.roots.as_ref().map_or(Ok(()), |roots| roots.lock().close());
        let synced: Result<(), StoreError> = saved.and_then(|()| self.store.write(&Batch::default(), true));
        if let Err(error) = synced {
            tracing::warn!(channel = %self.channel_id, %error, "index and state were not synced, the next start replays some blocks");
        }
    }
}

/// The file whose presence has index and state rebuilt.
pub(crate) fn rebuild_mark(folder: &Path) -> PathBuf {
    folder.join("rebuild")
}

/// Leaves the mark.
pub(crate) fn mark_for_rebuild(files: &dyn Files, folder: &Path) -> Result<(), FileError> {
    files.open(&rebuild_mark(folder))?.sync()?;
    files.sync_folder(folder)
}
