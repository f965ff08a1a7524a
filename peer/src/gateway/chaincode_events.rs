//! ChaincodeEvents: the events of one chaincode, block by block, from a position on.
//!
//! Only valid transactions leave events. A block without a matching event sends nothing.
//! Source: Fabric `internal/pkg/gateway/chaincodeevents.go` and `event/`.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use prost::Message;
use ripstop_msp::SignedBytes;
use ripstop_proto::block;
use ripstop_proto::common::{Block, HeaderType};
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::gateway::{ChaincodeEventsRequest, ChaincodeEventsResponse, SignedChaincodeEventsRequest};
use ripstop_proto::orderer::{SeekPosition, seek_position};
use ripstop_proto::protos::{ChaincodeEvent, TxValidationCode};
use ripstop_proto::transaction::OpenTransaction;
use tonic::Status;

use super::Gateway;
use crate::channel::Channel;

const RESOURCE: &str = "gateway/ChaincodeEvents";

pub(super) type EventStream = Pin<Box<dyn Stream<Item = Result<ChaincodeEventsResponse, Status>> + Send>>;

impl Gateway {
    pub(super) fn follow_events(&self, signed: SignedChaincodeEventsRequest) -> Result<EventStream, Status> {
        if signed.request.is_empty() {
            return Err(Status::invalid_argument("a chaincode events request is required"));
        }
        let request = ChaincodeEventsRequest::decode(signed.request.clone())
            .map_err(|error| Status::invalid_argument(format!("invalid chaincode events request: {error}")))?;
        let channel = self.authorized(
            RESOURCE,
            &request.channel_id,
            &SignedBytes {
                identity: &request.identity,
                message: signed.request.as_ref().into(),
                signature: &signed.signature,
            },
        )?;
        let next = first_block(&channel, &request)?;
        let follower = Follower {
            heights: channel.ledger().heights(),
            channel,
            chaincode: request.chaincode_id,
            skip_to: Some(request.after_transaction_id).filter(|tx_id| !tx_id.is_empty()),
            next,
        };
        Ok(Box::pin(futures::stream::unfold(follower, |mut follower| async move {
            follower.next_response().await.map(|response| (response, follower))
        })))
    }
}

/// The block of the transaction to resume after, or else the asked position.
fn first_block(channel: &Channel, request: &ChaincodeEventsRequest) -> Result<u64, Status> {
    let ledger = channel.ledger();
    if !request.after_transaction_id.is_empty() {
        let position = ledger
            .transaction(&request.after_transaction_id)
            .map_err(|error| Status::aborted(format!("cannot look up the transaction: {error}")))?;
        if let Some(position) = position {
            return Ok(position.block_number);
        }
    }
    match request.start_position.as_ref().and_then(|SeekPosition { r#type }| r#type.as_ref()) {
        None | Some(seek_position::Type::NextCommit(_)) => Ok(ledger.height()),
        Some(seek_position::Type::Specified(specified)) => Ok(specified.number),
        Some(other) => Err(Status::invalid_argument(format!("invalid start position type: {other:?}"))),
    }
}

/// One client's place in the chain.
struct Follower {
    channel: Arc<Channel>,
    heights: tokio::sync::watch::Receiver<u64>,
    chaincode: String,
    /// Events up to and including this transaction are dropped in the first block.
    skip_to: Option<String>,
    next: u64,
}

impl Follower {
    /// The next block with a matching event; none when the channel is no longer served.
    async fn next_response(&mut self) -> Option<Result<ChaincodeEventsResponse, Status>> {
        loop {
            let next = self.next;
            self.heights.wait_for(|height| *height > next).await.ok()?;
            let block = match self.channel.ledger().block(self.next) {
                Ok(Some(block)) => block,
                Ok(None) => return Some(Err(Status::aborted(format!("block {} is not in the ledger", self.next)))),
                Err(error) => return Some(Err(Status::aborted(format!("cannot read block {}: {error}", self.next)))),
            };
            let events = self.matching_events(&block);
            self.next += 1;
            if !events.is_empty() {
                return Some(Ok(ChaincodeEventsResponse { events, block_number: next }));
            }
        }
    }

    fn matching_events(&mut self, block: &Block) -> Vec<ChaincodeEvent> {
        let mut events = events(block);
        if let Some(tx_id) = &self.skip_to {
            // Fabric drops everything for ever when that transaction left no event; here
            // the skipping ends with its block.
            let skipped = events.iter().rposition(|event| event.tx_id == *tx_id).map_or(0, |last| last + 1);
            events.drain(..skipped);
            self.skip_to = None;
        }
        events.retain(|event| event.chaincode_id == self.chaincode);
        events
    }
}

/// The events of a block's valid transactions, in order.
fn events(block: &Block) -> Vec<ChaincodeEvent> {
    let codes = block::metadata_slot(block, block::TRANSACTIONS_FILTER);
    let entries = block.data.as_ref().map_or(&[][..], |data| &data.data);
    entries
        .iter()
        .zip(codes)
        .filter(|(_, code)| **code == TxValidationCode::Valid as u8)
        .filter_map(|(entry, _)| event(entry))
        .collect()
}

fn event(entry: &[u8]) -> Option<ChaincodeEvent> {
    let envelope = OpenEnvelope::open(entry).ok()?;
    if envelope.header_type() != Some(HeaderType::EndorserTransaction) {
        return None;
    }
    let action = OpenTransaction::open(envelope.payload.data).ok()?.chaincode_action().ok()?;
    let event = ChaincodeEvent::decode(action.events).ok()?;
    let complete = !event.chaincode_id.is_empty() && !event.event_name.is_empty() && !event.tx_id.is_empty();
    complete.then_some(event)
}
