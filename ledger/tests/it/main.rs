//! The ledger from outside, over its public face.

mod build;

mod block_store;
mod crashes;
mod explicit_errors;
mod fabric_chains;
mod private_writes;
mod read_rules;
mod reads;
mod serial_model;
mod simulator;
mod write_rules;
