//! One transaction as its contract sees it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use prost::Message;
use prost_types::Timestamp;
use ripstop_proto::composite_key::{self, CompositeKeyError};
use ripstop_proto::msp::SerializedIdentity;
use ripstop_proto::protos::{
    ChaincodeEvent, DelState, GetState, GetStateByRange, GetStateMultiple, GetStateMultipleResult, PutState,
};

use crate::range::Range;
use crate::{Failure, Invocation, Parameters, Peer, PeerError, Request};

/// Takes the place of an empty start of a range, so that composite keys (which begin with
/// U+0000) are not met. Source: fabric-chaincode-go `shim/stub.go`.
const FIRST_SIMPLE_KEY: &str = "\u{1}";

/// Why a stub cannot do what a contract asks.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StubError {
    /// The peer's word.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The peer broke the protocol.
    #[error("the peer's answer to {request} is not what the protocol says: {cause}")]
    Malformed {
        /// The message type of the request.
        request: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// A key of no characters.
    #[error("key must not be an empty string")]
    EmptyKey,
    /// A stored value of no bytes.
    #[error(
        "the value for key {0:?} is empty, which the ledger takes for a delete: call delete_state, or store a byte"
    )]
    EmptyValue(String),
    /// A range over simple keys with a bound among the composite keys.
    #[error("first character of the key [{0}] contains a null character which is not allowed")]
    CompositeBound(String),
    /// A part that cannot stand in a composite key, or a key that is none.
    #[error(transparent)]
    CompositeKey(#[from] CompositeKeyError),
    /// An event of no name.
    #[error("event name can not be empty string")]
    EmptyEventName,
}

/// One transaction: what it was called with, and the ledger at one height.
///
/// Reads see the state as it was when the transaction began: not the transaction's own
/// writes. Every key read becomes part of the transaction, which is invalid if one of
/// them changes before it commits.
pub struct Stub {
    invocation: Invocation,
    function: String,
    contract_name: String,
    peer: Box<dyn Peer>,
    event: Mutex<Option<ChaincodeEvent>>,
}

impl Stub {
    /// A stub for `invocation` whose requests go to `peer`. Contracts get theirs; this is
    /// for whoever runs contracts.
    pub fn new(invocation: Invocation, peer: Box<dyn Peer>) -> Self {
        let called = invocation.args.first().map(|name| String::from_utf8_lossy(name)).unwrap_or_default();
        let (contract_name, function) = called.split_once(':').unwrap_or(("", &called));
        let contract_name = if contract_name.trim().is_empty() { "" } else { contract_name };
        let (contract_name, function) = (contract_name.to_owned(), function.to_owned());
        Self { invocation, function, contract_name, peer, event: Mutex::new(None) }
    }

    /// The function that is called: the first argument, without a contract's name before
    /// it. Empty when the call has no arguments at all.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// The contract's name, where the call is of the form "Name:Function"; else empty.
    pub fn contract_name(&self) -> &str {
        &self.contract_name
    }

    /// The arguments after the function name, in the types of a tuple.
    ///
    /// # Errors
    /// When their number or one of their forms is another.
    pub fn parameters<P: Parameters>(&self) -> Result<P, Failure> {
        P::read_all(self.invocation.args.get(1..).unwrap_or_default())
    }

    /// The function name and its arguments, as bytes.
    pub fn args(&self) -> &[Bytes] {
        &self.invocation.args
    }

    /// The id of the transaction: 64 hexadecimal characters.
    pub fn tx_id(&self) -> &str {
        &self.invocation.tx_id
    }

    /// The channel whose ledger this is.
    pub fn channel_id(&self) -> &str {
        &self.invocation.channel_id
    }

    /// Whether the call initializes the chaincode (a definition with `init_required`).
    pub fn is_init(&self) -> bool {
        self.invocation.is_init
    }

    /// Who signed the proposal: MSP id, and certificate in PEM as `id_bytes`.
    pub fn creator(&self) -> &SerializedIdentity {
        &self.invocation.creator
    }

    /// Values for endorsers only. They do not enter the transaction: what is done with
    /// them must not show in it either, unless as a hash.
    pub fn transient(&self) -> &BTreeMap<String, Bytes> {
        &self.invocation.transient
    }

