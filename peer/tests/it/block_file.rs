//! Blocks of a real Fabric 3.1.5 peer.

use ripstop_proto::block_file::BlockFile;
use ripstop_proto::common::Block;

/// Approvals and commits of two definitions, then the first invoke.
const LIFECYCLE: &[u8] = include_bytes!("../../testdata/lifecycle.blockfile.zst");

/// 1,996 transactions, many of them on keys with endorsement policies of their own; the same
/// file that the ledger's tests replay.
const MIXED: &[u8] = include_bytes!("../../../ledger/testdata/fabric-chain/mixed.blockfile.zst");

/// The blocks of the chain `lifecycle`, from genesis.
pub(crate) fn lifecycle() -> Vec<Block> {
    blocks(LIFECYCLE)
}

/// The blocks of the chain `mixed`, from genesis.
pub(crate) fn mixed() -> Vec<Block> {
    blocks(MIXED)
}

fn blocks(compressed: &[u8]) -> Vec<Block> {
    let file = zstd::decode_all(compressed).unwrap();
    BlockFile::new(&file[..]).collect::<Result<_, _>>().unwrap()
}
