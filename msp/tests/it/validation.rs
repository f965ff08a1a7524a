//! Who is a valid identity.

use rcgen::{
    BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SerialNumber,
    date_time_ymd,
};
use ripstop_msp::{Certificate, CertificateError, ChainError, IdentityError, InvalidIdentity, Msp, MspVersion, Role};

use crate::pki::{Authority, Leaf, ORG, config, serialized, setup, simple, unchanged};

/// Reading and validating in one.
fn verdict(msp: &Msp, leaf: &Leaf) -> Result<(), IdentityError> {
    let identity = msp.identity(&leaf.serialized(ORG))?;
    msp.validate(&identity)
}

fn broken_rule(msp: &Msp, leaf: &Leaf) -> InvalidIdentity {
    match verdict(msp, leaf) {
        Err(IdentityError::Invalid { cause, .. }) => cause,
        other => panic!("expected an invalid identity, got {other:?}"),
    }
}

fn chain_error(msp: &Msp, leaf: &Leaf) -> ChainError {
    match verdict(msp, leaf) {
        Err(IdentityError::Chain { cause, .. }) => cause,
        other => panic!("expected no chain, got {other:?}"),
    }
}

#[test]
fn an_issued_identity_has_its_role_and_its_end() {
    let (root, msp) = simple();
    for role in Role::ALL {
        let leaf = root.leaf("someone", &[role.organizational_unit()]);
        let identity = msp.identity(&leaf.serialized(ORG)).unwrap();
        assert_eq!(msp.validate(&identity), Ok(()));
        assert_eq!(identity.role(), Some(role));
        assert_eq!(identity.is_admin(), role == Role::Admin);
        assert_eq!(identity.msp_id(), ORG);
        assert_eq!(identity.certificate().common_name(), "someone");
        let end = std::time::SystemTime::from(date_time_ymd(2034, 1, 1));
        assert_eq!(identity.expires_at(), Some(end));
        assert!(!identity.is_expired(end));
        assert!(identity.is_expired(end + std::time::Duration::from_secs(1)));
    }
}

#[test]
fn an_expired_certificate_is_still_valid() {
    let (root, msp) = simple();
    let leaf = root.leaf_with("old", &["client"], |params| {
        params.not_after = date_time_ymd(2024, 6, 2);
    });
    assert_eq!(verdict(&msp, &leaf), Ok(()));
}

#[test]
fn a_certificate_that_ends_before_it_begins_is_not_valid() {
    let (root, msp) = simple();
    let leaf = root.leaf_with("never", &["client"], |params| {
        params.not_after = date_time_ymd(2024, 5, 1);
    });
    assert_eq!(chain_error(&msp, &leaf), ChainError::NeverValid);
}

#[test]
fn the_issuer_must_be_valid_when_the_certificate_begins() {
    let (root, msp) = simple();
    for begin in [date_time_ymd(2023, 12, 31), date_time_ymd(2044, 1, 1)] {
        let key = KeyPair::generate().unwrap();
        let leaf = if begin.year() == 2023 {
            root.leaf_of("early", &["client"], key, |p| p.not_before = date_time_ymd(2023, 12, 31))
        } else {
            root.leaf_of("late", &["client"], key, |p| {
                p.not_before = date_time_ymd(2044, 1, 1);
                p.not_after = date_time_ymd(2045, 1, 1);
            })
        };
        assert!(matches!(chain_error(&msp, &leaf), ChainError::Unknown { .. }));
    }
}

#[test]
fn a_stranger_of_the_same_name_is_refused() {
    let (_, msp) = simple();
    let leaf = Authority::root("ca").leaf("mallory", &["admin"]);
    assert!(matches!(chain_error(&msp, &leaf), ChainError::Unknown { .. }));
}

