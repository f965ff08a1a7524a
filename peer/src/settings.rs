//! The settings of a peer: the `[node]` table that every node has, and `[peer]`.

use std::path::PathBuf;
use std::time::Duration;

use ripstop_node::settings::NodeSettings;
use serde::{Deserialize, Deserializer};

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
    /// How long connecting to a chaincode server may take, unless its package says otherwise.
    #[serde(deserialize_with = "duration")]
    pub chaincode_dial_timeout: Duration,
    /// How long one call of a chaincode may run.
    #[serde(deserialize_with = "duration")]
    pub chaincode_execute_timeout: Duration,
    /// How long the gateway waits for one endorser.
    #[serde(deserialize_with = "duration")]
    pub endorsement_timeout: Duration,
    /// How long the gateway waits for one orderer.
    #[serde(deserialize_with = "duration")]
    pub broadcast_timeout: Duration,
    /// How far a proposal's timestamp may be from this node's clock, to either side.
    #[serde(deserialize_with = "duration")]
    pub authentication_time_window: Duration,
    /// Shortest wait after every orderer of a channel failed.
    #[serde(deserialize_with = "duration")]
    pub deliver_retry_least: Duration,
    /// Longest wait after every orderer of a channel failed.
    #[serde(deserialize_with = "duration")]
    pub deliver_retry_most: Duration,
    /// Blocks that may wait for the committer, per channel.
    pub delivered_blocks_max: usize,
}

impl Default for PeerTable {
    fn default() -> Self {
        Self {
            chaincode_dial_timeout: Duration::from_secs(3),
            chaincode_execute_timeout: Duration::from_secs(30),
            endorsement_timeout: Duration::from_secs(30),
            broadcast_timeout: Duration::from_secs(30),
            authentication_time_window: Duration::from_secs(15 * 60),
            deliver_retry_least: Duration::from_millis(50),
            deliver_retry_most: Duration::from_secs(1),
            delivered_blocks_max: 8,
        }
    }
}

impl PeerSettings {
    /// The folder that holds one folder per channel.
    pub fn channels_folder(&self) -> PathBuf {
        self.node.data_folder.join("channels")
    }

    /// The folder of installed chaincode packages.
    pub fn packages_folder(&self) -> PathBuf {
        self.node.data_folder.join("packages")
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map_err(serde::de::Error::custom)
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        _ => return Err(format!("{text:?} is no duration; write a whole number and ms, s or m, for instance \"30s\"")),
    };
    let milliseconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
    match milliseconds {
        Some(milliseconds) if milliseconds > 0 => Ok(Duration::from_millis(milliseconds)),
        _ => Err(format!("the duration {text:?} is not a positive number that fits")),
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
        assert_eq!(settings.channels_folder(), Path::new("data/channels"));
    }

    #[test]
    fn durations_are_numbers_with_a_unit() {
        let settings = parse("[peer]\nchaincode-execute-timeout = \"500ms\"\nauthentication-time-window = \"5m\"").unwrap();
        assert_eq!(settings.peer.chaincode_execute_timeout, Duration::from_millis(500));
        assert_eq!(settings.peer.authentication_time_window, Duration::from_secs(300));
        for wrong in ["30", "s", "-1s", "0s", "1h", "99999999999999999999s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(parse("[peer]\nexecute-timeout = \"1s\"").is_err());
    }
}
