//! What a peer signs that vouches for a block's roots.

use crate::ripstop::v1::SignedBlockRoots;

/// The bytes that [`SignedBlockRoots::signature`] covers: the marshalled roots, then the
/// identity. With the identity inside, nobody else can put their own name to it.
pub fn signing_input(signed: &SignedBlockRoots) -> Vec<u8> {
    [&signed.block_roots[..], &signed.identity].concat()
}
