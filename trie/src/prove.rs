//! Making proofs: from the root down, as it is now or was after a recent block.

use crate::arena::NodeId;
use crate::error::Error;
use crate::keccak::Hash;
use crate::memory;
use crate::nibbles::{PATH_NIBBLES, Path, begins_with, child_path, nibble, truncated};
use crate::node::{self, Link};
use crate::proof::Proof;
use crate::recent::Past;
use crate::record::{Child, Image, nibbles_of};
use crate::state_trie::StateTrie;

impl StateTrie {
    /// The nodes from the newest root towards `path`: they show its value, or that it has none.
    pub fn prove(&self, path: &Path) -> Result<Proof, Error> {
        let (mask, inlined, links) = self.top();
        let mut way = Way { path, place: 0, nodes: Vec::with_capacity(8) };
        let own = match mask.count_ones() {
            0 => return Ok(Proof::default()),
            1 => mask.trailing_zeros() as usize,
            _ => {
                way.branch(&[0; 32], 0, mask, inlined, &links);
                usize::from(path[0] >> 4)
            }
        };
        let subtrie = &self.subtries[own];
        let Some(mut node) = subtrie.root else { return Ok(way.end()) };
        let mut unloaded = (child_path(&[0; 32], 0, own as u8), 1, subtrie.link);
        while !node.is_leaf() && !node.is_unloaded() {
            let branch = subtrie.arena.branch(node);
            let depth = usize::from(branch.head.depth);
            if !way.branch(&branch.head.path, depth, branch.head.mask, branch.head.inlined, branch.links()) {
                return Ok(way.end());
            }
            let next = nibble(path, depth);
            let Some(child) = branch.child(next) else { return Ok(way.end()) };
            unloaded = (truncated(path, depth + 1), depth + 1, branch.link(next));
            node = child;
        }
        if node.is_leaf() {
            let leaf = subtrie.arena.leaf(node);
            way.leaf(leaf.path, leaf.value);
            return Ok(way.end());
        }
        let (path, place, link) = unloaded;
        self.prove_images(way, Child::Branch(link), path, place, None)
    }

    /// The nodes from the root after block `number` towards `path`.
    pub fn prove_at(&self, number: u64, path: &Path) -> Result<Proof, Error> {
        let Some(newest) = self.number() else { return Err(Error::NotKept { number, oldest: 0, newest: 0 }) };
        if number == newest {
            return self.prove(path);
        }
        let oldest = self.recent.oldest().unwrap_or(newest);
        let (_, past) = self.recent.since(number).ok_or(Error::NotKept { number, oldest, newest })?;
        let mut way = Way { path, place: 0, nodes: Vec::with_capacity(8) };
        let mut top = self.image_at(&past, &[0; 32], 0)?;
        let own = match top.mask.count_ones() {
            0 => return Ok(Proof::default()),
            1 => top.mask.trailing_zeros() as u8,
            _ => {
                let (links, inlined) = top.links();
                way.branch(&[0; 32], 0, top.mask, inlined, &links);
                path[0] >> 4
            }
        };
        match top.children[usize::from(own)].take() {
            Some(child) => self.prove_images(way, child, child_path(&[0; 32], 0, own), 1, Some(&past)),
            None => Ok(way.end()),
        }
    }

    /// The root after block `number`, as long as it is kept.
    pub fn root_at(&self, number: u64) -> Option<Hash> {
        if self.number() == Some(number) {
            return Some(self.root());
        }
        self.recent.since(number).map(|(root, _)| root)
    }

    /// Goes on from `child`, which stands at the first `place` nibbles of `at`, by records.
    fn prove_images(
        &self,
        mut way: Way<'_>,
        mut child: Child,
        mut at: Path,
        mut place: usize,
        past: Option<&Past<'_>>,
    ) -> Result<Proof, Error> {
        loop {
            let link = match child {
                Child::Leaf { path, value } => {
                    way.leaf(&path, &value);
                    return Ok(way.end());
                }
                Child::Branch(link) => link,
            };
            let mut image = match past {
                Some(past) => self.image_at(past, &at, place)?,
                None => memory::read(&*self.store, &at, place, &link)?,
            };
            let (links, inlined) = image.links();
            if !way.branch(&image.path, image.depth, image.mask, inlined, &links) {
                return Ok(way.end());
            }
            let Some(next) = image.children[usize::from(nibble(way.path, image.depth))].take() else {
                return Ok(way.end());
            };
            (child, at, place) = (next, truncated(way.path, image.depth + 1), image.depth + 1);
        }
    }

