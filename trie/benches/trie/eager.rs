//! The baseline: a binary trie that hashes, encodes and stores the whole path at every write.

use std::collections::HashMap;

use ripstop_trie::{Hash, Path, keccak256};

/// Nodes by hash, as such tries keep them; each is decoded when it is passed.
#[derive(Default)]
pub(crate) struct EagerTrie {
    nodes: HashMap<Hash, Vec<u8>>,
    root: Option<Hash>,
}

enum Node {
    Leaf(Path),
    Branch(Hash, Hash),
}

/// Stands for a subtree without keys.
const EMPTY: Hash = [0; 32];

impl EagerTrie {
    pub(crate) fn set(&mut self, path: &Path, value: &[u8]) {
        let root = self.root.unwrap_or(EMPTY);
        self.root = Some(self.write(root, 0, path, value));
    }

    fn write(&mut self, at: Hash, depth: usize, path: &Path, value: &[u8]) -> Hash {
        if at == EMPTY {
            return self.put_leaf(path, value);
        }
        match self.decode(&at) {
            Node::Leaf(other) if other == *path => self.put_leaf(path, value),
            Node::Leaf(other) => {
                let leaf = self.put_leaf(path, value);
                self.part(at, &other, leaf, path, depth)
            }
            Node::Branch(left, right) if bit(path, depth) == 0 => {
                let left = self.write(left, depth + 1, path, value);
                self.put_branch(left, right)
            }
            Node::Branch(left, right) => {
                let right = self.write(right, depth + 1, path, value);
                self.put_branch(left, right)
            }
        }
    }

    /// The branches over two leaves from `depth` to where their paths part.
    fn part(&mut self, old: Hash, old_path: &Path, new: Hash, path: &Path, depth: usize) -> Hash {
        let below = match (bit(old_path, depth), bit(path, depth)) {
            (0, 1) => return self.put_branch(old, new),
            (1, 0) => return self.put_branch(new, old),
            _ => self.part(old, old_path, new, path, depth + 1),
        };
        if bit(path, depth) == 0 { self.put_branch(below, EMPTY) } else { self.put_branch(EMPTY, below) }
    }

    fn decode(&self, at: &Hash) -> Node {
        let bytes = &self.nodes[at];
        if bytes[0] == 0 {
            return Node::Leaf(bytes[1..33].try_into().unwrap());
        }
        Node::Branch(bytes[1..33].try_into().unwrap(), bytes[33..65].try_into().unwrap())
    }

    fn put_leaf(&mut self, path: &Path, value: &[u8]) -> Hash {
        self.put([&[0], &path[..], value].concat())
    }

    fn put_branch(&mut self, left: Hash, right: Hash) -> Hash {
        self.put([&[1], &left[..], &right].concat())
    }

    fn put(&mut self, node: Vec<u8>) -> Hash {
        let hash = keccak256(&node);
        self.nodes.insert(hash, node);
        hash
    }
}

fn bit(path: &Path, index: usize) -> u8 {
    path[index / 8] >> (7 - index % 8) & 1
}
