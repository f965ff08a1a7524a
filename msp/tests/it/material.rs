//! The folders of a development network.

use std::path::{Path, PathBuf};

use ripstop_msp::authority::{AuthorityKind, CertificateAuthority};
use ripstop_msp::material::{Node, Organization, OrganizationFolders, OrganizationKind, write};
use ripstop_msp::{Certificate, FolderError, KeyKind, Msp, Role, SigningError, SigningIdentity};

fn organization(users: &[&str], nodes: &[&str]) -> Organization {
    Organization {
        domain: "org1.example.com".into(),
        kind: OrganizationKind::Peers,
        nodes: nodes
            .iter()
            .map(|name| Node { name: (*name).into(), role: Role::Peer, sans: vec!["::1".into()] })
            .collect(),
        users: users.iter().map(|name| (*name).into()).collect(),
        node_keys: KeyKind::Ed25519,
        user_keys: KeyKind::P256,
    }
}

fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root.into()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_layout_is_cryptogens() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &organization(&["User1"], &["peer0.org1.example.com"])).unwrap();
    let root = folder.path().join("peerOrganizations/org1.example.com");
    let user = |name: &str| {
        let base = format!("users/{name}@org1.example.com");
        vec![
            format!("{base}/msp/cacerts/ca.org1.example.com-cert.pem"),
            format!("{base}/msp/config.yaml"),
            format!("{base}/msp/keystore/priv_sk"),
            format!("{base}/msp/signcerts/{name}@org1.example.com-cert.pem"),
            format!("{base}/msp/tlscacerts/tlsca.org1.example.com-cert.pem"),
            format!("{base}/tls/ca.crt"),
            format!("{base}/tls/client.crt"),
            format!("{base}/tls/client.key"),
        ]
    };
    let peer = "peers/peer0.org1.example.com";
    let mut expected: Vec<String> = [
        "ca/ca.org1.example.com-cert.pem",
        "ca/priv_sk",
        "msp/cacerts/ca.org1.example.com-cert.pem",
        "msp/config.yaml",
        "msp/tlscacerts/tlsca.org1.example.com-cert.pem",
        "tlsca/priv_sk",
        "tlsca/tlsca.org1.example.com-cert.pem",
    ]
    .map(str::to_owned)
    .to_vec();
    expected.extend(
        [
            "msp/cacerts/ca.org1.example.com-cert.pem",
            "msp/config.yaml",
            "msp/keystore/priv_sk",
            "msp/signcerts/peer0.org1.example.com-cert.pem",
            "msp/tlscacerts/tlsca.org1.example.com-cert.pem",
            "tls/ca.crt",
            "tls/server.crt",
            "tls/server.key",
        ]
        .map(|file| format!("{peer}/{file}")),
    );
    expected.extend(user("Admin"));
    expected.extend(user("User1"));
    expected.sort();
    assert_eq!(files(&root), expected);
    assert!(root.join(peer).join("msp/admincerts").is_dir());
}

#[test]
fn everyone_signs_with_the_role_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let name = "peer0.org1.example.com";
    let folders = write(folder.path(), &organization(&["User1"], &[name])).unwrap();
    let msp = Msp::from_folder("Org1MSP", folders.msp()).unwrap();
    let members = [
        (folders.node(name, Role::Peer), Role::Peer, "Ed25519"),
        (folders.user("User1"), Role::Client, "P-256"),
        (folders.user("Admin"), Role::Admin, "P-256"),
    ];
    for (member, role, key) in members {
        let signer = SigningIdentity::from_msp_folder("Org1MSP", member.msp()).unwrap();
        let identity = msp.identity(signer.serialized()).unwrap();
        let signature = signer.sign(b"message").unwrap();
        assert_eq!(identity.role(), Some(role));
        assert_eq!(identity.verify(b"message", &signature), Ok(()));
        assert_eq!(signer.certificate().public_key().kind(), key);
        let on_disk = files(&member.msp().join("signcerts"));
        let text = std::fs::read_to_string(member.msp().join("signcerts").join(&on_disk[0]));
        assert_eq!(signer.certificate_pem(), text.unwrap(), "written with a low s already");
    }
}

