//! Blocks and transactions as people and scripts read them: every layer opened, down to the
//! read and write sets.
//!
//! Nothing here fails: a layer that does not decode is shown as such, beside the reason. What
//! can be recomputed is, and is compared: data hashes, the previous block's hash, transaction
//! ids. Text never carries control characters to a terminal.
//!
//! Read next: [`block`], then [`transaction`].

pub(crate) mod block;
pub(crate) mod config;
pub(crate) mod identity;
pub(crate) mod policy;
pub(crate) mod read_write_set;
pub(crate) mod readable;
pub(crate) mod transaction;
