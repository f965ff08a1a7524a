//! Who satisfies which principal.

use bytes::Bytes;
use prost::Message as _;
use ripstop_msp::{Identity, Msp, PrincipalError};
use ripstop_proto::common::msp_principal::Classification;
use ripstop_proto::common::msp_role::MspRoleType;
use ripstop_proto::common::{CombinedPrincipal, MspIdentityAnonymity, MspPrincipal, OrganizationUnit};

use crate::pki::{Authority, Leaf, ORG, config, serialized, setup, simple};
use ripstop_msp::policy_text::role_principal;

fn principal(kind: Classification, bytes: Vec<u8>) -> MspPrincipal {
    MspPrincipal { principal_classification: kind.into(), principal: bytes.into() }
}

fn combined(principals: Vec<MspPrincipal>) -> MspPrincipal {
    principal(Classification::Combined, CombinedPrincipal { principals }.encode_to_vec())
}

fn identity(msp: &Msp, leaf: &Leaf) -> Identity {
    msp.identity(&leaf.serialized(ORG)).unwrap()
}

const ROLES: [MspRoleType; 5] =
    [MspRoleType::Member, MspRoleType::Admin, MspRoleType::Client, MspRoleType::Peer, MspRoleType::Orderer];

#[test]
fn each_role_is_a_member_and_itself() {
    let (root, msp) = simple();
    let units = [
        ("admin", MspRoleType::Admin),
        ("client", MspRoleType::Client),
        ("peer", MspRoleType::Peer),
        ("orderer", MspRoleType::Orderer),
    ];
    for (unit, own) in units {
        let someone = identity(&msp, &root.leaf("someone", &[unit]));
        for asked in ROLES {
            let satisfied = msp.satisfies(&someone, &role_principal(ORG, asked)).is_ok();
            assert_eq!(satisfied, asked == MspRoleType::Member || asked == own, "{unit}: {asked:?}");
        }
        let other = msp.satisfies(&someone, &role_principal("Org2MSP", MspRoleType::Member));
        assert!(matches!(other, Err(PrincipalError::OtherMsp { .. })));
    }
}

#[test]
fn an_invalid_identity_satisfies_no_role() {
    let (root, msp) = simple();
    let invalid = identity(&msp, &root.leaf("someone", &["client", "admin"]));
    for asked in ROLES {
        let verdict = msp.satisfies(&invalid, &role_principal(ORG, asked));
        assert!(matches!(verdict, Err(PrincipalError::Invalid { .. })), "{asked:?}");
    }
}

#[test]
fn without_node_ous_there_are_only_members_and_listed_admins() {
    let root = Authority::root("ca");
    let admin = root.leaf("admin", &["admin"]);
    let mut config = config(&[&root], &[]);
    config.fabric_node_ous = None;
    config.admins = vec![admin.pem.clone().into()];
    let msp = setup(&config).unwrap();
    let satisfied =
        |leaf: &Leaf| ROLES.map(|role| msp.satisfies(&identity(&msp, leaf), &role_principal(ORG, role)).is_ok());
    assert_eq!(satisfied(&admin), [true, true, false, false, false]);
    assert_eq!(satisfied(&root.leaf("x", &["admin"])), [true, false, false, false, false]);
}

#[test]
fn a_listed_admin_with_a_client_unit_is_admin_and_client() {
    let root = Authority::root("ca");
    let admin = root.leaf("admin", &["client"]);
    let mut config = config(&[&root], &[]);
    config.admins = vec![admin.pem.clone().into()];
    let msp = setup(&config).unwrap();
    let admin = identity(&msp, &admin);
    let satisfied = ROLES.map(|role| msp.satisfies(&admin, &role_principal(ORG, role)).is_ok());
    assert_eq!(satisfied, [true, true, true, false, false]);
}