#[test]
fn the_configuration_goes_into_a_genesis_block() {
    let folder = tempfile::tempdir().unwrap();
    let folders = write(folder.path(), &organization(&[], &[])).unwrap();
    let config = Msp::from_folder("Org1MSP", folders.msp()).unwrap().to_config();
    let root = std::fs::read(folders.authority(AuthorityKind::Identity).join("ca.org1.example.com-cert.pem"));
    let root = bytes::Bytes::from(root.unwrap());
    assert_eq!(config.name, "Org1MSP");
    assert_eq!(config.root_certs, std::slice::from_ref(&root));
    assert_eq!(config.tls_root_certs, [bytes::Bytes::from(std::fs::read(folders.tls_root()).unwrap())]);
    let crypto = config.crypto_config.unwrap();
    assert_eq!(crypto.signature_hash_family, "SHA2");
    assert_eq!(crypto.identity_identifier_hash_function, "SHA256");
    let ous = config.fabric_node_ous.unwrap();
    assert!(ous.enable);
    for (unit, name) in [
        (ous.client_ou_identifier, "client"),
        (ous.peer_ou_identifier, "peer"),
        (ous.admin_ou_identifier, "admin"),
        (ous.orderer_ou_identifier, "orderer"),
    ] {
        let unit = unit.unwrap();
        assert_eq!((unit.organizational_unit_identifier.as_str(), &unit.certificate), (name, &root));
    }
}

#[test]
fn a_second_run_adds_only_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = ("peer0.org1.example.com", "peer1.org1.example.com");
    let folders = write(folder.path(), &organization(&[], &[first])).unwrap();
    let before: Vec<(String, Vec<u8>)> = files(&folders.root)
        .into_iter()
        .map(|file| (file.clone(), std::fs::read(folders.root.join(file)).unwrap()))
        .collect();
    // What a crash leaves behind is swept away.
    let left_over = folders.root.join(format!("peers/.{second}.new/msp"));
    std::fs::create_dir_all(&left_over).unwrap();
    write(folder.path(), &organization(&["User1"], &[first, second])).unwrap();
    for (file, contents) in before {
        assert_eq!(std::fs::read(folders.root.join(&file)).unwrap(), contents, "{file}");
    }
    assert!(!left_over.exists());
    let msp = Msp::from_folder("Org1MSP", folders.msp()).unwrap();
    for member in [folders.node(second, Role::Peer), folders.user("User1")] {
        let signer = SigningIdentity::from_msp_folder("Org1MSP", member.msp()).unwrap();
        assert_eq!(msp.identity(signer.serialized()).unwrap().validity(), Ok(()));
    }
}

#[test]
fn orderers_stand_in_their_own_tree() {
    let folder = tempfile::tempdir().unwrap();
    let name = "orderer.example.com";
    let organization = Organization {
        domain: "example.com".into(),
        kind: OrganizationKind::Orderers,
        nodes: vec![Node { name: name.into(), role: Role::Orderer, sans: Vec::new() }],
        users: Vec::new(),
        node_keys: KeyKind::P256,
        user_keys: KeyKind::Ed25519,
    };
    let folders = write(folder.path(), &organization).unwrap();
    let expected = OrganizationFolders::of(folder.path(), OrganizationKind::Orderers, "example.com");
    assert_eq!(folders, expected);
    let orderer = folders.node(name, Role::Orderer);
    assert!(orderer.root.ends_with("ordererOrganizations/example.com/orderers/orderer.example.com"));
    let signer = SigningIdentity::from_msp_folder("OrdererMSP", orderer.msp()).unwrap();
    let msp = Msp::from_folder("OrdererMSP", folders.msp()).unwrap();
    assert_eq!(msp.identity(signer.serialized()).unwrap().role(), Some(Role::Orderer));
}

#[test]
fn authorities_are_written_read_and_go_on_issuing() {
    let folder = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::new("org1.example.com", AuthorityKind::Identity).unwrap();
    authority.write(folder.path()).unwrap();
    let read = CertificateAuthority::load(folder.path()).unwrap();
    assert_eq!(read.certificate_pem(), authority.certificate_pem());
    assert_eq!(read.name(), "ca.org1.example.com");
    assert!(read.certificate().is_ca() && read.certificate().subject_key_id().is_some());
    let issued = read.issue_identity("User2@org1.example.com", Role::Client, KeyKind::P256).unwrap();
    let signer = SigningIdentity::from_pem("Org1MSP", &issued.certificate_pem, &issued.key_pem).unwrap();
    assert_eq!(signer.certificate().organizational_units(), ["client"]);
    let empty = tempfile::tempdir().unwrap();
    assert!(CertificateAuthority::load(empty.path()).is_err());
}

