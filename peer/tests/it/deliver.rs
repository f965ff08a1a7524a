//! The peer's Deliver service over its real transport, on a channel in memory.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::StreamExt;
use prost::Message;
use ripstop_ledger::{CheckedBlock, Options, Verdict};
use ripstop_msp::SigningIdentity;
use ripstop_node::deliver::Terms;
use ripstop_node::transport::Dialer;
use ripstop_peer::channel::{Channel, Channels};
use ripstop_peer::deliver::{DeliverService, filtered_block};
use ripstop_peer::deliver_client::Tip;
use ripstop_proto::common::{Block, ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader, Status};
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::orderer::seek_position::Type as Position;
use ripstop_proto::orderer::{SeekInfo, SeekNewest, SeekOldest, SeekPosition, SeekSpecified};
use ripstop_proto::protos::deliver_client::DeliverClient;
use ripstop_proto::protos::deliver_response::Type as Answer;
use ripstop_proto::protos::deliver_server::DeliverServer;
use ripstop_proto::protos::{
    ChaincodeEvent, DeliverResponse, FilteredBlock, FilteredChaincodeAction, FilteredTransaction,
    FilteredTransactionActions, TxValidationCode as Code, filtered_transaction::Data,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::service::Routes;

use crate::blocks;
use crate::organizations::{CHANNEL, Organizations};
use crate::serving::Serving;
use crate::transactions::Draft;

const PEER: &str = "peer0.org1.example.com:7051";

/// A peer's Deliver service with one channel, and a connection to it.
struct TestDeliver {
    organizations: Organizations,
    channel: Arc<Channel>,
    client: DeliverClient<tonic::transport::Channel>,
    serving: Serving,
    _folder: TempDir,
}

/// The three streams.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Blocks,
    Filtered,
    WithPrivateData,
}

/// One open stream.
struct Stream {
    requests: mpsc::Sender<Envelope>,
    answers: Streaming<DeliverResponse>,
}

impl TestDeliver {
    async fn start(organizations: Organizations) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let channels = Channels::open(folder.path().to_owned(), Options::in_memory(), Box::new(|_| {})).unwrap();
        let channels = Arc::new(channels);
        let channel = channels.join(organizations.genesis.clone()).unwrap();
        let service = DeliverService::new(&channels, Terms::default(), CancellationToken::new());
        let peer_folder = &organizations.org1.peer_folder;
        let serving = Serving::start(peer_folder, "127.0.0.1:0", Routes::new(DeliverServer::new(service))).await;
        let dialer = Dialer::new([(PEER.to_owned(), serving.address.to_string())].into());
        let roots = [std::fs::read(peer_folder.tls_root()).unwrap()];
        let client = DeliverClient::new(dialer.connect(PEER, &roots, None).await.unwrap());
        Self { organizations, channel, client, serving, _folder: folder }
    }

    /// Commits entries with the codes that stage one is said to have come to.
    fn commit(&self, entries: &[(Bytes, Code)]) -> Arc<Block> {
        let ledger = self.channel.ledger();
        let verdicts = entries.iter().map(|(_, code)| Verdict { code: *code, ..Verdict::valid() }).collect();
        let block = blocks::after(&Tip::of(ledger).unwrap(), entries.iter().map(|(entry, _)| entry.clone()).collect());
        ledger.commit(CheckedBlock { block, verdicts, private_writes: Vec::new() }).unwrap().block.clone()
    }

    fn transaction(&self, nonce: u64) -> Draft<'_> {
        Draft::new(&self.organizations.org1.client, &[&self.organizations.org1.peer], nonce)
    }

    async fn open(&self, kind: Kind) -> Stream {
        let mut client = self.client.clone();
        let (requests, receiver) = mpsc::channel(4);
        let receiver = ReceiverStream::new(receiver);
        let answers = match kind {
            Kind::Blocks => client.deliver(receiver).await,
            Kind::Filtered => client.deliver_filtered(receiver).await,
            Kind::WithPrivateData => client.deliver_with_private_data(receiver).await,
        };
        Stream { requests, answers: answers.unwrap().into_inner() }
    }

    /// All answers to one request whose range ends.
    async fn ask(&self, kind: Kind, request: Envelope) -> Vec<Answer> {
        let mut stream = self.open(kind).await;
        stream.requests.send(request).await.unwrap();
        drop(stream.requests);
        let answers: Vec<_> = stream.answers.by_ref().collect().await;
        answers.into_iter().map(|answer| answer.unwrap().r#type.unwrap()).collect()
    }

    fn client(&self) -> &SigningIdentity {
        &self.organizations.org1.client
    }

    async fn end(self) {
        drop(self.client);
        self.serving.end().await;
    }
}

