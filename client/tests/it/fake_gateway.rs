//! A gateway that keeps every request and answers what the test says.

use std::sync::{Arc, Mutex};

use futures::stream::BoxStream;
use prost::Message;
use ripstop_client::Bytes;
use ripstop_proto::gateway::gateway_server::{Gateway, GatewayServer};
use ripstop_proto::gateway::{
    ChaincodeEventsResponse, CommitStatusResponse, EndorseRequest, EndorseResponse, EvaluateRequest, EvaluateResponse,
    SignedChaincodeEventsRequest, SignedCommitStatusRequest, SubmitRequest, SubmitResponse,
};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

/// What the gateway answers to each call.
#[derive(Clone)]
pub(crate) struct Answers {
    pub(crate) endorse: Result<EndorseResponse, Status>,
    pub(crate) submit: Result<SubmitResponse, Status>,
    /// `None`: never.
    pub(crate) commit_status: Option<Result<CommitStatusResponse, Status>>,
    pub(crate) evaluate: Result<EvaluateResponse, Status>,
    /// In this order; an error ends the stream.
    pub(crate) chaincode_events: Vec<Result<ChaincodeEventsResponse, Status>>,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            endorse: Ok(EndorseResponse::default()),
            submit: Ok(SubmitResponse::default()),
            commit_status: Some(Ok(CommitStatusResponse::default())),
            evaluate: Ok(EvaluateResponse::default()),
            chaincode_events: Vec::new(),
        }
    }
}

/// A running gateway.
pub(crate) struct FakeGateway {
    pub(crate) channel: Channel,
    requests: Arc<Mutex<Vec<Bytes>>>,
}

impl FakeGateway {
    pub(crate) async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let service = Service { answers, requests: Arc::clone(&requests) };
        let server = Server::builder().add_service(GatewayServer::new(service));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { channel, requests }
    }

    /// The bytes of all requests, in their order.
    pub(crate) fn requests(&self) -> Vec<Bytes> {
        self.requests.lock().unwrap().clone()
    }

    /// The last request.
    pub(crate) fn request<M: Message + Default>(&self) -> M {
        M::decode(self.requests().pop().unwrap()).unwrap()
    }
}

struct Service {
    answers: Answers,
    requests: Arc<Mutex<Vec<Bytes>>>,
}

impl Service {
    fn note(&self, request: Request<impl Message>) {
        self.requests.lock().unwrap().push(request.into_inner().encode_to_vec().into());
    }
}

#[tonic::async_trait]
impl Gateway for Service {
    async fn endorse(&self, request: Request<EndorseRequest>) -> Result<Response<EndorseResponse>, Status> {
        self.note(request);
        self.answers.endorse.clone().map(Response::new)
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        self.note(request);
        self.answers.submit.clone().map(Response::new)
    }

    async fn commit_status(
        &self,
        request: Request<SignedCommitStatusRequest>,
    ) -> Result<Response<CommitStatusResponse>, Status> {
        self.note(request);
        match self.answers.commit_status.clone() {
            Some(answer) => answer.map(Response::new),
            None => std::future::pending().await,
        }
    }

    async fn evaluate(&self, request: Request<EvaluateRequest>) -> Result<Response<EvaluateResponse>, Status> {
        self.note(request);
        self.answers.evaluate.clone().map(Response::new)
    }

    type ChaincodeEventsStream = BoxStream<'static, Result<ChaincodeEventsResponse, Status>>;

    async fn chaincode_events(
        &self,
        request: Request<SignedChaincodeEventsRequest>,
    ) -> Result<Response<Self::ChaincodeEventsStream>, Status> {
        self.note(request);
        Ok(Response::new(Box::pin(tokio_stream::iter(self.answers.chaincode_events.clone()))))
    }
}
