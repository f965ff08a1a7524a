//! A network under load whose leading orderer is killed, or stopped for a while.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ripstop_client::{Gateway, SigningIdentity};
use ripstop_ledger::Ledger;
use ripstop_node::transport::Dialer;
use ripstop_proto::block::{self, TRANSACTIONS_FILTER};
use ripstop_proto::common::Block;
use ripstop_proto::envelope::OpenEnvelope;

use crate::network::Network;

const PEERS: [(&str, &str); 4] = [
    ("org1", "peer0.org1.example.com"),
    ("org1", "peer1.org1.example.com"),
    ("org2", "peer0.org2.example.com"),
    ("org2", "peer1.org2.example.com"),
];
const TASKS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(60);

/// Block number and code of a transaction.
type Place = (u64, i32);

/// What clients were told.
#[derive(Default)]
struct Told {
    /// When the newest submit was answered OK that began after the last fault.
    began_of_last_ok: Mutex<Option<Instant>>,
    submitted: Mutex<Vec<String>>,
    committed: Mutex<BTreeMap<String, Place>>,
    ending: AtomicBool,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_stands_on_all_peers_when_leaders_are_killed_and_stopped_under_load() {
    let network = Network::up(&["--orderers", "3", "--peers-per-org", "2"]);
    let told = Arc::new(Told::default());
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let (organization, peer) = PEERS[task % PEERS.len()];
        let gateway = gateway(&network, organization, peer).await;
        tasks.push(tokio::spawn(submit_until_the_end(gateway, task, Arc::clone(&told))));
    }
    served(&told, Instant::now()).await;

    let (name, pid) = leader(&network);
    signal("-9", &pid);
    let without = served(&told, Instant::now()).await;
    assert!(without < Duration::from_secs(5), "nothing was ordered for {without:?} after the leader was killed");
    network.ok(&["network", "start", &name]);

    let (_, pid) = leader(&network);
    signal("-STOP", &pid);
    let stopped = Instant::now();
    let without = served(&told, stopped).await;
    assert!(without < Duration::from_secs(8), "nothing was ordered for {without:?} after the leader was stopped");
    tokio::time::sleep_until((stopped + Duration::from_secs(8)).into()).await;
    signal("-CONT", &pid);
    served(&told, Instant::now()).await;

    told.ending.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    same_height(&network).await;
    network.ok(&["network", "down"]);
    let chains = PEERS.map(|(_, peer)| chain(&network, peer));
    check(&told, &chains);
}

async fn submit_until_the_end(gateway: Gateway, task: usize, told: Arc<Told>) {
    let contract = gateway.network("mychannel").contract("basic");
    for number in 0.. {
        if told.ending.load(Ordering::Relaxed) {
            return;
        }
        let (asset, began) = (format!("asset {task} {number}"), Instant::now());
        let arguments = [asset.as_str(), "green", "1", "Ada", "2"];
        let proposal = contract.new_proposal("CreateAsset").arguments(arguments).build().unwrap();
        let Ok(transaction) = proposal.endorse().await else { continue };
        let Ok(commit) = transaction.submit().await else { continue };
        told.submitted.lock().unwrap().push(commit.transaction_id().to_owned());
        {
            let mut last = told.began_of_last_ok.lock().unwrap();
            *last = (*last).max(Some(began));
        }
        if let Ok(status) = commit.status().await {
            let place = (status.block_number, status.code as i32);
            told.committed.lock().unwrap().insert(commit.transaction_id().to_owned(), place);
        }
    }
}

/// Waits for the answer to a submit that began after `since`; how long after it that was.
async fn served(told: &Told, since: Instant) -> Duration {
    while told.began_of_last_ok.lock().unwrap().is_none_or(|began| began < since) {
        assert!(since.elapsed() < PATIENCE, "nothing is ordered any more");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    since.elapsed()
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

/// Name and process id of the leading orderer.
fn leader(network: &Network) -> (String, String) {
    let started = Instant::now();
    loop {
        let status = network.json(&["network", "status", "--json"]);
        if let Some(node) = status["nodes"].as_array().unwrap().iter().find(|node| node["leader"] == true) {
            return (node["name"].as_str().unwrap().to_owned(), node["pid"].to_string());
        }
        assert!(started.elapsed() < PATIENCE, "nobody leads: {status}");
    }
}

fn signal(signal: &str, pid: &str) {
    assert!(std::process::Command::new("kill").args([signal, pid]).status().unwrap().success());
}

async fn gateway(network: &Network, organization: &str, peer: &str) -> Gateway {
    let domain = format!("{organization}.example.com");
    let material = network.organization(&domain);
    let msp_id = format!("{}MSP", organization.replace("org", "Org"));
    let user = material.join(format!("users/User1@{domain}/msp"));
    let identity = SigningIdentity::from_msp_folder(&msp_id, user).unwrap();
    let root = std::fs::read(material.join(format!("peers/{peer}/tls/ca.crt"))).unwrap();
    let address = network.node(peer)["address"].as_str().unwrap().to_owned();
    let connection = Dialer::new(BTreeMap::new()).connect(&address, &[root], None).await.unwrap();
    Gateway::connect(connection, Arc::new(identity))
}

fn chain(network: &Network, peer: &str) -> Vec<Arc<Block>> {
    let ledger = Ledger::open(network.ledger(peer), ripstop_ledger::Options::default()).unwrap();
    (0..ledger.height()).map(|number| ledger.block(number).unwrap().unwrap()).collect()
}

fn check(told: &Told, chains: &[Vec<Arc<Block>>; 4]) {
    for chain in chains {
        assert_eq!(chain.len(), chains[0].len());
        for (block, first) in chain.iter().zip(&chains[0]) {
            assert_eq!((&block.header, &block.data), (&first.header, &first.data));
            let filter = |block: &Block| block::metadata_slot(block, TRANSACTIONS_FILTER).to_vec();
            assert_eq!(filter(block), filter(first));
            assert_eq!(block::commit_hash(block), block::commit_hash(first));
        }
    }
    // The first place of each transaction; a second one is a duplicate and writes nothing.
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    for block in &chains[0] {
        let codes = block::metadata_slot(block, TRANSACTIONS_FILTER);
        for (entry, code) in block.data.as_ref().unwrap().data.iter().zip(codes) {
            let number = block.header.as_ref().unwrap().number;
            let tx_id = OpenEnvelope::open(entry).unwrap().channel_header.tx_id;
            places.entry(tx_id).or_insert((number, i32::from(*code)));
        }
    }
    let submitted = told.submitted.lock().unwrap();
    assert!(submitted.len() > 20 * TASKS, "only {} submits were answered", submitted.len());
    let lost = submitted.iter().filter(|tx_id| !places.contains_key(*tx_id)).count();
    assert_eq!(lost, 0, "of {} submits that were answered OK", submitted.len());
    for (tx_id, place) in told.committed.lock().unwrap().iter() {
        assert_eq!(places.get(tx_id), Some(place), "{tx_id} stands elsewhere than a client was told");
    }
}
