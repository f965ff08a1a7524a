//! One sixteenth of the state trie: all paths that begin with one nibble.
//!
//! A subtrie owns its nodes and belongs to one thread at a time. [`Subtrie::apply`] takes the
//! sorted writes of a block and walks each branch they reach once: the writes are split by nibble
//! as the walk goes down, and on the way up branches grow, shrink, or fold into their last child.
//! Links are left out of date and marked so; `commit.rs` computes them afterwards. Before a branch
//! changes it is told to the ring of recent roots (`recent.rs`) and to a checkpoint that still has
//! to copy it (`checkpoint.rs`).

use crate::arena::{Arena, Draft, Head, NodeId};
use crate::error::Error;
use crate::nibbles::{Path, begins_with, child_path, common_nibbles, nibble, truncated};
use crate::node::Link;
use crate::recent::Reversal;
use crate::record::{put_branch, record_key};
use crate::store::{NodeStore, RecordKey};
use crate::write_set::Write;

/// What a block's work on a subtrie needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) store: &'a dyn NodeStore,
    /// The checkpoint that will write what changes now.
    pub(crate) checkpoint: u32,
    /// The checkpoint whose nodes are being copied, or 0.
    pub(crate) copying: u32,
    /// Whether the block's root is to stay provable after later blocks.
    pub(crate) keep: bool,
}

#[derive(Default)]
pub(crate) struct Subtrie {
    pub(crate) arena: Arena,
    pub(crate) root: Option<NodeId>,
    /// The link to `root`.
    pub(crate) link: Link,
    /// Whether `link` is out of date.
    pub(crate) dirty: bool,
    /// How the block being applied is taken back.
    pub(crate) reversal: Reversal,
    /// Records that went since the last checkpoint.
    pub(crate) removed: Vec<RecordKey>,
    /// Where a record is put together.
    pub(crate) record: Vec<u8>,
    /// Records copied for the checkpoint under way.
    pub(crate) copied: Vec<(RecordKey, Vec<u8>)>,
    /// The place the checkpoint's copying has reached.
    pub(crate) cursor: Option<Path>,
}

/// What is to stand somewhere below a place: a value that is written, or a node that stays.
#[derive(Clone, Copy)]
struct Item<'w> {
    path: Path,
    source: Source<'w>,
}

#[derive(Clone, Copy)]
enum Source<'w> {
    Put(&'w [u8]),
    Keep(NodeId),
}

/// Paths followed together while nodes are fetched.
const WARMED_AT_ONCE: usize = 32;

/// The place of a subtrie's root: it is reached by one nibble.
pub(crate) const ROOT_PLACE: usize = 1;

