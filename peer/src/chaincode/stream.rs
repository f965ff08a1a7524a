//! The stream to one contract server: its greeting, and the many transactions on it.
//!
//! ```text
//! contract                peer
//! REGISTER{package id} ──▶
//!                      ◀── REGISTERED, READY{what this peer accepts in batches}
//!                      ◀── TRANSACTION | INIT          one per transaction, many at once
//! GET_STATE, …         ──▶ RESPONSE | ERROR            one at a time per transaction
//! COMPLETED | ERROR    ──▶
//! ```
//! One task reads and hands each message to the transaction it names; the transaction's
//! own task answers. When the stream ends, every open transaction learns it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use ripstop_node::transport::MESSAGE_BYTES_MAX;
use ripstop_proto::protos::chaincode_client::ChaincodeClient;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::{ChaincodeId, ChaincodeMessage};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::meter::Meters;
use super::requests::{Requests, is_request, reply};

/// `ChaincodeAdditionalParams`: batches of writes and of reads, up to 1000 each.
const READY_PAYLOAD: &[u8] = &[0x08, 0x01, 0x10, 0xe8, 0x07, 0x18, 0x01, 0x20, 0xe8, 0x07];
/// Messages on their way to the contract.
const OUTGOING_COUNT: usize = 1024;
/// A transaction has one request under way; one more place for its end.
const MAILBOX_COUNT: usize = 2;

/// Why a stream did not come to be.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistrationError {
    /// The server refused the call.
    #[error("chaincode server refused the stream: {0}")]
    Refused(String),
    /// The server sent nothing in time.
    #[error("chaincode registration failed: the server sent no REGISTER within {0:?}")]
    Silent(Duration),
    /// The server ended the stream first.
    #[error("chaincode registration failed: the stream ended before REGISTER")]
    Ended,
    /// Something else came first.
    #[error("chaincode registration failed: the first message was {0}, not REGISTER")]
    NotRegister(&'static str),
    /// Another chaincode runs there.
    #[error("chaincode registration failed: the server runs '{found}'; start it with the package id as CHAINCODE_ID")]
    OtherPackage {
        /// What it registered as.
        found: String,
    },
}

/// How a transaction on a stream can fail; texts are those that gateways match on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The same transaction is already running.
    #[error("txid: {tx_id}({channel_id}) exists")]
    Exists {
        /// The transaction.
        tx_id: String,
        /// Its channel.
        channel_id: String,
    },
    /// The contract took longer than the execute timeout.
    #[error("timeout expired while executing transaction")]
    Timeout,
    /// The stream ended.
    #[error("chaincode stream terminated")]
    Terminated,
}

type TransactionId = (String, String);

/// A registered stream. Cheap to share; all channels use the same one. Dropping it closes
/// the connection.
#[derive(Debug)]
pub struct ChaincodeStream {
    outgoing: mpsc::Sender<ChaincodeMessage>,
    /// By channel and transaction id; none once the stream has ended.
    transactions: Arc<Mutex<Option<HashMap<TransactionId, Mailbox>>>>,
    meters: Meters,
    reader: AbortHandle,
}

impl Drop for ChaincodeStream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[derive(Debug, Clone)]
struct Mailbox {
    messages: mpsc::Sender<ChaincodeMessage>,
    /// A request is being answered; another one meanwhile is dropped, as Fabric does.
    busy: Arc<AtomicBool>,
}

impl ChaincodeStream {
    /// Opens the stream on a fresh connection and waits for the server to register.
    ///
    /// # Errors
    /// When the server is silent, refuses, or runs another package.
    pub async fn open(
        channel: Channel,
        package_id: &str,
        registration_timeout: Duration,
    ) -> Result<Self, RegistrationError> {
        let mut client = ChaincodeClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (outgoing, messages) = mpsc::channel(OUTGOING_COUNT);
        let registration = async {
            let incoming = client.connect(ReceiverStream::new(messages)).await;
            let mut incoming =
                incoming.map_err(|status| RegistrationError::Refused(status.message().to_owned()))?.into_inner();
            register(&mut incoming, package_id).await?;
            Ok(incoming)
        };
        let incoming = tokio::time::timeout(registration_timeout, registration)
            .await
            .map_err(|_| RegistrationError::Silent(registration_timeout))??;
        for (kind, payload) in [(Type::Registered, Bytes::new()), (Type::Ready, Bytes::from_static(READY_PAYLOAD))] {
            let message = ChaincodeMessage { r#type: kind.into(), payload, ..ChaincodeMessage::default() };
            outgoing.send(message).await.map_err(|_| RegistrationError::Ended)?;
        }
        let transactions = Arc::new(Mutex::new(Some(HashMap::new())));
        let reader = Reader { outgoing: outgoing.clone(), transactions: transactions.clone() };
        let reader = tokio::spawn(reader.run(incoming, package_id.to_owned())).abort_handle();
        Ok(Self { outgoing, transactions, meters: Meters::new(package_id), reader })
    }

    /// Whether the stream has ended.
    pub fn has_ended(&self) -> bool {
        self.transactions.lock().is_none()
    }

    /// Runs one transaction: sends `start` and answers requests until the contract ends
    /// it with COMPLETED or ERROR, which is returned.
    ///
    /// # Errors
    /// When the stream ends, time is up, or the transaction is running already.
    pub async fn run(
        &self,
        start: ChaincodeMessage,
        mut requests: Requests<'_>,
        timeout: Duration,
    ) -> Result<ChaincodeMessage, TransactionError> {
        let meters = self.meters.of(&start.channel_id);
        let conversation = async {
            let mut turn = self.enter(&start)?;
            self.send(start).await?;
            loop {
                let message = turn.messages.recv().await.ok_or(TransactionError::Terminated)?;
                let kind = message.r#type();
                if !is_request(kind) {
                    return Ok(message);
                }
                let started = Instant::now();
                meters.received(kind);
                let answer = requests.answer(message).await;
                meters.completed(kind, answer.r#type() == Type::Response, started.elapsed());
                turn.busy.store(false, Ordering::Release);
                self.send(answer).await?;
            }
        };
        tokio::time::timeout(timeout, conversation).await.unwrap_or(Err(TransactionError::Timeout))
    }

    async fn send(&self, message: ChaincodeMessage) -> Result<(), TransactionError> {
        self.outgoing.send(message).await.map_err(|_| TransactionError::Terminated)
    }

    fn enter(&self, start: &ChaincodeMessage) -> Result<Turn<'_>, TransactionError> {
        let id = (start.channel_id.clone(), start.txid.clone());
        let (sender, messages) = mpsc::channel(MAILBOX_COUNT);
        let busy = Arc::new(AtomicBool::new(false));
        let mut transactions = self.transactions.lock();
        let transactions = transactions.as_mut().ok_or(TransactionError::Terminated)?;
        if transactions.contains_key(&id) {
            return Err(TransactionError::Exists { tx_id: id.1, channel_id: id.0 });
        }
        transactions.insert(id.clone(), Mailbox { messages: sender, busy: busy.clone() });
        Ok(Turn { stream: self, id, messages, busy })
    }
}

/// A transaction's place on the stream; dropping it frees the place.
struct Turn<'a> {
    stream: &'a ChaincodeStream,
    id: TransactionId,
    messages: mpsc::Receiver<ChaincodeMessage>,
    busy: Arc<AtomicBool>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(transactions) = self.stream.transactions.lock().as_mut() {
            transactions.remove(&self.id);
        }
    }
}

