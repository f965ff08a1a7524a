//! The newest blocks of a channel, in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use prost::Message;
use ripstop_proto::common::Block;

/// Newest blocks that are kept in memory, by count and by bytes: every peer asks for each
/// block as soon as it is there.
const RECENT_COUNT_MAX: usize = 64;
const RECENT_BYTES_MAX: usize = 32 << 20;

/// The newest blocks, in memory.
#[derive(Default)]
pub(crate) struct RecentBlocks(Mutex<VecDeque<(Arc<Block>, usize)>>);

impl RecentBlocks {
    pub(crate) fn add(&self, blocks: Vec<Block>) {
        let mut recent = self.0.lock();
        recent.extend(blocks.into_iter().map(|block| {
            let bytes = block.encoded_len();
            (Arc::new(block), bytes)
        }));
        let mut bytes: usize = recent.iter().map(|(_, bytes)| bytes).sum();
        while recent.len() > RECENT_COUNT_MAX || bytes > RECENT_BYTES_MAX {
            bytes -= recent.pop_front().map_or(bytes, |(_, bytes)| bytes);
        }
    }

    pub(crate) fn get(&self, number: u64) -> Option<Arc<Block>> {
        let recent = self.0.lock();
        let first = recent.front()?.0.header.as_ref()?.number;
        recent.get(usize::try_from(number.checked_sub(first)?).ok()?).map(|(block, _)| Arc::clone(block))
    }
}

#[cfg(test)]
mod tests {
    use ripstop_proto::common::{BlockData, BlockHeader};

    use super::*;

    fn block(number: u64, bytes: usize) -> Block {
        let data = BlockData { data: vec![vec![0; bytes].into()] };
        Block { header: Some(BlockHeader { number, ..BlockHeader::default() }), data: Some(data), metadata: None }
    }

    #[test]
    fn the_newest_blocks_are_kept_by_count() {
        let recent = RecentBlocks::default();
        assert!(recent.get(0).is_none());
        recent.add((5..200).map(|number| block(number, 10)).collect());
        assert_eq!(recent.get(199).unwrap().header.as_ref().unwrap().number, 199);
        assert!(recent.get(200 - RECENT_COUNT_MAX as u64).is_some());
        assert!(recent.get(199 - RECENT_COUNT_MAX as u64).is_none());
        assert!(recent.get(200).is_none());
    }

    #[test]
    fn large_blocks_push_others_out() {
        let recent = RecentBlocks::default();
        recent.add((0..10).map(|number| block(number, RECENT_BYTES_MAX / 4)).collect());
        assert!(recent.get(6).is_none());
        assert!((7..10).all(|number| recent.get(number).is_some()));
        recent.add(vec![block(10, RECENT_BYTES_MAX + 1)]);
        assert!(recent.get(10).is_none(), "one that is too large for the memory is read from disk");
    }
}
