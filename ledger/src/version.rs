//! When a key was last written, and the value it then got.

use bytes::Bytes;
use ripstop_proto::kvrwset;

/// Block number and index in that block of the transaction that wrote a key last.
///
/// `{0, 0}` is a real version: that of what genesis wrote. An absent key has no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Number of the block.
    pub block_number: u64,
    /// Index in the block from 0, invalid transactions counted.
    pub tx_index: u64,
}

impl Version {
    /// The version of what transaction `tx_index` of block `block_number` writes.
    pub fn new(block_number: u64, tx_index: u64) -> Self {
        Self { block_number, tx_index }
    }
}

impl From<&kvrwset::Version> for Version {
    fn from(version: &kvrwset::Version) -> Self {
        Self { block_number: version.block_num, tx_index: version.tx_num }
    }
}

impl From<Version> for kvrwset::Version {
    fn from(version: Version) -> Self {
        Self { block_num: version.block_number, tx_num: version.tx_index }
    }
}

/// What the state holds for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedValue {
    /// The value; for a hashed key the hash of the private value.
    pub value: Bytes,
    /// Key-level metadata: a marshalled `kvrwset.KVMetadataWrite` with empty key.
    pub metadata: Option<Bytes>,
    /// The last write of the value or of its metadata.
    pub version: Version,
}
