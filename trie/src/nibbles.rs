//! Paths: 32 bytes read as 64 nibbles, the high half of a byte first.

use std::ops::Range;

/// Where a key stands in the state trie: the Keccak-256 of the key, 64 nibbles.
pub type Path = [u8; 32];

/// Nibbles of a [`Path`].
pub(crate) const PATH_NIBBLES: usize = 64;

/// The nibble at `index`.
pub(crate) fn nibble(path: &[u8], index: usize) -> u8 {
    let byte = path[index / 2];
    if index.is_multiple_of(2) { byte >> 4 } else { byte & 0x0f }
}

/// How many leading nibbles two paths share.
pub(crate) fn common_nibbles(a: &Path, b: &Path) -> usize {
    for start in (0..32).step_by(8) {
        let difference = word(a, start) ^ word(b, start);
        if difference != 0 {
            return start * 2 + difference.leading_zeros() as usize / 4;
        }
    }
    PATH_NIBBLES
}

/// Whether `path` begins with the first `length` nibbles of `prefix`.
pub(crate) fn begins_with(path: &Path, prefix: &Path, length: usize) -> bool {
    common_nibbles(path, prefix) >= length
}

/// The first `length` nibbles of `path`, the rest zero: the least path with this prefix.
pub(crate) fn truncated(path: &Path, length: usize) -> Path {
    let mut prefix = [0; 32];
    let whole = length / 2;
    prefix[..whole].copy_from_slice(&path[..whole]);
    if length % 2 == 1 {
        prefix[whole] = path[whole] & 0xf0;
    }
    prefix
}

/// The first `length` nibbles of `prefix`, then `next`, the rest zero.
pub(crate) fn child_path(prefix: &Path, length: usize, next: u8) -> Path {
    let mut path = truncated(prefix, length);
    path[length / 2] |= if length.is_multiple_of(2) { next << 4 } else { next };
    path
}

/// Bytes of the hex-prefix form of `count` nibbles.
pub(crate) fn hex_prefix_bytes(count: usize) -> usize {
    count / 2 + 1
}

/// Appends nibbles `range` of `path` in hex-prefix form (Ethereum yellow paper, appendix C):
/// flags 2 for a leaf and 1 for an odd count in the first nibble, then two nibbles per byte.
pub(crate) fn put_hex_prefix(out: &mut Vec<u8>, path: &[u8], range: Range<usize>, leaf: bool) {
    let flags = if leaf { 0x20 } else { 0x00 };
    let mut start = range.start;
    if range.len() % 2 == 1 {
        out.push(flags | 0x10 | nibble(path, start));
        start += 1;
    } else {
        out.push(flags);
    }
    if start.is_multiple_of(2) {
        return out.extend_from_slice(&path[start / 2..range.end / 2]);
    }
    out.extend((start..range.end).step_by(2).map(|index| nibble(path, index) << 4 | nibble(path, index + 1)));
}

fn word(path: &Path, start: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&path[start..start + 8]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_prefix_gives_the_published_examples() {
        // Ethereum wiki: [1,2,3,4,5], [0,1,2,3,4,5], [0,15,1,12,11,8,T], [15,1,12,11,8,T].
        let form = |path: &[u8], range, leaf| {
            let mut out = Vec::new();
            put_hex_prefix(&mut out, path, range, leaf);
            out
        };
        assert_eq!(form(&[0x01, 0x23, 0x45], 1..6, false), [0x11, 0x23, 0x45]);
        assert_eq!(form(&[0x01, 0x23, 0x45], 0..6, false), [0x00, 0x01, 0x23, 0x45]);
        assert_eq!(form(&[0x0f, 0x1c, 0xb8], 0..6, true), [0x20, 0x0f, 0x1c, 0xb8]);
        assert_eq!(form(&[0x0f, 0x1c, 0xb8], 1..6, true), [0x3f, 0x1c, 0xb8]);
        assert_eq!(form(&[0x0f, 0x1c, 0xb8], 1..5, true), [0x20, 0xf1, 0xcb]);
        assert_eq!(form(&[0x0f], 2..2, true), [0x20]);
    }

    #[test]
    fn prefixes_are_compared_by_nibbles() {
        let a = [0xab; 32];
        let mut b = a;
        assert_eq!(common_nibbles(&a, &b), 64);
        for index in 0..64 {
            b[index / 2] ^= if index % 2 == 0 { 0x10 } else { 0x01 };
            assert_eq!(common_nibbles(&a, &b), index);
            assert!(begins_with(&b, &truncated(&a, index), index));
            assert!(!begins_with(&b, &a, index + 1));
            b = a;
        }
        assert_eq!(child_path(&a, 3, 7)[..3], [0xab, 0xa7, 0]);
        assert_eq!(child_path(&a, 4, 7)[..3], [0xab, 0xab, 0x70]);
    }
}