    /// When the client made the proposal, by the client's clock.
    ///
    /// The only time a contract may use: it is the same on every endorser.
    pub fn timestamp(&self) -> Timestamp {
        self.invocation.timestamp
    }

    /// Sets the event that is published when the transaction commits. A transaction has
    /// one; the last one set counts.
    ///
    /// # Errors
    /// When `name` is empty.
    pub fn set_event(&self, name: &str, payload: impl Into<Bytes>) -> Result<(), StubError> {
        if name.is_empty() {
            return Err(StubError::EmptyEventName);
        }
        // Chaincode id and tx id are the peer's to fill in.
        let event = ChaincodeEvent { event_name: name.to_owned(), payload: payload.into(), ..Default::default() };
        *self.event.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(event);
        Ok(())
    }

    /// The event that was set last.
    pub fn into_event(self) -> Option<ChaincodeEvent> {
        self.event.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The value of `key`, `None` when there is none. Becomes part of the read set.
    ///
    /// # Errors
    /// When the peer refuses or is gone.
    pub async fn get_state(&self, key: &str) -> Result<Option<Bytes>, StubError> {
        let value = self.ask(Request::GetState(GetState { key: key.to_owned(), ..Default::default() })).await?;
        Ok(present(value))
    }

    /// The values of several keys, in their order, in as few requests as the peer allows.
    ///
    /// # Errors
    /// As [`Stub::get_state`].
    pub async fn get_states(&self, keys: &[impl AsRef<str>]) -> Result<Vec<Option<Bytes>>, StubError> {
        let mut values = Vec::with_capacity(keys.len());
        match self.peer.keys_per_request_max() {
            0 | 1 => {
                for key in keys {
                    values.push(self.get_state(key.as_ref()).await?);
                }
            }
            most => {
                for keys in keys.chunks(most) {
                    values.extend(self.get_states_at_once(keys).await?);
                }
            }
        }
        Ok(values)
    }

    async fn get_states_at_once(&self, keys: &[impl AsRef<str>]) -> Result<Vec<Option<Bytes>>, StubError> {
        let asked = keys.iter().map(|key| key.as_ref().to_owned()).collect();
        let request = Request::GetStates(GetStateMultiple { keys: asked, ..Default::default() });
        let kind = request.kind().as_str_name();
        let result: GetStateMultipleResult = decode(kind, self.ask(request).await?)?;
        if result.values.len() != keys.len() {
            let cause = format!("{} values for {} keys", result.values.len(), keys.len());
            return Err(StubError::Malformed { request: kind, cause });
        }
        Ok(result.values.into_iter().map(present).collect())
    }

    /// Writes `value` when the transaction commits; the last write of a key counts.
    ///
    /// # Errors
    /// When `key` or `value` is empty (Fabric would delete the key without a word), or as
    /// [`Stub::get_state`].
    pub async fn put_state(&self, key: &str, value: impl Into<Bytes>) -> Result<(), StubError> {
        let value = value.into();
        if key.is_empty() {
            return Err(StubError::EmptyKey);
        }
        if value.is_empty() {
            return Err(StubError::EmptyValue(key.to_owned()));
        }
        self.ask(Request::PutState(PutState { key: key.to_owned(), value, ..Default::default() })).await?;
        Ok(())
    }

    /// Deletes `key` when the transaction commits. A key that is not there may be deleted.
    ///
    /// # Errors
    /// When `key` is empty, or as [`Stub::get_state`].
    pub async fn delete_state(&self, key: &str) -> Result<(), StubError> {
        if key.is_empty() {
            return Err(StubError::EmptyKey);
        }
        self.ask(Request::DeleteState(DelState { key: key.to_owned(), ..Default::default() })).await?;
        Ok(())
    }

    /// The keys from `start` (inclusive) to `end` (exclusive) in the order of their UTF-8
    /// bytes, fetched page by page. Empty bounds are open; composite keys are never met.
    ///
    /// The whole range that was walked becomes part of the read set: a key that appears
    /// in it before the transaction commits makes the transaction invalid.
    ///
    /// # Errors
    /// When a bound begins with U+0000, or as [`Stub::get_state`].
    pub async fn get_state_by_range(&self, start: &str, end: &str) -> Result<Range<'_>, StubError> {
        if let Some(bound) = [start, end].into_iter().find(|bound| bound.starts_with('\u{0}')) {
            return Err(StubError::CompositeBound(bound.to_owned()));
        }
        let start = if start.is_empty() { FIRST_SIMPLE_KEY } else { start };
        self.open_range(start, end).await
    }

