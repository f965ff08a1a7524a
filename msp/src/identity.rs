//! Someone whose certificate was read by an MSP: the key to verify with, and everything that
//! principals ask for, decided once.

use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::certificate::{Certificate, CertificateError};
use crate::chain::ChainError;
use crate::node_ous::Role;
use crate::public_key::{PublicKey, SignatureError};

/// An identity of one MSP. Made by [`crate::Msp::identity`]; it may still be invalid (see
/// [`Identity::validity`]), as Fabric keeps the two questions apart.
#[derive(Debug, Clone)]
pub struct Identity {
    pub(crate) msp_id: String,
    pub(crate) certificate: Certificate,
    pub(crate) id: [u8; 32],
    /// The key that signed the certificate, where the chain is known.
    pub(crate) issuer_key: Option<PublicKey>,
    /// SHA-256 over the chain above the certificate, where there is one that may issue identities.
    pub(crate) certifiers: Option<[u8; 32]>,
    pub(crate) validity: Result<(), InvalidIdentity>,
    /// Whether the certificate carries the unit of each role; all false without NodeOUs.
    pub(crate) roles: [bool; 4],
    pub(crate) is_listed_admin: bool,
}

/// Why bytes are no identity at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a `SerializedIdentity`.
    #[error("the bytes are no msp.SerializedIdentity: {0}")]
    Decode(String),
    /// No MSP of that name here.
    #[error("MSP {msp_id} is not defined on channel (known are: {known})")]
    UnknownMsp {
        /// The name in the identity.
        msp_id: String,
        /// The names that would have been accepted.
        known: String,
    },
    /// An MSP was asked about another MSP's identity.
    #[error("expected MSP ID {expected}, received {received}")]
    OtherMsp {
        /// The MSP that was asked.
        expected: String,
        /// The name in the identity.
        received: String,
    },
    /// The certificate does not parse.
    #[error("the certificate of an identity of {msp_id} is unusable: {cause}")]
    Certificate {
        /// The MSP named by the identity.
        msp_id: String,
        /// What is wrong with it.
        cause: CertificateError,
    },
    /// An ECDSA-signed certificate without a chain: Fabric cannot even normalise its signature.
    #[error("the identity {subject} is not valid for {msp_id}: {cause}")]
    Chain {
        /// The MSP named by the identity.
        msp_id: String,
        /// The certificate's subject.
        subject: String,
        /// Why there is no chain.
        cause: ChainError,
    },
    /// It is an identity, but does not pass validation.
    #[error("the identity {subject} is not valid for {msp_id}: {cause}")]
    Invalid {
        /// The MSP named by the identity.
        msp_id: String,
        /// The certificate's subject.
        subject: String,
        /// The rule it breaks.
        cause: InvalidIdentity,
    },
}

/// The validation rule that an identity breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// Ed25519 below MSP version 3.0, or RSA.
    #[error(
        "public keys of kind {0} are not supported at this channel's MSP version (Ed25519 needs the channel capability V3_0)"
    )]
    KeyKind(&'static str),
    /// The certificate is one of an authority.
    #[error("a certificate authority's certificate cannot be used as an identity")]
    Authority,
    /// No chain, or more than one.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The issuer has authorities below it.
    #[error(
        "its issuer has intermediate authorities below it; only leaves of the tree of authorities may issue identities"
    )]
    InnerIssuer,
    /// Listed in a revocation list of its issuer.
    #[error("The certificate has been revoked")]
    Revoked,
    /// A configured revocation list does not say whose it is.
    #[error("a revocation list of the MSP has no authority key identifier, so that nothing can be validated")]
    UnnamedRevocationList,
    /// None of the MSP's organizational units.
    #[error("none of its organizational units [{found}] is one that the MSP asks for")]
    OrganizationalUnit {
        /// The units of the certificate.
        found: String,
    },
    /// Not exactly one role.
    #[error("with NodeOUs on, {reason}; its organizational units are [{found}]")]
    Role {
        /// What is wrong.
        reason: String,
        /// The units of the certificate.
        found: String,
    },
}

impl Identity {
    /// The MSP it belongs to.
    pub fn msp_id(&self) -> &str {
        &self.msp_id
    }

    /// The certificate, with a low `s` in its signature.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// SHA-256 of the certificate's DER: together with the MSP id this names an identity.
    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// When the certificate ends; `None` counts as never. Nothing in this room enforces it.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.certificate.expires_at()
    }

    /// Whether the certificate has ended at `now`.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires_at().is_some_and(|end| end < now)
    }

    /// The outcome of Fabric's `Validate`: chain, revocation, organizational units.
    pub fn validity(&self) -> Result<(), &InvalidIdentity> {
        self.validity.as_ref().map(|_| ())
    }

    /// The role by NodeOUs; `None` without them or when invalid.
    pub fn role(&self) -> Option<Role> {
        let valid = self.validity.is_ok();
        Role::ALL.into_iter().find(|role| valid && self.roles[role.index()])
    }

    /// Whether it satisfies the principal `ADMIN` of its MSP.
    pub fn is_admin(&self) -> bool {
        self.is_listed_admin || (self.validity.is_ok() && self.roles[Role::Admin.index()])
    }

    /// Checks a signature of this identity over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.certificate.public_key().verify(message, signature)
    }

    /// The error that says which rule the identity breaks.
    pub(crate) fn invalid(&self, cause: InvalidIdentity) -> IdentityError {
        IdentityError::Invalid {
            msp_id: self.msp_id.clone(),
            subject: self.certificate.subject_text().to_owned(),
            cause,
        }
    }
}

/// Two identities are one when MSP and certificate are the same.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.msp_id == other.msp_id
    }
}

impl Eq for Identity {}

impl std::hash::Hash for Identity {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// The name of an identity within its MSP.
pub(crate) fn identity_id(certificate: &Certificate) -> [u8; 32] {
    Sha256::digest(certificate.der()).into()
}
