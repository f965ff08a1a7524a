//! What committing costs, over LevelDB and the disk of the working folder: blocks of blind
//! writes and of reads with writes, with the derived store synced at checkpoints (as the
//! ledger does) and at every block, in turns; medians of five.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop where it is")]
#![allow(dead_code, reason = "the test blocks offer more than is measured here")]

#[path = "../tests/it/build.rs"]
mod build;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::store::{Batch, LevelDbStores, Snapshot, Store, StoreError, Stores};
use ripstop_ledger::{CheckedBlock, Ledger, Options};
use ripstop_proto::block::header_hash;
use ripstop_proto::common::Envelope;
use ripstop_proto::hash::sha256;

const ROUNDS: usize = 5;
/// What certificates and signatures of a real envelope add.
const PADDING_BYTES: usize = 2_400;

fn main() {
    for (blocks, transactions) in [(60, 500), (400, 10)] {
        for reads in [false, true] {
            let chain = chain(blocks, transactions, reads);
            let mut figures = [Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                figures[0].push(run(&chain, Arc::new(LevelDbStores::default())));
                figures[1].push(run(&chain, Arc::new(SyncedEachBlock)));
            }
            for (figures, sync) in figures.into_iter().zip(["checkpoints", "each_block"]) {
                report(
                    figures,
                    &format!("transactions={transactions} reads={reads} sync={sync}"),
                    blocks * transactions,
                );
            }
        }
    }
}

struct Figures {
    block: Duration,
    total: Duration,
    processor: Duration,
    bytes: u64,
}

fn report(mut figures: Vec<Figures>, name: &str, transactions: u64) {
    figures.sort_by_key(|figures| figures.total);
    let Figures { block, total, processor, bytes } = &figures[ROUNDS / 2];
    println!(
        "commit::block/{name}: block {:.2} ms, {:.0} transactions/s, processor {:.1} µs and {} bytes of blocks per transaction",
        block.as_secs_f64() * 1e3,
        transactions as f64 / total.as_secs_f64(),
        processor.as_secs_f64() * 1e6 / transactions as f64,
        bytes / transactions,
    );
}

fn run(chain: &[CheckedBlock], stores: Arc<dyn Stores>) -> Figures {
    let folder = tempfile::tempdir_in(".").unwrap();
    let options = Options { stores, ..Options::default() };
    let ledger = Ledger::create(folder.path(), build::CHANNEL, build::genesis(), options).unwrap();
    let chain = chain.to_vec();
    let (started, processor) = (Instant::now(), processor_time());
    let mut times: Vec<Duration> =
        chain.into_iter().map(|block| time(|| drop(ledger.commit(block).unwrap()))).collect();
    let (total, processor) = (started.elapsed(), processor_time() - processor);
    times.sort();
    let files = std::fs::read_dir(folder.path().join("blocks")).unwrap();
    let bytes = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    Figures { block: times[times.len() / 2], total, processor, bytes }
}

fn time(action: impl FnOnce()) -> Duration {
    let started = Instant::now();
    action();
    started.elapsed()
}

fn chain(blocks: u64, transactions: u64, reads: bool) -> Vec<CheckedBlock> {
    let mut previous = build::genesis();
    let block = |number| {
        let entries = (0..transactions).map(|index| envelope(number, index, transactions, reads)).collect();
        let hash = header_hash(previous.header.as_ref().unwrap());
        previous = build::block(number, hash.to_vec().into(), entries);
        build::checked(previous.clone())
    };
    (1..=blocks).map(block).collect()
}

fn envelope(number: u64, index: u64, transactions: u64, reads: bool) -> Bytes {
    let key = format!("key {:09}", number * transactions + index);
    let mut sets = build::sets().write(&key, &"v".repeat(100));
    if reads {
        sets = sets.read(&key, None);
    }
    let id = hex::encode(sha256(&[&number.to_le_bytes(), &index.to_le_bytes()]));
    let mut envelope = Envelope::decode(build::endorsed(&id, &sets)).unwrap();
    let certificates = (0_u32..).flat_map(|part| sha256(&[&part.to_le_bytes()])).take(PADDING_BYTES);
    let signatures = (0_u32..4).flat_map(|part| sha256(&[&part.to_le_bytes(), id.as_bytes()]));
    envelope.signature = certificates.chain(signatures).collect::<Vec<u8>>().into();
    envelope.encode_to_vec().into()
}

/// LevelDB with a sync for every batch.
struct SyncedEachBlock;

impl Stores for SyncedEachBlock {
    fn open(&self, folder: &Path) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(Synced(LevelDbStores::default().open(folder)?)))
    }

    fn set_aside(&self, folder: &Path) -> Result<Option<String>, StoreError> {
        LevelDbStores::default().set_aside(folder)
    }
}

struct Synced(Arc<dyn Store>);

impl Store for Synced {
    fn write(&self, batch: &Batch, _durable: bool) -> Result<(), StoreError> {
        self.0.write(batch, true)
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.0.reopen()
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.0.snapshot()
    }
}

/// User and system time of this process so far.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
