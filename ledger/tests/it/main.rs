//! The ledger from outside, over its public face.

mod build;

mod fabric_chains;
