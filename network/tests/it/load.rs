//! Clients that submit without a pause worth speaking of, and note down what they are told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ripstop_client::{Gateway, SigningIdentity};
use ripstop_node::transport::Dialer;

use crate::network::Network;

const TASKS_PER_PEER: usize = 2;
/// Between the answer to one submit and the next one of the same task: a steady load that leaves
/// the machine some time for those who elect a leader.
const PAUSE: Duration = Duration::from_millis(20);
/// What a test waits for at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Block number and code of a transaction.
pub(crate) type Place = (u64, i32);

/// What clients were told.
#[derive(Default)]
pub(crate) struct Told {
    /// Transactions whose submit was answered OK.
    pub(crate) submitted: Vec<String>,
    /// Transactions whose commit status was answered, and with what.
    pub(crate) committed: BTreeMap<String, Place>,
    /// When the newest submit began that was answered OK.
    newest_ok: Option<Instant>,
}

/// A running load on some gateways.
pub(crate) struct Load {
    told: Arc<Mutex<Told>>,
    ending: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// Starts it on the gateways of these peers, each an organization and a name.
    pub(crate) async fn start(network: &Network, peers: &[(&str, &str)]) -> Self {
        let mut load = Self { told: Arc::default(), ending: Arc::default(), tasks: Vec::new() };
        for (task, (organization, peer)) in peers.iter().cycle().take(TASKS_PER_PEER * peers.len()).enumerate() {
            let gateway = gateway(network, organization, peer).await;
            let (told, ending) = (Arc::clone(&load.told), Arc::clone(&load.ending));
            load.tasks.push(tokio::spawn(submit_until_the_end(gateway, task, told, ending)));
        }
        load
    }

    /// Waits for the answer to a submit that began after `since`; how long after it that was.
    pub(crate) async fn served(&self, since: Instant) -> Duration {
        while self.told.lock().unwrap().newest_ok.is_none_or(|began| began < since) {
            assert!(since.elapsed() < PATIENCE, "nothing is ordered any more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        since.elapsed()
    }

    /// Ends it; what was told.
    pub(crate) async fn end(self) -> Told {
        self.ending.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

async fn submit_until_the_end(gateway: Gateway, task: usize, told: Arc<Mutex<Told>>, ending: Arc<AtomicBool>) {
    let contract = gateway.network("mychannel").contract("basic");
    for number in 0.. {
        if ending.load(Ordering::Relaxed) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
        let (asset, began) = (format!("asset {task} {number}"), Instant::now());
        let arguments = [asset.as_str(), "green", "1", "Ada", "2"];
        let proposal = contract.new_proposal("CreateAsset").arguments(arguments).build().unwrap();
        let Ok(transaction) = proposal.endorse().await else { continue };
        let Ok(commit) = transaction.submit().await else { continue };
        {
            let mut told = told.lock().unwrap();
            told.submitted.push(commit.transaction_id().to_owned());
            told.newest_ok = told.newest_ok.max(Some(began));
        }
        if let Ok(status) = commit.status().await {
            let place = (status.block_number, status.code as i32);
            told.lock().unwrap().committed.insert(commit.transaction_id().to_owned(), place);
        }
    }
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
