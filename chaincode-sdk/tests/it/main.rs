//! The service against a scripted peer, over real gRPC.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod contracts;
mod conversation;
mod counter;
mod dialing;
mod ledger;
mod multiplexed;
mod probe;
mod requests;
mod scripted_peer;
mod service;
mod typed_state;
mod writes;
