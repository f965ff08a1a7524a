//! The calls of client applications: evaluate a proposal, collect endorsements for it,
//! submit the signed transaction, wait for its commit, follow chaincode events.
//!
//! The gateway plans which organizations have to endorse and asks their peers; it never
//! runs chaincode, never judges a transaction and keeps nothing between two calls of a
//! client. What a client may do is decided by `access`, what a policy wants by `channel`.
//!
//! Read next: `endorse` for the longest way through, `plan` and `standing` for who is asked,
//! `failure` for what a client sees when somebody said no.

mod chaincode_events;
mod commit_status;
mod deadline;
mod endorse;
mod endorsers;
mod evaluate;
mod failure;
mod orderers;
mod ordering_stream;
mod peers;
mod plan;
mod probe;
mod standing;
mod submit;

use std::sync::Arc;
use std::time::Duration;

use ripstop_node::transport::Dialer;
use ripstop_proto::gateway as wire;
use tonic::{Request, Response, Status};

pub use self::peers::LocalPeer;

use self::endorsers::Endorsers;
use self::orderers::Orderers;
use crate::channel::{Channel, Channels};
use crate::endorser::Endorser;

/// How long the gateway waits for others.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For one call to one endorser of another peer. This peer's own endorser is bounded by
    /// the execution timeout of chaincode instead.
    pub endorsement: Duration,
    /// For one orderer's answer.
    pub broadcast: Duration,
}

/// How long a connection to another node may take; who is slower counts as down and is
/// tried again in the background.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The gateway of one peer, serving all its channels.
#[derive(Clone)]
pub struct Gateway {
    channels: Arc<Channels>,
    endorsers: Arc<Endorsers>,
    orderers: Arc<Orderers>,
}

impl Gateway {
    /// A gateway in front of `endorser`, which reaches other nodes through `dialer`.
    pub fn new(
        local: LocalPeer,
        channels: Arc<Channels>,
        endorser: Arc<Endorser>,
        dialer: Dialer,
        timeouts: Timeouts,
    ) -> Self {
        let dialer = dialer.with_connect_timeout(CONNECT_TIMEOUT);
        Self {
            channels,
            endorsers: Arc::new(Endorsers::new(local, endorser, dialer.clone(), timeouts.endorsement)),
            orderers: Arc::new(Orderers::new(dialer, timeouts.broadcast)),
        }
    }

    fn channel(&self, channel_id: &str) -> Result<Arc<Channel>, Status> {
        self.channels.get(channel_id).ok_or_else(|| {
            Status::failed_precondition(format!(
                "channel '{channel_id}' not found: this peer has joined {:?}",
                self.channels.ids()
            ))
        })
    }
}

#[tonic::async_trait]
impl wire::gateway_server::Gateway for Gateway {
    type ChaincodeEventsStream = chaincode_events::EventStream;

    async fn endorse(&self, request: Request<wire::EndorseRequest>) -> Result<Response<wire::EndorseResponse>, Status> {
        let text = endorse::TIMED_OUT;
        deadline::within(request, text, |request| self.endorse_proposal(request)).await
    }

    async fn submit(&self, request: Request<wire::SubmitRequest>) -> Result<Response<wire::SubmitResponse>, Status> {
        let text = submit::TIMED_OUT;
        deadline::within(request, text, |request| self.submit_transaction(request)).await
    }

    async fn commit_status(
        &self,
        request: Request<wire::SignedCommitStatusRequest>,
    ) -> Result<Response<wire::CommitStatusResponse>, Status> {
        let text = commit_status::TIMED_OUT;
        deadline::within(request, text, |request| self.await_commit(request)).await
    }

    async fn evaluate(
        &self,
        request: Request<wire::EvaluateRequest>,
    ) -> Result<Response<wire::EvaluateResponse>, Status> {
        let text = evaluate::TIMED_OUT;
        deadline::within(request, text, |request| self.evaluate_proposal(request)).await
    }

    async fn chaincode_events(
        &self,
        request: Request<wire::SignedChaincodeEventsRequest>,
    ) -> Result<Response<Self::ChaincodeEventsStream>, Status> {
        Ok(Response::new(self.follow_events(request.into_inner())?))
    }
}
