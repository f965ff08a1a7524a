//! The program that dials its peer: `protos.ChaincodeSupport/Register`.
//!
//! For packages that a peer starts as a process, and for a peer's dev mode. A connection
//! that breaks is made again.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryFutureExt};
use ripstop_proto::protos::chaincode_support_client::ChaincodeSupportClient;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tracing::{info, warn};

use crate::conversation::{Conversation, GRACE};
use crate::server::{OUTGOING_MAX, PING_INTERVAL, PING_TIMEOUT, WINDOW_BYTES};
use crate::{Contract, DialSettings, DialTlsSettings, MESSAGE_BYTES_MAX};

/// Between two attempts; doubles with each that fails.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// For a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a program cannot dial its peer. A peer that is not there is no such reason: it is
/// dialed again.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address, or key material that does not fit together.
    #[error("cannot dial the peer at {address}: {cause:?}; check CORE_PEER_ADDRESS and the files of key material")]
    Settings {
        /// The address of the settings.
        address: String,
        /// What is wrong.
        cause: tonic::transport::Error,
    },
}

/// Runs a contract in a program that dials its peer.
///
/// ```
/// use ripstop_chaincode_sdk::{Answer, Contract, DialSettings, Dialer, Failure, Response, Stub};
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
/// // A program reads them with `DialSettings::from_environment()?`.
/// let settings = DialSettings { peer_address: "127.0.0.1:7052".into(), package_id: "echo_1.0:ab".into(), tls: None };
/// # let shutdown = async {};
/// # /*
/// let shutdown = ripstop_chaincode_sdk::interrupted();
/// # */
/// Dialer::new(settings, Echo).run(shutdown).await?;
/// # Ok(())
/// # }
/// ```
pub struct Dialer<C> {
    settings: DialSettings,
    contract: Arc<C>,
}

impl<C: Contract> Dialer<C> {
    /// Nothing is dialed yet.
    pub fn new(settings: DialSettings, contract: C) -> Self {
        Self { settings, contract: Arc::new(contract) }
    }

    /// Dials the peer and serves it until `shutdown` completes; dials again whenever the
    /// connection ends. After shutdown, transactions that run have five seconds to finish.
    ///
    /// # Errors
    /// When the address is none, or the TLS material does not fit together.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), DialError> {
        let endpoint = endpoint(&self.settings)
            .map_err(|cause| DialError::Settings { address: self.settings.peer_address.clone(), cause })?;
        let (stop, stopped) = watch::channel(false);
        let shutdown = async {
            shutdown.await;
            stop.send_replace(true);
        };
        let ((), ()) = tokio::join!(self.keep_serving(&endpoint, stopped), shutdown);
        Ok(())
    }

    async fn keep_serving(&self, endpoint: &Endpoint, mut stopped: watch::Receiver<bool>) {
        let mut pause = PAUSE_MIN;
        loop {
            let accepted = self.serve(endpoint, &stopped).await;
            pause = if accepted { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    }

    /// One connection, from its beginning to its end. Whether the peer accepted us.
    async fn serve(&self, endpoint: &Endpoint, stopped: &watch::Receiver<bool>) -> bool {
        let address = &self.settings.peer_address;
        let mut stop = stopped.clone();
        let connected = tokio::select! {
            connected = endpoint.connect() => connected,
            _ = stop.wait_for(|stopped| *stopped) => return false,
        };
        match connected {
            Ok(channel) => self.register(channel, stopped).await,
            Err(cause) => {
                warn!(%address, ?cause, "cannot reach the peer and will try again");
                false
            }
        }
    }

    async fn register(&self, channel: Channel, stopped: &watch::Receiver<bool>) -> bool {
        let mut peer = ChaincodeSupportClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (to_peer, outgoing) = mpsc::channel(OUTGOING_MAX);
        let conversation = Conversation::new(Arc::clone(&self.contract), to_peer);
        // A peer may accept the stream only once it has read our first message, so the
        // conversation begins before there is anything to read from.
        let from_peer = peer.register(ReceiverStream::new(outgoing)).map_ok(tonic::Response::into_inner);
        let mut from_peer = std::pin::pin!(from_peer.try_flatten_stream());
        info!(address = self.settings.peer_address, "dialed the peer");
        let accepted = conversation.run(&self.settings.package_id, from_peer.as_mut(), stopped.clone()).await;
        if *stopped.borrow() {
            // Leaving before the peer has read to the end would take back the last answers.
            let rest = async { while let Some(Ok(_)) = from_peer.next().await {} };
            let _ = tokio::time::timeout(GRACE, rest).await;
        }
        accepted
    }
}

fn endpoint(settings: &DialSettings) -> Result<Endpoint, tonic::transport::Error> {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::new(format!("{scheme}://{}", settings.peer_address))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    match &settings.tls {
        Some(tls) => endpoint.tls_config(tls_config(tls)),
        None => Ok(endpoint),
    }
}

fn tls_config(tls: &DialTlsSettings) -> ClientTlsConfig {
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.roots_pem));
    match &tls.identity {
        Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
        None => config,
    }
}
