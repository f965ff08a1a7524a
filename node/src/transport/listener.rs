//! The gRPC listener: accepts, shakes hands, serves, and ends when told.
//!
//! What bounds it is memory, not calls: a number of connections, and a number of request
//! bytes held at one time ([`super::intake`]). At shutdown it takes no new connection and
//! no new call, lets running calls end for [`Limits::shutdown_grace`], then cuts what is
//! left: an open stream cannot keep a node alive.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;

use super::calls::CallsLayer;
use super::connection::Connection;
use super::intake::{Budget, IntakeLayer};
use super::tls::ServerTls;
use crate::logging::Seldom;

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(120);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
const STREAMS_PER_CONNECTION_MAX: u32 = 16_384;
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listener holds at most.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at one time; further ones wait in the operating system's queue.
    pub connections_max: usize,
    /// Bytes of requests that arrived but were not yet answered, over all connections.
    /// A call that would pass it is answered `RESOURCE_EXHAUSTED`.
    pub request_bytes_max: usize,
    /// How long a client may take over its TLS handshake, and then to begin with HTTP/2.
    pub opening_timeout: Duration,
    /// How long running calls may go on after shutdown began.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            request_bytes_max: 512 * 1024 * 1024,
            opening_timeout: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(3),
        }
    }
}

/// Why a listener cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {cause}; choose another address or stop what uses it")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        cause: std::io::Error,
    },
    /// The socket has no local address.
    #[error("the listening socket has no address: {0}")]
    Address(std::io::Error),
    /// Serving ended by an error.
    #[error("serving ended: {0}")]
    Serve(String),
}

/// A bound gRPC listener that does not serve yet; clients that connect meanwhile wait.
pub struct Listener {
    socket: TcpListener,
    tls: Arc<ServerTls>,
    limits: Limits,
}

impl Listener {
    /// Binds `address`; port 0 takes a free one, see [`Listener::local_address`].
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(address: SocketAddr, tls: Arc<ServerTls>) -> Result<Self, ServeError> {
        let socket = TcpListener::bind(address).await.map_err(|cause| ServeError::Bind { address, cause })?;
        Ok(Self { socket, tls, limits: Limits::default() })
    }

    /// With other limits than the defaults.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn local_address(&self) -> Result<SocketAddr, ServeError> {
        self.socket.local_addr().map_err(ServeError::Address)
    }

    /// Serves `routes` until `shutdown` is cancelled and the calls have ended or their
    /// grace is over.
    ///
    /// # Errors
    /// When serving ends otherwise.
    pub async fn serve(self, routes: Routes, shutdown: CancellationToken) -> Result<(), ServeError> {
        let cut = CancellationToken::new();
        let (accepted_connections, incoming) = mpsc::channel(64);
        let acceptor = Acceptor {
            connections: Arc::new(Semaphore::new(self.limits.connections_max)),
            tls: self.tls,
            cut: cut.clone(),
            opening_timeout: self.limits.opening_timeout,
            full: Seldom::default(),
            failed: Seldom::default(),
            accepted_connections,
        };
        let _accepting = AbortOnDropHandle::new(tokio::spawn(acceptor.run(self.socket, shutdown.clone())));
        let _cut_at_the_end = cut.clone().drop_guard();
        let budget = Arc::new(Budget::new(self.limits.request_bytes_max));
        let serving = http2().layer(CallsLayer::new()).layer(IntakeLayer::new(budget)).serve_with_incoming_shutdown(
            routes.prepare(),
            ReceiverStream::new(incoming),
            shutdown.clone().cancelled_owned(),
        );
        let patience = async {
            shutdown.cancelled().await;
            tokio::time::sleep(self.limits.shutdown_grace).await;
            cut.cancel();
            // The cut reaches every connection at its next poll; none may hold us longer.
            tokio::time::sleep(self.limits.shutdown_grace).await;
        };
        tokio::select! {
            served = serving => served.map_err(|error| ServeError::Serve(super::causes(&error))),
            () = patience => Ok(()),
        }
    }
}

/// [`Listener::serve`] for a socket that is bound already, with the default limits.
///
/// # Errors
/// As [`Listener::serve`].
pub async fn serve(
    socket: TcpListener,
    tls: Arc<ServerTls>,
    routes: Routes,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    Listener { socket, tls, limits: Limits::default() }.serve(routes, shutdown).await
}

fn http2() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

struct Acceptor {
    connections: Arc<Semaphore>,
    tls: Arc<ServerTls>,
    cut: CancellationToken,
    opening_timeout: Duration,
    full: Seldom,
    failed: Seldom,
    accepted_connections: mpsc::Sender<Result<Connection, std::io::Error>>,
}

impl Acceptor {
    /// Owns the socket, so that its end is the socket's end.
    async fn run(self, socket: TcpListener, shutdown: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = self.accept(&socket) => accepted,
            };
            match accepted {
                Ok((stream, counted)) => self.shake_hands(stream, counted),
                Err(error) => {
                    if self.failed.note(Instant::now()).is_some() {
                        tracing::warn!(%error, "cannot accept a connection");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept(&self, socket: &TcpListener) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
        if self.connections.available_permits() == 0 && self.full.note(Instant::now()).is_some() {
            tracing::warn!("connections-max reached: further connections wait");
        }
        let counted = self.connections.clone().acquire_owned().await.map_err(std::io::Error::other)?;
        let (stream, _) = socket.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, counted))
    }

    /// In a task of its own: a slow client keeps nobody waiting.
    fn shake_hands(&self, stream: TcpStream, counted: OwnedSemaphorePermit) {
        let acceptor = TlsAcceptor::from(self.tls.config());
        let (cut, opening_timeout) = (self.cut.clone(), self.opening_timeout);
        let accepted_connections = self.accepted_connections.clone();
        tokio::spawn(async move {
            let client = stream.peer_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string());
            let handshake = tokio::time::timeout(opening_timeout, acceptor.accept(stream));
            let finished = tokio::select! {
                () = cut.cancelled() => return,
                finished = handshake => finished,
            };
            match finished {
                Ok(Ok(stream)) => {
                    // A closed receiver means that serving has ended.
                    let connection = Connection::new(stream, opening_timeout, cut, counted);
                    let _ = accepted_connections.send(Ok(connection)).await;
                }
                Ok(Err(error)) => tracing::debug!(client, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(client, "TLS handshake took longer than {opening_timeout:?}"),
            }
        });
    }
}
