//! Range reads: over plenty of keys, and under a prefix that is filled and emptied again
//! and again, as rows of deltas are by pruning.

use std::time::Instant;

use ripstop_ledger::Ledger;

use crate::chain::{self, Chain, key_name};
use crate::envelopes::{NAMESPACE, Write};
use crate::measure::{cost, report, spread};

const KEYS: u64 = 1_000_000;
const ROUNDS: usize = 21;
const CYCLES: usize = 100;
const ROWS: usize = 1_000;
const ROWS_PER_TRANSACTION: usize = 100;

/// Ranges somewhere among 1,000,000 keys.
pub(crate) fn range() {
    let (mut chain, ledger, _folder) = chain::loaded(KEYS);
    for rows in [1_000, 10_000] {
        let costs: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let first = chain.random.below(KEYS - rows);
                cost(|| assert_eq!(count(&ledger, &key_name(first), &key_name(first + rows)), rows as usize))
            })
            .collect();
        report(&format!("state::range/keys={KEYS} rows={rows}"), rows, &costs);
    }
}

/// 1,000 rows inserted in random order, read, deleted: the time of the read by cycle.
pub(crate) fn tombstones() {
    let (mut chain, ledger, _folder) = chain::loaded(KEYS);
    let mut milliseconds = Vec::new();
    for _ in 0..CYCLES {
        let keys: Vec<String> =
            (0..ROWS).map(|_| format!("delta-total-{}", String::from_utf8(chain.random.text(32)).unwrap())).collect();
        commit(&mut chain, &ledger, &keys, b"+1");
        milliseconds.push(read_milliseconds(&ledger));
        commit(&mut chain, &ledger, &keys, b"");
    }
    let by_cycle = |from: usize, to: usize| spread(milliseconds[from..to].to_vec())[1];
    let (first, last) = (by_cycle(0, 5), by_cycle(CYCLES - 5, CYCLES));
    println!(
        "state::tombstones/keys={KEYS} rows={ROWS} cycles={CYCLES}: first {first:.3} ms, middle {:.3} ms, last {last:.3} ms ({:.1} times the first), slowest {:.3} ms",
        by_cycle(CYCLES / 2 - 2, CYCLES / 2 + 3),
        last / first,
        spread(milliseconds.clone())[2],
    );
}

fn commit(chain: &mut Chain, ledger: &Ledger, keys: &[String], value: &[u8]) {
    let entries = keys.chunks(ROWS_PER_TRANSACTION).map(|keys| {
        let writes: Vec<Write<'_>> = keys.iter().map(|key| (NAMESPACE, key.as_str(), value)).collect();
        chain.envelope(&[], &writes)
    });
    let entries = entries.collect();
    ledger.commit(chain.block(entries)).unwrap();
}

/// The median of three reads of all rows.
fn read_milliseconds(ledger: &Ledger) -> f64 {
    let times = (0..3).map(|_| {
        let begin = Instant::now();
        assert_eq!(count(ledger, "delta-total-", "delta-total."), ROWS);
        begin.elapsed().as_secs_f64() * 1e3
    });
    spread(times.collect())[1]
}

fn count(ledger: &Ledger, start: &str, end: &str) -> usize {
    ledger.state().range(NAMESPACE, start, end).map(Result::unwrap).count()
}
