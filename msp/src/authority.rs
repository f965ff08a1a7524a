//! Development certificate authorities: what cryptogen makes, for tests and local networks.
//!
//! Keys of authorities are P-256. Certificates are valid for ten years from five minutes before they
//! were made; signatures have a low `s`, so that MSPs need not rewrite them. Production networks
//! bring their own authorities.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyUsagePurpose, PublicKeyData, SerialNumber, SignatureAlgorithm, SigningKey,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest, Sha256};

use crate::certificate::{Certificate, CertificateError};
use crate::msp_folder::{self, FolderError};
use crate::node_ous::Role;
use crate::private_key::{KeyError, KeyKind, PrivateKey};
use crate::public_key::PublicKey;

const YEARS_10: Duration = Duration::from_secs(3650 * 24 * 3600);
const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// What an authority is for; it decides its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorityKind {
    /// Identities: `ca.DOMAIN`.
    Identity,
    /// TLS certificates: `tlsca.DOMAIN`.
    Tls,
}

impl AuthorityKind {
    /// The folder of cryptogen's layout, and the first label of the authority's name.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Identity => "ca",
            Self::Tls => "tlsca",
        }
    }
}

/// A root authority with its key.
#[derive(Debug)]
pub struct CertificateAuthority {
    certificate: Certificate,
    key: PrivateKey,
}

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// PKCS#8.
    pub key_pem: String,
}

/// Why an authority could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A key could not be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate could not be made: a name that does not fit, for instance.
    #[error("the certificate for {name} cannot be made: {cause}")]
    Make {
        /// The common name.
        name: String,
        /// Why.
        cause: String,
    },
    /// A certificate does not parse.
    #[error("the certificate for {name} is unusable: {cause}")]
    Certificate {
        /// The common name or the file.
        name: String,
        /// Why.
        cause: CertificateError,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A folder without a certificate or a matching key.
    #[error("{0} holds no authority: it needs a certificate (*-cert.pem) and its private key (*_sk)")]
    NoAuthority(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {path}: {cause}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

impl CertificateAuthority {
    /// A new self-signed root for an organization's domain, such as `org1.example.com`.
    pub fn new(domain: &str, kind: AuthorityKind) -> Result<Self, AuthorityError> {
        let name = format!("{}.{domain}", kind.folder());
        let key = PrivateKey::generate(KeyKind::P256)?;
        let mut params = template(&name, Some(domain), None, validity_begin())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        params.extended_key_usages = both_usages();
        params.key_identifier_method = KeyIdMethod::PreSpecified(subject_key_id(&key));
        let made = params.self_signed(&key).map_err(|error| unmade(&name, error))?;
        let certificate = parse(&name, made.der())?;
        Ok(Self { certificate, key })
    }

    /// Reads an authority that [`CertificateAuthority::write`], cryptogen or fabric-ca wrote. Its
    /// key must be P-256 or Ed25519.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, AuthorityError> {
        let folder = folder.as_ref();
        let files = msp_folder::pem_files(folder)?;
        for text in &files {
            let Ok(certificate) = Certificate::from_pem(text) else { continue };
            let of_certificate = |text| PrivateKey::from_pem(text, certificate.public_key()).ok();
            if let Some(key) = files.iter().find_map(|text| of_certificate(text)) {
                return Ok(Self { certificate, key });
            }
        }
        Err(AuthorityError::NoAuthority(folder.into()))
    }

    /// Writes `NAME-cert.pem` and `priv_sk` into a folder, which is made.
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<(), AuthorityError> {
        let folder = folder.as_ref();
        let failed = |cause| AuthorityError::Write { path: folder.into(), cause };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let certificate = folder.join(format!("{}-cert.pem", self.name()));
        write_file(&certificate, &self.certificate_pem())?;
        write_secret(&folder.join("priv_sk"), &self.key.to_pem())
    }

    /// The common name, such as `ca.org1.example.com`.
    pub fn name(&self) -> &str {
        self.certificate.common_name()
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The authority's own certificate in PEM.
    pub fn certificate_pem(&self) -> String {
        self.certificate.to_pem()
    }

    /// A new key and an identity certificate whose organizational unit is the role.
    pub fn issue_identity(&self, common_name: &str, role: Role, key_kind: KeyKind) -> Result<Issued, AuthorityError> {
        let begin = self.begin();
        self.issue_identity_for(common_name, role, key_kind, begin..begin + YEARS_10)
    }

    /// Like [`CertificateAuthority::issue_identity`], with a validity of its own: a short one, or one
    /// that is over. MSPs ask for a chain that stood when the validity began, so it must not begin
    /// before the authority's.
    pub fn issue_identity_for(
        &self,
        common_name: &str,
        role: Role,
        key_kind: KeyKind,
        validity: Range<SystemTime>,
    ) -> Result<Issued, AuthorityError> {
        let unit = role.organizational_unit();
        let mut params = template(common_name, None, Some(unit), validity.start)?;
        params.not_after = validity.end.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        self.issue(common_name, params, key_kind)
    }

    /// A new P-256 key and a TLS certificate for servers and clients; `sans` are host names and IP
    /// addresses.
    pub fn issue_tls<S: AsRef<str>>(&self, common_name: &str, sans: &[S]) -> Result<Issued, AuthorityError> {
        let mut params = template(common_name, None, None, self.begin())?;
        let names: Vec<String> = sans.iter().map(|san| san.as_ref().to_owned()).collect();
        let with_names = CertificateParams::new(names).map_err(|error| unmade(common_name, error))?;
        params.subject_alt_names = with_names.subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = both_usages();
        self.issue(common_name, params, KeyKind::P256)
    }

    fn issue(&self, name: &str, mut params: CertificateParams, key_kind: KeyKind) -> Result<Issued, AuthorityError> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        let key = PrivateKey::generate(key_kind)?;
        params.key_identifier_method = KeyIdMethod::PreSpecified(subject_key_id(&key));
        let der = self.certificate.der().to_vec().into();
        let issuer = Issuer::from_ca_cert_der(&der, &self.key).map_err(|error| unmade(name, error))?;
        let made = params.signed_by(&key, &issuer).map_err(|error| unmade(name, error))?;
        let certificate = parse(name, made.der())?;
        if certificate.issuer != self.certificate.subject {
            let cause = "the authority's own name has parts that cannot be repeated".to_owned();
            return Err(AuthorityError::Make { name: name.to_owned(), cause });
        }
        Ok(Issued { certificate_pem: certificate.to_pem(), key_pem: key.to_pem() })
    }

    /// Not before the authority's own begin, or the chain would not stand.
    fn begin(&self) -> SystemTime {
        let own = self.certificate.valid_from().unwrap_or(UNIX_EPOCH);
        validity_begin().max(own)
    }
}

/// `rcgen` signs with this, so that `s` is low.
impl SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        PrivateKey::sign(self, message).map_err(|_| rcgen::Error::RingUnspecified)
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.public_key().raw()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        algorithm(self)
    }
}

