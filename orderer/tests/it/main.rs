//! The ordering service from outside: consenters in a simulated world, and a real orderer
//! behind its own sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod consenters;
mod simulation;

mod material;
mod orderer;
mod participation;
