//! The gateway of one peer among several endorsers of the other organization, and several
//! orderers: all in this process, reached over real connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use prost::Message;
use ripstop_channel::genesis::Profile;
use ripstop_node::transport::Dialer;
use ripstop_peer::endorser::Endorser;
use ripstop_peer::gateway::{Gateway, LocalPeer, Timeouts};
use ripstop_proto::common::{Envelope, Status as OrderingStatus};
use ripstop_proto::gateway::gateway_server::Gateway as _;
use ripstop_proto::gateway::{EndorseRequest, ErrorDetail, EvaluateRequest, SubmitRequest};
use ripstop_proto::google::rpc;
use ripstop_proto::protos::endorser_server::{Endorser as EndorserService, EndorserServer};
use ripstop_proto::protos::{ProposalResponse, SignedProposal};
use ripstop_proto::ripstop::v1::ordering_server::{Ordering, OrderingServer};
use ripstop_proto::ripstop::v1::{SubmitOutcome, SubmitRequest as Items, SubmitResponse as Outcomes};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::contract_server::ContractServer;
use crate::organizations::{CHANNEL, ORDERER, Organizations};
use crate::peers::{Call, TestNetwork};
use crate::serving::Serving;

const LOCAL: &str = "peer0.org1.example.com:7051";
const PORTS: [u16; 3] = [9051, 10051, 11051];
const OTHER_ORDERER: &str = "orderer.example.com:8050";

fn advertised(port: u16) -> String {
    format!("peer0.org2.example.com:{port}")
}

/// The endorser of Org2, counting who asks; it may fail on demand.
struct Counting {
    endorser: Arc<Endorser>,
    calls: Arc<AtomicUsize>,
    failing: Arc<AtomicBool>,
}

#[tonic::async_trait]
impl EndorserService for Counting {
    async fn process_proposal(&self, request: Request<SignedProposal>) -> Result<Response<ProposalResponse>, Status> {
        self.calls.fetch_add(1, SeqCst);
        match self.failing.load(SeqCst) {
            true => Err(Status::unknown("out of order")),
            false => self.endorser.process_proposal(request).await,
        }
    }
}

/// One of several peers of Org2.
struct Remote {
    endorser: Arc<Endorser>,
    address: SocketAddr,
    serving: Option<Serving>,
    calls: Arc<AtomicUsize>,
    failing: Arc<AtomicBool>,
}

impl Remote {
    async fn start(network: &TestNetwork) -> Self {
        let mut remote = Self {
            endorser: Arc::clone(&network.peers[1].endorser),
            address: "127.0.0.1:0".parse().unwrap(),
            serving: None,
            calls: Arc::default(),
            failing: Arc::default(),
        };
        remote.listen(network).await;
        remote
    }

    /// Serves, again at the same address if it did before.
    async fn listen(&mut self, network: &TestNetwork) {
        let service = Counting {
            endorser: Arc::clone(&self.endorser),
            calls: Arc::clone(&self.calls),
            failing: Arc::clone(&self.failing),
        };
        let folder = &network.organizations.org2.peer_folder;
        let routes = Routes::new(EndorserServer::new(service));
        let serving = Serving::start(folder, &self.address.to_string(), routes).await;
        self.address = serving.address;
        self.serving = Some(serving);
    }

    async fn die(&mut self) {
        self.serving.take().unwrap().end().await;
    }

    /// The calls since this was asked last.
    fn calls(&self) -> usize {
        self.calls.swap(0, SeqCst)
    }
}

/// The gateway of Org1's peer; Org2 has three peers, and every organization has to endorse.
struct TestGateway {
    network: TestNetwork,
    remotes: Vec<Remote>,
    gateway: Gateway,
    _contract: ContractServer,
}

