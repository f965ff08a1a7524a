//! The rules of membership, checked through the public face.

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
