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

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::arena::NodeId;
use crate::error::Error;
use crate::keccak::{Hash, keccak256};
use crate::nibbles::{Path, begins_with, child_path, nibble};
use crate::recent::Kept;
use crate::record::{put_branch, record_key};
use crate::state_trie::{KEPT_ROOTS, StateTrie};
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

/// What became of the last checkpoint that was begun.
#[derive(Default)]
pub(crate) struct Saving {
    stage: Stage,
    /// The blocks whose reversals the store holds, or will when the checkpoint is written.
    reversals: Range<u64>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    Copying {
        number: u64,
        batch: StoreBatch,
        /// The block whose reversal is copied next.
        reversal: u64,
    },
    Writing {
        number: u64,
    },
}

impl Saving {
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }
}

impl StateTrie {
    /// Begins a checkpoint of the trie as it is now; the blocks applied from here on copy it.
    /// Gives false, and does nothing, while an earlier one is not written or no block was applied.
    pub fn begin_checkpoint(&mut self) -> bool {
        let (Stage::Idle, Some(number)) = (&self.saving.stage, self.number()) else { return false };
        let mut batch = StoreBatch::default();
        let mut top = Vec::new();
        self.put_top(&mut top);
        batch.put.push((record_key(&[0; 32], 0), top));
        batch.put.push((MARKER_KEY.to_vec(), marker(number, &self.root())));
        let oldest = self.recent.oldest().unwrap_or(number);
        let stored = std::mem::replace(&mut self.saving.reversals, oldest..number);
        batch.removed.extend((stored.start..stored.end.min(oldest)).map(Kept::key));
        for subtrie in self.subtries.iter_mut() {
            batch.removed.append(&mut subtrie.removed);
            subtrie.begin_copying();
        }
        self.saving.stage = Stage::Copying { number, batch, reversal: stored.end.max(oldest) };
        self.checkpoint += 1;
        true
    }

    /// The checkpoint whose branches are being copied, or 0.
    pub(crate) fn copying(&self) -> u32 {
        if matches!(self.saving.stage, Stage::Copying { .. }) { self.checkpoint - 1 } else { 0 }
    }

    /// Copies up to `limit` reversals for the checkpoint under way.
    pub(crate) fn copy_reversals(&mut self, limit: usize) {
        let Stage::Copying { number, batch, reversal } = &mut self.saving.stage else { return };
        for kept in self.recent.from(*reversal).take_while(|kept| kept.number < *number).take(limit) {
            batch.put.push((Kept::key(kept.number), kept.record()));
            *reversal = kept.number + 1;
        }
    }

    /// Brings back the reversals the store holds of the blocks before `number`.
    pub(crate) fn read_reversals(&mut self, number: u64) -> Result<(), Error> {
        self.saving.reversals = number..number;
        for older in (0..number).rev().take(KEPT_ROOTS) {
            let record = self.store.read(&Kept::key(older)).map_err(Error::Store)?;
            let Some(kept) = record.and_then(|record| Kept::read(older, &record)) else { break };
            self.recent.push_older(kept);
            self.saving.reversals.start = older;
        }
        Ok(())
    }

    /// Copies all that the checkpoint under way still lacks, for instance before the trie is
    /// closed. Takes time in proportion to what changed since the checkpoint before.
    pub fn finish_copying(&mut self) {
        let copying = self.copying();
        if copying != 0 {
            self.subtries.par_iter_mut().for_each(|subtrie| subtrie.copy_some(copying, usize::MAX));
            self.copy_reversals(usize::MAX);
        }
    }

    /// The checkpoint under way, once all of it is copied, to be written by the caller.
    pub fn take_checkpoint(&mut self) -> Option<Checkpoint> {
        let Stage::Copying { number, batch, reversal } = &mut self.saving.stage else { return None };
        let reversals_left = self.recent.from(*reversal).any(|kept| kept.number < *number);
        if reversals_left || self.subtries.iter().any(|subtrie| subtrie.cursor.is_some()) {
            return None;
        }
        let (number, mut batch) = (*number, std::mem::take(batch));
        for subtrie in self.subtries.iter_mut() {
            batch.put.append(&mut subtrie.copied);
        }
        self.saving.stage = Stage::Writing { number };
        Some(Checkpoint { store: Arc::clone(&self.store), batch, number })
    }

