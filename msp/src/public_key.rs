//! One face for the public keys of identities and of certificate authorities.
//!
//! Identities sign with ECDSA (P-256 or P-384, SHA-256 of the message on both curves, low `s`) or
//! with Ed25519 (the message itself; `docs/decisions/0001-ed25519-rule.md`). RSA keys may only issue
//! certificates. P-224 and P-521, which Fabric also knows, are refused: `ring` has neither.

use ed25519_dalek::VerifyingKey;
use ring::signature as alg;
use ring::signature::VerificationAlgorithm;
use x509_parser::oid_registry as oid;
use x509_parser::prelude::SubjectPublicKeyInfo;
use x509_parser::x509::AlgorithmIdentifier;

use crate::ecdsa::{self, Order, Signature};

/// A public key, ready to verify.
#[derive(Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// ECDSA on P-256: the uncompressed point `04 ++ X ++ Y`.
    P256([u8; 65]),
    /// ECDSA on P-384: the uncompressed point.
    P384(Box<[u8; 97]>),
    /// Ed25519, decompressed once.
    Ed25519(Box<VerifyingKey>),
    /// RSA, PKCS#1 DER. Never an identity's key.
    Rsa(Vec<u8>),
}

/// Why a signature was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not an ECDSA signature in strict DER with `r, s > 0`, or not 64 bytes of Ed25519.
    #[error("the signature is malformed: expected strict DER with r and s above zero (ECDSA), or 64 bytes (Ed25519)")]
    Malformed,
    /// `s` is above half of the curve's order.
    #[error("the signature has a high S: replace s by N - s when signing")]
    HighS,
    /// Well-formed, but not made by this key over this message.
    #[error("the signature does not match the message and the certificate's key")]
    Mismatch,
    /// RSA keys do not sign for identities.
    #[error("keys of this kind do not sign for identities; use P-256, P-384 or Ed25519")]
    UnsupportedKey,
}

/// How a certificate or revocation list is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureAlgorithm {
    EcdsaSha256,
    EcdsaSha384,
    /// SHA-1 and SHA-512: recognised as ECDSA, never verified.
    EcdsaOther,
    Ed25519,
    RsaSha256,
    RsaSha384,
    RsaSha512,
    Other,
}

impl SignatureAlgorithm {
    pub(crate) fn of(identifier: &AlgorithmIdentifier<'_>) -> Self {
        let found = &identifier.algorithm;
        let known = [
            (oid::OID_SIG_ECDSA_WITH_SHA256, Self::EcdsaSha256),
            (oid::OID_SIG_ECDSA_WITH_SHA384, Self::EcdsaSha384),
            (oid::OID_SIG_ECDSA_WITH_SHA512, Self::EcdsaOther),
            (x509_parser::der_parser::oid!(1.2.840.10045.4.1), Self::EcdsaOther),
            (oid::OID_SIG_ED25519, Self::Ed25519),
            (oid::OID_PKCS1_SHA256WITHRSA, Self::RsaSha256),
            (oid::OID_PKCS1_SHA384WITHRSA, Self::RsaSha384),
            (oid::OID_PKCS1_SHA512WITHRSA, Self::RsaSha512),
        ];
        let hit = known.iter().find(|(candidate, _)| candidate == found);
        hit.map_or(Self::Other, |(_, algorithm)| *algorithm)
    }

    pub(crate) fn is_ecdsa(self) -> bool {
        matches!(self, Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaOther)
    }
}

