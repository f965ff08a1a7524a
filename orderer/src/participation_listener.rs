//! The admin listener: HTTP over mutual TLS. Whoever shows a certificate of one of the
//! client authorities may administer this orderer; nobody else gets past the handshake.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long open requests may keep the listener after shutdown began.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Connections past their handshake that wait to be served.
const CONNECTIONS_WAITING: usize = 16;
/// Handshakes at one time. Anybody can begin one and say nothing, so there are many.
const HANDSHAKES_MAX: usize = 1024;
/// Pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the admin listener cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ParticipationError {
    /// The address cannot be bound.
    #[error("cannot listen on {address} for channel participation: {cause}; change admin-listen or stop what uses it")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        cause: io::Error,
    },
    /// Nobody could be let in.
    #[error(
        "admin-listen is set but admin-client-roots is empty: name the certificate authorities of the administrators"
    )]
    NoClientRoots,
    /// A certificate or key cannot be used.
    #[error("TLS of the admin listener, {path}: {cause}", path = path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Serving ended by an error.
    #[error("channel participation ended: {0}")]
    Serve(io::Error),
}

/// The PEM files of the admin listener.
pub(crate) struct AdminTls<'a> {
    pub(crate) certificate: &'a Path,
    pub(crate) key: &'a Path,
    pub(crate) client_roots: &'a [PathBuf],
}

impl AdminTls<'_> {
    fn config(&self) -> Result<Arc<ServerConfig>, ParticipationError> {
        let unusable = |path: &Path, cause: String| ParticipationError::Tls { path: path.to_owned(), cause };
        let Some(first_root) = self.client_roots.first() else { return Err(ParticipationError::NoClientRoots) };
        let mut roots = RootCertStore::empty();
        for path in self.client_roots {
            for root in certificates(path)? {
                roots.add(root).map_err(|error| unusable(path, error.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| unusable(first_root, error.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(self.key).map_err(|error| unusable(self.key, error.to_string()))?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_client_cert_verifier(verifier)
                    .with_single_cert(certificates(self.certificate).unwrap_or_default(), key)
            })
            .map_err(|error| unusable(self.certificate, error.to_string()))?;
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ParticipationError> {
    let unusable = |cause: String| ParticipationError::Tls { path: path.to_owned(), cause };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| unusable(error.to_string()))?;
    if found.is_empty() {
        return Err(unusable("it holds no certificate; give it as PEM".to_owned()));
    }
    Ok(found)
}

/// A bound admin listener.
pub(crate) struct AdminListener {
    address: SocketAddr,
    socket: TcpListener,
    tls: Arc<ServerConfig>,
}

impl AdminListener {
    /// Binds the address; port 0 takes a free one.
    pub(crate) async fn bind(address: SocketAddr, tls: &AdminTls<'_>) -> Result<Self, ParticipationError> {
        let tls = tls.config()?;
        let bind = |cause| ParticipationError::Bind { address, cause };
        let socket = TcpListener::bind(address).await.map_err(bind)?;
        let address = socket.local_addr().map_err(bind)?;
        Ok(Self { address, socket, tls })
    }

    /// The address with the port that was taken.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is cancelled.
    pub(crate) async fn serve(self, router: Router, shutdown: CancellationToken) -> Result<(), ParticipationError> {
        let Self { address, socket, tls } = self;
        let (ready, connections) = mpsc::channel(CONNECTIONS_WAITING);
        let accepting = tokio::spawn(accept_all(socket, tls, ready));
        let serving = axum::serve(Connections { address, connections }, router)
            .with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let patience = async {
            shutdown.cancelled().await;
            tokio::time::sleep(SHUTDOWN_GRACE).await;
        };
        let served = tokio::select! {
            served = serving => served.map_err(ParticipationError::Serve),
            () = patience => Ok(()),
        };
        accepting.abort();
        served
    }
}

type Ready = (TlsStream<TcpStream>, SocketAddr);

/// Each handshake runs in a task of its own, so a slow client keeps nobody waiting.
async fn accept_all(socket: TcpListener, tls: Arc<ServerConfig>, ready: mpsc::Sender<Ready>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(counted) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let (stream, client) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let ready = ready.clone();
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(Arc::clone(&tls)).accept(stream));
        tokio::spawn(async move {
            match handshake.await {
                // A closed receiver means that serving has ended.
                Ok(Ok(stream)) => _ = ready.send((stream, client)).await,
                Ok(Err(error)) => tracing::info!(%client, %error, "TLS handshake on the admin listener failed"),
                Err(_) => {
                    tracing::info!(%client, "TLS handshake on the admin listener took longer than {HANDSHAKE_TIMEOUT:?}")
                }
            }
            drop(counted);
        });
    }
}

/// Connections that are past their handshake.
struct Connections {
    address: SocketAddr,
    connections: mpsc::Receiver<Ready>,
}

impl axum::serve::Listener for Connections {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.connections.recv().await {
            Some(ready) => ready,
            // Accepting has ended, so has serving.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
