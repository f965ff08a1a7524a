//! The Endorser service: checks a signed proposal, runs its chaincode on one
//! height of the ledger and signs the result.
//!
//! Trouble with the proposal itself becomes a gRPC error; trouble while it is processed,
//! and what the chaincode says, is an answer with a status. It does not know who else
//! endorses. Read `endorser/admission` for the checks before anything runs,
//! `endorser/simulation` for running it and what it calls, `endorser/answer` for what is
//! signed, `endorser/interest` for what the gateway plans by, `chaincode` for the
//! conversation with the contract, `access` for who may ask. Source: Fabric `core/endorser/endorser.go`.

mod admission;
mod answer;
mod interest;
mod simulation;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ripstop_ledger::SimulationResult;
use ripstop_msp::{Msp, SigningIdentity};
use ripstop_node::logging::Seldom;
use ripstop_proto::protos::endorser_server::Endorser as Service;
use ripstop_proto::protos::{ProposalResponse, Response, SignedProposal};
use tonic::{Request, Status};

use self::admission::{Admitted, Rejection};
use self::answer::Executed;
use self::simulation::Simulation;
use crate::chaincode::host::Host;
use crate::channel::{Channel, Channels};
use crate::cscc::Cscc;
use crate::divergence::Finding;
use crate::lifecycle;
use crate::lifecycle::contract::LifecycleContract;
use crate::lifecycle::invocable::Invocables;
use crate::qscc::Qscc;

/// The version that stands in answers of chaincodes built into the peer.
const SYSTEM_VERSION: &str = "syscc";

/// Chaincodes built into every peer; they have no definition and no contract process.
pub(crate) fn is_system_chaincode(name: &str) -> bool {
    matches!(name, lifecycle::NAMESPACE | "lscc" | "cscc" | "qscc")
}

/// Answers proposals with endorsements of this peer.
pub struct Endorser {
    channels: Arc<Channels>,
    local_msp: Arc<Msp>,
    identity: Arc<SigningIdentity>,
    host: Arc<Host>,
    time_window: Duration,
    invocables: Arc<Invocables>,
    lifecycle: Arc<LifecycleContract>,
    cscc: Arc<Cscc>,
    qscc: Arc<Qscc>,
    denied: Seldom,
    unanswered: Seldom,
}

/// What a caller in this process gets. Over gRPC only one of the two can be sent: the
/// error, if there is one.
#[derive(Debug)]
pub struct Endorsement {
    /// The answer; also beside an error that a proposal itself is at fault for.
    pub response: Option<ProposalResponse>,
    /// The gRPC error.
    pub error: Option<Status>,
}

impl Endorser {
    /// An endorser that signs as `identity` and accepts timestamps within `time_window`
    /// of its clock, to either side.
    pub fn new(
        channels: Arc<Channels>,
        local_msp: Arc<Msp>,
        identity: Arc<SigningIdentity>,
        host: Arc<Host>,
        time_window: Duration,
    ) -> Self {
        let invocables = Arc::new(Invocables::new(local_msp.id().to_owned(), host.installed().clone()));
        let lifecycle = Arc::new(LifecycleContract::new(
            local_msp.clone(),
            host.installed().clone(),
            invocables.clone(),
            channels.clone(),
        ));
        let cscc = Arc::new(Cscc::new(local_msp.clone(), channels.clone()));
        let qscc = Arc::new(Qscc::new(channels.clone()));
        Self {
            channels,
            local_msp,
            identity,
            host,
            time_window,
            invocables,
            lifecycle,
            cscc,
            qscc,
            denied: Seldom::default(),
            unanswered: Seldom::default(),
        }
    }

    /// Which chaincodes run here.
    pub fn invocables(&self) -> &Arc<Invocables> {
        &self.invocables
    }

    /// Processes one proposal.
    pub async fn process(&self, signed: SignedProposal) -> Endorsement {
        let started = Instant::now();
        metrics::counter!("endorser_proposals_received").increment(1);
        let admitted = match self.admit(signed) {
            Ok(admitted) => admitted,
            Err(rejection) => return rejected(rejection),
        };
        let answered = self.answer(&admitted).await;
        record(&admitted, &answered, started.elapsed());
        let response = answered.unwrap_or_else(|message| {
            self.log_unanswered(&admitted, &message);
            failure(message)
        });
        Endorsement { response: Some(response), error: None }
    }

    fn log_unanswered(&self, admitted: &Admitted, message: &str) {
        let (channel, tx_id) = (admitted.channel_id(), admitted.tx_id());
        tracing::debug!(channel, tx_id, message, "proposal not answered");
        if let Some(count) = self.unanswered.note(Instant::now()) {
            tracing::warn!(
                count,
                channel,
                tx_id,
                message,
                "proposals not answered; this is the newest, each is logged at debug"
            );
        }
    }

