//! The gateway of one peer among several endorsers of the other organization: all in this
//! process, reached over real connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prost::Message;
use ripstop_channel::genesis::Profile;
use ripstop_node::transport::Dialer;
use ripstop_peer::endorser::Endorser;
use ripstop_peer::gateway::{Gateway, LocalPeer, Timeouts};
use ripstop_proto::common::Envelope;
use ripstop_proto::gateway::gateway_server::Gateway as _;
use ripstop_proto::gateway::{EndorseRequest, ErrorDetail, EvaluateRequest};
use ripstop_proto::google::rpc;
use ripstop_proto::protos::endorser_server::{Endorser as EndorserService, EndorserServer};
use ripstop_proto::protos::{ProposalResponse, SignedProposal};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use crate::contract_server::ContractServer;
use crate::organizations::Organizations;
use crate::peers::{Call, TestNetwork};
use crate::serving::Serving;

const LOCAL: &str = "peer0.org1.example.com:7051";
pub(crate) const PORTS: [u16; 3] = [9051, 10051, 11051];

pub(crate) fn advertised(port: u16) -> String {
    format!("peer0.org2.example.com:{port}")
}

/// What is done before all peers of Org2 together are asked so many more times.
pub(crate) type Later = Arc<Mutex<Option<(usize, Box<dyn FnOnce() + Send>)>>>;

/// The endorser of Org2, counting who asks; it may fail on demand.
struct Counting {
    endorser: Arc<Endorser>,
    calls: Arc<AtomicUsize>,
    failing: Arc<AtomicBool>,
    later: Later,
}

impl Counting {
    fn act_if_due(&self) {
        let mut later = self.later.lock();
        match later.take() {
            Some((0, act)) => act(),
            Some((calls, act)) => *later = Some((calls - 1, act)),
            None => {}
        }
    }
}

#[tonic::async_trait]
impl EndorserService for Counting {
    async fn process_proposal(&self, request: Request<SignedProposal>) -> Result<Response<ProposalResponse>, Status> {
        self.calls.fetch_add(1, SeqCst);
        self.act_if_due();
        match self.failing.load(SeqCst) {
            true => Err(Status::unknown("out of order")),
            false => self.endorser.process_proposal(request).await,
        }
    }
}

/// One of several peers of Org2.
pub(crate) struct Remote {
    endorser: Arc<Endorser>,
    address: SocketAddr,
    serving: Option<Serving>,
    calls: Arc<AtomicUsize>,
    failing: Arc<AtomicBool>,
    later: Later,
}

impl Remote {
    async fn start(network: &TestNetwork, later: &Later) -> Self {
        let mut remote = Self {
            endorser: Arc::clone(&network.peers[1].endorser),
            address: "127.0.0.1:0".parse().unwrap(),
            serving: None,
            calls: Arc::default(),
            failing: Arc::default(),
            later: Arc::clone(later),
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
            later: Arc::clone(&self.later),
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
pub(crate) struct TestGateway {
    pub(crate) network: TestNetwork,
    remotes: Vec<Remote>,
    gateway: Gateway,
    pub(crate) later: Later,
    _contract: ContractServer,
}

impl TestGateway {
    pub(crate) async fn start() -> Self {
        let organizations = Organizations::with_channel(|profile: &mut Profile| {
            let host = |name: &str, port: u16| (name.to_owned(), port);
            profile.organizations[0].anchor_peers = vec![host("peer0.org1.example.com", 7051)];
            profile.organizations[1].anchor_peers =
                PORTS.iter().map(|port| host("peer0.org2.example.com", *port)).collect();
        });
        let (network, contract) = TestNetwork::of(organizations, Default::default()).with_contract().await;
        let (mut remotes, later) = (Vec::new(), Later::default());
        for _ in PORTS {
            remotes.push(Remote::start(&network, &later).await);
        }
        let dial = PORTS.iter().zip(&remotes).map(|(port, remote)| (advertised(*port), remote.address.to_string()));
        let gateway = gateway(&network, dial.collect());
        Self { network, remotes, gateway, later, _contract: contract }
    }

    async fn endorse(&self) -> Result<Envelope, Status> {
        self.endorse_call(&Call::new("basic", &["put", "key", "value"])).await
    }

    pub(crate) async fn endorse_call(&self, call: &Call) -> Result<Envelope, Status> {
        let signed = call.signed(self.network.client());
        let request = EndorseRequest { proposed_transaction: Some(signed), ..EndorseRequest::default() };
        let prepared = self.gateway.endorse(Request::new(request)).await?.into_inner().prepared_transaction;
        Ok(prepared.unwrap())
    }

    pub(crate) fn calls(&self) -> Vec<usize> {
        self.remotes.iter().map(Remote::calls).collect()
    }
}

pub(crate) fn gateway(network: &TestNetwork, dial: BTreeMap<String, String>) -> Gateway {
    let local = LocalPeer { address: LOCAL.to_owned(), msp_id: "Org1MSP".to_owned() };
    let timeouts = Timeouts { endorsement: Duration::from_secs(20), broadcast: Duration::from_secs(20) };
    let peer = &network.peers[0];
    Gateway::new(local, Arc::clone(&peer.channels), Arc::clone(&peer.endorser), Dialer::new(dial), timeouts)
}

pub(crate) fn details(status: &Status) -> Vec<ErrorDetail> {
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
async fn the_policies_of_written_keys_are_planned_for() {
    let test = TestGateway::start().await;
    let [one, two] = &test.network.peers;
    for (key, policy) in [("mine", "OR('Org1MSP.peer')"), ("theirs", "AND('Org2MSP.peer')")] {
        let call = Call::new("basic", &["put with policy", key, policy]);
        test.network.submit(&call, test.network.client(), &[one, two]).await;
    }
    test.endorse_call(&Call::new("basic", &["put", "mine", "v"])).await.unwrap();
    assert_eq!(test.calls(), [0, 0, 0], "the chaincode's policy does not matter");
    test.endorse_call(&Call::new("basic", &["put", "theirs", "v"])).await.unwrap();
    test.endorse_call(&Call::new("basic", &["put", "other", "v"])).await.unwrap();
    assert_eq!(test.calls().iter().sum::<usize>(), 2);
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
