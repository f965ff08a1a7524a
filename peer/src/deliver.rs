//! What Deliver serves here: committed blocks to whoever the channel's configuration lets
//! have them, whole, filtered, or with private data.
//!
//! Seek rules, time window, expiry and the stream itself are every node's
//! ([`ripstop_node::deliver`]); this module knows which resource guards which form, and
//! `filtered` what a filtered block tells. Source: Fabric `core/peer/deliverevents.go`.

mod filtered;
mod service;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use ripstop_msp::SignedBytes;
use ripstop_node::deliver::{Chain, Channels as DeliverChannels, Form, Request};
use ripstop_proto::common::{Block, Status};
use ripstop_proto::protos::{BlockAndPrivateData, DeliverResponse, deliver_response};
use tokio::sync::watch;

pub use filtered::{FilteredBlocks, filtered_block};
pub use service::DeliverService;

use crate::access;
use crate::channel::{Channel, Channels};

/// Guards whole blocks, with and without private data.
pub const BLOCKS: &str = "event/Block";
/// Guards filtered blocks.
pub const FILTERED_BLOCKS: &str = "event/FilteredBlock";

/// The channels of this peer, as far as `resource` lets one read them.
pub struct Readable {
    channels: Arc<Channels>,
    resource: &'static str,
}

/// One of them.
pub struct ReadableChannel {
    channel: Arc<Channel>,
    resource: &'static str,
}

impl Readable {
    /// The blocks of `channels`, to those that may use `resource`.
    pub fn new(channels: Arc<Channels>, resource: &'static str) -> Self {
        Self { channels, resource }
    }
}

impl DeliverChannels for Readable {
    type Chain = ReadableChannel;

    fn chain(&self, channel_id: &str) -> Option<Arc<ReadableChannel>> {
        let channel = self.channels.get(channel_id)?;
        Some(Arc::new(ReadableChannel { channel, resource: self.resource }))
    }
}

impl Chain for ReadableChannel {
    fn heights(&self) -> watch::Receiver<u64> {
        self.channel.ledger().heights()
    }

    async fn block(&self, number: u64) -> Result<Arc<Block>, String> {
        let ledger = Arc::clone(self.channel.ledger());
        // An old block is megabytes on the disk.
        let read = tokio::task::spawn_blocking(move || ledger.block(number)).await;
        let block = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        block.ok_or_else(|| format!("block {number} is not in the ledger"))
    }

    fn config_sequence(&self) -> u64 {
        self.channel.config().sequence()
    }

    fn authorize(&self, request: &Request) -> Result<(), String> {
        let Request { identity, message, signature, .. } = request;
        let signed = SignedBytes { identity, message: Cow::Borrowed(message), signature };
        access::check_channel(&self.channel.config(), self.resource, &signed).map_err(|denied| denied.to_string())
    }

    fn expires_at(&self, identity: &[u8]) -> Option<SystemTime> {
        self.channel.config().msps().read(identity).ok()?.expires_at()
    }
}

/// Blocks for `protos.Deliver/DeliverWithPrivateData`. This peer stores no private data
/// yet, so the map beside each block is empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct BlocksWithPrivateData;

impl Form for BlocksWithPrivateData {
    type Response = DeliverResponse;

    const DATA_TYPE: &'static str = "block_and_pvtdata";

    fn status(&self, status: Status) -> DeliverResponse {
        DeliverResponse { r#type: Some(deliver_response::Type::Status(status.into())) }
    }

    fn block(&self, _: &str, block: Block) -> Result<DeliverResponse, String> {
        let block = BlockAndPrivateData { block: Some(block), ..BlockAndPrivateData::default() };
        Ok(DeliverResponse { r#type: Some(deliver_response::Type::BlockAndPrivateData(block)) })
    }
}
