//! A network under load whose nodes are killed and suspended, round after round.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ripstop_ledger::Ledger;
use ripstop_proto::block::{self, TRANSACTIONS_FILTER, header_hash};
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::hash::sha256;
use serde_json::Value;

use crate::load::{Load, PATIENCE, Place, Told};
use crate::network::Network;

const PEERS: [(&str, &str); 4] = [
    ("org1", "peer0.org1.example.com"),
    ("org1", "peer1.org1.example.com"),
    ("org2", "peer0.org2.example.com"),
    ("org2", "peer1.org2.example.com"),
];
/// How often everything happens; RIPSTOP_FAULT_ROUNDS asks for another number.
const ROUNDS: usize = 20;
/// Rounds that one network goes through before its chains are compared.
const ROUNDS_PER_NETWORK: usize = 20;
/// From the loss of a leader to the answer to a submit that began after it.
const LEADERLESS_MAX: Duration = Duration::from_secs(3);
const SUSPENDED: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_stands_on_all_peers_whatever_is_killed_or_suspended_under_load() {
    let rounds = std::env::var("RIPSTOP_FAULT_ROUNDS").map_or(ROUNDS, |count| count.parse().unwrap());
    for done in (0..rounds).step_by(ROUNDS_PER_NETWORK) {
        a_network_goes_through((rounds - done).min(ROUNDS_PER_NETWORK)).await;
    }
}

async fn a_network_goes_through(rounds: usize) {
    let network = Network::up(&["--orderers", "3", "--peers-per-org", "2"]);
    let load = Load::start(&network, &PEERS).await;
    load.served(Instant::now()).await;
    let mut leaderless = Vec::new();
    for round in 0..rounds {
        leaderless.push(("killed", the_leader_is_killed(&network, &load).await));
        a_peer_is_killed(&network, &load, PEERS[round % PEERS.len()].1).await;
        leaderless.push(("suspended", the_leader_is_suspended(&network, &load).await));
        everything_is_killed(&network, &load).await;
    }
    let told = load.end().await;
    same_height(&network).await;
    network.ok(&["network", "down"]);

    let chains = PEERS.map(|(_, peer)| Chain::read(&network, peer));
    for chain in &chains {
        assert_eq!(chain.blocks, chains[0].blocks);
        assert_eq!(chain.places, chains[0].places);
    }
    the_chain_holds(&chains[0], &told);
    let submitted = told.submitted.len();
    assert!(submitted > 200 * rounds, "only {submitted} submits were answered in {rounds} rounds");
    println!(
        "{submitted} submits in {rounds} rounds, {} blocks, without a leader: {leaderless:?}",
        chains[0].blocks.len()
    );
    let longest = leaderless.iter().max_by_key(|(_, without)| *without).unwrap();
    assert!(longest.1 < LEADERLESS_MAX, "a leader was {}, and nothing was ordered for {:?}", longest.0, longest.1);
}

async fn the_leader_is_killed(network: &Network, load: &Load) -> Duration {
    let leader = leader(network).await;
    signal("-9", [&leader["pid"]]);
    let without = load.served(Instant::now()).await;
    network.ok(&["network", "start", leader["name"].as_str().unwrap()]);
    without
}

async fn a_peer_is_killed(network: &Network, load: &Load, peer: &str) {
    signal("-9", [&network.node(peer)["pid"]]);
    load.served(Instant::now()).await;
    network.ok(&["network", "start", peer]);
    load.served(Instant::now()).await;
}

async fn the_leader_is_suspended(network: &Network, load: &Load) -> Duration {
    let leader = leader(network).await;
    signal("-STOP", [&leader["pid"]]);
    let suspended = Instant::now();
    let without = load.served(suspended).await;
    tokio::time::sleep_until((suspended + SUSPENDED).into()).await;
    signal("-CONT", [&leader["pid"]]);
    load.served(Instant::now()).await;
    without
}

/// Nodes, contracts and who supervises them, as when the power fails.
async fn everything_is_killed(network: &Network, load: &Load) {
    let running: Value = serde_json::from_slice(&std::fs::read(network.dir().join("processes.json")).unwrap()).unwrap();
    let supervised = running["supervised"].as_array().unwrap().iter().map(|supervised| &supervised["process"]["pid"]);
    signal("-9", supervised.chain([&running["supervisor"]["pid"]]));
    network.ok(&["network", "up"]);
    load.served(Instant::now()).await;
}

/// The leading orderer's entry in the network's status.
async fn leader(network: &Network) -> Value {
    let started = Instant::now();
    loop {
        let status = network.json(&["network", "status", "--json"]);
        if let Some(node) = status["nodes"].as_array().unwrap().iter().find(|node| node["leader"] == true) {
            return node.clone();
        }
        assert!(started.elapsed() < PATIENCE, "nobody leads: {status}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn signal<'a>(signal: &str, pids: impl IntoIterator<Item = &'a Value>) {
    let pids = pids.into_iter().map(Value::to_string);
    assert!(std::process::Command::new("kill").arg(signal).args(pids).status().unwrap().success());
}

/// Waits until all peers have the same number of blocks.
async fn same_height(network: &Network) {
    let started = Instant::now();
    loop {
        let heights = PEERS.map(|(_, peer)| network.node(peer)["height"].as_u64());
        if heights.iter().all(|height| *height == heights[0]) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "the peers stay at {heights:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What of a block has to be equal on all peers.
#[derive(Debug, PartialEq)]
struct Stored {
    header_hash: [u8; 32],
    content_hash: [u8; 32],
    codes: Vec<u8>,
    commit_hash: Option<[u8; 32]>,
}

/// What a peer has stored.
struct Chain {
    blocks: Vec<Stored>,
    /// The first place of each transaction; a second one is a duplicate and writes nothing.
    places: BTreeMap<String, Place>,
}

impl Chain {
    fn read(network: &Network, peer: &str) -> Self {
        let ledger = Ledger::open(network.ledger(peer), ripstop_ledger::Options::default()).unwrap();
        let mut chain = Self { blocks: Vec::new(), places: BTreeMap::new() };
        for number in 0..ledger.height() {
            let block = ledger.block(number).unwrap().unwrap();
            let (header, entries) = (block.header.as_ref().unwrap(), &block.data.as_ref().unwrap().data);
            assert_eq!(header.number, number);
            let codes = block::metadata_slot(&block, TRANSACTIONS_FILTER).to_vec();
            for (entry, code) in entries.iter().zip(&codes) {
                let tx_id = OpenEnvelope::open(entry).unwrap().channel_header.tx_id;
                chain.places.entry(tx_id).or_insert((number, i32::from(*code)));
            }
            let content: Vec<&[u8]> = entries.iter().map(|entry| &entry[..]).collect();
            let (content_hash, commit_hash) = (sha256(&content), block::commit_hash(&block));
            chain.blocks.push(Stored { header_hash: header_hash(header), content_hash, codes, commit_hash });
        }
        chain
    }
}

fn the_chain_holds(chain: &Chain, told: &Told) {
    let lost = told.submitted.iter().filter(|tx_id| !chain.places.contains_key(*tx_id)).count();
    assert_eq!(lost, 0, "of {} submits that were answered OK", told.submitted.len());
    for (tx_id, place) in &told.committed {
        assert_eq!(chain.places.get(tx_id), Some(place), "{tx_id} stands elsewhere than a client was told");
    }
}
