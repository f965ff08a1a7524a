//! Blocks of a real Fabric 3.1.5 peer.

use ripstop_proto::block_file::BlockFile;
use ripstop_proto::common::Block;

/// Approvals and commits of two definitions, then the first invoke.
const LIFECYCLE: &[u8] = include_bytes!("../../testdata/lifecycle.blockfile.zst");

/// The blocks of the chain `lifecycle`, from genesis.
pub(crate) fn lifecycle() -> Vec<Block> {
    let file = zstd::decode_all(LIFECYCLE).unwrap();
    BlockFile::new(&file[..]).collect::<Result<_, _>>().unwrap()
}
