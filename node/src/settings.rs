//! The configuration file of a node: TOML in kebab case, one struct per program, read once.
//!
//! Every program has a `[node]` table ([`NodeSettings`]) and one of its own beside it.
//! Unknown keys are refused with a suggestion, and each key can be overridden by an
//! environment variable; [`load`] says how. No default is taken silently from elsewhere.

pub mod duration;
mod load;
mod overrides;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use load::{SettingsError, load, parse};

/// The `[node]` table: who this node is, where it listens, where its files are.
///
/// Relative paths are relative to the folder of the configuration file; [`load`] sees to it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeSettings {
    /// The node's host name, for instance `peer0.org1.example.com`; logs carry it.
    pub name: String,
    /// Id of the organization's MSP, for instance `Org1MSP`.
    pub msp_id: String,
    /// The node's own MSP folder: `signcerts`, `keystore`, `cacerts`, `config.yaml`.
    pub msp_folder: PathBuf,
    /// Folder of everything this node keeps; created when it is missing.
    pub data_folder: PathBuf,
    /// Address of the gRPC listener. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// `host:port` that others are told; its host is the TLS server name.
    pub advertise: String,
    /// Certificate and key of the gRPC listener.
    pub tls: TlsSettings,
    /// Address of the plain operations listener; none: no operations HTTP.
    #[serde(default)]
    pub operations_listen: Option<SocketAddr>,
    /// Advertised `host:port` to the `host:port` that is dialled in its place. The TLS
    /// server name stays the advertised host.
    #[serde(default)]
    pub dial: BTreeMap<String, String>,
}

/// The `[node.tls]` table. All files are PEM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TlsSettings {
    /// Server certificate, followed by intermediates if there are any. The node shows it
    /// as client certificate too, where one is asked for.
    pub certificate: PathBuf,
    /// Private key of that certificate.
    pub key: PathBuf,
    /// Certificate authorities whose client certificates are accepted.
    #[serde(default)]
    pub client_roots: Vec<PathBuf>,
    /// Whether a client without a certificate is refused (mutual TLS).
    #[serde(default)]
    pub client_auth_required: bool,
}

/// The paths in a program's settings.
pub trait Paths {
    /// Each of them.
    fn paths(&mut self) -> Vec<&mut PathBuf>;

    /// Makes relative paths relative to `folder`.
    fn resolve_paths(&mut self, folder: &Path) {
        for path in self.paths() {
            *path = folder.join(&*path);
        }
    }
}

impl NodeSettings {
    /// The folder that holds one folder per channel.
    pub fn channels_folder(&self) -> PathBuf {
        self.data_folder.join("channels")
    }
}

impl Paths for NodeSettings {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let TlsSettings { certificate, key, client_roots, .. } = &mut self.tls;
        let mut paths = vec![&mut self.msp_folder, &mut self.data_folder, certificate, key];
        paths.extend(client_roots);
        paths
    }
}
