//! Joining an orderer to a channel by its admin interface (Fabric's channel participation).

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, header};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::folder::Folder;
use crate::http;
use crate::topology::{Orderer, loopback};

const BASE: &str = "/participation/v1/channels";
const BOUNDARY: &str = "ripstop-config-block";

/// The admin interface of one orderer, as the ordering organization's admin.
pub(crate) struct Participation<'a> {
    orderer: &'a Orderer,
    tls: TlsConnector,
}

impl<'a> Participation<'a> {
    /// Reads the admin's TLS material from the network's folder.
    pub(crate) fn new(folder: &Folder, orderer: &'a Orderer) -> anyhow::Result<Self> {
        let admin = folder.orderer_organization().user("Admin");
        let mut roots = RootCertStore::empty();
        for root in certificates(&admin.tls_root())? {
            roots.add(root)?;
        }
        let key_path = admin.tls_key();
        let key = PrivateKeyDer::from_pem_file(&key_path)
            .with_context(|| format!("cannot read the key {}", key_path.display()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(&admin.tls_certificate())?, key)?;
        Ok(Self { orderer, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Whether the orderer has joined `channel`.
    pub(crate) async fn has_joined(&self, channel: &str) -> anyhow::Result<bool> {
        let (status, body) = self.send(Method::GET, &format!("{BASE}/{channel}"), None).await?;
        match status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => bail!("{} answered {status}: {}", self.orderer.name, String::from_utf8_lossy(&body)),
        }
    }

    /// Joins it to the channel of a genesis block.
    pub(crate) async fn join(&self, genesis: &[u8]) -> anyhow::Result<()> {
        let mut body = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"config-block\"; filename=\"genesis.block\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(genesis);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let (status, answer) = self.send(Method::POST, BASE, Some(body.into())).await?;
        ensure!(
            status == StatusCode::CREATED,
            "{} refused to join the channel with {status}: {}",
            self.orderer.name,
            String::from_utf8_lossy(&answer)
        );
        Ok(())
    }

    async fn send(&self, method: Method, path: &str, body: Option<Bytes>) -> anyhow::Result<(StatusCode, Bytes)> {
        let Orderer { name, admin_port, .. } = self.orderer;
        let stream = TcpStream::connect(loopback(*admin_port))
            .await
            .with_context(|| format!("the admin interface of {name} on port {admin_port} cannot be reached"))?;
        let stream = self.tls.connect(ServerName::try_from(name.clone())?, stream).await?;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, name);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"));
        }
        http::send(stream, request.body(Full::new(body.unwrap_or_default()))?).await
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read the certificates in {}", path.display()))
}
