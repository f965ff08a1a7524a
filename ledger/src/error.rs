//! What can go wrong with a ledger, apart from the normal outcomes, which are codes.

use std::path::PathBuf;

use crate::block_store::BlockStoreError;
use crate::files::FileError;
use crate::store::StoreError;

/// Opening or reading a ledger failed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The block store.
    #[error(transparent)]
    Blocks(#[from] BlockStoreError),
    /// The store of index and state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A ledger is there already.
    #[error("{path} holds a ledger of {height} blocks already: open it instead of creating it", path = folder.display())]
    Exists {
        /// The ledger's folder.
        folder: PathBuf,
        /// Its height.
        height: u64,
    },
    /// There is no ledger, or its creation was interrupted before the genesis block was stored.
    #[error("{path} holds no block: create the ledger with its genesis block", path = folder.display())]
    Empty {
        /// The ledger's folder.
        folder: PathBuf,
    },
    /// The genesis block cannot begin this ledger.
    #[error("this block cannot begin the ledger of channel {channel_id:?}: {reason}")]
    Genesis {
        /// The channel the ledger was to be for.
        channel_id: String,
        /// What is wrong with the block.
        reason: String,
    },
    /// The state knows of blocks that the block store has lost.
    #[error("the state of {path} stands at height {state_height}, but only {height} blocks are stored: stored blocks were lost. Restore the block files from a copy; or move the folder `derived` away, then the state is built from the blocks that are left and the rest is fetched again", path = folder.display())]
    BlocksLost {
        /// The ledger's folder.
        folder: PathBuf,
        /// Blocks in the store.
        height: u64,
        /// Blocks that the state has applied.
        state_height: u64,
    },
    /// Our own record does not agree with itself.
    #[error("block {number} of {path} is not what was committed: {reason}; the node must not go on with this ledger", path = folder.display())]
    Contradiction {
        /// The ledger's folder.
        folder: PathBuf,
        /// The block.
        number: u64,
        /// What differs.
        reason: String,
    },
}

impl LedgerError {
    /// Whether the process has to end (a failed write or sync).
    pub fn must_end(&self) -> bool {
        match self {
            Self::Blocks(error) => error.must_end(),
            Self::File(error) => error.must_end(),
            Self::Store(error) => matches!(error, StoreError::Failed(_)),
            Self::Contradiction { .. } => true,
            _ => false,
        }
    }
}

/// A block was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The block does not follow the last one. The source of the block is to be doubted.
    #[error("block {number} does not follow the ledger of height {height}: {reason}")]
    NotNext {
        /// The number of the offered block.
        number: u64,
        /// The ledger's height.
        height: u64,
        /// What is wrong.
        reason: String,
    },
    /// The caller did not judge every transaction.
    #[error("block {number} has {entries} transactions but {verdicts} verdicts")]
    Verdicts {
        /// The block.
        number: u64,
        /// Its transactions.
        entries: usize,
        /// The verdicts that came with it.
        verdicts: usize,
    },
    /// The disk is full. Stop taking blocks, go on reading, offer the same block again
    /// once there is space.
    #[error("no space to commit block {number}: {reason}")]
    NoSpace {
        /// The block.
        number: u64,
        /// Which file or store.
        reason: String,
    },
    /// What is on the disk is unknown or damaged. The process has to end; it recovers at
    /// its next start.
    #[error("block {number} could not be committed and this node has to stop: {reason}")]
    Fatal {
        /// The block.
        number: u64,
        /// The cause.
        reason: String,
    },
}

impl CommitError {
    /// Whether the process has to end.
    pub fn must_end(&self) -> bool {
        matches!(self, Self::Fatal { .. })
    }

    /// Whether freeing space mends it.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }

    pub(crate) fn blocks(number: u64, error: &BlockStoreError) -> Self {
        match error.is_no_space() {
            true => Self::NoSpace { number, reason: error.to_string() },
            false => Self::Fatal { number, reason: error.to_string() },
        }
    }

    pub(crate) fn store(number: u64, error: &StoreError) -> Self {
        match error {
            // In use: readers hold the store that is to be opened again after the disk was full.
            StoreError::NoSpace(_) | StoreError::InUse(_) => Self::NoSpace { number, reason: error.to_string() },
            _ => Self::Fatal { number, reason: error.to_string() },
        }
    }
}
