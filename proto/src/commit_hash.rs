//! Fabric's commit hash: one hash per block over codes and state updates, chained.
//!
//! ```text
//! SHA-256( uvarint(length of filter) ++ filter ++ Updates ++ previous commit hash )
//! ```
//! It exists from block 1 on. Two peers with equal commit hashes hold equal state.
//! Source: Fabric `core/ledger/kvledger/kv_ledger.go` and
//! `core/ledger/kvledger/txmgmt/txmgr/update_batch_bytes.go`.

use crate::hash::{Hash, sha256};
use crate::varint::{write_order_preserving, write_unsigned};

/// The final update of one key in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update<'a> {
    /// The chaincode name. The configuration namespace "" never enters the hash.
    pub namespace: &'a str,
    /// The collection, for a hashed key.
    pub collection: Option<&'a str>,
    /// The key, or the 32 bytes of its hash.
    pub key: &'a [u8],
    /// The new value or value hash; `None` is a delete.
    pub value: Option<&'a [u8]>,
    /// Number of the block of the last write.
    pub block_number: u64,
    /// Index of that transaction in the block, invalid ones counted.
    pub tx_index: u64,
}

/// The next commit hash.
///
/// `filter` holds the block's validation codes. `updates` come in this order: namespaces
/// ascending; within one the public keys ascending, then collections ascending, each with
/// its key hashes ascending. `previous` is empty for block 1.
pub fn chain<'a>(filter: &[u8], updates: impl IntoIterator<Item = Update<'a>>, previous: &[u8]) -> Hash {
    let mut length = Vec::with_capacity(4);
    write_unsigned(&mut length, filter.len() as u64);
    sha256(&[&length, filter, &encode_updates(updates), previous])
}

/// The marshalled `Updates` message: a namespace's name stands only in its first entry, a
/// collection's only in its first entry.
pub fn encode_updates<'a>(updates: impl IntoIterator<Item = Update<'a>>) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut entry = Vec::new();
    let mut current: Option<(&str, Option<&str>)> = None;
    for update in updates {
        let same_namespace = current.is_some_and(|(namespace, _)| namespace == update.namespace);
        let same_collection = same_namespace && current.is_some_and(|(_, collection)| collection == update.collection);
        entry.clear();
        if !same_namespace {
            write_field(&mut entry, 1, update.namespace.as_bytes());
        }
        if !same_collection {
            write_field(&mut entry, 2, update.collection.unwrap_or_default().as_bytes());
        }
        write_field(&mut entry, 3, update.key);
        match update.value {
            None => entry.extend_from_slice(&[4 << 3, 1]),
            Some(value) => write_field(&mut entry, 5, value),
        }
        write_field(&mut entry, 6, &version_bytes(update.block_number, update.tx_index));
        write_field(&mut encoded, 1, &entry);
        current = Some((update.namespace, update.collection));
    }
    encoded
}

fn version_bytes(block_number: u64, tx_index: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(18);
    write_order_preserving(&mut bytes, block_number);
    write_order_preserving(&mut bytes, tx_index);
    bytes
}

/// A length-delimited field of protocol buffers; empty ones are not written.
fn write_field(bytes: &mut Vec<u8>, number: u64, content: &[u8]) {
    if !content.is_empty() {
        write_unsigned(bytes, number << 3 | 2);
        write_unsigned(bytes, content.len() as u64);
        bytes.extend_from_slice(content);
    }
}
