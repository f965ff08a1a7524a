//! The certificates and keys of a local network, and its genesis block.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use bytes::Bytes;
use prost::Message;
use ripstop_channel::{BatchSize, Consenter, RaftOptions, genesis};
use ripstop_msp::material::{self, Node, OrganizationFolders, OrganizationKind};
use ripstop_msp::{KeyKind, Msp, Role};

use crate::folder::Folder;
use crate::topology::{Identities, ORDERER_DOMAIN, ORDERER_MSP_ID, Topology};

/// Raft's clock: a new leader is found within a second.
const TICK: Duration = Duration::from_millis(100);

/// Makes every organization's material, and the channel's genesis block.
pub(crate) fn write(folder: &Folder, topology: &Topology) -> anyhow::Result<()> {
    let user_keys = match topology.identities {
        Identities::P256 => KeyKind::P256,
        Identities::Ed25519 => KeyKind::Ed25519,
    };
    let organization = |domain: &str, kind, nodes, users| material::Organization {
        domain: domain.to_owned(),
        kind,
        nodes,
        users,
        node_keys: KeyKind::Ed25519,
        user_keys,
    };
    let node = |name: &String, role| Node { name: name.clone(), role, sans: Vec::new() };
    let orderers = topology.orderers.iter().map(|orderer| node(&orderer.name, Role::Orderer)).collect();
    let orderer_organization = organization(ORDERER_DOMAIN, OrganizationKind::Orderers, orderers, Vec::new());
    material::write(folder.organizations(), &orderer_organization)?;
    for peer_organization in &topology.organizations {
        let peers = peer_organization.peers.iter().map(|peer| node(&peer.name, Role::Peer)).collect();
        let users = vec!["User1".to_owned()];
        let of_peers = organization(&peer_organization.domain, OrganizationKind::Peers, peers, users);
        material::write(folder.organizations(), &of_peers)?;
    }
    write_genesis(folder, topology)
}

fn write_genesis(folder: &Folder, topology: &Topology) -> anyhow::Result<()> {
    let block = genesis::block(&profile(folder, topology)?, rand::random(), SystemTime::now())?;
    let path = folder.genesis_block(&topology.channel);
    std::fs::create_dir_all(path.with_file_name(""))
        .and_then(|()| std::fs::write(&path, block.encode_to_vec()))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn profile(folder: &Folder, topology: &Topology) -> anyhow::Result<genesis::Profile> {
    let mut profile = genesis::Profile::new(&topology.channel);
    profile.batch_size = BatchSize {
        max_message_count: topology.batch.message_count_max,
        absolute_max_bytes: topology.batch.absolute_bytes_max,
        preferred_max_bytes: topology.batch.preferred_bytes_max,
    };
    profile.batch_timeout = Duration::from_millis(topology.batch.timeout_ms);
    profile.raft_options = RaftOptions { tick_interval: TICK, ..RaftOptions::default() };
    for organization in &topology.organizations {
        let msp = msp(&organization.msp_id, &folder.organization(organization))?;
        let anchors = organization.peers.iter().map(|peer| (peer.name.clone(), peer.port)).collect();
        profile.organizations.push(genesis::Organization::new(msp.to_config(), anchors));
    }
    let folders = folder.orderer_organization();
    let endpoints = topology.orderers.iter().map(|orderer| orderer.advertised()).collect();
    let consenters = topology.orderers.iter().map(|orderer| {
        let path = folders.node(&orderer.name, Role::Orderer).tls_certificate();
        let certificate: Bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?.into();
        Ok(Consenter {
            host: orderer.name.clone(),
            port: u32::from(orderer.port),
            client_tls_certificate_pem: certificate.clone(),
            server_tls_certificate_pem: certificate,
        })
    });
    let consenters = consenters.collect::<anyhow::Result<_>>()?;
    let msp = msp(ORDERER_MSP_ID, &folders)?.to_config();
    profile.orderer_organizations.push(genesis::OrdererOrganization::new("OrdererOrg", msp, endpoints, consenters));
    Ok(profile)
}

fn msp(msp_id: &str, folders: &OrganizationFolders) -> anyhow::Result<Msp> {
    Msp::from_folder(msp_id, folders.msp()).with_context(|| format!("the MSP {} is unusable", folders.msp().display()))
}
