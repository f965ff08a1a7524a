//! Channels to other nodes, by the address they advertise.
//!
//! Certificates name hosts, and hosts may not be reachable under their names (several
//! nodes on one machine, port forwarding). So a node is addressed by its advertised
//! `host:port`, the dial map says where that is, and TLS and HTTP/2 see the advertised
//! host only.
//!
//! A machine that vanished, without a word, is noticed within [`SILENCE_MAX`] by TCP itself:
//! Fabric's servers end connections on which HTTP/2 pings come more often than once a minute.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Above 60 s, the shortest interval that Fabric's servers tolerate.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(75);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// A connection ends when the other machine acknowledges nothing for so long.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// An idle connection is probed after this time, and again as often until there is an answer.
const PROBE_INTERVAL: Duration = Duration::from_secs(3);
/// A block of 10 MiB fits without waiting for a window update.
const WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Why another node cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address is not `host:port`.
    #[error("'{0}' is no address of the form host:port")]
    Address(String),
    /// No certificate authority to check the other side with.
    #[error("no TLS root certificates for {0}: its organization's configuration must name them")]
    NoRoots(String),
    /// The roots or the client identity are unusable.
    #[error("TLS towards {advertised} cannot be set up: {cause}")]
    Tls {
        /// Whom it was for.
        advertised: String,
        /// What is wrong.
        cause: String,
    },
    /// No connection, or no agreement on TLS.
    #[error("cannot connect to {advertised} (dialled at {dialled}): {cause}")]
    Connect {
        /// The advertised address.
        advertised: String,
        /// The address that was dialled for it.
        dialled: String,
        /// What failed.
        cause: String,
    },
}

/// The certificate and key shown to servers that ask for one; PEM.
#[derive(Clone)]
pub struct ClientIdentity {
    /// Certificate, followed by intermediates if there are any.
    pub certificate_pem: Vec<u8>,
    /// Private key.
    pub key_pem: Vec<u8>,
}

/// Opens channels; cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialer {
    dial: Arc<BTreeMap<String, String>>,
    connect_timeout: Duration,
}

impl Dialer {
    /// A dialer by a map from advertised to dialled `host:port`; what is not in it is
    /// dialled as advertised.
    pub fn new(dial: BTreeMap<String, String>) -> Self {
        Self { dial: Arc::new(dial), connect_timeout: CONNECT_TIMEOUT }
    }

    /// Gives up connecting after `timeout` (default 5 s), TLS included.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Where `advertised` is dialled.
    pub fn dialled<'a>(&'a self, advertised: &'a str) -> &'a str {
        self.dial.get(advertised).map_or(advertised, String::as_str)
    }

    /// A channel to `advertised` whose connection stands; it reconnects by itself when
    /// that is lost. `roots_pem`: the other side's TLS certificate authorities.
    ///
    /// # Errors
    /// When it cannot be reached within the connect timeout, or TLS refuses it.
    pub async fn connect(
        &self,
        advertised: &str,
        roots_pem: &[Vec<u8>],
        identity: Option<&ClientIdentity>,
    ) -> Result<Channel, DialError> {
        let endpoint = self.endpoint(advertised, roots_pem, identity)?;
        let failed = |cause| DialError::Connect {
            advertised: advertised.to_owned(),
            dialled: self.dialled(advertised).to_owned(),
            cause,
        };
        endpoint.connect_with_connector(self.connector(advertised)).await.map_err(|error| {
            failed(if is_timeout(&error) {
                format!("no answer within {:?}", self.connect_timeout)
            } else {
                super::causes(&error)
            })
        })
    }

    /// A channel that connects at the first call; calls fail with `UNAVAILABLE` while the
    /// other side cannot be reached.
    ///
    /// # Errors
    /// When the address or the TLS material is unusable.
    pub fn connect_lazy(
        &self,
        advertised: &str,
        roots_pem: &[Vec<u8>],
        identity: Option<&ClientIdentity>,
    ) -> Result<Channel, DialError> {
        let endpoint = self.endpoint(advertised, roots_pem, identity)?;
        Ok(endpoint.connect_with_connector_lazy(self.connector(advertised)))
    }

    fn endpoint(
        &self,
        advertised: &str,
        roots_pem: &[Vec<u8>],
        identity: Option<&ClientIdentity>,
    ) -> Result<Endpoint, DialError> {
        let host = host(advertised).ok_or_else(|| DialError::Address(advertised.to_owned()))?;
        if roots_pem.is_empty() {
            return Err(DialError::NoRoots(advertised.to_owned()));
        }
        let mut tls =
            ClientTlsConfig::new().domain_name(host).ca_certificates(roots_pem.iter().map(Certificate::from_pem));
        if let Some(identity) = identity {
            tls = tls.identity(Identity::from_pem(&identity.certificate_pem, &identity.key_pem));
        }
        let endpoint = Endpoint::from_shared(format!("https://{advertised}"))
            .map_err(|_| DialError::Address(advertised.to_owned()))?
            .tls_config(tls)
            .map_err(|error| DialError::Tls { advertised: advertised.to_owned(), cause: super::causes(&error) })?;
        Ok(endpoint
            .connect_timeout(self.connect_timeout)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true))
    }

    fn connector(
        &self,
        advertised: &str,
    ) -> impl tower::Service<Uri, Response = TokioIo<TcpStream>, Error = std::io::Error, Future: Send> + Send + 'static + use<>
    {
        let dialled = self.dialled(advertised).to_owned();
        tower::service_fn(move |_: Uri| {
            let dialled = dialled.clone();
            async move { Ok(TokioIo::new(open(&dialled).await?)) }
        })
    }
}

async fn open(dialled: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(dialled).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE_INTERVAL).with_interval(PROBE_INTERVAL))?;
    // Covers both what is sent and not acknowledged, and probes without an answer.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(SILENCE_MAX))?;
    Ok(stream)
}

/// Whether the connect timeout, which covers TLS too, is behind an error.
fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let timed_out = |io: &std::io::Error| io.kind() == std::io::ErrorKind::TimedOut;
    error.downcast_ref().is_some_and(timed_out) || error.source().is_some_and(is_timeout)
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_stands_before_the_port() {
        assert_eq!(host("peer0.org1.example.com:7051"), Some("peer0.org1.example.com"));
        assert_eq!(host("[::1]:7051"), Some("::1"));
        for wrong in ["peer0", ":7051", "peer0:", "peer0:port", "peer0:70510"] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_connection_asks_tcp_to_notice_a_vanished_machine() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = open(&listener.local_addr().unwrap().to_string()).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBE_INTERVAL);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), PROBE_INTERVAL);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(SILENCE_MAX));
    }

    #[tokio::test]
    async fn a_missing_root_and_a_wrong_address_are_refused_before_dialling() {
        let dialer = Dialer::new(BTreeMap::new());
        let error = dialer.connect("peer0:7051", &[], None).await.unwrap_err();
        assert!(matches!(error, DialError::NoRoots(_)), "{error}");
        let error = dialer.connect("peer0", &[vec![]], None).await.unwrap_err();
        assert!(matches!(error, DialError::Address(_)), "{error}");
    }
}
