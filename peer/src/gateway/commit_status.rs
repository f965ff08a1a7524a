//! CommitStatus: waits until a transaction stands in a block of this peer, and tells its code.
//!
//! The wait has no limit of its own: a transaction that is never ordered is waited for until
//! the client's deadline. An answer means that the state of that block can be read here.
//! Source: Fabric `internal/pkg/gateway/commitstatus.go`.

use prost::Message;
use ripstop_msp::SignedBytes;
use ripstop_proto::gateway::{CommitStatusRequest, CommitStatusResponse, SignedCommitStatusRequest};
use tonic::Status;

use super::Gateway;
use crate::access;
use crate::commits::Committed;

pub(super) const TIMED_OUT: &str = "context deadline exceeded";
const RESOURCE: &str = "gateway/CommitStatus";

impl Gateway {
    pub(super) async fn await_commit(&self, signed: SignedCommitStatusRequest) -> Result<CommitStatusResponse, Status> {
        if signed.request.is_empty() {
            return Err(Status::invalid_argument("a commit status request is required"));
        }
        let request = CommitStatusRequest::decode(signed.request.clone())
            .map_err(|error| Status::invalid_argument(format!("invalid status request: {error}")))?;
        if request.identity.is_empty() {
            return Err(Status::invalid_argument("no identity provided"));
        }
        if request.channel_id.is_empty() {
            return Err(Status::invalid_argument("no channel ID provided"));
        }
        if request.transaction_id.is_empty() {
            return Err(Status::invalid_argument("transaction ID should not be empty"));
        }
        let channel = self.authorized(
            RESOURCE,
            &request.channel_id,
            &SignedBytes {
                identity: &request.identity,
                message: signed.request.as_ref().into(),
                signature: &signed.signature,
            },
        )?;
        // Waiting begins before looking, so that no commit falls between the two.
        let waiting = channel.commits().wait(&request.transaction_id);
        let position = channel
            .ledger()
            .transaction(&request.transaction_id)
            .map_err(|error| Status::aborted(format!("cannot look up the transaction: {error}")))?;
        let (code, block_number) = match position {
            Some(position) => (position.code, position.block_number),
            None => {
                let Committed { code, block_number, .. } =
                    waiting.await.map_err(|closed| Status::aborted(closed.to_string()))?;
                (code, block_number)
            }
        };
        Ok(CommitStatusResponse { result: code as i32, block_number })
    }

    /// The channel, if `signed` may use `resource` on it. An unknown channel is refused in
    /// the same way, so that nobody learns which channels exist.
    pub(super) fn authorized(
        &self,
        resource: &str,
        channel_id: &str,
        signed: &SignedBytes<'_>,
    ) -> Result<std::sync::Arc<crate::channel::Channel>, Status> {
        let channel = self.channels.get(channel_id).ok_or_else(|| {
            Status::permission_denied(format!("access to {resource} on channel {channel_id} is denied"))
        })?;
        access::check_channel(&channel.config(), resource, signed)
            .map_err(|denied| Status::permission_denied(denied.to_string()))?;
        Ok(channel)
    }
}
