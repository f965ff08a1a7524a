//! From changed nodes to links: hashing by level, many nodes at once.
//!
//! After the writes of a block, links on the way to what changed are out of date and marked so.
//! They are collected level by level from the top; then the leaves are hashed, and the levels from
//! the deepest up, so every link a branch holds is right before the branch itself is hashed. All
//! nodes of a level are independent, which is what fills the lanes of [`Batch`].

use crate::arena::NodeId;
use crate::keccak::{Batch, Hash, Kernel};
use crate::nibbles::PATH_NIBBLES;
use crate::node::{self, Link};
use crate::record::nibbles_of;
use crate::subtrie::{ROOT_PLACE, Subtrie};

/// A node to hash, and where its link goes.
#[derive(Clone, Copy)]
struct Stale {
    subtrie: usize,
    node: NodeId,
    /// The nibbles by which it is reached.
    place: usize,
    /// The parent and the child's nibble; none for the root of the subtrie.
    parent: Option<(NodeId, u8)>,
}

/// Hashes the changed nodes of subtries; one serves many of them.
pub(crate) struct Committer {
    batch: Batch<Stale>,
}

impl Committer {
    pub(crate) fn new(kernel: Kernel) -> Self {
        Self { batch: Batch::new(kernel) }
    }

    /// Brings the links of these subtries up to date, those to their roots included.
    pub(crate) fn commit(&mut self, subtries: &mut [Subtrie]) {
        let (leaves, branches) = collect(subtries);
        for leaf in leaves {
            hash_leaf(subtries, leaf, &mut self.batch);
        }
        finish(subtries, &mut self.batch);
        for level in branches.into_iter().rev() {
            for branch in level {
                hash_branch(subtries, branch, &mut self.batch);
            }
            finish(subtries, &mut self.batch);
        }
    }
}

/// The leaves to hash, and the branches by level, the top first. Clears their marks.
fn collect(subtries: &mut [Subtrie]) -> (Vec<Stale>, Vec<Vec<Stale>>) {
    let (mut leaves, mut levels) = (Vec::new(), Vec::new());
    let mut level = Vec::new();
    for (index, subtrie) in subtries.iter_mut().enumerate() {
        if !std::mem::take(&mut subtrie.dirty) {
            continue;
        }
        match subtrie.root {
            Some(node) => {
                let root = Stale { subtrie: index, node, place: ROOT_PLACE, parent: None };
                if node.is_leaf() { leaves.push(root) } else { level.push(root) }
            }
            None => subtrie.link = Link::NONE,
        }
    }
    while !level.is_empty() {
        let mut next = Vec::with_capacity(level.len());
        for above in &level {
            let arena = &mut subtries[above.subtrie].arena;
            let dirty = std::mem::take(&mut arena.head_mut(above.node).dirty);
            let branch = arena.branch(above.node);
            let place = usize::from(branch.head.depth) + 1;
            for nibble in nibbles_of(dirty) {
                let Some(node) = branch.child(nibble) else { continue };
                let stale = Stale { subtrie: above.subtrie, node, place, parent: Some((above.node, nibble)) };
                if node.is_leaf() { leaves.push(stale) } else { next.push(stale) }
            }
        }
        levels.push(std::mem::replace(&mut level, next));
    }
    (leaves, levels)
}

fn hash_leaf(subtries: &mut [Subtrie], stale: Stale, batch: &mut Batch<Stale>) {
    let leaf = subtries[stale.subtrie].arena.leaf(stale.node);
    let range = stale.place..PATH_NIBBLES;
    let length = node::leaf_bytes(range.len(), leaf.value);
    if length < 32 {
        let mut encoding = Vec::with_capacity(length);
        node::put_leaf(&mut encoding, leaf.path, range, leaf.value);
        return set_link(subtries, &stale, Link::to(&encoding));
    }
    let done = batch.add(stale, length, |out| node::put_leaf(out, leaf.path, range, leaf.value));
    set_hashes(subtries, done);
}

fn hash_branch(subtries: &mut [Subtrie], stale: Stale, batch: &mut Batch<Stale>) {
    let branch = subtries[stale.subtrie].arena.branch(stale.node);
    let (mask, inlined, links) = (branch.head.mask, branch.head.inlined, branch.links());
    let length = node::branch_bytes(mask, inlined, links);
    if length < 32 {
        let mut encoding = Vec::with_capacity(length);
        node::put_branch(&mut encoding, mask, inlined, links);
        return set_link(subtries, &stale, Link::to(&encoding));
    }
    let done = batch.add(stale, length, |out| node::put_branch(out, mask, inlined, links));
    set_hashes(subtries, done);
}

fn finish(subtries: &mut [Subtrie], batch: &mut Batch<Stale>) {
    set_hashes(subtries, batch.flush());
}

fn set_hashes(subtries: &mut [Subtrie], done: &[(Stale, Hash)]) {
    for (stale, hash) in done {
        set_link(subtries, stale, Link { bytes: *hash, inlined: false });
    }
}

/// Puts the link to a node where it belongs, by way of an extension where there is one.
fn set_link(subtries: &mut [Subtrie], stale: &Stale, link: Link) {
    let subtrie = &mut subtries[stale.subtrie];
    let link = if stale.node.is_leaf() { link } else { extended(subtrie, stale, link) };
    match stale.parent {
        Some((parent, nibble)) => subtrie.arena.set_link(parent, nibble, &link),
        None => subtrie.link = link,
    }
}

fn extended(subtrie: &Subtrie, stale: &Stale, link: Link) -> Link {
    let head = subtrie.arena.branch(stale.node).head;
    let depth = usize::from(head.depth);
    // About one branch in a hundred has an extension: not worth lanes.
    if depth == stale.place { link } else { Link::to(&node::extension(&head.path, stale.place..depth, &link)) }
}
