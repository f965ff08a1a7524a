//! The roots of each block: over the state after it, its transactions, and their results.
//!
//! The state trie is derived like everything but the blocks: it follows the state block by
//! block, its records in the store lag behind, and it is made anew from the state where the
//! two do not agree. What stands in the tries is told in `trie/src/state.rs`.

use std::sync::Arc;
use std::thread::JoinHandle;

use ripstop_proto::common::Block;
use ripstop_proto::hash::{Hash, sha256};
use ripstop_proto::protos::TxValidationCode;
use ripstop_trie::{
    Checkpoint, Path, PlainTrie, StateTrie, Write, WriteSet, WrittenCheckpoint, keccak256, result_leaf, state_leaf,
};

use crate::contents::Entry;
use crate::ledger::TrieSettings;
use crate::state::{self, Space, StateView};
use crate::store::{Store, StoreError};
use crate::trie_records::TrieRecords;
use crate::updates::Updates;

/// The state trie of a ledger, beside its state.
pub(crate) struct Roots {
    trie: StateTrie,
    store: Arc<dyn Store>,
    settings: TrieSettings,
    /// Height at the newest checkpoint.
    checkpointed: u64,
    writing: Option<Writing>,
}

/// A checkpoint on its way to the store.
struct Writing {
    checkpoint: Arc<Checkpoint>,
    thread: JoinHandle<Result<WrittenCheckpoint, ripstop_trie::Error>>,
}

impl Writing {
    fn begin(checkpoint: Arc<Checkpoint>) -> Result<Self, StoreError> {
        let own = Arc::clone(&checkpoint);
        let thread = std::thread::Builder::new().name("trie checkpoint".to_owned()).spawn(move || own.write());
        let thread = thread.map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(Self { checkpoint, thread })
    }
}

impl Roots {
    /// Opens the trie as it was left in the store.
    pub(crate) fn open(store: &Arc<dyn Store>, settings: TrieSettings) -> Result<Self, StoreError> {
        let records = Arc::new(TrieRecords(Arc::clone(store)));
        let opened = match StateTrie::open(Arc::<TrieRecords>::clone(&records), settings.memory_bytes) {
            Err(ripstop_trie::Error::Damaged { key }) => {
                tracing::warn!(key, "a record of the state trie is damaged");
                // It is then found to stand nowhere, and made anew.
                ripstop_trie::NodeStore::clear(records.as_ref()).map_err(boxed)?;
                StateTrie::open(records, settings.memory_bytes)
            }
            outcome => outcome,
        };
        let trie = opened.map_err(failed)?;
        let checkpointed = trie.number().unwrap_or(0);
        Ok(Self { trie, store: Arc::clone(store), settings, checkpointed, writing: None })
    }

    /// How many blocks are in the trie.
    pub(crate) fn height(&self) -> u64 {
        self.trie.number().map_or(0, |number| number + 1)
    }

    /// The root of the state after the newest block.
    pub(crate) fn state_root(&self) -> Hash {
        self.trie.root()
    }

    /// The trie, for proofs.
    pub(crate) fn trie(&self) -> &StateTrie {
        &self.trie
    }

    /// Brings the updates of the next block in, on `before`, the state that they change. A
    /// block that is in already (its record found no space) stays in.
    pub(crate) fn apply(&mut self, number: u64, updates: &Updates, before: &StateView) -> Result<Hash, StoreError> {
        if self.trie.number() == Some(number) {
            return Ok(self.trie.root());
        }
        let leaves = leaves_of(updates);
        match self.trie.apply(number, &write_set(&leaves)) {
            Err(ripstop_trie::Error::Damaged { key }) => {
                tracing::warn!(key, "a record of the state trie is damaged");
                self.rebuild(before)?;
                self.trie.apply(number, &write_set(&leaves)).map_err(failed)
            }
            outcome => outcome.map_err(failed),
        }
    }

    /// Brings in what several blocks wrote up to the last one of `now`: their keys, as they
    /// stand after it.
    pub(crate) fn catch_up(&mut self, keys: &[Vec<u8>], now: &StateView) -> Result<(), StoreError> {
        let mut leaves = Vec::with_capacity(keys.len());
        for key in keys {
            let entry = now.snapshot().get(key)?.map(state::decode_entry).transpose()?;
            leaves.push((state_path_of(key), entry.map(|entry| leaf_of(&entry))));
        }
        match self.trie.catch_up(now.height() - 1, &write_set(&leaves)) {
            Err(ripstop_trie::Error::Damaged { .. }) => self.rebuild(now),
            outcome => outcome.map(drop).map_err(failed),
        }
    }