impl Subtrie {
    /// Applies writes whose paths begin with `own`, sorted by path, each path once.
    pub(crate) fn apply(&mut self, own: u8, writes: &[Write<'_>], work: &Work<'_>) -> Result<(), Error> {
        if writes.is_empty() {
            return Ok(());
        }
        if self.root.is_some_and(NodeId::is_unloaded) {
            self.root = Some(self.load(&child_path(&[0; 32], 0, own), ROOT_PLACE, &self.link.clone(), work)?);
        }
        self.warm(writes);
        if work.keep {
            self.reversal.reserve(writes.len());
        }
        self.root = match self.root {
            Some(root) => self.write(root, ROOT_PLACE, writes, work)?,
            None => self.build(&puts(writes), ROOT_PLACE, work),
        };
        self.dirty = true;
        Ok(())
    }

    /// Goes down to many paths in lockstep and has each node fetched a round before it is read, so
    /// that the waits for memory overlap.
    fn warm(&self, writes: &[Write<'_>]) {
        let Some(root) = self.root else { return };
        for group in writes.chunks(WARMED_AT_ONCE) {
            let mut nodes = [Some(root); WARMED_AT_ONCE];
            nodes[group.len()..].fill(None);
            while nodes.iter().any(Option::is_some) {
                for (node, write) in nodes.iter_mut().zip(group) {
                    *node = node.and_then(|node| self.arena.towards(node, &write.path));
                    if let Some(node) = *node {
                        self.arena.fetch(node);
                    }
                }
            }
        }
    }

    /// Applies writes below `node`, which stands at `place`; gives what stands there then.
    fn write(
        &mut self,
        node: NodeId,
        place: usize,
        writes: &[Write<'_>],
        work: &Work<'_>,
    ) -> Result<Option<NodeId>, Error> {
        if node.is_leaf() {
            Ok(self.write_leaf(node, place, writes, work))
        } else {
            self.write_branch(node, place, writes, work)
        }
    }

    fn write_leaf(&mut self, leaf: NodeId, place: usize, writes: &[Write<'_>], work: &Work<'_>) -> Option<NodeId> {
        let path = *self.arena.leaf(leaf).path;
        if let [write] = writes
            && let Some(value) = write.value
            && write.path == path
        {
            return Some(self.arena.set_value(leaf, value));
        }
        let mut items = puts(writes);
        match writes.binary_search_by_key(&path, |write| write.path) {
            Ok(_) => self.arena.remove(leaf),
            Err(_) => {
                let at = items.partition_point(|item| item.path < path);
                items.insert(at, Item { path, source: Source::Keep(leaf) });
            }
        }
        self.build(&items, place, work)
    }

    fn write_branch(
        &mut self,
        id: NodeId,
        place: usize,
        writes: &[Write<'_>],
        work: &Work<'_>,
    ) -> Result<Option<NodeId>, Error> {
        let Head { path, depth, .. } = *self.arena.branch(id).head;
        let (before, inside, after) = split(writes, &path, depth.into());
        let splits = before.iter().chain(after).any(|write| write.value.is_some());
        if !splits && inside.is_empty() {
            return Ok(Some(id));
        }
        self.touch(id, place, changed(inside, depth.into(), splits), work);
        let remains = self.write_children(id, place, inside, work)?;
        if !splits {
            return Ok(remains);
        }
        let mut items = puts(before);
        items.extend(remains.map(|node| Item { path, source: Source::Keep(node) }));
        items.extend(puts(after));
        Ok(self.build(&items, place, work))
    }

    /// Applies writes below the children of a branch; gives what stands in the branch's place.
    fn write_children(
        &mut self,
        mut id: NodeId,
        place: usize,
        mut writes: &[Write<'_>],
        work: &Work<'_>,
    ) -> Result<Option<NodeId>, Error> {
        let Head { path, depth, .. } = *self.arena.branch(id).head;
        let depth = usize::from(depth);
        while let Some(first) = writes.first() {
            let next = nibble(&first.path, depth);
            let count = writes.iter().take_while(|write| nibble(&write.path, depth) == next).count();
            let (group, others) = writes.split_at(count);
            writes = others;
            let old = self.loaded_child(id, &path, depth, next, work)?;
            let new = match (old, group) {
                (Some(child), _) => self.write(child, depth + 1, group, work)?,
                (None, [write]) => write.value.map(|value| self.arena.insert_leaf(&write.path, value)),
                (None, _) => self.build(&puts(group), depth + 1, work),
            };
            if new != old {
                id = self.arena.set_child(id, next, new);
            }
            if new.is_some() {
                self.arena.head_mut(id).dirty |= 1 << next;
            }
        }
        self.fold(id, place, work)
    }

    /// A branch with one child gives its place to the child, one with none goes.
    fn fold(&mut self, id: NodeId, place: usize, work: &Work<'_>) -> Result<Option<NodeId>, Error> {
        let Head { path, depth, mask, .. } = *self.arena.branch(id).head;
        if mask.count_ones() > 1 {
            return Ok(Some(id));
        }
        let depth = usize::from(depth);
        let last = mask.trailing_zeros() as u8;
        let child = if mask == 0 { None } else { self.loaded_child(id, &path, depth, last, work)? };
        self.removed.push(record_key(&path, place));
        if let Some(child) = child.filter(|child| !child.is_leaf()) {
            self.touch(child, depth + 1, 0, work);
            self.removed.push(record_key(&child_path(&path, depth, last), depth + 1));
        }
        self.arena.remove(id);
        Ok(child)
    }

    /// Makes the node over `items`, which are sorted and reached at `place`.
    fn build(&mut self, items: &[Item<'_>], place: usize, work: &Work<'_>) -> Option<NodeId> {
        let (first, last) = (items.first()?, items.last()?);
        if let [item] = items {
            return Some(match item.source {
                Source::Put(value) => self.arena.insert_leaf(&item.path, value),
                Source::Keep(node) => node,
            });
        }
        let depth = common_nibbles(&first.path, &last.path);
        debug_assert!(depth >= place);
        let path = truncated(&first.path, depth);
        let head = Head {
            mask: 0,
            inlined: 0,
            dirty: 0,
            depth: depth as u8,
            visited: true,
            checkpoint: work.checkpoint,
            path,
        };
        let mut draft = Draft::new(head);
        for group in items.chunk_by(|a, b| nibble(&a.path, depth) == nibble(&b.path, depth)) {
            if let Some(child) = self.build(group, depth + 1, work) {
                draft.push(nibble(&group[0].path, depth), child, Link::NONE);
            }
        }
        draft.head.dirty = draft.head.mask;
        Some(self.arena.insert_branch(&draft))
    }

    /// Says that a branch standing at `place` is about to change, at the children of `changed`.
    fn touch(&mut self, id: NodeId, place: usize, changed: u16, work: &Work<'_>) {
        if work.keep && changed != 0 {
            self.reversal.add(|out| put_branch(out, &self.arena, id, changed));
        }
        self.copy_if_due(id, place, work.copying);
        let head = self.arena.head_mut(id);
        head.checkpoint = work.checkpoint;
        head.visited = true;
    }

    fn loaded_child(
        &mut self,
        id: NodeId,
        path: &Path,
        depth: usize,
        next: u8,
        work: &Work<'_>,
    ) -> Result<Option<NodeId>, Error> {
        let branch = self.arena.branch(id);
        let child = branch.child(next);
        if !child.is_some_and(NodeId::is_unloaded) {
            return Ok(child);
        }
        let link = branch.link(next);
        let child = self.load(&child_path(path, depth, next), depth + 1, &link, work)?;
        self.arena.replace_child(id, next, child);
        Ok(Some(child))
    }
}

/// The writes before, below and after a branch.
fn split<'s, 'w>(
    writes: &'s [Write<'w>],
    path: &Path,
    depth: usize,
) -> (&'s [Write<'w>], &'s [Write<'w>], &'s [Write<'w>]) {
    let inside = |write: &Write<'_>| begins_with(&write.path, path, depth);
    if writes.first().is_some_and(inside) && writes.last().is_some_and(inside) {
        return (&[], writes, &[]);
    }
    let (before, rest) = writes.split_at(writes.partition_point(|write| write.path < *path));
    let (below, after) = rest.split_at(rest.partition_point(inside));
    (before, below, after)
}

/// The children of a branch that writes below it may change; all, when the branch may go or move.
fn changed(writes: &[Write<'_>], depth: usize, splits: bool) -> u16 {
    if splits {
        return u16::MAX;
    }
    let (mut written, mut removed) = (0, 0);
    for write in writes {
        let bit = 1_u16 << nibble(&write.path, depth);
        written |= bit;
        removed |= if write.value.is_none() { bit } else { 0 };
    }
    if removed == 0 { written } else { u16::MAX }
}

fn puts<'w>(writes: &[Write<'w>]) -> Vec<Item<'w>> {
    let items = writes.iter().filter_map(|write| Some(Item { path: write.path, source: Source::Put(write.value?) }));
    items.collect()
}
