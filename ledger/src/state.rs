//! The world state: how its entries look in the store, and a view of it at one height.
//!
//! ```text
//! key    'd' namespace 00 key
//!        namespace: NAME             public keys
//!                   NAME$$hCOLLECTION  hashed private keys (32 raw bytes), value = value hash
//!                   NAME$$pCOLLECTION  private keys in clear, where this node holds them
//!                   (empty)            the channel configuration
//! value  OPV block number | OPV tx index | uvarint m | metadata | value
//!        m = 0: no metadata; else metadata has m - 1 bytes
//! ```
//! OPV is the order-preserving varint of `ripstop_proto::varint`. The key layout is
//! Fabric's, so that range ends and odd names behave as there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::kvrwset::KvMetadataWrite;
use ripstop_proto::varint::{read_order_preserving, write_order_preserving, write_unsigned};

use crate::store::{Cursor, Snapshot, StoreError};
use crate::version::{Version, VersionedValue};

const PREFIX: u8 = b'd';
pub(crate) const SEPARATOR: u8 = 0;
const AFTER_SEPARATOR: u8 = 1;
/// Names of chaincodes and collections hold no such characters.
pub(crate) const PRIVATE_MARK: &str = "$$p";

/// Key-level metadata: values by name.
pub type Metadata = BTreeMap<String, Bytes>;

/// The committed state at one height. It never changes; clones are cheap.
#[derive(Clone)]
pub struct StateView {
    snapshot: Arc<dyn Snapshot>,
    height: u64,
}

impl StateView {
    pub(crate) fn new(snapshot: Arc<dyn Snapshot>, height: u64) -> Self {
        Self { snapshot, height }
    }

    /// Drops the snapshot; nothing can be read through this view any more.
    pub(crate) fn let_go(&mut self) {
        self.snapshot = Arc::new(LetGo);
    }

    pub(crate) fn snapshot(&self) -> &dyn Snapshot {
        self.snapshot.as_ref()
    }

    /// The number of blocks whose writes are in this state.
    pub fn height(&self) -> u64 {
        self.height
    }

    /// A public key; with its metadata and version.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn get(&self, namespace: &str, key: &str) -> Result<Option<VersionedValue>, StoreError> {
        self.entry(&store_key(Space::Public(namespace), key.as_bytes()))
    }

    /// A hashed private key: its value is the hash of the private value.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn hashed(
        &self,
        namespace: &str,
        collection: &str,
        key_hash: &[u8],
    ) -> Result<Option<VersionedValue>, StoreError> {
        self.entry(&store_key(Space::Hashed(namespace, collection), key_hash))
    }

    /// A private key in clear; absent where this node does not hold it. The value is current
    /// only if the hashed key has the same version.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn private(&self, namespace: &str, collection: &str, key: &str) -> Result<Option<VersionedValue>, StoreError> {
        self.entry(&store_key(Space::Private(namespace, collection), key.as_bytes()))
    }

    /// The metadata of a public key, or of a collection's hashed key; empty where there is
    /// none.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn metadata(&self, namespace: &str, collection: Option<&str>, key: &[u8]) -> Result<Metadata, StoreError> {
        let space = match collection {
            None => Space::Public(namespace),
            Some(collection) => Space::Hashed(namespace, collection),
        };
        metadata_of(self.entry(&store_key(space, key))?.as_ref())
    }

    /// The public keys from `start` up to but not including `end`, ascending by bytes; an
    /// empty `end` is the end of the namespace.
    pub fn range(&self, namespace: &str, start: &str, end: &str) -> StateRange {
        StateRange { rows: self.rows(Space::Public(namespace), start.as_bytes(), end.as_bytes()) }
    }

    /// Like [`StateView::range`], over the private keys that this node holds in clear.
    pub fn private_range(&self, namespace: &str, collection: &str, start: &str, end: &str) -> StateRange {
        StateRange { rows: self.rows(Space::Private(namespace, collection), start.as_bytes(), end.as_bytes()) }
    }

    pub(crate) fn rows(&self, space: Space<'_>, start: &[u8], end: &[u8]) -> Rows {
        rows(self.snapshot(), space, start, end)
    }

    fn entry(&self, key: &[u8]) -> Result<Option<VersionedValue>, StoreError> {
        self.snapshot.get(key)?.map(decode_entry).transpose()
    }
}

