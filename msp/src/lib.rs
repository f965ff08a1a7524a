//! Who may act: certificates, identities, signatures, policies; test and development authorities.
//!
//! An [`Msp`] holds one organization's certificate authorities and turns the bytes of a
//! `SerializedIdentity` into an [`Identity`]; an [`MspSet`] holds those of a channel and remembers
//! identities it has already checked. A [`signature_policy::SignaturePolicy`] decides whether a set
//! of signatures is enough. A [`SigningIdentity`] signs. [`authority`] and [`material`] make the
//! certificates of a development network in cryptogen's folders.
//!
//! This room never knows a ledger, a channel or a transport. Read `msp.rs` next: it is the list of
//! Fabric's rules in the order in which they are checked.

mod msp;
mod setup;

mod certificate;
mod chain;
mod node_ous;
mod revocation;

mod identity;
mod msp_set;
mod principal;

pub mod policy_text;
pub mod signature_policy;

mod der;
mod ecdsa;
mod pem;
mod private_key;
mod public_key;
mod signing_identity;

mod config_yaml;
mod msp_folder;

pub mod authority;
pub mod material;

pub use certificate::{Certificate, CertificateError};
pub use chain::ChainError;
pub use identity::{Identity, IdentityError, InvalidIdentity};
pub use msp::{Msp, MspVersion, SetupError};
pub use msp_folder::FolderError;
pub use msp_set::MspSet;
pub use node_ous::Role;
pub use principal::{Principal, PrincipalError};
pub use private_key::{KeyError, KeyKind, PrivateKey};
pub use public_key::{PublicKey, SignatureError};
pub use signature_policy::SignedBytes;
pub use signing_identity::{SigningError, SigningIdentity};
