//! The peer: endorses proposals, validates ordered blocks and commits them.
//!
//! A proposal comes in at the gateway or the endorser, chaincode runs against
//! one height of the ledger, and the signed result goes back. An ordered block
//! comes in at the deliver client, passes the validator (signatures and
//! policies) and enters the ledger by its one door, where versions are checked.
//!
//! It deliberately does not know how orderers agree on a block, how a contract
//! is written, or how the ledger lays out its files.
//! Read `validator` and `committer` for the path of a block, `endorser` for the
//! path of a proposal; `run` constructs and connects, and decides nothing.

pub mod settings;

pub mod channel;

pub mod gateway;

pub mod divergence;
pub mod exchange;

pub mod endorser;

pub mod chaincode;

pub mod lifecycle;

pub mod cscc;
pub mod qscc;

pub mod deliver_client;

pub mod validator;

pub mod committer;

pub mod commits;
pub mod explanations;

pub mod attestation;
pub mod proofs;

pub mod deliver;

pub mod access;

pub mod run;

pub use run::{Error, run};
pub use settings::PeerSettings;
