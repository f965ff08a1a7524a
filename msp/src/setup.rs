//! From an MSP's configuration to an [`Msp`]: Fabric's checks, in Fabric's order.
//!
//! Differences, all refused with their name: hash families other than SHA2/SHA256, authorities with
//! name constraints, and NodeOUs or units that name a certificate outside the MSP.

use std::sync::Arc;

use bytes::Bytes;
use ripstop_proto::msp::{FabricCryptoConfig, FabricMspConfig, FabricOuIdentifier};

use crate::certificate::{Certificate, CertificateError};
use crate::chain::{Authorities, Chain, ChainError, signed_itself};
use crate::identity::{IdentityError, InvalidIdentity};
use crate::msp::{Msp, MspVersion, chain_id};
use crate::node_ous::{NodeOus, Role, Unit};
use crate::revocation::RevocationList;

/// Why a configuration makes no MSP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// No name.
    #[error("the MSP configuration has no name; set the MSP id, such as Org1MSP")]
    NoName,
    /// A hash other than SHA-256.
    #[error("crypto_config asks for {0}; only SHA2 with SHA256 is supported")]
    Hash(String),
    /// No root.
    #[error("MSP {0}: expected at least one CA certificate in root_certs")]
    NoRoots(String),
    /// A configured certificate does not parse.
    #[error("MSP {msp_id}: a certificate in {list} is unusable: {cause}")]
    Certificate {
        /// The MSP.
        msp_id: String,
        /// The field of the configuration.
        list: &'static str,
        /// What is wrong.
        cause: CertificateError,
    },
    /// An authority breaks a rule.
    #[error("MSP {msp_id}: the authority {subject} in {list} {rule}")]
    Authority {
        /// The MSP.
        msp_id: String,
        /// The field of the configuration.
        list: &'static str,
        /// The certificate's subject.
        subject: String,
        /// What it fails to be.
        rule: String,
    },
    /// A revocation list does not parse.
    #[error("MSP {msp_id}: revocation list {index}: {cause}")]
    RevocationList {
        /// The MSP.
        msp_id: String,
        /// Its position, from 0.
        index: usize,
        /// What is wrong.
        cause: String,
    },
    /// A unit is tied to a certificate that is no authority of the MSP.
    #[error(
        "MSP {msp_id}: the certificate given for an organizational unit is not among the MSP's root and intermediate certificates, or has authorities below it"
    )]
    Certifiers {
        /// The MSP.
        msp_id: String,
    },
    /// Nobody could administrate.
    #[error(
        "MSP {0}: administrators must be declared when no admin ou classification is set: list certificates in admincerts, or set AdminOUIdentifier in NodeOUs"
    )]
    NoAdmins(String),
    /// A listed admin is no member.
    #[error("MSP {msp_id}: admin {index} is invalid: {reason}")]
    Admin {
        /// The MSP.
        msp_id: String,
        /// Its position, from 0.
        index: usize,
        /// What is wrong.
        reason: String,
    },
}

const NO_AUTHORITY: &str = "did not have the CA attribute in its basic constraints";
const ROOTS: &str = "root_certs";
const INTERMEDIATES: &str = "intermediate_certs";
const TLS_ROOTS: &str = "tls_root_certs";
const TLS_INTERMEDIATES: &str = "tls_intermediate_certs";

pub(crate) fn build(config: &FabricMspConfig, version: MspVersion) -> Result<Msp, SetupError> {
    check_name_and_hash(config)?;
    let mut msp = Msp {
        id: config.name.clone(),
        version,
        authorities: authorities(config)?,
        config: Arc::new(FabricMspConfig { signing_identity: None, ..config.clone() }),
        inner_authorities: Vec::new(),
        revocation_lists: revocation_lists(config)?,
        required_units: Vec::new(),
        node_ous: None,
        listed_admins: Vec::new(),
    };
    check_authorities(&msp)?;
    msp.inner_authorities = inner_authorities(&msp)?;
    check_tls_authorities(&msp)?;
    msp.required_units = required_units(&msp)?;
    msp.node_ous = node_ous(&msp)?;
    let admins = listed_admins(&msp)?;
    msp.listed_admins = admins;
    Ok(msp)
}

