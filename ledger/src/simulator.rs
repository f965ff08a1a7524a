//! Running a chaincode's reads and writes over one unchanging state, and noting them.
//!
//! Reads give the committed state of one height, never the transaction's own writes. What
//! is noted, and in which order, is byte for byte what a Fabric peer notes, since all
//! endorsers of a transaction have to sign the same bytes.
//!
//! Public state is here, collections are in `private`, what is noted in `notes`.
//! Source: Fabric `core/ledger/kvledger/txmgmt/txmgr/{tx_simulator,query_executor}.go`.

mod error;
mod notes;
mod private;
mod range;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_proto::rwset::{TxPvtReadWriteSet, TxReadWriteSet};

use crate::block_store::BlockStore;
use crate::history::History;
use crate::state::{Metadata, StateView, metadata_of};
use crate::version::VersionedValue;
pub use error::SimulatorError;
use notes::{KeyNotes, Notes};
use range::Range;
pub use range::{Page, RangeId};

/// Notes what one transaction reads and writes.
pub struct Simulator {
    state: StateView,
    blocks: Arc<BlockStore>,
    notes: Notes,
    ranges: Vec<Range>,
    wrote: bool,
    ran_private_range: bool,
    read_page: bool,
}

/// What a transaction read and wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulationResult {
    /// The public sets and the hashes of the private ones: what gets endorsed.
    pub read_write_set: TxReadWriteSet,
    /// The private writes in clear; `None` when there are none.
    pub private: Option<TxPvtReadWriteSet>,
    /// Every key whose value or metadata is written, ascending. Looking them up is not noted.
    pub written_keys: Vec<WrittenKey>,
    /// Namespace and collection of which values, and not only hashes, were read.
    pub private_reads: BTreeSet<(String, String)>,
}

/// A key that a transaction writes, and the metadata that it has before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenKey {
    /// The chaincode's namespace.
    pub namespace: String,
    /// `None` for a public key.
    pub collection: Option<String>,
    /// The key in clear.
    pub key: String,
    /// As committed; empty where there is none, or no such key.
    pub metadata: Metadata,
}

impl Simulator {
    pub(crate) fn new(state: StateView, blocks: Arc<BlockStore>) -> Self {
        Self {
            state,
            blocks,
            notes: Notes::default(),
            ranges: Vec::new(),
            wrote: false,
            ran_private_range: false,
            read_page: false,
        }
    }

    /// The height of the state that is read.
    pub fn height(&self) -> u64 {
        self.state.height()
    }

    /// The state that is read, for reads that leave no trace in the read set.
    pub fn state(&self) -> &StateView {
        &self.state
    }

