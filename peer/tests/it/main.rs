//! The peer's parts, put together from real ones: identities of test authorities, a
//! ledger, blocks with real signatures, blocks of a real Fabric peer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod block_file;
mod blocks;
mod blocks_that_stop_fabric;
mod contract_server;
mod organizations;
mod peers;
mod proofs;
mod serving;
mod transactions;

mod access;
mod calls;
mod chaincode;
mod channels;
mod committer;
mod deliver;
mod deliver_client;
mod disagreement;
mod endorser;
mod explanations;
mod fabric_chain;
mod gateway;
mod key_policies;
mod lifecycle;
mod metrics;
mod run;
mod submitting;
mod validator;
mod validator_policies;
mod withholding;
