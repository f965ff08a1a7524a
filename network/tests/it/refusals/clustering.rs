//! Raft messages from those who are no other consenter of the channel.

use std::path::PathBuf;

use bytes::Bytes;
use ripstop_node::transport::ClientIdentity;
use ripstop_proto::ripstop::v1::StepRequest;
use ripstop_proto::ripstop::v1::cluster_client::ClusterClient;
use tokio_stream::StreamExt;

use super::proposal::GARBAGE;
use super::stage::{CHANNEL, Stage, patiently, said};
use super::table::Table;

pub(super) async fn run(stage: &Stage, table: &mut Table<'_>) {
    let organizations = stage.network.dir().join("organizations");
    let orderers = organizations.join("ordererOrganizations/example.com");
    let peers = organizations.join("peerOrganizations/org1.example.com");
    let admin = of(orderers.join("users/Admin@example.com/tls"), "client");
    let peer = of(peers.join("peers/peer0.org1.example.com/tls"), "server");
    let own = of(orderers.join("orderers/orderer.example.com/tls"), "server");
    let garbage = || StepRequest { channel_id: CHANNEL.to_owned(), messages: vec![GARBAGE.into()] };
    let elsewhere = || StepRequest { channel_id: "elsewhere".to_owned(), messages: Vec::new() };
    let many = StepRequest { channel_id: CHANNEL.to_owned(), messages: vec![Bytes::new(); 65_537] };
    for (name, identity, request, wanted) in [
        (
            "no certificate",
            None,
            garbage(),
            "Unauthenticated: consenters are known by their TLS certificate, and this connection shows none",
        ),
        (
            "an admin of the orderers",
            Some(&admin),
            garbage(),
            "PermissionDenied: 'Admin@example.com' is not the certificate of a consenter here",
        ),
        (
            "a peer",
            Some(&peer),
            garbage(),
            "PermissionDenied: 'peer0.org1.example.com' is not the certificate of a consenter here",
        ),
        (
            "a peer, of a channel that is not here",
            Some(&peer),
            elsewhere(),
            "PermissionDenied: 'peer0.org1.example.com' is not the certificate of a consenter here",
        ),
        (
            "the orderer's own certificate",
            Some(&own),
            garbage(),
            "PermissionDenied: 'orderer.example.com' is not the certificate of a consenter here",
        ),
        (
            "messages by the thousand",
            Some(&own),
            many,
            "InvalidArgument: 65537 messages; at most 65536 are taken at once",
        ),
    ] {
        table.case(&format!("cluster: {name}"), step(stage, identity, request).await, wanted).await;
    }
}

fn of(folder: PathBuf, name: &str) -> ClientIdentity {
    let read = |extension: &str| std::fs::read(folder.join(format!("{name}.{extension}"))).unwrap();
    ClientIdentity { certificate_pem: read("crt"), key_pem: read("key") }
}

async fn step(stage: &Stage, identity: Option<&ClientIdentity>, request: StepRequest) -> String {
    let connection = stage.connect_to_orderer(identity).await;
    let requests = tokio_stream::once(request).chain(tokio_stream::pending());
    match patiently("a consenter", ClusterClient::new(connection).step(requests)).await {
        Ok(_) => "OK".to_owned(),
        Err(status) => said(&status),
    }
}
