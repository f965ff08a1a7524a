//! The wire: every message that crosses a boundary, and every byte string that is
//! hashed or signed.
//!
//! The messages are generated from the `.proto` files beside this crate and stand in
//! one module per package (`common`, `protos`, `gateway`, …). Beside them stand typed
//! functions, one module per noun, for the places where bytes and not values decide:
//! transaction ids, proposal hashes, signing inputs, block hashes, commit hashes.
//!
//! This crate knows nothing of files, sockets, certificates or state. Decoding drops
//! unknown fields, so whoever hashes or verifies keeps the bytes as they arrived.
//!
//! Read next: [`envelope`], then [`proposal`] and [`transaction`], then [`block`].

mod generated {
    #![expect(missing_docs, reason = "the .proto files carry the comments")]
    include!(concat!(env!("OUT_DIR"), "/wire.rs"));
}

pub use generated::*;

/// Every method of every service here: its path, `/package.Service/Method`, and whether
/// either side sends a stream.
pub const METHODS: &[(&str, bool)] = &include!(concat!(env!("OUT_DIR"), "/methods.rs"));

pub mod hash;
pub mod varint;

pub mod envelope;
pub mod proposal;
pub mod transaction;
pub mod tx_id;

pub mod composite_key;
pub mod range_query;
pub mod read_write_set;

pub mod block;
pub mod block_file;
pub mod block_roots;
pub mod commit_hash;
pub mod config;
