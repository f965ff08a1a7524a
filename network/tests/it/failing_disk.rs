//! A peer whose disk fails under it.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::network::{Network, text};

const PEERS: [&str; 2] = ["peer0.org1.example.com", "peer0.org2.example.com"];

fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached() {
        assert!(Instant::now() < deadline, "not within 60 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How a process ended, as the supervisor has noted it.
fn end_of(network: &Network, name: &str) -> Option<String> {
    let written = std::fs::read(network.dir().join("processes.json")).unwrap();
    let processes: Value = serde_json::from_slice(&written).unwrap();
    let supervised = processes["supervised"].as_array().unwrap().iter().find(|process| process["name"] == name);
    supervised.unwrap()["ended"].as_str().map(str::to_owned)
}

fn create(network: &Network, asset: &str) -> std::process::Output {
    network.run(&["submit", "basic", "CreateAsset", asset, "red", "1", "Eve", "2"])
}

#[test]
fn a_peer_whose_sync_fails_ends_with_code_3_and_comes_back_with_its_blocks() {
    let network = Network::up(&[]);
    let heights = || PEERS.map(|peer| network.node(peer)["height"].as_u64());
    wait_until("both peers have all blocks", || heights()[0].is_some() && heights()[0] == heights()[1]);
    let Some(height) = heights()[0] else { panic!("no height") };
    network.ok(&["network", "stop", PEERS[0]]);

    // The next segment of its blocks is a device that takes every write and cannot be synced.
    let segment = network.ledger(PEERS[0]).join(format!("blocks/{height:012}.blocks"));
    symlink("/dev/null", &segment).unwrap();
    network.ok(&["network", "start", PEERS[0]]);
    let submitted = create(&network, "asset 1");
    wait_until("the peer ends", || end_of(&network, PEERS[0]).is_some());
    let (end, log) = (end_of(&network, PEERS[0]).unwrap(), network.ok(&["network", "logs", PEERS[0]]));
    assert!(end.contains("exit status: 3"), "{end}\n{}\n{log}", text(&submitted.stderr));
    assert!(log.contains("cannot sync") && log.contains(&format!("{height:012}.blocks")), "{log}");

    std::fs::remove_file(segment).unwrap();
    network.ok(&["network", "start", PEERS[0]]);
    wait_until("the peer has the block", || heights()[0].is_some_and(|now| now > height));
    let created = create(&network, "asset 2");
    assert!(created.status.success(), "{}", text(&created.stderr));
    wait_until("both peers have all blocks", || heights()[0] == heights()[1]);
}