#[test]
fn authorities_cannot_be_identities() {
    let root = Authority::root("ca");
    let below = root.intermediate("ica");
    let msp = setup(&config(&[&root], &[])).unwrap();
    for authority in [&root, &below, &Authority::root("stranger")] {
        let identity = msp.identity(&serialized(ORG, &authority.pem())).unwrap();
        assert_eq!(identity.validity(), Err(&InvalidIdentity::Authority));
    }
}

#[test]
fn only_leaves_of_the_tree_of_authorities_issue_identities() {
    let root = Authority::root("ca");
    let middle = root.intermediate("middle");
    let bottom = middle.intermediate("bottom");
    let msp = setup(&config(&[&root], &[&middle, &bottom])).unwrap();
    assert_eq!(verdict(&msp, &bottom.leaf("good", &["client"])), Ok(()));
    for inner in [&root, &middle] {
        let leaf = inner.leaf("bad", &["client"]);
        assert_eq!(broken_rule(&msp, &leaf), InvalidIdentity::InnerIssuer);
    }
    let other = Authority::root("ca2");
    let with_second_root = setup(&config(&[&root, &other], &[&middle])).unwrap();
    assert_eq!(verdict(&with_second_root, &other.leaf("good", &["client"])), Ok(()));
}

#[test]
fn two_chains_are_one_too_many() {
    let (one, two) = (Authority::root("one"), Authority::root("two"));
    let middle = one.intermediate("middle");
    let crossed = middle.cross_signed_by(&two);
    let leaf = middle.leaf("someone", &["client"]);
    let msp = setup(&config(&[&one], &[&middle])).unwrap();
    assert_eq!(verdict(&msp, &leaf), Ok(()));
    let crossed = setup(&config(&[&one, &two], &[&middle, &crossed])).unwrap();
    assert_eq!(chain_error(&crossed, &leaf), ChainError::Ambiguous { count: 2 });
}

#[test]
fn an_authority_listed_twice_counts_once() {
    let root = Authority::root("ca");
    let msp = setup(&config(&[&root, &root], &[])).unwrap();
    assert_eq!(verdict(&msp, &root.leaf("someone", &["client"])), Ok(()));
}

