//! Fabric's commit hash over a block's codes and updates, through a message of its own.

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use super::serial_ledger::{Number, Place, Row};

/// Fabric's message for the updates of a block (`update_batch_bytes.go`).
#[derive(Clone, PartialEq, Message)]
struct Updates {
    #[prost(message, repeated, tag = "1")]
    writes: Vec<Write>,
}

#[derive(Clone, PartialEq, Message)]
struct Write {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    collection: String,
    #[prost(bytes = "bytes", tag = "3")]
    key: Bytes,
    #[prost(bool, tag = "4")]
    is_delete: bool,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    version: Bytes,
}

/// The hash after a block. `updates` are in order; a row that is not there is a delete.
pub(crate) fn next<'a>(
    filter: &[u8],
    updates: impl Iterator<Item = (&'a Place, &'a Number, Option<&'a Row>)>,
    previous: &[u8],
) -> Vec<u8> {
    let mut hashed = Updates::default();
    let mut last: Option<&Place> = None;
    for (place, number, row) in updates.filter(|((namespace, ..), ..)| !namespace.is_empty()) {
        let (namespace, collection, key) = place;
        let is_first_of_namespace = last.is_none_or(|last| last.0 != *namespace);
        let is_first_of_collection = is_first_of_namespace || last.is_none_or(|last| last.1 != *collection);
        hashed.writes.push(Write {
            namespace: if is_first_of_namespace { namespace.clone() } else { String::new() },
            collection: if is_first_of_collection { collection.clone() } else { String::new() },
            key: key.clone().into(),
            is_delete: row.is_none(),
            value: row.map_or(Bytes::new(), |row| row.value.clone()),
            version: [ordered(number.0), ordered(number.1)].concat().into(),
        });
        last = Some(place);
    }
    let mut bytes = Vec::new();
    prost::encode_length_delimiter(filter.len(), &mut bytes).unwrap();
    bytes.extend_from_slice(filter);
    bytes.extend_from_slice(&hashed.encode_to_vec());
    bytes.extend_from_slice(previous);
    Sha256::digest(&bytes).to_vec()
}

/// The length of a number without leading zeros, then the number.
fn ordered(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    [&[8 - zeros as u8], &bytes[zeros..]].concat()
}