    /// The committed value of a key; noted as read, also when the key is absent.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn get_state(&mut self, namespace: &str, key: &str) -> Result<Option<Bytes>, SimulatorError> {
        Ok(self.read(namespace, key)?.map(|entry| entry.value))
    }

    /// The committed values of several keys, in order; each is noted as read.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn get_states<K: AsRef<str>>(
        &mut self,
        namespace: &str,
        keys: &[K],
    ) -> Result<Vec<Option<Bytes>>, SimulatorError> {
        keys.iter().map(|key| self.get_state(namespace, key.as_ref())).collect()
    }

    /// Writes a value; the last write of a key counts. An empty value is a delete.
    ///
    /// # Errors
    /// After a range over private data or a page.
    pub fn put_state(&mut self, namespace: &str, key: &str, value: Bytes) -> Result<(), SimulatorError> {
        self.begin_public_write(namespace, key)?.write(key, (!value.is_empty()).then_some(value));
        Ok(())
    }

    /// Deletes a key, which is a write even when the key is absent.
    ///
    /// # Errors
    /// As [`Simulator::put_state`].
    pub fn delete_state(&mut self, namespace: &str, key: &str) -> Result<(), SimulatorError> {
        self.put_state(namespace, key, Bytes::new())
    }

    /// The committed metadata of a key, empty where there is none; noted as a read of the key.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn get_metadata(&mut self, namespace: &str, key: &str) -> Result<Metadata, SimulatorError> {
        let entry = self.read(namespace, key)?;
        Ok(metadata_of(entry.as_ref())?)
    }

    /// Sets the metadata of a key, in place of all entries there are; none removes it. The
    /// last call of a key counts. It has no effect on a key that is absent when the
    /// transaction is committed.
    ///
    /// # Errors
    /// As [`Simulator::put_state`].
    pub fn put_metadata(&mut self, namespace: &str, key: &str, metadata: Metadata) -> Result<(), SimulatorError> {
        self.begin_public_write(namespace, key)?.write_metadata(key, metadata);
        Ok(())
    }

    /// Removes the metadata of a key.
    ///
    /// # Errors
    /// As [`Simulator::put_state`].
    pub fn delete_metadata(&mut self, namespace: &str, key: &str) -> Result<(), SimulatorError> {
        self.put_metadata(namespace, key, Metadata::new())
    }

    /// The writes of a key by transactions that were valid, newest first. Nothing is noted:
    /// a transaction does not lose because the history has gone on.
    pub fn history(&self, namespace: &str, key: &str) -> History {
        History::of(self.state.snapshot(), Arc::clone(&self.blocks), namespace, key)
    }

    /// Opens a walk over the committed keys from `start` up to but not including `end`; an
    /// empty `end` is the end of the namespace. Every row that is fetched is noted, also
    /// when it is fetched ahead, and so is the end if it is reached.
    pub fn open_range(&mut self, namespace: &str, start: &str, end: &str) -> RangeId {
        self.add_range(Range::public(&self.state, namespace, start, end))
    }

    /// Reads up to `rows_max` rows of a range as [`Simulator::open_range`] does, and says
    /// where the next page begins: its bookmark is the `start` of the next call. The row
    /// there is looked up but not noted. The transaction must not write.
    ///
    /// # Errors
    /// After a write; when the state cannot be read.
    pub fn read_page(
        &mut self,
        namespace: &str,
        start: &str,
        end: &str,
        rows_max: usize,
    ) -> Result<Page, SimulatorError> {
        if self.wrote {
            return Err(SimulatorError::PageAfterWrite);
        }
        self.read_page = true;
        let mut range = Range::public(&self.state, namespace, start, end);
        let page = range.page(rows_max);
        self.ranges.push(range);
        page
    }

    /// The next row of a range; `None` at its end.
    ///
    /// # Errors
    /// When the range is closed or the state cannot be read.
    pub fn next(&mut self, range: RangeId) -> Result<Option<(String, Bytes)>, SimulatorError> {
        self.ranges.get_mut(range.index()).ok_or(SimulatorError::UnknownRange)?.next()
    }

    /// Ends a range. What was noted of it stays; an unknown or closed range is no error.
    pub fn close_range(&mut self, range: RangeId) {
        if let Some(range) = self.ranges.get_mut(range.index()) {
            range.close();
        }
    }

    /// Ends the simulation.
    pub fn finish(mut self) -> SimulationResult {
        for range in std::mem::take(&mut self.ranges) {
            if let Some((namespace, info)) = range.into_info() {
                self.notes.namespace(&namespace).add_range(info);
            }
        }
        self.notes.into_result()
    }

    fn add_range(&mut self, range: Range) -> RangeId {
        self.ranges.push(range);
        RangeId::new(self.ranges.len() - 1)
    }

    fn read(&mut self, namespace: &str, key: &str) -> Result<Option<VersionedValue>, SimulatorError> {
        let entry = self.state.get(namespace, key)?;
        self.notes.namespace(namespace).public.read(key, &entry);
        Ok(entry)
    }

    fn begin_public_write(&mut self, namespace: &str, key: &str) -> Result<&mut KeyNotes, SimulatorError> {
        self.begin_write()?;
        if !self.notes.namespace(namespace).public.knows_metadata_before(key) {
            let before = metadata_of(self.state.get(namespace, key)?.as_ref())?;
            self.notes.namespace(namespace).public.set_metadata_before(key, before);
        }
        Ok(&mut self.notes.namespace(namespace).public)
    }

    fn begin_write(&mut self) -> Result<(), SimulatorError> {
        if self.ran_private_range {
            return Err(SimulatorError::WriteAfterPrivateRange);
        }
        if self.read_page {
            return Err(SimulatorError::WriteAfterPage);
        }
        self.wrote = true;
        Ok(())
    }
}