fn algorithm(key: &PrivateKey) -> &'static SignatureAlgorithm {
    match key.public_key() {
        PublicKey::Ed25519(_) => &rcgen::PKCS_ED25519,
        _ => &rcgen::PKCS_ECDSA_P256_SHA256,
    }
}

/// cryptogen's subject, with a random serial number.
fn template(
    common_name: &str,
    organization: Option<&str>,
    unit: Option<&str>,
    begin: SystemTime,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "US");
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    if let Some(unit) = unit {
        name.push(DnType::OrganizationalUnitName, unit);
    }
    name.push(DnType::LocalityName, "San Francisco");
    name.push(DnType::StateOrProvinceName, "California");
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.serial_number = Some(serial_number()?);
    params.not_before = begin.into();
    params.not_after = (begin + YEARS_10).into();
    Ok(params)
}

/// 127 random bits, so that the number is positive in 16 bytes.
fn serial_number() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::Random)?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Five minutes ago, at a full minute.
fn validity_begin() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let begin = since.saturating_sub(BACKDATED).as_secs() / 60 * 60;
    UNIX_EPOCH + Duration::from_secs(begin)
}

/// SHA-256 of the public key's bytes, as Fabric computes it.
fn subject_key_id(key: &PrivateKey) -> Vec<u8> {
    Sha256::digest(key.public_key().raw()).to_vec()
}

fn both_usages() -> Vec<ExtendedKeyUsagePurpose> {
    vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
}

fn parse(name: &str, der: &[u8]) -> Result<Certificate, AuthorityError> {
    Certificate::from_der(Bytes::copy_from_slice(der))
        .map_err(|cause| AuthorityError::Certificate { name: name.to_owned(), cause })
}

fn unmade(name: &str, error: rcgen::Error) -> AuthorityError {
    AuthorityError::Make { name: name.to_owned(), cause: error.to_string() }
}

pub(crate) fn write_file(path: &Path, text: &str) -> Result<(), AuthorityError> {
    std::fs::write(path, text).map_err(|cause| AuthorityError::Write { path: path.into(), cause })
}

/// A file that only its owner may read.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), AuthorityError> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|cause| AuthorityError::Write { path: path.into(), cause })
}
