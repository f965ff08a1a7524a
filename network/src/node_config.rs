//! The configuration file of each node of a local network.
//!
//! Paths in them are relative to the file, so a network's folder can be moved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ripstop_msp::Role;
use ripstop_msp::material::MemberFolder;
use serde::Serialize;

use crate::folder::Folder;
use crate::topology::{Cutting, ORDERER_MSP_ID, Topology, loopback};

/// The `[node]` table.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Node {
    name: String,
    msp_id: String,
    msp_folder: PathBuf,
    data_folder: PathBuf,
    listen: String,
    advertise: String,
    operations_listen: String,
    tls: Tls,
    dial: BTreeMap<String, String>,
}

/// A listener's certificate and key.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    client_roots: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct PeerFile {
    node: Node,
}

#[derive(Debug, Serialize)]
struct OrdererFile {
    node: Node,
    orderer: OrdererTable,
}

/// The `[orderer]` table.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct OrdererTable {
    cutting: Cutting,
    admin_listen: String,
    admin_client_roots: Vec<PathBuf>,
}

/// Writes the file of every node.
pub(crate) fn write(folder: &Folder, topology: &Topology) -> anyhow::Result<()> {
    let dial = dial_map(topology);
    let node = |name: &str,
                msp_id: &str,
                member: &MemberFolder,
                port: u16,
                operations_port: u16,
                client_roots|
     -> anyhow::Result<Node> {
        let relative = |path: PathBuf| from_node_folder(folder, &path);
        Ok(Node {
            name: name.to_owned(),
            msp_id: msp_id.to_owned(),
            msp_folder: relative(member.msp())?,
            data_folder: "data".into(),
            listen: loopback(port).to_string(),
            advertise: format!("{name}:{port}"),
            operations_listen: loopback(operations_port).to_string(),
            tls: Tls {
                certificate: relative(member.tls_certificate())?,
                key: relative(member.tls_key())?,
                client_roots,
            },
            dial: dial.clone(),
        })
    };
    for orderer in &topology.orderers {
        let member = folder.orderer_organization().node(&orderer.name, Role::Orderer);
        // Orderers know each other by their TLS certificates; peers show theirs without being asked
        // for one, and what is shown has to be of a known authority.
        let peer_roots = topology.organizations.iter().map(|organization| folder.organization(organization).tls_root());
        let client_roots = std::iter::once(member.tls_root()).chain(peer_roots);
        let client_roots = client_roots.map(|root| from_node_folder(folder, &root)).collect::<anyhow::Result<_>>()?;
        let file = OrdererFile {
            node: node(&orderer.name, ORDERER_MSP_ID, &member, orderer.port, orderer.operations_port, client_roots)?,
            orderer: OrdererTable {
                cutting: topology.cutting,
                admin_listen: loopback(orderer.admin_port).to_string(),
                admin_client_roots: vec![from_node_folder(folder, &member.tls_root())?],
            },
        };
        write_file(&folder.node(&orderer.name), &file)?;
    }
    for (organization, peer) in topology.peers() {
        let member = folder.organization(organization).node(&peer.name, Role::Peer);
        let file = PeerFile {
            node: node(&peer.name, &organization.msp_id, &member, peer.port, peer.operations_port, Vec::new())?,
        };
        write_file(&folder.node(&peer.name), &file)?;
    }
    Ok(())
}

/// Host names of a local network mean nothing outside it: all of them are dialled here.
pub(crate) fn dial_map(topology: &Topology) -> BTreeMap<String, String> {
    let orderers = topology.orderers.iter().map(|orderer| (orderer.advertised(), orderer.port));
    let peers = topology.peers().map(|(_, peer)| (peer.advertised(), peer.port));
    orderers.chain(peers).map(|(advertised, port)| (advertised, loopback(port).to_string())).collect()
}

/// `path` as it is written in a file two folders below the network's.
fn from_node_folder(folder: &Folder, path: &Path) -> anyhow::Result<PathBuf> {
    Ok(Path::new("../..").join(path.strip_prefix(folder.path())?))
}

fn write_file(node_folder: &Path, file: &impl Serialize) -> anyhow::Result<()> {
    let text = toml::to_string(file)?;
    let path = node_folder.join("config.toml");
    std::fs::create_dir_all(node_folder)
        .and_then(|()| std::fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}
