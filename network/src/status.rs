//! `network status`: what runs, where, and how far each node is.
//!
//! Heights and leadership are read from the nodes' own metrics, so what is shown is what a
//! monitoring system would see.

use std::process::ExitCode;

use hyper::StatusCode;
use serde::Serialize;

use crate::folder::Folder;
use crate::health::is_healthy;
use crate::http;
use crate::output::{Tone, print, say};
use crate::processes::Processes;
use crate::table::Table;
use crate::topology::{ORDERER_MSP_ID, Topology};

/// The network as scripts read it.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    channel: String,
    nodes: Vec<NodeStatus>,
    contracts: Vec<ContractStatus>,
}

/// One node.
#[derive(Debug, Serialize)]
pub(crate) struct NodeStatus {
    name: String,
    role: &'static str,
    msp_id: String,
    address: String,
    operations: String,
    pid: Option<u32>,
    state: &'static str,
    height: Option<u64>,
    leader: bool,
}

#[derive(Debug, Serialize)]
struct ContractStatus {
    name: String,
    address: String,
    pid: Option<u32>,
    state: &'static str,
}

/// Prints the state of every node; the exit code is 1 unless all are up.
pub(crate) async fn status(folder: &Folder, json: bool) -> anyhow::Result<ExitCode> {
    let topology = folder.topology()?;
    let status = Status::of(folder, &topology).await?;
    status.print(json)?;
    let all_up = status.nodes.iter().all(|node| node.state == "up");
    Ok(if all_up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Status {
    /// Asks every node.
    pub(crate) async fn of(folder: &Folder, topology: &Topology) -> anyhow::Result<Self> {
        let processes = Processes::read(&folder.processes_file())?;
        let pid =
            |name: &str| processes.as_ref().and_then(|processes| processes.running(name)).map(|process| process.pid);
        let mut nodes = Vec::new();
        for orderer in &topology.orderers {
            let seen = Seen::of(pid(&orderer.name), orderer.operations_port, &topology.channel).await;
            nodes.push(NodeStatus {
                name: orderer.name.clone(),
                role: "orderer",
                msp_id: ORDERER_MSP_ID.to_owned(),
                address: format!("localhost:{}", orderer.port),
                operations: format!("localhost:{}", orderer.operations_port),
                pid: pid(&orderer.name),
                state: seen.state,
                height: seen.height,
                leader: seen.leader,
            });
        }
        for (organization, peer) in topology.peers() {
            let seen = Seen::of(pid(&peer.name), peer.operations_port, &topology.channel).await;
            nodes.push(NodeStatus {
                name: peer.name.clone(),
                role: "peer",
                msp_id: organization.msp_id.clone(),
                address: format!("localhost:{}", peer.port),
                operations: format!("localhost:{}", peer.operations_port),
                pid: pid(&peer.name),
                state: seen.state,
                height: seen.height,
                leader: false,
            });
        }
        let contracts = topology.contracts.iter().map(|contract| ContractStatus {
            name: contract.name.clone(),
            address: format!("localhost:{}", contract.port),
            pid: pid(&contract.name),
            state: if pid(&contract.name).is_some() { "up" } else { "down" },
        });
        Ok(Self { channel: topology.channel.clone(), nodes, contracts: contracts.collect() })
    }

    /// Prints it for a person or a program.
    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return say(&serde_json::to_string(self)?);
        }
        say(&format!("channel {}\n", self.channel))?;
        let mut table =
            Table::new(&["NAME", "ROLE", "ORGANIZATION", "ADDRESS", "OPERATIONS", "PID", "STATE", "HEIGHT"]);
        let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        for node in &self.nodes {
            table.push([
                node.name.clone(),
                if node.leader { "orderer (leader)".to_owned() } else { node.role.to_owned() },
                node.msp_id.clone(),
                node.address.clone(),
                node.operations.clone(),
                shown(node.pid.map(|pid| pid.to_string())),
                painted(node.state),
                shown(node.height.map(|height| height.to_string())),
            ]);
        }
        for contract in &self.contracts {
            let unknown = || "-".to_owned();
            table.push([
                contract.name.clone(),
                "contract".to_owned(),
                unknown(),
                contract.address.clone(),
                unknown(),
                shown(contract.pid.map(|pid| pid.to_string())),
                painted(contract.state),
                unknown(),
            ]);
        }
        print(&table)
    }
}

fn painted(state: &str) -> String {
    match state {
        "up" => Tone::Good,
        "starting" => Tone::Waiting,
        _ => Tone::Bad,
    }
    .paint(state)
}

/// What a node says of itself.
struct Seen {
    state: &'static str,
    height: Option<u64>,
    leader: bool,
}

impl Seen {
    async fn of(pid: Option<u32>, operations_port: u16, channel: &str) -> Self {
        if pid.is_none() {
            return Self { state: "down", height: None, leader: false };
        }
        if !is_healthy(operations_port).await {
            return Self { state: "starting", height: None, leader: false };
        }
        let metrics = match http::get_local(operations_port, "/metrics").await {
            Ok((StatusCode::OK, body)) => String::from_utf8_lossy(&body).into_owned(),
            _ => String::new(),
        };
        let height = metric(&metrics, "ledger_blockchain_height", channel).map(|height| height as u64);
        let leader = metric(&metrics, "consensus_etcdraft_is_leader", channel) == Some(1.0);
        Self { state: "up", height, leader }
    }
}

/// The value of `name{channel="…"}` in Prometheus' text format.
fn metric(metrics: &str, name: &str, channel: &str) -> Option<f64> {
    let label = format!("channel=\"{channel}\"");
    let line = metrics
        .lines()
        .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') && rest.contains(&label)))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_name_and_channel() {
        let text = "# HELP ledger_blockchain_height x\nledger_blockchain_height{channel=\"other\"} 4\n\
                    ledger_blockchain_height{channel=\"mychannel\"} 12\n";
        assert_eq!(metric(text, "ledger_blockchain_height", "mychannel"), Some(12.0));
        assert_eq!(metric(text, "ledger_blockchain", "mychannel"), None);
        assert_eq!(metric(text, "ledger_blockchain_height", "third"), None);
    }
}
