//! What one endorsement costs: a contract that reads and writes one key, in a process
//! of its own kind (a server on loopback), called by one client after the other or by
//! many at once.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop where it is")]
#![allow(dead_code, reason = "the test network offers more than is measured here")]

#[path = "../tests/it/blocks.rs"]
mod blocks;
#[path = "../tests/it/contract_server.rs"]
mod contract_server;
#[path = "../tests/it/organizations.rs"]
mod organizations;
#[path = "../tests/it/peers.rs"]
mod peers;
#[path = "../tests/it/transactions.rs"]
mod transactions;

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use peers::{Call, TestNetwork};

const CALLS: usize = 4_000;

#[tokio::main]
async fn main() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    let (peer, client) = (&network.peers[0], network.client());
    for (name, args) in [("nothing", vec!["nothing"]), ("read_write", vec!["put then get", "k", "v"])] {
        for in_flight in [1, 16] {
            let signed: Vec<_> = (0..CALLS).map(|_| Call::new("basic", &args).signed(client)).collect();
            let (started, cpu) = (Instant::now(), processor_time());
            let answers = stream::iter(signed).map(|signed| peer.endorser.process(signed)).buffer_unordered(in_flight);
            let endorsed = answers.filter(|answer| {
                let endorsed = answer.response.as_ref().is_some_and(|response| response.endorsement.is_some());
                futures::future::ready(endorsed)
            });
            assert_eq!(endorsed.count().await, CALLS);
            let each = |total: Duration| total.as_secs_f64() * 1e6 / CALLS as f64;
            println!(
                "endorser::process/{name} in_flight={in_flight}: {:.0} µs, processor {:.0} µs (contract included)",
                each(started.elapsed()),
                each(processor_time() - cpu)
            );
        }
    }
}

/// User and system time of this process so far.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
