//! Durable commits of checked blocks: rate, processor time, disk.

use std::path::Path;
use std::sync::Arc;

use ripstop_ledger::store::{Batch, LevelDbStores, Snapshot, Store, StoreError, Stores};
use ripstop_ledger::{CheckedBlock, Ledger, Options};

use crate::chain::{self, TRANSACTIONS};
use crate::measure::{Cost, cost, report};

const KEYS: u64 = 1_000_000;
const ROUNDS: usize = 5;
const BLOCKS: u64 = 100;

/// Blocks of one write per transaction over 1,000,000 keys.
pub(crate) fn durable() {
    let (mut chain, ledger, _folder) = chain::loaded(KEYS);
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (reads, costs) in [false, true].into_iter().zip(&mut costs) {
            let blocks = (0..BLOCKS).map(|_| {
                let keys = chain.keys(TRANSACTIONS, KEYS);
                chain.block_of(&keys, reads)
            });
            let blocks: Vec<CheckedBlock> = blocks.collect();
            costs.push(cost(|| commit_all(&ledger, blocks)));
        }
    }
    for (costs, kind) in costs.iter().zip(["write", "read_and_write"]) {
        report(
            &format!("commit::durable/keys={KEYS} transactions={TRANSACTIONS} each={kind}"),
            BLOCKS * TRANSACTIONS,
            costs,
        );
    }
}

fn commit_all(ledger: &Ledger, blocks: Vec<CheckedBlock>) {
    for block in blocks {
        let committed = ledger.commit(block).unwrap();
        assert!(committed.codes.iter().all(|code| *code as i32 == 0), "a transaction is invalid");
    }
}

/// What roots add: the same blocks, in turns, in a ledger without a state trie and one with it.
pub(crate) fn roots() {
    const KEYS: u64 = 300_000;
    let without = Options { trie: None, ..Options::default() };
    let (mut chain, ledgers, _folders) = chain::new_ledgers(1, [without, Options::default()]);
    chain.load(KEYS, &ledgers);
    for reads in [false, true] {
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let blocks = (0..BLOCKS).map(|_| {
                let keys = chain.keys(TRANSACTIONS, KEYS);
                chain.block_of(&keys, reads)
            });
            let blocks: Vec<CheckedBlock> = blocks.collect();
            for (ledger, costs) in ledgers.iter().zip(&mut costs) {
                let blocks = blocks.clone();
                costs.push(cost(|| commit_all(ledger, blocks)));
            }
        }
        let each = if reads { "read_and_write" } else { "write" };
        for (costs, roots) in costs.iter().zip(["without", "with"]) {
            let name = format!("commit::roots/keys={KEYS} transactions={TRANSACTIONS} each={each} roots={roots}");
            report(&name, BLOCKS * TRANSACTIONS, costs);
        }
    }
}

/// The derived store synced at checkpoints, as the ledger does, and at every block.
pub(crate) fn sync() {
    for (blocks, transactions) in [(60, 500), (400, 10)] {
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            costs[0].push(synced(blocks, transactions, Arc::new(LevelDbStores::default())));
            costs[1].push(synced(blocks, transactions, Arc::new(SyncedEachBlock)));
        }
        for (costs, sync) in costs.iter().zip(["checkpoints", "each_block"]) {
            report(&format!("commit::sync/transactions={transactions} at={sync}"), blocks * transactions, costs);
        }
    }
}

fn synced(blocks: u64, transactions: u64, stores: Arc<dyn Stores>) -> Cost {
    let (mut chain, ledger, _folder) = chain::new_ledger(1, Options { stores, ..Options::default() });
    let keys = |block: u64| (block * transactions..(block + 1) * transactions).collect::<Vec<_>>();
    let blocks = (0..blocks).map(|block| chain.block_of(&keys(block), false)).collect();
    cost(|| commit_all(&ledger, blocks))
}

/// Bytes on disk per transaction, each of which writes a new key.
pub(crate) fn disk() {
    const DISK_BLOCKS: u64 = 200;
    for clients in [1, 100] {
        let (mut chain, ledger, folder) = chain::new_ledger(clients, Options::default());
        for block in 0..DISK_BLOCKS {
            let keys: Vec<u64> = (block * TRANSACTIONS..(block + 1) * TRANSACTIONS).collect();
            let keys: Vec<u64> = keys.iter().map(|key| key * 7_919 % (DISK_BLOCKS * TRANSACTIONS)).collect();
            commit_all(&ledger, vec![chain.block_of(&keys, true)]);
        }
        drop(ledger);
        let per_transaction = |bytes: u64| bytes / (DISK_BLOCKS * TRANSACTIONS);
        println!(
            "commit::disk/clients={clients}: {} bytes per transaction, of which blocks {}",
            per_transaction(chain::bytes_in(folder.path())),
            per_transaction(chain::bytes_in(&folder.path().join("blocks"))),
        );
    }
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