/// Stands in a view that must not be read.
struct LetGo;

impl Snapshot for LetGo {
    fn get(&self, _key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Err(StoreError::InUse("it is being opened again".to_owned()))
    }

    fn range(&self, _start: &[u8], _end: &[u8]) -> Box<dyn Cursor> {
        Box::new(LetGo)
    }
}

impl Cursor for LetGo {
    fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        Err(StoreError::InUse("it is being opened again".to_owned()))
    }
}

/// The metadata of an entry. Of several values with one name the last one counts.
pub(crate) fn metadata_of(entry: Option<&VersionedValue>) -> Result<Metadata, StoreError> {
    let Some(bytes) = entry.and_then(|entry| entry.metadata.clone()) else { return Ok(Metadata::new()) };
    let message = KvMetadataWrite::decode(bytes)
        .map_err(|error| StoreError::Damaged(format!("the metadata of a key does not decode: {error}")))?;
    Ok(message.entries.into_iter().map(|entry| (entry.name, entry.value)).collect())
}

/// A part of the state whose keys are their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space<'a> {
    /// Of a namespace.
    Public(&'a str),
    /// Of a namespace and collection: hashes.
    Hashed(&'a str, &'a str),
    /// Of a namespace and collection: clear values.
    Private(&'a str, &'a str),
}

impl<'a> Space<'a> {
    /// The chaincode's name.
    pub(crate) fn namespace(self) -> &'a str {
        match self {
            Self::Public(namespace) | Self::Hashed(namespace, _) | Self::Private(namespace, _) => namespace,
        }
    }
}

/// Whether a key of the store belongs to the state.
pub(crate) fn is_state_key(key: &[u8]) -> bool {
    key.first() == Some(&PREFIX)
}

/// The store key of an entry.
pub(crate) fn store_key(space: Space<'_>, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(80 + key.len());
    write_store_key(&mut bytes, space, key);
    bytes
}

/// Like [`store_key`], into a buffer that is emptied first.
pub(crate) fn write_store_key(bytes: &mut Vec<u8>, space: Space<'_>, key: &[u8]) {
    bytes.clear();
    bytes.push(PREFIX);
    match space {
        Space::Public(namespace) => bytes.extend_from_slice(namespace.as_bytes()),
        Space::Hashed(namespace, collection) => write_collection(bytes, namespace, "$$h", collection),
        Space::Private(namespace, collection) => write_collection(bytes, namespace, PRIVATE_MARK, collection),
    }
    bytes.push(SEPARATOR);
    bytes.extend_from_slice(key);
}

fn write_collection(bytes: &mut Vec<u8>, namespace: &str, mark: &str, collection: &str) {
    for part in [namespace, mark, collection] {
        bytes.extend_from_slice(part.as_bytes());
    }
}

/// The value of an entry in the store.
pub(crate) fn encode_entry(value: &[u8], metadata: Option<&[u8]>, version: Version) -> Vec<u8> {
    let metadata_bytes = metadata.map_or(0, <[u8]>::len);
    let mut bytes = Vec::with_capacity(16 + metadata_bytes + value.len());
    write_order_preserving(&mut bytes, version.block_number);
    write_order_preserving(&mut bytes, version.tx_index);
    write_unsigned(&mut bytes, metadata.map_or(0, |metadata| metadata.len() as u64 + 1));
    bytes.extend_from_slice(metadata.unwrap_or_default());
    bytes.extend_from_slice(value);
    bytes
}

/// Reads an entry.
pub(crate) fn decode_entry(bytes: Bytes) -> Result<VersionedValue, StoreError> {
    let damaged = || StoreError::Damaged(format!("a state entry of {} bytes does not decode", bytes.len()));
    let (block_number, first) = read_order_preserving(&bytes).map_err(|_| damaged())?;
    let (tx_index, second) = read_order_preserving(&bytes[first..]).map_err(|_| damaged())?;
    let mut rest = bytes.slice(first + second..);
    let marked = prost::decode_length_delimiter(&mut rest).map_err(|_| damaged())?;
    let metadata = match marked.checked_sub(1) {
        None => None,
        Some(length) if length <= rest.len() => Some(rest.split_to(length)),
        Some(_) => return Err(damaged()),
    };
    Ok(VersionedValue { value: rest, metadata, version: Version { block_number, tx_index } })
}

