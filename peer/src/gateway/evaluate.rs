//! Evaluate: one peer runs the chaincode and its answer goes back; nothing is ordered.
//!
//! Source of order, codes and texts: Fabric `internal/pkg/gateway/evaluate.go`.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::gateway::{EvaluateRequest, EvaluateResponse};
use ripstop_proto::proposal::OpenProposal;
use ripstop_proto::protos::{ChaincodeAction, ProposalResponse, ProposalResponsePayload};
use tonic::{Code, Status};

use super::peers::ChannelPeer;
use super::{Gateway, failure};

pub(super) const TIMED_OUT: &str = "evaluate timeout expired";

impl Gateway {
    pub(super) async fn evaluate_proposal(&self, request: EvaluateRequest) -> Result<EvaluateResponse, Status> {
        let signed = request
            .proposed_transaction
            .filter(|proposal| !proposal.proposal_bytes.is_empty())
            .ok_or_else(|| Status::invalid_argument("the proposed transaction must contain a signed proposal"))?;
        let proposal = OpenProposal::open(signed.proposal_bytes.clone()).map_err(unpack_failed)?;
        if proposal.channel_header.channel_id.is_empty() {
            return Err(unpack_failed("no channel id provided"));
        }
        let channel = self.channel(&proposal.channel_header.channel_id)?;
        let config = channel.config();
        let mut details = Vec::new();
        let mut last_code = Code::Unavailable;
        let peers = self.endorsers.in_order(&channel, &proposal.chaincode_name);
        let own = &self.endorsers.local.msp_id;
        for peer in candidates(peers, own, &proposal, &request.target_organizations)? {
            match self.endorsers.process(&config, &peer, signed.clone()).await {
                Ok(response) => return Ok(EvaluateResponse { result: Some(result(response)?) }),
                Err(failed) => {
                    details.push(failure::detail(&peer.address, &peer.msp_id, &failed.message));
                    if !failed.retry {
                        let text = format!("evaluate call to endorser returned error: {}", failed.message);
                        return Err(failure::status(failed.code, text, &details[details.len() - 1..]));
                    }
                    last_code = failed.code;
                }
            }
        }
        Err(failure::status(last_code, "failed to evaluate transaction, see attached details for more info", &details))
    }
}

fn unpack_failed(cause: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("failed to unpack transaction proposal: {cause}"))
}

/// Transient data stays with the organizations the client named, or with our own.
fn candidates(
    peers: Vec<ChannelPeer>,
    own: &str,
    proposal: &OpenProposal,
    targets: &[String],
) -> Result<Vec<ChannelPeer>, Status> {
    let transient = !proposal.payload.transient_map.is_empty();
    let wanted = |peer: &ChannelPeer| match (targets, transient) {
        ([], false) => true,
        ([], true) => peer.msp_id == own,
        (targets, _) => targets.contains(&peer.msp_id),
    };
    let candidates: Vec<_> = peers.into_iter().filter(wanted).collect();
    if candidates.is_empty() {
        return Err(Status::unavailable(format!(
            "failed to find any endorsing peers for org(s): {}",
            targets.join(", ")
        )));
    }
    Ok(candidates)
}

/// The endorser's response, with the chaincode's payload out of the signed part.
fn result(response: ProposalResponse) -> Result<ripstop_proto::protos::Response, Status> {
    let payload = chaincode_payload(&response.payload)
        .map_err(|error| Status::unknown(format!("the endorser's answer does not decode: {error}")))?;
    let mut result = response.response.unwrap_or_default();
    result.payload = payload;
    Ok(result)
}

fn chaincode_payload(response_payload: &Bytes) -> Result<Bytes, prost::DecodeError> {
    let payload = ProposalResponsePayload::decode(response_payload.clone())?;
    let action = ChaincodeAction::decode(payload.extension)?;
    Ok(action.response.unwrap_or_default().payload)
}
