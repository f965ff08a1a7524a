//! The settings of a peer: the `[node]` table that every node has, and `[peer]`.

use std::path::PathBuf;
use std::time::Duration;

use ripstop_node::settings::{NodeSettings, Paths, duration};
use serde::Deserialize;

/// The whole configuration file of a peer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PeerSettings {
    /// Name, identity, folders, addresses.
    pub node: NodeSettings,
    /// What only a peer has.
    #[serde(default)]
    pub peer: PeerTable,
}

/// The `[peer]` table. Durations are written as `"500ms"`, `"30s"` or `"15m"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PeerTable {
    /// How long a connected chaincode server may take to say who it is.
    #[serde(deserialize_with = "duration::deserialize")]
    pub chaincode_registration_timeout: Duration,
    /// How long one call of a chaincode may run.
    #[serde(deserialize_with = "duration::deserialize")]
    pub chaincode_execute_timeout: Duration,
    /// How long the gateway waits for one endorser.
    #[serde(deserialize_with = "duration::deserialize")]
    pub endorsement_timeout: Duration,
    /// How long the gateway waits for one orderer.
    #[serde(deserialize_with = "duration::deserialize")]
    pub broadcast_timeout: Duration,
    /// How far a proposal's timestamp may be from this node's clock, to either side.
    #[serde(deserialize_with = "duration::deserialize")]
    pub authentication_time_window: Duration,
    /// Shortest wait after every orderer of a channel failed.
    #[serde(deserialize_with = "duration::deserialize")]
    pub deliver_retry_least: Duration,
    /// Longest wait after every orderer of a channel failed.
    #[serde(deserialize_with = "duration::deserialize")]
    pub deliver_retry_most: Duration,
    /// Peers, as `host:port`, that are called beside the channels' anchor peers to get to know
    /// others.
    pub bootstrap_peers: Vec<String>,
    /// Blocks that may wait for the committer, per channel.
    pub delivered_blocks_max: usize,
}

impl Default for PeerTable {
    fn default() -> Self {
        Self {
            chaincode_registration_timeout: Duration::from_secs(10),
            chaincode_execute_timeout: Duration::from_secs(30),
            endorsement_timeout: Duration::from_secs(30),
            broadcast_timeout: Duration::from_secs(30),
            authentication_time_window: Duration::from_secs(15 * 60),
            deliver_retry_least: Duration::from_millis(50),
            deliver_retry_most: Duration::from_secs(1),
            bootstrap_peers: Vec::new(),
            delivered_blocks_max: 8,
        }
    }
}

impl Paths for PeerSettings {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        self.node.paths()
    }
}

impl PeerSettings {
    /// The folder of installed chaincode packages.
    pub fn packages_folder(&self) -> PathBuf {
        self.node.data_folder.join("packages")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const NODE: &str = r#"
        [node]
        name = "peer0.org1.example.com"
        msp-id = "Org1MSP"
        msp-folder = "msp"
        data-folder = "data"
        listen = "127.0.0.1:7051"
        advertise = "peer0.org1.example.com:7051"
        [node.tls]
        certificate = "tls/server.crt"
        key = "tls/server.key"
    "#;

    fn parse(peer: &str) -> Result<PeerSettings, ripstop_node::settings::SettingsError> {
        ripstop_node::settings::parse(Path::new("peer.toml"), &format!("{NODE}{peer}"), "RIPSTOP_PEER", [])
    }

    #[test]
    fn a_peer_needs_no_table_of_its_own() {
        let settings = parse("").unwrap();
        assert_eq!(settings.peer, PeerTable::default());
        assert_eq!(settings.node.channels_folder(), Path::new("data/channels"));
    }

    #[test]
    fn durations_are_numbers_with_a_unit() {
        let settings =
            parse("[peer]\nchaincode-execute-timeout = \"500ms\"\nauthentication-time-window = \"5m\"").unwrap();
        assert_eq!(settings.peer.chaincode_execute_timeout, Duration::from_millis(500));
        assert_eq!(settings.peer.authentication_time_window, Duration::from_secs(300));
        assert!(parse("[peer]\nchaincode-execute-timeout = \"30\"").is_err());
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(parse("[peer]\nexecute-timeout = \"1s\"").is_err());
    }
}
