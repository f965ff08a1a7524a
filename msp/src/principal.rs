//! Whom a policy asks for: a role, an organizational unit, one certificate, or several at once.
//!
//! A principal is parsed once; whether an identity satisfies it is then a comparison, because the
//! MSP decided everything about the identity when it read it.

use bytes::Bytes;
use prost::Message as _;
use ripstop_proto::common::msp_identity_anonymity::MspIdentityAnonymityType;
use ripstop_proto::common::msp_principal::Classification;
use ripstop_proto::common::msp_role::MspRoleType;
use ripstop_proto::common::{CombinedPrincipal, MspIdentityAnonymity, MspPrincipal, MspRole, OrganizationUnit};
use ripstop_proto::msp::SerializedIdentity;

use crate::certificate::Certificate;
use crate::identity::Identity;
use crate::node_ous::Role;

/// Fabric sets no limit; bytes inside bytes would let a policy exhaust the stack.
const COMBINED_DEPTH_MAX: usize = 32;

/// A parsed `MSPPrincipal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Any valid identity of the MSP.
    Member {
        /// The MSP.
        msp_id: String,
    },
    /// A valid identity of the MSP with this role (or, for admins, one that is listed).
    Role {
        /// The MSP.
        msp_id: String,
        /// The role.
        role: Role,
    },
    /// A valid identity with this organizational unit, certified by this chain of authorities.
    OrganizationalUnit {
        /// The MSP.
        msp_id: String,
        /// The unit.
        unit: String,
        /// SHA-256 over the chain of authorities, see [`crate::Msp::certifiers`].
        certifiers: Bytes,
    },
    /// Exactly this certificate.
    Identity {
        /// The MSP.
        msp_id: String,
        /// The certificate; `None` when it does not parse (nobody satisfies it then).
        certificate: Option<Box<Certificate>>,
    },
    /// Someone with a name: every X.509 identity.
    Nominal,
    /// All of these; never empty.
    Combined(Vec<Principal>),
    /// Nobody: the principal cannot be satisfied, for the reason given.
    Nobody(&'static str),
}

/// Why an identity does not satisfy a principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalError {
    /// Another MSP is asked for.
    #[error("the identity is a member of a different MSP (expected {expected}, got {found})")]
    OtherMsp {
        /// The MSP of the principal.
        expected: String,
        /// The MSP of the identity.
        found: String,
    },
    /// The identity does not pass validation.
    #[error("the identity is not valid under this MSP [{msp_id}]: {reason}")]
    Invalid {
        /// The MSP.
        msp_id: String,
        /// The rule it breaks.
        reason: String,
    },
    /// Valid, but without the role, unit or certificate.
    #[error("the identity {subject} is not {wanted}")]
    Lacking {
        /// The certificate's subject.
        subject: String,
        /// What was asked for.
        wanted: String,
    },
    /// Nobody can satisfy the principal.
    #[error("nobody satisfies this principal: {0}")]
    Nobody(&'static str),
}

impl Principal {
    /// Parses a principal. What Fabric finds out only at evaluation (undecodable bytes, unknown
    /// numbers) becomes [`Principal::Nobody`].
    pub fn parse(principal: &MspPrincipal) -> Self {
        Self::parse_nested(principal, 0)
    }

    fn parse_nested(principal: &MspPrincipal, depth: usize) -> Self {
        let bytes = &principal.principal;
        let parsed = match Classification::try_from(principal.principal_classification) {
            Ok(Classification::Role) => MspRole::decode(bytes.clone()).ok().map(role),
            Ok(Classification::OrganizationUnit) => {
                OrganizationUnit::decode(bytes.clone()).ok().map(organizational_unit)
            }
            Ok(Classification::Identity) => SerializedIdentity::decode(bytes.clone()).ok().map(one_identity),
            Ok(Classification::Anonymity) => MspIdentityAnonymity::decode(bytes.clone()).ok().map(anonymity),
            Ok(Classification::Combined) => {
                CombinedPrincipal::decode(bytes.clone()).ok().map(|parts| combined(&parts, depth))
            }
            Err(_) => Some(Self::Nobody("its classification is unknown")),
        };
        parsed.unwrap_or(Self::Nobody("its bytes do not decode"))
    }

    /// The MSP a principal belongs to; `None` for those without one.
    pub fn msp_id(&self) -> Option<&str> {
        match self {
            Self::Member { msp_id }
            | Self::Role { msp_id, .. }
            | Self::OrganizationalUnit { msp_id, .. }
            | Self::Identity { msp_id, .. } => Some(msp_id),
            Self::Combined(parts) => parts.iter().find_map(Self::msp_id),
            Self::Nominal | Self::Nobody(_) => None,
        }
    }

