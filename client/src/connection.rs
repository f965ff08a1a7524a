//! What every call needs: the gRPC client, the signer, freshness and deadlines.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ripstop_proto::gateway::gateway_client::GatewayClient;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::{Error, Freshness, GatewayError, Signer, Step, Timeouts};

#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: GatewayClient<Channel>,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) freshness: Arc<dyn Freshness>,
    pub(crate) timeouts: Timeouts,
}

impl Connection {
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Bytes, Error> {
        Ok(self.signer.sign(message)?.into())
    }

    /// Makes one call and waits for its answer at most as long as `limit`.
    pub(crate) async fn call<Q, A>(
        &self,
        step: Step,
        transaction_id: &str,
        limit: Duration,
        message: Q,
        call: impl AsyncFnOnce(GatewayClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Error> {
        let mut request = Request::new(message);
        request.set_timeout(limit);
        let begun = Instant::now();
        match call(self.client.clone(), request).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => {
                let status = name_deadline(status, begun.elapsed(), limit);
                Err(GatewayError::new(step, Some(transaction_id), &status).into())
            }
        }
    }
}

/// tonic says CANCELLED when a deadline of its own caller expires; other clients of gRPC,
/// and applications that decide by the code, know that as DEADLINE_EXCEEDED.
fn name_deadline(status: Status, elapsed: Duration, limit: Duration) -> Status {
    if status.code() == Code::Cancelled && elapsed >= limit {
        return Status::deadline_exceeded(format!("the gateway did not answer within {limit:?}"));
    }
    status
}
