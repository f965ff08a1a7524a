//! The sample contracts behind a peer's stream.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod basic;
mod counter;

#[path = "../../../tests/it/scripted_peer.rs"]
mod scripted_peer;
