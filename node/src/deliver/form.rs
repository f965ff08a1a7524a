//! How blocks and statuses look in the response type of a service.

use ripstop_proto::common::{Block, Status};
use ripstop_proto::{orderer, protos};

/// One service's way to say "a block" and "a status".
pub trait Form: Send + Sync + 'static {
    /// The service's response.
    type Response: Send + 'static;

    /// The `data_type` label of metrics: `block`, `filtered_block`, ….
    const DATA_TYPE: &'static str;

    /// Whether the `filtered` label of metrics says so.
    const FILTERED: bool = false;

    /// A response that carries a status.
    fn status(&self, status: Status) -> Self::Response;

    /// A response that carries a block; the data is absent where headers were asked for.
    ///
    /// # Errors
    /// The reason for the log; the stream ends with an internal error.
    fn block(&self, channel_id: &str, block: Block) -> Result<Self::Response, String>;
}

/// Whole blocks for `orderer.AtomicBroadcast/Deliver`.
#[derive(Debug, Clone, Copy, Default)]
pub struct OrdererBlocks;

impl Form for OrdererBlocks {
    type Response = orderer::DeliverResponse;

    const DATA_TYPE: &'static str = "block";

    fn status(&self, status: Status) -> Self::Response {
        use orderer::deliver_response::Type;
        orderer::DeliverResponse { r#type: Some(Type::Status(status.into())) }
    }

    fn block(&self, _: &str, block: Block) -> Result<Self::Response, String> {
        use orderer::deliver_response::Type;
        Ok(orderer::DeliverResponse { r#type: Some(Type::Block(block)) })
    }
}

/// Whole blocks for `protos.Deliver/Deliver`.
#[derive(Debug, Clone, Copy, Default)]
pub struct PeerBlocks;

impl Form for PeerBlocks {
    type Response = protos::DeliverResponse;

    const DATA_TYPE: &'static str = "block";

    fn status(&self, status: Status) -> Self::Response {
        use protos::deliver_response::Type;
        protos::DeliverResponse { r#type: Some(Type::Status(status.into())) }
    }

    fn block(&self, _: &str, block: Block) -> Result<Self::Response, String> {
        use protos::deliver_response::Type;
        Ok(protos::DeliverResponse { r#type: Some(Type::Block(block)) })
    }
}