    /// Whether `identity` satisfies this principal.
    pub fn is_satisfied_by(&self, identity: &Identity) -> bool {
        match self {
            Self::Member { msp_id } => belongs(identity, msp_id) && identity.validity.is_ok(),
            Self::Role { msp_id, role: Role::Admin } => belongs(identity, msp_id) && identity.is_admin(),
            Self::Role { msp_id, role } => {
                belongs(identity, msp_id) && identity.validity.is_ok() && identity.roles[role.index()]
            }
            Self::OrganizationalUnit { msp_id, unit, certifiers } => {
                belongs(identity, msp_id)
                    && identity.validity.is_ok()
                    && identity.certificate.organizational_units().contains(unit)
                    && identity.certifiers.as_ref().is_some_and(|own| own[..] == certifiers[..])
            }
            Self::Identity { msp_id, certificate } => {
                belongs(identity, msp_id)
                    && identity.validity.is_ok()
                    && certificate.as_ref().is_some_and(|wanted| is_certificate(identity, wanted))
            }
            Self::Nominal => true,
            Self::Combined(parts) => parts.iter().all(|part| part.is_satisfied_by(identity)),
            Self::Nobody(_) => false,
        }
    }

    /// As [`Principal::is_satisfied_by`], with the reason.
    pub fn check(&self, identity: &Identity) -> Result<(), PrincipalError> {
        if self.is_satisfied_by(identity) {
            return Ok(());
        }
        if let Self::Nobody(reason) = self {
            return Err(PrincipalError::Nobody(reason));
        }
        if let Some(msp_id) = self.msp_id().filter(|msp_id| !belongs(identity, msp_id)) {
            let (expected, found) = (msp_id.to_owned(), identity.msp_id.clone());
            return Err(PrincipalError::OtherMsp { expected, found });
        }
        if let Err(reason) = &identity.validity {
            let (msp_id, reason) = (identity.msp_id.clone(), reason.to_string());
            return Err(PrincipalError::Invalid { msp_id, reason });
        }
        Err(PrincipalError::Lacking {
            subject: identity.certificate.subject_text().to_owned(),
            wanted: self.to_string(),
        })
    }
}

impl std::fmt::Display for Principal {
    /// Roles as in a policy's text (`Org1MSP.peer`), the others in words.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Member { msp_id } => write!(formatter, "{msp_id}.member"),
            Self::Role { msp_id, role } => {
                write!(formatter, "{msp_id}.{}", role.organizational_unit())
            }
            Self::OrganizationalUnit { msp_id, unit, .. } => {
                write!(formatter, "{msp_id} with the organizational unit {unit}")
            }
            Self::Identity { msp_id, certificate } => {
                let subject = certificate.as_ref().map_or("?", |found| found.subject_text());
                write!(formatter, "{msp_id} as exactly {subject}")
            }
            Self::Nominal => formatter.write_str("anyone with a certificate"),
            Self::Combined(parts) => {
                let texts: Vec<String> = parts.iter().map(Self::to_string).collect();
                write!(formatter, "all of [{}]", texts.join(", "))
            }
            Self::Nobody(reason) => write!(formatter, "nobody ({reason})"),
        }
    }
}

fn belongs(identity: &Identity, msp_id: &str) -> bool {
    identity.msp_id == msp_id
}

/// The certificates are compared after the signature's `s` was lowered, as the MSP does on reading.
fn is_certificate(identity: &Identity, wanted: &Certificate) -> bool {
    let own = identity.certificate.der();
    if wanted.der() == own {
        return true;
    }
    let lowered = identity.issuer_key.as_ref().map(|key| wanted.with_low_s(key));
    lowered.is_some_and(|lowered| lowered.is_ok_and(|lowered| lowered.der() == own))
}

fn role(decoded: MspRole) -> Principal {
    let msp_id = decoded.msp_identifier;
    match MspRoleType::try_from(decoded.role) {
        Ok(MspRoleType::Member) => Principal::Member { msp_id },
        Ok(named) => match Role::of(named) {
            Some(role) => Principal::Role { msp_id, role },
            None => Principal::Member { msp_id },
        },
        Err(_) => Principal::Nobody("its role is unknown"),
    }
}

fn organizational_unit(decoded: OrganizationUnit) -> Principal {
    Principal::OrganizationalUnit {
        msp_id: decoded.msp_identifier,
        unit: decoded.organizational_unit_identifier,
        certifiers: decoded.certifiers_identifier,
    }
}

fn one_identity(decoded: SerializedIdentity) -> Principal {
    let certificate = Certificate::from_pem(&decoded.id_bytes).ok().map(Box::new);
    Principal::Identity { msp_id: decoded.mspid, certificate }
}

fn anonymity(decoded: MspIdentityAnonymity) -> Principal {
    match MspIdentityAnonymityType::try_from(decoded.anonymity_type) {
        Ok(MspIdentityAnonymityType::Nominal) => Principal::Nominal,
        Ok(MspIdentityAnonymityType::Anonymous) => Principal::Nobody("X.509 identities are never anonymous"),
        Err(_) => Principal::Nobody("its kind of anonymity is unknown"),
    }
}

fn combined(decoded: &CombinedPrincipal, depth: usize) -> Principal {
    if depth >= COMBINED_DEPTH_MAX {
        return Principal::Nobody("combined principals are nested more than 32 deep");
    }
    if decoded.principals.is_empty() {
        return Principal::Nobody("a combined principal is empty");
    }
    let parts = decoded.principals.iter();
    Principal::Combined(parts.map(|part| Principal::parse_nested(part, depth + 1)).collect())
}