fn check_name_and_hash(config: &FabricMspConfig) -> Result<(), SetupError> {
    if config.name.is_empty() {
        return Err(SetupError::NoName);
    }
    let FabricCryptoConfig { signature_hash_family, identity_identifier_hash_function } =
        config.crypto_config.clone().unwrap_or_default();
    let family_known = matches!(signature_hash_family.as_str(), "" | "SHA2");
    let function_known = matches!(identity_identifier_hash_function.as_str(), "" | "SHA256");
    if family_known && function_known {
        return Ok(());
    }
    Err(SetupError::Hash(format!("{signature_hash_family}/{identity_identifier_hash_function}")))
}

fn parse(msp_id: &str, list: &'static str, pems: &[Bytes]) -> Result<Vec<Arc<Certificate>>, SetupError> {
    let unusable = |cause| SetupError::Certificate { msp_id: msp_id.to_owned(), list, cause };
    pems.iter().map(|pem| Certificate::from_pem(pem).map(Arc::new).map_err(unusable)).collect()
}

/// The roots and intermediates with low `s` in their signatures.
fn authorities(config: &FabricMspConfig) -> Result<Authorities, SetupError> {
    if config.root_certs.is_empty() {
        return Err(SetupError::NoRoots(config.name.clone()));
    }
    let roots = parse(&config.name, ROOTS, &config.root_certs)?;
    let intermediates = parse(&config.name, INTERMEDIATES, &config.intermediate_certs)?;
    let received = Authorities::new(roots.clone(), intermediates.clone());
    let lowered = |list: &'static str, certificates: Chain| -> Result<Chain, SetupError> {
        let one = |certificate: Arc<Certificate>| {
            lower_s(&received, &certificate).map_err(|rule| authority_error(&config.name, list, &certificate, rule))
        };
        certificates.into_iter().map(one).collect()
    };
    Ok(Authorities::new(lowered(ROOTS, roots)?, lowered(INTERMEDIATES, intermediates)?))
}

fn lower_s(authorities: &Authorities, certificate: &Arc<Certificate>) -> Result<Arc<Certificate>, String> {
    if !certificate.signature_algorithm.is_ecdsa() {
        return Ok(certificate.clone());
    }
    if !certificate.is_ca() {
        return Err(NO_AUTHORITY.into());
    }
    let lowered = if signed_itself(certificate) {
        certificate.with_low_s(certificate.public_key())
    } else {
        let chain = authorities.unique_chain(certificate).map_err(|error| error.to_string())?;
        let issuer = chain.first().ok_or("did not sign itself, or may not sign certificates")?;
        certificate.with_low_s(issuer.public_key())
    };
    lowered.map(Arc::new).map_err(|error| error.to_string())
}

fn revocation_lists(config: &FabricMspConfig) -> Result<Vec<RevocationList>, SetupError> {
    let one = |(index, bytes): (usize, &Bytes)| {
        RevocationList::parse(bytes).map_err(|cause| SetupError::RevocationList {
            msp_id: config.name.clone(),
            index,
            cause,
        })
    };
    config.revocation_list.iter().enumerate().map(one).collect()
}

fn check_authorities(msp: &Msp) -> Result<(), SetupError> {
    let listed = [(ROOTS, &msp.authorities.roots), (INTERMEDIATES, &msp.authorities.intermediates)];
    for (list, certificates) in listed {
        for certificate in certificates {
            check_authority(msp, &msp.authorities, certificate)
                .map_err(|rule| authority_error(&msp.id, list, certificate, rule))?;
            if certificate.extensions.has_name_constraints {
                let rule = "has name constraints, which are not supported".into();
                return Err(authority_error(&msp.id, list, certificate, rule));
            }
        }
    }
    Ok(())
}

fn check_authority(msp: &Msp, authorities: &Authorities, certificate: &Certificate) -> Result<(), String> {
    if !certificate.is_ca() {
        return Err(NO_AUTHORITY.into());
    }
    if certificate.subject_key_id().is_none() {
        return Err("has no subject key identifier".into());
    }
    let chain = authorities.unique_chain(certificate).map_err(|error| format!("is not valid: {error}"))?;
    let Some(issuer) = chain.first() else { return Ok(()) };
    msp.check_not_revoked(certificate, issuer).map_err(|error| format!("is not valid: {error}"))
}

/// Every authority above an intermediate one.
fn inner_authorities(msp: &Msp) -> Result<Vec<Bytes>, SetupError> {
    let mut inner: Vec<Bytes> = Vec::new();
    for intermediate in &msp.authorities.intermediates {
        let chain = msp
            .authorities
            .unique_chain(intermediate)
            .map_err(|error: ChainError| authority_error(&msp.id, INTERMEDIATES, intermediate, error.to_string()))?;
        inner.extend(chain.iter().map(|above| above.der().clone()));
    }
    Ok(inner)
}