impl PublicKey {
    /// Reads a certificate's key; `None` for kinds and curves that are not supported.
    pub(crate) fn from_spki(spki: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let bytes = spki.subject_public_key.data.as_ref();
        let kind = &spki.algorithm.algorithm;
        if *kind == oid::OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curve = spki.algorithm.parameters.as_ref()?.as_oid().ok()?;
            return Self::from_point(&curve, bytes);
        }
        if *kind == oid::OID_SIG_ED25519 && spki.algorithm.parameters.is_none() {
            return Self::from_ed25519(bytes.try_into().ok()?);
        }
        (*kind == oid::OID_PKCS1_RSAENCRYPTION).then(|| Self::Rsa(bytes.to_vec()))
    }

    fn from_point(curve: &x509_parser::der_parser::oid::Oid<'_>, point: &[u8]) -> Option<Self> {
        let uncompressed = point.first() == Some(&4);
        if *curve == oid::OID_EC_P256 && uncompressed {
            return Some(Self::P256(point.try_into().ok()?));
        }
        if *curve == oid::OID_NIST_EC_P384 && uncompressed {
            return Some(Self::P384(Box::new(point.try_into().ok()?)));
        }
        None
    }

    /// An Ed25519 key; `None` when the bytes are no point of the curve.
    pub fn from_ed25519(bytes: &[u8; 32]) -> Option<Self> {
        let key = VerifyingKey::from_bytes(bytes).ok()?;
        Some(Self::Ed25519(Box::new(key)))
    }

    /// Checks an identity's signature over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        match self {
            Self::P256(point) => {
                let parsed = low_s_signature(signature, &ecdsa::P256)?;
                let fixed = parsed.to_fixed::<32, 64>().ok_or(SignatureError::Mismatch)?;
                check(&alg::ECDSA_P256_SHA256_FIXED, point, message, &fixed)
            }
            Self::P384(point) => {
                low_s_signature(signature, &ecdsa::P384)?;
                check(&alg::ECDSA_P384_SHA256_ASN1, &point[..], message, signature)
            }
            Self::Ed25519(key) => verify_ed25519(key, message, signature),
            Self::Rsa(_) => Err(SignatureError::UnsupportedKey),
        }
    }

    /// Checks the signature of a certificate or revocation list. High `s` is allowed there.
    pub(crate) fn verify_issued(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        use SignatureAlgorithm as By;
        let (algorithm, key): (&dyn VerificationAlgorithm, &[u8]) = match (self, algorithm) {
            (Self::P256(point), By::EcdsaSha256) => (&alg::ECDSA_P256_SHA256_ASN1, point),
            (Self::P256(point), By::EcdsaSha384) => (&alg::ECDSA_P256_SHA384_ASN1, point),
            (Self::P384(point), By::EcdsaSha256) => (&alg::ECDSA_P384_SHA256_ASN1, &point[..]),
            (Self::P384(point), By::EcdsaSha384) => (&alg::ECDSA_P384_SHA384_ASN1, &point[..]),
            (Self::Rsa(key), By::RsaSha256) => (&alg::RSA_PKCS1_2048_8192_SHA256, key),
            (Self::Rsa(key), By::RsaSha384) => (&alg::RSA_PKCS1_2048_8192_SHA384, key),
            (Self::Rsa(key), By::RsaSha512) => (&alg::RSA_PKCS1_2048_8192_SHA512, key),
            (Self::Ed25519(key), By::Ed25519) => return verify_ed25519(key, message, signature),
            _ => return Err(SignatureError::UnsupportedKey),
        };
        check(algorithm, key, message, signature)
    }

    /// The curve's order, for keys whose signatures have an `s`.
    pub(crate) fn order(&self) -> Option<&'static Order> {
        match self {
            Self::P256(_) => Some(&ecdsa::P256),
            Self::P384(_) => Some(&ecdsa::P384),
            Self::Ed25519(_) | Self::Rsa(_) => None,
        }
    }

    /// The bytes inside the certificate's BIT STRING.
    pub fn raw(&self) -> &[u8] {
        match self {
            Self::P256(point) => point,
            Self::P384(point) => &point[..],
            Self::Ed25519(key) => key.as_bytes(),
            Self::Rsa(key) => key,
        }
    }

    /// The name for messages: `P-256`, `P-384`, `Ed25519` or `RSA`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::P256(_) => "P-256",
            Self::P384(_) => "P-384",
            Self::Ed25519(_) => "Ed25519",
            Self::Rsa(_) => "RSA",
        }
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.kind(), hex::encode(self.raw()))
    }
}

fn low_s_signature<'a>(bytes: &'a [u8], order: &Order) -> Result<Signature<'a>, SignatureError> {
    let signature = Signature::from_der(bytes).ok_or(SignatureError::Malformed)?;
    if signature.has_low_s(order) { Ok(signature) } else { Err(SignatureError::HighS) }
}

fn check(
    algorithm: &dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    algorithm.verify(key.into(), message.into(), signature.into()).map_err(|_| SignatureError::Mismatch)
}

/// Cofactorless, canonical `s`, small orders allowed: the set Go's `crypto/ed25519` accepts.
fn verify_ed25519(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let bytes: &[u8; 64] = signature.try_into().map_err(|_| SignatureError::Malformed)?;
    let signature = ed25519_dalek::Signature::from_bytes(bytes);
    ed25519_dalek::Verifier::verify(key, message, &signature).map_err(|_| SignatureError::Mismatch)
}
