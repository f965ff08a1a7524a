//! The service against a scripted peer, over real gRPC.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conversation;
mod probe;
mod requests;
mod scripted_peer;
mod service;
