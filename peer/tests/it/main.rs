//! The peer's parts, put together from real ones: identities of test authorities, a
//! ledger, blocks with real signatures, blocks of a real Fabric peer.

mod block_file;
mod blocks;
mod organizations;
mod transactions;

mod access;
mod channels;
mod committer;
mod deliver_client;
mod fabric_chain;
mod run;
mod validator;
