//! The answer to a proposal: what is signed, and what stands in it by status.
//!
//! ```text
//! status         version  payload   endorsement
//! 500 and more      0     present   –             the contract failed
//! 400 to 499        0     –         –             the contract refused
//! below 400         1     present   present
//! below 500 without a channel: the response alone
//! ```

use bytes::Bytes;
use prost::Message;
use ripstop_msp::SigningIdentity;
use ripstop_proto::proposal;
use ripstop_proto::protos::{
    ChaincodeAction, ChaincodeEvent, ChaincodeId, ChaincodeInterest, Endorsement, ProposalResponse,
    ProposalResponsePayload, Response,
};
use ripstop_proto::rwset::TxReadWriteSet;

use super::admission::Admitted;

/// From here on a response is not endorsed.
const REFUSED: i32 = 400;
/// From here on the contract says that it failed.
const FAILED: i32 = 500;

/// What running a chaincode gave.
pub(super) struct Executed {
    pub(super) response: Response,
    pub(super) event: Option<ChaincodeEvent>,
    /// Marshalled read and write sets; empty where no state was touched.
    pub(super) results: Bytes,
    /// What the gateway plans endorsements by; not signed.
    pub(super) interest: Option<ChaincodeInterest>,
    /// The version of the chaincode's definition.
    pub(super) version: String,
}

pub(super) fn results(sets: &TxReadWriteSet) -> Bytes {
    sets.encode_to_vec().into()
}

pub(super) fn build(
    admitted: &Admitted,
    mut executed: Executed,
    identity: &SigningIdentity,
) -> Result<ProposalResponse, String> {
    let status = executed.response.status;
    let response = Some(executed.response.clone());
    if status < FAILED && (admitted.channel.is_none() || status >= REFUSED) {
        if admitted.channel.is_some() {
            count_not_endorsed(admitted, "true");
        }
        return Ok(ProposalResponse { response, ..ProposalResponse::default() });
    }
    let interest = executed.interest.take();
    let payload = payload(admitted, executed);
    if status >= FAILED {
        return Ok(ProposalResponse { response, payload, interest, ..ProposalResponse::default() });
    }
    let endorsement = Some(sign(&payload, identity).map_err(|cause| {
        count_not_endorsed(admitted, "false");
        format!("endorsing with plugin failed: {cause}")
    })?);
    Ok(ProposalResponse { version: 1, response, payload, endorsement, interest, ..ProposalResponse::default() })
}

/// `chaincode_error`: whether the contract said no, and not this peer.
fn count_not_endorsed(admitted: &Admitted, chaincode_error: &'static str) {
    metrics::counter!(
        "endorser_endorsement_failures",
        "channel" => admitted.channel_id().to_owned(),
        "chaincode" => admitted.chaincode().to_owned(),
        "chaincodeerror" => chaincode_error
    )
    .increment(1);
}

/// `ProposalResponsePayload`: ties the proposal's hash to what its chaincode did.
fn payload(admitted: &Admitted, executed: Executed) -> Bytes {
    let event = executed.event.filter(|_| executed.response.status < REFUSED);
    let action = ChaincodeAction {
        results: executed.results,
        events: event.map(|event| event.encode_to_vec().into()).unwrap_or_default(),
        response: Some(executed.response),
        chaincode_id: Some(ChaincodeId {
            name: admitted.chaincode().to_owned(),
            version: executed.version,
            path: String::new(),
        }),
    };
    let proposal_hash = Bytes::copy_from_slice(&admitted.proposal.hash());
    ProposalResponsePayload { proposal_hash, extension: action.encode_to_vec().into() }.encode_to_vec().into()
}

fn sign(payload: &[u8], identity: &SigningIdentity) -> Result<Endorsement, ripstop_msp::SigningError> {
    let endorser = identity.serialized().clone();
    let signature = identity.sign(&proposal::endorsement_signing_input(payload, &endorser))?;
    Ok(Endorsement { endorser, signature: signature.into() })
}
