//! All contract servers this peer speaks to, one stream per package id.
//!
//! The first call of a package dials its server; calls that come meanwhile wait for that
//! one attempt and share its outcome. After a stream is lost the next call dials again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use metrics::{Label, counter, histogram};
use parking_lot::{Mutex, RwLock};
use prost::Message;
use ripstop_channel::ApplicationLevel;
use ripstop_ledger::Simulator;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::{ChaincodeEvent, ChaincodeInput, ChaincodeMessage, Response, SignedProposal};

use super::callees::Callees;
use super::connection::{ConnectionError, ContractServer};
use super::installed::{InstallError, InstalledPackages};
use super::package::Package;
use super::requests::Requests;
use super::stream::{ChaincodeStream, RegistrationError, TransactionError};

/// How long a contract may take.
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// For one transaction; Fabric's `chaincode.executetimeout`.
    pub execute_timeout: Duration,
    /// For a connection, where the package names no time of its own.
    pub dial_timeout: Duration,
    /// From the connection to REGISTER; Fabric's `chaincode.startuptimeout`.
    pub registration_timeout: Duration,
    /// For `{{.name}}` in connection.json; Fabric's CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG.
    pub template_values: BTreeMap<String, String>,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            execute_timeout: Duration::from_secs(30),
            dial_timeout: Duration::from_secs(3),
            registration_timeout: Duration::from_secs(10),
            template_values: BTreeMap::new(),
        }
    }
}

/// Why a package cannot be run now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LaunchError {
    /// The package file.
    #[error("{0}")]
    Package(String),
    /// A package of source code.
    #[error(
        "packages of type '{0}' are not run by this version: package the contract with type 'ccaas', which names the address of its server"
    )]
    Kind(String),
    /// Its server does not answer.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// Its server does not register.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The task that dials was stopped.
    #[error("the peer is shutting down")]
    Stopped,
}

impl From<InstallError> for LaunchError {
    fn from(error: InstallError) -> Self {
        Self::Package(error.to_string())
    }
}

/// Why a call has no end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The contract does not run.
    #[error("could not launch chaincode {package_id}: {cause}")]
    Launch {
        /// The package.
        package_id: String,
        /// Why not.
        cause: LaunchError,
    },
    /// The conversation broke off.
    #[error("error sending: {0}")]
    Conversation(#[from] TransactionError),
}

/// Why a transaction has no result. The texts stand after `error in simulation: `.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// It did not come to an end.
    #[error("failed to execute transaction {tx_id}: {cause}")]
    Run {
        /// The transaction.
        tx_id: String,
        /// Why not.
        cause: RunError,
    },
    /// The contract ended with ERROR.
    #[error("transaction returned with failure: {0}")]
    Failure(String),
    /// COMPLETED without a `Response`.
    #[error("failed to unmarshal response for transaction {tx_id}: {cause}")]
    Response {
        /// The transaction.
        tx_id: String,
        /// What the decoder says.
        cause: prost::DecodeError,
    },
}

/// One call of a contract.
pub struct Call<'a> {
    /// Which package runs it.
    pub package_id: &'a str,
    /// The chaincode's name on the channel, and its namespace.
    pub chaincode: &'a str,
    /// The channel.
    pub channel_id: &'a str,
    /// The transaction.
    pub tx_id: &'a str,
    /// The channel's application capability: some requests need one.
    pub application: ApplicationLevel,
    /// Function and arguments; `is_init` makes it an init call.
    pub input: &'a ChaincodeInput,
    /// The contract reads creator and transient data out of it.
    pub proposal: &'a SignedProposal,
    /// Runs the chaincodes that this one calls.
    pub callees: &'a dyn Callees,
}

/// What a contract answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Status, message and payload.
    pub response: Response,
    /// The last event it set.
    pub event: Option<ChaincodeEvent>,
}

/// All contract servers.
pub struct Host {
    installed: Arc<InstalledPackages>,
    settings: HostSettings,
    contracts: RwLock<HashMap<String, Arc<Mutex<Contract>>>>,
}

type Launch = Shared<BoxFuture<'static, Result<Arc<ChaincodeStream>, LaunchError>>>;

/// How far one contract is.
enum Contract {
    Down,
    Dialing(Launch),
    Up(Arc<ChaincodeStream>),
}

impl Contract {
    /// Takes over what has happened since: an attempt that is decided, a stream that ended.
    fn settle(&mut self) {
        if let Self::Dialing(launch) = self
            && let Some(outcome) = launch.peek()
        {
            *self = outcome.clone().map_or(Self::Down, Self::Up);
        }
        if matches!(self, Self::Up(stream) if stream.has_ended()) {
            *self = Self::Down;
        }
    }
}

impl Host {
    /// A host for these packages; nothing is dialed yet.
    pub fn new(installed: Arc<InstalledPackages>, settings: HostSettings) -> Self {
        Self { installed, settings, contracts: RwLock::new(HashMap::new()) }
    }

    /// The packages this host can run.
    pub fn installed(&self) -> &Arc<InstalledPackages> {
        &self.installed
    }

