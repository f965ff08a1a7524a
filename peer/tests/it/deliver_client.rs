//! The deliver client against an orderer service that serves prepared blocks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use prost::Message;
use ripstop_msp::SigningIdentity;
use ripstop_node::transport::{ClientIdentity, Dialer};
use ripstop_peer::channel::Channel;
use ripstop_peer::deliver_client::{Backoff, BadBlock, Caller, DeliverClient, Tip, verify};
use ripstop_proto::block::header_hash;
use ripstop_proto::common::{Block, Envelope, Status};
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::orderer::atomic_broadcast_server::{AtomicBroadcast, AtomicBroadcastServer};
use ripstop_proto::orderer::{
    BroadcastResponse, DeliverResponse, SeekInfo, deliver_response, seek_info, seek_position,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Streaming};

use crate::blocks;
use crate::organizations::{CHANNEL, ORDERER, Organizations};
use crate::serving::Serving;

/// What an orderer serves: it waits for blocks that are not there yet.
pub(crate) type Chain = watch::Sender<Vec<Block>>;
/// The requests that orderers got, in order.
pub(crate) type Requests = watch::Sender<Vec<Envelope>>;

/// A chain of signed blocks after the genesis block.
pub(crate) fn signed_chain(organizations: &Organizations, count: u64) -> Vec<Block> {
    let channel = organizations.channel();
    let mut tip = Tip::of(channel.ledger()).unwrap();
    let mut chain = vec![organizations.genesis.clone()];
    for number in 1..=count {
        let entry = Envelope { payload: number.to_string().into(), signature: "s".into() }.encode_to_vec();
        let mut block = blocks::after(&tip, vec![entry.into()]);
        blocks::sign(&mut block, &organizations.orderer.identity);
        tip = Tip { next_number: number + 1, previous_hash: header_hash(block.header.as_ref().unwrap()) };
        chain.push(block);
    }
    chain
}

pub(crate) struct TestOrderer {
    pub(crate) chain: Chain,
    /// Those for blocks; `probes` counts those for the newest header.
    pub(crate) requests: Requests,
    pub(crate) probes: watch::Sender<usize>,
}

impl TestOrderer {
    /// Header and metadata of the newest block.
    fn newest_header(&self) -> DeliverResponse {
        self.probes.send_modify(|probes| *probes += 1);
        let newest = Block { data: None, ..self.chain.borrow().last().unwrap().clone() };
        DeliverResponse { r#type: Some(deliver_response::Type::Block(newest)) }
    }
}

#[tonic::async_trait]
impl AtomicBroadcast for TestOrderer {
    type BroadcastStream = BoxStream<'static, Result<BroadcastResponse, tonic::Status>>;
    type DeliverStream = BoxStream<'static, Result<DeliverResponse, tonic::Status>>;

