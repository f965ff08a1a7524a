//! Chaincode packages: the file that is installed on peers, the same bytes for everyone.
//!
//! ```text
//! PACKAGE.tar.gz
//!   metadata.json   {"path":"","type":"ccaas","label":"NAME_VERSION"}
//!   code.tar.gz
//!     connection.json   {"address":"HOST:PORT","dial_timeout":"10s","tls_required":false}
//! ```
//! Entries are sorted, times and owners zero, so that equal input gives an equal package id
//! and the id is known before anything is deployed.

use std::io::Write;

use anyhow::{Context, bail, ensure};
use flate2::{Compression, GzBuilder};
use ripstop_proto::hash::sha256;
use serde_json::json;

use crate::topology::Contract;

/// A package of type `ccaas`: it only says where the chaincode's service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    id: String,
    bytes: Vec<u8>,
}

impl Package {
    /// The package of a chaincode that is served at `address` (`host:port`) without TLS.
    pub(crate) fn at_address(name: &str, version: &str, address: &str) -> anyhow::Result<Self> {
        let Some((host, port)) = address.rsplit_once(':') else { bail!("{address} is no address: write HOST:PORT") };
        ensure!(!host.is_empty(), "{address} has no host: write HOST:PORT");
        port.parse::<u16>().with_context(|| format!("{port} in {address} is no port: write HOST:PORT"))?;
        let label = format!("{name}_{version}");
        ensure!(is_label(&label), "{label} is no package label: names and versions hold letters, digits and _.+-");
        let connection = json!({ "address": address, "dial_timeout": "10s", "tls_required": false });
        let code = archive(&[("connection.json", connection.to_string().as_bytes())])?;
        let metadata = json!({ "path": "", "type": "ccaas", "label": label });
        let bytes = archive(&[("code.tar.gz", &code), ("metadata.json", metadata.to_string().as_bytes())])?;
        let id = format!("{label}:{}", hex::encode(sha256(&[&bytes])));
        Ok(Self { id, bytes })
    }

    /// The package of a contract that the network runs itself.
    pub(crate) fn of_contract(contract: &Contract) -> anyhow::Result<Self> {
        Self::at_address(&contract.name, &contract.version, &format!("127.0.0.1:{}", contract.port))
    }

    /// `label:hash`, under which the chaincode's service registers with peers.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Fabric's rule: a letter or digit, then letters, digits and `_.+-`.
fn is_label(label: &str) -> bool {
    let inner = |character: char| character.is_ascii_alphanumeric() || "_.+-".contains(character);
    label.starts_with(|first: char| first.is_ascii_alphanumeric()) && label.chars().all(inner)
}

/// A gzipped tar with nothing in it that depends on when or where it was made.
fn archive(entries: &[(&str, &[u8])]) -> anyhow::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, name, *content)?;
    }
    // 255 stands for an unknown operating system.
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::default());
    gzip.write_all(&archive.into_inner()?)?;
    Ok(gzip.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_input_gives_an_equal_package() {
        let package = || Package::at_address("basic", "1.0", "127.0.0.1:9999").unwrap();
        assert_eq!(package(), package());
        let other = Package::at_address("basic", "1.0", "127.0.0.1:9998").unwrap();
        assert_ne!(package().id(), other.id());
        assert!(package().id().starts_with("basic_1.0:"));
    }

    #[test]
    fn an_address_without_port_or_host_is_refused() {
        for wrong in ["localhost", ":9999", "localhost:", "localhost:99999"] {
            assert!(Package::at_address("basic", "1.0", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_label_that_peers_would_refuse_is_refused_here() {
        assert!(Package::at_address("my basic", "1.0", "h:1").is_err());
        assert!(Package::at_address("basic", "1/0", "h:1").is_err());
    }
}
