//! What Deliver serves here: the channels' blocks, to whoever satisfies `/Channel/Readers`.
//!
//! The seek rules and the stream are every node's ([`ripstop_node::deliver`]).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use ripstop_msp::SignedBytes;
use ripstop_node::deliver::{Chain, Channels as DeliverChannels, Request};
use ripstop_proto::common::Block;
use tokio::sync::watch;

use crate::channel::Channel;
use crate::channels::Channels;

const READERS: &str = "/Channel/Readers";
/// In maintenance, blocks go to other orderers only.
const ORDERER_READERS: &str = "/Channel/Orderer/Readers";

/// A channel as Deliver reads it; it holds the channel, since reading goes on on other threads.
pub(crate) struct ReadableChannel(Arc<Channel>);

impl DeliverChannels for Channels {
    type Chain = ReadableChannel;

    fn chain(&self, channel_id: &str) -> Option<Arc<ReadableChannel>> {
        self.get(channel_id).map(|channel| Arc::new(ReadableChannel(channel)))
    }
}

impl Chain for ReadableChannel {
    fn heights(&self) -> watch::Receiver<u64> {
        self.0.heights()
    }

    async fn block(&self, number: u64) -> Result<Arc<Block>, String> {
        if let Some(block) = self.0.recent_block(number) {
            return Ok(block);
        }
        let channel = Arc::clone(&self.0);
        let read = tokio::task::spawn_blocking(move || channel.block(number)).await;
        let block = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        block.ok_or_else(|| format!("block {number} is not in the block store"))
    }

    fn config_sequence(&self) -> u64 {
        self.0.config().sequence()
    }

    fn authorize(&self, request: &Request) -> Result<(), String> {
        let config = self.0.config();
        let policy = match config.orderer().is_some_and(|orderer| orderer.maintenance) {
            true => ORDERER_READERS,
            false => READERS,
        };
        let Request { identity, message, signature, .. } = request;
        let signed = SignedBytes { identity, message: Cow::Borrowed(message), signature };
        config.check(policy, &[signed]).map_err(|error| error.to_string())
    }

    fn expires_at(&self, identity: &[u8]) -> Option<SystemTime> {
        self.0.config().msps().read(identity).ok()?.expires_at()
    }

    fn healthy(&self) -> Option<watch::Receiver<bool>> {
        Some(self.0.chain().healthy())
    }
}
