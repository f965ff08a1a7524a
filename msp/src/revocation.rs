//! Certificate revocation lists, as Fabric reads them: a listed serial number is revoked at once,
//! whatever date stands beside it, if the issuer of the certificate also signed the list.

use bytes::Bytes;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::certificate::Certificate;
use crate::public_key::SignatureAlgorithm;
use crate::{der, pem};

/// One list.
#[derive(Debug, Clone)]
pub(crate) struct RevocationList {
    signed: Bytes,
    signature: Bytes,
    algorithm: SignatureAlgorithm,
    /// The AuthorityKeyIdentifier; a list without one spoils every identity in Fabric.
    authority_key_id: Option<Vec<u8>>,
    serials: Vec<Vec<u8>>,
}

impl RevocationList {
    /// Reads PEM or DER.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let unpacked = pem::first_block(bytes).map(|block| block.contents);
        let der = unpacked.as_deref().unwrap_or(bytes);
        let (rest, list) = CertificateRevocationList::from_der(der)
            .map_err(|error| format!("the revocation list does not parse: {error}"))?;
        if !rest.is_empty() {
            return Err(format!("{} bytes follow the revocation list", rest.len()));
        }
        Ok(Self {
            signed: Bytes::copy_from_slice(list.tbs_cert_list.as_ref()),
            signature: Bytes::copy_from_slice(&list.signature_value.data),
            algorithm: SignatureAlgorithm::of(&list.signature_algorithm),
            authority_key_id: authority_key_id(&list),
            serials: list
                .iter_revoked_certificates()
                .map(|revoked| der::strip_zeros(revoked.raw_serial()).to_vec())
                .collect(),
        })
    }

    /// Whether a certificate with this serial number, issued by `issuer`, is revoked here.
    pub(crate) fn revokes(&self, serial: &[u8], issuer: &Certificate) -> bool {
        self.authority_key_id.as_deref() == issuer.subject_key_id()
            && self.serials.iter().any(|revoked| revoked == serial)
            && issuer.public_key().verify_issued(self.algorithm, &self.signed, &self.signature).is_ok()
    }

    pub(crate) fn names_its_authority(&self) -> bool {
        self.authority_key_id.is_some()
    }
}

fn authority_key_id(list: &CertificateRevocationList<'_>) -> Option<Vec<u8>> {
    list.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            Some(id.key_identifier.as_ref().map_or_else(Vec::new, |key| key.0.to_vec()))
        }
        _ => None,
    })
}
