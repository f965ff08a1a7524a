//! An endorsed transaction: how it is put together from endorsements, and how its layers
//! are read again at validation.

use bytes::Bytes;
use prost::Message;

use crate::common::{Envelope, Header, Payload, SignatureHeader};
use crate::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction, Endorsement, Proposal, ProposalResponsePayload,
    Transaction, TransactionAction,
};

/// Why the data of an endorser transaction is not one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransactionError {
    /// A layer is not the message it should be.
    #[error("{layer} does not decode: {cause}")]
    Undecodable {
        /// The message that was expected.
        layer: &'static str,
        /// What the decoder says.
        cause: prost::DecodeError,
    },
    /// Transactions hold exactly one action.
    #[error("a transaction holds exactly one action, this one {0}")]
    ActionCount(usize),
    /// The action payload carries no endorsed action.
    #[error("the action payload holds no endorsed action")]
    NoAction,
    /// A header without creator or nonce.
    #[error("the header of the action has no {0}")]
    EmptyHeader(&'static str),
}

/// The single action of an endorser transaction, layer by layer.
#[derive(Debug, Clone)]
pub struct OpenTransaction {
    /// The action's own signature header, verbatim: part of the proposal hash.
    pub action_header_bytes: Bytes,
    /// Creator and nonce of the action.
    pub action_header: SignatureHeader,
    /// The proposal payload without transient data, verbatim: part of the proposal hash.
    pub proposal_payload_bytes: Bytes,
    /// The bytes that the endorsers signed.
    pub response_payload_bytes: Bytes,
    /// Proposal hash and chaincode action (as bytes).
    pub response_payload: ProposalResponsePayload,
    /// Who endorsed.
    pub endorsements: Vec<Endorsement>,
}

impl OpenTransaction {
    /// Reads `Payload.data` of an envelope of type ENDORSER_TRANSACTION.
    ///
    /// Source: Fabric `core/common/validation/msgvalidation.go`.
    ///
    /// # Errors
    /// Names the layer, or the rule that is broken.
    pub fn open(payload_data: Bytes) -> Result<Self, TransactionError> {
        let mut transaction: Transaction = decode("Transaction", payload_data)?;
        if transaction.actions.len() != 1 {
            return Err(TransactionError::ActionCount(transaction.actions.len()));
        }
        let action = transaction.actions.remove(0);
        let action_header: SignatureHeader = decode("SignatureHeader", action.header.clone())?;
        if action_header.nonce.is_empty() {
            return Err(TransactionError::EmptyHeader("nonce"));
        }
        if action_header.creator.is_empty() {
            return Err(TransactionError::EmptyHeader("creator"));
        }
        let payload: ChaincodeActionPayload = decode("ChaincodeActionPayload", action.payload)?;
        let endorsed = payload.action.ok_or(TransactionError::NoAction)?;
        let response_payload = decode("ProposalResponsePayload", endorsed.proposal_response_payload.clone())?;
        Ok(Self {
            action_header_bytes: action.header,
            action_header,
            proposal_payload_bytes: payload.chaincode_proposal_payload,
            response_payload_bytes: endorsed.proposal_response_payload,
            response_payload,
            endorsements: endorsed.endorsements,
        })
    }

    /// What running the chaincode did: read and write sets, event, response.
    ///
    /// # Errors
    /// When the extension of the response payload is not a `ChaincodeAction`.
    pub fn chaincode_action(&self) -> Result<ChaincodeAction, TransactionError> {
        decode("ChaincodeAction", self.response_payload.extension.clone())
    }
}

fn decode<M: Message + Default>(layer: &'static str, bytes: Bytes) -> Result<M, TransactionError> {
    M::decode(bytes).map_err(|cause| TransactionError::Undecodable { layer, cause })
}

/// Puts the transaction together that a client then signs: the returned envelope has no
/// signature yet.
///
/// The headers of the proposal go in verbatim, its payload without transient data. All
/// endorsements must be over `response_payload`.
///
/// # Errors
/// When the proposal's header or payload does not decode.
pub fn assemble(
    proposal: &Proposal,
    response_payload: Bytes,
    endorsements: Vec<Endorsement>,
) -> Result<Envelope, TransactionError> {
    let header: Header = decode("Header", proposal.header.clone())?;
    let proposal_payload = crate::proposal::payload_without_transient(&proposal.payload)
        .map_err(|cause| TransactionError::Undecodable { layer: "ChaincodeProposalPayload", cause })?;
    let action_payload = ChaincodeActionPayload {
        chaincode_proposal_payload: proposal_payload.into(),
        action: Some(ChaincodeEndorsedAction { proposal_response_payload: response_payload, endorsements }),
    };
    let action =
        TransactionAction { header: header.signature_header.clone(), payload: action_payload.encode_to_vec().into() };
    let payload = Payload { header: Some(header), data: Transaction { actions: vec![action] }.encode_to_vec().into() };
    Ok(Envelope { payload: payload.encode_to_vec().into(), signature: Bytes::new() })
}
