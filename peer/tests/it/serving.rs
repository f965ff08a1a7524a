//! Services of tests behind the real listener, on loopback with the material's TLS.

use std::net::SocketAddr;
use std::time::Duration;

use ripstop_msp::material::MemberFolder;
use ripstop_node::transport::{Limits, Listener, ServerTls};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// Services that are being served.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Serving {
    /// Serves `routes` as the node of `folder`; port 0 is a free one.
    pub(crate) async fn start(folder: &MemberFolder, address: &str, routes: Routes) -> Self {
        let read = |path| std::fs::read(path).unwrap();
        let (certificate, key) = (read(folder.tls_certificate()), read(folder.tls_key()));
        let tls = ServerTls::from_pem(certificate, key, Vec::new(), false).unwrap();
        let limits = Limits { shutdown_grace: Duration::from_millis(1), ..Limits::default() };
        let listener = Listener::bind(address.parse().unwrap(), tls).await.unwrap().with_limits(limits);
        let address = listener.local_address().unwrap();
        let shutdown = CancellationToken::new();
        let serving = listener.serve(routes, shutdown.clone());
        let task = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, shutdown, task }
    }

    /// Stops listening and cuts every connection.
    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}
