//! Checkpoints: the trie as of one block, copied a little per block, written in the background.
//!
//! ```text
//! begin_checkpoint ──▶ apply, apply, … (each copies a part) ──▶ take_checkpoint
//!                                          owner, any thread: Checkpoint::write
//! checkpoint_written ◀── WrittenCheckpoint ─────────────────────────┘
//! ```
//! Branches that changed since the last checkpoint carry its number. From `begin_checkpoint` on, a
//! branch that is about to change is copied first, and every block copies some of the others, so
//! the copy is the trie as it was at the beginning and no block waits for all of it. Records are
//! keyed by place and the newest overwrites, so nothing is ever collected; the marker with block
//! and root is part of the same batch. After a crash the write sets after the marker are applied
//! again.

use std::sync::Arc;

use crate::arena::NodeId;
use crate::error::Error;
use crate::keccak::{Hash, keccak256};
use crate::nibbles::{Path, begins_with, child_path, nibble};
use crate::record::{put_branch, record_key};
use crate::store::{NodeStore, StoreBatch};
use crate::subtrie::{ROOT_PLACE, Subtrie};

/// The key of the marker.
pub(crate) const MARKER_KEY: [u8; 1] = [0xff];

/// Version of the records' format.
const FORMAT: u8 = 1;

/// The changed records of a trie as of one block, to be written in one batch.
pub struct Checkpoint {
    pub(crate) store: Arc<dyn NodeStore>,
    pub(crate) batch: StoreBatch,
    pub(crate) number: u64,
}

/// Shows that a checkpoint is in the store.
#[derive(Debug)]
#[must_use = "the trie holds all changed nodes in memory until it is told"]
pub struct WrittenCheckpoint {
    pub(crate) number: u64,
}

impl Checkpoint {
    /// The block whose trie this is.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes that will be written.
    pub fn bytes(&self) -> usize {
        self.batch.bytes()
    }

    /// Writes it. Takes as long as the store takes, so call it where that disturbs nobody. After
    /// a failure the same checkpoint may be written again.
    pub fn write(&self) -> Result<WrittenCheckpoint, Error> {
        self.store.write(&self.batch).map_err(Error::Store)?;
        Ok(WrittenCheckpoint { number: self.number })
    }
}

/// The marker: format (1) ‖ block (8) ‖ root (32) ‖ first 4 bytes of Keccak-256 of all before.
pub(crate) fn marker(number: u64, root: &Hash) -> Vec<u8> {
    let mut marker = vec![FORMAT];
    marker.extend_from_slice(&number.to_be_bytes());
    marker.extend_from_slice(root);
    let sum = keccak256(&marker);
    marker.extend_from_slice(&sum[..4]);
    marker
}

/// Block and root of a marker; none when it is not one of this format.
pub(crate) fn read_marker(bytes: &[u8]) -> Option<(u64, Hash)> {
    let number = u64::from_be_bytes(bytes.get(1..9)?.try_into().ok()?);
    let root = bytes.get(9..41)?.try_into().ok()?;
    (bytes == marker(number, &root)).then_some((number, root))
}

impl Subtrie {
    /// Makes all branches due that changed up to now.
    pub(crate) fn begin_copying(&mut self) {
        self.cursor = Some([0; 32]);
    }

    /// Copies a branch that stands at `place`, if the checkpoint under way still lacks it.
    pub(crate) fn copy_if_due(&mut self, id: NodeId, place: usize, copying: u32) {
        let head = self.arena.branch(id).head;
        if copying == 0 || head.checkpoint != copying {
            return;
        }
        let key = record_key(&head.path, place);
        let mut record = Vec::with_capacity(128);
        put_branch(&mut record, &self.arena, id, u16::MAX);
        self.copied.push((key, record));
        self.arena.head_mut(id).checkpoint = 0;
    }

    /// Copies up to `limit` branches that are due, in the order of their paths.
    pub(crate) fn copy_some(&mut self, copying: u32, limit: usize) {
        let Some(from) = self.cursor else { return };
        let mut left = limit;
        let root = self.root.filter(|root| !root.is_leaf() && !root.is_unloaded());
        if root.is_none_or(|root| self.copy_below(root, ROOT_PLACE, copying, Some(&from), &mut left)) {
            self.cursor = None;
        }
    }

    /// Copies children before parents, so what is below a branch that is not due is done. Gives
    /// whether all was copied; `from` is where the last call stopped, as long as this is its way.
    fn copy_below(&mut self, id: NodeId, place: usize, copying: u32, from: Option<&Path>, left: &mut usize) -> bool {
        let head = *self.arena.branch(id).head;
        if head.checkpoint < copying {
            return true;
        }
        let depth = usize::from(head.depth);
        let from = from.filter(|from| begins_with(from, &head.path, depth));
        let first = from.map_or(0, |from| nibble(from, depth));
        for next in first..16 {
            let child = self.arena.branch(id).child(next);
            let Some(child) = child.filter(|child| !child.is_leaf() && !child.is_unloaded()) else { continue };
            if !self.copy_below(child, depth + 1, copying, from.filter(|_| next == first), left) {
                return false;
            }
            if *left == 0 {
                self.cursor = Some(last_below(&head.path, depth, next));
                return false;
            }
        }
        if head.checkpoint == copying {
            self.copy_if_due(id, place, copying);
            *left = left.saturating_sub(1);
        }
        true
    }
}

/// The greatest path below child `next` of a branch.
fn last_below(path: &Path, depth: usize, next: u8) -> Path {
    let mut last = child_path(path, depth, next);
    if (depth + 1) % 2 == 1 {
        last[depth / 2] |= 0x0f;
    }
    last[(depth + 2) / 2..].fill(0xff);
    last
}
