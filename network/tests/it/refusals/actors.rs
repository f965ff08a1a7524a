//! Who signs: members of the network's organizations, and those who only claim to be.

use std::path::Path;
use std::time::Duration;

use ripstop_msp::authority::{AuthorityKind, CertificateAuthority};
use ripstop_msp::material::{OrganizationFolders, OrganizationKind};
use ripstop_msp::{KeyKind, Role, SigningIdentity};

/// Everybody who sends something.
pub(super) struct Actors {
    pub(super) user: SigningIdentity,
    pub(super) admin: SigningIdentity,
    pub(super) other_user: SigningIdentity,
    pub(super) other_admin: SigningIdentity,
    pub(super) peer: SigningIdentity,
    pub(super) other_peer: SigningIdentity,
    pub(super) orderer: SigningIdentity,
    /// A client of Org1 whose certificate is over; its authority is the real one.
    pub(super) expired: SigningIdentity,
    /// A client of an organization that the channel does not know.
    pub(super) stranger: SigningIdentity,
    /// Certified as a client of Org1 by an authority of the same name with another key.
    pub(super) forged: SigningIdentity,
    /// Likewise, as a peer of Org2.
    pub(super) forged_peer: SigningIdentity,
    /// A real client of Org2 who says that it belongs to Org1.
    pub(super) defector: SigningIdentity,
}

impl Actors {
    pub(super) fn new(organizations: &Path) -> Self {
        let org1 = OrganizationFolders::of(organizations, OrganizationKind::Peers, "org1.example.com");
        let org2 = OrganizationFolders::of(organizations, OrganizationKind::Peers, "org2.example.com");
        let orderers = OrganizationFolders::of(organizations, OrganizationKind::Orderers, "example.com");
        let read = |msp_id: &str, msp| SigningIdentity::from_msp_folder(msp_id, msp).unwrap();
        let other_user = read("Org2MSP", org2.user("User1").msp());
        let real = CertificateAuthority::load(org1.authority(AuthorityKind::Identity)).unwrap();
        let false_one = CertificateAuthority::new("org1.example.com", AuthorityKind::Identity).unwrap();
        let false_two = CertificateAuthority::new("org2.example.com", AuthorityKind::Identity).unwrap();
        Self {
            user: read("Org1MSP", org1.user("User1").msp()),
            admin: read("Org1MSP", org1.user("Admin").msp()),
            other_admin: read("Org2MSP", org2.user("Admin").msp()),
            peer: read("Org1MSP", org1.node("peer0.org1.example.com", Role::Peer).msp()),
            other_peer: read("Org2MSP", org2.node("peer0.org2.example.com", Role::Peer).msp()),
            orderer: read("OrdererMSP", orderers.node("orderer.example.com", Role::Orderer).msp()),
            expired: expired(&real),
            stranger: issued(&false_one, "Org9MSP", "User1@org9.example.com", Role::Client),
            forged: issued(&false_one, "Org1MSP", "User1@org1.example.com", Role::Client),
            forged_peer: issued(&false_two, "Org2MSP", "peer0.org2.example.com", Role::Peer),
            defector: with_msp_id(&org2.user("User1").msp(), &other_user, "Org1MSP"),
            other_user,
        }
    }
}

fn expired(authority: &CertificateAuthority) -> SigningIdentity {
    let begin = authority.certificate().valid_from().unwrap();
    let validity = begin..begin + Duration::from_secs(60);
    let issued = authority.issue_identity_for("User7@org1.example.com", Role::Client, KeyKind::P256, validity).unwrap();
    SigningIdentity::from_pem("Org1MSP", issued.certificate_pem, issued.key_pem).unwrap()
}

fn issued(authority: &CertificateAuthority, msp_id: &str, name: &str, role: Role) -> SigningIdentity {
    let issued = authority.issue_identity(name, role, KeyKind::P256).unwrap();
    SigningIdentity::from_pem(msp_id, issued.certificate_pem, issued.key_pem).unwrap()
}

fn with_msp_id(msp: &Path, identity: &SigningIdentity, msp_id: &str) -> SigningIdentity {
    let mut keys = std::fs::read_dir(msp.join("keystore")).unwrap();
    let key = std::fs::read(keys.next().unwrap().unwrap().path()).unwrap();
    SigningIdentity::from_pem(msp_id, identity.certificate_pem(), key).unwrap()
}
