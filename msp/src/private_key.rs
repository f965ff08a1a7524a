//! Private keys: made, read from PEM, written as PKCS#8, and signing.
//!
//! ```text
//! P-256    PrivateKeyInfo { 0, {ecPublicKey, prime256v1}, ECPrivateKey { 1, scalar, [1] point } }
//! Ed25519  PrivateKeyInfo { 0, {Ed25519}, OCTET STRING { seed } }      version 1: no public key,
//!                                                                      which some readers refuse
//! ```

use ed25519_dalek::Signer as _;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use crate::public_key::PublicKey;
use crate::{der, ecdsa, pem};

/// DER of `{ ecPublicKey, prime256v1 }`.
const P256_ALGORITHM: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];
/// DER of `{ Ed25519 }`.
const ED25519_ALGORITHM: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
/// The context tag of the public point in `ECPrivateKey`.
const POINT_TAG: u8 = 0xa1;

/// The kinds of keys that are made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyKind {
    /// ECDSA on P-256: what every SDK and every TLS stack takes.
    #[default]
    P256,
    /// Ed25519: identities only, and only where the channel has capability V3_0.
    Ed25519,
}

/// A private key.
pub struct PrivateKey {
    pkcs8: Vec<u8>,
    public: PublicKey,
    kind: Kind,
}

enum Kind {
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<ed25519_dalek::SigningKey>),
}

/// Why a key could not be made, read or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM block with a private key.
    #[error("no PEM block with a private key found; expected -----BEGIN PRIVATE KEY----- (PKCS#8)")]
    Pem,
    /// Not a key that is supported.
    #[error(
        "the private key is neither a P-256 nor an Ed25519 key in PKCS#8 (or SEC 1); encrypted keys are not supported"
    )]
    Unsupported,
    /// It belongs to another certificate.
    #[error("the private key does not belong to the certificate's public key")]
    Mismatch,
    /// The system gave no random bytes, or signing failed.
    #[error("the system's random source failed")]
    Random,
}

impl PrivateKey {
    /// A new key from the system's random source.
    pub fn generate(kind: KeyKind) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        match kind {
            KeyKind::P256 => {
                let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                    .map_err(|_| KeyError::Random)?;
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
                    .map_err(|_| KeyError::Unsupported)?;
                Self::p256(pair, document.as_ref().to_vec())
            }
            KeyKind::Ed25519 => {
                let mut seed = [0u8; 32];
                random.fill(&mut seed).map_err(|_| KeyError::Random)?;
                Self::ed25519(&seed)
            }
        }
    }

    /// Reads the key that belongs to `public` from PEM: PKCS#8, or SEC 1 for P-256.
    pub fn from_pem(text: &[u8], public: &PublicKey) -> Result<Self, KeyError> {
        let block = private_block(text).ok_or(KeyError::Pem)?;
        let secret = if block.label == b"EC PRIVATE KEY" {
            scalar(&block.contents).map(Secret::Scalar)
        } else {
            from_pkcs8(&block.contents)
        };
        match (secret.ok_or(KeyError::Unsupported)?, public) {
            (Secret::Scalar(scalar), PublicKey::P256(point)) => Self::from_scalar(&scalar, point),
            (Secret::Seed(seed), PublicKey::Ed25519(_)) => {
                let key = Self::ed25519(&seed)?;
                if key.public == *public { Ok(key) } else { Err(KeyError::Mismatch) }
            }
            _ => Err(KeyError::Mismatch),
        }
    }

    fn from_scalar(scalar: &[u8; 32], point: &[u8; 65]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            scalar,
            point,
            &SystemRandom::new(),
        )
        .map_err(|_| KeyError::Mismatch)?;
        Self::p256(pair, pkcs8(P256_ALGORITHM, &sec1(scalar, point)))
    }

    fn p256(pair: EcdsaKeyPair, pkcs8: Vec<u8>) -> Result<Self, KeyError> {
        let point = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Unsupported)?;
        Ok(Self { pkcs8, public: PublicKey::P256(point), kind: Kind::P256(Box::new(pair)) })
    }

    fn ed25519(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = PublicKey::from_ed25519(key.verifying_key().as_bytes());
        Ok(Self {
            pkcs8: pkcs8(ED25519_ALGORITHM, &der::element(der::OCTET_STRING, seed)),
            public: public.ok_or(KeyError::Unsupported)?,
            kind: Kind::Ed25519(Box::new(key)),
        })
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// PKCS#8 version 1 in PEM, readable by Go, Node and OpenSSL.
    pub fn to_pem(&self) -> String {
        pem::encode("PRIVATE KEY", &self.pkcs8)
    }

    /// Signs a message: P-256 over its SHA-256, in DER with low `s`; Ed25519 over the message
    /// itself, 64 bytes.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.kind {
            Kind::P256(pair) => {
                let fixed = pair.sign(&SystemRandom::new(), message).map_err(|_| KeyError::Random)?;
                let (r, s) = fixed.as_ref().split_at(32);
                Ok(ecdsa::low_s_der(r, s, &ecdsa::P256))
            }
            Kind::Ed25519(key) => Ok(key.sign(message).to_bytes().to_vec()),
        }
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "private key of {:?}", self.public)
    }
}

