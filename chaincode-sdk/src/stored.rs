//! A typed value as it is stored: JSON, as contracts in other languages store theirs.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{KeyError, StubError};

/// Why typed state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The stub's word.
    #[error(transparent)]
    Stub(#[from] StubError),
    /// A new entry under a key that has one.
    #[error("{0} exists already")]
    Exists(String),
    /// A change of an entry that is not there.
    #[error("{0} does not exist")]
    Absent(String),
    /// A value that has no JSON, or stored bytes that are not the type's.
    #[error("the value of {key} is not what its type says: {cause}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong.
        cause: serde_json::Error,
    },
    /// A stored key that is not the type's.
    #[error("{key:?} is not a key of its type: {cause}")]
    Key {
        /// As stored.
        key: String,
        /// What is wrong.
        cause: KeyError,
    },
}

impl From<ripstop_proto::composite_key::CompositeKeyError> for StateError {
    fn from(error: ripstop_proto::composite_key::CompositeKeyError) -> Self {
        StubError::from(error).into()
    }
}

pub(crate) fn encode(name: impl Fn() -> String, value: &impl Serialize) -> Result<Bytes, StateError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|cause| StateError::Value { key: name(), cause })
}

pub(crate) fn decode<T: DeserializeOwned>(name: impl Fn() -> String, stored: &[u8]) -> Result<T, StateError> {
    serde_json::from_slice(stored).map_err(|cause| StateError::Value { key: name(), cause })
}
