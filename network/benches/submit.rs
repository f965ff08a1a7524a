//! Submits of unique keys through a whole network: rate, latency, and the CPU time each
//! process spends for one transaction.
//!
//! `cargo bench -p ripstop-network` prints tables for one and three orderers and for each
//! endorsement policy; figures are kept in docs/benchmarks.md. `-- SECONDS` sets the length
//! of each measurement.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop where it is")]

#[path = "../tests/it/network.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod network;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ripstop_client::{Contract, Gateway, SigningIdentity};
use ripstop_node::transport::Dialer;
use tokio::task::JoinSet;

use crate::network::Network;

const IN_FLIGHT: [usize; 3] = [1, 64, 256];
const WARM_UP: Duration = Duration::from_secs(2);
/// Clock ticks in a second, as /proc counts CPU time.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() {
    // `cargo bench` adds --bench; `cargo test --benches` would add nothing to measure.
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for orderers in ["1", "3"] {
        let network = Network::up(&["--orderers", orderers]);
        for (name, policy) in [
            ("one endorsement", "OR('Org1MSP.peer','Org2MSP.peer')"),
            ("two endorsements", "AND('Org1MSP.peer','Org2MSP.peer')"),
        ] {
            redeploy(&network, policy);
            println!("\norderers: {orderers}, {name}");
            println!("in flight  valid/s   p50 ms   p99 ms  CPU ms per transaction");
            for in_flight in IN_FLIGHT {
                runtime.block_on(async {
                    let contract = contract(&network).await;
                    submit(&contract, in_flight, WARM_UP).await;
                    let before = cpu_seconds(&network);
                    let measured = submit(&contract, in_flight, Duration::from_secs(seconds)).await;
                    measured.print(in_flight, &before, &cpu_seconds(&network));
                });
            }
        }
    }
}

/// Gives the sample that runs another policy.
fn redeploy(network: &Network, policy: &str) {
    let status = network.json(&["network", "status", "--json"]);
    let address = status["contracts"][0]["address"].as_str().unwrap().replace("localhost", "127.0.0.1");
    let arguments = ["chaincode", "deploy", "--name", "basic", "--version", "1.0", "--address", &address];
    network.ok(&[&arguments[..], &["--policy", policy]].concat());
}

async fn contract(network: &Network) -> Contract {
    let organization = network.organization("org1.example.com");
    let user = organization.join("users/User1@org1.example.com/msp");
    let identity = SigningIdentity::from_msp_folder("Org1MSP", user).unwrap();
    let root = std::fs::read(organization.join("peers/peer0.org1.example.com/tls/ca.crt")).unwrap();
    let address = network.node("peer0.org1.example.com")["address"].as_str().unwrap().to_owned();
    let connection = Dialer::new(BTreeMap::new()).connect(&address, &[root], None).await.unwrap();
    Gateway::connect(connection, Arc::new(identity)).network("mychannel").contract("basic")
}

/// What one measurement saw.
struct Measured {
    valid: u64,
    duration: Duration,
    latency_us: Histogram<u64>,
}

/// Keeps `in_flight` transactions under way for `duration`, each with a key of its own.
async fn submit(contract: &Contract, in_flight: usize, duration: Duration) -> Measured {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..in_flight {
        let contract = contract.clone();
        workers.spawn(async move {
            let mut latencies_us = Vec::new();
            while began.elapsed() < duration {
                let id = format!("key{}", NEXT.fetch_add(1, Ordering::Relaxed));
                let sent = Instant::now();
                contract.submit("CreateAsset", &[&id, "blue", "5", "Tomoko", "300"]).await.unwrap();
                latencies_us.push(sent.elapsed().as_micros() as u64);
            }
            latencies_us
        });
    }
    let mut latency_us = Histogram::new(3).unwrap();
    while let Some(latencies_us) = workers.join_next().await {
        latencies_us.unwrap().into_iter().for_each(|latency| latency_us.record(latency).unwrap());
    }
    Measured { valid: latency_us.len(), duration: began.elapsed(), latency_us }
}

impl Measured {
    fn print(&self, in_flight: usize, before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) {
        let rate = self.valid as f64 / self.duration.as_secs_f64();
        let ms = |quantile| self.latency_us.value_at_quantile(quantile) as f64 / 1000.0;
        let per_transaction = |name: &String| (after[name] - before[name]) * 1000.0 / self.valid as f64;
        let total: f64 = after.keys().map(per_transaction).sum();
        let each: Vec<String> = after.keys().map(|name| format!("{name} {:.3}", per_transaction(name))).collect();
        println!("{in_flight:>9} {rate:>8.0} {:>8.1} {:>8.1}  {total:.3} ({})", ms(0.5), ms(0.99), each.join(", "));
    }
}

/// User and system time of each process of the network, and of this one, in seconds.
fn cpu_seconds(network: &Network) -> BTreeMap<String, f64> {
    let status = network.json(&["network", "status", "--json"]);
    let listed = ["nodes", "contracts"].into_iter().flat_map(|list| status[list].as_array().unwrap().clone());
    let mut seconds: BTreeMap<String, f64> = listed
        .map(|process| (process["name"].as_str().unwrap().to_owned(), of_process(&process["pid"].to_string())))
        .collect();
    seconds.insert("client".to_owned(), of_process("self"));
    seconds
}

/// Fields 14 and 15 of `/proc/PID/stat`.
fn of_process(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS_PER_SECOND
}
