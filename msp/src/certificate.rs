//! An X.509 certificate, owned: what Fabric's rules ask of it, read once.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate, X509Extension, X509Name};

use crate::public_key::{PublicKey, SignatureAlgorithm, SignatureError};
use crate::{der, ecdsa, pem};

/// The context tag of the version, which is left out in version 1.
const VERSION_TAG: u8 = 0xa0;

/// A parsed certificate together with its DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Bytes,
    tbs: Range<usize>,
    signature: Bytes,
    pub(crate) signature_algorithm: SignatureAlgorithm,
    pub(crate) subject: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    subject_text: String,
    common_name: String,
    organizational_units: Vec<String>,
    serial: Vec<u8>,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    public_key: PublicKey,
    pub(crate) is_v3: bool,
    pub(crate) extensions: Extensions,
}

/// The extensions that take part in a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    /// `None`: no basic constraints at all.
    pub(crate) is_ca: Option<bool>,
    pub(crate) path_length_max: Option<u32>,
    /// `None`: no key usage extension.
    pub(crate) may_sign_certificates: Option<bool>,
    /// Extended key usages are listed, and neither "any" nor "server" is among them.
    pub(crate) excludes_servers: bool,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) has_name_constraints: bool,
    pub(crate) subject_alternative_name: Vec<u8>,
    /// The OID of a critical extension that nobody here understands.
    pub(crate) unknown_critical: Option<String>,
}

/// Why bytes are no usable certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// No PEM block in the text.
    #[error("no PEM block found; expected -----BEGIN CERTIFICATE-----")]
    Pem,
    /// Not X.509.
    #[error("the certificate does not parse as X.509: {0}")]
    Parse(String),
    /// A key of a kind that is not supported.
    #[error(
        "the certificate's public key is of an unsupported kind; supported are ECDSA on P-256 and P-384, Ed25519, and RSA for authorities"
    )]
    Key,
    /// An ECDSA-signed certificate whose signature is not DER, or whose issuer has no ECDSA key.
    #[error("the certificate is marked as signed with ECDSA, but its signature is not one")]
    Signature,
}

impl Certificate {
    /// Reads the first PEM block of `text`, whatever its label, as Fabric does.
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        let block = pem::first_block(text).ok_or(CertificateError::Pem)?;
        Self::from_der(block.contents.into())
    }

    /// Reads DER without trailing bytes.
    pub fn from_der(der: Bytes) -> Result<Self, CertificateError> {
        let parse = |cause: String| CertificateError::Parse(cause);
        let (rest, parsed) = X509Certificate::from_der(&der).map_err(|error| parse(error.to_string()))?;
        if !rest.is_empty() {
            return Err(parse(format!("{} bytes follow the certificate", rest.len())));
        }
        check_frame(&der).ok_or_else(|| parse("it is not DER, or names two different signature algorithms".into()))?;
        let public_key = PublicKey::from_spki(parsed.public_key()).ok_or(CertificateError::Key)?;
        let tbs = parsed.tbs_certificate.as_ref();
        let tbs_start = tbs.as_ptr() as usize - der.as_ptr() as usize;
        let (common_name, organizational_units) = names(parsed.subject());
        Ok(Self {
            tbs: tbs_start..tbs_start + tbs.len(),
            signature: Bytes::copy_from_slice(&parsed.signature_value.data),
            signature_algorithm: SignatureAlgorithm::of(&parsed.signature_algorithm),
            subject: parsed.subject().as_raw().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            subject_text: parsed.subject().to_string(),
            common_name,
            organizational_units,
            serial: der::strip_zeros(parsed.raw_serial()).to_vec(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            public_key,
            is_v3: parsed.version().0 == 2,
            extensions: extensions(parsed.extensions())?,
            der: der.clone(),
        })
    }

    /// The bytes that were parsed.
    pub fn der(&self) -> &Bytes {
        &self.der
    }

    /// The certificate as Fabric's own tools print it.
    pub fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    /// The subject's public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The subject's common name; empty when there is none.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// The subject's organizational units in order.
    pub fn organizational_units(&self) -> &[String] {
        &self.organizational_units
    }

    /// The subject in readable form, for messages.
    pub fn subject_text(&self) -> &str {
        &self.subject_text
    }

    /// The serial number, big-endian without leading zeros.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The SubjectKeyIdentifier, which every authority must have.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.extensions.subject_key_id.as_deref()
    }

    /// Whether the basic constraints say CA.
    pub fn is_ca(&self) -> bool {
        self.extensions.is_ca == Some(true)
    }

    /// The end of validity; `None` when the platform cannot express it (it never expires then).
    pub fn expires_at(&self) -> Option<SystemTime> {
        system_time(self.not_after)
    }

    /// The begin of validity.
    pub fn valid_from(&self) -> Option<SystemTime> {
        system_time(self.not_before)
    }

    /// Checks this certificate's signature with its issuer's key.
    pub(crate) fn verify_signed_by(&self, issuer: &PublicKey) -> Result<(), SignatureError> {
        let signed = &self.der[self.tbs.clone()];
        issuer.verify_issued(self.signature_algorithm, signed, &self.signature)
    }

    /// The same certificate with a low `s` in its signature. Only ECDSA-signed certificates change,
    /// and only when `s` is high. `issuer` must be the key that signed.
    pub(crate) fn with_low_s(&self, issuer: &PublicKey) -> Result<Self, CertificateError> {
        if !self.signature_algorithm.is_ecdsa() {
            return Ok(self.clone());
        }
        let order = issuer.order().ok_or(CertificateError::Signature)?;
        let signature = ecdsa::Signature::from_der(&self.signature).ok_or(CertificateError::Signature)?;
        let lowered = ecdsa::low_s_der(signature.r, signature.s, order);
        if lowered == self.signature {
            return Ok(self.clone());
        }
        Self::from_der(self.with_signature(&lowered)?.into())
    }

    fn with_signature(&self, signature: &[u8]) -> Result<Vec<u8>, CertificateError> {
        let broken = || CertificateError::Parse("the outer sequence is damaged".into());
        let mut outer = der::Reader::new(&self.der);
        let mut parts = der::Reader::new(outer.read(der::SEQUENCE).ok_or_else(broken)?);
        let mut contents = parts.read_raw().ok_or_else(broken)?.to_vec();
        contents.extend_from_slice(parts.read_raw().ok_or_else(broken)?);
        let bits = [&[0][..], signature].concat();
        contents.extend_from_slice(&der::element(der::BIT_STRING, &bits));
        Ok(der::element(der::SEQUENCE, &contents))
    }
}

