//! A membership service provider: one organization's authorities, and Fabric's rules for who
//! belongs to it, in the order in which they are checked.
//!
//! 1. kind of key; 2. no authority; 3. exactly one chain; 4. the issuer is a leaf of the tree of
//!    authorities; 5. not revoked; 6. one of the MSP's organizational units; 7. exactly one role.
//!
//! Expiry is not among them: [`Identity::expires_at`] is there for those who enforce it. How an MSP
//! is set up from its configuration stands in `setup.rs`.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use ripstop_proto::common::MspPrincipal;
use ripstop_proto::msp::{FabricMspConfig, SerializedIdentity};
use sha2::{Digest, Sha256};

use crate::certificate::Certificate;
use crate::chain::{Authorities, Chain, ChainError, signed_itself};
use crate::identity::{Identity, IdentityError, InvalidIdentity, identity_id};
use crate::msp_folder::{self, FolderError};
use crate::node_ous::{NodeOus, Role, Unit};
use crate::principal::{Principal, PrincipalError};
use crate::public_key::PublicKey;
use crate::revocation::RevocationList;

pub use crate::setup::SetupError;

/// The rules that a channel's capabilities select. Older ones than these are not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MspVersion {
    /// Channel capabilities V1_4_3 and V2_0: ECDSA only.
    V1_4_3,
    /// Channel capability V3_0, and every node's own MSP: Ed25519 too.
    V3_0,
}

/// One organization's MSP.
#[derive(Debug, Clone)]
pub struct Msp {
    pub(crate) id: String,
    pub(crate) version: MspVersion,
    pub(crate) config: Arc<FabricMspConfig>,
    pub(crate) authorities: Authorities,
    /// Authorities that have others below them.
    pub(crate) inner_authorities: Vec<Bytes>,
    pub(crate) revocation_lists: Vec<RevocationList>,
    /// If not empty, an identity needs one of these.
    pub(crate) required_units: Vec<Unit>,
    pub(crate) node_ous: Option<NodeOus>,
    pub(crate) listed_admins: Vec<Bytes>,
}

impl Msp {
    /// Sets an MSP up and checks its configuration by Fabric's rules.
    pub fn new(config: &FabricMspConfig, version: MspVersion) -> Result<Self, SetupError> {
        crate::setup::build(config, version)
    }

    /// A node's own MSP, or any organization's, from a folder in Fabric's layout: always version
    /// 3.0, as Fabric's local MSP. `signcerts/` and `keystore/` are not looked at; they belong to
    /// [`crate::SigningIdentity::from_msp_folder`].
    pub fn from_folder(msp_id: &str, folder: impl AsRef<Path>) -> Result<Self, FolderError> {
        let config = msp_folder::config(msp_id, folder.as_ref())?;
        let setup = |cause| FolderError::Setup { folder: folder.as_ref().into(), cause };
        Self::new(&config, MspVersion::V3_0).map_err(setup)
    }

    /// The configuration as it goes into a channel's configuration: without a signing identity.
    pub fn to_config(&self) -> FabricMspConfig {
        FabricMspConfig::clone(&self.config)
    }

    /// The MSP's name, such as `Org1MSP`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The version it was set up for.
    pub fn version(&self) -> MspVersion {
        self.version
    }

    /// Whether roles are told apart by organizational units.
    pub fn has_node_ous(&self) -> bool {
        self.node_ous.is_some()
    }

    /// PEM of the TLS root authorities, one certificate each.
    pub fn tls_roots_pem(&self) -> &[Bytes] {
        &self.config.tls_root_certs
    }

    /// PEM of the TLS intermediate authorities.
    pub fn tls_intermediates_pem(&self) -> &[Bytes] {
        &self.config.tls_intermediate_certs
    }

    /// Reads an identity of this MSP from `SerializedIdentity` bytes. It may still be invalid: see
    /// [`Msp::validate`].
    pub fn identity(&self, serialized: &[u8]) -> Result<Identity, IdentityError> {
        let decoded = decode(serialized)?;
        if decoded.mspid != self.id {
            let (expected, received) = (self.id.clone(), decoded.mspid);
            return Err(IdentityError::OtherMsp { expected, received });
        }
        self.identity_from_pem(&decoded.id_bytes)
    }

    /// Reads an identity of this MSP from its certificate's PEM.
    pub fn identity_from_pem(&self, certificate_pem: &[u8]) -> Result<Identity, IdentityError> {
        let unusable = |cause| IdentityError::Certificate { msp_id: self.id.clone(), cause };
        let received = Certificate::from_pem(certificate_pem).map_err(unusable)?;
        if signed_itself(&received) {
            let key = received.public_key().clone();
            let certificate = received.with_low_s(&key).map_err(unusable)?;
            let chain = self.authorities.unique_chain(&certificate);
            return Ok(self.decided(certificate, Some(key), chain));
        }
        let chain = self.authorities.unique_chain(&received);
        if received.signature_algorithm.is_ecdsa()
            && let Err(cause) = &chain
        {
            let (msp_id, subject) = (self.id.clone(), received.subject_text().to_owned());
            return Err(IdentityError::Chain { msp_id, subject, cause: cause.clone() });
        }
        let issuer = chain.as_ref().ok().and_then(|above| above.first());
        let issuer_key = issuer.map(|issuer| issuer.public_key().clone());
        let certificate = match &issuer_key {
            Some(key) => received.with_low_s(key).map_err(unusable)?,
            None => received,
        };
        Ok(self.decided(certificate, issuer_key, chain))
    }

