//! The door to whatever keeps node records: a few bytes by key, written in batches.
//!
//! The trie does no I/O itself. It reads records it does not hold in memory, and hands out
//! batches that its owner writes when and where that suits, see `checkpoint.rs`. Every record is
//! checked against the hash in its parent when it is read, so a store is believed in nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What went wrong in a store, in its own words.
pub type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// A key of a record: the nibbles of the node's place, packed, then their count; or, for
/// what is not a node, something that ends with a byte above 64.
pub type RecordKey = Vec<u8>;

/// Changes that are written in one atomic step: what goes first, then what comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreBatch {
    /// Keys whose records go.
    pub removed: Vec<RecordKey>,
    /// Records that come, or take the place of older ones. One may stand under a removed key.
    pub put: Vec<(RecordKey, Vec<u8>)>,
}

impl StoreBatch {
    /// Bytes of all keys and records.
    pub fn bytes(&self) -> usize {
        let put = self.put.iter().map(|(key, record)| key.len() + record.len());
        put.chain(self.removed.iter().map(Vec::len)).sum()
    }
}

/// Where node records are kept, the newest under each key.
pub trait NodeStore: Send + Sync {
    /// The record under `key`.
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes a batch in one atomic step, and returns when it is durable.
    fn write(&self, batch: &StoreBatch) -> Result<(), StoreError>;

    /// Removes every record.
    fn clear(&self) -> Result<(), StoreError>;
}

/// A store in memory, for tries that need no other and for tests.
#[derive(Debug, Default)]
pub struct MemoryStore {
    records: Mutex<BTreeMap<RecordKey, Vec<u8>>>,
}

impl NodeStore for MemoryStore {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.records.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn write(&self, batch: &StoreBatch) -> Result<(), StoreError> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &batch.removed {
            records.remove(key);
        }
        records.extend(batch.put.iter().cloned());
        Ok(())
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}
