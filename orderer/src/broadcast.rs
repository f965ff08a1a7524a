//! `orderer.AtomicBroadcast`: envelopes in, one answer each, in order; and blocks out.
//!
//! SUCCESS says that this orderer has taken the envelope into its queue, as in Fabric: who
//! wants to know that it was ordered watches the blocks, or uses `ripstop.v1.Ordering`.
//! After any other answer the stream ends. Envelopes that arrive together are checked in
//! parallel and answered in their order; none behind a refused one is ordered.

use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, StreamExt};
use metrics::{Label, counter, histogram};
use ripstop_node::deliver::{self, Deliver, OrdererBlocks};
use ripstop_node::transport::client_certificate_hash;
use ripstop_proto::common::{Envelope, Status as Answer};
use ripstop_proto::orderer::atomic_broadcast_server::AtomicBroadcast;
use ripstop_proto::orderer::{BroadcastResponse, DeliverResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use crate::admission::{Admitted, Candidate, Judged, Refused, judge_all};
use crate::channels::Channels;
use crate::refusals::Refusals;

/// Envelopes of one stream that are checked at once.
const CHECKED_AT_ONCE: usize = 64;
/// Answers that wait for a slow client before its stream is read no further.
const ANSWERS_WAITING: usize = 64;

/// The service that every Fabric client and peer speaks to.
pub(crate) struct AtomicBroadcastService {
    pub(crate) channels: Arc<Channels>,
    pub(crate) deliver: Arc<Deliver<Channels, OrdererBlocks>>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl AtomicBroadcast for AtomicBroadcastService {
    type BroadcastStream = BoxStream<BroadcastResponse>;
    type DeliverStream = BoxStream<DeliverResponse>;

    async fn broadcast(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::BroadcastStream>, Status> {
        let (answers, answered) = mpsc::channel(ANSWERS_WAITING);
        let session = Session { channels: Arc::clone(&self.channels), refusals: Arc::clone(&self.refusals), answers };
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            let answers = session.answers.clone();
            tokio::select! {
                () = session.run(request.into_inner()) => {}
                // The client has gone: whatever waits for room needs not wait any longer.
                () = answers.closed() => {}
                () = shutdown.cancelled() => {
                    let _ = answers.send(Err(Status::unavailable("this orderer is shutting down; send to another one"))).await;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answered))))
    }

    async fn deliver(&self, request: Request<Streaming<Envelope>>) -> Result<Response<Self::DeliverStream>, Status> {
        let certificate_hash = client_certificate_hash(&request);
        Ok(Response::new(deliver::stream(Arc::clone(&self.deliver), request.into_inner(), certificate_hash)))
    }
}

/// One Broadcast stream.
struct Session {
    channels: Arc<Channels>,
    refusals: Arc<Refusals>,
    answers: mpsc::Sender<Result<BroadcastResponse, Status>>,
}

impl Session {
    async fn run(self, envelopes: impl Stream<Item = Result<Envelope, Status>> + Send + Unpin) {
        let mut arrived = envelopes.ready_chunks(CHECKED_AT_ONCE);
        while let Some(chunk) = arrived.next().await {
            let count = chunk.len();
            // Behind an error of the stream nothing more comes.
            let envelopes: Vec<_> = chunk.into_iter().map_while(Result::ok).map(Candidate::Envelope).collect();
            let broken = envelopes.len() < count;
            if !self.answer(envelopes).await || broken {
                return;
            }
        }
    }

    /// Whether the stream goes on.
    async fn answer(&self, envelopes: Vec<Candidate>) -> bool {
        let (started, count) = (Instant::now(), envelopes.len());
        let judged = judge_all(Arc::clone(&self.channels), envelopes).await;
        if judged.len() < count {
            let _ = self.answers.send(Err(Status::internal("the check broke; see this orderer's log"))).await;
            return false;
        }
        let validated = started.elapsed().as_secs_f64() / count.max(1) as f64;
        for Judged { subject, verdict } in judged {
            let enqueued = Instant::now();
            let outcome = match verdict {
                Ok(admitted) => order(admitted).await,
                Err(refused) => Err(refused),
            };
            let Refused { status, info } = outcome.err().unwrap_or(Refused::new(Answer::Success, ""));
            if status != Answer::Success {
                self.refusals.log(&subject, status, &info);
            }
            count_processed(subject.labels(status), validated, enqueued);
            let response = BroadcastResponse { status: status.into(), info };
            if self.answers.send(Ok(response)).await.is_err() || status != Answer::Success {
                return false;
            }
        }
        true
    }
}

async fn order(Admitted { channel, order }: Admitted) -> Result<(), Refused> {
    let ordered = channel.order(vec![(order, None)], false).await;
    ordered.map_err(|reason| Refused::new(Answer::ServiceUnavailable, reason))
}

/// Counts an answer under Fabric's metric names.
fn count_processed(labels: Vec<Label>, validated_s: f64, enqueued: Instant) {
    histogram!("broadcast_validate_duration", labels.clone()).record(validated_s);
    histogram!("broadcast_enqueue_duration", labels.clone()).record(enqueued.elapsed().as_secs_f64());
    counter!("broadcast_processed_count", labels).increment(1);
}
