//! The last roots stay provable: for each recent block, how to take it back.
//!
//! A [`Reversal`] lists the branches a block changed as they were before: their shape, and those
//! children that changed. The branch at some place as of an older block is put together from the
//! reversals of all later blocks, the oldest first, and from the trie as it is for what none of
//! them changed. Dropping the oldest entry forgets a root and touches nothing else.
//!
//! Checkpoints write the entries too, so roots stay provable across a restart:
//! ```text
//! entry     root (32) ‖ reversal of the top ‖ of each subtrie ‖ first 4 bytes of Keccak-256 of all
//! reversal  count (4) ‖ start of each record (4 each) ‖ length (4) ‖ records, see `record.rs`
//! ```

use std::collections::VecDeque;

use crate::keccak::{Hash, keccak256};
use crate::nibbles::{Path, begins_with};
use crate::record::{Image, read_place, take};
use crate::store::RecordKey;

/// Branches of one subtrie before a block changed them, in the order of their paths.
#[derive(Debug, Default)]
pub(crate) struct Reversal {
    records: Vec<u8>,
    starts: Vec<u32>,
}

impl Reversal {
    /// Makes room for the reversal of so many writes, by what one usually takes.
    pub(crate) fn reserve(&mut self, writes: usize) {
        self.records.reserve(writes * 224);
        self.starts.reserve(writes * 3);
    }

    /// Adds a branch. Branches come in the order of their paths, parents before children.
    pub(crate) fn add(&mut self, record: impl FnOnce(&mut Vec<u8>)) {
        self.starts.push(self.records.len() as u32);
        record(&mut self.records);
    }

    /// The highest branch at or below the first `place` nibbles of `path`.
    fn at(&self, path: &Path, place: usize) -> Option<Image> {
        let position = |start: &u32| read_place(self.record(*start)).map(|(path, depth, _)| (path, depth));
        let index = self.starts.partition_point(|start| position(start) < Some((*path, place)));
        let start = *self.starts.get(index)? as usize;
        let end = self.starts.get(index + 1).map_or(self.records.len(), |end| *end as usize);
        let image = Image::read(&self.records[start..end])?;
        (image.depth >= place && begins_with(&image.path, path, place)).then_some(image)
    }

    fn record(&self, start: u32) -> &[u8] {
        &self.records[start as usize..]
    }

    fn bytes(&self) -> usize {
        self.records.capacity() + self.starts.capacity() * 4
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.starts.len() as u32).to_be_bytes());
        self.starts.iter().for_each(|start| out.extend_from_slice(&start.to_be_bytes()));
        out.extend_from_slice(&(self.records.len() as u32).to_be_bytes());
        out.extend_from_slice(&self.records);
    }

    fn read(rest: &mut &[u8]) -> Option<Self> {
        let count = take_u32(rest)? as usize;
        let starts = take(rest, count.checked_mul(4)?)?.chunks_exact(4);
        let starts: Vec<u32> = starts.filter_map(|mut start| take_u32(&mut start)).collect();
        let length = take_u32(rest)?;
        let records = take(rest, length as usize)?.to_vec();
        let in_order = starts.is_sorted() && starts.last().is_none_or(|last| *last <= length);
        in_order.then_some(Self { records, starts })
    }
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?))
}

/// How one block is taken back.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The block before it, and that block's root.
    pub(crate) number: u64,
    pub(crate) root: Hash,
    /// The children of the trie's root, then the branches of each subtrie.
    pub(crate) top: Reversal,
    pub(crate) subtries: [Reversal; 16],
}

impl Kept {
    /// The key of the entry that leads back to block `number`.
    pub(crate) fn key(number: u64) -> RecordKey {
        [&number.to_be_bytes()[..], &[0xfe]].concat()
    }

    /// The entry as a checkpoint writes it.
    pub(crate) fn record(&self) -> Vec<u8> {
        let mut out = self.root.to_vec();
        self.top.put(&mut out);
        self.subtries.iter().for_each(|reversal| reversal.put(&mut out));
        let sum = keccak256(&out);
        out.extend_from_slice(&sum[..4]);
        out
    }

    /// Reads an entry; none when the bytes are not one.
    pub(crate) fn read(number: u64, record: &[u8]) -> Option<Self> {
        let (mut rest, sum) = record.split_at_checked(record.len().checked_sub(4)?)?;
        if keccak256(rest)[..4] != *sum {
            return None;
        }
        let root = take(&mut rest, 32)?.try_into().ok()?;
        let top = Reversal::read(&mut rest)?;
        let mut subtries: [Reversal; 16] = Default::default();
        for reversal in &mut subtries {
            *reversal = Reversal::read(&mut rest)?;
        }
        rest.is_empty().then_some(Self { number, root, top, subtries })
    }
}

/// The reversals of the last blocks, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    ring: VecDeque<Kept>,
}

impl Recent {
    /// Adds the reversal of the newest block and drops what is beyond `count`.
    pub(crate) fn push(&mut self, mut kept: Kept, count: usize) {
        for reversal in kept.subtries.iter_mut().chain([&mut kept.top]) {
            reversal.records.shrink_to_fit();
            reversal.starts.shrink_to_fit();
        }
        self.ring.push_back(kept);
        while self.ring.len() > count {
            self.ring.pop_front();
        }
    }

    /// Adds an entry before all others.
    pub(crate) fn push_older(&mut self, kept: Kept) {
        self.ring.push_front(kept);
    }

    /// The entries from block `number` on.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = &Kept> {
        self.ring.iter().skip_while(move |kept| kept.number < number)
    }

    /// The oldest block that can be proved without the trie as it is.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.ring.front().map(|kept| kept.number)
    }

    /// The root of block `number`, and the way back to it.
    pub(crate) fn since(&self, number: u64) -> Option<(Hash, Past<'_>)> {
        let index = self.ring.iter().position(|kept| kept.number == number)?;
        Some((self.ring[index].root, Past { recent: self, first: index }))
    }

    pub(crate) fn bytes(&self) -> usize {
        let reversals = self.ring.iter().flat_map(|kept| kept.subtries.iter().chain([&kept.top]));
        reversals.map(Reversal::bytes).sum::<usize>() + self.ring.len() * size_of::<Kept>()
    }
}

/// The reversals of all blocks after one.
#[derive(Clone, Copy)]
pub(crate) struct Past<'a> {
    recent: &'a Recent,
    first: usize,
}

impl Past<'_> {
    /// The branch that stood at the first `place` nibbles of `path`, as far as it changed since.
    /// What it lacks is as it is now.
    pub(crate) fn branch(&self, path: &Path, place: usize) -> Option<Image> {
        let mut found: Option<Image> = None;
        for kept in self.recent.ring.range(self.first..) {
            let reversal = if place == 0 { &kept.top } else { &kept.subtries[usize::from(path[0] >> 4)] };
            let Some(older) = reversal.at(path, place) else { continue };
            match &mut found {
                None => found = Some(older),
                Some(image) => image.fill(older),
            }
            if found.as_ref().is_some_and(Image::is_whole) {
                break;
            }
        }
        found
    }
}

impl Image {
    /// Takes over children that are not held yet from a later state of the same branch.
    pub(crate) fn fill(&mut self, later: Image) {
        if later.path != self.path || later.depth != self.depth {
            return;
        }
        for (nibble, child) in later.children.into_iter().enumerate() {
            let own = &mut self.children[nibble];
            if own.is_none() && self.mask >> nibble & 1 == 1 {
                *own = child;
            }
        }
    }
}
