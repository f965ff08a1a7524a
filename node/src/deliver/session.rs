//! One Deliver stream: a request, its blocks, a status, and then the next request.
//!
//! A client may close its side at once; it still gets all its blocks, since the next
//! request is only looked for when the last one is done. After any status other than
//! SUCCESS the stream ends. Nothing runs for a stream that nobody reads: dropping it
//! ends it.

use std::sync::Arc;
use std::time::SystemTime;

use futures::{Stream, StreamExt, stream};
use metrics::{Counter, Label, counter};
use ripstop_proto::block::is_config;
use ripstop_proto::common::{Block, Envelope, Status};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::codegen::BoxStream;

use super::{Chain, Channels, Form, Range, Refusal, Request, Seek, Terms};

/// A Deliver service without its transport.
pub struct Deliver<C, F> {
    /// The channels that are served.
    pub channels: Arc<C>,
    /// How answers look.
    pub form: F,
    /// What requests must fulfil.
    pub terms: Terms,
    /// The time, for request windows and expiry.
    pub clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// Ends the streams that are open.
    pub shutdown: CancellationToken,
}

impl<C: Channels, F: Form> Deliver<C, F> {
    /// A service by the system's clock.
    pub fn new(channels: Arc<C>, form: F, terms: Terms, shutdown: CancellationToken) -> Self {
        Self { channels, form, terms, clock: Arc::new(SystemTime::now), shutdown }
    }
}

/// Answers the `requests` of one gRPC stream. `certificate_hash`: SHA-256 of the caller's
/// TLS certificate, if it showed one ([`crate::transport::client_certificate_hash`]).
pub fn stream<C, F, R>(
    deliver: Arc<Deliver<C, F>>,
    requests: R,
    certificate_hash: Option<[u8; 32]>,
) -> BoxStream<F::Response>
where
    C: Channels,
    F: Form,
    R: Stream<Item = Result<Envelope, tonic::Status>> + Send + Unpin + 'static,
{
    counter!("deliver_streams_opened").increment(1);
    let session = Session { deliver, requests, certificate_hash, state: State::Idle };
    Box::pin(stream::unfold(session, |mut session| async {
        let answer = session.answer().await?;
        Some((answer, session))
    }))
}

struct Session<C: Channels, F: Form, R> {
    deliver: Arc<Deliver<C, F>>,
    requests: R,
    certificate_hash: Option<[u8; 32]>,
    state: State<C::Chain>,
}

enum State<C: Chain> {
    Idle,
    Reading(Box<Reading<C>>),
    Ended,
}

impl<C: Channels, F: Form, R> Drop for Session<C, F, R> {
    fn drop(&mut self) {
        counter!("deliver_streams_closed").increment(1);
    }
}

impl<C, F, R> Session<C, F, R>
where
    C: Channels,
    F: Form,
    R: Stream<Item = Result<Envelope, tonic::Status>> + Send + Unpin,
{
    async fn answer(&mut self) -> Option<Result<F::Response, tonic::Status>> {
        let shutdown = self.deliver.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            answer = self.next() => return answer,
        }
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => None,
            State::Idle | State::Reading(_) => {
                Some(Err(tonic::Status::unavailable("this node is shutting down; ask another one")))
            }
        }
    }

    async fn next(&mut self) -> Option<Result<F::Response, tonic::Status>> {
        loop {
            match &mut self.state {
                State::Ended => return None,
                State::Idle => match self.requests.next().await? {
                    Err(status) => {
                        self.state = State::Ended;
                        return Some(Err(status));
                    }
                    Ok(envelope) => match self.begin(envelope) {
                        Ok(reading) => self.state = State::Reading(Box::new(reading)),
                        Err(refusal) => return Some(Ok(self.refuse(&refusal))),
                    },
                },
                State::Reading(reading) => match reading.next(&*self.deliver.clock).await {
                    Ok(Some(block)) => {
                        let channel_id = &reading.request.channel_id;
                        let response = self.deliver.form.block(channel_id, block);
                        if let Err(reason) = &response {
                            tracing::error!(channel_id, reason, "cannot send a block");
                            self.state = State::Ended;
                        }
                        let hidden = "this node cannot present the block; see its log";
                        return Some(response.map_err(|_| tonic::Status::internal(hidden)));
                    }
                    Ok(None) => {
                        reading.succeeded = true;
                        self.state = State::Idle;
                        return Some(Ok(self.deliver.form.status(Status::Success)));
                    }
                    Err(refusal) => return Some(Ok(self.refuse(&refusal))),
                },
            }
        }
    }

    fn refuse(&mut self, refusal: &Refusal) -> F::Response {
        tracing::debug!(status = ?refusal.status, reason = refusal.reason, "deliver request refused");
        self.state = State::Ended;
        self.deliver.form.status(refusal.status)
    }

    fn begin(&self, envelope: Envelope) -> Result<Reading<C::Chain>, Refusal> {
        let deliver = &self.deliver;
        let request = Request::open(envelope, &deliver.terms, (deliver.clock)(), self.certificate_hash)?;
        let chain = deliver
            .channels
            .chain(&request.channel_id)
            .ok_or_else(|| Refusal::new(Status::NotFound, format!("channel {} is not here", request.channel_id)))?;
        Reading::begin::<F>(chain, request, (deliver.clock)())
    }
}

