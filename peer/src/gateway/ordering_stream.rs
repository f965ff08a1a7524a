//! One long stream of envelopes to one orderer.
//!
//! Whatever waits when the stream is ready for the next message travels in it, so under
//! load many envelopes share one message. Answers come in any order and find their caller
//! by correlation id. When the stream breaks every caller gets the error and the stream
//! stays closed: the next submit opens a new one. While it owes answers the orderer is asked
//! for a sign of life: a process that was suspended, or a machine that is gone, leaves the
//! connection standing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;
use ripstop_node::transport::MESSAGE_BYTES_MAX;
use ripstop_proto::ripstop::v1::ordering_client::OrderingClient;
use ripstop_proto::ripstop::v1::{SubmitItem, SubmitOutcome, SubmitRequest};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::Channel as Connection;

/// Envelopes that may wait for the stream; more make their callers wait.
const WAITING_MAX: usize = 1024;
/// A message takes no further envelope once it holds this many bytes.
const MESSAGE_BYTES_TARGET: usize = 1024 * 1024;
/// How long nothing is sent, while answers are owed, before a sign of life is asked for.
const SIGN_INTERVAL: Duration = Duration::from_millis(400);
/// How long an orderer may leave that unanswered.
const LIFELESS_MAX: Duration = Duration::from_millis(1200);

type Callers = HashMap<u64, oneshot::Sender<Result<SubmitOutcome, Status>>>;

/// The sending end of the stream, for any number of callers.
pub(super) struct OrderingStream {
    items: mpsc::Sender<SubmitItem>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    next_correlation_id: u64,
    callers: Callers,
    /// When the last answer came, whoever it was for.
    answered_at: Option<Instant>,
    /// When the last response came, with or without answers.
    heard_at: Option<Instant>,
    /// Why the stream ended, once it did.
    ended: Option<Status>,
}

impl OrderingStream {
    /// Opens the stream on `connection`; whether that worked shows at the first submit.
    pub(super) fn open(connection: Connection) -> Self {
        let (items, waiting) = mpsc::channel(WAITING_MAX);
        let state = Arc::new(Mutex::new(State::default()));
        let stream = Self { items, state: state.clone() };
        tokio::spawn(async move {
            let ended = receive(connection, messages(waiting, Arc::clone(&state)), &state).await;
            end(&state, ended);
        });
        stream
    }

    /// Whether the stream broke.
    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().ended.is_some()
    }

    /// Sends one envelope and waits for its outcome.
    pub(super) async fn submit(&self, channel_id: &str, envelope: Bytes) -> Result<SubmitOutcome, Status> {
        let (caller, outcome) = oneshot::channel();
        let correlation_id = {
            let mut state = self.state.lock();
            if let Some(status) = &state.ended {
                return Err(status.clone());
            }
            state.next_correlation_id += 1;
            let correlation_id = state.next_correlation_id;
            state.callers.insert(correlation_id, caller);
            correlation_id
        };
        let _registered = Registered { state: &self.state, correlation_id };
        let item = SubmitItem { correlation_id, channel_id: channel_id.to_owned(), envelope };
        if self.items.send(item).await.is_err() {
            return Err(self.ended());
        }
        outcome.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Returns once no answer at all has come for `patience`, counted from now (an orderer
    /// that is busy answers somebody), or no sign of life for a shorter time; says which.
    pub(super) async fn silent_for(&self, patience: Duration) -> Status {
        let began = Instant::now();
        loop {
            let (answered_at, heard_at) = {
                let state = self.state.lock();
                (state.answered_at.map_or(began, |at| at.max(began)), state.heard_at.map_or(began, |at| at.max(began)))
            };
            let now = Instant::now();
            if now >= heard_at + LIFELESS_MAX {
                return Status::unavailable(format!("no sign of life for {} ms", LIFELESS_MAX.as_millis()));
            }
            if now >= answered_at + patience {
                return Status::deadline_exceeded(format!("no answer within {} s", patience.as_secs()));
            }
            tokio::time::sleep_until((answered_at + patience).min(heard_at + LIFELESS_MAX)).await;
        }
    }

    fn ended(&self) -> Status {
        self.state.lock().ended.clone().unwrap_or_else(stream_ended)
    }
}

/// Takes a caller off the list when its call is over, also when it was cancelled.
struct Registered<'a> {
    state: &'a Mutex<State>,
    correlation_id: u64,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.state.lock().callers.remove(&self.correlation_id);
    }
}