    fn decided(
        &self,
        certificate: Certificate,
        issuer_key: Option<PublicKey>,
        chain: Result<Chain, ChainError>,
    ) -> Identity {
        let certifiers = self.certifiers_of(&certificate, &chain);
        let units = certificate.organizational_units();
        let node_ous = self.node_ous.as_ref().filter(|_| certifiers.is_some());
        let has = |role| node_ous.is_some_and(|ous| ous.has_role(units, role));
        Identity {
            msp_id: self.id.clone(),
            id: identity_id(&certificate),
            issuer_key,
            certifiers,
            roles: Role::ALL.map(has),
            is_listed_admin: self.listed_admins.contains(certificate.der()),
            validity: self.check(&certificate, chain),
            certificate,
        }
    }

    /// Below an inner authority, or as an authority, no unit counts: not even for a listed admin.
    fn certifiers_of(&self, certificate: &Certificate, chain: &Result<Chain, ChainError>) -> Option<[u8; 32]> {
        let above = chain.as_ref().ok().filter(|_| !certificate.is_ca())?;
        let issuer = above.first()?;
        let inner = self.inner_authorities.contains(issuer.der());
        (!inner).then(|| chain_id(above))
    }

    fn check(&self, certificate: &Certificate, chain: Result<Chain, ChainError>) -> Result<(), InvalidIdentity> {
        self.check_key(certificate.public_key())?;
        if certificate.is_ca() {
            return Err(InvalidIdentity::Authority);
        }
        let chain = chain?;
        let issuer = chain.first().ok_or(InvalidIdentity::Authority)?;
        if self.inner_authorities.contains(issuer.der()) {
            return Err(InvalidIdentity::InnerIssuer);
        }
        self.check_not_revoked(certificate, issuer)?;
        self.check_units(certificate.organizational_units(), &chain_id(&chain))
    }

    fn check_key(&self, key: &PublicKey) -> Result<(), InvalidIdentity> {
        match key {
            PublicKey::P256(_) | PublicKey::P384(_) => Ok(()),
            PublicKey::Ed25519(_) if self.version >= MspVersion::V3_0 => Ok(()),
            _ => Err(InvalidIdentity::KeyKind(key.kind())),
        }
    }

    pub(crate) fn check_not_revoked(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<(), InvalidIdentity> {
        for list in &self.revocation_lists {
            if !list.names_its_authority() {
                return Err(InvalidIdentity::UnnamedRevocationList);
            }
            if list.revokes(certificate.serial(), issuer) {
                return Err(InvalidIdentity::Revoked);
            }
        }
        Ok(())
    }

    fn check_units(&self, units: &[String], certifiers: &[u8; 32]) -> Result<(), InvalidIdentity> {
        let found = || units.join(", ");
        let is_required = |name: &String| {
            let same = |unit: &Unit| unit.name == *name && unit.certifiers.as_ref() == Some(certifiers);
            self.required_units.iter().any(same)
        };
        if !self.required_units.is_empty() && !units.iter().any(is_required) {
            return Err(InvalidIdentity::OrganizationalUnit { found: found() });
        }
        let Some(node_ous) = &self.node_ous else { return Ok(()) };
        let role =
            |error: crate::node_ous::RoleError| InvalidIdentity::Role { reason: error.to_string(), found: found() };
        node_ous.check(units, certifiers).map_err(role)
    }

    /// Fabric's `Validate`: whether the identity passes every rule of this MSP.
    pub fn validate(&self, identity: &Identity) -> Result<(), IdentityError> {
        if identity.msp_id != self.id {
            let (expected, received) = (self.id.clone(), identity.msp_id.clone());
            return Err(IdentityError::OtherMsp { expected, received });
        }
        identity.validity.clone().map_err(|cause| identity.invalid(cause))
    }

    /// Whether an identity read by this MSP satisfies a principal.
    pub fn satisfies(&self, identity: &Identity, principal: &MspPrincipal) -> Result<(), PrincipalError> {
        if identity.msp_id != self.id {
            let (expected, found) = (self.id.clone(), identity.msp_id.clone());
            return Err(PrincipalError::OtherMsp { expected, found });
        }
        Principal::parse(principal).check(identity)
    }

    /// Fabric's "certifiers identifier" of an authority of this MSP, as it stands in an
    /// organizational-unit principal: SHA-256 over the DER of the authority and those above it.
    pub fn certifiers(&self, authority_pem: &[u8]) -> Result<[u8; 32], SetupError> {
        crate::setup::certifiers(self, authority_pem)
    }
}

/// Decodes a `SerializedIdentity`.
pub(crate) fn decode(serialized: &[u8]) -> Result<SerializedIdentity, IdentityError> {
    SerializedIdentity::decode(serialized).map_err(|error| IdentityError::Decode(error.to_string()))
}

/// SHA-256 over the DER of the certificates, in order.
pub(crate) fn chain_id(chain: &[Arc<Certificate>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for certificate in chain {
        hash.update(certificate.der());
    }
    hash.finalize().into()
}
