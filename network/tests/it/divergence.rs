//! Peers whose state was altered under them, among others whose state is right.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use ripstop_ledger::store::{Batch, Stores};
use ripstop_ledger::{Ledger, Options};
use ripstop_proto::block::block_roots;

use crate::network::Network;

const HONEST: &str = "peer0.org1.example.com";
/// The row of asset1 in a peer's store.
const KEY: &[u8] = b"dbasic\0asset1";

fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached() {
        assert!(Instant::now() < deadline, "not within 60 s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Changes what a stopped peer has in its store: `change` gives the new value of a row, or none
/// to remove it, or nothing to leave it.
fn alter(ledger: &Path, change: impl Fn(&[u8], &[u8]) -> Option<Option<Vec<u8>>>) {
    let stores = Options::default().stores;
    let store = Stores::open(stores.as_ref(), &ledger.join("derived")).unwrap();
    let mut batch = Batch::default();
    let snapshot = store.snapshot();
    let mut rows = snapshot.range(&[], &[0xff]);
    while let Some((key, value)) = rows.next().unwrap() {
        match change(&key, &value) {
            Some(Some(value)) => batch.put(key.to_vec(), value),
            Some(None) => batch.delete(key.to_vec()),
            None => {}
        }
    }
    assert!(batch.changes().len() > 0, "nothing was altered");
    store.write(&batch, true).unwrap();
}

fn flipped(row: &[u8], place: usize) -> Option<Option<Vec<u8>>> {
    let mut row = row.to_vec();
    row[place] ^= 1;
    Some(Some(row))
}

/// A row begins with the block number of its version: a length, then its bytes.
fn alter_version(network: &Network, peer: &str) {
    network.ok(&["network", "stop", peer]);
    alter(&network.ledger(peer), |key, row| (key == KEY).then(|| flipped(row, 1)).flatten());
    network.ok(&["network", "start", peer]);
}

/// Without its records, the trie is made anew from the state when the peer starts.
fn alter_value_and_trie(network: &Network, peer: &str) {
    network.ok(&["network", "stop", peer]);
    alter(&network.ledger(peer), |key, row| match key {
        KEY => flipped(row, row.len() - 2),
        key => key.starts_with(b"m").then_some(None),
    });
    network.ok(&["network", "start", peer]);
}

/// A gauge of the channel on a peer.
fn gauge(network: &Network, peer: &str, name: &str) -> Option<f64> {
    let operations = network.node(peer)["operations"].as_str().unwrap().replace("localhost", "127.0.0.1");
    let mut stream = TcpStream::connect(operations).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let start = format!("{name}{{channel=\"mychannel\"}} ");
    answer.lines().find_map(|line| line.strip_prefix(&start)?.trim().parse().ok())
}

fn is_diverged(network: &Network, peer: &str) -> bool {
    gauge(network, peer, "endorser_state_diverged").unwrap() > 0.0
}

fn create(network: &Network, asset: &str) {
    network.ok(&["submit", "basic", "CreateAsset", asset, "red", "1", "Eve", "2"]);
}

/// Waits until the peer has said which block and key differ; the block that it names.
fn named_block(network: &Network, peer: &str) -> u64 {
    let named = || {
        let log = network.ok(&["network", "logs", peer]);
        let line = log.lines().find(|line| line.contains("differs first"))?;
        assert!(line.contains("asset1") && line.contains("basic"), "{line}");
        let number: String = line.split("since block ").nth(1)?.chars().take_while(char::is_ascii_digit).collect();
        Some(number.parse().unwrap())
    };
    wait_until("the peer names block and key", || named().is_some());
    named().unwrap()
}

/// The first block whose roots are others on `peer` than on the honest one; both are stopped.
fn first_differing_block(network: &Network, peer: &str) -> u64 {
    let [honest, other] = [HONEST, peer].map(|peer| Ledger::open(network.ledger(peer), Options::default()).unwrap());
    let roots = |ledger: &Ledger, number| block_roots(&ledger.block(number).unwrap().unwrap()).unwrap();
    let height = honest.height().min(other.height());
    (0..height).find(|number| roots(&honest, *number) != roots(&other, *number)).unwrap()
}

#[test]
fn a_peer_with_an_altered_version_stops_endorsing_and_names_block_and_key_for_good() {
    let network = Network::up(&["--orgs", "3", "--orderers", "1"]);
    let peer = "peer0.org3.example.com";
    alter_version(&network, peer);
    assert!(!is_diverged(&network, peer));
    network.ok(&["submit", "basic", "TransferAsset", "asset1", "Ann"]);
    let block = named_block(&network, peer);
    assert!(is_diverged(&network, peer));
    assert_eq!(gauge(&network, peer, "ledger_roots_differ"), Some(1.0));
    assert!(!is_diverged(&network, HONEST) && !is_diverged(&network, "peer0.org2.example.com"));

    // Its gateway goes round its own endorser, and so do those of others.
    let shown = network.ok(&["query", "--as", "User1@org3", "basic", "ReadAsset", "asset1"]);
    assert!(shown.contains("Ann"), "{shown}");
    for (user, owner) in [("User1@org1", "Ben"), ("User1@org2", "Cid"), ("User1@org1", "Dan")] {
        network.ok(&["submit", "--as", user, "basic", "TransferAsset", "asset1", owner]);
    }
    // What it is asked to submit is endorsed by others, too; what became of it, it tells by its
    // own wrong state.
    let submitted =
        network.json(&["submit", "--json", "--as", "User1@org3", "basic", "TransferAsset", "asset1", "Eve"]);
    assert_eq!(submitted["code"], "MVCC_READ_CONFLICT", "{submitted}");
    let shown = network.ok(&["query", "basic", "ReadAsset", "asset1"]);
    assert!(shown.contains("Eve"), "{shown}");
    network.ok(&["network", "stop", peer]);
    network.ok(&["network", "start", peer]);
    assert!(is_diverged(&network, peer), "forgotten over a restart");
    network.ok(&["network", "down"]);
    assert_eq!(first_differing_block(&network, peer), block);
}

#[test]
fn a_peer_whose_trie_was_made_over_an_altered_value_stops_until_its_state_is_built_again() {
    let network = Network::up(&["--orgs", "3", "--orderers", "1"]);
    let peer = "peer0.org2.example.com";
    alter_value_and_trie(&network, peer);
    create(&network, "asset9");
    let block = named_block(&network, peer);
    assert!(is_diverged(&network, peer));
    assert!(!is_diverged(&network, HONEST));
    create(&network, "asset8");
    network.ok(&["network", "down"]);
    assert_eq!(first_differing_block(&network, peer), block);

    Ledger::open(network.ledger(peer), Options::default()).unwrap().rebuild_at_next_start();
    network.ok(&["network", "up"]);
    create(&network, "asset7");
    wait_until("its roots are found right", || gauge(&network, peer, "ledger_roots_differ") == Some(0.0));
    assert!(!is_diverged(&network, peer));
}

#[test]
fn two_organizations_that_disagree_both_raise_the_metric_and_go_on() {
    let network = Network::up(&["--orderers", "1"]);
    let peers = [HONEST, "peer0.org2.example.com"];
    alter_value_and_trie(&network, peers[1]);
    create(&network, "asset9");
    let raised = |peer: &&str| gauge(&network, peer, "ledger_roots_differ") == Some(1.0);
    wait_until("both raise the metric", || peers.iter().all(raised));
    assert!(!peers.iter().any(|peer| is_diverged(&network, peer)));
    create(&network, "asset8");
    for user in ["User1@org1", "User1@org2"] {
        network.ok(&["query", "--as", user, "basic", "ReadAsset", "asset8"]);
    }
}