impl TestGateway {
    async fn start() -> Self {
        let organizations = Organizations::with_channel(|profile: &mut Profile| {
            let host = |name: &str, port: u16| (name.to_owned(), port);
            profile.organizations[0].anchor_peers = vec![host("peer0.org1.example.com", 7051)];
            profile.organizations[1].anchor_peers =
                PORTS.iter().map(|port| host("peer0.org2.example.com", *port)).collect();
        });
        let (network, contract) = TestNetwork::of(organizations, Default::default()).with_contract().await;
        let mut remotes = Vec::new();
        for _ in PORTS {
            remotes.push(Remote::start(&network).await);
        }
        let dial = PORTS.iter().zip(&remotes).map(|(port, remote)| (advertised(*port), remote.address.to_string()));
        let gateway = gateway(&network, dial.collect());
        Self { network, remotes, gateway, _contract: contract }
    }

    async fn endorse(&self) -> Result<Envelope, Status> {
        let signed = Call::new("basic", &["put", "key", "value"]).signed(self.network.client());
        let request = EndorseRequest { proposed_transaction: Some(signed), ..EndorseRequest::default() };
        let prepared = self.gateway.endorse(Request::new(request)).await?.into_inner().prepared_transaction;
        Ok(prepared.unwrap())
    }

    fn calls(&self) -> Vec<usize> {
        self.remotes.iter().map(Remote::calls).collect()
    }
}

fn gateway(network: &TestNetwork, dial: BTreeMap<String, String>) -> Gateway {
    let local = LocalPeer { address: LOCAL.to_owned(), msp_id: "Org1MSP".to_owned() };
    let timeouts = Timeouts { endorsement: Duration::from_secs(20), broadcast: Duration::from_secs(20) };
    let peer = &network.peers[0];
    Gateway::new(local, Arc::clone(&peer.channels), Arc::clone(&peer.endorser), Dialer::new(dial), timeouts)
}

fn details(status: &Status) -> Vec<ErrorDetail> {
    let rich = rpc::Status::decode(status.details()).unwrap();
    rich.details.iter().map(|detail| ErrorDetail::decode(detail.value.as_slice()).unwrap()).collect()
}

#[tokio::test]
async fn the_load_is_spread_over_the_healthy_peers_of_another_organization() {
    let test = TestGateway::start().await;
    for _ in 0..12 {
        test.endorse().await.unwrap();
    }
    assert_eq!(test.calls(), [4, 4, 4]);
}

#[tokio::test]
async fn a_dead_peer_is_gone_round_at_once_and_used_again_when_it_returns() {
    let mut test = TestGateway::start().await;
    let stop = CancellationToken::new();
    let probing = tokio::spawn(test.gateway.clone().keep_probing(stop.clone()));
    for _ in 0..6 {
        test.endorse().await.unwrap();
    }
    assert!(test.calls().iter().all(|calls| *calls == 2));
    test.remotes[1].die().await;
    let dead_since = Instant::now();
    for _ in 0..12 {
        test.endorse().await.unwrap();
    }
    assert!(dead_since.elapsed() < Duration::from_secs(5), "{:?}", dead_since.elapsed());
    let calls = test.calls();
    assert_eq!((calls[1], calls[0] + calls[2]), (0, 12), "{calls:?}");

    let TestGateway { network, remotes, .. } = &mut test;
    remotes[1].listen(network).await;
    let returned_at = Instant::now();
    while test.remotes[1].calls() == 0 {
        test.endorse().await.unwrap();
        assert!(returned_at.elapsed() < Duration::from_secs(5), "the peer is not used again");
    }
    stop.cancel();
    probing.await.unwrap();
}

#[tokio::test]
async fn a_failing_peer_is_gone_round_too() {
    let test = TestGateway::start().await;
    test.remotes[0].failing.store(true, SeqCst);
    for _ in 0..9 {
        test.endorse().await.unwrap();
    }
    let calls = test.calls();
    assert!((1..3).contains(&calls[0]), "its turn came three times, and mostly the others were asked: {calls:?}");
    assert_eq!(calls[1] + calls[2], 9);
}

