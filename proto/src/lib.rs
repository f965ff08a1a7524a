//! The wire: every message, and every byte string that is hashed or signed.

#![allow(missing_docs)]

include!(concat!(env!("OUT_DIR"), "/wire.rs"));
