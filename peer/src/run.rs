//! Wiring: builds every part of a peer, connects them and serves until told to end.
//! Nothing is decided here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use ripstop_ledger::Options;
use ripstop_msp::{Certificate, Msp, SigningIdentity};
use ripstop_node::deliver::Terms;
use ripstop_node::operations::{self, HealthChecks, Metrics, Operations, Version};
use ripstop_node::transport::{ClientIdentity, Dialer, Listener, MESSAGE_BYTES_MAX, ServerTls};
use ripstop_node::{health, logging};
use ripstop_proto::gateway::gateway_server::GatewayServer;
use ripstop_proto::hash::sha256;
use ripstop_proto::protos::deliver_server::DeliverServer;
use ripstop_proto::protos::endorser_server::EndorserServer;
use ripstop_proto::ripstop::v1::explanations_server::ExplanationsServer;
use ripstop_proto::ripstop::v1::proofs_server::ProofsServer;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::chaincode::connection::{self, ConnectionError};
use crate::chaincode::host::{Host, HostSettings};
use crate::chaincode::installed::InstalledPackages;
use crate::channel::{Channel, ChannelError, Channels};
use crate::committer::{self, CommitterError};
use crate::deliver::DeliverService;
use crate::deliver_client::{Backoff, Caller, DeliverClient};
use crate::endorser::Endorser;
use crate::exchange::PeerExchange;
use crate::explanations::Explanations;
use crate::gateway::{Gateway, LocalPeer, Timeouts};
use crate::proofs::Proofs;
use crate::settings::PeerSettings;

