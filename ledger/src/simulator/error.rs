//! What a simulation may not do.

use crate::store::StoreError;
use crate::version::Version;

/// A read or write that the transaction may not make. Texts are Fabric's where it has one,
/// spelling included, because applications match on them.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SimulatorError {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StoreError),
    /// The private value is not held here, or not the current one.
    #[error("private data matching public hash version is not available. Public hash version = {public}, Private data version = {private}", public = shown(.hash_version), private = shown(.private_version))]
    PrivateValueMissing {
        /// Version of the hashed key.
        hash_version: Option<Version>,
        /// Version of the private key that is held here.
        private_version: Option<Version>,
    },
    /// A collection without a name.
    #[error("a collection needs a name: the empty one stands for public state")]
    UnnamedCollection,
    /// A range over private data after a write.
    #[error("unsuppored transaction. Queries on pvt data is supported only in a read-only transaction")]
    PrivateRangeAfterWrite,
    /// A write after a range over private data.
    #[error("unsuppored transaction. Transaction has already performed queries on pvt data. Writes are not allowed")]
    WriteAfterPrivateRange,
    /// A page of a range after a write.
    #[error("unsuppored transaction. Paginated queries are supported only in a read-only transaction")]
    PageAfterWrite,
    /// A write after a page of a range.
    #[error("unsuppored transaction. Transaction has already performed a paginated query. Writes are not allowed")]
    WriteAfterPage,
    /// The range was closed, or never opened by this simulator.
    #[error("query iterator not found")]
    UnknownRange,
}

impl SimulatorError {
    /// Whether reads and writes of this transaction exclude each other. Fabric begins these
    /// texts with `txid [ID]: `.
    pub fn is_unsupported_transaction(&self) -> bool {
        matches!(
            self,
            Self::PrivateRangeAfterWrite | Self::WriteAfterPrivateRange | Self::PageAfterWrite | Self::WriteAfterPage
        )
    }
}

fn shown(version: &Option<Version>) -> String {
    match version {
        Some(version) => format!("{{BlockNum: {}, TxNum: {}}}", version.block_number, version.tx_index),
        None => "<nil>".to_owned(),
    }
}
