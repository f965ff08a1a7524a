//! The bytes of a branch outside memory: in the store, and in the ring of recent roots.
//!
//! ```text
//! record  depth (1) ‖ its path, depth nibbles packed, the last half zero when odd
//!         ‖ mask (2): which children there are ‖ held (2): which of them follow ‖ children
//! child   0 ‖ hash (32)                          a branch
//!         1 ‖ length (1) ‖ encoding              a branch whose encoding is under 32 bytes
//!         2 ‖ rest of the path ‖ length ‖ value  a leaf; the rest begins with the byte that
//!                                                holds nibble depth + 1
//! length  1 byte, or 0xff and 4 bytes; numbers are big-endian
//! ```
//! In the store all children are held. In the ring those are held that a block changed. A record's
//! key in the store is its place, which is shorter than its path where the parent reaches it
//! through an extension.

use crate::arena::{Arena, NodeId};
use crate::keccak::Hash;
use crate::nibbles::{PATH_NIBBLES, Path, child_path, truncated};
use crate::node::{self, Link};
use crate::store::RecordKey;

/// A branch as a record holds it.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) path: Path,
    pub(crate) depth: usize,
    pub(crate) mask: u16,
    /// The children held.
    pub(crate) children: [Option<Child>; 16],
}

#[derive(Clone, Debug)]
pub(crate) enum Child {
    Branch(Link),
    Leaf { path: Path, value: Vec<u8> },
}

/// The key of the node at the first `length` nibbles of `path`.
pub(crate) fn record_key(path: &Path, length: usize) -> RecordKey {
    let mut key = truncated(path, length)[..length.div_ceil(2)].to_vec();
    key.push(length as u8);
    key
}

/// Appends what stands before the children.
pub(crate) fn put_head(out: &mut Vec<u8>, path: &Path, depth: usize, mask: u16, held: u16) {
    out.push(depth as u8);
    out.extend_from_slice(&path[..depth.div_ceil(2)]);
    out.extend_from_slice(&mask.to_be_bytes());
    out.extend_from_slice(&held.to_be_bytes());
}

/// Appends one child of a branch at `depth`.
pub(crate) fn put_child(out: &mut Vec<u8>, arena: &Arena, depth: usize, child: NodeId, link: &Link) {
    if child.is_leaf() {
        let leaf = arena.leaf(child);
        out.push(2);
        out.extend_from_slice(&leaf.path[depth.div_ceil(2)..]);
        put_length(out, leaf.value.len());
        out.extend_from_slice(leaf.value);
    } else if link.inlined {
        let length = node::inlined_bytes(&link.bytes);
        out.extend_from_slice(&[1, length as u8]);
        out.extend_from_slice(&link.bytes[..length]);
    } else {
        out.push(0);
        out.extend_from_slice(&link.bytes);
    }
}

/// Appends the record of a branch in memory, with those children that `held` names.
pub(crate) fn put_branch(out: &mut Vec<u8>, arena: &Arena, id: NodeId, held: u16) {
    let branch = arena.branch(id);
    let head = branch.head;
    let held = held & head.mask;
    put_head(out, &head.path, head.depth.into(), head.mask, held);
    for nibble in nibbles_of(held) {
        let Some(child) = branch.child(nibble) else { continue };
        put_child(out, arena, head.depth.into(), child, &branch.link(nibble));
    }
}

/// The nibbles whose bits are set, in order.
pub(crate) fn nibbles_of(mut mask: u16) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let nibble = mask.trailing_zeros() as u8;
        (mask != 0).then(|| {
            mask &= mask - 1;
            nibble
        })
    })
}

impl Image {
    /// Reads a record; none when the bytes are not one.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (path, depth, mut rest) = read_place(bytes)?;
        let (mask, held) = (read_u16(&mut rest)?, read_u16(&mut rest)?);
        let mut image = Self { path, depth, mask, children: [const { None }; 16] };
        for nibble in nibbles_of(held & mask) {
            image.children[usize::from(nibble)] = Some(read_child(&mut rest, &path, depth, nibble)?);
        }
        (rest.is_empty() && held & !mask == 0).then_some(image)
    }

    /// Whether all its children are held.
    pub(crate) fn is_whole(&self) -> bool {
        nibbles_of(self.mask).all(|nibble| self.children[usize::from(nibble)].is_some())
    }

    /// The links of its children, when all are held; `inlined` tells which are encodings.
    pub(crate) fn links(&self) -> (Vec<[u8; 32]>, u16) {
        let mut inlined = 0;
        let mut links = Vec::with_capacity(16);
        for nibble in nibbles_of(self.mask) {
            let link = match &self.children[usize::from(nibble)] {
                Some(child) => child.link(self.depth + 1),
                None => Link::NONE,
            };
            inlined |= u16::from(link.inlined) << nibble;
            links.push(link.bytes);
        }
        (links, inlined)
    }

    /// The encoding of the branch itself, without the extension to it.
    pub(crate) fn encoding(&self) -> Vec<u8> {
        let (links, inlined) = self.links();
        let mut out = Vec::new();
        node::put_branch(&mut out, self.mask, inlined, &links);
        out
    }

    /// The link to it from a parent that reaches it at `place` nibbles.
    pub(crate) fn link(&self, place: usize) -> Link {
        let link = Link::to(&self.encoding());
        if place == self.depth { link } else { Link::to(&node::extension(&self.path, place..self.depth, &link)) }
    }
}

