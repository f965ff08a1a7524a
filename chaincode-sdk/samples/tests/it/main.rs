//! The sample contracts behind a peer's stream.

mod basic;

#[path = "../../../tests/it/scripted_peer.rs"]
mod scripted_peer;