    /// The composite keys that begin with these parts, as [`Stub::get_state_by_range`].
    ///
    /// # Errors
    /// When a part cannot stand in a composite key, or as [`Stub::get_state`].
    pub async fn get_state_by_partial_composite_key(
        &self,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<Range<'_>, StubError> {
        let (start, end) = composite_key::partial_range(object_type, attributes)?;
        self.open_range(&start, &end).await
    }

    async fn open_range(&self, start: &str, end: &str) -> Result<Range<'_>, StubError> {
        let bounds = GetStateByRange { start_key: start.to_owned(), end_key: end.to_owned(), ..Default::default() };
        Range::open(self, Request::OpenRange(bounds)).await
    }

    /// A key made of parts, in the order of which ranges can be asked for.
    ///
    /// # Errors
    /// When a part holds U+0000 or U+10FFFF.
    pub fn create_composite_key(&self, object_type: &str, attributes: &[&str]) -> Result<String, StubError> {
        Ok(composite_key::create(object_type, attributes)?)
    }

    /// The object type and the attributes of a composite key.
    ///
    /// # Errors
    /// When `key` is a simple one.
    pub fn split_composite_key(&self, key: &str) -> Result<(String, Vec<String>), StubError> {
        Ok(composite_key::split(key)?)
    }

    pub(crate) async fn ask(&self, request: Request) -> Result<Bytes, StubError> {
        Ok(self.peer.ask(request).await?)
    }
}

/// The protocol does not tell "absent" from "empty"; nothing empty can be stored.
fn present(value: Bytes) -> Option<Bytes> {
    (!value.is_empty()).then_some(value)
}

pub(crate) fn decode<M: Message + Default>(request: &'static str, answer: Bytes) -> Result<M, StubError> {
    M::decode(answer).map_err(|cause| StubError::Malformed { request, cause: cause.to_string() })
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;

    use super::*;
    use crate::PeerAnswer;

    struct Nobody;

    impl Peer for Nobody {
        fn ask(&self, request: Request) -> BoxFuture<'_, PeerAnswer> {
            panic!("asked {request:?}, though the request is wrong");
        }
    }

    fn called(args: &[&'static str]) -> Stub {
        let args = args.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
        Stub::new(Invocation { args, ..Default::default() }, Box::new(Nobody))
    }

    #[test]
    fn a_contract_name_before_the_function_is_taken_off() {
        let of = |name| {
            let stub = called(&[name]);
            (stub.contract_name().to_owned(), stub.function().to_owned())
        };
        assert_eq!(of("Read"), (String::new(), "Read".to_owned()));
        assert_eq!(of("Bank:Read"), ("Bank".to_owned(), "Read".to_owned()));
        assert_eq!(of("Bank:Read:more"), ("Bank".to_owned(), "Read:more".to_owned()));
        assert_eq!(of(":Read"), (String::new(), "Read".to_owned()));
        assert_eq!(called(&[]).function(), "");
    }

    #[test]
    fn the_last_event_counts_and_an_event_needs_a_name() {
        let stub = called(&[]);
        assert!(matches!(stub.set_event("", "x"), Err(StubError::EmptyEventName)));
        stub.set_event("first", "1").unwrap();
        stub.set_event("second", "2").unwrap();
        let event = stub.into_event().unwrap();
        assert_eq!((event.event_name.as_str(), &event.payload[..]), ("second", &b"2"[..]));
    }

    #[tokio::test]
    async fn requests_that_would_surprise_are_refused_without_asking_the_peer() {
        let stub = called(&[]);
        assert!(matches!(stub.put_state("", "x").await, Err(StubError::EmptyKey)));
        assert!(matches!(stub.put_state("key", "").await, Err(StubError::EmptyValue(key)) if key == "key"));
        assert!(matches!(stub.delete_state("").await, Err(StubError::EmptyKey)));
        let range = stub.get_state_by_range("a", "\u{0}b").await;
        assert!(matches!(range.err(), Some(StubError::CompositeBound(_))));
    }
}
