//! Who called: the organization, and what its certificate says.

use std::collections::BTreeMap;

use ripstop_proto::msp::SerializedIdentity;
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

use crate::View;

/// Where Fabric's CA puts attributes. Source: fabric-chaincode-go `pkg/attrmgr`.
const ATTRIBUTES: &str = "1.2.3.4.5.6.7.8.1";

/// A certificate that cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the caller's certificate cannot be read: {0}")]
pub struct CallerError(String);

/// The identity that signed the proposal. The peer has checked signature and certificate.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'view>(&'view SerializedIdentity);

impl View {
    /// Who called. Of a chaincode called by another: who called the first one.
    pub fn caller(&self) -> Caller<'_> {
        Caller(self.creator())
    }
}

impl<'view> Caller<'view> {
    /// The MSP id of the caller's organization.
    pub fn msp_id(&self) -> &'view str {
        &self.0.mspid
    }

    /// The attributes that the organization's CA put into the certificate; empty without.
    ///
    /// # Errors
    /// When certificate or attributes cannot be read.
    pub fn attributes(&self) -> Result<BTreeMap<String, String>, CallerError> {
        #[derive(Deserialize)]
        struct Attributes {
            attrs: BTreeMap<String, String>,
        }
        self.certificate(|certificate| {
            let found = certificate.extensions().iter().find(|one| one.oid.to_id_string() == ATTRIBUTES);
            let Some(found) = found else { return Ok(BTreeMap::new()) };
            let read: Attributes = serde_json::from_slice(found.value).map_err(|cause| {
                CallerError(format!("its attributes are not the JSON that Fabric's CA writes: {cause}"))
            })?;
            Ok(read.attrs)
        })
    }

    /// One attribute, `None` when the certificate has none of this name.
    ///
    /// # Errors
    /// As [`Caller::attributes`].
    pub fn attribute(&self, name: &str) -> Result<Option<String>, CallerError> {
        Ok(self.attributes()?.remove(name))
    }

    /// The common name of the certificate's subject, `None` without one.
    ///
    /// # Errors
    /// When the certificate cannot be read.
    pub fn common_name(&self) -> Result<Option<String>, CallerError> {
        self.certificate(|certificate| Ok(certificate.subject().iter_common_name().find_map(text)))
    }

    /// The organizational units of the certificate's subject, in their order.
    ///
    /// # Errors
    /// When the certificate cannot be read.
    pub fn organizational_units(&self) -> Result<Vec<String>, CallerError> {
        self.certificate(|certificate| Ok(certificate.subject().iter_organizational_unit().filter_map(text).collect()))
    }

    fn certificate<T>(
        &self,
        read: impl FnOnce(&X509Certificate<'_>) -> Result<T, CallerError>,
    ) -> Result<T, CallerError> {
        let failed = |cause: String| CallerError(cause);
        let (_, pem) = x509_parser::pem::parse_x509_pem(&self.0.id_bytes).map_err(|cause| failed(cause.to_string()))?;
        let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|cause| failed(cause.to_string()))?;
        read(&certificate)
    }
}

fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    attribute.as_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair};

    use super::*;

    fn identity(attributes: Option<&[u8]>) -> SerializedIdentity {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "user1");
        params.distinguished_name.push(DnType::OrganizationalUnitName, "client");
        if let Some(attributes) = attributes {
            let oid = [1, 2, 3, 4, 5, 6, 7, 8, 1];
            params.custom_extensions.push(CustomExtension::from_oid_content(&oid, attributes.to_vec()));
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        SerializedIdentity { mspid: "Org1MSP".to_owned(), id_bytes: certificate.pem().into() }
    }

    #[test]
    fn a_certificate_tells_attributes_name_and_units() {
        let identity = identity(Some(br#"{"attrs":{"role":"auditor","hf.Type":"client"}}"#));
        let caller = Caller(&identity);
        assert_eq!(caller.attribute("role").unwrap().as_deref(), Some("auditor"));
        assert_eq!(caller.attribute("other").unwrap(), None);
        assert_eq!(caller.common_name().unwrap().as_deref(), Some("user1"));
        assert_eq!(caller.organizational_units().unwrap(), ["client"]);
        assert_eq!(caller.msp_id(), "Org1MSP");
    }

    #[test]
    fn a_certificate_without_attributes_has_none_and_garbage_is_an_error() {
        assert!(Caller(&identity(None)).attributes().unwrap().is_empty());
        assert!(Caller(&identity(Some(b"[]"))).attributes().is_err());
        let garbage = SerializedIdentity { mspid: "Org1MSP".to_owned(), id_bytes: "user1".into() };
        assert!(Caller(&garbage).attributes().is_err());
    }
}
