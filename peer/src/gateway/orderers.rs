//! The orderers of a channel, and one ordering stream to each that is in use.
//!
//! Our own orderers take envelopes on a long stream and answer each once it is committed.
//! An orderer that does not know this service is served by Fabric's Broadcast instead. One
//! that says nothing at all for long is left, also when its connection stands.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use parking_lot::Mutex;
use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_node::transport::{Dialer, MESSAGE_BYTES_MAX};
use ripstop_proto::common::{Envelope, Status as OrderingStatus};
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::ripstop::v1::SubmitOutcome;
use tonic::transport::Channel as Connection;
use tonic::{Code, Status};

use super::ordering_stream::OrderingStream;
use super::probe::Known;
use super::standing::{Call, Outcome, Standing};

/// How long an orderer may be silent beyond the batch timeout, while it owes answers.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// An orderer as the channel's configuration names it.
#[derive(Debug, Clone)]
pub(super) struct Orderer {
    /// `host:port`.
    pub(super) address: String,
    pub(super) msp_id: String,
    tls_roots_pem: Vec<Vec<u8>>,
    /// How long an envelope may wait there for others before anything happens.
    batch_timeout: Duration,
}

/// Streams and connections by address, shared by all channels.
pub(super) struct Orderers {
    dialer: Dialer,
    timeout: Duration,
    streams: Mutex<HashMap<String, Arc<OrderingStream>>>,
    /// Orderers that only know Broadcast.
    broadcast_only: Mutex<HashSet<String>>,
    standing: Mutex<Standing>,
}

impl Orderers {
    pub(super) fn new(dialer: Dialer, timeout: Duration) -> Self {
        let (streams, broadcast_only, standing) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { dialer, timeout, streams, broadcast_only, standing }
    }

    /// The orderers that `config` names in the order to try them: those that failed or are
    /// down last, the least busy first.
    pub(super) fn in_order(&self, config: &ChannelConfig) -> Vec<Orderer> {
        let mut orderers = of_channel(config);
        self.standing.lock().sort(&mut orderers, Instant::now(), |orderer| &orderer.address, |_| ());
        orderers
    }

    /// Hands one envelope to `orderer` and waits for its answer.
    pub(super) async fn order(
        &self,
        orderer: &Orderer,
        channel_id: &str,
        envelope: Bytes,
    ) -> Result<SubmitOutcome, Status> {
        let call = Call::begin(&self.standing, &orderer.address);
        let answer = tokio::time::timeout(self.timeout, self.order_in_time(orderer, channel_id, envelope)).await;
        let answer = answer.unwrap_or_else(|_| Err(no_answer_within(self.timeout)));
        call.end(match &answer {
            Ok(outcome) if outcome.status >= OrderingStatus::InternalServerError as i32 => Outcome::Failed,
            Ok(_) => Outcome::Answered,
            Err(_) => Outcome::Unreachable,
        });
        answer
    }

    async fn order_in_time(
        &self,
        orderer: &Orderer,
        channel_id: &str,
        envelope: Bytes,
    ) -> Result<SubmitOutcome, Status> {
        if !self.broadcast_only.lock().contains(&orderer.address) {
            let stream = self.stream(orderer).await?;
            let patience = orderer.batch_timeout + SILENCE_MAX;
            let answer = tokio::select! {
                answer = stream.submit(channel_id, envelope.clone()) => answer,
                silent = stream.silent_for(patience) => Err(silent),
            };
            match answer {
                Err(status) if status.code() == Code::Unimplemented => {
                    self.broadcast_only.lock().insert(orderer.address.clone());
                }
                answer => return answer,
            }
        }
        broadcast(self.connect(orderer).await?, &envelope).await
    }

    /// The orderers that a channel's configuration names.
    pub(super) fn known(&self, config: &ChannelConfig) -> Known {
        of_channel(config).into_iter().map(|orderer| (orderer.address, orderer.tls_roots_pem)).collect()
    }

    /// Tries once to reach each orderer that is down.
    pub(super) async fn probe(&self, known: &Known) {
        self.standing.lock().keep_only(|address| known.contains_key(address));
        let down = self.standing.lock().down();
        let attempts = down.iter().filter_map(|address| known.get(address).map(|roots| (address, roots)));
        let attempts = attempts.map(|(address, roots)| async move {
            if self.dialer.connect(address, roots, None).await.is_ok() {
                tracing::info!(orderer = address, "the orderer can be reached again");
                self.standing.lock().reached(address);
            }
        });
        join_all(attempts).await;
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
            .map_err(|error| Status::unavailable(error.to_string()))
    }
}

/// The endpoints that the orderer organizations of `config` name.
fn of_channel(config: &ChannelConfig) -> Vec<Orderer> {
    let Some(settings) = config.orderer() else { return Vec::new() };
    let organizations = settings.organizations.iter();
    organizations
        .flat_map(|organization| {
            organization.endpoints.iter().map(|address| Orderer {
                address: address.clone(),
                msp_id: organization.msp_id.clone(),
                tls_roots_pem: organization.tls_roots_pem.clone(),
                batch_timeout: settings.batch_timeout,
            })
        })
        .collect()
}

fn no_answer_within(limit: Duration) -> Status {
    Status::deadline_exceeded(format!("no answer within {} s", limit.as_secs()))
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