enum Secret {
    Scalar([u8; 32]),
    Seed([u8; 32]),
}

/// OpenSSL writes an `EC PARAMETERS` block before the key: the first block with a key counts.
fn private_block(text: &[u8]) -> Option<pem::Block<'_>> {
    let mut block = pem::first_block(text)?;
    while !block.label.ends_with(b"PRIVATE KEY") {
        block = pem::first_block(block.rest)?;
    }
    Some(block)
}

/// Versions 1 and 2; what follows the key (attributes, public key) is not needed.
fn from_pkcs8(bytes: &[u8]) -> Option<Secret> {
    let mut fields = der::Reader::new(der::Reader::new(bytes).read(der::SEQUENCE)?);
    fields.read(der::INTEGER)?;
    let algorithm = fields.read_raw()?;
    let key = fields.read(der::OCTET_STRING)?;
    if algorithm == P256_ALGORITHM {
        return scalar(key).map(Secret::Scalar);
    }
    let seed = der::Reader::new(key).read(der::OCTET_STRING)?;
    (algorithm == ED25519_ALGORITHM).then_some(Secret::Seed(seed.try_into().ok()?))
}

/// The scalar of an `ECPrivateKey`, filled up to 32 bytes.
fn scalar(bytes: &[u8]) -> Option<[u8; 32]> {
    let mut fields = der::Reader::new(der::Reader::new(bytes).read(der::SEQUENCE)?);
    fields.read(der::INTEGER)?;
    let significant = der::strip_zeros(fields.read(der::OCTET_STRING)?);
    let mut out = [0u8; 32];
    out.get_mut(32usize.checked_sub(significant.len())?..)?.copy_from_slice(significant);
    Some(out)
}

fn sec1(scalar: &[u8; 32], point: &[u8; 65]) -> Vec<u8> {
    let bits = [&[0][..], point].concat();
    let fields = [
        der::positive_integer(&[1]),
        der::element(der::OCTET_STRING, scalar),
        der::element(POINT_TAG, &der::element(der::BIT_STRING, &bits)),
    ];
    der::element(der::SEQUENCE, &fields.concat())
}

fn pkcs8(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let fields = [der::element(der::INTEGER, &[0]), algorithm.to_vec(), der::element(der::OCTET_STRING, key)];
    der::element(der::SEQUENCE, &fields.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_key_is_read_back_and_signs() {
        for kind in [KeyKind::P256, KeyKind::Ed25519] {
            let key = PrivateKey::generate(kind).unwrap();
            let read = PrivateKey::from_pem(key.to_pem().as_bytes(), key.public_key()).unwrap();
            assert_eq!(read.to_pem(), key.to_pem(), "{kind:?}");
            let signature = read.sign(b"message").unwrap();
            assert_eq!(key.public_key().verify(b"message", &signature), Ok(()));
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        for (one, other) in
            [(KeyKind::P256, KeyKind::P256), (KeyKind::Ed25519, KeyKind::Ed25519), (KeyKind::P256, KeyKind::Ed25519)]
        {
            let key = PrivateKey::generate(one).unwrap();
            let stranger = PrivateKey::generate(other).unwrap();
            let read = PrivateKey::from_pem(key.to_pem().as_bytes(), stranger.public_key());
            assert_eq!(read.err(), Some(KeyError::Mismatch));
        }
    }

    #[test]
    fn ed25519_keys_are_written_as_version_one() {
        let key = PrivateKey::generate(KeyKind::Ed25519).unwrap();
        assert_eq!(key.pkcs8.len(), 48);
        assert_eq!(key.pkcs8[..16], hex::decode("302e020100300506032b657004220420").unwrap());
    }

    #[test]
    fn p256_signatures_always_have_a_low_s() {
        let key = PrivateKey::generate(KeyKind::P256).unwrap();
        for round in 0u8..64 {
            let signature = key.sign(&[round]).unwrap();
            assert_eq!(key.public_key().verify(&[round], &signature), Ok(()));
        }
    }
}
