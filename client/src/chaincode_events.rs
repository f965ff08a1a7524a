//! The events that a chaincode's transactions set, as their blocks commit.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::gateway::{
    ChaincodeEventsRequest as RequestMessage, ChaincodeEventsResponse, SignedChaincodeEventsRequest,
};
use ripstop_proto::orderer::seek_position::Type;
use ripstop_proto::orderer::{SeekNextCommit, SeekPosition, SeekSpecified};
use ripstop_proto::protos;
use tonic::Streaming;

use crate::connection::Connection;
use crate::{Error, GatewayError, Step};

/// An event of a valid transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChaincodeEvent {
    /// The block of the transaction.
    pub block_number: u64,
    /// 64 hexadecimal characters.
    pub transaction_id: String,
    /// Who set it.
    pub chaincode_name: String,
    /// The name the contract gave it.
    pub event_name: String,
    /// What the contract put into it.
    pub payload: Bytes,
}

/// Which events to deliver.
#[derive(Clone)]
pub struct ChaincodeEventsRequest {
    connection: Arc<Connection>,
    channel_id: String,
    chaincode_name: String,
    start_block: Option<u64>,
    after_transaction_id: String,
}

impl ChaincodeEventsRequest {
    pub(crate) fn new(connection: Arc<Connection>, channel_id: String, chaincode_name: String) -> Self {
        Self { connection, channel_id, chaincode_name, start_block: None, after_transaction_id: String::new() }
    }

    /// Begins with this block; without it, with the next one that commits.
    pub fn start_block(mut self, block_number: u64) -> Self {
        self.start_block = Some(block_number);
        self
    }

    /// Begins behind an event that was received before, so that none is lost or delivered
    /// again after a break.
    pub fn after(mut self, event: &ChaincodeEvent) -> Self {
        self.start_block = Some(event.block_number);
        self.after_transaction_id.clone_from(&event.transaction_id);
        self
    }

    /// Opens the stream.
    ///
    /// # Errors
    /// When the identity cannot sign, or the gateway refuses.
    pub async fn open(&self) -> Result<ChaincodeEvents, Error> {
        let position = match self.start_block {
            Some(number) => Type::Specified(SeekSpecified { number }),
            None => Type::NextCommit(SeekNextCommit {}),
        };
        let request = RequestMessage {
            channel_id: self.channel_id.clone(),
            chaincode_id: self.chaincode_name.clone(),
            identity: self.connection.signer.serialized().clone(),
            start_position: Some(SeekPosition { r#type: Some(position) }),
            after_transaction_id: self.after_transaction_id.clone(),
        };
        let request = Bytes::from(request.encode_to_vec());
        let signature = self.connection.sign(&request)?;
        let mut client = self.connection.client.clone();
        let stream = client
            .chaincode_events(SignedChaincodeEventsRequest { request, signature })
            .await
            .map_err(|status| GatewayError::new(Step::ChaincodeEvents, None, &status))?;
        Ok(ChaincodeEvents { stream: stream.into_inner(), block: Vec::new().into_iter() })
    }
}

/// An open stream of events. Dropping it ends it.
pub struct ChaincodeEvents {
    stream: Streaming<ChaincodeEventsResponse>,
    block: std::vec::IntoIter<ChaincodeEvent>,
}

impl ChaincodeEvents {
    /// The next event, in the order of blocks and of transactions in them; waits for it.
    /// `None` when the gateway ended the stream.
    ///
    /// # Errors
    /// When the connection breaks: open a new stream [`after`](ChaincodeEventsRequest::after)
    /// the last event.
    pub async fn next(&mut self) -> Result<Option<ChaincodeEvent>, Error> {
        loop {
            if let Some(event) = self.block.next() {
                return Ok(Some(event));
            }
            let block = self.stream.message().await;
            match block.map_err(|status| GatewayError::new(Step::ChaincodeEvents, None, &status))? {
                Some(block) => self.block = events(block).into_iter(),
                None => return Ok(None),
            }
        }
    }
}

fn events(block: ChaincodeEventsResponse) -> Vec<ChaincodeEvent> {
    let block_number = block.block_number;
    let event = |event: protos::ChaincodeEvent| ChaincodeEvent {
        block_number,
        transaction_id: event.tx_id,
        chaincode_name: event.chaincode_id,
        event_name: event.event_name,
        payload: event.payload,
    };
    block.events.into_iter().map(event).collect()
}