    /// Says that a checkpoint is in the store, so that memory may give up what it holds.
    pub fn checkpoint_written(&mut self, written: WrittenCheckpoint) {
        if matches!(self.saving.stage, Stage::Writing { number } if number == written.number) {
            self.saving.stage = Stage::Idle;
            self.make_room();
        }
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
        self.record.clear();
        put_branch(&mut self.record, &self.arena, id, u16::MAX);
        self.copied.push((key, self.record.clone()));
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
        self.fetch_below(id, first, copying);
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

/// Fetching ahead.
impl Subtrie {
    /// Has the children of a branch fetched, from one on, and the children of those that are due:
    /// they lie all over memory, and the waits overlap.
    fn fetch_below(&self, id: NodeId, first: u8, copying: u32) {
        let branch = self.arena.branch(id);
        let children = || (first..16).filter_map(|next| branch.child(next));
        children().for_each(|child| self.arena.fetch(child));
        for child in children().filter(|child| !child.is_leaf() && !child.is_unloaded()) {
            let branch = self.arena.branch(child);
            if branch.head.checkpoint >= copying {
                (0..16).filter_map(|next| branch.child(next)).for_each(|below| self.arena.fetch(below));
            }
        }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::{MemoryStore, Write, WriteSet};

    type Flat = BTreeMap<Path, Vec<u8>>;

    /// Paths that share long beginnings, so that branches stand deep, move and fold.
    fn block(random: &mut StdRng, flat: &mut Flat) -> Vec<(Path, Vec<u8>)> {
        let mut writes = Vec::new();
        for _ in 0..random.random_range(0..12) {
            let mut path = [0x55; 32];
            for _ in 0..random.random_range(1..4) {
                path[random.random_range(0..4)] ^= 1 << random.random_range(0..8);
            }
            let value = if random.random_bool(0.4) { Vec::new() } else { vec![1; random.random_range(1..90)] };
            writes.push((path, value));
        }
        for (path, value) in &writes {
            if value.is_empty() {
                flat.remove(path);
            } else {
                flat.insert(*path, value.clone());
            }
        }
        writes
    }

    #[test]
    fn a_checkpoint_copied_one_branch_per_block_is_the_trie_as_it_was_when_it_began() {
        for seed in 0..60 {
            let mut random = StdRng::seed_from_u64(seed);
            let store: Arc<dyn NodeStore> = Arc::new(MemoryStore::default());
            let mut trie = StateTrie::open(Arc::clone(&store), 0).unwrap();
            trie.copied_per_block = 16;
            let (mut flat, mut begun, mut opened) = (Flat::new(), (0, Flat::new()), 0);
            for number in 0..300 {
                let block = block(&mut random, &mut flat);
                let writes = block.iter().map(|(path, value)| Write { path: *path, value: Some(value) });
                trie.apply(number, &WriteSet::new(writes)).unwrap();
                if let Some(checkpoint) = trie.take_checkpoint() {
                    trie.checkpoint_written(checkpoint.write().unwrap());
                    let mut reopened = StateTrie::open(Arc::clone(&store), 0).unwrap();
                    assert_eq!(reopened.number(), Some(begun.0), "seed {seed}");
                    holds(&mut reopened, &begun.1);
                    opened += 1;
                }
                if trie.begin_checkpoint() {
                    begun = (number, flat.clone());
                }
            }
            assert!(opened > 5, "{opened}");
            holds(&mut trie, &flat);
        }
    }

    /// The trie has exactly these values, down to the last node.
    fn holds(trie: &mut StateTrie, flat: &Flat) {
        let mut fresh = StateTrie::in_memory();
        let writes = flat.iter().map(|(path, value)| Write { path: *path, value: Some(value) });
        assert_eq!(trie.root(), fresh.apply(0, &WriteSet::new(writes)).unwrap());
        for path in flat.keys() {
            assert_eq!(trie.prove(path).unwrap(), fresh.prove(path).unwrap());
        }
    }

    #[test]
    fn a_marker_with_any_byte_altered_is_none() {
        let marker = marker(300, &[7; 32]);
        assert_eq!(read_marker(&marker), Some((300, [7; 32])));
        for byte in 0..marker.len() {
            let mut altered = marker.clone();
            altered[byte] ^= 1;
            assert_eq!(read_marker(&altered), None);
        }
        assert_eq!(read_marker(&marker[..44]), None);
    }
}
