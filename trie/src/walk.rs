//! Looking at one node after the other, so that two tries can be compared from afar.
//!
//! Whoever finds two roots different asks both tries for what stands at the empty prefix, then
//! below the first children whose links differ, until a leaf is reached that only one of them
//! has. Each step costs one node.

use crate::error::Error;
use crate::nibbles::{PATH_NIBBLES, Path, begins_with, child_path, nibble, truncated};
use crate::recent::Past;
use crate::record::{Child, Image};
use crate::state_trie::StateTrie;

/// What stands in a trie at a prefix: the highest node that all paths with it go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// No path has the prefix.
    Nothing,
    /// Just one path has it.
    Leaf {
        /// The path.
        path: Path,
        /// What stands there.
        value: Vec<u8>,
    },
    /// Several paths have it.
    Branch {
        /// Nibbles before the children's: the prefix, and what all paths share after it.
        path: Vec<u8>,
        /// By nibble: Keccak-256 of the child, or the child itself when it is under 32 bytes.
        children: Box<[Option<Vec<u8>>; 16]>,
    },
}

impl StateTrie {
    /// What stands at `prefix` (one nibble per byte) in the trie as it was after block `number`.
    ///
    /// A prefix that is longer than a path, or has a byte beyond 15, stands nowhere.
    pub fn branch_at(&self, number: u64, prefix: &[u8]) -> Result<Node, Error> {
        let Some(newest) = self.number() else { return Err(Error::NotKept { number, oldest: 0, newest: 0 }) };
        let oldest = self.recent.oldest().unwrap_or(newest);
        let past = match number == newest {
            true => None,
            false => Some(self.recent.since(number).ok_or(Error::NotKept { number, oldest, newest })?.1),
        };
        let Some(prefix) = Prefix::of(prefix) else { return Ok(Node::Nothing) };
        let top = self.image(past.as_ref(), &[0; 32], 0)?;
        match top.mask.count_ones() {
            0 => Ok(Node::Nothing),
            1 => self.below(past.as_ref(), top.mask.trailing_zeros() as u8, top, &prefix),
            _ if prefix.length == 0 => Ok(node_of(&top)),
            _ => self.below(past.as_ref(), nibble(&prefix.path, 0), top, &prefix),
        }
    }

    /// Goes down from child `next` of `image` to what stands at `prefix`.
    fn below(&self, past: Option<&Past<'_>>, mut next: u8, mut image: Image, prefix: &Prefix) -> Result<Node, Error> {
        loop {
            let place = image.depth + 1;
            let at = child_path(&image.path, image.depth, next);
            match image.children[usize::from(next)].take() {
                None => return Ok(Node::Nothing),
                Some(Child::Leaf { path, .. }) if !prefix.is_of(&path, PATH_NIBBLES) => return Ok(Node::Nothing),
                Some(Child::Leaf { path, value }) => return Ok(Node::Leaf { path, value }),
                Some(Child::Branch(_)) => image = self.image(past, &at, place)?,
            }
            if !prefix.is_of(&image.path, image.depth) {
                return Ok(Node::Nothing);
            }
            if image.depth >= prefix.length {
                return Ok(node_of(&image));
            }
            next = nibble(&prefix.path, image.depth);
        }
    }

    /// The highest branch at or below the first `place` nibbles of `path`, as it is or was.
    fn image(&self, past: Option<&Past<'_>>, path: &Path, place: usize) -> Result<Image, Error> {
        match past {
            Some(past) => self.image_at(past, path, place),
            None => self.image_now(path, place),
        }
    }
}

/// The first nibbles of some paths.
struct Prefix {
    path: Path,
    length: usize,
}

impl Prefix {
    fn of(nibbles: &[u8]) -> Option<Self> {
        if nibbles.len() > PATH_NIBBLES || nibbles.iter().any(|nibble| *nibble > 0x0f) {
            return None;
        }
        let mut path = [0; 32];
        for (index, nibble) in nibbles.iter().enumerate() {
            path[index / 2] |= if index.is_multiple_of(2) { nibble << 4 } else { *nibble };
        }
        Some(Self { path, length: nibbles.len() })
    }

    /// Whether it and the first `depth` nibbles of `path` are the same, as far as both go.
    fn is_of(&self, path: &Path, depth: usize) -> bool {
        begins_with(path, &self.path, self.length.min(depth))
    }
}

fn node_of(image: &Image) -> Node {
    let path = truncated(&image.path, image.depth);
    let link = |child: &Option<Child>| child.as_ref().map(|child| child.link(image.depth + 1).encoding());
    Node::Branch {
        path: (0..image.depth).map(|index| nibble(&path, index)).collect(),
        children: Box::new(std::array::from_fn(|nibble| link(&image.children[nibble]))),
    }
}
