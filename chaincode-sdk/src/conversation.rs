//! One peer's stream from its first message to its last.
//!
//! ```text
//! chaincode                                   peer
//!   REGISTER{package id} ────────────────────▶
//!   ◀──────────────────────────── REGISTERED
//!   ◀─────────────── READY{limits of requests}
//!   ◀──────────────── TRANSACTION or INIT{call}   ┐ any number at the same time,
//!   GET_STATE, PUT_STATE, … ─────────────────▶    │ told apart by channel and
//!   ◀──────────────────── RESPONSE or ERROR       │ transaction id
//!   COMPLETED{response, event} or ERROR ─────▶    ┘
//!   ◀── KEEPALIVE ──▶                             echoed, whenever it comes
//! ```
//! Source: Fabric `core/chaincode/handler.go` and the shims' handlers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use prost::Message;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::{ChaincodeAdditionalParams, ChaincodeId, ChaincodeMessage};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Status;
use tracing::{debug, info, warn};

use crate::stream_peer::{Limits, StreamPeer, TransactionKey};
use crate::{Contract, Invocation, Outcome, execute};

/// How long running transactions may take once the service is told to stop.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Answers on their way to a transaction. One: there is one request at a time.
const ANSWERS_MAX: usize = 1;

/// A stream to a peer and the transactions that run on it.
pub(crate) struct Conversation<C> {
    contract: Arc<C>,
    to_peer: mpsc::Sender<ChaincodeMessage>,
    running: Arc<Running>,
    tasks: JoinSet<()>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Created,
    Established,
    Ready(Limits),
}

/// Why a conversation ends before the peer or the service ends it.
enum End {
    /// Nothing can be sent any more.
    PeerGone,
    /// The peer does not follow the protocol.
    OutOfOrder,
}

/// Where the answers of each running transaction go.
#[derive(Default)]
struct Running(Mutex<HashMap<TransactionKey, mpsc::Sender<ChaincodeMessage>>>);

