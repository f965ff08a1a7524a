//! Chaincode as this peer sees it: packages, connections and the conversation
//! of one transaction with a contract process.
//!
//! A package names the address of a running contract server; the first call dials it,
//! the server registers, and from then on all transactions of all channels share that
//! one stream. It does not know who asked, which definition is in force or what is
//! signed. Read `host` first, then `stream` and `requests`; `endorser` is the caller.

pub mod host;

mod meter;
pub mod stream;

pub mod callees;
pub(crate) mod queries;
pub mod requests;

pub mod connection;

pub mod installed;
pub mod package;
