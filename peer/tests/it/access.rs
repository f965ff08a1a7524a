//! Who may ask, with the identities of a channel and of a local MSP.

use std::time::{Duration, SystemTime};

use ripstop_msp::{Msp, SignedBytes, SigningIdentity};
use ripstop_peer::access::{Denied, check_channel, check_expiry, check_local_admin, check_local_member, expires_at};

use crate::organizations::Organizations;

fn signed<'a>(identity: &'a SigningIdentity, signature: &'a [u8]) -> SignedBytes<'a> {
    SignedBytes { identity: identity.serialized(), message: b"request".as_slice().into(), signature }
}

fn local(
    check: fn(&Msp, &SignedBytes<'_>) -> Result<(), Denied>,
    msp: &Msp,
    who: &SigningIdentity,
) -> Result<(), Denied> {
    check(msp, &signed(who, &who.sign(b"request").unwrap()))
}

#[test]
fn admins_and_members_of_the_own_organization_are_told_apart() {
    let Organizations { org1, org2, .. } = &Organizations::new();
    local(check_local_admin, &org1.msp, &org1.admin).unwrap();
    assert!(matches!(local(check_local_admin, &org1.msp, &org1.client), Err(Denied::Role { role: "admin", .. })));
    assert!(matches!(local(check_local_admin, &org1.msp, &org2.admin), Err(Denied::NotLocal { .. })));
    for member in [&org1.admin, &org1.client, &org1.peer] {
        local(check_local_member, &org1.msp, member).unwrap();
    }
    assert!(matches!(local(check_local_member, &org1.msp, &org2.client), Err(Denied::NotLocal { .. })));
}

#[test]
fn an_admins_name_without_the_admins_signature_is_denied() {
    let Organizations { org1, .. } = &Organizations::new();
    let stolen = signed(&org1.admin, &org1.client.sign(b"request").unwrap()).signature.to_vec();
    let denied = check_local_admin(&org1.msp, &signed(&org1.admin, &stolen)).unwrap_err();
    assert!(matches!(denied, Denied::Signature(_)), "{denied}");
}

#[test]
fn a_resource_of_a_channel_has_a_policy_of_the_channel() {
    let organizations = Organizations::new();
    let config = organizations.channel().config();
    let check = |resource: &str, who: &SigningIdentity| {
        check_channel(&config, resource, &signed(who, &who.sign(b"request").unwrap()))
    };
    check("peer/Propose", &organizations.org2.client).unwrap();
    check("event/Block", &organizations.org1.peer).unwrap();
    let denied = check("peer/Propose", &organizations.org1.peer).unwrap_err().to_string();
    assert!(denied.contains("peer/Propose") && denied.contains("/Channel/Application/Writers"), "{denied}");
    assert!(check("peer/Propose", &Organizations::new().org1.client).is_err());
    let unmapped = check("no/Such", &organizations.org1.client);
    assert!(matches!(unmapped, Err(Denied::Unmapped(resource)) if resource == "no/Such"));
    let forged = check_channel(&config, "peer/Propose", &signed(&organizations.org1.client, b"\x30\x00"));
    assert!(matches!(forged, Err(Denied::Policy { .. })));
}

#[test]
fn an_identity_expires_with_its_certificate() {
    let organizations = Organizations::new();
    let config = organizations.channel().config();
    let identity = config.msps().identity(organizations.org1.client.serialized()).unwrap();
    let end = identity.expires_at();
    assert_eq!(expires_at(organizations.org1.client.serialized()), end);
    check_expiry(end, end.unwrap()).unwrap();
    assert!(matches!(check_expiry(end, end.unwrap() + Duration::from_secs(1)), Err(Denied::Expired)));
    // What is no certificate does not expire: that it is none, others say.
    assert_eq!(expires_at(b"nobody"), None);
    check_expiry(None, SystemTime::now()).unwrap();
}
