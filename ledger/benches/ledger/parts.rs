//! Two steps of a commit by themselves: reading the versions of a block's keys, and judging
//! its transactions.

use ripstop_ledger::{CheckedBlock, Ledger, parts};

use crate::chain::{self, Chain, TRANSACTIONS};
use crate::measure::{Cost, cost, report};

const KEYS: u64 = 1_000_000;
const ROUNDS: usize = 5;
const BLOCKS: u64 = 40;

/// Each transaction reads a key and writes it; none, a tenth, or half of them in vain, since
/// the block writes their key before.
pub(crate) fn judge() {
    let (mut chain, ledger, _folder) = chain::loaded(KEYS);
    let blocks = [1, 10, 2].map(|nth| blocks(&mut chain, nth));
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (blocks, costs) in blocks.iter().zip(&mut costs) {
            costs.push(judged(&ledger, blocks));
        }
    }
    for (costs, share) in costs.iter().zip([0, 10, 50]) {
        report(
            &format!("mvcc::judge/keys={KEYS} transactions={TRANSACTIONS} conflict_percent={share}"),
            BLOCKS * TRANSACTIONS,
            costs,
        );
    }
}

/// Blocks that are judged but not committed, so all of them are the next one.
fn blocks(chain: &mut Chain, nth: usize) -> Vec<CheckedBlock> {
    let mut block = || {
        let mut keys = chain.keys(TRANSACTIONS, KEYS);
        if nth > 1 {
            (1..keys.len()).filter(|place| place % nth == 0).for_each(|place| keys[place] = keys[place - 1]);
        }
        chain.uncommitted_block_of(&keys)
    };
    (0..BLOCKS).map(|_| block()).collect()
}

fn judged(ledger: &Ledger, blocks: &[CheckedBlock]) -> Cost {
    let view = ledger.state();
    let opened: Vec<_> = blocks.iter().map(|checked| parts::open(&checked.block)).collect();
    let prefetched: Vec<_> = opened.iter().map(|opened| parts::prefetch(&view, opened).unwrap()).collect();
    cost(|| {
        for (opened, prefetched) in opened.iter().zip(&prefetched) {
            parts::judge(ledger.height(), opened, prefetched).unwrap();
        }
    })
}

/// The versions of 500 keys and of the ids of their transactions; keys anywhere among all,
/// and among 1,000 hot ones.
pub(crate) fn prefetch() {
    let (mut chain, ledger, _folder) = chain::loaded(KEYS);
    for limit in [KEYS, 1_000] {
        let mut costs = Vec::new();
        for _ in 0..ROUNDS {
            let blocks: Vec<_> = (0..BLOCKS)
                .map(|_| {
                    let keys = chain.keys(TRANSACTIONS, limit);
                    parts::open(&chain.uncommitted_block_of(&keys).block)
                })
                .collect();
            let view = ledger.state();
            costs.push(cost(|| blocks.iter().for_each(|opened| drop(parts::prefetch(&view, opened).unwrap()))));
        }
        report(
            &format!("committed::prefetch/keys={KEYS} among={limit} transactions={TRANSACTIONS}"),
            BLOCKS * TRANSACTIONS,
            &costs,
        );
    }
}
