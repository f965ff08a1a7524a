//! The running network as the cases see it: every service of it by its own bytes, each
//! answer as one line of text.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use ripstop_client::{Contract, Gateway, SigningIdentity};
use ripstop_node::transport::{ClientIdentity, Dialer, MESSAGE_BYTES_MAX};
use ripstop_proto::block::{TRANSACTIONS_FILTER, metadata_slot};
use ripstop_proto::common::{Block, Envelope, Status as Answer};
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::protos::deliver_client::DeliverClient;
use ripstop_proto::protos::endorser_client::EndorserClient;
use ripstop_proto::protos::{SignedProposal, TxValidationCode};
use ripstop_proto::ripstop::v1::ordering_client::OrderingClient;
use ripstop_proto::ripstop::v1::{SubmitItem, SubmitRequest};
use ripstop_proto::{orderer, protos};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;
use tonic::codegen::BoxStream;
use tonic::transport::Channel;

use super::actors::Actors;
use super::proposal::Draft;
use crate::network::Network;

pub(super) const CHANNEL: &str = "mychannel";
/// Nothing here takes longer, whatever was sent.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Stage {
    pub(super) network: Network,
    pub(super) actors: Actors,
    pub(super) orderer: Channel,
    pub(super) peer: Channel,
    contract: Contract,
    other_contract: Contract,
    /// Blocks below were looked through.
    looked_through: AtomicU64,
}

impl Stage {
    pub(super) async fn set() -> Self {
        let network = Network::up(&[]);
        let organizations = network.dir().join("organizations");
        let actors = Actors::new(&organizations);
        let orderer = connect_to_orderer(&network, None).await;
        let (peer, contract) = application(&network, "Org1MSP", "org1.example.com").await;
        let (_, other_contract) = application(&network, "Org2MSP", "org2.example.com").await;
        Self { network, actors, orderer, peer, contract, other_contract, looked_through: AtomicU64::new(0) }
    }

    /// A connection to Org1's peer that nobody else uses, for what may break it.
    pub(super) async fn own_connection(&self) -> Channel {
        application(&self.network, "Org1MSP", "org1.example.com").await.0
    }

    /// A connection to the first orderer that shows this certificate.
    pub(super) async fn connect_to_orderer(&self, identity: Option<&ClientIdentity>) -> Channel {
        connect_to_orderer(&self.network, identity).await
    }

    /// Stops the network once both organizations' first peers have every block.
    pub(super) async fn clear(&self) {
        commit_honestly(&self.contract).await;
        commit_honestly(&self.other_contract).await;
        self.network.ok(&["network", "down"]);
    }

    /// Commits a new asset as an application does; the number of its block.
    pub(super) async fn commit_honestly(&self) -> u64 {
        commit_honestly(&self.contract).await
    }

    /// Sends a proposal to the endorser of Org1's peer.
    pub(super) async fn propose(&self, signed: SignedProposal) -> String {
        let mut endorser = EndorserClient::new(self.peer.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        match patiently("an endorser", endorser.process_proposal(signed)).await {
            Err(status) => said(&status),
            Ok(answer) => {
                let answer = answer.into_inner();
                let response = answer.response.unwrap_or_default();
                let endorsed = if answer.endorsement.is_some() { ", endorsed" } else { "" };
                format!("{}{endorsed}: {}", response.status, response.message)
            }
        }
    }

    /// Calls a chaincode of the peer itself.
    pub(super) async fn call(&self, who: &SigningIdentity, channel: &str, chaincode: &str, args: &[&[u8]]) -> String {
        let draft = Draft::new(who, chaincode, args).change(|draft| draft.channel_header.channel_id = channel.into());
        self.propose(draft.sign(who)).await
    }

    /// Sends an envelope over Broadcast. After a refusal the stream has to end.
    pub(super) async fn broadcast(&self, envelope: Envelope) -> String {
        let mut client = AtomicBroadcastClient::new(self.orderer.clone()).max_encoding_message_size(MESSAGE_BYTES_MAX);
        let envelopes = tokio_stream::once(envelope).chain(tokio_stream::pending());
        let exchange = async {
            let mut answers = match client.broadcast(envelopes).await {
                Ok(answers) => answers.into_inner(),
                Err(status) => return said(&status),
            };
            let answer = match answers.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return "the stream ended".to_owned(),
                Err(status) => return said(&status),
            };
            let text = format!("{} {}", answer.status().as_str_name(), answer.info);
            if answer.status() != Answer::Success {
                assert!(matches!(answers.message().await, Ok(None)), "the stream went on after {text}");
            }
            text
        };
        patiently("broadcast", exchange).await
    }

