//! The ledger from outside, over its public face.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod build;
mod environment;

mod block_store;
mod blocks_that_stop_fabric;
mod crashes;
#[cfg(feature = "leveldb")]
mod damaged_store;
#[cfg(feature = "leveldb")]
mod divergence;
mod endorsed_again;
mod exchange;
mod explanations;
mod explicit_errors;
mod fabric_chains;
#[cfg(all(feature = "leveldb", target_os = "linux"))]
mod failing_disk;
mod failing_files;
mod history;
#[cfg(feature = "leveldb")]
mod killed_process;
mod oracle;
mod private_writes;
mod read_rules;
mod reads;
#[cfg(feature = "leveldb")]
mod roots;
mod serial_model;
mod simulated_by_fabric;
mod simulator;
mod syncs;
#[cfg(feature = "leveldb")]
mod verification;
mod write_rules;
