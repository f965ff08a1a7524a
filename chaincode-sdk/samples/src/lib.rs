//! Sample contracts: small, whole programs to read and to try a network with.
//!
//! Each is a type that implements `ripstop_chaincode_sdk::Contract`; whoever runs a
//! service gives it to `ripstop_chaincode_sdk::Server`. Nothing here listens, reads an
//! environment, or knows which network it runs in.
//! Read [`Basic`] first, then [`HighThroughput`].

mod basic;
mod counter;

pub use basic::Basic;
pub use counter::HighThroughput;
