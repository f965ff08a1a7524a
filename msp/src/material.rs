//! The folders of a development network, exactly as cryptogen lays them out, so that unmodified
//! sample applications and Fabric's tools find everything.
//!
//! ```text
//! ROOT/peerOrganizations/DOMAIN/            or ordererOrganizations/DOMAIN/
//!   ca/      ca.DOMAIN-cert.pem  priv_sk
//!   tlsca/   tlsca.DOMAIN-cert.pem  priv_sk
//!   msp/     admincerts/  cacerts/  tlscacerts/  config.yaml
//!   peers/HOST/                             or orderers/HOST/
//!     msp/   admincerts/  cacerts/  tlscacerts/  signcerts/  keystore/priv_sk  config.yaml
//!     tls/   ca.crt  server.crt  server.key
//!   users/USER@DOMAIN/                      Admin@… and the others
//!     msp/   as above
//!     tls/   ca.crt  client.crt  client.key
//! ```
//! Each of these folders appears whole or not at all (written beside, then renamed); what is there
//! already is left alone. So a second run adds only what is new, also after a crash.

use std::path::{Path, PathBuf};

use crate::authority::{AuthorityError, AuthorityKind, CertificateAuthority, write_file, write_secret};
use crate::node_ous::Role;
use crate::private_key::KeyKind;

/// Which of the two trees an organization stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrganizationKind {
    /// `peerOrganizations`.
    Peers,
    /// `ordererOrganizations`.
    Orderers,
}

/// What an organization's folder shall hold.
#[derive(Debug, Clone)]
pub struct Organization {
    /// Such as `org1.example.com`.
    pub domain: String,
    /// The tree.
    pub kind: OrganizationKind,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Users besides `Admin`, such as `User1`.
    pub users: Vec<String>,
    /// The signing keys of nodes.
    pub node_keys: KeyKind,
    /// The signing keys of `Admin` and the users.
    pub user_keys: KeyKind,
}

/// One node.
#[derive(Debug, Clone)]
pub struct Node {
    /// The full host name, such as `peer0.org1.example.com`.
    pub name: String,
    /// [`Role::Peer`] or [`Role::Orderer`]: the folder, and the certificate's unit.
    pub role: Role,
    /// Names and addresses in the TLS certificate besides the host name, its first label,
    /// `localhost` and `127.0.0.1`.
    pub sans: Vec<String>,
}

/// Where things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationFolders {
    /// The organization's folder.
    pub root: PathBuf,
    domain: String,
}

impl OrganizationFolders {
    /// The folders of an organization below `root`, whether they exist or not.
    pub fn of(root: impl AsRef<Path>, kind: OrganizationKind, domain: &str) -> Self {
        let tree = match kind {
            OrganizationKind::Peers => "peerOrganizations",
            OrganizationKind::Orderers => "ordererOrganizations",
        };
        Self { root: root.as_ref().join(tree).join(domain), domain: domain.to_owned() }
    }

    /// The verifying MSP of the organization.
    pub fn msp(&self) -> PathBuf {
        self.root.join("msp")
    }

    /// An authority's folder.
    pub fn authority(&self, kind: AuthorityKind) -> PathBuf {
        self.root.join(kind.folder())
    }

    /// The TLS root that everyone trusts this organization's nodes by.
    pub fn tls_root(&self) -> PathBuf {
        self.authority(AuthorityKind::Tls).join(format!("tlsca.{}-cert.pem", self.domain))
    }

    /// A node's folder.
    pub fn node(&self, name: &str, role: Role) -> MemberFolder {
        let list = if role == Role::Orderer { "orderers" } else { "peers" };
        MemberFolder { root: self.root.join(list).join(name), tls_prefix: "server" }
    }

    /// The folder of `Admin` or another user, by the name before the `@`.
    pub fn user(&self, name: &str) -> MemberFolder {
        let root = self.root.join("users").join(format!("{name}@{}", self.domain));
        MemberFolder { root, tls_prefix: "client" }
    }
}

/// The folder of a node or a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberFolder {
    /// The folder itself.
    pub root: PathBuf,
    tls_prefix: &'static str,
}

impl MemberFolder {
    /// The MSP folder with certificate and key.
    pub fn msp(&self) -> PathBuf {
        self.root.join("msp")
    }

    /// The TLS certificate (`server.crt` of nodes, `client.crt` of users).
    pub fn tls_certificate(&self) -> PathBuf {
        self.root.join("tls").join(format!("{}.crt", self.tls_prefix))
    }

    /// The TLS key.
    pub fn tls_key(&self) -> PathBuf {
        self.root.join("tls").join(format!("{}.key", self.tls_prefix))
    }

    /// The TLS root of the organization.
    pub fn tls_root(&self) -> PathBuf {
        self.root.join("tls").join("ca.crt")
    }
}

