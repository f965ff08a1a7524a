//! A channel's configuration from outside: a real Fabric genesis block, our own, and what
//! is refused.

#![expect(clippy::unwrap_used, reason = "tests: a failure is a panic")]

mod fabric_genesis;
mod own_genesis;
mod policies;
mod refused;
mod world;