    /// The branch at the first `place` nibbles of `path` as it was.
    pub(crate) fn image_at(&self, past: &Past<'_>, path: &Path, place: usize) -> Result<Image, Error> {
        let Some(mut image) = past.branch(path, place) else { return self.image_now(path, place) };
        if !image.is_whole() {
            image.fill(self.image_now(&image.path, image.depth)?);
        }
        if image.is_whole() { Ok(image) } else { Err(Error::damaged(&crate::record::record_key(path, place))) }
    }

    /// The highest branch at or below the first `place` nibbles of `path` as it is now.
    pub(crate) fn image_now(&self, path: &Path, place: usize) -> Result<Image, Error> {
        if place == 0 {
            return Ok(self.top_image());
        }
        let missing = || Error::damaged(&crate::record::record_key(path, place));
        let subtrie = &self.subtries[usize::from(path[0] >> 4)];
        let mut node = subtrie.root.ok_or_else(missing)?;
        let (mut at, mut stands, mut link) = (truncated(path, 1), 1, subtrie.link);
        loop {
            let (depth, child) = match Here::of(self, node, &at, stands, &link)? {
                Here::Leaf => return Err(missing()),
                Here::Memory(id) => {
                    let branch = subtrie.arena.branch(id);
                    let depth = usize::from(branch.head.depth);
                    if depth >= place {
                        return Ok(self.image_in_memory(subtrie, id));
                    }
                    let next = nibble(path, depth);
                    link = branch.link(next);
                    (depth, branch.child(next))
                }
                Here::Store(image) if image.depth >= place => return Ok(*image),
                Here::Store(image) => match &image.children[usize::from(nibble(path, image.depth))] {
                    Some(Child::Branch(below)) => {
                        link = *below;
                        (image.depth, Some(NodeId::UNLOADED))
                    }
                    _ => return Err(missing()),
                },
            };
            node = child.ok_or_else(missing)?;
            (at, stands) = (truncated(path, depth + 1), depth + 1);
        }
    }

    fn image_in_memory(&self, subtrie: &crate::subtrie::Subtrie, id: NodeId) -> Image {
        let branch = subtrie.arena.branch(id);
        let head = branch.head;
        let mut image =
            Image { path: head.path, depth: head.depth.into(), mask: head.mask, children: [const { None }; 16] };
        for nibble in nibbles_of(head.mask) {
            let child = branch.child(nibble).map(|child| subtrie.image_of(child, branch.link(nibble)));
            image.children[usize::from(nibble)] = child;
        }
        image
    }
}

/// Where a branch is to be found.
enum Here {
    Leaf,
    Memory(NodeId),
    Store(Box<Image>),
}

impl Here {
    fn of(trie: &StateTrie, node: NodeId, at: &Path, place: usize, link: &Link) -> Result<Self, Error> {
        if node.is_leaf() {
            return Ok(Self::Leaf);
        }
        if node.is_unloaded() {
            return Ok(Self::Store(Box::new(memory::read(&*trie.store, at, place, link)?)));
        }
        Ok(Self::Memory(node))
    }
}

/// The proof as far as it goes.
struct Way<'p> {
    path: &'p Path,
    /// Nibbles used so far.
    place: usize,
    nodes: Vec<Vec<u8>>,
}

impl Way<'_> {
    /// Adds a branch and the extension to it. Gives whether the path leads through it.
    fn branch(&mut self, path: &Path, depth: usize, mask: u16, inlined: u16, links: &[[u8; 32]]) -> bool {
        let mut encoding = Vec::with_capacity(544);
        node::put_branch(&mut encoding, mask, inlined, links);
        if depth > self.place {
            self.add(node::extension(path, self.place..depth, &Link::to(&encoding)));
            if !begins_with(self.path, path, depth) {
                return false;
            }
        }
        self.add(encoding);
        self.place = depth + 1;
        true
    }

    fn leaf(&mut self, path: &Path, value: &[u8]) {
        let mut encoding = Vec::with_capacity(value.len() + 40);
        node::put_leaf(&mut encoding, path, self.place..PATH_NIBBLES, value);
        self.add(encoding);
    }

    /// Nodes under 32 bytes stand inside their parents, but for the root.
    fn add(&mut self, encoding: Vec<u8>) {
        if encoding.len() >= 32 || self.nodes.is_empty() {
            self.nodes.push(encoding);
        }
    }

    fn end(self) -> Proof {
        Proof { nodes: self.nodes }
    }
}
