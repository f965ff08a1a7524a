//! The three kinds of node as bytes: what is hashed, and what stands in proofs.
//!
//! ```text
//! leaf       [hex-prefix(rest of the path, leaf), value]
//! extension  [hex-prefix(shared nibbles), link]
//! branch     [link 0, …, link 15, value]       the value is empty in a trie of equally long paths
//! link       Keccak-256 of a node's encoding, or the encoding itself when it is under 32 bytes
//! ```
//! (Ethereum yellow paper, appendix D.)

use std::ops::Range;

use crate::keccak::{Hash, keccak256};
use crate::nibbles::{hex_prefix_bytes, put_hex_prefix};
use crate::rlp;

/// The root of a trie without keys: Keccak-256 of the empty string's encoding.
pub const EMPTY_ROOT: Hash = [
    0x56, 0xe8, 0x1f, 0x17, 0x1b, 0xcc, 0x55, 0xa6, 0xff, 0x83, 0x45, 0xe6, 0x92, 0xc0, 0xf8, 0x6e, 0x5b, 0x48, 0xe0,
    0x1b, 0x99, 0x6c, 0xad, 0xc0, 0x01, 0x62, 0x2f, 0xb5, 0xe3, 0x63, 0xb4, 0x21,
];

/// How a parent refers to a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// A hash, or an encoding followed by zeros.
    pub(crate) bytes: [u8; 32],
    /// Whether it is an encoding.
    pub(crate) inlined: bool,
}

impl Link {
    pub(crate) const NONE: Self = Self { bytes: [0; 32], inlined: false };

    /// The link to a node of this encoding.
    pub(crate) fn to(encoding: &[u8]) -> Self {
        if encoding.len() >= 32 {
            return Self { bytes: keccak256(encoding), inlined: false };
        }
        let mut bytes = [0; 32];
        bytes[..encoding.len()].copy_from_slice(encoding);
        Self { bytes, inlined: true }
    }

    /// The hash, or the encoding without the zeros after it.
    pub(crate) fn encoding(&self) -> Vec<u8> {
        let count = if self.inlined { inlined_bytes(&self.bytes) } else { 32 };
        self.bytes[..count].to_vec()
    }

    /// Bytes it takes inside its parent.
    pub(crate) fn encoded_bytes(&self) -> usize {
        if self.inlined { inlined_bytes(&self.bytes) } else { 33 }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        if self.inlined {
            return out.extend_from_slice(&self.bytes[..inlined_bytes(&self.bytes)]);
        }
        rlp::put_string(out, &self.bytes);
    }
}

/// Bytes of an encoding under 32 bytes, from its own list header.
pub(crate) fn inlined_bytes(encoding: &[u8; 32]) -> usize {
    1 + usize::from(encoding[0] - 0xc0)
}

/// Bytes of a leaf of `count` nibbles.
pub(crate) fn leaf_bytes(count: usize, value: &[u8]) -> usize {
    rlp::with_header(path_bytes(count) + rlp::string_bytes(value))
}

/// Appends the leaf of nibbles `range` of `path`.
pub(crate) fn put_leaf(out: &mut Vec<u8>, path: &[u8], range: Range<usize>, value: &[u8]) {
    rlp::put_list_header(out, path_bytes(range.len()) + rlp::string_bytes(value));
    put_path(out, path, range, true);
    rlp::put_string(out, value);
}

/// The extension of nibbles `range` of `path` to the node behind `link`.
pub(crate) fn extension(path: &[u8], range: Range<usize>, link: &Link) -> Vec<u8> {
    let payload = path_bytes(range.len()) + link.encoded_bytes();
    let mut out = Vec::with_capacity(payload + 3);
    rlp::put_list_header(&mut out, payload);
    put_path(&mut out, path, range, false);
    link.put(&mut out);
    out
}

/// Bytes of a branch without a value: `mask` says which children there are, `inlined` which of
/// their links are encodings, `links` holds them in order.
pub(crate) fn branch_bytes(mask: u16, inlined: u16, links: &[[u8; 32]]) -> usize {
    rlp::with_header(branch_payload(mask, inlined, links))
}

/// Appends that branch to an empty buffer.
pub(crate) fn put_branch(out: &mut Vec<u8>, mask: u16, inlined: u16, links: &[[u8; 32]]) {
    debug_assert!(out.is_empty());
    let payload = branch_payload(mask, inlined, links);
    rlp::put_list_header(out, payload);
    let mut at = out.len();
    // 0x80 is the empty string: what stands where there is no child, and for the value.
    out.resize(at + payload, 0x80);
    let mut links = links.iter();
    for nibble in 0..16 {
        if mask >> nibble & 1 == 0 {
            at += 1;
            continue;
        }
        let Some(link) = links.next() else { return };
        if inlined >> nibble & 1 == 1 {
            let length = inlined_bytes(link);
            out[at..at + length].copy_from_slice(&link[..length]);
            at += length;
        } else {
            out[at] = 0xa0;
            out[at + 1..at + 33].copy_from_slice(link);
            at += 33;
        }
    }
}

fn branch_payload(mask: u16, inlined: u16, links: &[[u8; 32]]) -> usize {
    let count = mask.count_ones() as usize;
    let hashed = 17 + 32 * count;
    if inlined == 0 {
        return hashed;
    }
    let nibbles = (0..16).filter(|nibble| mask >> nibble & 1 == 1);
    let saved = nibbles.zip(links).filter(|(nibble, _)| inlined >> nibble & 1 == 1);
    hashed - saved.map(|(_, link)| 33 - inlined_bytes(link)).sum::<usize>()
}

fn path_bytes(count: usize) -> usize {
    let bytes = hex_prefix_bytes(count);
    if bytes == 1 { 1 } else { 1 + bytes }
}

fn put_path(out: &mut Vec<u8>, path: &[u8], range: Range<usize>, leaf: bool) {
    let bytes = hex_prefix_bytes(range.len());
    if bytes > 1 {
        out.push(0x80 + bytes as u8);
    }
    put_hex_prefix(out, path, range, leaf);
}
