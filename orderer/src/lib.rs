//! The ordering service: envelopes in, a chain of blocks out.
//!
//! ```text
//! broadcast, ordering_stream ─▶ admission ─▶ chain: consenter (block_cutter ─▶ raft) ─▶ block_writer ─▶ deliver
//!                                 └▶ forwarding    ▲ raft_transport, cluster_service ▼ other consenters
//! ```
//! An orderer checks who sends and how much, never what a transaction says: it knows nothing
//! of read and write sets, chaincode or peers. A batch is cut before consensus; when the
//! consenters have agreed on it, each orderer numbers and signs its own copy of the block.
//!
//! The cores ([`block_cutter`], [`consenter`], [`block_writer`]) have no I/O and no clock.
//! Only the modules named `raft_…` and [`consenter`] know the `raft` crate.
//!
//! Start reading at [`consenter`] for the heart of it, or at [`Orderer`] for how all
//! is wired.

mod settings;

mod admission;
mod refusals;

mod broadcast;
mod ordering_stream;

pub mod block_cutter;
pub mod consenter;
mod raft_message;
mod raft_node;
mod raft_storage;
mod raft_wire;

pub mod raft_log;
pub mod raft_record;
mod raft_segment;

pub mod block_writer;
mod chain;
mod receipt;

mod backoff;
mod block_fetch;
mod cluster_service;
mod forwarding;
mod members;
mod raft_transport;

mod channel;
mod channels;
mod deliver;
mod recent_blocks;

mod participation;
mod participation_listener;

mod run;

pub use chain::{ChainFailure, ChainStartError, FailureCause};
pub use channel::ChannelError;
pub use participation_listener::ParticipationError;
pub use run::{Error, Orderer, run};
pub use settings::{CuttingMode, OrdererSettings, OrdererTable};
