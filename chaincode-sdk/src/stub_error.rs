//! Why a stub cannot do what a contract asks.

use ripstop_proto::composite_key::CompositeKeyError;

use crate::PeerError;

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
    /// Private data of no collection: the peer would take it for public state.
    #[error("collection must not be an empty string")]
    EmptyCollection,
    /// A page of no entries, or of more than the protocol can name.
    #[error("a page of {0} entries cannot be asked for: name 1 to 2147483647")]
    PageSize(usize),
}