    /// Sends encoded envelopes of the channel over Ordering; their outcomes in order.
    pub(super) async fn order(&self, envelopes: &[Vec<u8>]) -> Vec<String> {
        let item = |(index, bytes): (usize, &Vec<u8>)| SubmitItem {
            correlation_id: index as u64,
            channel_id: CHANNEL.to_owned(),
            envelope: Bytes::from(bytes.clone()),
        };
        self.submit(envelopes.iter().enumerate().map(item).collect()).await
    }

    /// Sends items over Ordering; their outcomes by correlation id.
    pub(super) async fn submit(&self, items: Vec<SubmitItem>) -> Vec<String> {
        let count = items.len();
        let mut client = OrderingClient::new(self.orderer.clone()).max_encoding_message_size(MESSAGE_BYTES_MAX);
        let requests = tokio_stream::once(SubmitRequest { items }).chain(tokio_stream::pending());
        let exchange = async {
            let mut outcomes = BTreeMap::new();
            let mut responses = match client.submit(requests).await {
                Ok(responses) => responses.into_inner(),
                Err(status) => return vec![said(&status)],
            };
            while outcomes.len() < count {
                let response = match responses.message().await {
                    Ok(response) => response.unwrap_or_else(|| panic!("the stream ended after {outcomes:?}")),
                    Err(status) => return vec![said(&status)],
                };
                for outcome in response.outcomes {
                    let text = format!("{} {}", outcome.status().as_str_name(), outcome.info);
                    outcomes.insert(outcome.correlation_id, text.trim_end().to_owned());
                }
            }
            outcomes.into_values().collect()
        };
        patiently("ordering", exchange).await
    }

    /// Asks a Deliver service: the numbers of the blocks that come, and the status. After a
    /// refusal the stream has to end.
    pub(super) async fn deliver(&self, from: Deliverer, envelope: Envelope) -> String {
        let envelopes = tokio_stream::once(envelope).chain(tokio_stream::pending());
        let exchange = async {
            match from {
                Deliverer::Orderer => {
                    let mut client = AtomicBroadcastClient::new(self.orderer.clone());
                    client.deliver(envelopes).await.map(|answer| boxed(answer.into_inner().map(from_orderer)))
                }
                Deliverer::Peer => {
                    let mut client = DeliverClient::new(self.peer.clone());
                    client.deliver(envelopes).await.map(|answer| boxed(answer.into_inner().map(from_peer)))
                }
                Deliverer::PeerFiltered => {
                    let mut client = DeliverClient::new(self.peer.clone());
                    client.deliver_filtered(envelopes).await.map(|answer| boxed(answer.into_inner().map(from_peer)))
                }
            }
        };
        let followed = async {
            match exchange.await {
                Ok(responses) => follow(responses).await,
                Err(status) => said(&status),
            }
        };
        patiently("deliver", followed).await
    }

    /// Looks for an entry in the blocks of Org1's peer up to `last`: its block, its index and
    /// its code. The newest comes first; blocks before the one that was found last are not
    /// looked at again.
    pub(super) async fn find(&self, entry: &[u8], last: u64) -> Option<(u64, u32, TxValidationCode)> {
        for number in (self.looked_through.load(Ordering::Relaxed)..=last).rev() {
            let block = self.block(number).await;
            let entries = &block.data.as_ref().unwrap().data;
            let Some(index) = entries.iter().rposition(|found| found == entry) else { continue };
            self.looked_through.store(number, Ordering::Relaxed);
            let code = i32::from(metadata_slot(&block, TRANSACTIONS_FILTER)[index]);
            return Some((number, index as u32, TxValidationCode::try_from(code).unwrap()));
        }
        None
    }

