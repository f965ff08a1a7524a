//! This peer's word for a block's roots.
//!
//! Whoever trusts some organizations trusts the roots that their peers signed alike; this
//! peer signs what its own ledger says, and nothing else.

use prost::Message;
use ripstop_msp::{SigningError, SigningIdentity};
use ripstop_proto::block_roots;
use ripstop_proto::ripstop::v1::{BlockRoots, SignedBlockRoots};

/// Signs the roots of a block of this peer's ledger.
///
/// # Errors
/// When the key does not sign.
pub fn attest(identity: &SigningIdentity, roots: &BlockRoots) -> Result<SignedBlockRoots, SigningError> {
    let mut signed = SignedBlockRoots {
        block_roots: roots.encode_to_vec().into(),
        identity: identity.serialized().clone(),
        ..Default::default()
    };
    signed.signature = identity.sign(&block_roots::signing_input(&signed))?.into();
    Ok(signed)
}
