//! The rules of membership, checked through the public face.

#![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod pki;

mod ed25519_rule;
mod fabric_chain;
mod material;
mod msp_set;
mod policies;
mod policy_text;
mod principals;
mod setup;
mod signing;
mod validation;
