//! The ordered key-value store under index and state.
//!
//! Everything in it is derived from blocks, so it may be thrown away and built again. Only
//! `leveldb` knows LevelDB; `memory` is its twin for tests and for use without a disk.
//! `cached` keeps in memory what is asked for often, over either.
//! A batch is applied wholly or not at all, and a snapshot never changes.

#[cfg(feature = "leveldb")]
mod leveldb;
mod memory;

mod cached;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

#[cfg(feature = "leveldb")]
pub use leveldb::LevelDbStores;
pub use memory::MemoryStores;

pub(crate) use cached::CachedStore;

/// Opens stores, one per folder.
pub trait Stores: Send + Sync {
    /// Opens the store in `folder`, creating an empty one where there is none. Only one
    /// process and one handle may have it open.
    fn open(&self, folder: &Path) -> Result<Arc<dyn Store>, StoreError>;

    /// Moves the store in `folder` out of the way, so that an empty one can be opened
    /// there. Returns where it is now; `None` when there was none.
    fn set_aside(&self, folder: &Path) -> Result<Option<String>, StoreError>;
}

/// An open store.
pub trait Store: Send + Sync {
    /// Applies a batch as one step. With `durable` it survives a power failure when this
    /// returns; without, it survives the end of the process, and a later durable batch
    /// makes it so.
    fn write(&self, batch: &Batch, durable: bool) -> Result<(), StoreError>;

    /// Makes the store writable again after a write failed for lack of space. All
    /// snapshots and cursors have to be let go of before; they are waited for, but not long.
    ///
    /// On [`StoreError::NoSpace`] and [`StoreError::InUse`] the store is as it was: try again.
    fn reopen(&self) -> Result<(), StoreError>;

    /// The content at this moment.
    fn snapshot(&self) -> Arc<dyn Snapshot>;
}

/// The content of a store at one moment.
pub trait Snapshot: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Walks over the keys from `start` on, ascending, up to but not including `end`.
    fn range(&self, start: &[u8], end: &[u8]) -> Box<dyn Cursor>;
}

/// A walk over a range of keys.
pub trait Cursor: Send {
    /// The next key and value; `None` at the end of the range, and then for ever.
    fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, StoreError>;
}

/// Changes that belong together, in order; the last one of a key wins.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push((key, Some(value)));
    }

    /// Removes a key, whether it is there or not.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.changes.push((key, None));
    }

    /// The changes in the order in which they were added; `None` removes.
    pub fn changes(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> {
        self.changes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }
}

/// What went wrong with a store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store is damaged or of unreadable content. It is derived: move it away and build it again.
    #[error("the store of index and state is damaged: {0}; it can be rebuilt from the blocks")]
    Damaged(String),
    /// The disk is full.
    #[error("no space left for the store of index and state: {0}; free some space on this disk, work then goes on")]
    NoSpace(String),
    /// Another process or an older handle still has it open.
    #[error("the store of index and state is in use by another process: {0}; stop that process first")]
    InUse(String),
    /// Anything else from below, such as a failed read, write or sync.
    #[error("the store of index and state failed: {0}; the node has to stop (check the disk)")]
    Failed(String),
}
