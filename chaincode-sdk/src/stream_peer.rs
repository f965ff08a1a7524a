//! One transaction's share of a peer's stream: sends a request, waits for its answer.
//!
//! Answers carry no number, only channel and transaction id, so at most one request of a
//! transaction is on its way at any time. The conversation sorts the answers.

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use ripstop_proto::protos::ChaincodeMessage;
use ripstop_proto::protos::chaincode_message::Type;
use tokio::sync::{Mutex, mpsc};
use tracing::warn;

use crate::peer::{Peer, PeerAnswer, PeerError, Request};

/// What tells transactions on one stream apart: every message of one carries both.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TransactionKey {
    pub(crate) channel_id: String,
    pub(crate) tx_id: String,
}

impl TransactionKey {
    pub(crate) fn of(message: &ChaincodeMessage) -> Self {
        Self { channel_id: message.channel_id.clone(), tx_id: message.txid.clone() }
    }

    pub(crate) fn message(&self, kind: Type, payload: Bytes) -> ChaincodeMessage {
        ChaincodeMessage {
            r#type: kind.into(),
            payload,
            txid: self.tx_id.clone(),
            channel_id: self.channel_id.clone(),
            ..Default::default()
        }
    }
}

/// How much of one kind a request may carry, as the peer says when it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) keys_per_request_max: usize,
    pub(crate) writes_per_request_max: usize,
}

/// The peer behind a stream, for one transaction.
pub(crate) struct StreamPeer {
    transaction: TransactionKey,
    to_peer: mpsc::Sender<ChaincodeMessage>,
    answers: Mutex<Answers>,
    limits: Limits,
}

struct Answers {
    receiver: mpsc::Receiver<ChaincodeMessage>,
    /// Set while a request is on its way. Found set by the next request when the future
    /// of the one before was dropped; its answer has to be thrown away first.
    outstanding: bool,
}

impl StreamPeer {
    pub(crate) fn new(
        transaction: TransactionKey,
        to_peer: mpsc::Sender<ChaincodeMessage>,
        answers: mpsc::Receiver<ChaincodeMessage>,
        limits: Limits,
    ) -> Self {
        let answers = Mutex::new(Answers { receiver: answers, outstanding: false });
        Self { transaction, to_peer, answers, limits }
    }

    async fn exchange(&self, request: Request) -> PeerAnswer {
        let kind = request.kind();
        let gone = || PeerError::StreamEnded { request: kind.as_str_name() };
        let mut answers = self.answers.lock().await;
        if answers.outstanding {
            answers.receiver.recv().await.ok_or_else(gone)?;
            answers.outstanding = false;
        }
        while answers.receiver.try_recv().is_ok() {
            warn!(tx_id = self.transaction.tx_id, "dropped an answer of the peer that answers no request");
        }
        self.to_peer.send(self.transaction.message(kind, request.payload())).await.map_err(|_| gone())?;
        answers.outstanding = true;
        let answer = answers.receiver.recv().await.ok_or_else(gone)?;
        answers.outstanding = false;
        if answer.r#type == i32::from(Type::Error) {
            return Err(PeerError::Refused(String::from_utf8_lossy(&answer.payload).into_owned()));
        }
        Ok(answer.payload)
    }
}

impl Peer for StreamPeer {
    fn ask(&self, request: Request) -> BoxFuture<'_, PeerAnswer> {
        self.exchange(request).boxed()
    }

    fn keys_per_request_max(&self) -> usize {
        self.limits.keys_per_request_max
    }

    fn writes_per_request_max(&self) -> usize {
        self.limits.writes_per_request_max
    }
}
