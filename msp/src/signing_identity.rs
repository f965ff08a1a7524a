//! Someone who signs: a certificate, its private key, and the bytes by which others know them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use prost::Message as _;
use ripstop_proto::msp::SerializedIdentity;

use crate::certificate::{Certificate, CertificateError};
use crate::identity::IdentityError;
use crate::msp::Msp;
use crate::msp_folder::{self, FolderError};
use crate::private_key::{KeyError, PrivateKey};

/// A certificate with its private key.
#[derive(Debug)]
pub struct SigningIdentity {
    msp_id: String,
    certificate: Certificate,
    certificate_pem: String,
    serialized: Bytes,
    key: PrivateKey,
}

/// Why there is no signing identity, or no signature.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The certificate does not parse.
    #[error("the signing certificate of {msp_id} is unusable: {cause}")]
    Certificate {
        /// The MSP.
        msp_id: String,
        /// What is wrong.
        cause: CertificateError,
    },
    /// The key does not parse or does not belong to the certificate; or signing failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file or folder cannot be read, or the MSP around it is not usable.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The MSP in the folder does not know the certificate.
    #[error("the certificate in {folder}/signcerts does not belong to the MSP beside it: {cause}")]
    NotOfThisMsp {
        /// The MSP folder.
        folder: PathBuf,
        /// Why.
        cause: IdentityError,
    },
    /// No key for the certificate.
    #[error("no file in {0} holds the private key of the certificate in signcerts")]
    NoKey(PathBuf),
    /// The certificate has ended.
    #[error(
        "signing identity expired: the certificate in {folder}/signcerts was valid until {ended} (seconds since 1970); issue a new one"
    )]
    Expired {
        /// The MSP folder.
        folder: PathBuf,
        /// NotAfter.
        ended: i64,
    },
}

impl SigningIdentity {
    /// From PEM texts. The certificate's text is kept as it is: applications of the official SDKs
    /// send it unchanged, and transaction ids depend on it.
    pub fn from_pem(
        msp_id: &str,
        certificate_pem: impl AsRef<[u8]>,
        key_pem: impl AsRef<[u8]>,
    ) -> Result<Self, SigningError> {
        let unusable = |cause| SigningError::Certificate { msp_id: msp_id.to_owned(), cause };
        let pem = std::str::from_utf8(certificate_pem.as_ref()).map_err(|_| unusable(CertificateError::Pem))?;
        let certificate = Certificate::from_pem(pem.as_bytes()).map_err(unusable)?;
        let key = PrivateKey::from_pem(key_pem.as_ref(), certificate.public_key())?;
        Ok(Self::new(msp_id, certificate, pem.to_owned(), key))
    }

    /// From an MSP folder in Fabric's layout: the certificate of `signcerts/`, and from `keystore/`
    /// whichever key belongs to it. As in Fabric, an expired certificate is refused, and the
    /// identity is the certificate printed anew with a low `s` in its signature.
    pub fn from_msp_folder(msp_id: &str, folder: impl AsRef<Path>) -> Result<Self, SigningError> {
        let folder = folder.as_ref();
        let pem = msp_folder::signing_certificate(folder)?;
        let not_ours = |cause| SigningError::NotOfThisMsp { folder: folder.into(), cause };
        let identity = Msp::from_folder(msp_id, folder)?.identity_from_pem(&pem).map_err(not_ours)?;
        if identity.is_expired(SystemTime::now()) {
            let ended = identity.certificate().not_after;
            return Err(SigningError::Expired { folder: folder.into(), ended });
        }
        let certificate = identity.certificate().clone();
        let key = msp_folder::keys(folder)?
            .iter()
            .find_map(|text| PrivateKey::from_pem(text, certificate.public_key()).ok())
            .ok_or_else(|| SigningError::NoKey(folder.join("keystore")))?;
        let pem = certificate.to_pem();
        Ok(Self::new(msp_id, certificate, pem, key))
    }

    fn new(msp_id: &str, certificate: Certificate, pem: String, key: PrivateKey) -> Self {
        let identity =
            SerializedIdentity { mspid: msp_id.to_owned(), id_bytes: Bytes::copy_from_slice(pem.as_bytes()) };
        Self {
            msp_id: msp_id.to_owned(),
            certificate,
            certificate_pem: pem,
            serialized: identity.encode_to_vec().into(),
            key,
        }
    }

    /// The MSP it belongs to.
    pub fn msp_id(&self) -> &str {
        &self.msp_id
    }

    /// The certificate's PEM, as it stands in the serialized identity.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// `SerializedIdentity` bytes: what stands as creator, endorser or signer.
    pub fn serialized(&self) -> &Bytes {
        &self.serialized
    }

    /// When the certificate ends; `None` counts as never.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.certificate.expires_at()
    }

    /// Signs a message: P-256 over its SHA-256, in DER with low `s`; Ed25519 over the message
    /// itself.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        Ok(self.key.sign(message)?)
    }
}
