//! The TLS side of a listener: what it shows, and whom it lets in.
//!
//! New connections use the state of the moment; replacing the certificate or the client
//! roots does not disturb the ones that are open.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::settings::TlsSettings;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the TLS file {path}: {cause}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        cause: std::io::Error,
    },
    /// Text that should be PEM is not, or holds nothing of the kind.
    #[error("no usable {what}: {cause}; give it as PEM")]
    Pem {
        /// Certificate, key or client root.
        what: &'static str,
        /// What the parser says.
        cause: String,
    },
    /// Certificate and key do not go together, or the key is of an unsupported kind.
    #[error("the TLS certificate and key cannot be used: {0}")]
    Identity(rustls::Error),
    /// The client roots cannot be used.
    #[error("the TLS client roots cannot be used: {0}")]
    ClientRoots(String),
    /// Client certificates are demanded, but none could ever be accepted.
    #[error("client-auth-required is set but client-roots is empty: name the certificate authorities of the clients")]
    NoClientRoots,
}

/// Certificate, key and client roots of a listener.
#[derive(Debug)]
pub struct ServerTls {
    parts: Mutex<Parts>,
    config: ArcSwap<ServerConfig>,
    client_auth_required: bool,
}

#[derive(Debug)]
struct Parts {
    certificate_pem: Vec<u8>,
    key_pem: Vec<u8>,
    client_roots_pem: Vec<Vec<u8>>,
}

impl ServerTls {
    /// Reads the files that `settings` name.
    ///
    /// # Errors
    /// Names the file, or what is wrong with its content.
    pub fn load(settings: &TlsSettings) -> Result<Arc<Self>, TlsError> {
        let roots = settings.client_roots.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
        Self::from_pem(read(&settings.certificate)?, read(&settings.key)?, roots, settings.client_auth_required)
    }

    /// From PEM texts; each client root may hold several certificates. With no roots and
    /// `client_auth_required` false, clients are not asked for a certificate; with roots,
    /// they may show one.
    ///
    /// # Errors
    /// Says which part cannot be used.
    pub fn from_pem(
        certificate_pem: Vec<u8>,
        key_pem: Vec<u8>,
        client_roots_pem: Vec<Vec<u8>>,
        client_auth_required: bool,
    ) -> Result<Arc<Self>, TlsError> {
        let parts = Parts { certificate_pem, key_pem, client_roots_pem };
        let config = ArcSwap::from(parts.config(client_auth_required)?);
        Ok(Arc::new(Self { parts: Mutex::new(parts), config, client_auth_required }))
    }

    /// Shows another certificate from the next connection on.
    ///
    /// # Errors
    /// When the new pair cannot be used; the old one stays.
    pub fn replace_certificate(&self, certificate_pem: Vec<u8>, key_pem: Vec<u8>) -> Result<(), TlsError> {
        self.replace(|parts| Parts { certificate_pem, key_pem, client_roots_pem: parts.client_roots_pem.clone() })
    }

    /// Accepts the clients of other authorities from the next connection on.
    ///
    /// # Errors
    /// When the new roots cannot be used; the old ones stay.
    pub fn replace_client_roots(&self, client_roots_pem: Vec<Vec<u8>>) -> Result<(), TlsError> {
        self.replace(|parts| Parts {
            certificate_pem: parts.certificate_pem.clone(),
            key_pem: parts.key_pem.clone(),
            client_roots_pem,
        })
    }

    /// Whether clients without a certificate are refused; Deliver checks the certificate's
    /// hash in requests only then.
    pub fn client_auth_required(&self) -> bool {
        self.client_auth_required
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    fn replace(&self, change: impl FnOnce(&Parts) -> Parts) -> Result<(), TlsError> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let next = change(&parts);
        self.config.store(next.config(self.client_auth_required)?);
        *parts = next;
        Ok(())
    }
}

impl Parts {
    fn config(&self, client_auth_required: bool) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificates = certificates("TLS certificate", &self.certificate_pem)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key_pem)
            .map_err(|error| TlsError::Pem { what: "TLS key", cause: error.to_string() })?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Identity)?;
        let builder = match self.client_verifier(&provider, client_auth_required)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(certificates, key).map_err(TlsError::Identity)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn client_verifier(
        &self,
        provider: &Arc<CryptoProvider>,
        required: bool,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        if self.client_roots_pem.is_empty() {
            return if required { Err(TlsError::NoClientRoots) } else { Ok(None) };
        }
        let mut roots = RootCertStore::empty();
        for pem in &self.client_roots_pem {
            for certificate in certificates("TLS client root", pem)? {
                roots.add(certificate).map_err(|error| TlsError::ClientRoots(error.to_string()))?;
            }
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let builder = if required { builder } else { builder.allow_unauthenticated() };
        builder.build().map(Some).map_err(|error| TlsError::ClientRoots(error.to_string()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|cause| TlsError::Unreadable { path: path.to_owned(), cause })
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Pem { what, cause: error.to_string() })?;
    if certificates.is_empty() {
        return Err(TlsError::Pem { what, cause: "no certificate in it".to_owned() });
    }
    Ok(certificates)
}