/// The entries of a space in [start, end); an empty `end` is the end of the space.
pub(crate) fn rows(snapshot: &dyn Snapshot, space: Space<'_>, start: &[u8], end: &[u8]) -> Rows {
    let from = store_key(space, start);
    let mut to = store_key(space, end);
    if end.is_empty()
        && let Some(last) = to.last_mut()
    {
        *last = AFTER_SEPARATOR;
    }
    let key_offset = from.len() - start.len();
    Rows { cursor: snapshot.range(&from, &to), key_offset }
}

/// A walk over the whole state that all peers share, keys as they are in the store.
pub(crate) fn all_rows(snapshot: &dyn Snapshot) -> AllRows {
    AllRows { cursor: snapshot.range(&[PREFIX], &[PREFIX + 1]) }
}

/// See [`all_rows`].
pub(crate) struct AllRows {
    cursor: Box<dyn Cursor>,
}

impl AllRows {
    pub(crate) fn next(&mut self) -> Result<Option<(Bytes, VersionedValue)>, StoreError> {
        while let Some((key, value)) = self.cursor.next()? {
            let namespace = key.split(|byte| *byte == SEPARATOR).next().unwrap_or_default();
            let is_private = namespace.windows(PRIVATE_MARK.len()).any(|part| part == PRIVATE_MARK.as_bytes());
            if !is_private {
                return Ok(Some((key, decode_entry(value)?)));
            }
        }
        Ok(None)
    }
}

/// A walk over entries with keys as bytes.
pub(crate) struct Rows {
    cursor: Box<dyn Cursor>,
    key_offset: usize,
}

impl Rows {
    pub(crate) fn next(&mut self) -> Result<Option<(Bytes, VersionedValue)>, StoreError> {
        let Some((key, value)) = self.cursor.next()? else { return Ok(None) };
        Ok(Some((key.slice(self.key_offset..), decode_entry(value)?)))
    }
}

/// A walk over the keys and values of a range.
pub struct StateRange {
    rows: Rows,
}

impl Iterator for StateRange {
    type Item = Result<(String, VersionedValue), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next().transpose()?;
        Some(row.and_then(|(key, value)| Ok((key_text(key)?, value))))
    }
}

/// A key as text. Keys of endorsed transactions are protobuf strings, so always UTF-8.
pub(crate) fn key_text(key: Bytes) -> Result<String, StoreError> {
    String::from_utf8(key.into()).map_err(|error| StoreError::Damaged(format!("a state key is no text: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_the_documented_bytes() {
        let entry = encode_entry(b"value", None, Version::new(5, 0));
        assert_eq!(hex::encode(&entry), "0105000076616c7565");
        let entry = encode_entry(b"v", Some(b"meta"), Version::new(256, 3));
        assert_eq!(hex::encode(&entry), "0201000103056d65746176");
        assert_eq!(
            hex::encode(store_key(Space::Hashed("cc", "coll"), &[0xff, 1])),
            "6463632424".to_owned() + "68636f6c6c00ff01"
        );
    }

    #[test]
    fn an_entry_reads_back_as_it_was() {
        for metadata in [None, Some(Bytes::new()), Some(Bytes::from_static(b"m"))] {
            for value in ["", "value"] {
                let version = Version::new(u64::MAX, 300);
                let entry = encode_entry(value.as_bytes(), metadata.as_deref(), version);
                let read = decode_entry(entry.into()).unwrap();
                assert_eq!(read, VersionedValue { value: value.into(), metadata: metadata.clone(), version });
            }
        }
    }

    #[test]
    fn a_cut_entry_is_damage() {
        let entry = encode_entry(b"", Some(b"meta"), Version::new(1, 1));
        for length in 0..entry.len() {
            assert!(decode_entry(Bytes::copy_from_slice(&entry[..length])).is_err(), "{length} bytes");
        }
    }
}
