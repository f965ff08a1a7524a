//! The log as the Raft algorithm reads it: in memory, the twin of [`crate::raft_log`].
//!
//! Entries stand here as soon as the algorithm has made them, also before they are durable;
//! the consenter tells the algorithm separately how far the disk has come. A snapshot is the
//! place of the newest block: a follower that is behind the first kept entry fetches the
//! blocks up to there from another consenter, and goes on with the log.

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::raft_log::Recovered;
use crate::raft_record::{Position, entry_bytes};
use crate::raft_wire;

/// The kept part of the log, and the state beside it.
#[derive(Debug, Default)]
pub(crate) struct RaftStorage {
    hard_state: HardState,
    members: Vec<u64>,
    compacted: Position,
    entries: Vec<Entry>,
    blocks: Blocks,
}

/// What stands in the block store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// Index of the newest block's batch in the log; 0 for the genesis block.
    pub(crate) index: u64,
    /// How many blocks there are.
    pub(crate) height: u64,
}

impl RaftStorage {
    pub(crate) fn new(recovered: Recovered, blocks: Blocks) -> Self {
        let Recovered { hard_state, members, compacted, entries, torn: _ } = recovered;
        Self { hard_state, members, compacted, entries, blocks }
    }

    pub(crate) fn members(&self) -> &[u64] {
        &self.members
    }

    pub(crate) fn blocks(&self) -> Blocks {
        self.blocks
    }

    pub(crate) fn set_blocks(&mut self, blocks: Blocks) {
        self.blocks = blocks;
    }

    pub(crate) fn set_hard_state(&mut self, state: HardState) {
        self.hard_state = state;
    }

    /// Adds entries; they replace those of the same and all higher indexes.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(
            first.index > self.compacted.index && first.index <= self.last() + 1,
            "entry {} leaves a gap in a log of {} to {}",
            first.index,
            self.compacted.index + 1,
            self.last()
        );
        self.entries.truncate((first.index - self.compacted.index - 1) as usize);
        self.entries.extend_from_slice(entries);
    }

    pub(crate) fn last(&self) -> u64 {
        self.compacted.index + self.entries.len() as u64
    }

    /// The term of an entry, if it is still known.
    pub(crate) fn term_of(&self, index: u64) -> Option<u64> {
        match index.checked_sub(self.compacted.index)? {
            0 => Some(self.compacted.term),
            behind => self.entries.get(behind as usize - 1).map(|entry| entry.term),
        }
    }

    /// How far the log can be given up so that entries of at least `kept_bytes` stay before
    /// `applied`; `None` as long as less than double of that would be given up.
    pub(crate) fn compactable(&self, applied: u64, kept_bytes: u64) -> Option<Position> {
        let applied_count = applied.checked_sub(self.compacted.index)? as usize;
        let applied = &self.entries[..applied_count.min(self.entries.len())];
        let mut behind = 0;
        let kept = applied.iter().rev().take_while(|entry| {
            behind += entry_bytes(entry) as u64;
            behind <= kept_bytes
        });
        let given_up = &applied[..applied.len() - kept.count()];
        let bytes: u64 = given_up.iter().map(|entry| entry_bytes(entry) as u64).sum();
        let last = given_up.last().filter(|_| bytes > kept_bytes)?;
        Some(Position { index: last.index, term: last.term })
    }

    /// Gives up all entries: the log goes on after `position`.
    pub(crate) fn restore(&mut self, position: Position) {
        self.entries.clear();
        self.compacted = position;
    }

    /// Gives up the entries up to `position`.
    pub(crate) fn compact(&mut self, position: Position) {
        self.entries.drain(..(position.index - self.compacted.index) as usize);
        self.compacted = position;
    }
}

impl Storage for RaftStorage {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let members = ConfState::from((self.members.clone(), Vec::new()));
        Ok(RaftState { hard_state: self.hard_state.clone(), conf_state: members })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.compacted.index {
            return Err(StorageError::Compacted.into());
        }
        let place = |index: u64| (index - self.compacted.index - 1) as usize;
        let found = &self.entries[place(low)..place(high)];
        let mut room = max_size.into().unwrap_or(u64::MAX);
        let fits = found.iter().take_while(|entry| {
            let bytes = entry_bytes(entry) as u64;
            let fits = room >= bytes;
            room = room.saturating_sub(bytes);
            fits
        });
        let count = fits.count().max(found.len().min(1));
        Ok(found[..count].to_vec())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        self.term_of(index).ok_or_else(|| match index < self.compacted.index {
            true => StorageError::Compacted.into(),
            false => StorageError::Unavailable.into(),
        })
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.compacted.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let Blocks { index, height } = self.blocks;
        match self.term_of(index).filter(|term| *term > 0 && index >= request_index) {
            Some(term) => Ok(raft_wire::snapshot(Position { index, term }, height, &self.members)),
            None => Err(StorageError::SnapshotTemporarilyUnavailable.into()),
        }
    }
}