/// The parts that no signature covers must have one encoding only, or one certificate could pose as
/// several identities: the outer elements are strict DER, the algorithm is the one inside the signed
/// part, and the signature is a whole number of bytes. `x509-parser` is more lenient.
fn check_frame(bytes: &[u8]) -> Option<()> {
    let mut outer = der::Reader::new(bytes);
    let mut parts = der::Reader::new(outer.read(der::SEQUENCE)?);
    let mut signed = der::Reader::new(parts.read(der::SEQUENCE)?);
    let algorithm = parts.read_raw()?;
    let signature = parts.read(der::BIT_STRING)?;
    let version = signed.read_raw()?;
    if version.first() == Some(&VERSION_TAG) {
        signed.read(der::INTEGER)?;
    }
    let framed = signed.read_raw()? == algorithm && signature.first() == Some(&0);
    (framed && parts.is_empty() && outer.is_empty()).then_some(())
}

fn system_time(seconds: i64) -> Option<SystemTime> {
    let magnitude = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH.checked_sub(magnitude) } else { UNIX_EPOCH.checked_add(magnitude) }
}

fn names(subject: &X509Name<'_>) -> (String, Vec<String>) {
    let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
    // The last common name wins, as in Go's pkix.Name.
    let common_name = subject.iter_common_name().last().map(|name| text(name.as_slice()));
    let units = subject.iter_organizational_unit().map(|unit| text(unit.as_slice())).collect();
    (common_name.unwrap_or_default(), units)
}

fn extensions(list: &[X509Extension<'_>]) -> Result<Extensions, CertificateError> {
    let mut out = Extensions::default();
    for (index, extension) in list.iter().enumerate() {
        if list[..index].iter().any(|earlier| earlier.oid == extension.oid) {
            let text = format!("the extension {} appears twice", extension.oid);
            return Err(CertificateError::Parse(text));
        }
        let understood = read_extension(&mut out, extension)?;
        if extension.critical && !understood {
            out.unknown_critical = Some(extension.oid.to_id_string());
        }
    }
    Ok(out)
}

/// Whether the extension is one that Go's verifier understands.
fn read_extension(out: &mut Extensions, extension: &X509Extension<'_>) -> Result<bool, CertificateError> {
    use ParsedExtension as Kind;
    match extension.parsed_extension() {
        Kind::BasicConstraints(constraints) => {
            out.is_ca = Some(constraints.ca);
            out.path_length_max = constraints.path_len_constraint;
        }
        Kind::KeyUsage(usage) => {
            out.may_sign_certificates = Some(usage.flags == 0 || usage.key_cert_sign());
        }
        Kind::ExtendedKeyUsage(usage) => out.excludes_servers = !usage.any && !usage.server_auth,
        Kind::SubjectKeyIdentifier(id) => out.subject_key_id = Some(id.0.to_vec()),
        Kind::NameConstraints(_) => out.has_name_constraints = true,
        Kind::SubjectAlternativeName(_) => {
            out.subject_alternative_name = extension.value.to_vec();
        }
        Kind::AuthorityKeyIdentifier(_)
        | Kind::CertificatePolicies(_)
        | Kind::PolicyMappings(_)
        | Kind::CRLDistributionPoints(_)
        | Kind::AuthorityInfoAccess(_) => {}
        Kind::ParseError { error } => {
            let text = format!("the extension {} is malformed: {error}", extension.oid);
            return Err(CertificateError::Parse(text));
        }
        _ => return Ok(false),
    }
    Ok(true)
}
