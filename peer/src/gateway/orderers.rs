//! The orderers of a channel, and one ordering stream to each that is in use.
//!
//! Our own orderers take envelopes on a long stream and answer each once it is committed.
//! An orderer that does not know this service is served by Fabric's Broadcast instead.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_node::transport::{Dialer, MESSAGE_BYTES_MAX};
use ripstop_proto::common::Envelope;
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::ripstop::v1::SubmitOutcome;
use tonic::transport::Channel as Connection;
use tonic::{Code, Status};

use super::ordering_stream::OrderingStream;

/// An orderer as the channel's configuration names it.
#[derive(Debug, Clone)]
pub(super) struct Orderer {
    /// `host:port`.
    pub(super) address: String,
    pub(super) msp_id: String,
    tls_roots_pem: Vec<Vec<u8>>,
}

/// Streams and connections by address, shared by all channels.
pub(super) struct Orderers {
    dialer: Dialer,
    timeout: Duration,
    streams: Mutex<HashMap<String, Arc<OrderingStream>>>,
    /// Orderers that only know Broadcast.
    broadcast_only: Mutex<HashSet<String>>,
}

impl Orderers {
    pub(super) fn new(dialer: Dialer, timeout: Duration) -> Self {
        Self { dialer, timeout, streams: Mutex::default(), broadcast_only: Mutex::default() }
    }

    /// The endpoints that the orderer organizations of `config` name.
    pub(super) fn of_channel(&self, config: &ChannelConfig) -> Vec<Orderer> {
        let organizations = config.orderer().map_or(&[][..], |orderer| &orderer.organizations);
        organizations
            .iter()
            .flat_map(|organization| {
                organization.endpoints.iter().map(|address| Orderer {
                    address: address.clone(),
                    msp_id: organization.msp_id.clone(),
                    tls_roots_pem: organization.tls_roots_pem.clone(),
                })
            })
            .collect()
    }

    /// Hands one envelope to `orderer` and waits for its answer.
    pub(super) async fn order(
        &self,
        orderer: &Orderer,
        channel_id: &str,
        envelope: Bytes,
    ) -> Result<SubmitOutcome, Status> {
        tokio::time::timeout(self.timeout, self.order_in_time(orderer, channel_id, envelope)).await.unwrap_or_else(
            |_| Err(Status::deadline_exceeded(format!("no answer within {} s", self.timeout.as_secs()))),
        )
    }

    async fn order_in_time(
        &self,
        orderer: &Orderer,
        channel_id: &str,
        envelope: Bytes,
    ) -> Result<SubmitOutcome, Status> {
        if !self.broadcast_only.lock().contains(&orderer.address) {
            let stream = self.stream(orderer).await?;
            match stream.submit(channel_id, envelope.clone()).await {
                Err(status) if status.code() == Code::Unimplemented => {
                    self.broadcast_only.lock().insert(orderer.address.clone());
                }
                answer => return answer,
            }
        }
        broadcast(self.connect(orderer).await?, &envelope).await
    }

    async fn stream(&self, orderer: &Orderer) -> Result<Arc<OrderingStream>, Status> {
        if let Some(stream) = self.streams.lock().get(&orderer.address).filter(|stream| !stream.is_closed()) {
            return Ok(stream.clone());
        }
        let connection = self.connect(orderer).await?;
        let mut streams = self.streams.lock();
        // Another call may have been faster.
        if let Some(stream) = streams.get(&orderer.address).filter(|stream| !stream.is_closed()) {
            return Ok(stream.clone());
        }
        let stream = Arc::new(OrderingStream::open(connection));
        streams.insert(orderer.address.clone(), stream.clone());
        Ok(stream)
    }

    async fn connect(&self, orderer: &Orderer) -> Result<Connection, Status> {
        self.dialer
            .connect(&orderer.address, &orderer.tls_roots_pem, None)
            .await
            .map_err(|error| Status::unavailable(format!("cannot connect to {}: {error}", orderer.address)))
    }
}

async fn broadcast(connection: Connection, envelope: &[u8]) -> Result<SubmitOutcome, Status> {
    let envelope = Envelope::decode(envelope).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let mut client = AtomicBroadcastClient::new(connection).max_encoding_message_size(MESSAGE_BYTES_MAX);
    // The stream stays open until the answer is there.
    let envelopes = futures::StreamExt::chain(tokio_stream::once(envelope), tokio_stream::pending());
    let mut answers = client.broadcast(envelopes).await?.into_inner();
    let answer = answers
        .message()
        .await?
        .ok_or_else(|| Status::unavailable("the orderer closed the stream without an answer"))?;
    Ok(SubmitOutcome { correlation_id: 0, status: answer.status, info: answer.info })
}
