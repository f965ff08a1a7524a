//! What every node shares, whatever its role: the configuration file, the TLS listener
//! and dialer, the health service, operations HTTP, logging, and Deliver's seek rules.
//!
//! It knows messages, identities and channel configuration, but neither what is on disk
//! nor what a chaincode is: blocks come to [`deliver`] through a trait, metrics through
//! the `metrics` crate's recorder.
//!
//! A node reads its [`settings`], starts [`logging`], binds a [`transport::Listener`] and
//! [`operations`], and stops when the `CancellationToken` it handed to all of them is
//! cancelled.
//!
//! Read next: [`settings`], then [`transport`], then [`deliver`].

pub mod settings;

pub mod logging;

pub mod transport;

pub mod health;
pub mod operations;

pub mod deliver;

pub use tokio_util::sync::CancellationToken;
