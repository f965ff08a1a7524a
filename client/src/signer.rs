//! Who signs: an MSP identity, or anything that holds a key elsewhere.

use std::sync::Arc;

use bytes::Bytes;
use ripstop_msp::SigningIdentity;

/// An identity that signs what is sent to the gateway.
///
/// [`SigningIdentity`] is one. Implement it for a key in a hardware module.
pub trait Signer: Send + Sync {
    /// The marshalled `msp.SerializedIdentity`: MSP id and certificate in PEM.
    fn serialized(&self) -> &Bytes;

    /// Signs `message` in the form that peers verify: for P-256, ECDSA over SHA-256 in
    /// DER with a low `s`; for Ed25519, over the message itself.
    ///
    /// # Errors
    /// When the key cannot be used.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignFailure>;
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign the request: {0}")]
pub struct SignFailure(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl Signer for SigningIdentity {
    fn serialized(&self) -> &Bytes {
        self.serialized()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignFailure> {
        self.sign(message).map_err(|cause| SignFailure(Box::new(cause)))
    }
}

/// One identity for several gateways.
impl<S: Signer + ?Sized> Signer for Arc<S> {
    fn serialized(&self) -> &Bytes {
        self.as_ref().serialized()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignFailure> {
        self.as_ref().sign(message)
    }
}
