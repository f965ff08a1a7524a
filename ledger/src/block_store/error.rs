//! What can go wrong with a block store.

use std::path::PathBuf;

use crate::files::FileError;

/// What went wrong with a block store.
#[derive(Debug, thiserror::Error)]
pub enum BlockStoreError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// An earlier write or sync failed.
    #[error(
        "the block store does not write any more after a failed write or sync: end this process, it recovers at its next start"
    )]
    Ended,
    /// Bytes that were durable are unreadable.
    #[error("{path} is damaged at offset {offset}, block {number}: {reason}; nothing was changed. Restore this file from a copy, or move the whole folder away and let the node fetch the chain again", path = path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the unreadable record begins.
        offset: u64,
        /// The block that should be there.
        number: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A segment between others is missing.
    #[error("{path}: the segment that begins with block {expected} is missing, the next one found begins with block {found}; restore the missing file", path = folder.display())]
    MissingSegment {
        /// The store's folder.
        folder: PathBuf,
        /// The first block of the missing segment.
        expected: u64,
        /// The first block of the segment that was found instead.
        found: u64,
    },
    /// The store was opened to be looked at.
    #[error("this block store was opened for reading only")]
    ReadOnly,
    /// There is no segment in the folder.
    #[error("{path} holds no blocks", path = folder.display())]
    NoBlocks {
        /// The store's folder.
        folder: PathBuf,
    },
    /// The record has another number than the next one.
    #[error("block {found} cannot be stored, the next one is {expected}")]
    Number {
        /// The store's height.
        expected: u64,
        /// The number in the block's header; `None` without a header.
        found: String,
    },
    /// The record cannot be written.
    #[error("block {number} cannot be stored: {reason}")]
    Unwritable {
        /// The block.
        number: u64,
        /// Why.
        reason: String,
    },
}

impl BlockStoreError {
    /// Whether the process has to end.
    pub fn must_end(&self) -> bool {
        match self {
            Self::File(error) => error.must_end(),
            Self::Ended => true,
            _ => false,
        }
    }

    /// Whether freeing space mends it; the failed append may then be tried again.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::File(error) if error.is_no_space())
    }
}
