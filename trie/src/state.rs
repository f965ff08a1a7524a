//! What of a ledger's state stands in the trie, and where.
//!
//! A key's leaf names the transaction that last wrote it and the hashes of what it wrote: enough
//! to prove a value without holding it.

use crate::keccak::{Hash, keccak256};
use crate::nibbles::Path;
use crate::rlp;

/// The path of a key: Keccak-256 of namespace, a zero byte, key.
///
/// Namespaces hold no zero byte, so different pairs never give the same bytes.
pub fn state_path(namespace: &str, key: &[u8]) -> Path {
    let mut bytes = Vec::with_capacity(namespace.len() + 1 + key.len());
    bytes.extend_from_slice(namespace.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(key);
    keccak256(&bytes)
}

/// The leaf of a key: RLP of block number, index of the transaction in the block, Keccak-256 of
/// the value, and Keccak-256 of the metadata or the empty string where there is none.
pub fn state_leaf(block_number: u64, tx_index: u64, value: &[u8], metadata: Option<&[u8]>) -> Vec<u8> {
    let mut payload = Vec::with_capacity(84);
    rlp::put_number(&mut payload, block_number);
    rlp::put_number(&mut payload, tx_index);
    rlp::put_string(&mut payload, &keccak256(value));
    match metadata {
        Some(metadata) => rlp::put_string(&mut payload, &keccak256(metadata)),
        None => rlp::put_string(&mut payload, &[]),
    }
    let mut leaf = Vec::with_capacity(payload.len() + 2);
    rlp::put_list_header(&mut leaf, payload.len());
    leaf.extend_from_slice(&payload);
    leaf
}

/// What the leaf of a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateLeaf {
    /// Block of the transaction that last wrote the key.
    pub block_number: u64,
    /// Its index in the block.
    pub tx_index: u64,
    /// Keccak-256 of the value.
    pub value_hash: Hash,
    /// Keccak-256 of the metadata, where there is some.
    pub metadata_hash: Option<Hash>,
}

impl StateLeaf {
    /// Reads what [`state_leaf`] writes; none when the bytes are nothing of the kind.
    pub fn read(leaf: &[u8]) -> Option<Self> {
        let (rlp::Item::List(mut payload), []) = rlp::split(leaf).ok()? else { return None };
        let mut next = || {
            let (rlp::Item::String(string), rest) = rlp::split(payload).ok()? else { return None };
            payload = rest;
            Some(string)
        };
        let (block_number, tx_index) = (read_number(next()?)?, read_number(next()?)?);
        let value_hash = next()?.try_into().ok()?;
        let metadata_hash = match next()? {
            [] => None,
            hash => Some(hash.try_into().ok()?),
        };
        payload.is_empty().then_some(Self { block_number, tx_index, value_hash, metadata_hash })
    }
}

fn read_number(bytes: &[u8]) -> Option<u64> {
    let is_number = bytes.len() <= 8 && bytes.first() != Some(&0);
    is_number.then(|| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The leaf of one transaction in a block's results trie: RLP of the validation code and SHA-256
/// of the chaincode event's bytes, or the empty string where there is no event.
pub fn result_leaf(validation_code: u8, event_hash: Option<&[u8; 32]>) -> Vec<u8> {
    let mut payload = Vec::with_capacity(35);
    rlp::put_number(&mut payload, validation_code.into());
    rlp::put_string(&mut payload, event_hash.map_or(&[], |hash| &hash[..]));
    let mut leaf = Vec::with_capacity(payload.len() + 1);
    rlp::put_list_header(&mut leaf, payload.len());
    leaf.extend_from_slice(&payload);
    leaf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_is_read_as_it_was_written_and_nothing_else_is() {
        for (block_number, tx_index) in [(0, 0), (1, 127), (u64::MAX, 128)] {
            for metadata in [None, Some(&b""[..]), Some(b"metadata")] {
                let leaf = state_leaf(block_number, tx_index, b"value", metadata);
                let metadata_hash = metadata.map(keccak256);
                let expected = StateLeaf { block_number, tx_index, value_hash: keccak256(b"value"), metadata_hash };
                assert_eq!(StateLeaf::read(&leaf), Some(expected));
                for length in 0..leaf.len() {
                    assert_eq!(StateLeaf::read(&leaf[..length]), None, "cut to {length} bytes");
                }
                assert_eq!(StateLeaf::read(&[&leaf[..], b"x"].concat()), None);
            }
        }
    }
}