    async fn block(&self, number: u64) -> Block {
        let args =
            [b"GetBlockByNumber".as_slice(), CHANNEL.as_bytes(), &number.to_string().into_bytes()].map(<[u8]>::to_vec);
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let signed = Draft::new(&self.actors.user, "qscc", &args).sign(&self.actors.user);
        let mut endorser = EndorserClient::new(self.peer.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let answer = endorser.process_proposal(signed).await.unwrap().into_inner();
        Block::decode(answer.response.unwrap().payload).unwrap()
    }

    /// A port in `network.json`, by the path to it.
    pub(super) fn port(&self, path: &str) -> u16 {
        let text = std::fs::read(self.network.dir().join("network.json")).unwrap();
        let topology: serde_json::Value = serde_json::from_slice(&text).unwrap();
        topology.pointer(path).unwrap_or_else(|| panic!("no {path} in {topology}")).as_u64().unwrap() as u16
    }
}

/// A connection to an organization's first peer, and the contract as its first user calls it.
async fn application(network: &Network, msp_id: &str, domain: &str) -> (Channel, Contract) {
    let organization = network.organization(domain);
    let name = format!("peer0.{domain}");
    let peer = connect(network, &name, &organization.join("peers").join(&name).join("tls/ca.crt"), None).await;
    let msp = organization.join(format!("users/User1@{domain}/msp"));
    let identity = Arc::new(SigningIdentity::from_msp_folder(msp_id, msp).unwrap());
    let contract = Gateway::connect(peer.clone(), identity).network(CHANNEL).contract("basic");
    (peer, contract)
}

async fn commit_honestly(contract: &Contract) -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let asset = format!("honest{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let commit = async {
        let proposal = contract.new_proposal("CreateAsset").arguments([&asset, "green", "10", "Ada", "500"]);
        let transaction = proposal.build().unwrap().endorse().await.unwrap();
        transaction.submit().await.unwrap().status().await.unwrap()
    };
    let status = patiently("an honest transaction", commit).await;
    assert!(status.is_successful(), "an honest transaction became {}", status.code.as_str_name());
    status.block_number
}

/// Where blocks come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deliverer {
    Orderer,
    Peer,
    PeerFiltered,
}

/// A response of any Deliver service.
enum Delivered {
    Block(u64),
    Status(i32),
}

fn from_orderer(response: Result<orderer::DeliverResponse, Status>) -> Result<Delivered, Status> {
    Ok(match response?.r#type.unwrap() {
        orderer::deliver_response::Type::Block(block) => Delivered::Block(block.header.unwrap().number),
        orderer::deliver_response::Type::Status(status) => Delivered::Status(status),
    })
}

fn from_peer(response: Result<protos::DeliverResponse, Status>) -> Result<Delivered, Status> {
    Ok(match response?.r#type.unwrap() {
        protos::deliver_response::Type::Block(block) => Delivered::Block(block.header.unwrap().number),
        protos::deliver_response::Type::FilteredBlock(block) => Delivered::Block(block.number),
        protos::deliver_response::Type::Status(status) => Delivered::Status(status),
        protos::deliver_response::Type::BlockAndPrivateData(_) => panic!("nobody asked for private data"),
    })
}

fn boxed(responses: impl Stream<Item = Result<Delivered, Status>> + Send + 'static) -> BoxStream<Delivered> {
    Box::pin(responses)
}

async fn follow(mut responses: impl Stream<Item = Result<Delivered, Status>> + Unpin) -> String {
    let mut text = String::new();
    loop {
        match responses.next().await {
            None => return format!("{text}the stream ended"),
            Some(Err(status)) => return format!("{text}{}", said(&status)),
            Some(Ok(Delivered::Block(number))) => text.push_str(&format!("{number} ")),
            Some(Ok(Delivered::Status(status))) => {
                let status = Answer::try_from(status).unwrap();
                if status != Answer::Success {
                    assert!(responses.next().await.is_none(), "the stream went on after {status:?}");
                }
                return format!("{text}{}", status.as_str_name());
            }
        }
    }
}

async fn connect_to_orderer(network: &Network, identity: Option<&ClientIdentity>) -> Channel {
    let root = "organizations/ordererOrganizations/example.com/orderers/orderer.example.com/tls/ca.crt";
    connect(network, "orderer.example.com", &network.dir().join(root), identity).await
}

async fn connect(network: &Network, node: &str, tls_root: &Path, identity: Option<&ClientIdentity>) -> Channel {
    let address = network.node(node)["address"].as_str().unwrap().to_owned();
    let root = std::fs::read(tls_root).unwrap();
    Dialer::new(BTreeMap::new()).connect(&address, &[root], identity).await.unwrap()
}

/// Waits for what must come soon.
pub(super) async fn patiently<T>(what: &str, answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("no answer of {what} within {PATIENCE:?}"))
}

/// A gRPC status in one line.
pub(super) fn said(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
