//! The trie of a ledger's state: the newest root, and the last ones, with proofs for all.
//!
//! Its owner applies the writes of one block after the other and is the only one who changes it;
//! readers get proofs, never nodes. Sixteen subtries share the work of a block among the threads
//! of the rayon pool the caller is in (`ThreadPool::install` chooses another one): the trie has no
//! threads of its own, and no clock. The root is the same whatever their number.

use std::sync::Arc;

use rayon::prelude::*;

use crate::arena::NodeId;
use crate::checkpoint::{MARKER_KEY, Saving, read_marker};
use crate::commit::Committer;
use crate::error::Error;
use crate::keccak::{Hash, Kernel, keccak256};
use crate::nibbles::{PATH_NIBBLES, Path, child_path};
use crate::node::{self, EMPTY_ROOT, Link};
use crate::recent::{Kept, Recent, Reversal};
use crate::record::{Child, Image, nibbles_of, put_child, put_head, record_key};
use crate::store::{MemoryStore, NodeStore};
use crate::subtrie::{Subtrie, Work};
use crate::write_set::{Write, WriteSet};

/// Roots before the newest that can be proved.
pub const KEPT_ROOTS: usize = 128;

/// Blocks with fewer writes than this are applied by one thread: waking others takes longer.
const SHARED_WRITES_MIN: usize = 128;

/// Subtries are hashed together until they have this many writes, which fill the lanes well; with
/// more, nodes would have left the nearest caches when they are hashed.
const HASHED_TOGETHER_MIN: usize = 96;

/// Branches a block copies for a checkpoint under way, beside those it changes itself.
const COPIED_PER_BLOCK: usize = 2048;

/// Reversals of earlier blocks a block copies for it.
const REVERSALS_COPIED_PER_BLOCK: usize = 8;

/// Keys applied at once when a trie is rebuilt.
const REBUILT_AT_ONCE: usize = 65_536;

/// A secure Merkle Patricia trie in memory, backed by a store.
pub struct StateTrie {
    pub(crate) store: Arc<dyn NodeStore>,
    kernel: Kernel,
    pub(crate) subtries: Box<[Subtrie; 16]>,
    root: Hash,
    number: Option<u64>,
    pub(crate) copied_per_block: usize,
    pub(crate) recent: Recent,
    /// The checkpoint that will write what changes now; counted from 1.
    pub(crate) checkpoint: u32,
    pub(crate) saving: Saving,
    memory_bytes: usize,
    /// Where the next sweep of memory begins, in sixteenths of sixteenths.
    sweep: u8,
    usable: bool,
}

impl StateTrie {
    /// Opens the trie of a store: as of its last checkpoint, or empty when there is none.
    ///
    /// Nodes are read when they are needed. They are held in up to `memory_bytes` bytes; nodes
    /// that changed since the last checkpoint always stay.
    pub fn open(store: Arc<dyn NodeStore>, memory_bytes: usize) -> Result<Self, Error> {
        let mut trie = Self::empty(store, memory_bytes);
        let Some(marker) = trie.store.read(&MARKER_KEY).map_err(Error::Store)? else { return Ok(trie) };
        let (number, root) = read_marker(&marker).ok_or_else(|| Error::damaged(&MARKER_KEY))?;
        let key = record_key(&[0; 32], 0);
        let record = trie.store.read(&key).map_err(Error::Store)?;
        let top = record.as_deref().and_then(Image::read).filter(|top| top.depth == 0 && top.is_whole());
        let top = top.ok_or_else(|| Error::damaged(&key))?;
        for nibble in nibbles_of(top.mask) {
            let (subtrie, child) =
                (&mut trie.subtries[usize::from(nibble)], top.children[usize::from(nibble)].as_ref());
            subtrie.root = Some(subtrie.insert_child(child));
            subtrie.link = child.map_or(Link::NONE, |child| child.link(1));
        }
        trie.number = Some(number);
        trie.root = trie.compute_root()?;
        trie.read_reversals(number)?;
        if trie.root == root { Ok(trie) } else { Err(Error::damaged(&key)) }
    }

    /// A trie that is never written anywhere.
    pub fn in_memory() -> Self {
        Self::empty(Arc::new(MemoryStore::default()), usize::MAX)
    }