impl Child {
    /// The link to it from a parent that reaches it at `place` nibbles.
    pub(crate) fn link(&self, place: usize) -> Link {
        match self {
            Self::Branch(link) => *link,
            Self::Leaf { path, value } => {
                let mut leaf = Vec::new();
                node::put_leaf(&mut leaf, path, place..PATH_NIBBLES, value);
                Link::to(&leaf)
            }
        }
    }
}

/// The path and depth a record begins with, and what follows.
pub(crate) fn read_place(bytes: &[u8]) -> Option<(Path, usize, &[u8])> {
    let (&depth, rest) = bytes.split_first()?;
    let depth = usize::from(depth);
    if depth >= PATH_NIBBLES {
        return None;
    }
    let (packed, rest) = rest.split_at_checked(depth.div_ceil(2))?;
    let mut path = [0; 32];
    path[..packed.len()].copy_from_slice(packed);
    Some((truncated(&path, depth), depth, rest))
}

fn read_child(rest: &mut &[u8], path: &Path, depth: usize, nibble: u8) -> Option<Child> {
    match take(rest, 1)?[0] {
        0 => Some(Child::Branch(Link { bytes: Hash::try_from(take(rest, 32)?).ok()?, inlined: false })),
        1 => {
            let length = usize::from(take(rest, 1)?[0]);
            let encoding = take(rest, length)?;
            let fits = length < 32 && encoding.first().is_some_and(|&first| usize::from(first) == 0xc0 + length - 1);
            fits.then(|| Child::Branch(Link::to(encoding)))
        }
        2 => {
            let prefix = child_path(path, depth, nibble);
            let mut leaf = prefix;
            let known = depth.div_ceil(2);
            leaf[known..].copy_from_slice(take(rest, 32 - known)?);
            let length = read_length(rest)?;
            let value = take(rest, length)?.to_vec();
            (truncated(&leaf, depth + 1) == prefix).then_some(Child::Leaf { path: leaf, value })
        }
        _ => None,
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    if length < 0xff {
        return out.push(length as u8);
    }
    out.push(0xff);
    out.extend_from_slice(&(length as u32).to_be_bytes());
}

fn read_length(rest: &mut &[u8]) -> Option<usize> {
    match take(rest, 1)?[0] {
        0xff => Some(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?) as usize),
        length => Some(length.into()),
    }
}

fn read_u16(rest: &mut &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(take(rest, 2)?.try_into().ok()?))
}

/// The next `count` bytes.
pub(crate) fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{Draft, Head};

    #[test]
    fn a_branch_is_written_as_its_vector_and_read_back() {
        let mut arena = Arena::default();
        let path = child_path(&[0; 32], 0, 0xa);
        let mut leaf = [0xbb; 32];
        leaf[0] = 0xa7;
        let head = Head { mask: 0, inlined: 0, dirty: 0, depth: 1, visited: false, checkpoint: 0, path };
        let mut draft = Draft::new(head);
        draft.push(2, NodeId::UNLOADED, Link { bytes: [0x11; 32], inlined: false });
        draft.push(7, arena.insert_leaf(&leaf, &[9, 9]), Link::NONE);
        let id = arena.insert_branch(&draft);
        let mut record = Vec::new();
        put_branch(&mut record, &arena, id, u16::MAX);
        let before = [0x01, 0xa0, 0x00, 0x84, 0x00, 0x84, 0x00];
        let expected: Vec<u8> = [&before[..], &[0x11; 32], &[0x02], &[0xbb; 31], &[2, 9, 9]].concat();
        assert_eq!(record, expected);
        assert_eq!(record_key(&path, 1), [0xa0, 0x01]);
        let image = Image::read(&record).unwrap();
        assert!(image.is_whole() && image.path == path && image.depth == 1 && image.mask == 0x84);
        for length in 0..record.len() {
            assert!(Image::read(&record[..length]).is_none(), "{length} bytes of a record are none");
        }
    }
}