fn check_tls_authorities(msp: &Msp) -> Result<(), SetupError> {
    let roots = parse(&msp.id, TLS_ROOTS, &msp.config.tls_root_certs)?;
    let intermediates = parse(&msp.id, TLS_INTERMEDIATES, &msp.config.tls_intermediate_certs)?;
    let authorities = Authorities::new(roots, intermediates);
    let listed = [(TLS_ROOTS, &authorities.roots), (TLS_INTERMEDIATES, &authorities.intermediates)];
    for (list, certificates) in listed {
        for certificate in certificates {
            check_authority(msp, &authorities, certificate)
                .map_err(|rule| authority_error(&msp.id, list, certificate, rule))?;
        }
    }
    Ok(())
}

fn required_units(msp: &Msp) -> Result<Vec<Unit>, SetupError> {
    let one = |identifier: &FabricOuIdentifier| {
        let certifiers = Some(certifiers(msp, &identifier.certificate)?);
        Ok(Unit { name: identifier.organizational_unit_identifier.clone(), certifiers })
    };
    msp.config.organizational_unit_identifiers.iter().map(one).collect()
}

fn node_ous(msp: &Msp) -> Result<Option<NodeOus>, SetupError> {
    let Some(config) = &msp.config.fabric_node_ous else { return Ok(None) };
    let mut node_ous = NodeOus::default();
    let listed = [
        (Role::Client, &config.client_ou_identifier),
        (Role::Peer, &config.peer_ou_identifier),
        (Role::Admin, &config.admin_ou_identifier),
        (Role::Orderer, &config.orderer_ou_identifier),
    ];
    for (role, identifier) in listed {
        let Some(identifier) = identifier else { continue };
        let tied = !identifier.certificate.is_empty();
        let certifiers = tied.then(|| certifiers(msp, &identifier.certificate)).transpose()?;
        let name = identifier.organizational_unit_identifier.clone();
        node_ous.units[role.index()] = Some(Unit { name, certifiers });
    }
    let any = node_ous.units.iter().any(Option::is_some);
    Ok((config.enable && any).then_some(node_ous))
}

pub(crate) fn certifiers(msp: &Msp, authority_pem: &[u8]) -> Result<[u8; 32], SetupError> {
    let unknown = || SetupError::Certifiers { msp_id: msp.id.clone() };
    let received = Certificate::from_pem(authority_pem).map_err(|_| unknown())?;
    let authority = lower_s(&msp.authorities, &Arc::new(received)).map_err(|_| unknown())?;
    let listed = |certificates: &Chain| certificates.iter().any(|certificate| certificate.der() == authority.der());
    if listed(&msp.authorities.roots) {
        return Ok(chain_id(&[authority]));
    }
    if !listed(&msp.authorities.intermediates) || msp.inner_authorities.contains(authority.der()) {
        return Err(unknown());
    }
    let mut path = vec![authority.clone()];
    path.extend(msp.authorities.unique_chain(&authority).map_err(|_| unknown())?);
    Ok(chain_id(&path))
}

fn listed_admins(msp: &Msp) -> Result<Vec<Bytes>, SetupError> {
    let admin_unit = msp.node_ous.as_ref().and_then(|ous| ous.units[Role::Admin.index()].as_ref());
    if msp.config.admins.is_empty() && admin_unit.is_none() {
        return Err(SetupError::NoAdmins(msp.id.clone()));
    }
    let mut listed = Vec::new();
    for (index, pem) in msp.config.admins.iter().enumerate() {
        let wrong = |reason: String| SetupError::Admin { msp_id: msp.id.clone(), index, reason };
        let admin = msp.identity_from_pem(pem).map_err(|error: IdentityError| wrong(error.to_string()))?;
        if msp.node_ous.is_none() {
            admin.validity().map_err(|error: &InvalidIdentity| wrong(error.to_string()))?;
        } else if !admin.roles[Role::Client.index()] && !admin.roles[Role::Admin.index()] {
            return Err(wrong("it carries neither the client nor the admin unit".into()));
        }
        listed.push(admin.certificate().der().clone());
    }
    Ok(listed)
}

fn authority_error(msp_id: &str, list: &'static str, certificate: &Certificate, rule: String) -> SetupError {
    let subject = certificate.subject_text().to_owned();
    SetupError::Authority { msp_id: msp_id.to_owned(), list, subject, rule }
}