    /// Runs one call; what it reads and writes is noted in `simulator`.
    ///
    /// # Errors
    /// When there is no result: the contract does not run, broke off, took too long, or
    /// ended with ERROR. A response with status 500 is a result.
    pub async fn execute(&self, call: Call<'_>, simulator: &mut Simulator) -> Result<Outcome, ExecuteError> {
        let end = self
            .run(&call, simulator)
            .await
            .map_err(|cause| ExecuteError::Run { tx_id: call.tx_id.to_owned(), cause })?;
        outcome(&call, end)
    }

    /// Runs one call and gives the message that ended it: COMPLETED or ERROR.
    ///
    /// # Errors
    /// When the contract does not run, broke off, or took too long.
    pub async fn run(&self, call: &Call<'_>, simulator: &mut Simulator) -> Result<ChaincodeMessage, RunError> {
        let stream = self
            .stream(call.package_id)
            .await
            .map_err(|cause| RunError::Launch { package_id: call.package_id.to_owned(), cause })?;
        let requests = Requests::new(simulator, call);
        let end = stream.run(start(call), requests, self.settings.execute_timeout).await;
        if matches!(end, Err(TransactionError::Timeout)) {
            counter!("chaincode_execute_timeouts", "chaincode" => call.package_id.to_owned()).increment(1);
        }
        Ok(end?)
    }

    /// The registered stream of a package, dialing if there is none.
    async fn stream(&self, package_id: &str) -> Result<Arc<ChaincodeStream>, LaunchError> {
        let contract = self.contract(package_id);
        let launch = {
            let mut contract = contract.lock();
            contract.settle();
            match &*contract {
                Contract::Up(stream) => return Ok(stream.clone()),
                Contract::Dialing(launch) => launch.clone(),
                Contract::Down => {
                    let launch = self.launch(package_id);
                    *contract = Contract::Dialing(launch.clone());
                    launch
                }
            }
        };
        launch.await
    }

    fn contract(&self, package_id: &str) -> Arc<Mutex<Contract>> {
        if let Some(contract) = self.contracts.read().get(package_id) {
            return contract.clone();
        }
        let mut contracts = self.contracts.write();
        contracts.entry(package_id.to_owned()).or_insert_with(|| Arc::new(Mutex::new(Contract::Down))).clone()
    }

    /// Dials in a task of its own, so that a caller who gives up does not stop it.
    fn launch(&self, package_id: &str) -> Launch {
        let (installed, settings) = (self.installed.clone(), self.settings.clone());
        let package_id = package_id.to_owned();
        let task = tokio::spawn(async move {
            let started = Instant::now();
            let launched = launch(&installed, &settings, &package_id).await;
            count_launch(package_id, launched.as_ref().err(), started.elapsed());
            launched
        });
        async move { task.await.unwrap_or(Err(LaunchError::Stopped)) }.boxed().shared()
    }
}

async fn launch(
    installed: &InstalledPackages,
    settings: &HostSettings,
    package_id: &str,
) -> Result<Arc<ChaincodeStream>, LaunchError> {
    let bytes = installed.load(package_id)?;
    let package = Package::parse(&bytes).map_err(InstallError::from)?;
    if !package.is_service() {
        return Err(LaunchError::Kind(package.metadata.kind));
    }
    let document = package.connection_document().map_err(InstallError::from)?;
    let server = ContractServer::parse(&document, &settings.template_values, settings.dial_timeout)?;
    let channel = server.dial().await?;
    let stream = ChaincodeStream::open(channel, package_id, settings.registration_timeout).await?;
    tracing::info!(package_id, address = server.address(), "chaincode registered");
    Ok(Arc::new(stream))
}

fn count_launch(package_id: String, error: Option<&LaunchError>, elapsed: Duration) {
    let labels = [Label::new("chaincode", package_id)];
    match error {
        None => {}
        Some(LaunchError::Registration(RegistrationError::Silent(_))) => {
            counter!("chaincode_launch_timeouts", labels.iter()).increment(1);
        }
        Some(_) => counter!("chaincode_launch_failures", labels.iter()).increment(1),
    }
    let [chaincode] = labels;
    let success = Label::new("success", error.is_none().to_string());
    histogram!("chaincode_launch_duration", vec![chaincode, success]).record(elapsed.as_secs_f64());
}

fn start(call: &Call<'_>) -> ChaincodeMessage {
    let kind = if call.input.is_init { Type::Init } else { Type::Transaction };
    // Decorations come from the peer, which has none, never from the client.
    let input =
        ChaincodeInput { args: call.input.args.clone(), is_init: call.input.is_init, decorations: BTreeMap::new() };
    ChaincodeMessage {
        r#type: kind.into(),
        payload: input.encode_to_vec().into(),
        txid: call.tx_id.to_owned(),
        channel_id: call.channel_id.to_owned(),
        proposal: Some(call.proposal.clone()),
        ..ChaincodeMessage::default()
    }
}

fn outcome(call: &Call<'_>, end: ChaincodeMessage) -> Result<Outcome, ExecuteError> {
    if end.r#type() != Type::Completed {
        return Err(ExecuteError::Failure(String::from_utf8_lossy(&end.payload).into_owned()));
    }
    let response = Response::decode(end.payload)
        .map_err(|cause| ExecuteError::Response { tx_id: call.tx_id.to_owned(), cause })?;
    let event = end.chaincode_event.map(|event| ChaincodeEvent {
        chaincode_id: call.chaincode.to_owned(),
        tx_id: call.tx_id.to_owned(),
        ..event
    });
    Ok(Outcome { response, event })
}
