//! Certificates of every shape, made on the spot.

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use ripstop_msp::{Msp, MspVersion, SetupError, SigningIdentity};
use ripstop_proto::msp::{FabricMspConfig, FabricNodeOUs, FabricOuIdentifier};

pub(crate) const ORG: &str = "Org1MSP";

pub(crate) struct Authority {
    pub(crate) key: KeyPair,
    pub(crate) certificate: rcgen::Certificate,
}

pub(crate) struct Leaf {
    pub(crate) pem: String,
    pub(crate) key: KeyPair,
}

/// A change of the parameters before the certificate is made.
pub(crate) type Change = fn(&mut CertificateParams);

pub(crate) fn unchanged(_: &mut CertificateParams) {}

impl Authority {
    pub(crate) fn root(name: &str) -> Self {
        Self::root_with(name, unchanged)
    }

    pub(crate) fn root_with(name: &str, change: Change) -> Self {
        let mut params = authority_params(name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { key, certificate }
    }

    pub(crate) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, unchanged)
    }

    pub(crate) fn intermediate_with(&self, name: &str, change: Change) -> Self {
        let mut params = authority_params(name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer()).unwrap();
        Self { key, certificate }
    }

    /// The same name and key, certified by someone else.
    pub(crate) fn cross_signed_by(&self, other: &Self) -> Self {
        let own = ripstop_msp::Certificate::from_pem(&self.pem()).unwrap();
        let params = authority_params(own.common_name());
        let key = KeyPair::from_pem(&self.key.serialize_pem()).unwrap();
        let certificate = params.signed_by(&key, &other.issuer()).unwrap();
        Self { key, certificate }
    }

    pub(crate) fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_ca_cert_der(self.certificate.der(), &self.key).unwrap()
    }

    pub(crate) fn leaf(&self, name: &str, units: &[&str]) -> Leaf {
        self.leaf_with(name, units, unchanged)
    }

    pub(crate) fn leaf_with(&self, name: &str, units: &[&str], change: Change) -> Leaf {
        self.leaf_of(name, units, KeyPair::generate().unwrap(), change)
    }

    pub(crate) fn leaf_of(&self, name: &str, units: &[&str], key: KeyPair, change: Change) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(name, units);
        params.not_before = date_time_ymd(2024, 6, 1);
        params.not_after = date_time_ymd(2034, 1, 1);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let pem = params.signed_by(&key, &self.issuer()).unwrap().pem();
        Leaf { pem, key }
    }

    pub(crate) fn pem(&self) -> Bytes {
        self.certificate.pem().into()
    }

    /// A revocation list of this authority.
    pub(crate) fn revokes(&self, serials: &[u64]) -> Bytes {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2040, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2025, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer()).unwrap().pem().unwrap().into()
    }
}

impl Leaf {
    /// `SerializedIdentity` bytes for an MSP.
    pub(crate) fn serialized(&self, msp_id: &str) -> Bytes {
        serialized(msp_id, self.pem.as_bytes())
    }

    pub(crate) fn signer(&self, msp_id: &str) -> SigningIdentity {
        SigningIdentity::from_pem(msp_id, &self.pem, self.key.serialize_pem()).unwrap()
    }
}

pub(crate) fn serialized(msp_id: &str, pem: &[u8]) -> Bytes {
    let identity =
        ripstop_proto::msp::SerializedIdentity { mspid: msp_id.to_owned(), id_bytes: Bytes::copy_from_slice(pem) };
    prost::Message::encode_to_vec(&identity).into()
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(name, &[]);
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2044, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// At most two units: `rcgen` keeps one value for a type, so the second one goes by number.
fn subject(name: &str, units: &[&str]) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    let types = [DnType::OrganizationalUnitName, DnType::CustomDnType(vec![2, 5, 4, 11])];
    assert!(units.len() <= types.len());
    for (unit, kind) in units.iter().zip(types) {
        subject.push(kind, *unit);
    }
    subject
}

/// NodeOUs as cryptogen sets them, tied to no authority.
pub(crate) fn node_ous() -> FabricNodeOUs {
    let unit = |name: &str| {
        Some(FabricOuIdentifier { certificate: Bytes::new(), organizational_unit_identifier: name.to_owned() })
    };
    FabricNodeOUs {
        enable: true,
        client_ou_identifier: unit("client"),
        peer_ou_identifier: unit("peer"),
        admin_ou_identifier: unit("admin"),
        orderer_ou_identifier: unit("orderer"),
    }
}

pub(crate) fn config(roots: &[&Authority], intermediates: &[&Authority]) -> FabricMspConfig {
    FabricMspConfig {
        name: ORG.to_owned(),
        root_certs: roots.iter().map(|root| root.pem()).collect(),
        intermediate_certs: intermediates.iter().map(|one| one.pem()).collect(),
        fabric_node_ous: Some(node_ous()),
        ..FabricMspConfig::default()
    }
}

pub(crate) fn setup(config: &FabricMspConfig) -> Result<Msp, SetupError> {
    Msp::new(config, MspVersion::V3_0)
}

/// An MSP with one root, and NodeOUs.
pub(crate) fn simple() -> (Authority, Msp) {
    let root = Authority::root("ca");
    let msp = setup(&config(&[&root], &[])).unwrap();
    (root, msp)
}

/// A file of testdata/other-keys.
pub(crate) fn other_keys(name: &str) -> Bytes {
    let path = format!("{}/testdata/other-keys/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap().into()
}