    async fn broadcast(
        &self,
        _: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::BroadcastStream>, tonic::Status> {
        Err(tonic::Status::unimplemented("only blocks here"))
    }

    async fn deliver(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::DeliverStream>, tonic::Status> {
        let mut requests = request.into_inner();
        let envelope = requests.message().await?.unwrap();
        let payload = OpenEnvelope::from_envelope(envelope.clone()).unwrap().payload;
        let seek = SeekInfo::decode(payload.data).unwrap();
        let start = match seek.start.unwrap().r#type.unwrap() {
            seek_position::Type::Specified(start) => start,
            seek_position::Type::Newest(_) => {
                assert_eq!(seek.content_type, seek_info::SeekContentType::HeaderWithSig as i32);
                assert_eq!(seek.error_response, seek_info::SeekErrorResponse::BestEffort as i32);
                let header = futures::stream::iter([Ok(self.newest_header())]);
                return Ok(Response::new(header.boxed()));
            }
            other => panic!("a start that nobody asks for: {other:?}"),
        };
        self.requests.send_modify(|requests| requests.push(envelope));
        let (next, chain) = (start.number as usize, self.chain.subscribe());
        let blocks = futures::stream::unfold((next, chain), |(next, mut chain)| async move {
            let block = chain.wait_for(|chain| chain.len() > next).await.ok()?[next].clone();
            // An empty block stands for the orderer's refusal.
            let answer = match block.header {
                Some(_) => deliver_response::Type::Block(block),
                None => deliver_response::Type::Status(Status::ServiceUnavailable as i32),
            };
            Some((Ok(DeliverResponse { r#type: Some(answer) }), (next + 1, chain)))
        });
        Ok(Response::new(blocks.boxed()))
    }
}

async fn listen(organizations: &Organizations, address: &str, chain: &Chain, requests: &Requests) -> Serving {
    let probes = watch::Sender::new(0);
    serve(organizations, address, TestOrderer { chain: chain.clone(), requests: requests.clone(), probes }).await
}

pub(crate) async fn serve(organizations: &Organizations, address: &str, orderer: TestOrderer) -> Serving {
    let routes = Routes::new(AtomicBroadcastServer::new(orderer));
    Serving::start(&organizations.orderer.folder, address, routes).await
}

/// A deliver client that runs; of the two configured endpoints the second is dead.
pub(crate) struct Following {
    channel: Arc<Channel>,
    blocks: mpsc::Receiver<Block>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Following {
    fn new(organizations: &Organizations, orderer: SocketAddr) -> Self {
        let dead = ("orderer2.example.com:7150".to_owned(), "127.0.0.1:1".to_owned());
        let dial = BTreeMap::from([(ORDERER.to_owned(), orderer.to_string()), dead]);
        Self::dialling(organizations, dial, Duration::from_secs(3600))
    }

    pub(crate) fn dialling(
        organizations: &Organizations,
        dial: BTreeMap<String, String>,
        silence_max: Duration,
    ) -> Self {
        let channel = organizations.channel();
        let folder = &organizations.org1.peer_folder;
        let caller = Caller {
            identity: Arc::new(SigningIdentity::from_msp_folder("Org1MSP", folder.msp()).unwrap()),
            dialer: Dialer::new(dial),
            tls: Some(ClientIdentity {
                certificate_pem: std::fs::read(folder.tls_certificate()).unwrap(),
                key_pem: std::fs::read(folder.tls_key()).unwrap(),
            }),
            tls_certificate_hash: [5; 32],
        };
        let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(20));
        let client = DeliverClient::new(Arc::clone(&channel), caller, backoff, 42).with_silence_max(silence_max);
        let (sender, blocks) = mpsc::channel(1);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(client.run(sender, shutdown.clone()));
        Self { channel, blocks, shutdown, task }
    }

    pub(crate) async fn expect(&mut self, expected: &[Block]) {
        for block in expected {
            assert_eq!(self.blocks.recv().await.as_ref(), Some(block));
        }
    }

    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn blocks_come_in_order_from_the_height_on_by_a_signed_request() {
    let organizations = Organizations::new();
    let blocks = signed_chain(&organizations, 5);
    let chain = watch::Sender::new(blocks.clone());
    let requests = Requests::default();
    let orderer = listen(&organizations, "127.0.0.1:0", &chain, &requests).await;
    let mut following = Following::new(&organizations, orderer.address);
    following.expect(&blocks[1..]).await;

    let request = OpenEnvelope::from_envelope(requests.borrow()[0].clone()).unwrap();
    assert_eq!(request.channel_header.channel_id, CHANNEL);
    assert_eq!(request.channel_header.tls_cert_hash, [5; 32].as_slice());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert!((now - request.channel_header.timestamp.unwrap().seconds).abs() < 60);
    let config = following.channel.config();
    let signer = config.msps().identity(&request.signature_header.creator).unwrap();
    signer.verify(&request.envelope.payload, &request.envelope.signature).unwrap();
    let seek = SeekInfo::decode(request.payload.data).unwrap();
    assert_eq!(seek.behavior, seek_info::SeekBehavior::BlockUntilReady as i32);
    let Some(seek_position::Type::Specified(stop)) = seek.stop.unwrap().r#type else { panic!("no stop") };
    assert_eq!(stop.number, u64::MAX);
    following.end().await;
    orderer.end().await;
}

#[tokio::test]
async fn it_resumes_after_the_orderer_was_away() {
    let organizations = Organizations::new();
    let blocks = signed_chain(&organizations, 6);
    let chain = watch::Sender::new(blocks[..4].to_vec());
    let requests = Requests::default();
    let orderer = listen(&organizations, "127.0.0.1:0", &chain, &requests).await;
    let address = orderer.address.to_string();
    let mut following = Following::new(&organizations, orderer.address);
    following.expect(&blocks[1..4]).await;
    orderer.end().await;
    chain.send_replace(blocks.clone());
    let orderer = listen(&organizations, &address, &chain, &requests).await;
    tokio::time::timeout(Duration::from_secs(20), following.expect(&blocks[4..])).await.unwrap();
    assert_eq!(requests.borrow().len(), 2);
    following.end().await;
    orderer.end().await;
}

#[tokio::test]
async fn a_bad_block_is_not_handed_on_and_the_good_one_is_asked_for_again() {
    let organizations = Organizations::new();
    let blocks = signed_chain(&organizations, 3);
    let mut bad = blocks.clone();
    bad[2].data.as_mut().unwrap().data[0] = blocks[3].data.as_ref().unwrap().data[0].clone();
    let chain = watch::Sender::new(bad);
    let requests = Requests::default();
    let orderer = listen(&organizations, "127.0.0.1:0", &chain, &requests).await;
    let mut following = Following::new(&organizations, orderer.address);
    following.expect(&blocks[1..2]).await;
    // At the third request the bad block has been refused twice.
    requests.subscribe().wait_for(|requests| requests.len() >= 3).await.unwrap();
    assert!(following.blocks.try_recv().is_err());
    chain.send_replace(blocks.clone());
    following.expect(&blocks[2..]).await;
    following.end().await;
    orderer.end().await;
}

#[tokio::test]
async fn an_orderer_that_answers_with_a_status_is_asked_again() {
    let organizations = Organizations::new();
    let blocks = signed_chain(&organizations, 2);
    let chain = watch::Sender::new(vec![blocks[0].clone(), blocks[1].clone(), Block::default()]);
    let requests = Requests::default();
    let orderer = listen(&organizations, "127.0.0.1:0", &chain, &requests).await;
    let mut following = Following::new(&organizations, orderer.address);
    following.expect(&blocks[1..2]).await;
    requests.subscribe().wait_for(|requests| requests.len() >= 2).await.unwrap();
    chain.send_replace(blocks.clone());
    following.expect(&blocks[2..]).await;
    following.end().await;
    orderer.end().await;
}

#[tokio::test]
async fn it_ends_when_nobody_takes_blocks_any_more() {
    let organizations = Organizations::new();
    let blocks = signed_chain(&organizations, 3);
    let chain = watch::Sender::new(blocks.clone());
    let requests = Requests::default();
    let orderer = listen(&organizations, "127.0.0.1:0", &chain, &requests).await;
    let mut following = Following::new(&organizations, orderer.address);
    following.expect(&blocks[1..2]).await;
    drop(following.blocks);
    following.task.await.unwrap();
    orderer.end().await;
}

/// A way to spoil block 1, and the refusal it gets.
type Spoiled = (&'static str, fn(&mut Block, &Organizations), fn(&BadBlock) -> bool);

#[test]
fn each_flaw_of_a_block_is_refused() {
    let spoiled: [Spoiled; 11] = [
        ("header", |block, _| block.header = None, |bad| matches!(bad, BadBlock::Missing { .. })),
        (
            "number",
            |block, _| block.header.as_mut().unwrap().number = 2,
            |bad| matches!(bad, BadBlock::Number { expected: 1, number: 2 }),
        ),
        (
            "previous hash",
            |block, _| block.header.as_mut().unwrap().previous_hash = vec![1; 32].into(),
            |bad| matches!(bad, BadBlock::PreviousHash { .. }),
        ),
        (
            "slots",
            |block, _| block.metadata.as_mut().unwrap().metadata.truncate(4),
            |bad| matches!(bad, BadBlock::MetadataSlots { count: 4, .. }),
        ),
        (
            "no entries",
            |block, _| block.data.as_mut().unwrap().data.clear(),
            |bad| matches!(bad, BadBlock::Missing { .. }),
        ),
        (
            "no envelope",
            |block, _| block.data.as_mut().unwrap().data[0] = "\u{7f}".into(),
            |bad| matches!(bad, BadBlock::Entry { index: 0, .. }),
        ),
        (
            "unsigned envelope",
            |block, _| {
                let unsigned = Envelope { payload: "1".into(), ..Default::default() };
                block.data.as_mut().unwrap().data[0] = unsigned.encode_to_vec().into();
            },
            |bad| matches!(bad, BadBlock::Entry { .. }),
        ),
        (
            "other entries",
            |block, _| {
                let other = Envelope { payload: "other".into(), signature: "s".into() };
                block.data.as_mut().unwrap().data[0] = other.encode_to_vec().into();
            },
            |bad| matches!(bad, BadBlock::DataHash { .. }),
        ),
        (
            "unsigned",
            |block, _| block.metadata.as_mut().unwrap().metadata[0] = Default::default(),
            |bad| matches!(bad, BadBlock::Signatures(_)),
        ),
        (
            "signed by a peer",
            |block, organizations| blocks::sign(block, &organizations.org1.peer),
            |bad| matches!(bad, BadBlock::Signatures(_)),
        ),
        (
            "signed by a stranger",
            |block, _| blocks::sign(block, &Organizations::new().orderer.identity),
            |bad| matches!(bad, BadBlock::Signatures(_)),
        ),
    ];
    let organizations = Organizations::new();
    let channel = organizations.channel();
    let tip = Tip::of(channel.ledger()).unwrap();
    let good = signed_chain(&organizations, 1).remove(1);
    let next = verify(&good, &tip, &channel.config()).unwrap();
    assert_eq!(next, Tip { next_number: 2, previous_hash: header_hash(good.header.as_ref().unwrap()) });
    for (name, spoil, is_expected) in spoiled {
        let mut block = good.clone();
        spoil(&mut block, &organizations);
        let bad = verify(&block, &tip, &channel.config()).unwrap_err();
        assert!(is_expected(&bad), "{name}: {bad:?}");
    }
}
