//! Wiring of a peer.