#[test]
fn an_identity_can_be_issued_for_a_time_that_is_over() {
    let parent = tempfile::tempdir().unwrap();
    let folders = write(parent.path(), &organization(&["Admin"], &[])).unwrap();
    let authority = CertificateAuthority::load(folders.authority(AuthorityKind::Identity)).unwrap();
    let begin = authority.certificate().valid_from().unwrap();
    let end = begin + std::time::Duration::from_secs(60);
    let issued = authority.issue_identity_for("Old@org1.example.com", Role::Client, KeyKind::P256, begin..end).unwrap();
    let signer = SigningIdentity::from_pem("Org1MSP", issued.certificate_pem, issued.key_pem).unwrap();
    assert_eq!(signer.expires_at(), Some(end));
    let msp = Msp::from_folder("Org1MSP", folders.msp()).unwrap();
    let identity = msp.identity(signer.serialized()).unwrap();
    msp.validate(&identity).unwrap();
    assert!(identity.is_expired(std::time::SystemTime::now()));
}

/// rustls reads and accepts what is issued for TLS.
#[test]
fn tls_certificates_are_for_their_names_and_addresses() {
    let authority = CertificateAuthority::new("org1.example.com", AuthorityKind::Tls).unwrap();
    assert_eq!(authority.name(), "tlsca.org1.example.com");
    let sans = ["peer0.org1.example.com", "localhost", "127.0.0.1"];
    let issued = authority.issue_tls("peer0.org1.example.com", &sans).unwrap();
    let certificate = Certificate::from_pem(issued.certificate_pem.as_bytes()).unwrap();
    let root = rustls_pki_types::CertificateDer::from(authority.certificate().der().to_vec());
    let anchor = webpki::anchor_from_trusted_cert(&root).unwrap();
    let der = rustls_pki_types::CertificateDer::from(certificate.der().to_vec());
    let end_entity = webpki::EndEntityCert::try_from(&der).unwrap();
    let now = rustls_pki_types::UnixTime::now();
    for usage in [webpki::KeyUsage::server_auth(), webpki::KeyUsage::client_auth()] {
        end_entity
            .verify_for_usage(
                &[webpki::ring::ECDSA_P256_SHA256],
                std::slice::from_ref(&anchor),
                &[],
                now,
                usage,
                None,
                None,
            )
            .unwrap();
    }
    for name in sans {
        let name = rustls_pki_types::ServerName::try_from(name).unwrap();
        end_entity.verify_is_valid_for_subject_name(&name).unwrap();
    }
    let other = rustls_pki_types::ServerName::try_from("peer1.org1.example.com").unwrap();
    assert!(end_entity.verify_is_valid_for_subject_name(&other).is_err());
}

#[test]
fn incomplete_folders_say_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Msp::from_folder("Org1MSP", folder.path()).unwrap_err();
    assert!(matches!(missing, FolderError::Empty { .. }), "{missing}");
    let folders = write(folder.path(), &organization(&["User1"], &[])).unwrap();
    let user = folders.user("User1").msp();
    std::fs::write(user.join("keystore/priv_sk"), "gone").unwrap();
    let no_key = SigningIdentity::from_msp_folder("Org1MSP", &user);
    assert!(matches!(no_key, Err(SigningError::NoKey(_))));
    std::fs::write(user.join("config.yaml"), "NodeOUs:\n  Enabled: true\n").unwrap();
    let wrong = SigningIdentity::from_msp_folder("Org1MSP", &user).unwrap_err();
    assert!(wrong.to_string().contains("config.yaml, line 2"), "{wrong}");
    // Without config.yaml there are no roles, and nobody is admin.
    std::fs::remove_file(user.join("config.yaml")).unwrap();
    let no_admins = Msp::from_folder("Org1MSP", &user).unwrap_err();
    assert!(no_admins.to_string().contains("administrators must be declared"), "{no_admins}");
}

#[test]
fn a_key_is_found_whatever_its_file_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let folders = write(folder.path(), &organization(&["User1"], &[])).unwrap();
    let keystore = folders.user("User1").msp().join("keystore");
    std::fs::rename(keystore.join("priv_sk"), keystore.join("8a21_sk")).unwrap();
    let stranger = folders.user("Admin").msp().join("keystore/priv_sk");
    std::fs::copy(stranger, keystore.join("0000_sk")).unwrap();
    assert!(SigningIdentity::from_msp_folder("Org1MSP", folders.user("User1").msp()).is_ok());
}

#[cfg(unix)]
#[test]
fn keys_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let folders = write(folder.path(), &organization(&[], &[])).unwrap();
    let admin = folders.user("Admin");
    for key in [admin.msp().join("keystore/priv_sk"), admin.tls_key(), folders.root.join("ca/priv_sk")] {
        assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