    /// Makes the trie anew from the state.
    pub(crate) fn rebuild(&mut self, state: &StateView) -> Result<(), StoreError> {
        if state.height() > 0 {
            tracing::warn!(height = state.height(), "the state trie is made anew from the state");
        }
        if let Some(writing) = self.writing.take() {
            // Whatever came of it: its records are about to go.
            let _ = writing.thread.join();
        }
        let records = Arc::new(TrieRecords(Arc::clone(&self.store)));
        let Some(number) = state.height().checked_sub(1) else {
            ripstop_trie::NodeStore::clear(records.as_ref()).map_err(boxed)?;
            self.trie = StateTrie::open(records, self.settings.memory_bytes).map_err(failed)?;
            return Ok(());
        };
        let mut failure = None;
        let mut rows = state::all_rows(state.snapshot());
        let leaves = std::iter::from_fn(|| match rows.next().transpose()? {
            Ok((key, entry)) => Some((state_path_of(&key), leaf_of(&entry))),
            Err(error) => {
                failure = Some(error);
                None
            }
        });
        self.trie = StateTrie::rebuild(records, self.settings.memory_bytes, number, leaves).map_err(failed)?;
        self.checkpointed = number;
        failure.map_or(Ok(()), Err)
    }

    /// Begins a checkpoint when one is due, and has it written beside the next blocks.
    pub(crate) fn checkpoint_if_due(&mut self) -> Result<(), StoreError> {
        if self.writing.as_ref().is_some_and(|writing| writing.thread.is_finished()) {
            self.finish_writing()?;
        }
        if self.height() >= self.checkpointed + self.settings.checkpoint_blocks && self.trie.begin_checkpoint() {
            self.checkpointed = self.height();
        }
        if let Some(checkpoint) = self.trie.take_checkpoint() {
            self.writing = Some(Writing::begin(Arc::new(checkpoint))?);
        }
        Ok(())
    }

    /// Writes a checkpoint of the newest block, so that the next start has nothing to look at
    /// again.
    pub(crate) fn close(&mut self) -> Result<(), StoreError> {
        self.finish_writing()?;
        // One that had begun already is of an earlier block.
        for _ in 0..2 {
            self.trie.begin_checkpoint();
            self.trie.finish_copying();
            let Some(checkpoint) = self.trie.take_checkpoint() else { return Ok(()) };
            let written = checkpoint.write().map_err(failed)?;
            let is_newest = Some(checkpoint.number()) == self.trie.number();
            self.trie.checkpoint_written(written);
            if is_newest {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits for the checkpoint that is being written. Where it finds no space it is written
    /// again later: that it is late harms nobody.
    fn finish_writing(&mut self) -> Result<(), StoreError> {
        let Some(Writing { checkpoint, thread }) = self.writing.take() else { return Ok(()) };
        let panicked = |_| StoreError::Failed("writing a checkpoint of the state trie panicked".to_owned());
        match thread.join().map_err(panicked)?.map_err(failed) {
            Ok(written) => self.trie.checkpoint_written(written),
            Err(StoreError::NoSpace(_) | StoreError::InUse(_)) => self.writing = Some(Writing::begin(checkpoint)?),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The root over a block's envelopes.
pub(crate) fn transactions_root(block: &Block) -> Hash {
    let entries = block.data.as_ref().map_or(&[][..], |data| &data.data);
    PlainTrie::of_list(entries.iter().map(|entry| sha256(&[entry]))).root()
}

/// The root over what became of a block's transactions. Only a valid transaction has an event.
pub(crate) fn results_root(codes: &[TxValidationCode], entries: &[Entry]) -> Hash {
    let results = codes.iter().zip(entries).map(|(code, entry)| {
        let event_hash = entry.event_hash.as_ref().filter(|_| *code == TxValidationCode::Valid);
        result_leaf(*code as i32 as u8, event_hash)
    });
    PlainTrie::of_list(results).root()
}

/// Where a key's leaf stands: the key in the store is prefix, namespace, zero byte, key.
pub(crate) fn state_path_of(store_key: &[u8]) -> Path {
    keccak256(&store_key[1..])
}

/// The leaf of a committed entry.
pub(crate) fn leaf_of(entry: &crate::VersionedValue) -> Vec<u8> {
    let version = entry.version;
    state_leaf(version.block_number, version.tx_index, &entry.value, entry.metadata.as_deref())
}

/// A path and the leaf that comes there; none goes.
type Leaf = (Path, Option<Vec<u8>>);

fn leaves_of(updates: &Updates) -> Vec<Leaf> {
    let mut store_key = Vec::new();
    let leaves = updates.iter().filter(|(space, ..)| !matches!(space, Space::Private(..)));
    leaves
        .map(|(space, key, update)| {
            state::write_store_key(&mut store_key, space, key);
            let version = update.version;
            let leaf = update
                .value
                .as_ref()
                .map(|value| state_leaf(version.block_number, version.tx_index, value, update.metadata.as_deref()));
            (state_path_of(&store_key), leaf)
        })
        .collect()
}

fn write_set(leaves: &[Leaf]) -> WriteSet<'_> {
    WriteSet::new(leaves.iter().map(|(path, leaf)| Write { path: *path, value: leaf.as_deref() }))
}

/// The store's own error, where that is what the trie met.
fn failed(error: ripstop_trie::Error) -> StoreError {
    match error {
        ripstop_trie::Error::Store(error) => boxed(error),
        error => StoreError::Failed(error.to_string()),
    }
}

fn boxed(error: ripstop_trie::StoreError) -> StoreError {
    match error.downcast::<StoreError>() {
        Ok(error) => *error,
        Err(error) => StoreError::Failed(error.to_string()),
    }
}
