//! The trie against published roots, an independent crate, and stores that fail.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod known_roots;
mod proofs;
mod random_blocks;
mod recovery;
mod walking;
mod world;