async fn register(incoming: &mut Streaming<ChaincodeMessage>, package_id: &str) -> Result<(), RegistrationError> {
    let first = incoming
        .message()
        .await
        .map_err(|status| RegistrationError::Refused(status.message().to_owned()))?
        .ok_or(RegistrationError::Ended)?;
    if first.r#type() != Type::Register {
        return Err(RegistrationError::NotRegister(first.r#type().as_str_name()));
    }
    let found = ChaincodeId::decode(first.payload).unwrap_or_default().name;
    if found == package_id { Ok(()) } else { Err(RegistrationError::OtherPackage { found }) }
}

/// Reads the stream until it ends.
struct Reader {
    outgoing: mpsc::Sender<ChaincodeMessage>,
    transactions: Arc<Mutex<Option<HashMap<TransactionId, Mailbox>>>>,
}

impl Reader {
    async fn run(self, mut incoming: Streaming<ChaincodeMessage>, package_id: String) {
        let reason = loop {
            match incoming.message().await {
                Ok(Some(message)) => {
                    if let Err(unexpected) = self.deliver(message) {
                        break format!("unexpected message {unexpected}");
                    }
                }
                Ok(None) => break "the server ended it".to_owned(),
                Err(status) => break status.to_string(),
            }
        };
        tracing::info!(package_id, reason, "chaincode stream ended");
        self.transactions.lock().take();
    }

    fn deliver(&self, message: ChaincodeMessage) -> Result<(), &'static str> {
        match message.r#type() {
            Type::Keepalive => {}
            Type::Completed | Type::Error => self.end(message),
            kind if is_request(kind) => self.request(message),
            kind => return Err(kind.as_str_name()),
        }
        Ok(())
    }

    fn end(&self, mut message: ChaincodeMessage) {
        if let Some(mailbox) = self.mailbox(&mut message)
            && mailbox.messages.try_send(message).is_err()
        {
            tracing::debug!("a chaincode ended its transaction twice");
        }
    }

    fn request(&self, mut message: ChaincodeMessage) {
        let Some(mailbox) = self.mailbox(&mut message) else { return self.refuse(message) };
        if mailbox.busy.swap(true, Ordering::AcqRel) || mailbox.messages.try_send(message).is_err() {
            tracing::error!("a chaincode sent a request while another one of the same transaction is open: dropped");
        }
    }

    fn mailbox(&self, message: &mut ChaincodeMessage) -> Option<Mailbox> {
        let id = (std::mem::take(&mut message.channel_id), std::mem::take(&mut message.txid));
        let mailbox = self.transactions.lock().as_ref().and_then(|transactions| transactions.get(&id).cloned());
        (message.channel_id, message.txid) = id;
        mailbox
    }

    /// Nobody waits for this transaction any more. Must not wait for the contract, which
    /// may be waiting for this reader.
    fn refuse(&self, message: ChaincodeMessage) {
        let cause = match message.r#type() {
            Type::InvokeChaincode => "could not get valid transaction",
            _ => "no ledger context",
        };
        if self.outgoing.try_send(reply(message, Err(cause.to_owned()))).is_err() {
            tracing::warn!("a chaincode does not take its answers: one was dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use ripstop_proto::protos::ChaincodeAdditionalParams;

    use super::*;

    #[test]
    fn ready_announces_batches_of_a_thousand() {
        let params = ChaincodeAdditionalParams::decode(READY_PAYLOAD).unwrap();
        assert!(params.use_write_batch && params.use_get_multiple_keys);
        assert_eq!((params.max_size_write_batch, params.max_size_get_multiple_keys), (1000, 1000));
    }
}
