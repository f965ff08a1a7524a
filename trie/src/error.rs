//! What can go wrong with a trie.

use crate::store::StoreError;

/// Why the trie could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record is missing, is not one, or does not have the hash its parent holds.
    #[error(
        "the trie's record {key} is missing or does not have the hash its parent holds: \
         rebuild the trie from the state"
    )]
    Damaged {
        /// The record's key, in hex.
        key: String,
    },
    /// The store failed.
    #[error("the store of the trie's records failed: {0}")]
    Store(#[source] StoreError),
    /// Blocks are applied in order, each once.
    #[error("block {number} was applied to a trie that stands at block {last}: apply block {} next", last + 1)]
    OutOfOrder {
        /// The block the trie stands at.
        last: u64,
        /// The block that was given.
        number: u64,
    },
    /// The root of this block is too old, or not yet there.
    #[error("the state root of block {number} is not kept: blocks {oldest} to {newest} can be proved")]
    NotKept {
        /// The block that was asked for.
        number: u64,
        /// The oldest block whose root can be proved.
        oldest: u64,
        /// The block the trie stands at.
        newest: u64,
    },
    /// An earlier call failed half way, so memory and root no longer belong together.
    #[error("the trie failed while a block was applied and is of no use any more: open it again, or rebuild it")]
    Unusable,
}

impl Error {
    /// What is wrong with the record under `key`.
    pub(crate) fn damaged(key: &[u8]) -> Self {
        Self::Damaged { key: key.iter().map(|byte| format!("{byte:02x}")).collect() }
    }
}