#[tokio::test]
async fn when_no_peer_is_left_the_details_name_each_by_its_advertised_address() {
    let mut test = TestGateway::start().await;
    for remote in &mut test.remotes {
        remote.die().await;
    }
    for _ in 0..2 {
        let refused = test.endorse().await.unwrap_err();
        assert_eq!(refused.code(), Code::Aborted);
        let text = "failed to collect enough transaction endorsements, see attached details for more info";
        assert_eq!(refused.message(), text);
        let details = details(&refused);
        assert_eq!(details.len(), 3, "each is asked once, also those known to be down");
        let named: BTreeSet<_> = details.iter().map(|detail| detail.address.clone()).collect();
        assert_eq!(named, PORTS.into_iter().map(advertised).collect());
        for detail in details {
            assert_eq!(detail.msp_id, "Org2MSP");
            assert!(detail.message.starts_with("rpc error: code = Unavailable"), "{}", detail.message);
        }
    }
}

#[tokio::test]
async fn evaluate_asks_our_own_peer() {
    let test = TestGateway::start().await;
    let signed = Call::new("basic", &["get", "key"]).signed(test.network.client());
    for _ in 0..6 {
        let request = EvaluateRequest { proposed_transaction: Some(signed.clone()), ..EvaluateRequest::default() };
        let result = test.gateway.evaluate(Request::new(request)).await.unwrap().into_inner().result.unwrap();
        assert_eq!(result.status, 200);
    }
    assert_eq!(test.calls(), [0, 0, 0]);
}

/// A way to a node that can be stopped, as SIGSTOP stops a process: connections stay, and
/// no more bytes come.
struct StoppableWay {
    address: SocketAddr,
    stopped: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl StoppableWay {
    async fn to(target: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = tokio::sync::watch::Sender::new(false);
        let state = stopped.subscribe();
        let task = tokio::spawn(async move {
            let mut ways = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = state.clone();
                ways.spawn(async move {
                    let forward = async {
                        let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    };
                    tokio::select! {
                        biased;
                        _ = state.wait_for(|stopped| *stopped) => {}
                        () = forward => return,
                    }
                    std::future::pending::<()>().await;
                });
            }
        });
        Self { address, stopped, task }
    }
}

impl Drop for StoppableWay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_peer_that_hangs_with_its_connections_open_is_gone_round() {
    let mut test = TestGateway::start().await;
    let way = StoppableWay::to(test.remotes[0].address).await;
    let addresses = [way.address, test.remotes[1].address, test.remotes[2].address];
    let dial = PORTS.iter().zip(addresses).map(|(port, address)| (advertised(*port), address.to_string()));
    test.gateway = gateway(&test.network, dial.collect());
    for _ in 0..3 {
        test.endorse().await.unwrap();
    }
    assert_eq!(test.calls(), [1, 1, 1]);
    way.stopped.send_replace(true);
    let began = Instant::now();
    for _ in 0..3 {
        test.endorse().await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(test.calls()[0], 0);
}

/// What an orderer does with the next envelope.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Order,
    /// Takes it and breaks the stream without an answer.
    Break,
    Unable,
    Refuse,
}

/// An orderer that follows its list and then orders all; it notes what it got.
#[derive(Clone, Default)]
struct TestOrderer {
    nexts: Arc<Mutex<Vec<Next>>>,
    got: Arc<Mutex<Vec<Bytes>>>,
}

#[tonic::async_trait]
impl Ordering for TestOrderer {
    type SubmitStream = BoxStream<'static, Result<Outcomes, Status>>;