/// One request being answered.
struct Reading<C> {
    chain: Arc<C>,
    request: Request,
    seek: Seek,
    range: Option<Range>,
    heights: watch::Receiver<u64>,
    /// None while the request does not care, or nothing can be unhealthy.
    healthy: Option<watch::Receiver<bool>>,
    access: Access,
    blocks_sent: Counter,
    labels: Vec<Label>,
    succeeded: bool,
}

impl<C> Drop for Reading<C> {
    fn drop(&mut self) {
        count_completed(std::mem::take(&mut self.labels), self.succeeded);
    }
}

impl<C: Chain> Reading<C> {
    fn begin<F: Form>(chain: Arc<C>, request: Request, now: SystemTime) -> Result<Self, Refusal> {
        let labels = vec![
            Label::new("channel", request.channel_id.clone()),
            Label::new("filtered", F::FILTERED.to_string()),
            Label::new("data_type", F::DATA_TYPE),
        ];
        counter!("deliver_requests_received", labels.clone()).increment(1);
        Self::checked(chain, request, labels.clone(), now).inspect_err(|_| count_completed(labels, false))
    }

    fn checked(chain: Arc<C>, request: Request, labels: Vec<Label>, now: SystemTime) -> Result<Self, Refusal> {
        let seek = request.seek()?;
        let healthy = if seek.best_effort { None } else { chain.healthy() };
        if healthy.as_ref().is_some_and(|healthy| !*healthy.borrow()) {
            return Err(unhealthy());
        }
        let mut access = Access { expires_at: chain.expires_at(&request.identity), checked_at_sequence: None };
        access.check(&*chain, &request, now)?;
        let heights = chain.heights();
        let range = seek.range(chain.first_block(), *heights.borrow())?;
        Ok(Self {
            blocks_sent: counter!("deliver_blocks_sent", labels.clone()),
            range: Some(range),
            succeeded: false,
            chain,
            request,
            seek,
            heights,
            healthy,
            access,
            labels,
        })
    }

    /// The next block of the range, waited for if need be; none after the last.
    async fn next(&mut self, clock: &(dyn Fn() -> SystemTime + Send + Sync)) -> Result<Option<Block>, Refusal> {
        let Some(Range { next: number, stop }) = self.range else { return Ok(None) };
        let height = *self.heights.borrow();
        self.seek.ready(number, height)?;
        self.wait_for(number).await?;
        let block = self.chain.block(number).await.map_err(|reason| {
            tracing::error!(channel = self.request.channel_id, number, reason, "cannot read a block");
            Refusal::new(Status::ServiceUnavailable, reason)
        })?;
        self.access.check(&*self.chain, &self.request, clock())?;
        self.range = (stop != number).then_some(Range { next: number.saturating_add(1), stop });
        self.blocks_sent.increment(1);
        Ok(Some(self.cut_to_size(block)))
    }

    async fn wait_for(&mut self, number: u64) -> Result<(), Refusal> {
        let Self { heights, healthy, .. } = self;
        let failed = async {
            match healthy {
                Some(healthy) => {
                    // No more word of it means that the consenter is gone.
                    let _ = healthy.wait_for(|healthy| !healthy).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = failed => Err(unhealthy()),
            reached = heights.wait_for(|height| *height > number) => reached
                .map(|_| ())
                .map_err(|_| Refusal::new(Status::ServiceUnavailable, "the channel was closed")),
        }
    }

    fn cut_to_size(&self, block: Arc<Block>) -> Block {
        if self.seek.headers_only && !is_config(&block) {
            return Block { header: block.header.clone(), data: None, metadata: block.metadata.clone() };
        }
        Arc::unwrap_or_clone(block)
    }
}

/// Whether the requester may still read: the policy is asked again when the configuration
/// changed, the certificate's expiry for each block.
struct Access {
    expires_at: Option<SystemTime>,
    checked_at_sequence: Option<u64>,
}

impl Access {
    fn check<C: Chain>(&mut self, chain: &C, request: &Request, now: SystemTime) -> Result<(), Refusal> {
        if self.expires_at.is_some_and(|end| now > end) {
            return Err(Refusal::new(Status::Forbidden, "the client's certificate has expired"));
        }
        let sequence = chain.config_sequence();
        if self.checked_at_sequence.is_some_and(|checked| checked >= sequence) {
            return Ok(());
        }
        chain.authorize(request).map_err(|reason| Refusal::new(Status::Forbidden, reason))?;
        self.checked_at_sequence = Some(sequence);
        Ok(())
    }
}

fn unhealthy() -> Refusal {
    Refusal::new(Status::ServiceUnavailable, "consensus does not work here at the moment")
}

fn count_completed(mut labels: Vec<Label>, succeeded: bool) {
    labels.push(Label::new("success", succeeded.to_string()));
    counter!("deliver_requests_completed", labels).increment(1);
}
