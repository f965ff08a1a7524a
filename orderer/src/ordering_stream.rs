//! `ripstop.v1.Ordering/Submit`: envelopes in batches on one long stream, each answered once
//! its block is durable on the orderer that leads.
//!
//! The checks and their statuses are those of Broadcast. Items are answered as they are
//! decided, not in their order; the sender tells them apart by its correlation ids. A refused
//! item does not end the stream. SERVICE_UNAVAILABLE leaves open whether the envelope was
//! ordered: sending the same envelope again is right, peers recognise the second one.
//! A request without items is answered at once, so that a client can tell an orderer that
//! waits for others from one that has stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt, stream};
use metrics::{Histogram, counter, histogram};
use ripstop_msp::Certificate;
use ripstop_proto::common::Status as Answer;
use ripstop_proto::ripstop::v1::ordering_server::Ordering;
use ripstop_proto::ripstop::v1::{SubmitItem, SubmitOutcome, SubmitRequest, SubmitResponse};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use crate::admission::{Admitted, Candidate, Judged, judge_all};
use crate::chain::Orders;
use crate::channel::Channel;
use crate::channels::Channels;
use crate::members::shown_certificate;
use crate::receipt::{Item, Outcomes};
use crate::refusals::Refusals;

/// Items of one stream that may wait for their outcome, or for the client to take it.
const ITEMS_IN_FLIGHT_MAX: usize = 16_384;
/// Items that one request may bring.
const ITEMS_PER_REQUEST_MAX: usize = 4096;
/// Outcomes in one response.
const OUTCOMES_AT_ONCE: usize = 1024;

/// The service that gateways use instead of Broadcast.
pub(crate) struct OrderingService {
    pub(crate) channels: Arc<Channels>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl Ordering for OrderingService {
    type SubmitStream = BoxStream<SubmitResponse>;

    async fn submit(&self, request: Request<Streaming<SubmitRequest>>) -> Result<Response<Self::SubmitStream>, Status> {
        let (outcomes, decided) = mpsc::unbounded_channel();
        let closed = CancellationToken::new();
        let session = Session {
            channels: Arc::clone(&self.channels),
            refusals: Arc::clone(&self.refusals),
            places: Arc::new(Semaphore::new(ITEMS_IN_FLIGHT_MAX)),
            outcomes,
            sender: shown_certificate(&request),
        };
        let (shutdown, client_gone) = (self.shutdown.clone(), closed.clone());
        let (errors, error) = mpsc::channel(1);
        let (signs, asked) = mpsc::channel(1);
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = session.run(request.into_inner(), signs) => ended,
                () = client_gone.cancelled() => Ok(()),
                () = shutdown.cancelled() => Err(Status::unavailable("this orderer is shutting down; send to another one")),
            };
            if let Err(status) = ended {
                let _ = errors.send(status).await;
            }
        });
        let responses = Responses { decided, asked, error, _client_gone: closed.drop_guard() };
        Ok(Response::new(Box::pin(stream::unfold(responses, Responses::next))))
    }
}

/// The answering half of a stream; the other half ends when this one is dropped.
struct Responses {
    decided: mpsc::UnboundedReceiver<(SubmitOutcome, OwnedSemaphorePermit)>,
    /// The client wants to see that this orderer lives.
    asked: mpsc::Receiver<()>,
    error: mpsc::Receiver<Status>,
    _client_gone: tokio_util::sync::DropGuard,
}

impl Responses {
    /// The outcomes that have gathered; after the last one, why the stream ended.
    async fn next(mut self) -> Option<(Result<SubmitResponse, Status>, Self)> {
        let mut outcomes = Vec::new();
        tokio::select! {
            biased;
            count = self.decided.recv_many(&mut outcomes, OUTCOMES_AT_ONCE) => {
                if count == 0 {
                    let status = self.error.recv().await?;
                    return Some((Err(status), self));
                }
            }
            Some(status) = self.error.recv() => return Some((Err(status), self)),
            Some(()) = self.asked.recv() => {}
        }
        let outcomes = outcomes.into_iter().map(|(outcome, _place)| outcome).collect();
        Some((Ok(SubmitResponse { outcomes }), self))
    }
}

/// The reading half of a stream.
struct Session {
    channels: Arc<Channels>,
    refusals: Arc<Refusals>,
    places: Arc<Semaphore>,
    outcomes: Outcomes,
    /// The certificate that the connection shows.
    sender: Option<Certificate>,
}

impl Session {
    async fn run(self, mut requests: Streaming<SubmitRequest>, signs: mpsc::Sender<()>) -> Result<(), Status> {
        while let Some(request) = requests.next().await {
            let SubmitRequest { items } = request?;
            if items.is_empty() {
                // One that is already due answers this request too.
                let _ = signs.try_send(());
                continue;
            }
            if items.len() > ITEMS_PER_REQUEST_MAX {
                let text =
                    format!("a request of {} items; at most {ITEMS_PER_REQUEST_MAX} are taken at once", items.len());
                return Err(Status::invalid_argument(text));
            }
            self.take(items).await?;
        }
        Ok(())
    }

    async fn take(&self, items: Vec<SubmitItem>) -> Result<(), Status> {
        let mut answers = Vec::with_capacity(items.len());
        let mut candidates = Vec::with_capacity(items.len());
        for SubmitItem { correlation_id, channel_id, envelope } in items {
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.map_err(|_| Status::internal("the stream's places are gone"))?;
            answers.push(Item { correlation_id, place, outcomes: self.outcomes.clone() });
            candidates.push(Candidate::Item(channel_id, envelope));
        }
        let (started, count) = (Instant::now(), candidates.len());
        let judged = judge_all(Arc::clone(&self.channels), candidates).await;
        let validated = started.elapsed().as_secs_f64() / count.max(1) as f64;
        if judged.len() < answers.len() {
            return Err(Status::internal("the check broke; see this orderer's log"));
        }
        let mut by_channel: BTreeMap<String, (Arc<Channel>, Orders, Vec<Histogram>)> = BTreeMap::new();
        for (item, Judged { subject, verdict }) in answers.into_iter().zip(judged) {
            let status = verdict.as_ref().map_or_else(|refused| refused.status, |_| Answer::Success);
            let labels = subject.labels(status);
            counter!("broadcast_processed_count", labels.clone()).increment(1);
            histogram!("broadcast_validate_duration", labels.clone()).record(validated);
            match verdict {
                Ok(Admitted { channel, order }) => {
                    let nothing = || (channel, Vec::new(), Vec::new());
                    let (_, orders, durations) = by_channel.entry(subject.channel_id).or_insert_with(nothing);
                    orders.push((order, Some(item)));
                    durations.push(histogram!("broadcast_enqueue_duration", labels));
                }
                Err(refused) => {
                    self.refusals.log(&subject, refused.status, &refused.info);
                    item.answer(refused.status, refused.info);
                }
            }
        }
        for (channel, orders, durations) in by_channel.into_values() {
            let is_forwarded = self.sender.as_ref().is_some_and(|sender| channel.members().id_of(sender).is_some());
            let has_leader = channel.has_leader();
            let ordering = async move {
                let started = Instant::now();
                // The items are told why not.
                let _ = channel.order(orders, is_forwarded).await;
                let enqueued = started.elapsed().as_secs_f64();
                durations.iter().for_each(|duration| duration.record(enqueued));
            };
            // An election of one channel does not stop the stream for the others.
            match has_leader {
                true => ordering.await,
                false => _ = tokio::spawn(ordering),
            }
        }
        Ok(())
    }
}
