//! What can go wrong with a transaction, and who said so.

use std::fmt;

use prost::Message;
use ripstop_proto::gateway::ErrorDetail;
use ripstop_proto::google::rpc;
use ripstop_proto::protos::TxValidationCode;
use tonic::{Code, Status};

use crate::{CommitStatus, SignFailure};

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The gateway, or a node behind it, refused or could not be reached.
    #[error(transparent)]
    Gateway(Box<GatewayError>),
    /// The transaction is in a block, and invalid.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The identity cannot sign.
    #[error(transparent)]
    Sign(#[from] SignFailure),
    /// The gateway's answer is not what it should be.
    #[error("{step} of transaction {transaction_id} failed: {cause}")]
    Answer {
        /// What was asked.
        step: Step,
        /// 64 hexadecimal characters.
        transaction_id: String,
        /// What is wrong with the answer.
        cause: String,
    },
}

impl Error {
    /// The transaction, where one is concerned.
    pub fn transaction_id(&self) -> Option<&str> {
        match self {
            Self::Gateway(error) => error.transaction_id.as_deref(),
            Self::Commit(error) => Some(&error.transaction_id),
            Self::Answer { transaction_id, .. } => Some(transaction_id),
            Self::Sign(_) => None,
        }
    }

    /// The gateway's gRPC code, where it answered with one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Gateway(error) => Some(error.code),
            _ => None,
        }
    }

    /// What the nodes behind the gateway said, one entry per attempt.
    pub fn details(&self) -> &[ErrorDetail] {
        match self {
            Self::Gateway(error) => &error.details,
            _ => &[],
        }
    }
}

impl From<GatewayError> for Error {
    fn from(error: GatewayError) -> Self {
        Self::Gateway(Box::new(error))
    }
}

/// The steps of a transaction, and the event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A query.
    Evaluate,
    /// Collecting endorsements.
    Endorse,
    /// Handing over to the ordering service.
    Submit,
    /// Waiting for the block.
    CommitStatus,
    /// Receiving events.
    ChaincodeEvents,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Evaluate => "evaluate",
            Self::Endorse => "endorse",
            Self::Submit => "submit",
            Self::CommitStatus => "commit status",
            Self::ChaincodeEvents => "chaincode events",
        })
    }
}

/// An answer of the gateway that is no result.
///
/// A contract's own refusal comes from [`Step::Evaluate`] with code UNKNOWN and its text in
/// the message, from [`Step::Endorse`] with code ABORTED and its text in the details.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayError {
    /// What was asked.
    pub step: Step,
    /// The transaction; `None` for events.
    pub transaction_id: Option<String>,
    /// The gRPC code.
    pub code: Code,
    /// The gateway's own words.
    pub message: String,
    /// What each node said that the gateway asked: its address, MSP id and message.
    pub details: Vec<ErrorDetail>,
}

impl GatewayError {
    pub(crate) fn new(step: Step, transaction_id: Option<&str>, status: &Status) -> Self {
        Self {
            step,
            transaction_id: transaction_id.map(str::to_owned),
            code: status.code(),
            message: status.message().to_owned(),
            details: details(status),
        }
    }
}

/// The last part of the type of an entry that a gateway adds.
const DETAIL_TYPE: &str = "gateway.ErrorDetail";

/// The entries of the trailer `grpc-status-details-bin`. What does not decode is left out:
/// the error itself matters more.
fn details(status: &Status) -> Vec<ErrorDetail> {
    let Ok(status) = rpc::Status::decode(status.details()) else {
        return Vec::new();
    };
    let entries = status.details.iter().filter(|detail| detail.type_url.ends_with(DETAIL_TYPE));
    entries.filter_map(|detail| ErrorDetail::decode(&detail.value[..]).ok()).collect()
}

impl fmt::Display for GatewayError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.step)?;
        if let Some(transaction_id) = &self.transaction_id {
            write!(formatter, " of transaction {transaction_id}")?;
        }
        write!(formatter, " failed: {:?}: {}", self.code, self.message)?;
        for detail in &self.details {
            write!(formatter, "; {} ({}): {}", detail.address, detail.msp_id, detail.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for GatewayError {}

/// A transaction that is in a block and changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "transaction {transaction_id} failed to commit with status code {number} ({name}) in block {block_number}",
    number = i32::from(*code),
    name = code.as_str_name()
)]
pub struct CommitError {
    /// 64 hexadecimal characters.
    pub transaction_id: String,
    /// Why it is invalid.
    pub code: TxValidationCode,
    /// The block that holds it.
    pub block_number: u64,
}

impl CommitError {
    pub(crate) fn new(status: CommitStatus) -> Self {
        let CommitStatus { transaction_id, code, block_number } = status;
        Self { transaction_id, code, block_number }
    }
}
