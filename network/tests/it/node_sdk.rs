//! The official Node SDK runs the steps of Fabric's asset-transfer-basic against us.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::contract::free_address;
use crate::network::{Network, repository, text};

/// Every organization has to endorse.
const BOTH: &str = "AND('Org1MSP.peer','Org2MSP.peer')";

pub(crate) fn interop() -> PathBuf {
    repository().join("interop/node")
}

/// Installs the packages once, and again when others are asked for; several tests may ask at
/// the same time.
pub(crate) fn install_packages() {
    static INSTALLED: std::sync::Once = std::sync::Once::new();
    INSTALLED.call_once(|| {
        let changed = |file: &str| std::fs::metadata(interop().join(file)).and_then(|file| file.modified()).ok();
        // npm writes its own lock when it is done.
        let installed = changed("node_modules/.package-lock.json");
        if installed.is_some() && installed >= changed("package-lock.json") {
            return;
        }
        let output = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(interop()).output();
        let output = output.expect("this test needs Node 20 with npm");
        assert!(output.status.success(), "npm ci failed: {}", text(&output.stderr));
    });
}

/// Runs a program's steps as User1 of Org1 against `chaincode`.
fn run(program: &str, network: &Network, chaincode: &str) {
    let organization = network.organization("org1.example.com");
    let user = organization.join("users/User1@org1.example.com/msp");
    let peer = network.node("peer0.org1.example.com");
    let output = Command::new("node")
        .arg(program)
        .current_dir(interop())
        .env("CRYPTO_PATH", &organization)
        .env("KEY_DIRECTORY_PATH", user.join("keystore"))
        .env("CERT_DIRECTORY_PATH", user.join("signcerts"))
        .env("TLS_CERT_PATH", organization.join("peers/peer0.org1.example.com/tls/ca.crt"))
        .env("PEER_ENDPOINT", peer["address"].as_str().unwrap())
        .env("PEER_HOST_ALIAS", "peer0.org1.example.com")
        .env("MSP_ID", "Org1MSP")
        .env("CHANNEL_NAME", "mychannel")
        .env("CHAINCODE_NAME", chaincode)
        .output()
        .expect("this test needs Node 20");
    assert!(
        output.status.success(),
        "{program} failed against {chaincode}:\n{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    println!("{}", text(&output.stdout));
}

fn deploy(network: &Network, name: &str, address: &str) -> String {
    let deployed = network.json(&[
        "chaincode",
        "deploy",
        "--json",
        "--name",
        name,
        "--version",
        "1.0",
        "--address",
        address,
        "--policy",
        BOTH,
    ]);
    deployed["package_id"].as_str().unwrap().to_owned()
}

/// A contract written against Fabric's own contract API, as a service.
struct NodeContract(Child);

impl NodeContract {
    fn start(contract: &Path, address: &str, package_id: &str) -> Self {
        let child = Command::new("node")
            .arg("start.js")
            .current_dir(contract)
            .env("CHAINCODE_SERVER_ADDRESS", address)
            .env("CHAINCODE_ID", package_id)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("this test needs Node 20");
        Self(child)
    }
}

impl Drop for NodeContract {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_official_sdk_runs_asset_transfer_basic_against_our_contract_and_a_node_contract() {
    install_packages();
    let network = Network::up(&[]);

    let address =
        network.json(&["network", "status", "--json"])["contracts"][0]["address"].as_str().unwrap().to_owned();
    deploy(&network, "basic", &address.replace("localhost", "127.0.0.1"));
    run("asset-transfer.js", &network, "basic");

    let address = free_address().to_string();
    let package_id = deploy(&network, "node-basic", &address);
    let contract = NodeContract::start(&interop().join("basic-contract"), &address, &package_id);
    run("asset-transfer.js", &network, "node-basic");
    drop(contract);
}

#[test]
fn the_official_sdk_reads_the_three_kinds_of_block_events() {
    install_packages();
    let network = Network::up(&[]);
    run("block-events.js", &network, "basic");
}

#[test]
fn the_official_sdk_notices_nothing_of_a_dead_peer_of_another_organization() {
    install_packages();
    let network = Network::up(&["--orderers", "3", "--peers-per-org", "2"]);
    network.ok(&["network", "kill", "peer1.org2.example.com"]);
    run("asset-transfer.js", &network, "basic");
    run("block-events.js", &network, "basic");
}