#[test]
fn organizational_units_count_with_their_certifiers() {
    let root = Authority::root("ca");
    let middle = root.intermediate("middle");
    let msp = setup(&config(&[&root], &[&middle])).unwrap();
    let someone = identity(&msp, &middle.leaf("someone", &["engineering", "client"]));
    let unit = |unit: &str, certifiers: Vec<u8>| {
        let unit = OrganizationUnit {
            msp_identifier: ORG.into(),
            organizational_unit_identifier: unit.into(),
            certifiers_identifier: certifiers.into(),
        };
        principal(Classification::OrganizationUnit, unit.encode_to_vec())
    };
    let certifiers = msp.certifiers(&middle.pem()).unwrap().to_vec();
    let root_only = msp.certifiers(&root.pem()).unwrap().to_vec();
    assert_ne!(certifiers, root_only);
    assert_eq!(msp.satisfies(&someone, &unit("engineering", certifiers.clone())), Ok(()));
    assert!(msp.satisfies(&someone, &unit("engineering", root_only)).is_err());
    assert!(msp.satisfies(&someone, &unit("engineering", Vec::new())).is_err());
    assert!(msp.satisfies(&someone, &unit("sales", certifiers)).is_err());
}

#[test]
fn an_identity_principal_is_one_certificate() {
    let (root, msp) = simple();
    let leaf = root.leaf("someone", &["client"]);
    let exactly = |bytes: Bytes| principal(Classification::Identity, bytes.to_vec());
    let someone = identity(&msp, &leaf);
    assert_eq!(msp.satisfies(&someone, &exactly(leaf.serialized(ORG))), Ok(()));
    let other = exactly(root.leaf("someone", &["client"]).serialized(ORG));
    assert!(matches!(msp.satisfies(&someone, &other), Err(PrincipalError::Lacking { .. })));
    assert!(msp.satisfies(&someone, &exactly(leaf.serialized("Org2MSP"))).is_err());
    assert!(msp.satisfies(&someone, &exactly(serialized(ORG, b"rubbish"))).is_err());
}

#[test]
fn an_identity_principal_may_carry_the_high_or_the_low_signature() {
    let (root, msp) = simple();
    for index in 0..12 {
        let leaf = root.leaf(&format!("user{index}"), &["client"]);
        let someone = identity(&msp, &leaf);
        let lowered = serialized(ORG, someone.certificate().to_pem().as_bytes());
        for bytes in [leaf.serialized(ORG), lowered] {
            let exactly = principal(Classification::Identity, bytes.to_vec());
            assert_eq!(msp.satisfies(&someone, &exactly), Ok(()));
        }
    }
}

#[test]
fn x509_identities_are_nominal_and_never_anonymous() {
    let (root, msp) = simple();
    let someone = identity(&msp, &root.leaf("someone", &["client"]));
    let anonymity = |anonymity_type: i32| {
        let bytes = MspIdentityAnonymity { anonymity_type }.encode_to_vec();
        principal(Classification::Anonymity, bytes)
    };
    assert_eq!(msp.satisfies(&someone, &anonymity(0)), Ok(()));
    assert!(msp.satisfies(&someone, &anonymity(1)).is_err());
    assert!(msp.satisfies(&someone, &anonymity(2)).is_err());
}

#[test]
fn combined_principals_must_all_hold() {
    let (root, msp) = simple();
    let someone = identity(&msp, &root.leaf("someone", &["peer"]));
    let member = role_principal(ORG, MspRoleType::Member);
    let peer = role_principal(ORG, MspRoleType::Peer);
    let admin = role_principal(ORG, MspRoleType::Admin);
    let both = combined(vec![member.clone(), combined(vec![peer])]);
    assert_eq!(msp.satisfies(&someone, &both), Ok(()));
    assert!(msp.satisfies(&someone, &combined(vec![member, admin])).is_err());
    assert!(msp.satisfies(&someone, &combined(Vec::new())).is_err());
}

#[test]
fn principals_nobody_understands_are_satisfied_by_nobody() {
    let (root, msp) = simple();
    let someone = identity(&msp, &root.leaf("someone", &["peer"]));
    let strange = [
        MspPrincipal { principal_classification: 9, principal: Bytes::new() },
        principal(Classification::Role, vec![0xff]),
        principal(Classification::Role, {
            let role = ripstop_proto::common::MspRole { msp_identifier: ORG.into(), role: 17 };
            role.encode_to_vec()
        }),
        (0..1000).fold(role_principal(ORG, MspRoleType::Member), |inner, _| combined(vec![inner])),
    ];
    for principal in strange {
        let verdict = msp.satisfies(&someone, &principal);
        assert!(verdict.is_err(), "{principal:?}");
    }
}
