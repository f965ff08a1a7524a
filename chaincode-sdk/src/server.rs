//! The service that peers connect to: `protos.Chaincode/Connect`.
//!
//! Listens and hands each stream to a conversation of its own; any number of peers may be
//! connected at once.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use ripstop_proto::protos::ChaincodeMessage;
use ripstop_proto::protos::chaincode_server::{Chaincode, ChaincodeServer};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

use crate::conversation::Conversation;
use crate::{Contract, ServerSettings, TlsSettings};

/// The largest message in either direction, as peers have it.
pub const MESSAGE_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Messages that wait to be written to one peer; then its transactions wait.
pub(crate) const OUTGOING_MAX: usize = 256;

/// As Fabric's Go service has them.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(60);
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// HTTP/2's default window, 64 KiB, would make one large value stop all transactions of a
/// stream for a round trip.
pub(crate) const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or none of this machine.
    #[error("cannot listen on {address}: {cause}; set CHAINCODE_SERVER_ADDRESS to a free port of this machine")]
    Listen {
        /// The address of the settings.
        address: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// Key material that does not fit together, or trouble of the HTTP/2 server.
    #[error("the chaincode service failed: {0:?}")]
    Transport(#[from] tonic::transport::Error),
}

/// Runs a contract as a service.
///
/// ```
/// use ripstop_chaincode_sdk::{Answer, Contract, Failure, Response, Server, ServerSettings, Stub};
///
/// struct Echo;
/// impl Contract for Echo {
///     async fn invoke(&self, stub: &Stub) -> Result<Response, Failure> {
///         stub.parameters::<String>().answer()
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = ServerSettings { address: "127.0.0.1:0".into(), package_id: "echo_1.0:ab".into(), tls: None };
/// let server = Server::new(settings, Echo).bind().await?;
/// println!("listens on {}", server.address());
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let running = tokio::spawn(server.run(async { stopped.await.unwrap_or(()) }));
/// stop.send(()).ok();
/// running.await??;
/// # Ok(())
/// # }
/// ```
pub struct Server<C> {
    settings: ServerSettings,
    contract: C,
}

impl<C: Contract> Server<C> {
    /// A service of `contract`, not listening yet.
    pub fn new(settings: ServerSettings, contract: C) -> Self {
        Self { settings, contract }
    }

    /// Listens, and serves peers until `shutdown` completes.
    ///
    /// Then nothing new is begun, and transactions that run have five seconds to finish.
    ///
    /// # Errors
    /// When it cannot listen, or the TLS material does not fit together.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        self.bind().await?.run(shutdown).await
    }

    /// Listens, and serves nobody yet.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(self) -> Result<BoundServer<C>, ServeError> {
        let address = self.settings.address.clone();
        let failed = |cause| ServeError::Listen { address, cause };
        let listener = match TcpListener::bind(&self.settings.address).await {
            Ok(listener) => listener,
            Err(cause) => return Err(failed(cause)),
        };
        let address = listener.local_addr().map_err(failed)?;
        Ok(BoundServer { server: self, listener, address })
    }
}

/// A service that listens.
pub struct BoundServer<C> {
    server: Server<C>,
    listener: TcpListener,
    address: SocketAddr,
}

impl<C: Contract> BoundServer<C> {
    /// Where it listens; with the port that was taken when the settings said 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As [`Server::run`].
    ///
    /// # Errors
    /// When the TLS material does not fit together.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        let Server { settings, contract } = self.server;
        let (stop, stopped) = watch::channel(false);
        let service = Service { contract: Arc::new(contract), package_id: settings.package_id.clone(), stopped };
        let service = ChaincodeServer::new(service)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let mut server = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(PING_INTERVAL))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        if let Some(tls) = settings.tls {
            server = server.tls_config(tls_config(tls))?;
        }
        info!(address = %self.address, package_id = settings.package_id, "the chaincode service listens");
        let incoming = TcpIncoming::from(self.listener).with_nodelay(Some(true));
        let shutdown = async {
            shutdown.await;
            stop.send_replace(true);
        };
        server.add_service(service).serve_with_incoming_shutdown(incoming, shutdown).await?;
        Ok(())
    }
}

fn tls_config(tls: TlsSettings) -> ServerTlsConfig {
    let config = ServerTlsConfig::new().identity(Identity::from_pem(tls.certificate_pem, tls.key_pem));
    match tls.client_roots_pem {
        Some(roots) => config.client_ca_root(Certificate::from_pem(roots)),
        None => config,
    }
}

struct Service<C> {
    contract: Arc<C>,
    package_id: String,
    stopped: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl<C: Contract> Chaincode for Service<C> {
    type ConnectStream = BoxStream<'static, Result<ChaincodeMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        info!(peer = ?request.remote_addr(), "a peer connected");
        let (to_peer, outgoing) = mpsc::channel(OUTGOING_MAX);
        let conversation = Conversation::new(Arc::clone(&self.contract), to_peer);
        let (package_id, stopped) = (self.package_id.clone(), self.stopped.clone());
        tokio::spawn(async move { conversation.run(&package_id, request.into_inner(), stopped).await });
        Ok(Response::new(ReceiverStream::new(outgoing).map(Ok).boxed()))
    }
}

/// Completes when the process is asked to end: Ctrl-C, or SIGTERM on Unix.
pub async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a signal handler there is nothing to wait for: the process just ends.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
