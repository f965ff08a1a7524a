//! The transaction id: what a client chooses by choosing a nonce.

use crate::hash::sha256;

/// `lowercase hex of SHA-256(nonce ++ creator)`, 64 characters.
///
/// `creator` is the marshalled `msp.SerializedIdentity` exactly as it was sent: another
/// spelling of the same certificate gives another id.
/// Source: Fabric `protoutil/proputils.go`.
pub fn compute(nonce: &[u8], creator: &[u8]) -> String {
    hex::encode(sha256(&[nonce, creator]))
}
