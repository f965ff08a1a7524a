//! What of a ledger's state stands in the trie, and where.
//!
//! A key's leaf names the transaction that last wrote it and the hashes of what it wrote: enough
//! to prove a value without holding it.

use crate::keccak::keccak256;
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
