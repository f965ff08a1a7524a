//! The seam below the stub: one request to the other side, one answer.
//!
//! Behind it stands a peer's stream, or a ledger in memory. Nothing here knows which.

use bytes::Bytes;
use futures::future::BoxFuture;
use prost::Message;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::{
    ChaincodeSpec, DelState, GetHistoryForKey, GetQueryResult, GetState, GetStateByRange, GetStateMetadata,
    GetStateMultiple, PurgePrivateState, PutState, PutStateMetadata, QueryStateClose, QueryStateNext, WriteBatchState,
};

/// What a stub asks. Each is one message of Fabric's chaincode protocol.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// One key; answered by its value, no bytes when absent.
    GetState(GetState),
    /// Several keys; answered by a `GetStateMultipleResult` in the same order.
    GetStates(GetStateMultiple),
    /// Set a key; answered by no bytes.
    PutState(PutState),
    /// Delete a key; answered by no bytes.
    DeleteState(DelState),
    /// Remove a private value and its history; answered by no bytes.
    PurgePrivateData(PurgePrivateState),
    /// Replace what a key says about itself; answered by no bytes.
    PutMetadata(PutStateMetadata),
    /// Several of the four writes above, in their order; answered by no bytes.
    WriteBatch(WriteBatchState),
    /// What a key says about itself; answered by a `StateMetadataResult`.
    GetMetadata(GetStateMetadata),
    /// The SHA-256 of a private value; answered by it, no bytes when absent.
    GetPrivateDataHash(GetState),
    /// Open a range; answered by the first page, a `QueryResponse`.
    OpenRange(GetStateByRange),
    /// Open a JSON query; answered by the first page, a `QueryResponse`.
    Query(GetQueryResult),
    /// Open a key's history; answered by the first page, a `QueryResponse`.
    History(GetHistoryForKey),
    /// The next page of an open range, query or history, a `QueryResponse`.
    NextPage(QueryStateNext),
    /// Give an open range, query or history up; answered by a `QueryResponse` that nobody reads.
    CloseRange(QueryStateClose),
    /// Call another chaincode; answered by a `ChaincodeMessage` of type COMPLETED or ERROR.
    InvokeChaincode(ChaincodeSpec),
}

impl Request {
    /// The type of the message that carries the request.
    pub fn kind(&self) -> Type {
        match self {
            Self::GetState(_) => Type::GetState,
            Self::GetStates(_) => Type::GetStateMultiple,
            Self::PutState(_) => Type::PutState,
            Self::DeleteState(_) => Type::DelState,
            Self::OpenRange(_) => Type::GetStateByRange,
            Self::NextPage(_) => Type::QueryStateNext,
            Self::CloseRange(_) => Type::QueryStateClose,
            Self::PurgePrivateData(_) => Type::PurgePrivateData,
            Self::PutMetadata(_) => Type::PutStateMetadata,
            Self::WriteBatch(_) => Type::WriteBatchState,
            Self::GetMetadata(_) => Type::GetStateMetadata,
            Self::GetPrivateDataHash(_) => Type::GetPrivateDataHash,
            Self::Query(_) => Type::GetQueryResult,
            Self::History(_) => Type::GetHistoryForKey,
            Self::InvokeChaincode(_) => Type::InvokeChaincode,
        }
    }

    /// The payload of the message that carries the request.
    pub fn payload(&self) -> Bytes {
        match self {
            Self::GetState(payload) => payload.encode_to_vec(),
            Self::GetStates(payload) => payload.encode_to_vec(),
            Self::PutState(payload) => payload.encode_to_vec(),
            Self::DeleteState(payload) => payload.encode_to_vec(),
            Self::OpenRange(payload) => payload.encode_to_vec(),
            Self::NextPage(payload) => payload.encode_to_vec(),
            Self::CloseRange(payload) => payload.encode_to_vec(),
            Self::PurgePrivateData(payload) => payload.encode_to_vec(),
            Self::PutMetadata(payload) => payload.encode_to_vec(),
            Self::WriteBatch(payload) => payload.encode_to_vec(),
            Self::GetMetadata(payload) => payload.encode_to_vec(),
            Self::GetPrivateDataHash(payload) => payload.encode_to_vec(),
            Self::Query(payload) => payload.encode_to_vec(),
            Self::History(payload) => payload.encode_to_vec(),
            Self::InvokeChaincode(payload) => payload.encode_to_vec(),
        }
        .into()
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The peer answered ERROR. Its text stands alone, since clients look for it.
    #[error("{0}")]
    Refused(String),
    /// The connection is gone; so is the transaction.
    #[error("the peer ended the stream before it answered {request}; the transaction is lost, submit it again")]
    StreamEnded {
        /// The message type of the request.
        request: &'static str,
    },
}

/// The payload of the peer's RESPONSE.
pub type PeerAnswer = Result<Bytes, PeerError>;

/// The other side of one transaction.
///
/// Requests of a transaction are strictly sequential: an implementation that is asked a
/// second time before it answered puts the second request behind the first. A request
/// whose future is dropped may still have been carried out.
///
/// ```
/// use std::{collections::BTreeMap, sync::Mutex};
/// use futures::future::BoxFuture;
/// use ripstop_chaincode_sdk::{Bytes, Invocation, Peer, PeerAnswer, Request, Stub};
///
/// #[derive(Default)]
/// struct Map(Mutex<BTreeMap<String, Bytes>>);
///
/// impl Peer for Map {
///     fn ask(&self, request: Request) -> BoxFuture<'_, PeerAnswer> {
///         let mut map = self.0.lock().unwrap();
///         let answer = match request {
///             Request::GetState(get) => map.get(&get.key).cloned().unwrap_or_default(),
///             Request::PutState(put) => {
///                 map.insert(put.key, put.value);
///                 Bytes::new()
///             }
///             other => panic!("this map holds single keys only, it has no {other:?}"),
///         };
///         Box::pin(std::future::ready(Ok(answer)))
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), ripstop_chaincode_sdk::Failure> {
/// let stub = Stub::new(Invocation::default(), Box::new(Map::default()));
/// assert_eq!(stub.get_state("key").await?, None);
/// stub.put_state("key", "value").await?;
/// assert_eq!(stub.get_state("key").await?.as_deref(), Some(&b"value"[..]));
/// # Ok(())
/// # }
/// ```
pub trait Peer: Send + Sync {
    /// Asks and waits for the answer.
    fn ask(&self, request: Request) -> BoxFuture<'_, PeerAnswer>;

    /// How many keys one [`Request::GetStates`] may name. 1, the default: the peer does
    /// not know that request (Fabric before 3.1), and keys are asked for one by one.
    fn keys_per_request_max(&self) -> usize {
        1
    }

    /// How many writes one [`Request::WriteBatch`] may carry. 1, the default: the peer
    /// does not know that request, and each write is sent by itself and at once.
    fn writes_per_request_max(&self) -> usize {
        1
    }
}