/// Runs the stream until it breaks; says why it did.
async fn receive(
    connection: Connection,
    requests: impl Stream<Item = SubmitRequest> + Send + 'static,
    state: &Mutex<State>,
) -> Status {
    let mut client = OrderingClient::new(connection)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut responses = match client.submit(requests).await {
        Ok(responses) => responses.into_inner(),
        Err(status) => return status,
    };
    loop {
        match responses.message().await {
            Ok(Some(response)) => {
                let mut state = state.lock();
                state.heard_at = Some(Instant::now());
                if !response.outcomes.is_empty() {
                    state.answered_at = state.heard_at;
                }
                for outcome in response.outcomes {
                    if let Some(caller) = state.callers.remove(&outcome.correlation_id) {
                        // A caller that is gone no longer wants the outcome.
                        let _ = caller.send(Ok(outcome));
                    }
                }
            }
            Ok(None) => return stream_ended(),
            Err(status) => return status,
        }
    }
}

fn stream_ended() -> Status {
    Status::unavailable("the orderer closed the ordering stream")
}

fn end(state: &Mutex<State>, status: Status) {
    let callers = {
        let mut state = state.lock();
        state.ended = Some(status.clone());
        std::mem::take(&mut state.callers)
    };
    for caller in callers.into_values() {
        let _ = caller.send(Err(status.clone()));
    }
}

/// Gathers waiting items into messages; without items while only answers are waited for.
fn messages(waiting: mpsc::Receiver<SubmitItem>, state: Arc<Mutex<State>>) -> impl Stream<Item = SubmitRequest> {
    futures::stream::unfold((waiting, state), |(mut waiting, state)| async move {
        let first = loop {
            match tokio::time::timeout(SIGN_INTERVAL, waiting.recv()).await {
                Ok(item) => break Some(item?),
                Err(_) if state.lock().callers.is_empty() => {}
                Err(_) => break None,
            }
        };
        let mut items: Vec<SubmitItem> = first.into_iter().collect();
        let mut bytes: usize = items.iter().map(|item| item.envelope.len()).sum();
        while bytes < MESSAGE_BYTES_TARGET {
            let Ok(item) = waiting.try_recv() else { break };
            bytes += item.envelope.len();
            items.push(item);
        }
        Some((SubmitRequest { items }, (waiting, state)))
    })
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    /// A stream whose orderer does what the test says, and no other.
    fn stream() -> OrderingStream {
        OrderingStream::open(tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy())
    }

    /// Has the orderer respond five times, every so often.
    async fn respond(state: &Mutex<State>, interval: Duration, with_answers: bool) {
        for _ in 0..5 {
            tokio::time::sleep(interval).await;
            let now = Some(Instant::now());
            let mut state = state.lock();
            state.heard_at = now;
            if with_answers {
                state.answered_at = now;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_orderer_without_a_sign_of_life_is_silent_at_once() {
        let began = Instant::now();
        let left = stream().silent_for(Duration::from_secs(3)).await;
        assert_eq!((began.elapsed(), left.code()), (LIFELESS_MAX, tonic::Code::Unavailable));
    }

    #[tokio::test(start_paused = true)]
    async fn an_orderer_that_lives_is_silent_when_nobody_at_all_was_answered() {
        let (stream, began, patience) = (stream(), Instant::now(), Duration::from_secs(3));
        let silent = async {
            let left = stream.silent_for(patience).await;
            (began.elapsed(), left.code())
        };
        let ((), silent) = tokio::join!(respond(&stream.state, Duration::from_secs(1), false), silent);
        assert_eq!(silent, (patience, tonic::Code::DeadlineExceeded));
    }

    #[tokio::test(start_paused = true)]
    async fn an_orderer_that_answers_anybody_is_not_silent() {
        let (stream, began) = (stream(), Instant::now());
        tokio::join!(respond(&stream.state, Duration::from_secs(1), true), stream.silent_for(Duration::from_secs(3)));
        assert_eq!(began.elapsed(), Duration::from_secs(5) + LIFELESS_MAX, "the last answer, and no sign after it");
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_are_asked_for_while_answers_are_owed() {
        let (items, waiting) = mpsc::channel(4);
        let state = Arc::new(Mutex::new(State::default()));
        let mut messages = Box::pin(messages(waiting, Arc::clone(&state)));
        let item = SubmitItem { correlation_id: 1, ..SubmitItem::default() };
        state.lock().callers.insert(1, oneshot::channel().0);
        items.send(item.clone()).await.unwrap();
        let began = Instant::now();
        assert_eq!(messages.next().await.unwrap().items, std::slice::from_ref(&item));
        assert_eq!(messages.next().await.unwrap().items, []);
        assert_eq!(began.elapsed(), SIGN_INTERVAL);
        state.lock().callers.clear();
        let quiet = tokio::time::timeout(Duration::from_secs(60), messages.next()).await;
        assert!(quiet.is_err(), "nothing is owed any more");
    }
}
