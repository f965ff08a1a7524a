//! Submit: hands the signed transaction to the ordering service.
//!
//! Source of codes and texts: Fabric `internal/pkg/gateway/submit.go`.

use prost::Message;
use rand::seq::SliceRandom;
use ripstop_proto::common::Status as OrderingStatus;
use ripstop_proto::gateway::{SubmitRequest, SubmitResponse};
use tonic::{Code, Status};

use super::{Gateway, failure};

pub(super) const TIMED_OUT: &str = "submit timeout expired while broadcasting to ordering service";

impl Gateway {
    pub(super) async fn submit_transaction(&self, request: SubmitRequest) -> Result<SubmitResponse, Status> {
        let envelope = request
            .prepared_transaction
            .ok_or_else(|| Status::invalid_argument("a prepared transaction is required"))?;
        if envelope.signature.is_empty() {
            return Err(Status::invalid_argument("prepared transaction must be signed"));
        }
        let channel = self.channel(&request.channel_id)?;
        let config = channel.config();
        let mut orderers = self.orderers.of_channel(&config);
        if orderers.is_empty() {
            return Err(Status::unavailable("no orderer nodes available"));
        }
        orderers.shuffle(&mut rand::rng());
        let envelope = envelope.encode_to_vec().into();
        let mut details = Vec::new();
        for orderer in &orderers {
            match self.orderers.order(orderer, channel.id(), bytes::Bytes::clone(&envelope)).await {
                Ok(outcome) if outcome.status == OrderingStatus::Success as i32 => return Ok(SubmitResponse {}),
                Ok(outcome) if (400..500).contains(&outcome.status) => {
                    return Err(Status::aborted(format!(
                        "received unsuccessful response from orderer: status={}, info={}",
                        OrderingStatus::try_from(outcome.status).unwrap_or_default().as_str_name(),
                        outcome.info
                    )));
                }
                Ok(_) => {}
                Err(error) => details.push(failure::detail(&orderer.address, &orderer.msp_id, error.message())),
            }
        }
        Err(failure::status(Code::Unavailable, "no orderers could successfully process transaction", &details))
    }
}
