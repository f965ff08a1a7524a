//! Submit: hands the signed transaction to the ordering service.
//!
//! One orderer is enough. Where a connection breaks, or a leader is lost and nobody can
//! order for a moment, the same envelope goes to the next orderer: should it be ordered
//! twice, its transaction id is a duplicate the second time and writes nothing.
//! Source of codes and texts: Fabric `internal/pkg/gateway/submit.go`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common::Status as OrderingStatus;
use ripstop_proto::gateway::{ErrorDetail, SubmitRequest, SubmitResponse};
use ripstop_proto::ripstop::v1::SubmitOutcome;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::{Gateway, failure};
use crate::channel::Channel;

pub(super) const TIMED_OUT: &str = "submit timeout expired while broadcasting to ordering service";

/// How long orderers are asked again while some are there and none can order: longer than
/// an election takes.
const RESEND_FOR: Duration = Duration::from_secs(4);
const RESEND_INTERVAL: Duration = Duration::from_millis(100);

impl Gateway {
    pub(super) async fn submit_transaction(&self, request: SubmitRequest) -> Result<SubmitResponse, Status> {
        let envelope = request
            .prepared_transaction
            .ok_or_else(|| Status::invalid_argument("a prepared transaction is required"))?;
        if envelope.signature.is_empty() {
            return Err(Status::invalid_argument("prepared transaction must be signed"));
        }
        let channel = self.channel(&request.channel_id)?;
        let envelope = Bytes::from(envelope.encode_to_vec());
        let mut give_up_at = None;
        // What each orderer said last.
        let mut details = BTreeMap::new();
        loop {
            let round = self.try_each_orderer(&channel, &envelope, &mut details).await?;
            let now = Instant::now();
            match round {
                Round::Ordered => return Ok(SubmitResponse {}),
                Round::Unable if now < *give_up_at.get_or_insert(now + RESEND_FOR) => {
                    tokio::time::sleep(RESEND_INTERVAL).await;
                }
                Round::Unable | Round::Unreachable => break,
            }
        }
        let details: Vec<ErrorDetail> = details.into_values().collect();
        Err(failure::status(Code::Unavailable, "no orderers could successfully process transaction", &details))
    }

    /// One attempt at each orderer, until one takes the envelope or refuses it for good.
    async fn try_each_orderer(
        &self,
        channel: &Channel,
        envelope: &Bytes,
        details: &mut BTreeMap<String, ErrorDetail>,
    ) -> Result<Round, Status> {
        let orderers = self.orderers.in_order(&channel.config());
        if orderers.is_empty() {
            return Err(Status::unavailable("no orderer nodes available"));
        }
        let mut round = Round::Unreachable;
        for orderer in &orderers {
            match self.orderers.order(orderer, channel.id(), envelope.clone()).await {
                Ok(outcome) if outcome.status == OrderingStatus::Success as i32 => return Ok(Round::Ordered),
                Ok(outcome) if (400..500).contains(&outcome.status) => return Err(refused(&outcome)),
                Ok(_) => round = Round::Unable,
                Err(error) => {
                    let detail = failure::detail(&orderer.address, &orderer.msp_id, error.message());
                    details.insert(orderer.address.clone(), detail);
                }
            }
        }
        Ok(round)
    }
}

/// What came of asking every orderer once.
enum Round {
    Ordered,
    /// Somebody answered, and nobody can order now.
    Unable,
    Unreachable,
}

fn refused(outcome: &SubmitOutcome) -> Status {
    Status::aborted(format!(
        "received unsuccessful response from orderer: status={}, info={}",
        OrderingStatus::try_from(outcome.status).unwrap_or_default().as_str_name(),
        outcome.info
    ))
}
