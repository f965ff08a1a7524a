//! Explanations: why a transaction is invalid, for whoever may ask for its commit status.
//!
//! The ledger knows the reasons; here they are looked up by transaction id. Nobody waits:
//! a transaction that is in no block yet is not found.

use std::sync::Arc;

use prost::Message;
use ripstop_ledger::{Ledger, LedgerError};
use ripstop_msp::SignedBytes;
use ripstop_proto::ripstop::v1::explanations_server;
use ripstop_proto::ripstop::v1::{ExplainRequest, ExplainResponse, SignedExplainRequest};
use tonic::{Request, Response, Status};

use crate::access;
use crate::channel::Channels;

/// Who may see the code may see the reason.
const RESOURCE: &str = "gateway/CommitStatus";

/// The service, over all channels of the peer.
pub struct Explanations {
    channels: Arc<Channels>,
}

impl Explanations {
    /// Answers for these channels.
    pub fn new(channels: Arc<Channels>) -> Self {
        Self { channels }
    }
}

#[tonic::async_trait]
impl explanations_server::Explanations for Explanations {
    async fn explain(&self, request: Request<SignedExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let signed = request.into_inner();
        let request = open(&signed)?;
        let signed_bytes = SignedBytes {
            identity: &request.identity,
            message: signed.request.as_ref().into(),
            signature: &signed.signature,
        };
        let channel = access::check_signed(&self.channels, &request.channel_id, RESOURCE, &signed_bytes)?;
        // Reads from disk.
        let looking_up = tokio::task::spawn_blocking(move || explain(channel.ledger(), &request));
        let found = looking_up.await.map_err(|broken| Status::internal(format!("the look-up broke: {broken}")))?;
        found.map(Response::new)
    }
}

fn open(signed: &SignedExplainRequest) -> Result<ExplainRequest, Status> {
    let request = ExplainRequest::decode(signed.request.clone())
        .map_err(|error| Status::invalid_argument(format!("invalid request for an explanation: {error}")))?;
    if request.transaction_id.is_empty() {
        return Err(Status::invalid_argument("transaction ID should not be empty"));
    }
    Ok(request)
}

fn explain(ledger: &Ledger, request: &ExplainRequest) -> Result<ExplainResponse, Status> {
    let unreadable = |error: LedgerError| {
        tracing::error!(channel = ledger.channel_id(), %error, "cannot explain a transaction");
        Status::aborted(format!("cannot look up the transaction: {error}"))
    };
    let ExplainRequest { channel_id, transaction_id, .. } = request;
    let height = ledger.height();
    let position = ledger.transaction(transaction_id).map_err(unreadable)?.ok_or_else(|| {
        Status::not_found(format!(
            "no block of channel {channel_id} below height {height} holds transaction {transaction_id}"
        ))
    })?;
    Ok(ExplainResponse {
        block_number: position.block_number,
        tx_index: position.tx_index,
        code: position.code.into(),
        explanation: ledger.explanation(&position).map_err(unreadable)?,
        explained_from: ledger.explained_from(),
    })
}
