//! Plain HTTP/1.1 over any stream, written and read by hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::stage::patiently;

/// Sends one request and reads to the end: status and body, or what went wrong.
pub(super) async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str, body: &[u8]) -> String {
    let head = format!("{head}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    let answer = async {
        stream.write_all(head.as_bytes()).await?;
        // A server may answer and close before it has read everything.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map(|_| answer)
    };
    let answer: Result<Vec<u8>, std::io::Error> = patiently("an HTTP server", answer).await;
    match answer {
        Err(error) => format!("cut: {error}"),
        Ok(answer) => {
            let text = String::from_utf8_lossy(&answer);
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            format!("{} {body}", head.split(' ').nth(1).unwrap_or("nothing"))
        }
    }
}

/// A client's TLS: whom it trusts, and the certificate that it shows.
pub(super) fn client(root: &Path, certificate: Option<(PathBuf, PathBuf)>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_file(certificate).unwrap();
            let key = PrivateKeyDer::from_pem_file(key).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

/// Like [`exchange`], over TLS to a port of this machine.
pub(super) async fn exchange_tls(tls: &TlsConnector, port: u16, head: &str, body: &[u8]) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    match tls.connect(ServerName::try_from("localhost").unwrap(), stream).await {
        Ok(stream) => exchange(stream, head, body).await,
        Err(error) => format!("cut: {error}"),
    }
}
