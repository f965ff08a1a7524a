//! The service against a scripted peer, over real gRPC.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod conversation;
mod dialing;
mod multiplexed;
mod probe;
mod requests;
mod scripted_peer;
mod service;
mod writes;
