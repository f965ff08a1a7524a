//! What a peer asks a chaincode to run: one call in one transaction.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use prost_types::Timestamp;
use ripstop_proto::msp::SerializedIdentity;
use ripstop_proto::proposal::{OpenProposal, ProposalError};
use ripstop_proto::protos::ChaincodeInput;
use ripstop_proto::protos::{ChaincodeMessage, chaincode_message::Type};

/// One call of a contract, with everything that is known before it runs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Invocation {
    /// The channel whose ledger the call works on.
    pub channel_id: String,
    /// 64 hexadecimal characters.
    pub tx_id: String,
    /// The function name, then its arguments.
    pub args: Vec<Bytes>,
    /// Whether this call initializes the chaincode.
    pub is_init: bool,
    /// Who signed the proposal: MSP id and certificate in PEM.
    pub creator: SerializedIdentity,
    /// Values that endorsers see and that do not enter the transaction.
    pub transient: BTreeMap<String, Bytes>,
    /// When the client made the proposal, by its own clock. The same on all endorsers.
    pub timestamp: Timestamp,
}

/// Why a call that a peer sent cannot run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InvocationError {
    /// Function and arguments.
    #[error("failed to unmarshal input: {0}")]
    Input(prost::DecodeError),
    /// The peer sends the proposal with every call.
    #[error("the call carries no signed proposal, so its creator is unknown")]
    NoProposal,
    /// A layer of the proposal.
    #[error("failed to open the signed proposal: {0}")]
    Proposal(#[from] ProposalError),
    /// Who signed it.
    #[error("the proposal's creator is not a serialized identity: {0}")]
    Creator(prost::DecodeError),
}

impl Invocation {
    /// Reads a message of type TRANSACTION or INIT.
    ///
    /// # Errors
    /// When its input or its proposal does not decode. The proposal's signature is the
    /// peer's business and is not checked.
    pub fn from_message(message: ChaincodeMessage) -> Result<Self, InvocationError> {
        let is_init = message.r#type == i32::from(Type::Init);
        let input = ChaincodeInput::decode(message.payload).map_err(InvocationError::Input)?;
        let signed = message.proposal.ok_or(InvocationError::NoProposal)?;
        let proposal = OpenProposal::open(signed.proposal_bytes)?;
        let creator =
            SerializedIdentity::decode(proposal.signature_header.creator).map_err(InvocationError::Creator)?;
        Ok(Self {
            channel_id: message.channel_id,
            tx_id: message.txid,
            args: input.args,
            is_init,
            creator,
            transient: proposal.payload.transient_map,
            timestamp: proposal.channel_header.timestamp.unwrap_or_default(),
        })
    }
}
