//! Which configurations make an MSP.

use bytes::Bytes;
use rcgen::{IsCa, NameConstraints};
use ripstop_msp::{Msp, MspVersion, SetupError};
use ripstop_proto::msp::{FabricCryptoConfig, SigningIdentityInfo};

use crate::pki::{Authority, config, other_keys, setup};

#[test]
fn a_name_and_a_root_are_needed() {
    let root = Authority::root("ca");
    let mut nameless = config(&[&root], &[]);
    nameless.name.clear();
    assert_eq!(setup(&nameless).err(), Some(SetupError::NoName));
    assert!(matches!(setup(&config(&[], &[])), Err(SetupError::NoRoots(_))));
    let mut broken = config(&[&root], &[]);
    broken.root_certs = vec![Bytes::from_static(b"no pem")];
    assert!(matches!(setup(&broken), Err(SetupError::Certificate { list: "root_certs", .. })));
}

#[test]
fn authorities_need_the_ca_flag_and_a_key_identifier() {
    let no_ca = Authority::root_with("ca", |params| params.is_ca = IsCa::ExplicitNoCa);
    let error = setup(&config(&[&no_ca], &[])).unwrap_err();
    assert!(error.to_string().contains("did not have the CA attribute"), "{error}");
    let constrained = Authority::root_with("ca", |params| {
        let permitted_subtrees = vec![rcgen::GeneralSubtree::DnsName("example.com".into())];
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    });
    let error = setup(&config(&[&constrained], &[])).unwrap_err();
    assert!(error.to_string().contains("name constraints"), "{error}");
}

#[test]
fn intermediates_must_chain_to_a_root() {
    let root = Authority::root("ca");
    let stray = Authority::root("other").intermediate("stray");
    let error = setup(&config(&[&root], &[&stray])).unwrap_err();
    assert!(matches!(error, SetupError::Authority { list: "intermediate_certs", .. }), "{error}");
}

#[test]
fn tls_authorities_are_checked_alike_and_handed_out() {
    let root = Authority::root("ca");
    let tls = Authority::root("tlsca");
    let mut good = config(&[&root], &[]);
    good.tls_root_certs = vec![tls.pem()];
    assert_eq!(setup(&good).unwrap().tls_roots_pem(), [tls.pem()]);
    let mut bad = good.clone();
    bad.tls_root_certs = vec![tls.leaf("server", &[]).pem.into()];
    assert!(matches!(setup(&bad), Err(SetupError::Authority { list: "tls_root_certs", .. })));
}

#[test]
fn someone_must_be_able_to_administrate() {
    let root = Authority::root("ca");
    let mut without = config(&[&root], &[]);
    without.fabric_node_ous.as_mut().unwrap().admin_ou_identifier = None;
    assert!(matches!(setup(&without), Err(SetupError::NoAdmins(_))));
    without.admins = vec![root.leaf("admin", &["client"]).pem.into()];
    assert!(setup(&without).is_ok());
    without.admins = vec![root.leaf("admin", &["peer"]).pem.into()];
    assert!(matches!(setup(&without), Err(SetupError::Admin { index: 0, .. })));
}

#[test]
fn listed_admins_must_be_valid_where_no_node_ous_are() {
    let root = Authority::root("ca");
    let mut config = config(&[&root], &[]);
    config.fabric_node_ous = None;
    config.admins = vec![Authority::root("other").leaf("admin", &[]).pem.into()];
    assert!(matches!(setup(&config), Err(SetupError::Admin { index: 0, .. })));
}

#[test]
fn disabled_or_empty_node_ous_tell_no_roles_apart() {
    let root = Authority::root("ca");
    let admin = root.leaf("admin", &["admin"]);
    let mut disabled = config(&[&root], &[]);
    disabled.admins = vec![admin.pem.into()];
    disabled.fabric_node_ous.as_mut().unwrap().enable = false;
    assert!(!setup(&disabled).unwrap().has_node_ous());
    let ous = disabled.fabric_node_ous.as_mut().unwrap();
    *ous = ripstop_proto::msp::FabricNodeOUs { enable: true, ..Default::default() };
    assert!(!setup(&disabled).unwrap().has_node_ous());
}

#[test]
fn units_cannot_be_tied_to_foreign_authorities() {
    let root = Authority::root("ca");
    let mut config = config(&[&root], &[]);
    let ous = config.fabric_node_ous.as_mut().unwrap();
    ous.client_ou_identifier.as_mut().unwrap().certificate = Authority::root("x").pem();
    assert!(matches!(setup(&config), Err(SetupError::Certifiers { .. })));
}

#[test]
fn only_sha256_is_supported() {
    let root = Authority::root("ca");
    let mut config = config(&[&root], &[]);
    config.crypto_config = Some(FabricCryptoConfig {
        signature_hash_family: "SHA3".into(),
        identity_identifier_hash_function: "SHA256".into(),
    });
    assert_eq!(setup(&config).err(), Some(SetupError::Hash("SHA3/SHA256".into())));
}

#[test]
fn a_broken_revocation_list_is_named() {
    let root = Authority::root("ca");
    let mut config = config(&[&root], &[]);
    config.revocation_list = vec![root.revokes(&[1]), Bytes::from_static(b"rubbish")];
    assert!(matches!(setup(&config), Err(SetupError::RevocationList { index: 1, .. })));
}

#[test]
fn the_configuration_comes_back_without_the_signing_identity() {
    let root = Authority::root("ca");
    let mut given = config(&[&root], &[]);
    let plain = given.clone();
    given.signing_identity = Some(SigningIdentityInfo::default());
    let msp = Msp::new(&given, MspVersion::V1_4_3).unwrap();
    assert_eq!(msp.to_config(), plain);
    assert_eq!((msp.id(), msp.version()), ("Org1MSP", MspVersion::V1_4_3));
}

#[test]
fn an_authority_without_key_identifier_is_refused() {
    let mut config = config(&[], &[]);
    config.root_certs = vec![other_keys("no-key-id-ca.pem")];
    let error = setup(&config).unwrap_err();
    assert!(error.to_string().contains("has no subject key identifier"), "{error}");
}

/// No unit counts below an authority that has others below it, not even a listed admin's.
#[test]
fn a_listed_admin_must_not_stand_below_an_inner_authority() {
    let root = Authority::root("ca");
    let middle = root.intermediate("middle");
    let mut config = config(&[&root], &[&middle]);
    config.admins = vec![middle.leaf("admin", &["admin"]).pem.into()];
    assert!(setup(&config).is_ok());
    config.admins = vec![root.leaf("admin", &["admin"]).pem.into()];
    assert!(matches!(setup(&config), Err(SetupError::Admin { index: 0, .. })));
}
