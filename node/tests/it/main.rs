//! A node's shared parts from outside: real sockets, real TLS, real gRPC.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;
mod chain;
mod deliver;
mod operations;
mod transport;