/// Why a peer cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The peer's MSP folder cannot be used.
    #[error("the peer's MSP folder: {0}")]
    Msp(#[from] ripstop_msp::FolderError),
    /// The peer's identity cannot be used.
    #[error("the peer's identity: {0}")]
    Identity(#[from] ripstop_msp::SigningError),
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        cause: std::io::Error,
    },
    /// The TLS certificate and key cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// A channel on the disk cannot be opened.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// A ledger failed while running. The process must end and must not go on with
    /// what it has in memory.
    #[error(transparent)]
    Ledger(Box<CommitterError>),
    /// The folder of installed chaincode packages cannot be used.
    #[error("the installed chaincode packages: {0}")]
    Packages(String),
    /// The gRPC listener cannot be served.
    #[error(transparent)]
    Serve(#[from] ripstop_node::transport::ServeError),
    /// The operations listener cannot be served.
    #[error(transparent)]
    Operations(#[from] ripstop_node::operations::OperationsError),
    /// A task panicked.
    #[error("a part of the peer broke: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Runs a peer until `shutdown` is cancelled; `version` is what its program says it is.
/// When it returns, everything it
/// started has ended.
///
/// # Errors
/// When it cannot start, or when a ledger failed ([`Error::Ledger`]): then the
/// process should end with a code of its own.
pub async fn run(settings: PeerSettings, version: Version, shutdown: CancellationToken) -> Result<(), Error> {
    let stop = shutdown.child_token();
    let tasks = TaskTracker::new();
    let outcome = run_until(&settings, version, &stop, &tasks).await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    outcome
}

async fn run_until(
    settings: &PeerSettings,
    version: Version,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<(), Error> {
    let metrics = Metrics::install();
    let (ends, committer_ends) = mpsc::unbounded_channel();
    let peer = Peer::build(settings, stop, tasks, ends).await?;
    let tls = ServerTls::load(&settings.node.tls).map_err(|error| Error::Tls(error.to_string()))?;
    let listener = Listener::bind(settings.node.listen, tls).await?;
    tracing::info!(
        peer = settings.node.name,
        address = %settings.node.listen,
        channels = ?peer.channels.ids(),
        "serving"
    );
    tasks.spawn(peer.gateway.clone().keep_probing(stop.clone()));
    tasks.spawn(peer.exchange.clone().run(stop.clone()));
    let routes = peer.routes(settings, stop).await;
    tokio::select! {
        served = listener.serve(routes, stop.clone()) => Ok(served?),
        failed = serve_operations(settings, metrics, version, peer.health.clone(), stop.clone()) => failed,
        fatal = first_fatal(committer_ends) => Err(Error::Ledger(Box::new(fatal))),
    }
}

/// What the health service says is served.
const SERVICES: [&str; 6] = [
    "protos.Endorser",
    "protos.Deliver",
    "gateway.Gateway",
    "ripstop.v1.Explanations",
    "ripstop.v1.Proofs",
    "ripstop.v1.Peers",
];

/// The parts of a peer.
struct Peer {
    channels: Arc<Channels>,
    endorser: Arc<Endorser>,
    gateway: Gateway,
    proofs: Arc<Proofs>,
    exchange: PeerExchange,
    health: HealthChecks,
}

impl Peer {
    async fn build(
        settings: &PeerSettings,
        stop: &CancellationToken,
        tasks: &TaskTracker,
        ends: mpsc::UnboundedSender<CommitterError>,
    ) -> Result<Self, Error> {
        let node = &settings.node;
        let local_msp = Arc::new(Msp::from_folder(&node.msp_id, &node.msp_folder)?);
        let identity = Arc::new(SigningIdentity::from_msp_folder(&node.msp_id, &node.msp_folder)?);
        let dialer = Dialer::new(node.dial.clone());
        let health = HealthChecks::default();

        let pipeline = Pipeline {
            caller: caller(settings, Arc::clone(&identity), dialer.clone())?,
            backoff: Backoff::new(settings.peer.deliver_retry_least, settings.peer.deliver_retry_most),
            delivered_blocks_max: settings.peer.delivered_blocks_max.max(1),
            msp_id: node.msp_id.clone(),
            stop: stop.clone(),
            tasks: tasks.clone(),
            runtime: tokio::runtime::Handle::current(),
            ends,
            health: health.clone(),
        };
        let folder = settings.node.channels_folder();
        let channels = tokio::task::spawn_blocking(move || {
            Channels::open(folder, Options::default(), Box::new(move |channel| pipeline.start(channel)))
        });
        let channels = Arc::new(channels.await??);

        let installed =
            InstalledPackages::open(settings.packages_folder()).map_err(|error| Error::Packages(error.to_string()))?;
        let packages = |error: ConnectionError| Error::Packages(error.to_string());
        let host = Host::new(
            Arc::new(installed),
            HostSettings {
                execute_timeout: settings.peer.chaincode_execute_timeout,
                registration_timeout: settings.peer.chaincode_registration_timeout,
                template_values: connection::template_values_from_environment().map_err(packages)?,
                ..HostSettings::default()
            },
        );
        let proofs = Arc::new(Proofs::new(Arc::clone(&channels), Arc::clone(&identity)));
        let endorser = Arc::new(Endorser::new(
            Arc::clone(&channels),
            local_msp,
            Arc::clone(&identity),
            Arc::new(host),
            settings.peer.authentication_time_window,
        ));
        let local = LocalPeer { address: node.advertise.clone(), msp_id: node.msp_id.clone() };
        let timeouts =
            Timeouts { endorsement: settings.peer.endorsement_timeout, broadcast: settings.peer.broadcast_timeout };
        let exchange = PeerExchange::new(
            local.clone(),
            Arc::clone(&channels),
            Arc::clone(endorser.invocables()),
            identity,
            dialer.clone(),
            settings.peer.bootstrap_peers.clone(),
            SystemTime::now(),
        );
        let gateway = Gateway::new(local, Arc::clone(&channels), Arc::clone(&endorser), dialer, timeouts);
        Ok(Self { channels, endorser, gateway, proofs, exchange, health })
    }

    /// Every service of the one gRPC listener.
    async fn routes(&self, settings: &PeerSettings, stop: &CancellationToken) -> Routes {
        let endorser = EndorserServer::from_arc(Arc::clone(&self.endorser))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let gateway = GatewayServer::new(self.gateway.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let terms = Terms {
            time_window: settings.peer.authentication_time_window,
            tls_binding: settings.node.tls.client_auth_required,
        };
        let deliver = DeliverServer::new(DeliverService::new(&self.channels, terms, stop.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let explanations = ExplanationsServer::new(Explanations::new(Arc::clone(&self.channels)));
        // Values have no limit of their own, so neither have proofs.
        let proofs = ProofsServer::from_arc(Arc::clone(&self.proofs)).max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (serving, health) = health::service();
        for service in SERVICES {
            serving.set(service, true).await;
        }
        let routes = Routes::new(endorser).add_service(gateway).add_service(deliver);
        routes.add_service(explanations).add_service(proofs).add_service(self.exchange.service()).add_service(health)
    }
}

/// What runs for each channel, and what it needs.
struct Pipeline {
    caller: Caller,
    backoff: Backoff,
    delivered_blocks_max: usize,
    msp_id: String,
    stop: CancellationToken,
    tasks: TaskTracker,
    runtime: tokio::runtime::Handle,
    ends: mpsc::UnboundedSender<CommitterError>,
    health: HealthChecks,
}

impl Pipeline {
    /// Starts deliver client and committer of `channel`, joined by delivered blocks.
    fn start(&self, channel: &Arc<Channel>) {
        let (blocks, delivered_blocks) = mpsc::channel(self.delivered_blocks_max);
        let deliver_client =
            DeliverClient::new(Arc::clone(channel), self.caller.clone(), self.backoff.clone(), rand::random());
        self.tasks.spawn_on(deliver_client.run(blocks, self.stop.clone()), &self.runtime);

        let committing = committer::run(Arc::clone(channel), self.msp_id.clone(), delivered_blocks, self.stop.clone());
        let (channel, ends) = (Arc::clone(channel), self.ends.clone());
        let (trouble, stop) = (self.trouble_of(channel.id()), self.stop.clone());
        let keeping = async move {
            match committing.await {
                Err(end) => {
                    tracing::error!(channel = channel.id(), "{end}");
                    *trouble.lock() = Some(end.to_string());
                    // Nobody listens any more when the peer is ending already.
                    let _ = ends.send(end);
                }
                Ok(()) if stop.is_cancelled() => {}
                Ok(()) => *trouble.lock() = Some("no more blocks are delivered: the deliver client ended".to_owned()),
            }
            channel.commits().close();
        };
        self.tasks.spawn_on(keeping, &self.runtime);
    }

    /// A place for why the channel stopped, shown by `/healthz`.
    fn trouble_of(&self, channel_id: &str) -> Arc<Mutex<Option<String>>> {
        let trouble = Arc::new(Mutex::new(None));
        let shown = Arc::clone(&trouble);
        self.health.register(&format!("channel {channel_id}"), move || shown.lock().clone().map_or(Ok(()), Err));
        trouble
    }
}

fn caller(settings: &PeerSettings, identity: Arc<SigningIdentity>, dialer: Dialer) -> Result<Caller, Error> {
    let read = |path: &PathBuf| std::fs::read(path).map_err(|cause| Error::Unreadable { path: path.clone(), cause });
    let certificate_pem = read(&settings.node.tls.certificate)?;
    let key_pem = read(&settings.node.tls.key)?;
    let certificate = Certificate::from_pem(&certificate_pem).map_err(|error| Error::Tls(error.to_string()))?;
    Ok(Caller {
        identity,
        dialer,
        tls_certificate_hash: sha256(&[certificate.der()]),
        // As in Fabric, a peer that demands client certificates is one of a network that does.
        tls: settings.node.tls.client_auth_required.then_some(ClientIdentity { certificate_pem, key_pem }),
    })
}

/// Serves operations HTTP where the settings ask for it; returns only with an error.
async fn serve_operations(
    settings: &PeerSettings,
    metrics: Metrics,
    version: Version,
    health: HealthChecks,
    stop: CancellationToken,
) -> Result<(), Error> {
    if let Some(address) = settings.node.operations_listen {
        let operations = Operations { metrics, version, health, log_spec: logging::init() };
        let listener = operations::bind(address).await?;
        operations::serve(listener, operations, operations::Limits::default(), stop.clone()).await;
    }
    // The gRPC listener decides when serving is over.
    std::future::pending().await
}

/// The first end of a committer that must end the process; for ever if there is none.
async fn first_fatal(mut ends: mpsc::UnboundedReceiver<CommitterError>) -> CommitterError {
    while let Some(end) = ends.recv().await {
        if end.is_fatal() {
            return end;
        }
    }
    std::future::pending().await
}
