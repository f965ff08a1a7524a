//! What of a subtrie is in memory: branches are read when they are needed, and given up when
//! memory runs short.
//!
//! A record is believed only when it has the hash its parent holds, so a store that lost, kept
//! back or mixed writes is noticed at the first read. Only branches that the store holds as they
//! are can be given up; their ancestors keep the hash, which brings them back.

use crate::arena::{Draft, Head, NodeId};
use crate::error::Error;
use crate::nibbles::{Path, begins_with};
use crate::node::Link;
use crate::record::{Child, Image, nibbles_of, record_key};
use crate::store::NodeStore;
use crate::subtrie::{Subtrie, Work};

/// Reads the branch at the first `place` nibbles of `path`, which has this link.
pub(crate) fn read(store: &dyn NodeStore, path: &Path, place: usize, link: &Link) -> Result<Image, Error> {
    let key = record_key(path, place);
    let record = store.read(&key).map_err(Error::Store)?;
    let image = record.as_deref().and_then(Image::read).ok_or_else(|| Error::damaged(&key))?;
    let stands_here = image.depth >= place && begins_with(&image.path, path, place) && image.mask.count_ones() > 1;
    if stands_here && image.is_whole() && image.link(place) == *link { Ok(image) } else { Err(Error::damaged(&key)) }
}

impl Subtrie {
    /// Brings a branch into memory, its leaves with it; the branches below stay where they are.
    pub(crate) fn load(&mut self, path: &Path, place: usize, link: &Link, work: &Work<'_>) -> Result<NodeId, Error> {
        let image = read(work.store, path, place, link)?;
        let (links, inlined) = image.links();
        let head = Head {
            mask: 0,
            inlined: 0,
            dirty: 0,
            depth: image.depth as u8,
            visited: true,
            checkpoint: 0,
            path: image.path,
        };
        let mut draft = Draft::new(head);
        for (nibble, bytes) in nibbles_of(image.mask).zip(links) {
            let child = self.insert_child(image.children[usize::from(nibble)].as_ref());
            draft.push(nibble, child, Link { bytes, inlined: inlined >> nibble & 1 == 1 });
        }
        Ok(self.arena.insert_branch(&draft))
    }

    /// The node in memory for a child of a record: a leaf, or a branch that is not loaded.
    pub(crate) fn insert_child(&mut self, child: Option<&Child>) -> NodeId {
        match child {
            Some(Child::Leaf { path, value }) => self.arena.insert_leaf(path, value),
            _ => NodeId::UNLOADED,
        }
    }

    /// Gives up what was not visited since the last sweep among the `nibble`th children of the
    /// root; what was visited is given one more round.
    pub(crate) fn sweep(&mut self, nibble: u8) {
        let Some(root) = self.root.filter(|root| !root.is_leaf() && !root.is_unloaded()) else { return };
        self.sweep_child(root, nibble);
    }

    fn sweep_child(&mut self, parent: NodeId, nibble: u8) {
        let Some(child) = self.arena.branch(parent).child(nibble) else { return };
        if child.is_leaf() || child.is_unloaded() {
            return;
        }
        let head = self.arena.head_mut(child);
        let visited = std::mem::take(&mut head.visited);
        if !visited && head.checkpoint == 0 {
            self.release(child);
            self.arena.replace_child(parent, nibble, NodeId::UNLOADED);
            return;
        }
        for below in nibbles_of(head.mask) {
            self.sweep_child(child, below);
        }
    }

    fn release(&mut self, node: NodeId) {
        if node.is_unloaded() {
            return;
        }
        if !node.is_leaf() {
            for nibble in nibbles_of(self.arena.branch(node).head.mask) {
                if let Some(child) = self.arena.branch(node).child(nibble) {
                    self.release(child);
                }
            }
        }
        self.arena.remove(node);
    }
}