impl Running {
    /// `None` when the transaction runs already.
    fn enter(&self, transaction: &TransactionKey) -> Option<mpsc::Receiver<ChaincodeMessage>> {
        match self.lock().entry(transaction.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                let (sender, receiver) = mpsc::channel(ANSWERS_MAX);
                place.insert(sender);
                Some(receiver)
            }
        }
    }

    fn leave(&self, transaction: &TransactionKey) {
        self.lock().remove(transaction);
    }

    fn answer(&self, answer: ChaincodeMessage) {
        let transaction = TransactionKey::of(&answer);
        let delivered = self.lock().get(&transaction).is_some_and(|answers| answers.try_send(answer).is_ok());
        if !delivered {
            warn!(?transaction, "dropped an answer of the peer that answers no request");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TransactionKey, mpsc::Sender<ChaincodeMessage>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Contract> Conversation<C> {
    pub(crate) fn new(contract: Arc<C>, to_peer: mpsc::Sender<ChaincodeMessage>) -> Self {
        let running = Arc::new(Running::default());
        Self { contract, to_peer, running, tasks: JoinSet::new(), state: State::Created }
    }

    /// Registers as `package_id` and serves the peer until its stream ends or `stop`
    /// becomes true. Then running transactions have a while to finish; new ones are left
    /// unanswered, so that the peer sees its stream end and asks elsewhere.
    ///
    /// Returns whether the peer ever accepted the registration.
    pub(crate) async fn run(
        mut self,
        package_id: &str,
        from_peer: impl Stream<Item = Result<ChaincodeMessage, Status>>,
        stop: watch::Receiver<bool>,
    ) -> bool {
        self.serve(package_id, from_peer, stop).await;
        matches!(self.state, State::Ready(_))
    }

    async fn serve(
        &mut self,
        package_id: &str,
        from_peer: impl Stream<Item = Result<ChaincodeMessage, Status>>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut from_peer = std::pin::pin!(from_peer);
        if self.register(package_id).await.is_err() {
            return;
        }
        let mut stop = std::pin::pin!(async move { stop.wait_for(|stop| *stop).await.is_ok() });
        let mut grace = std::pin::pin!(tokio::time::sleep(GRACE));
        let mut stopped = false;
        loop {
            if stopped && self.tasks.is_empty() {
                return debug!("ended the conversation with a peer: stopped");
            }
            tokio::select! {
                message = from_peer.next() => match message {
                    Some(Ok(message)) => if self.receive(message, stopped).await.is_err() { return },
                    Some(Err(cause)) => return info!(%cause, "the conversation with a peer broke off"),
                    None => return info!("the peer ended the conversation"),
                },
                Some(ended) = self.tasks.join_next() => if let Err(cause) = ended {
                    warn!(%cause, "a transaction's task ended without an answer");
                },
                _ = &mut stop, if !stopped => {
                    stopped = true;
                    grace.as_mut().reset(Instant::now() + GRACE);
                }
                () = &mut grace, if stopped => {
                    return warn!(transactions = self.tasks.len(), "stopped without waiting longer for transactions");
                }
            }
        }
    }

    async fn register(&self, package_id: &str) -> Result<(), End> {
        let id = ChaincodeId { name: package_id.to_owned(), ..Default::default() };
        let register = ChaincodeMessage {
            r#type: Type::Register.into(),
            payload: id.encode_to_vec().into(),
            ..Default::default()
        };
        self.send(register).await
    }

    async fn receive(&mut self, message: ChaincodeMessage, stopped: bool) -> Result<(), End> {
        let Ok(kind) = Type::try_from(message.r#type) else {
            warn!(r#type = message.r#type, "ignored a message of a type that this version does not know");
            return Ok(());
        };
        match (self.state, kind) {
            (_, Type::Keepalive) => self.send(message).await,
            (State::Created, Type::Registered) => {
                self.state = State::Established;
                Ok(())
            }
            (State::Established, Type::Ready) => {
                self.state = State::Ready(limits(message.payload));
                info!("registered with a peer");
                Ok(())
            }
            (State::Created | State::Established, _) => self.refuse_out_of_order(&message, kind).await,
            (State::Ready(_), Type::Response | Type::Error) => {
                self.running.answer(message);
                Ok(())
            }
            (State::Ready(_), Type::Transaction | Type::Init) if stopped => Ok(()),
            (State::Ready(limits), Type::Transaction | Type::Init) => self.start(message, limits).await,
            (State::Ready(_), _) => {
                warn!(r#type = kind.as_str_name(), "ignored a message of a type that peers do not send");
                Ok(())
            }
        }
    }

    /// Before READY a message of another type means that the two sides do not speak the
    /// same protocol.
    async fn refuse_out_of_order(&self, message: &ChaincodeMessage, kind: Type) -> Result<(), End> {
        let text = format!("cannot handle message ({}) while in state: {:?}", kind.as_str_name(), self.state);
        warn!(text, "ended the conversation with a peer");
        self.send(TransactionKey::of(message).message(Type::Error, text.into())).await?;
        Err(End::OutOfOrder)
    }

    async fn start(&mut self, message: ChaincodeMessage, limits: Limits) -> Result<(), End> {
        let transaction = TransactionKey::of(&message);
        let Some(answers) = self.running.enter(&transaction) else {
            let text = format!(
                "transaction {} of channel {} is running already; it has to end before it can be sent again",
                transaction.tx_id, transaction.channel_id
            );
            warn!(text, "refused a transaction");
            return self.send(transaction.message(Type::Error, text.into())).await;
        };
        let peer = StreamPeer::new(transaction.clone(), self.to_peer.clone(), answers, limits);
        let (contract, running, to_peer) =
            (Arc::clone(&self.contract), Arc::clone(&self.running), self.to_peer.clone());
        self.tasks.spawn(async move {
            let last = run_transaction(contract.as_ref(), &transaction, message, peer).await;
            // First: the peer may send the same transaction again (one chaincode may call
            // another twice) as soon as it has the last message.
            running.leave(&transaction);
            // A peer that is gone needs no answer.
            let _ = to_peer.send(last).await;
        });
        Ok(())
    }

    async fn send(&self, message: ChaincodeMessage) -> Result<(), End> {
        self.to_peer.send(message).await.map_err(|_| End::PeerGone)
    }
}

async fn run_transaction<C: Contract>(
    contract: &C,
    transaction: &TransactionKey,
    message: ChaincodeMessage,
    peer: StreamPeer,
) -> ChaincodeMessage {
    let invocation = match Invocation::from_message(message) {
        Ok(invocation) => invocation,
        Err(cause) => {
            warn!(tx_id = transaction.tx_id, %cause, "refused a transaction");
            return transaction.message(Type::Error, cause.to_string().into());
        }
    };
    match execute(contract, invocation, Box::new(peer)).await {
        Outcome::Completed { response, event } => {
            let completed = transaction.message(Type::Completed, response.encode_to_vec().into());
            ChaincodeMessage { chaincode_event: event, ..completed }
        }
        Outcome::Panicked { message, location } => {
            warn!(tx_id = transaction.tx_id, message, location, "the contract panicked");
            transaction.message(Type::Error, format!("the contract panicked at {location}: {message}").into())
        }
    }
}

/// Peers before 3.1 send no parameters and know no request for several keys or writes.
fn limits(parameters: Bytes) -> Limits {
    let parameters = ChaincodeAdditionalParams::decode(parameters).unwrap_or_default();
    let most = |offered: bool, max: u32| if offered { usize::try_from(max).unwrap_or(usize::MAX).max(1) } else { 1 };
    Limits {
        keys_per_request_max: most(parameters.use_get_multiple_keys, parameters.max_size_get_multiple_keys),
        writes_per_request_max: most(parameters.use_write_batch, parameters.max_size_write_batch),
    }
}
