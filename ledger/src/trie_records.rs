//! The state trie's records in the store of index and state.
//!
//! ```text
//! 'm' record key   a record of the state trie, see trie/src/record.rs
//! ```
//! They lag behind the state: a checkpoint of the trie is written now and then, in one batch
//! with the mark that says of which block it is.

use std::sync::Arc;

use ripstop_trie::{NodeStore, StoreBatch};

use crate::store::{Batch, Store};

const PREFIX: u8 = b'm';
const AFTER_PREFIX: u8 = PREFIX + 1;
/// Records removed in one batch.
const CLEARED_AT_ONCE: usize = 4096;

/// See the module's text.
pub(crate) struct TrieRecords(pub(crate) Arc<dyn Store>);

/// Whether a key of the store is that of a record of the state trie.
pub(crate) fn is_record(key: &[u8]) -> bool {
    key.first() == Some(&PREFIX)
}

fn store_key(key: &[u8]) -> Vec<u8> {
    [&[PREFIX], key].concat()
}

impl NodeStore for TrieRecords {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ripstop_trie::StoreError> {
        Ok(self.0.snapshot().get(&store_key(key))?.map(Vec::from))
    }

    fn write(&self, batch: &StoreBatch) -> Result<(), ripstop_trie::StoreError> {
        let mut changes = Batch::default();
        batch.removed.iter().for_each(|key| changes.delete(store_key(key)));
        batch.put.iter().for_each(|(key, record)| changes.put(store_key(key), record.clone()));
        Ok(self.0.write(&changes, true)?)
    }

    fn clear(&self) -> Result<(), ripstop_trie::StoreError> {
        let mut records = self.0.snapshot().range(&[PREFIX], &[AFTER_PREFIX]);
        loop {
            let mut batch = Batch::default();
            while batch.changes().len() < CLEARED_AT_ONCE
                && let Some((key, _)) = records.next()?
            {
                batch.delete(key.to_vec());
            }
            if batch.changes().len() == 0 {
                return Ok(());
            }
            self.0.write(&batch, false)?;
        }
    }
}
