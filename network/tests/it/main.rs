//! Real processes and real clients: networks are brought up with the program itself, on
//! free ports, and stopped again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod architecture;
mod blocks;
mod command_line;
mod contract;
mod control;
mod divergence;
mod environment;
mod failing_disk;
mod faults;
mod ledger_commands;
mod load;
mod network;
mod node_sdk;
mod refusals;
mod same_on_every_peer;
mod state_proofs;
mod why;
