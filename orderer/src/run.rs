//! Wiring: builds every part of an orderer, connects them and serves until told to end.
//! Nothing is decided here.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ripstop_msp::{Certificate, CertificateError, SigningError, SigningIdentity};
use ripstop_node::deliver::{Deliver, OrdererBlocks, Terms};
use ripstop_node::operations::{self, HealthChecks, Metrics, Operations, OperationsError, Version};
use ripstop_node::transport::{ClientIdentity, Dialer, Listener, MESSAGE_BYTES_MAX, ServeError, ServerTls, TlsError};
use ripstop_node::{CancellationToken, health, logging};
use ripstop_proto::hash;
use ripstop_proto::orderer::atomic_broadcast_server::AtomicBroadcastServer;
use ripstop_proto::ripstop::v1::cluster_server::ClusterServer;
use ripstop_proto::ripstop::v1::ordering_server::OrderingServer;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tonic::service::Routes;

use crate::broadcast::AtomicBroadcastService;
use crate::chain::ChainFailure;
use crate::channel::{ChannelError, Node};
use crate::channels::Channels;
use crate::cluster_service::ClusterService;
use crate::members::Caller;
use crate::ordering_stream::OrderingService;
use crate::participation;
use crate::participation_listener::{AdminListener, AdminTls, ParticipationError};
use crate::refusals::Refusals;
use crate::settings::OrdererSettings;

/// How long another consenter may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why an orderer cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The orderer's identity cannot be used.
    #[error("the orderer's identity: {0}")]
    Identity(#[from] SigningError),
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        cause: std::io::Error,
    },
    /// The TLS certificate does not parse.
    #[error("the TLS certificate {path}: {cause}", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: CertificateError,
    },
    /// TLS of the gRPC listener.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A channel on the disk cannot be opened.
    #[error("cannot open the channels: {0}")]
    Channel(#[from] ChannelError),
    /// A channel's chain failed while running; the process must end.
    #[error(transparent)]
    Chain(#[from] ChainFailure),
    /// The gRPC listener cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The admin listener cannot be served.
    #[error(transparent)]
    Participation(#[from] ParticipationError),
    /// The operations listener cannot be served.
    #[error(transparent)]
    Operations(#[from] OperationsError),
    /// A task panicked.
    #[error("a part of the orderer broke: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

impl Error {
    /// Whether a write or sync failed, so that what is on the disk is known only after a new
    /// start. The process should then end with an exit code of its own.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Chain(failure) if failure.is_disk_failure())
    }
}

/// Runs an orderer until `shutdown` is cancelled; `version` is what its program says it is. When it returns, everything it started has
/// ended, and what it took is on disk or refused.
///
/// # Errors
/// When it cannot start, or cannot go on; see [`Error::is_fatal`].
pub async fn run(settings: OrdererSettings, version: Version, shutdown: CancellationToken) -> Result<(), Error> {
    Orderer::start(settings, version).await?.serve(shutdown).await
}

/// An orderer whose channels are open and whose addresses are taken, but that does not
/// answer yet. It must be served, or else its channels are not closed in order.
pub struct Orderer {
    settings: OrdererSettings,
    version: Version,
    metrics: Metrics,
    listener: Listener,
    tls_binding: bool,
    admin: Option<AdminListener>,
    operations: Option<TcpListener>,
    channels: Arc<Channels>,
    failed: mpsc::UnboundedReceiver<ChainFailure>,
}

impl Orderer {
    /// Takes the addresses of the settings (port 0 takes a free one) and opens the channels.
    ///
    /// # Errors
    /// When an address is taken, or a file or channel cannot be used.
    pub async fn start(settings: OrdererSettings, version: Version) -> Result<Self, Error> {
        let metrics = Metrics::install();
        let node = &settings.node;
        let tls = ServerTls::load(&node.tls)?;
        let tls_binding = tls.client_auth_required();
        let listener = Listener::bind(node.listen, tls).await?;
        let operations = match node.operations_listen {
            Some(address) => Some(operations::bind(address).await?),
            None => None,
        };
        let admin_tls = AdminTls {
            certificate: &node.tls.certificate,
            key: &node.tls.key,
            client_roots: &settings.orderer.admin_client_roots,
        };
        let admin = match settings.orderer.admin_listen {
            Some(address) => Some(AdminListener::bind(address, &admin_tls).await?),
            None => None,
        };
        let (failures, failed) = mpsc::unbounded_channel();
        let channels = open_channels(&settings, failures).await?;
        Ok(Self { settings, version, metrics, listener, tls_binding, admin, operations, channels, failed })
    }

    /// The address of the gRPC listener.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_address().unwrap_or(self.settings.node.listen)
    }

    /// The address of the admin listener.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(AdminListener::address)
    }

    /// The address of operations HTTP.
    pub fn operations_address(&self) -> Option<SocketAddr> {
        self.operations.as_ref()?.local_addr().ok()
    }

    /// Answers until `shutdown` is cancelled or something fails, then ends everything.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), Error> {
        let stop = shutdown.child_token();
        let (routes, address) = (self.routes(&stop).await, self.address());
        let Self { settings, version, metrics, listener, admin, operations, channels, mut failed, .. } = self;
        tracing::info!(orderer = settings.node.name, %address, channels = ?channels.ids(), "serving");
        let serving = async {
            let grpc = async { Ok::<_, Error>(listener.serve(routes, stop.clone()).await?) };
            let admin = serve_admin(admin, Arc::clone(&channels), &stop);
            let operations = serve_operations(operations, metrics, version, &stop);
            tokio::try_join!(grpc, admin, operations).map(|_| ())
        };
        let outcome = tokio::select! {
            served = serving => served,
            Some(failure) = failed.recv() => Err(failure.into()),
        };
        stop.cancel();
        tokio::task::spawn_blocking(move || channels.stop()).await?;
        match failed.try_recv() {
            Ok(failure) if outcome.is_ok() => Err(failure.into()),
            _ => outcome,
        }
    }

    async fn routes(&self, stop: &CancellationToken) -> Routes {
        let time_window = Duration::from_secs(self.settings.orderer.deliver_time_window_s);
        let terms = Terms { time_window, tls_binding: self.tls_binding };
        let deliver = Arc::new(Deliver::new(Arc::clone(&self.channels), OrdererBlocks, terms, stop.clone()));
        let refusals = Arc::new(Refusals::default());
        let broadcast = AtomicBroadcastService {
            channels: Arc::clone(&self.channels),
            deliver,
            refusals: Arc::clone(&refusals),
            shutdown: stop.clone(),
        };
        let broadcast = AtomicBroadcastServer::new(broadcast)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let ordering = OrderingService { channels: Arc::clone(&self.channels), refusals, shutdown: stop.clone() };
        let ordering = OrderingServer::new(ordering)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let cluster = ClusterService { channels: Arc::clone(&self.channels), shutdown: stop.clone() };
        let cluster = ClusterServer::new(cluster).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (serving, health) = health::service();
        for service in ["orderer.AtomicBroadcast", "ripstop.v1.Ordering", "ripstop.v1.Cluster"] {
            serving.set(service, true).await;
        }
        Routes::new(broadcast).add_service(ordering).add_service(cluster).add_service(health)
    }
}

