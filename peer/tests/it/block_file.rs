//! Block files of a real Fabric 3.1.5 peer.
//!
//! ```text
//! record  uvarint(length) then: number, data hash, previous hash (in this order),
//!         count of transactions, each, count of metadata slots, each
//! ```
//! Numbers are unsigned varints; byte strings carry their length.

use bytes::{Buf, Bytes};
use prost::encoding::decode_varint;
use ripstop_proto::common::{Block, BlockData, BlockHeader, BlockMetadata};

/// Approvals and commits of two definitions, then the first invoke.
const LIFECYCLE: &[u8] = include_bytes!("../../testdata/lifecycle.blockfile.zst");

/// The blocks of the chain `lifecycle`, from genesis.
pub(crate) fn lifecycle() -> Vec<Block> {
    let mut rest = Bytes::from(zstd::decode_all(LIFECYCLE).unwrap());
    let mut blocks = Vec::new();
    while rest.has_remaining() {
        blocks.push(block(&mut bytes(&mut rest)));
    }
    blocks
}

fn block(record: &mut Bytes) -> Block {
    let number = decode_varint(record).unwrap();
    let data_hash = bytes(record);
    let previous_hash = bytes(record);
    Block {
        header: Some(BlockHeader { number, previous_hash, data_hash }),
        data: Some(BlockData { data: list(record) }),
        metadata: Some(BlockMetadata { metadata: list(record) }),
    }
}

fn list(record: &mut Bytes) -> Vec<Bytes> {
    let count = decode_varint(record).unwrap();
    (0..count).map(|_| bytes(record)).collect()
}

fn bytes(record: &mut Bytes) -> Bytes {
    let length = decode_varint(record).unwrap() as usize;
    record.split_to(length)
}
