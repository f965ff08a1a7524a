//! What became of a submitted transaction.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::gateway::{CommitStatusRequest, SignedCommitStatusRequest};
use ripstop_proto::protos::TxValidationCode;

use crate::connection::Connection;
use crate::{Error, Step};

/// A transaction on its way into a block.
#[derive(Clone)]
pub struct Commit {
    connection: Arc<Connection>,
    channel_id: String,
    transaction_id: String,
}

/// A transaction's place in the chain and the verdict on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    /// 64 hexadecimal characters.
    pub transaction_id: String,
    /// Why it is invalid, or `Valid`. A code that this version does not know is
    /// `InvalidOtherReason`.
    pub code: TxValidationCode,
    /// The block that holds it, whether valid or not.
    pub block_number: u64,
}

impl CommitStatus {
    /// Whether the transaction changed the ledger.
    pub fn is_successful(&self) -> bool {
        self.code == TxValidationCode::Valid
    }
}

impl Commit {
    pub(crate) fn new(connection: Arc<Connection>, channel_id: String, transaction_id: String) -> Self {
        Self { connection, channel_id, transaction_id }
    }

    /// 64 hexadecimal characters.
    pub fn transaction_id(&self) -> &str {
        &self.transaction_id
    }

    /// Waits until the transaction is in a block and the gateway's peer has applied it: a
    /// query that follows sees its changes.
    ///
    /// An invalid transaction is a status, not an error.
    ///
    /// # Errors
    /// When the identity cannot sign, or the gateway does not answer in time. The
    /// transaction may be committed all the same; ask again.
    pub async fn status(&self) -> Result<CommitStatus, Error> {
        let request = CommitStatusRequest {
            transaction_id: self.transaction_id.clone(),
            channel_id: self.channel_id.clone(),
            identity: self.connection.signer.serialized().clone(),
        };
        let request = Bytes::from(request.encode_to_vec());
        let signature = self.connection.sign(&request)?;
        let signed = SignedCommitStatusRequest { request, signature };
        let limit = self.connection.timeouts.commit_status;
        let answer = self
            .connection
            .call(Step::CommitStatus, &self.transaction_id, limit, signed, async |mut client, request| {
                client.commit_status(request).await
            })
            .await?;
        let code = TxValidationCode::try_from(answer.result).unwrap_or(TxValidationCode::InvalidOtherReason);
        Ok(CommitStatus { transaction_id: self.transaction_id.clone(), code, block_number: answer.block_number })
    }
}
