//! The gateway's Submit among several orderers of the channel, over real connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use prost::Message;
use ripstop_peer::gateway::Gateway;
use ripstop_proto::common::{Envelope, Status as OrderingStatus};
use ripstop_proto::gateway::SubmitRequest;
use ripstop_proto::gateway::gateway_server::Gateway as _;
use ripstop_proto::ripstop::v1::ordering_server::{Ordering, OrderingServer};
use ripstop_proto::ripstop::v1::{SubmitOutcome, SubmitRequest as Items, SubmitResponse as Outcomes};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::gateway::{details, gateway};
use crate::organizations::{CHANNEL, ORDERER, Organizations};
use crate::peers::TestNetwork;
use crate::serving::Serving;

const OTHER_ORDERER: &str = "orderer.example.com:8050";

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
