//! `_lifecycle`: chaincode definitions of a channel, their approvals, and the
//! packages installed here.
//!
//! It decides which definition is in force, never whether a transaction meets
//! its policy: that is `validator`. Read `contract` for the functions, `agreement` for
//! how a channel comes to a definition, `layout` for the keys, `invocable` for what a
//! call of a chaincode needs.

pub mod contract;

mod agreement;
mod queries;
mod rules;

pub mod invocable;

pub mod approvals;
pub mod definition;
pub mod implicit_collection;

pub(crate) mod layout;
pub(crate) mod state;

/// The namespace of definitions and approvals, and the name they are called by.
pub const NAMESPACE: &str = "_lifecycle";

/// Why a lifecycle function refuses.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// Nothing is committed under this name; answered with status 404.
    #[error("namespace {0} is not defined")]
    NamespaceNotDefined(String),
    /// A rule of the function is not met.
    #[error("{0}")]
    Refused(String),
    /// A stored value is not the message it should be.
    #[error("could not unmarshal state for key {key}: {cause}")]
    Undecodable {
        /// The key in `_lifecycle`.
        key: String,
        /// What the decoder says.
        cause: prost::DecodeError,
    },
    /// A stored field has another type.
    #[error("expected key {key} to encode a value of type {expected}")]
    WrongType {
        /// The key in `_lifecycle`.
        key: String,
        /// The type it should have.
        expected: &'static str,
    },
    /// The ledger refused or failed.
    #[error("{0}")]
    Ledger(String),
}