impl Stream {
    async fn next(&mut self) -> Answer {
        let answer = tokio::time::timeout(Duration::from_secs(20), self.answers.next()).await;
        answer.unwrap().unwrap().unwrap().r#type.unwrap()
    }
}

fn number(number: u64) -> Position {
    Position::Specified(SeekSpecified { number })
}

fn seek(start: Position, stop: Position) -> SeekInfo {
    let position = |position| Some(SeekPosition { r#type: Some(position) });
    SeekInfo { start: position(start), stop: position(stop), ..SeekInfo::default() }
}

/// A request as the official SDKs make it: without a nonce.
fn request(who: &SigningIdentity, channel_id: &str, at: SystemTime, data: impl Into<Bytes>) -> Envelope {
    let channel_header = ChannelHeader {
        r#type: HeaderType::DeliverSeekInfo as i32,
        channel_id: channel_id.to_owned(),
        timestamp: Some(at.into()),
        ..ChannelHeader::default()
    };
    let signature_header = SignatureHeader { creator: who.serialized().clone(), ..SignatureHeader::default() };
    let header = Header {
        channel_header: channel_header.encode_to_vec().into(),
        signature_header: signature_header.encode_to_vec().into(),
    };
    let payload: Bytes = Payload { header: Some(header), data: data.into() }.encode_to_vec().into();
    Envelope { signature: who.sign(&payload).unwrap().into(), payload }
}

fn blocks_from(who: &SigningIdentity, start: Position, stop: Position) -> Envelope {
    request(who, CHANNEL, SystemTime::now(), seek(start, stop).encode_to_vec())
}

fn success() -> Answer {
    Answer::Status(Status::Success as i32)
}

/// An event that the chaincode sets.
fn with_event(mut draft: Draft<'_>) -> Draft<'_> {
    let event = ChaincodeEvent {
        chaincode_id: "basic".into(),
        tx_id: draft.tx_id(),
        event_name: "made".into(),
        payload: "secret".into(),
    };
    let events: Bytes = event.encode_to_vec().into();
    draft.changes.action.push(Box::new(move |action| action.events = events.clone()));
    draft
}

#[tokio::test]
async fn whole_blocks_come_as_they_were_committed_and_then_live() {
    let peer = TestDeliver::start(Organizations::new()).await;
    let one = peer.commit(&[(peer.transaction(1).entry(), Code::Valid)]);
    let mut stream = peer.open(Kind::Blocks).await;
    // As the Node SDK asks for everything that is to come.
    let endless = number((1 << 53) - 1);
    stream.requests.send(blocks_from(peer.client(), Position::Oldest(SeekOldest {}), endless)).await.unwrap();
    let genesis = peer.channel.ledger().block(0).unwrap().unwrap();
    assert_eq!(stream.next().await, Answer::Block(Block::clone(&genesis)));
    assert_eq!(stream.next().await, Answer::Block(Block::clone(&one)));
    let two = peer.commit(&[(peer.transaction(2).entry(), Code::Valid)]);
    assert_eq!(stream.next().await, Answer::Block(Block::clone(&two)));

    let newest = || Position::Newest(SeekNewest {});
    let answers = peer.ask(Kind::Blocks, blocks_from(peer.client(), newest(), newest())).await;
    assert_eq!(answers, [Answer::Block(Block::clone(&two)), success()]);
    drop(stream);
    peer.end().await;
}

#[tokio::test]
async fn a_filtered_block_tells_ids_types_codes_and_events_without_payload() {
    let peer = TestDeliver::start(Organizations::new()).await;
    let eventful = with_event(peer.transaction(1));
    let (silent, loser) = (peer.transaction(2), with_event(peer.transaction(3)));
    let mut broken = peer.transaction(4);
    broken.changes.payload.push(Box::new(|payload| payload.data = "\u{7f}".into()));
    let block = peer.commit(&[
        (eventful.entry(), Code::Valid),
        ("\u{7f}".into(), Code::InvalidOtherReason),
        (silent.entry(), Code::Valid),
        (loser.entry(), Code::EndorsementPolicyFailure),
        (broken.entry(), Code::BadPayload),
    ]);
    let transaction = |draft: &Draft<'_>, code: Code, has_event: bool| {
        let event = ChaincodeEvent {
            chaincode_id: "basic".into(),
            tx_id: draft.tx_id(),
            event_name: "made".into(),
            payload: Bytes::new(),
        };
        let chaincode_actions = match has_event {
            true => vec![FilteredChaincodeAction { chaincode_event: Some(event) }],
            false => Vec::new(),
        };
        FilteredTransaction {
            txid: draft.tx_id(),
            r#type: HeaderType::EndorserTransaction as i32,
            tx_validation_code: code as i32,
            data: Some(Data::TransactionActions(FilteredTransactionActions { chaincode_actions })),
        }
    };
    let expected = FilteredBlock {
        channel_id: CHANNEL.to_owned(),
        number: 1,
        filtered_transactions: vec![
            transaction(&eventful, Code::Valid, true),
            transaction(&silent, Code::Valid, false),
            transaction(&loser, Code::EndorsementPolicyFailure, true),
            transaction(&broken, Code::BadPayload, false),
        ],
    };
    assert_eq!(filtered_block(CHANNEL, &block), expected);
    let silent_bytes = expected.filtered_transactions[1].encode_to_vec();
    assert!(silent_bytes.ends_with(&[0x22, 0x00]), "the empty actions are on the wire");

    let answers = peer.ask(Kind::Filtered, blocks_from(peer.client(), number(0), number(1))).await;
    let entry = &peer.organizations.genesis.data.as_ref().unwrap().data[0];
    let txid = OpenEnvelope::open(entry).unwrap().channel_header.tx_id;
    let config = FilteredTransaction { txid, r#type: HeaderType::Config as i32, ..FilteredTransaction::default() };
    let genesis = FilteredBlock { channel_id: CHANNEL.to_owned(), number: 0, filtered_transactions: vec![config] };
    assert_eq!(answers, [Answer::FilteredBlock(genesis), Answer::FilteredBlock(expected), success()]);
    peer.end().await;
}

#[tokio::test]
async fn blocks_with_private_data_carry_an_empty_map_while_there_is_none() {
    let peer = TestDeliver::start(Organizations::new()).await;
    let one = peer.commit(&[(peer.transaction(1).entry(), Code::Valid)]);
    let answers = peer.ask(Kind::WithPrivateData, blocks_from(peer.client(), number(1), number(1))).await;
    let [Answer::BlockAndPrivateData(with_data), end] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(with_data.block.as_ref(), Some(&*one));
    assert!(with_data.private_data_map.is_empty());
    assert_eq!(*end, success());
    peer.end().await;
}

#[tokio::test]
async fn what_cannot_be_served_gets_one_status() {
    let peer = TestDeliver::start(Organizations::new()).await;
    let stranger = Organizations::new().org1.client;
    let (now, client) = (SystemTime::now(), peer.client());
    let genesis = || seek(number(0), number(0)).encode_to_vec();
    let mut altered = request(client, CHANNEL, now, genesis());
    altered.signature = stranger.sign(&altered.payload).unwrap().into();
    let late = now - Duration::from_secs(16 * 60);
    let cases = [
        ("another authority's client", request(&stranger, CHANNEL, now, genesis()), Status::Forbidden),
        ("another's signature", altered, Status::Forbidden),
        ("an unknown channel", request(client, "elsewhere", now, genesis()), Status::NotFound),
        ("an old request", request(client, CHANNEL, late, genesis()), Status::BadRequest),
        ("no seek info", request(client, CHANNEL, now, "\u{7f}"), Status::BadRequest),
        ("no positions", request(client, CHANNEL, now, Bytes::new()), Status::BadRequest),
        ("a start beyond the height", blocks_from(client, number(2), number(9)), Status::NotFound),
        ("a stop before the start", blocks_from(client, number(1), number(0)), Status::BadRequest),
        ("no envelope", Envelope { payload: "\u{7f}".into(), ..Envelope::default() }, Status::BadRequest),
    ];
    for kind in [Kind::Blocks, Kind::Filtered, Kind::WithPrivateData] {
        for (name, request, status) in &cases {
            let answers = peer.ask(kind, request.clone()).await;
            assert_eq!(answers, [Answer::Status(*status as i32)], "{kind:?}, {name}");
        }
    }
    peer.end().await;
}

#[tokio::test]
async fn whole_and_filtered_blocks_are_guarded_each_by_its_own_resource() {
    let organizations = Organizations::with_channel(|profile| {
        profile.acls.insert("event/Block".to_owned(), "/Channel/Application/Admins".to_owned());
    });
    let peer = TestDeliver::start(organizations).await;
    let ask = |kind, who: &SigningIdentity| {
        let answers = peer.ask(kind, blocks_from(who, number(0), number(0)));
        async move { answers.await.len() == 2 }
    };
    let (client, admin) = (peer.client(), &peer.organizations.org1.admin);
    assert!(ask(Kind::Filtered, client).await, "members may read filtered blocks");
    assert!(!ask(Kind::Blocks, client).await && !ask(Kind::WithPrivateData, client).await);
    // The policy wants a majority of two organizations' admins: one request has one signer.
    assert!(!ask(Kind::Blocks, admin).await);
    peer.end().await;
}