    /// Empties the store and makes the trie of these leaves as of block `number`: what is done
    /// when the store was damaged. The first checkpoint writes all of it.
    pub fn rebuild(
        store: Arc<dyn NodeStore>,
        memory_bytes: usize,
        number: u64,
        leaves: impl IntoIterator<Item = (Path, Vec<u8>)>,
    ) -> Result<Self, Error> {
        store.clear().map_err(Error::Store)?;
        let mut trie = Self::empty(store, memory_bytes);
        let mut leaves = leaves.into_iter();
        loop {
            let some: Vec<(Path, Vec<u8>)> = leaves.by_ref().take(REBUILT_AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            let writes = some.iter().map(|(path, value)| Write { path: *path, value: Some(value) });
            trie.apply_writes(&WriteSet::new(writes), false)?;
            trie.root = trie.compute_root()?;
        }
        trie.number = Some(number);
        Ok(trie)
    }

    fn empty(store: Arc<dyn NodeStore>, memory_bytes: usize) -> Self {
        Self {
            store,
            kernel: Kernel::best(),
            subtries: Box::default(),
            root: EMPTY_ROOT,
            number: None,
            copied_per_block: COPIED_PER_BLOCK,
            recent: Recent::default(),
            checkpoint: 1,
            saving: Saving::default(),
            memory_bytes,
            sweep: 0,
            usable: true,
        }
    }

    /// Hashes with this kernel instead of the best this processor has. Roots stay the same.
    pub fn set_kernel(&mut self, kernel: Kernel) {
        self.kernel = kernel;
    }

    /// The root as of the last block.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The last block applied.
    pub fn number(&self) -> Option<u64> {
        self.number
    }

    /// Applies the writes of block `number`, and gives the root after it.
    ///
    /// Blocks come in order; the first may have any number. When this fails the trie is of no use
    /// any more: open it again and apply the blocks since its checkpoint, or rebuild it.
    pub fn apply(&mut self, number: u64, writes: &WriteSet<'_>) -> Result<Hash, Error> {
        if !self.usable {
            return Err(Error::Unusable);
        }
        if let Some(last) = self.number.filter(|last| number != last + 1) {
            return Err(Error::OutOfOrder { last, number });
        }
        let mut top = Reversal::default();
        top.add(|out| self.put_top(out));
        self.usable = false;
        self.apply_writes(writes, self.number.is_some())?;
        let before = self.root;
        self.root = self.compute_root()?;
        self.usable = true;
        if let Some(last) = self.number.replace(number) {
            let subtries = std::array::from_fn(|nibble| std::mem::take(&mut self.subtries[nibble].reversal));
            self.recent.push(Kept { number: last, root: before, top, subtries }, KEPT_ROOTS);
        }
        self.copy_reversals(REVERSALS_COPIED_PER_BLOCK);
        self.make_room();
        Ok(self.root)
    }

    /// Applies what several blocks wrote, as it stands after `number`, the last of them. Roots
    /// before this one cannot be proved any more.
    pub fn catch_up(&mut self, number: u64, writes: &WriteSet<'_>) -> Result<Hash, Error> {
        if !self.usable {
            return Err(Error::Unusable);
        }
        self.usable = false;
        self.recent = Recent::default();
        self.apply_writes(writes, false)?;
        self.root = self.compute_root()?;
        self.usable = true;
        self.number = Some(number);
        self.make_room();
        Ok(self.root)
    }

    fn apply_writes(&mut self, writes: &WriteSet<'_>, keep: bool) -> Result<(), Error> {
        let copying = self.copying();
        let work = Work { store: &*self.store, checkpoint: self.checkpoint, copying, keep };
        let parts = writes.by_first_nibble();
        let (kernel, copied) = (self.kernel, self.copied_per_block.div_ceil(16));
        let apply = |first: usize, group: &mut [Subtrie]| {
            let mut committer = Committer::new(kernel);
            let (mut begin, mut waiting) = (0, 0);
            for index in 0..group.len() {
                let (own, subtrie) = (first + index, &mut group[index]);
                subtrie.apply(own as u8, parts[own], &work)?;
                subtrie.copy_some(copying, copied);
                waiting += parts[own].len();
                if waiting >= HASHED_TOGETHER_MIN {
                    committer.commit(&mut group[begin..=index]);
                    (begin, waiting) = (index + 1, 0);
                }
            }
            committer.commit(&mut group[begin..]);
            Ok(())
        };
        if writes.writes().len() < SHARED_WRITES_MIN {
            return apply(0, &mut self.subtries[..]);
        }
        let share = 16_usize.div_ceil(rayon::current_num_threads());
        let groups = self.subtries.par_chunks_mut(share).enumerate();
        groups.try_for_each(|(index, group)| apply(index * share, group))
    }

    /// The root over the sixteen subtries: a branch, or their only node by a longer path.
    fn compute_root(&mut self) -> Result<Hash, Error> {
        let (mask, inlined, links) = self.top();
        let only = match mask.count_ones() {
            0 => return Ok(EMPTY_ROOT),
            1 => mask.trailing_zeros() as usize,
            _ => {
                let mut out = Vec::new();
                node::put_branch(&mut out, mask, inlined, &links);
                return Ok(keccak256(&out));
            }
        };
        let subtrie = &mut self.subtries[only];
        let Some(mut node) = subtrie.root else { return Ok(EMPTY_ROOT) };
        let mut out = Vec::new();
        if node.is_leaf() {
            let leaf = subtrie.arena.leaf(node);
            node::put_leaf(&mut out, leaf.path, 0..PATH_NIBBLES, leaf.value);
            return Ok(keccak256(&out));
        }
        if node.is_unloaded() {
            let work = Work { store: &*self.store, checkpoint: self.checkpoint, copying: 0, keep: false };
            let link = subtrie.link;
            node = subtrie.load(&child_path(&[0; 32], 0, only as u8), 1, &link, &work)?;
            subtrie.root = Some(node);
        }
        let branch = subtrie.arena.branch(node);
        node::put_branch(&mut out, branch.head.mask, branch.head.inlined, branch.links());
        Ok(keccak256(&node::extension(&branch.head.path, 0..branch.head.depth.into(), &Link::to(&out))))
    }

    /// Which subtries hold something, and the links to them.
    pub(crate) fn top(&self) -> (u16, u16, Vec<[u8; 32]>) {
        let (mut mask, mut inlined, mut links) = (0, 0, Vec::with_capacity(16));
        for (nibble, subtrie) in self.subtries.iter().enumerate().filter(|(_, subtrie)| subtrie.root.is_some()) {
            mask |= 1 << nibble;
            inlined |= u16::from(subtrie.link.inlined) << nibble;
            links.push(subtrie.link.bytes);
        }
        (mask, inlined, links)
    }

    pub(crate) fn put_top(&self, out: &mut Vec<u8>) {
        let mask = self.top().0;
        put_head(out, &[0; 32], 0, mask, mask);
        for subtrie in self.subtries.iter() {
            if let Some(root) = subtrie.root {
                put_child(out, &subtrie.arena, 0, root, &subtrie.link);
            }
        }
    }

    /// The trie's root as a record would hold it.
    pub(crate) fn top_image(&self) -> Image {
        let mut image = Image { path: [0; 32], depth: 0, mask: self.top().0, children: [const { None }; 16] };
        for (child, subtrie) in image.children.iter_mut().zip(self.subtries.iter()) {
            *child = subtrie.root.map(|root| subtrie.image_of(root, subtrie.link));
        }
        image
    }
}

/// Memory.
impl StateTrie {
    /// Bytes held: nodes in use, and what keeps recent roots provable.
    pub fn memory_bytes(&self) -> usize {
        self.node_bytes() + self.recent.bytes()
    }

    /// Bytes of the nodes in use: what the budget is for.
    pub fn node_bytes(&self) -> usize {
        self.subtries.iter().map(|subtrie| subtrie.arena.live_bytes()).sum()
    }

    /// Gives up nodes until they fit the budget again, or nothing more can be given up now.
    pub(crate) fn make_room(&mut self) {
        if !self.saving.is_idle() {
            return;
        }
        // Two rounds: the first takes the mark of what was visited, the second what stays without.
        for _ in 0..512 {
            if self.node_bytes() <= self.memory_bytes {
                return;
            }
            self.subtries[usize::from(self.sweep >> 4)].sweep(self.sweep & 0x0f);
            self.sweep = self.sweep.wrapping_add(1);
        }
    }
}

impl Subtrie {
    /// A node of this subtrie as a record would hold it.
    pub(crate) fn image_of(&self, node: NodeId, link: Link) -> Child {
        if node.is_leaf() {
            let leaf = self.arena.leaf(node);
            return Child::Leaf { path: *leaf.path, value: leaf.value.to_vec() };
        }
        Child::Branch(link)
    }
}
