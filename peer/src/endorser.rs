//! The Endorser service: checks a signed proposal, runs its chaincode on one
//! height of the ledger and signs the result.
//!
//! Trouble with the proposal itself becomes a gRPC error; trouble while it is processed,
//! and what the chaincode says, is an answer with a status. It does not know who else
//! endorses. Read `endorser/admission` for the checks before anything runs,
//! `endorser/answer` for what is signed, `endorser/interest` for what the gateway plans by, `chaincode` for the conversation with the
//! contract, `access` for who may ask. Source: Fabric `core/endorser/endorser.go`.

mod admission;
mod answer;
mod interest;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::Label;
use ripstop_ledger::{SimulationResult, Simulator};
use ripstop_msp::{Msp, SigningIdentity};
use ripstop_node::logging::Seldom;
use ripstop_proto::composite_key::INITIALIZED_KEY;
use ripstop_proto::protos::endorser_server::Endorser as Service;
use ripstop_proto::protos::{ProposalResponse, Response, SignedProposal};
use tonic::{Request, Status};

use self::admission::{Admitted, Rejection};
use self::answer::Executed;
use crate::chaincode::host::{Call, Host, Outcome};
use crate::channel::{Channel, Channels};
use crate::cscc::Cscc;
use crate::lifecycle;
use crate::lifecycle::contract::LifecycleContract;
use crate::lifecycle::invocable::{Invocable, Invocables};
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
        let executed = match (&admitted.channel, admitted.chaincode()) {
            (Some(channel), lifecycle::NAMESPACE) => self.run_lifecycle(admitted, channel)?,
            (_, name) if is_system_chaincode(name) => self.run_system(admitted).await,
            (Some(channel), _) => self.run_chaincode(admitted, channel).await?,
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

    async fn run_chaincode(&self, admitted: &Admitted, channel: &Channel) -> Result<Executed, String> {
        let (name, channel_id) = (admitted.chaincode(), admitted.channel_id());
        let mut simulator = channel.ledger().simulator();
        let invocable = self
            .invocables
            .find(channel_id, name, &mut simulator)
            .map_err(|cause| not_defined(name, channel_id, &cause.to_string()))?;
        let outcome = self.simulate(admitted, channel, &invocable, &mut simulator).await.map_err(|cause| {
            let labels = ["channel", "chaincode"].into_iter().zip([channel_id, name]);
            let labels: Vec<_> = labels.map(|(label, value)| Label::new(label, value.to_owned())).collect();
            metrics::counter!("endorser_proposal_simulation_failures", labels).increment(1);
            format!("error in simulation: {cause}")
        })?;
        let executed = executed(outcome.response, simulator.finish(), &invocable.version)?;
        Ok(Executed { event: outcome.event, ..executed })
    }

    async fn simulate(
        &self,
        admitted: &Admitted,
        channel: &Channel,
        invocable: &Invocable,
        simulator: &mut Simulator,
    ) -> Result<Outcome, String> {
        let (chaincode, tx_id) = (admitted.chaincode(), admitted.tx_id());
        check_init(chaincode, invocable, admitted.proposal.input.is_init, simulator)
            .map_err(|cause| format!("failed to execute transaction {tx_id}: invalid invocation: {cause}"))?;
        let call = Call {
            package_id: &invocable.package_id,
            chaincode,
            channel_id: admitted.channel_id(),
            tx_id,
            application: channel.config().capabilities().application,
            input: &admitted.proposal.input,
            proposal: &admitted.signed,
        };
        self.host.execute(call, simulator).await.map_err(|cause| cause.to_string())
    }
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

/// A chaincode that asks for it is initialized once per version, before anything else.
fn check_init(name: &str, invocable: &Invocable, is_init: bool, simulator: &mut Simulator) -> Result<(), String> {
    if !invocable.init_required {
        return match is_init {
            true => Err(format!("chaincode '{name}' does not require initialization but called as init")),
            false => Ok(()),
        };
    }
    let version = invocable.version.as_bytes();
    let initialized = simulator.get_state(name, INITIALIZED_KEY).map_err(|cause| cause.to_string())?;
    match (is_init, initialized.is_some_and(|found| found == version)) {
        (false, true) => Ok(()),
        (false, false) => {
            Err(format!("chaincode '{name}' has not been initialized for this version, must call as init first"))
        }
        (true, true) => Err(format!("chaincode '{name}' is already initialized but called as init")),
        (true, false) => simulator
            .put_state(name, INITIALIZED_KEY, Bytes::copy_from_slice(version))
            .map_err(|cause| cause.to_string()),
    }
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
