//! `ripstop.v1.Cluster/Step`: Raft messages of the other consenters of a channel.
//!
//! Who sends is known by the certificate that the connection shows: it must be that of a
//! consenter of the channel. What is sent is decoded here and looked at by
//! [`crate::raft_message`] before the algorithm sees it. A stream that sends what is no
//! message is ended.

use std::sync::Arc;

use metrics::{Gauge, gauge};
use ripstop_msp::Certificate;
use ripstop_proto::ripstop::v1::cluster_server::Cluster;
use ripstop_proto::ripstop::v1::{StepRequest, StepResponse};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::channel::Channel;
use crate::channels::Channels;
use crate::members::shown_certificate;
use crate::raft_wire;

/// Messages that one request may bring.
const MESSAGES_PER_REQUEST_MAX: usize = 65_536;

/// The service that consenters use among themselves.
pub(crate) struct ClusterService {
    pub(crate) channels: Arc<Channels>,
    pub(crate) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn step(&self, request: Request<Streaming<StepRequest>>) -> Result<Response<StepResponse>, Status> {
        let certificate = shown_certificate(&request).ok_or_else(|| {
            Status::unauthenticated("consenters are known by their TLS certificate, and this connection shows none")
        })?;
        let _counted = IngressStream::new();
        tokio::select! {
            received = self.receive(&certificate, request.into_inner()) => received.inspect_err(|status| {
                tracing::warn!(client = certificate.common_name(), "a Raft stream was ended: {}", status.message());
            })?,
            () = self.shutdown.cancelled() => return Err(Status::unavailable("this orderer is shutting down")),
        }
        Ok(Response::new(StepResponse {}))
    }
}

/// A stream of another consenter, counted while it stands.
struct IngressStream(Gauge);

impl IngressStream {
    fn new() -> Self {
        let count = gauge!("cluster_comm_ingress_stream_count");
        count.increment(1.0);
        Self(count)
    }
}

impl Drop for IngressStream {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl ClusterService {
    async fn receive(&self, certificate: &Certificate, mut requests: Streaming<StepRequest>) -> Result<(), Status> {
        while let Some(StepRequest { channel_id, messages }) = requests.message().await? {
            if messages.len() > MESSAGES_PER_REQUEST_MAX {
                let text = format!("{} messages; at most {MESSAGES_PER_REQUEST_MAX} are taken at once", messages.len());
                return Err(Status::invalid_argument(text));
            }
            let (channel, sender) = self.channel(&channel_id, certificate)?;
            for bytes in messages {
                let size = bytes.len();
                let message = raft_wire::decode(bytes)
                    .map_err(|error| Status::invalid_argument(format!("not a Raft message: {error}")))?;
                let received = channel.chain().receive(sender, message, size).await;
                received.map_err(|stopped| Status::unavailable(stopped.to_string()))?;
            }
        }
        Ok(())
    }

    /// A channel, and the number of the consenter who shows this certificate.
    fn channel(&self, channel_id: &str, certificate: &Certificate) -> Result<(Arc<Channel>, u64), Status> {
        let refuse = || {
            let text = format!("'{}' is not the certificate of a consenter here", certificate.common_name());
            Status::permission_denied(text)
        };
        // Whoever is no consenter of anything does not learn which channels there are.
        let channel = self.channels.get(channel_id).ok_or_else(|| match self.channels.knows(certificate) {
            true => Status::not_found("this orderer has not joined the channel"),
            false => refuse(),
        })?;
        let sender = channel.members().id_of(certificate).ok_or_else(refuse)?;
        Ok((channel, sender))
    }
}