    async fn answer(&self, admitted: &Arc<Admitted>) -> Result<ProposalResponse, String> {
        refuse_where_diverged(admitted)?;
        let executed = match (&admitted.channel, admitted.chaincode()) {
            (Some(channel), lifecycle::NAMESPACE) => self.run_lifecycle(admitted, channel)?,
            (_, name) if is_system_chaincode(name) => self.run_system(admitted).await,
            (Some(channel), _) => Simulation::new(self, admitted, channel).run().await?,
            (None, name) => return Err(not_defined(name, "", "could not get channel config for channel ''")),
        };
        answer::build(admitted, executed, &self.identity)
    }

    /// `_lifecycle` on a channel: a transaction like any other, run in this process.
    fn run_lifecycle(&self, admitted: &Admitted, channel: &Channel) -> Result<Executed, String> {
        let (config, mut simulator) = (channel.config(), channel.ledger().simulator());
        let on_channel = Some((&*config, &mut simulator));
        let response = self.lifecycle.invoke(admitted.args(), &admitted.signed_bytes(), on_channel);
        executed(response, simulator.finish(), SYSTEM_VERSION)
    }

    /// Chaincodes of the peer that touch no state of a channel. Some write to disk.
    async fn run_system(&self, admitted: &Arc<Admitted>) -> Executed {
        let (lifecycle, cscc, qscc) = (self.lifecycle.clone(), self.cscc.clone(), self.qscc.clone());
        let admitted = admitted.clone();
        let run = move || match admitted.chaincode() {
            lifecycle::NAMESPACE => lifecycle.invoke(admitted.args(), &admitted.signed_bytes(), None),
            "cscc" => cscc.invoke(admitted.args(), &admitted.signed_bytes()),
            "qscc" => qscc.invoke(admitted.args(), &admitted.signed_bytes()),
            name => refused(format!("chaincode {name} is not supported by this version")),
        };
        let response = tokio::task::spawn_blocking(run).await;
        let response = response.unwrap_or_else(|_| refused("the peer is shutting down".to_owned()));
        Executed { response, event: None, results: Bytes::new(), interest: None, version: SYSTEM_VERSION.to_owned() }
    }
}

/// Nothing is run on a state that most organizations do not have. What reads blocks and
/// nothing else goes on.
fn refuse_where_diverged(admitted: &Admitted) -> Result<(), String> {
    let reads_blocks = matches!(admitted.chaincode(), "cscc" | "qscc");
    let finding = admitted.channel.as_ref().filter(|_| !reads_blocks).map(|channel| channel.finding());
    finding.and_then(Finding::refusal).map_or(Ok(()), Err)
}

fn executed(response: Response, simulation: SimulationResult, version: &str) -> Result<Executed, String> {
    Ok(Executed {
        response,
        event: None,
        interest: Some(interest::interest(&simulation)?),
        results: answer::results(&simulation.read_write_set),
        version: version.to_owned(),
    })
}

fn not_defined(name: &str, channel_id: &str, cause: &str) -> String {
    format!(
        "make sure the chaincode {name} has been successfully defined on channel {channel_id} and try again: {cause}"
    )
}

fn refused(message: String) -> Response {
    Response { status: 500, message, payload: Bytes::new() }
}

/// Status 500 without payload: how a client tells the peer's trouble from the contract's.
fn failure(message: String) -> ProposalResponse {
    ProposalResponse { response: Some(refused(message)), ..ProposalResponse::default() }
}

fn rejected(rejection: Rejection) -> Endorsement {
    tracing::debug!(?rejection, "proposal rejected");
    match rejection {
        Rejection::Filter(text) => Endorsement { response: None, error: Some(Status::unknown(text)) },
        Rejection::Proposal(text) => {
            Endorsement { response: Some(failure(text.clone())), error: Some(Status::unknown(text)) }
        }
        Rejection::Answer(text) => Endorsement { response: Some(failure(text)), error: None },
    }
}

fn record(admitted: &Admitted, answered: &Result<ProposalResponse, String>, elapsed: Duration) {
    let endorsed = answered.as_ref().is_ok_and(|response| response.endorsement.is_some());
    let success = endorsed || (answered.is_ok() && admitted.channel.is_none());
    if success {
        metrics::counter!("endorser_successful_proposals").increment(1);
    }
    // Clients can invent names; only those that are defined become labels.
    let chaincode = if answered.is_ok() { admitted.chaincode() } else { "unknown" };
    metrics::histogram!(
        "endorser_proposal_duration",
        "channel" => admitted.channel_id().to_owned(),
        "chaincode" => chaincode.to_owned(),
        "success" => if success { "true" } else { "false" }
    )
    .record(elapsed.as_secs_f64());
}

#[tonic::async_trait]
impl Service for Endorser {
    async fn process_proposal(
        &self,
        request: Request<SignedProposal>,
    ) -> Result<tonic::Response<ProposalResponse>, Status> {
        let Endorsement { response, error } = self.process(request.into_inner()).await;
        match error {
            Some(status) => Err(status),
            None => Ok(tonic::Response::new(response.unwrap_or_default())),
        }
    }
}
