//! The settings of an orderer: the `[node]` table that every node has, and `[orderer]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ripstop_node::settings::{NodeSettings, Paths};
use serde::Deserialize;

use crate::block_cutter::Cutting;

/// The whole configuration file of an orderer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OrdererSettings {
    /// Name, identity, folders, addresses.
    pub node: NodeSettings,
    /// What only an orderer has.
    #[serde(default)]
    pub orderer: OrdererTable,
}

/// The `[orderer]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct OrdererTable {
    /// Whether an idle orderer waits for the channel's batch timeout.
    pub cutting: CuttingMode,
    /// With adaptive cutting: how long the first envelope of a block waits for others while
    /// nothing is under way, in milliseconds.
    pub linger_ms: u64,
    /// Address of the admin listener (channel participation, `osnadmin`); none: no such
    /// listener. It shows the certificate of `[node.tls]` and always demands one.
    pub admin_listen: Option<SocketAddr>,
    /// Certificate authorities, PEM, whose client certificates may administer this orderer.
    pub admin_client_roots: Vec<PathBuf>,
    /// How far the timestamp of a Deliver request may be from this node's clock, in seconds.
    pub deliver_time_window_s: u64,
    /// Bytes of envelopes that a channel may have under way; more have to wait.
    pub intake_bytes_max: u32,
}

/// When a batch is cut that is not full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CuttingMode {
    /// As soon as nothing is under way; at the latest after the batch timeout.
    Adaptive,
    /// After the batch timeout, as Fabric does.
    Timeout,
}

impl Default for OrdererTable {
    fn default() -> Self {
        Self {
            cutting: CuttingMode::Adaptive,
            linger_ms: 4,
            admin_listen: None,
            admin_client_roots: Vec::new(),
            deliver_time_window_s: 15 * 60,
            intake_bytes_max: 128 << 20,
        }
    }
}

impl OrdererTable {
    /// The block cutter's part.
    pub(crate) fn cutting(&self) -> Cutting {
        match self.cutting {
            CuttingMode::Adaptive => Cutting::Adaptive { linger: Duration::from_millis(self.linger_ms) },
            CuttingMode::Timeout => Cutting::Timeout,
        }
    }
}

impl Paths for OrdererSettings {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let mut paths = self.node.paths();
        paths.extend(&mut self.orderer.admin_client_roots);
        paths
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const NODE: &str = r#"
        [node]
        name = "orderer.example.com"
        msp-id = "OrdererMSP"
        msp-folder = "msp"
        data-folder = "data"
        listen = "127.0.0.1:7050"
        advertise = "orderer.example.com:7050"
        tls = { certificate = "tls/server.crt", key = "tls/server.key" }
    "#;

    fn parse(text: &str) -> Result<OrdererSettings, ripstop_node::settings::SettingsError> {
        let none: [(String, String); 0] = [];
        ripstop_node::settings::parse(Path::new("orderer.toml"), text, "RIPSTOP_ORDERER", none)
    }

    #[test]
    fn without_an_orderer_table_cutting_is_adaptive() {
        let settings = parse(NODE).unwrap();
        assert_eq!(settings.orderer.cutting(), Cutting::Adaptive { linger: Duration::from_millis(4) });
        assert_eq!(settings.orderer.admin_listen, None);
    }

    #[test]
    fn the_table_is_read_and_paths_follow_the_file() {
        let table = r#"
            [orderer]
            cutting = "timeout"
            admin-listen = "127.0.0.1:7053"
            admin-client-roots = ["tls/ca.crt"]
        "#;
        let mut settings = parse(&format!("{NODE}{table}")).unwrap();
        settings.resolve_paths(Path::new("/etc/orderer"));
        assert_eq!(settings.orderer.cutting(), Cutting::Timeout);
        assert_eq!(settings.orderer.admin_client_roots, [Path::new("/etc/orderer/tls/ca.crt")]);
        assert_eq!(settings.node.channels_folder(), Path::new("/etc/orderer/data/channels"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_a_suggestion() {
        let error = parse(&format!("{NODE}[orderer]\nlinger = 4")).unwrap_err().to_string();
        assert!(error.contains("linger-ms"), "{error}");
    }
}
