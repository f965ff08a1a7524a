//! One transaction as a contract sees it that only reads.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::lock::Mutex;
use prost::Message;
use prost_types::Timestamp;
use ripstop_proto::composite_key;
use ripstop_proto::msp::SerializedIdentity;

use crate::write_buffer::WriteBuffer;
use crate::{Failure, Invocation, Parameters, Peer, Request, StubError};

/// What a transaction was called with, and the ledger at one height. Has no function that
/// writes; a [`crate::Stub`] has those too and serves wherever a view is asked for.
///
/// Reads see the state as it was when the transaction began: not the transaction's own
/// writes. Every key read becomes part of the transaction, which is invalid if one of
/// them changes before it commits.
pub struct View {
    invocation: Invocation,
    function: String,
    contract_name: String,
    peer: Box<dyn Peer>,
    /// Of the stub around this view. Here, because a list of requests in one call makes
    /// the writes of its earlier ones visible to reads.
    pub(crate) writes: Mutex<WriteBuffer>,
}

impl View {
    pub(crate) fn new(invocation: Invocation, peer: Box<dyn Peer>) -> Self {
        let called = invocation.args.first().map(|name| String::from_utf8_lossy(name)).unwrap_or_default();
        let (contract_name, function) = called.split_once(':').unwrap_or(("", &called));
        let contract_name = if contract_name.trim().is_empty() { "" } else { contract_name };
        let (contract_name, function) = (contract_name.to_owned(), function.to_owned());
        Self { invocation, function, contract_name, peer, writes: Mutex::default() }
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

    pub(crate) fn peer(&self) -> &dyn Peer {
        self.peer.as_ref()
    }

    pub(crate) async fn ask(&self, request: Request) -> Result<Bytes, StubError> {
        Ok(self.peer.ask(request).await?)
    }

    /// Asks, and reads the answer as an `M`.
    pub(crate) async fn ask_for<M: Message + Default>(&self, request: Request) -> Result<M, StubError> {
        let kind = request.kind().as_str_name();
        decode(kind, self.ask(request).await?)
    }
}

pub(crate) fn decode<M: Message + Default>(request: &'static str, answer: Bytes) -> Result<M, StubError> {
    M::decode(answer).map_err(|cause| StubError::Malformed { request, cause: cause.to_string() })
}