#[test]
fn path_lengths_are_kept() {
    let root = Authority::root_with("ca", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let msp = setup(&config(&[&root], &[])).unwrap();
    assert_eq!(verdict(&msp, &root.leaf("someone", &["client"])), Ok(()));
    // As in Fabric, the intermediate itself stands directly below and is accepted at set-up.
    let middle = root.intermediate("middle");
    let msp = setup(&config(&[&root], &[&middle])).unwrap();
    let leaf = middle.leaf("someone", &["client"]);
    assert!(matches!(chain_error(&msp, &leaf), ChainError::Unknown { .. }));
}

#[test]
fn extended_key_usages_must_allow_servers_or_anything() {
    let (root, msp) = simple();
    let client_only = root.leaf_with("c", &["client"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    assert_eq!(chain_error(&msp, &client_only), ChainError::KeyUsage);
    let both = root.leaf_with("c", &["client"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(verdict(&msp, &both), Ok(()));
    let any = root.leaf_with("c", &["client"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    });
    assert_eq!(verdict(&msp, &any), Ok(()));
}

#[test]
fn an_unknown_critical_extension_is_refused_and_a_plain_one_is_not() {
    let (root, msp) = simple();
    // The attributes that fabric-ca writes are a plain extension.
    let plain = root.leaf_with("a", &["client"], |params| {
        params.custom_extensions =
            vec![CustomExtension::from_oid_content(&[1, 2, 3, 4, 5, 6, 7, 8, 1], b"{}".to_vec())];
    });
    assert_eq!(verdict(&msp, &plain), Ok(()));
    let critical = root.leaf_with("a", &["client"], |params| {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4, 5, 6, 7, 8, 1], b"{}".to_vec());
        extension.set_criticality(true);
        params.custom_extensions = vec![extension];
    });
    let oid = "1.2.3.4.5.6.7.8.1".to_owned();
    assert_eq!(chain_error(&msp, &critical), ChainError::CriticalExtension(oid));
}

#[test]
fn a_root_without_the_right_to_sign_certificates_is_refused() {
    let root = Authority::root_with("ca", |params| {
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
    });
    let error = setup(&config(&[&root], &[])).unwrap_err();
    assert!(error.to_string().contains("may not sign certificates"), "{error}");
}

#[test]
fn a_revoked_identity_is_refused_whatever_the_date() {
    let root = Authority::root("ca");
    let leaf = |serial: u64| match serial {
        7 => root.leaf_with("r", &["client"], |params| {
            params.serial_number = Some(SerialNumber::from(7u64));
        }),
        _ => root.leaf_with("r", &["client"], |params| {
            params.serial_number = Some(SerialNumber::from(8u64));
        }),
    };
    let mut config = config(&[&root], &[]);
    config.revocation_list = vec![root.revokes(&[3, 7])];
    let msp = setup(&config).unwrap();
    assert_eq!(broken_rule(&msp, &leaf(7)), InvalidIdentity::Revoked);
    assert_eq!(verdict(&msp, &leaf(8)), Ok(()));
}

#[test]
fn a_revocation_list_of_someone_else_counts_for_nothing() {
    let root = Authority::root("ca");
    let leaf = root.leaf_with("r", &["client"], |params| {
        params.serial_number = Some(SerialNumber::from(7u64));
    });
    let mut config = config(&[&root], &[]);
    config.revocation_list = vec![Authority::root("ca").revokes(&[7])];
    assert_eq!(verdict(&setup(&config).unwrap(), &leaf), Ok(()));
}

#[test]
fn with_node_ous_exactly_one_unit_stands_for_a_role() {
    let (root, msp) = simple();
    for units in [&[][..], &["engineering"], &["client", "peer"], &["peer", "peer"]] {
        let leaf = root.leaf("someone", units);
        let rule = broken_rule(&msp, &leaf);
        assert!(matches!(rule, InvalidIdentity::Role { .. }), "{units:?}: {rule}");
        let identity = msp.identity(&leaf.serialized(ORG)).unwrap();
        assert_eq!(identity.role(), None);
    }
    assert_eq!(verdict(&msp, &root.leaf("someone", &["engineering", "peer"])), Ok(()));
}

#[test]
fn without_node_ous_units_do_not_matter() {
    let root = Authority::root("ca");
    let admin = root.leaf("admin", &[]);
    let mut config = config(&[&root], &[]);
    config.fabric_node_ous = None;
    config.admins = vec![admin.pem.clone().into()];
    let msp = setup(&config).unwrap();
    let leaf = root.leaf("someone", &["client", "peer"]);
    assert_eq!(verdict(&msp, &leaf), Ok(()));
    let identity = msp.identity(&leaf.serialized(ORG)).unwrap();
    assert_eq!((identity.role(), identity.is_admin()), (None, false));
    assert!(msp.identity(&admin.serialized(ORG)).unwrap().is_admin());
}

#[test]
fn a_unit_tied_to_an_authority_counts_only_below_it() {
    let (one, two) = (Authority::root("one"), Authority::root("two"));
    let mut config = config(&[&one, &two], &[]);
    let ous = config.fabric_node_ous.as_mut().unwrap();
    ous.peer_ou_identifier.as_mut().unwrap().certificate = one.pem();
    let msp = setup(&config).unwrap();
    assert_eq!(verdict(&msp, &one.leaf("peer0", &["peer"])), Ok(()));
    let elsewhere = two.leaf("peer0", &["peer"]);
    assert!(matches!(broken_rule(&msp, &elsewhere), InvalidIdentity::Role { .. }));
    assert_eq!(verdict(&msp, &two.leaf("client0", &["client"])), Ok(()));
}

#[test]
fn a_required_unit_must_be_there_below_its_authority() {
    let root = Authority::root("ca");
    let middle = root.intermediate("middle");
    let mut config = config(&[&root], &[&middle]);
    config.organizational_unit_identifiers = vec![ripstop_proto::msp::FabricOuIdentifier {
        certificate: middle.pem(),
        organizational_unit_identifier: "engineering".into(),
    }];
    let msp = setup(&config).unwrap();
    assert_eq!(verdict(&msp, &middle.leaf("good", &["engineering", "client"])), Ok(()));
    let without = middle.leaf("bad", &["client"]);
    assert_eq!(broken_rule(&msp, &without), InvalidIdentity::OrganizationalUnit { found: "client".into() });
}

#[test]
fn ed25519_identities_need_version_three() {
    let root = Authority::root("ca");
    let config = config(&[&root], &[]);
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let leaf = root.leaf_of("edward", &["client"], key, unchanged);
    assert_eq!(verdict(&setup(&config).unwrap(), &leaf), Ok(()));
    let older = Msp::new(&config, MspVersion::V1_4_3).unwrap();
    assert_eq!(broken_rule(&older, &leaf), InvalidIdentity::KeyKind("Ed25519"));
    // It can be read all the same, and its signature checked: validity is another question.
    let identity = older.identity(&leaf.serialized(ORG)).unwrap();
    let signature = leaf.signer(ORG).sign(b"message").unwrap();
    assert_eq!(identity.verify(b"message", &signature), Ok(()));
}

#[test]
fn other_msps_and_other_bytes_are_refused() {
    let (root, msp) = simple();
    let leaf = root.leaf("someone", &["client"]);
    let other = msp.identity(&leaf.serialized("Org2MSP"));
    assert!(matches!(other, Err(IdentityError::OtherMsp { .. })));
    assert!(matches!(msp.identity(b"\xff\xff"), Err(IdentityError::Decode(_))));
    let no_pem = msp.identity(&serialized(ORG, b"hello"));
    assert!(matches!(no_pem, Err(IdentityError::Certificate { .. })));
    let no_certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let refused = msp.identity(&serialized(ORG, no_certificate));
    assert!(matches!(refused, Err(IdentityError::Certificate { .. })));
}

/// Go's reader, and so Fabric, takes these for one more identity.
#[test]
fn bytes_behind_the_signature_are_refused() {
    let (root, _) = simple();
    let leaf = root.leaf("someone", &["client"]);
    let der = Certificate::from_pem(leaf.pem.as_bytes()).unwrap().der().to_vec();
    assert_eq!(der[..2], [0x30, 0x82], "a length of two bytes");
    let longer = (u16::from_be_bytes([der[2], der[3]]) + 2).to_be_bytes();
    let inside = [&[0x30, 0x82], &longer[..], &der[4..], &[0x05, 0x00]].concat();
    let outside = [&der[..], &[0x05, 0x00]].concat();
    for bytes in [inside, outside] {
        let refused = Certificate::from_der(bytes.into());
        assert!(matches!(refused, Err(CertificateError::Parse(_))));
    }
}

#[test]
fn damaged_certificates_never_panic_and_never_pass() {
    let (root, msp) = simple();
    let leaf = root.leaf("someone", &["client"]);
    let der = msp.identity_from_pem(leaf.pem.as_bytes()).unwrap().certificate().der().to_vec();
    for position in 0..der.len() {
        for flip in [0x01u8, 0x80] {
            let mut damaged = der.clone();
            damaged[position] ^= flip;
            let parsed = ripstop_msp::Certificate::from_der(damaged.into());
            let Ok(certificate) = parsed else { continue };
            let identity = msp.identity_from_pem(certificate.to_pem().as_bytes());
            let passes = identity.is_ok_and(|identity| identity.validity().is_ok());
            assert!(!passes, "byte {position} flipped by {flip:#x}");
        }
    }
}