async fn open_channels(
    settings: &OrdererSettings,
    failures: mpsc::UnboundedSender<ChainFailure>,
) -> Result<Arc<Channels>, Error> {
    let node = &settings.node;
    let path = node.tls.certificate.clone();
    let certificate_pem = read(&path)?;
    let tls_certificate =
        Certificate::from_pem(&certificate_pem).map_err(|cause| Error::Certificate { path, cause })?;
    let caller = Caller {
        dialer: Dialer::new(node.dial.clone()).with_connect_timeout(CONNECT_TIMEOUT),
        certificate_hash: hash::sha256(&[tls_certificate.der()]),
        identity: ClientIdentity { certificate_pem, key_pem: read(&node.tls.key)? },
    };
    let node = Node {
        signer: Arc::new(SigningIdentity::from_msp_folder(&node.msp_id, &node.msp_folder)?),
        tls_certificate,
        caller,
        runtime: Handle::current(),
        cutting: settings.orderer.cutting(),
        intake_bytes_max: settings.orderer.intake_bytes_max,
        failures,
    };
    let folder = settings.node.channels_folder();
    let opened = tokio::task::spawn_blocking(move || Channels::open(folder, node)).await?;
    Ok(Arc::new(opened?))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|cause| Error::Unreadable { path: path.to_owned(), cause })
}

async fn serve_admin(
    listener: Option<AdminListener>,
    channels: Arc<Channels>,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let Some(listener) = listener else { return Ok(()) };
    Ok(listener.serve(participation::router(channels), stop.clone()).await?)
}

async fn serve_operations(
    socket: Option<TcpListener>,
    metrics: Metrics,
    version: Version,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let Some(socket) = socket else { return Ok(()) };
    let operations = Operations { metrics, version, health: HealthChecks::default(), log_spec: logging::init() };
    operations::serve(socket, operations, operations::Limits::default(), stop.clone()).await;
    Ok(())
}
