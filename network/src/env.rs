//! `env ORG`: what a shell exports so that Fabric's `peer` program and the SDK samples find
//! this network.

use std::path::Path;

use anyhow::Context;
use ripstop_msp::Role;

use crate::cli::Target;
use crate::folder::Folder;
use crate::output;
use crate::peer_program;
use crate::session;
use crate::shell::quoted;

/// The `peer` program's user where nobody else is named: it administers chaincode.
const ADMIN: &str = "Admin";
const USER: &str = "User1";

/// Prints one `export` a line.
pub(crate) fn print(folder: &Folder, target: &Target, organization: &str) -> anyhow::Result<()> {
    let topology = folder.topology()?;
    let organization = topology.known_organization(organization)?;
    let named = target.peer.as_deref().map(|name| session::named_peer(&topology, name)).transpose()?;
    let peer = named.map(|(_, peer)| peer).or(organization.peers.first());
    let peer = peer.with_context(|| format!("{} has no peer", organization.domain))?;
    let orderer = topology.orderers.first().context("the network has no orderer")?;
    let folders = folder.organization(organization);
    let as_user = target.user.as_ref().map(|user| user.name.as_str());
    let cli_user = folders.user(as_user.unwrap_or(ADMIN));
    let sample_user = folders.user(as_user.unwrap_or(USER));
    let tls_root = folders.node(&peer.name, Role::Peer).tls_root();
    let orderer_folders = folder.orderer_organization();
    let orderer_root = orderer_folders.node(&orderer.name, Role::Orderer).tls_root();
    let orderer_admin = orderer_folders.user(ADMIN);
    let channel = target.channel.clone().unwrap_or_else(|| topology.channel.clone());

    let path = |path: &Path| path.display().to_string();
    let exports = [
        ("FABRIC_CFG_PATH", path(&peer_program::folder(folder))),
        // Without this each call prints some thirty lines about its connections.
        ("FABRIC_LOGGING_SPEC", "info:grpc=error".to_owned()),
        ("CORE_PEER_LOCALMSPID", organization.msp_id.clone()),
        ("CORE_PEER_MSPCONFIGPATH", path(&cli_user.msp())),
        ("CORE_PEER_ADDRESS", format!("localhost:{}", peer.port)),
        ("CORE_PEER_TLS_ENABLED", "true".to_owned()),
        ("CORE_PEER_TLS_ROOTCERT_FILE", path(&tls_root)),
        ("ORDERER_ADDRESS", format!("localhost:{}", orderer.port)),
        ("ORDERER_ADMIN_ADDRESS", format!("localhost:{}", orderer.admin_port)),
        ("ORDERER_CA", path(&orderer_root)),
        ("ORDERER_ADMIN_TLS_SIGN_CERT", path(&orderer_admin.tls_certificate())),
        ("ORDERER_ADMIN_TLS_PRIVATE_KEY", path(&orderer_admin.tls_key())),
        ("MSP_ID", organization.msp_id.clone()),
        ("CHANNEL_NAME", channel),
        ("CRYPTO_PATH", path(&folder.organizations().join("peerOrganizations").join(&organization.domain))),
        ("KEY_DIRECTORY_PATH", path(&sample_user.msp().join("keystore"))),
        ("CERT_DIRECTORY_PATH", path(&sample_user.msp().join("signcerts"))),
        ("TLS_CERT_PATH", path(&tls_root)),
        ("PEER_ENDPOINT", format!("localhost:{}", peer.port)),
        ("PEER_HOST_ALIAS", peer.name.clone()),
    ];
    let lines: Vec<String> = exports.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect();
    // Comments are for a person who prints this instead of evaluating it.
    output::print(&format!(
        "# For this shell: eval \"$(ripstop env {})\"\n{}",
        organization.domain.split('.').next().unwrap_or_default(),
        lines.concat()
    ))
}