/// Makes whatever an organization's folder below `root` still lacks.
pub fn write(root: impl AsRef<Path>, organization: &Organization) -> Result<OrganizationFolders, AuthorityError> {
    let folders = OrganizationFolders::of(root, organization.kind, &organization.domain);
    let authorities = Authorities {
        identity: authority(&folders, &organization.domain, AuthorityKind::Identity)?,
        tls: authority(&folders, &organization.domain, AuthorityKind::Tls)?,
    };
    if !folders.msp().exists() {
        whole(&folders.msp(), |folder| authorities.write_msp(folder))?;
    }
    for node in &organization.nodes {
        let member = Member {
            folder: folders.node(&node.name, node.role),
            common_name: node.name.clone(),
            role: node.role,
            key_kind: organization.node_keys,
            sans: node_sans(node),
        };
        authorities.write_member(&member)?;
    }
    let admin = ("Admin", Role::Admin);
    let users = organization.users.iter().map(|name| (name.as_str(), Role::Client));
    for (name, role) in std::iter::once(admin).chain(users.filter(|(name, _)| *name != "Admin")) {
        let member = Member {
            folder: folders.user(name),
            common_name: format!("{name}@{}", organization.domain),
            role,
            key_kind: organization.user_keys,
            sans: Vec::new(),
        };
        authorities.write_member(&member)?;
    }
    Ok(folders)
}

struct Authorities {
    identity: CertificateAuthority,
    tls: CertificateAuthority,
}

struct Member {
    folder: MemberFolder,
    common_name: String,
    role: Role,
    key_kind: KeyKind,
    sans: Vec<String>,
}

impl Authorities {
    /// What verifying and signing MSPs have in common.
    fn write_msp(&self, folder: &Path) -> Result<(), AuthorityError> {
        make(&folder.join("admincerts"))?;
        for (name, authority) in [("cacerts", &self.identity), ("tlscacerts", &self.tls)] {
            make(&folder.join(name))?;
            let file = folder.join(name).join(certificate_file(authority.name()));
            write_file(&file, &authority.certificate_pem())?;
        }
        write_file(&folder.join("config.yaml"), &config_yaml(self.identity.name()))
    }

    fn write_member(&self, member: &Member) -> Result<(), AuthorityError> {
        if member.folder.root.exists() {
            return Ok(());
        }
        whole(&member.folder.root, |folder| {
            self.write_signing_msp(&folder.join("msp"), member)?;
            self.write_tls(&folder.join("tls"), member)
        })
    }

    fn write_signing_msp(&self, folder: &Path, member: &Member) -> Result<(), AuthorityError> {
        self.write_msp(folder)?;
        make(&folder.join("signcerts"))?;
        make(&folder.join("keystore"))?;
        let issued = self.identity.issue_identity(&member.common_name, member.role, member.key_kind)?;
        let certificate = folder.join("signcerts").join(certificate_file(&member.common_name));
        write_file(&certificate, &issued.certificate_pem)?;
        write_secret(&folder.join("keystore").join("priv_sk"), &issued.key_pem)
    }

    fn write_tls(&self, folder: &Path, member: &Member) -> Result<(), AuthorityError> {
        make(folder)?;
        let issued = self.tls.issue_tls(&member.common_name, &member.sans)?;
        let prefix = member.folder.tls_prefix;
        write_file(&folder.join("ca.crt"), &self.tls.certificate_pem())?;
        write_file(&folder.join(format!("{prefix}.crt")), &issued.certificate_pem)?;
        write_secret(&folder.join(format!("{prefix}.key")), &issued.key_pem)
    }
}

fn authority(
    folders: &OrganizationFolders,
    domain: &str,
    kind: AuthorityKind,
) -> Result<CertificateAuthority, AuthorityError> {
    let folder = folders.authority(kind);
    if folder.exists() {
        return CertificateAuthority::load(&folder);
    }
    let authority = CertificateAuthority::new(domain, kind)?;
    whole(&folder, |folder| authority.write(folder))?;
    Ok(authority)
}

fn node_sans(node: &Node) -> Vec<String> {
    let first_label = node.name.split('.').next().unwrap_or_default();
    let mut sans: Vec<String> = Vec::new();
    let fixed = [node.name.as_str(), first_label, "localhost", "127.0.0.1"];
    for san in fixed.into_iter().chain(node.sans.iter().map(String::as_str)) {
        if !san.is_empty() && !sans.iter().any(|earlier| earlier == san) {
            sans.push(san.to_owned());
        }
    }
    sans
}

/// `config.yaml` with NodeOUs, in cryptogen's words.
fn config_yaml(authority: &str) -> String {
    let certificate = format!("cacerts/{}", certificate_file(authority));
    let mut text = "NodeOUs:\n  Enable: true\n".to_owned();
    let names = ["ClientOUIdentifier", "PeerOUIdentifier", "AdminOUIdentifier", "OrdererOUIdentifier"];
    for (name, role) in names.into_iter().zip(Role::ALL) {
        let unit = role.organizational_unit();
        text.push_str(&format!(
            "  {name}:\n    Certificate: {certificate}\n    OrganizationalUnitIdentifier: {unit}\n"
        ));
    }
    text
}

fn certificate_file(name: &str) -> String {
    format!("{name}-cert.pem")
}

/// Fills a folder beside its place, then moves it there.
fn whole(folder: &Path, fill: impl FnOnce(&Path) -> Result<(), AuthorityError>) -> Result<(), AuthorityError> {
    let failed = |cause| AuthorityError::Write { path: folder.into(), cause };
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.with_file_name(format!(".{name}.new"));
    if beside.exists() {
        std::fs::remove_dir_all(&beside).map_err(failed)?;
    }
    make(&beside)?;
    fill(&beside)?;
    std::fs::rename(&beside, folder).map_err(failed)
}

fn make(folder: &Path) -> Result<(), AuthorityError> {
    let failed = |cause| AuthorityError::Write { path: folder.into(), cause };
    std::fs::create_dir_all(folder).map_err(failed)
}