    async fn submit(&self, request: Request<Streaming<Items>>) -> Result<Response<Self::SubmitStream>, Status> {
        let orderer = self.clone();
        let answers = request.into_inner().map(move |items| {
            let outcomes = items?.items.into_iter().map(|item| {
                assert_eq!(item.channel_id, CHANNEL);
                orderer.got.lock().push(item.envelope);
                let mut nexts = orderer.nexts.lock();
                let next = if nexts.is_empty() { Next::Order } else { nexts.remove(0) };
                let (status, info) = match next {
                    Next::Break => return Err(Status::aborted("the orderer went away")),
                    Next::Order => (OrderingStatus::Success, ""),
                    Next::Unable => (OrderingStatus::ServiceUnavailable, "no leader"),
                    Next::Refuse => (OrderingStatus::BadRequest, "not so"),
                };
                Ok(SubmitOutcome { correlation_id: item.correlation_id, status: status.into(), info: info.into() })
            });
            Ok(Outcomes { outcomes: outcomes.collect::<Result<_, _>>()? })
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// A gateway and the two orderers of the channel.
struct TestSubmit {
    gateway: Gateway,
    orderers: [TestOrderer; 2],
    serving: Vec<Serving>,
    envelope: Envelope,
    _network: TestNetwork,
}

impl TestSubmit {
    async fn start() -> Self {
        let organizations = Organizations::with_channel(|profile| {
            profile.orderer_organizations[0].endpoints = vec![ORDERER.to_owned(), OTHER_ORDERER.to_owned()];
        });
        let network = TestNetwork::of(organizations, Default::default());
        let orderers = [TestOrderer::default(), TestOrderer::default()];
        let mut serving = Vec::new();
        let mut dial = BTreeMap::new();
        let names = [(ORDERER, 0), (OTHER_ORDERER, 1)];
        for (advertised, index) in names {
            let folder = &network.organizations.orderer.folder;
            let routes = Routes::new(OrderingServer::new(orderers[index].clone()));
            let served = Serving::start(folder, "127.0.0.1:0", routes).await;
            dial.insert(advertised.to_owned(), served.address.to_string());
            serving.push(served);
        }
        let gateway = gateway(&network, dial);
        let envelope = Envelope { payload: "transaction".into(), signature: "signature".into() };
        Self { gateway, orderers, serving, envelope, _network: network }
    }

    async fn submit(&self) -> Result<(), Status> {
        let prepared_transaction = Some(self.envelope.clone());
        let request =
            SubmitRequest { channel_id: CHANNEL.to_owned(), prepared_transaction, ..SubmitRequest::default() };
        self.gateway.submit(Request::new(request)).await.map(|_| ())
    }

    /// How often each got the envelope.
    fn got(&self) -> [usize; 2] {
        self.orderers.each_ref().map(|orderer| {
            let got = std::mem::take(&mut *orderer.got.lock());
            assert!(got.iter().all(|envelope| *envelope == self.envelope.encode_to_vec()));
            got.len()
        })
    }
}

#[tokio::test]
async fn an_envelope_whose_orderer_went_away_goes_to_another_one() {
    let test = TestSubmit::start().await;
    test.orderers[0].nexts.lock().push(Next::Break);
    test.orderers[1].nexts.lock().push(Next::Break);
    test.submit().await.unwrap_err();
    assert_eq!(test.got(), [1, 1], "each was asked once");
    test.orderers[0].nexts.lock().push(Next::Break);
    for _ in 0..4 {
        test.submit().await.unwrap();
    }
    let [broken, other] = test.got();
    assert_eq!((broken, other), (1, 4), "the broken one is left alone");
}

#[tokio::test]
async fn while_no_leader_is_there_the_same_envelope_is_sent_again() {
    let test = TestSubmit::start().await;
    for orderer in &test.orderers {
        orderer.nexts.lock().extend([Next::Unable, Next::Unable, Next::Unable]);
    }
    test.submit().await.unwrap();
    let [one, two] = test.got();
    assert_eq!(one + two, 7, "three rounds over two orderers, and then one of them could");
}

#[tokio::test]
async fn a_refusal_is_final() {
    let test = TestSubmit::start().await;
    for orderer in &test.orderers {
        orderer.nexts.lock().push(Next::Refuse);
    }
    let refused = test.submit().await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert_eq!(refused.message(), "received unsuccessful response from orderer: status=BAD_REQUEST, info=not so");
    let [one, two] = test.got();
    assert_eq!(one + two, 1);
}

#[tokio::test]
async fn without_any_orderer_the_details_name_each_by_its_advertised_address() {
    let mut test = TestSubmit::start().await;
    for serving in test.serving.drain(..) {
        serving.end().await;
    }
    let refused = test.submit().await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.message(), "no orderers could successfully process transaction");
    let named: Vec<_> = details(&refused).into_iter().map(|detail| (detail.address, detail.msp_id)).collect();
    assert_eq!(
        named,
        [(ORDERER.to_owned(), "OrdererMSP".to_owned()), (OTHER_ORDERER.to_owned(), "OrdererMSP".to_owned())]
    );
}
