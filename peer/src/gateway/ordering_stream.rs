//! One long stream of envelopes to one orderer.
//!
//! Whatever waits when the stream is ready for the next message travels in it, so under
//! load many envelopes share one message. Answers come in any order and find their caller
//! by correlation id. When the stream breaks every caller gets the error and the stream
//! stays closed: the next submit opens a new one.

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
            let ended = receive(connection, waiting, &state).await;
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

    /// Returns once no answer at all has come for `patience`, counted from now: an orderer
    /// that is busy answers somebody.
    pub(super) async fn silent_for(&self, patience: Duration) {
        let mut since = Instant::now();
        loop {
            tokio::time::sleep_until(since + patience).await;
            match self.state.lock().answered_at {
                Some(answered_at) if answered_at > since => since = answered_at,
                _ => return,
            }
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
async fn receive(connection: Connection, waiting: mpsc::Receiver<SubmitItem>, state: &Mutex<State>) -> Status {
    let mut client = OrderingClient::new(connection)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut responses = match client.submit(messages(waiting)).await {
        Ok(responses) => responses.into_inner(),
        Err(status) => return status,
    };
    loop {
        match responses.message().await {
            Ok(Some(response)) => {
                let mut state = state.lock();
                state.answered_at = Some(Instant::now());
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

/// Gathers waiting items into messages.
fn messages(waiting: mpsc::Receiver<SubmitItem>) -> impl Stream<Item = SubmitRequest> {
    futures::stream::unfold(waiting, |mut waiting| async move {
        let first = waiting.recv().await?;
        let mut bytes = first.envelope.len();
        let mut items = vec![first];
        while bytes < MESSAGE_BYTES_TARGET {
            let Ok(item) = waiting.try_recv() else { break };
            bytes += item.envelope.len();
            items.push(item);
        }
        Some((SubmitRequest { items }, waiting))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_orderer_is_silent_when_nobody_at_all_was_answered() {
        let connection = tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        let stream = OrderingStream::open(connection);
        let (began, patience) = (Instant::now(), Duration::from_secs(3));
        stream.silent_for(patience).await;
        assert_eq!(began.elapsed(), patience);

        let state = Arc::clone(&stream.state);
        let answers = async move {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(2)).await;
                state.lock().answered_at = Some(Instant::now());
            }
        };
        let began = Instant::now();
        tokio::join!(answers, stream.silent_for(patience));
        assert_eq!(began.elapsed(), Duration::from_secs(13), "the last answer and the patience after it");
    }
}
