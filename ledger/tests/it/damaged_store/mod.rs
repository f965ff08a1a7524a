//! Files of a ledger on a disk that are damaged, cut, removed or older than the others:
//! never a wrong or absent value in silence.

mod cut_files;
mod flipped_bytes;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::RngExt;
use ripstop_ledger::block_store::Settings;
use ripstop_ledger::store::{LevelDbStores, StoreError};
use ripstop_ledger::{Ledger, LedgerError, Options, PrivateWrite};

use crate::build::{CHANNEL, checked, endorsed, genesis, next_block, sets, version};
use crate::environment::random;

const BLOCKS: u64 = 40;
const ROWS_PER_BLOCK: u64 = 10;

/// Several tables of LevelDB and several segments, though there are few blocks.
fn options() -> Options {
    let stores = LevelDbStores { block_cache_bytes: 1 << 20, write_buffer_bytes: 64 << 10 };
    let blocks = Settings { segment_bytes_max: 30_000, ..Settings::default() };
    Options { stores: Arc::new(stores), blocks, ..Options::default() }
}

/// A ledger of some blocks, closed again. `after_block` is told each number.
fn make(folder: &Path, mut after_block: impl FnMut(u64)) {
    let ledger = Ledger::create(folder, CHANNEL, genesis(), options()).unwrap();
    let mut rng = random(4);
    for number in 1..=BLOCKS {
        let mut transactions: Vec<_> = (0..ROWS_PER_BLOCK)
            .map(|row| {
                let value: Vec<String> = (0..20).map(|_| format!("{:016x}", rng.random::<u64>())).collect();
                sets().write(&key(number * ROWS_PER_BLOCK / 2 + row), &value.concat())
            })
            .collect();
        transactions.push(sets().delete(&key(number)).private_write("coll", "p", &number.to_string()));
        transactions.push(sets().read("loser", version(9, 9)).write("loser", "x"));
        let envelopes =
            transactions.iter().enumerate().map(|(index, sets)| endorsed(&tx_id(number, index as u64), sets));
        let mut block = checked(next_block(&ledger, envelopes.collect()));
        block.private_writes.push(PrivateWrite {
            tx_index: ROWS_PER_BLOCK as u32,
            namespace: "cc".into(),
            collection: "coll".into(),
            key: "p".into(),
            value: Some(number.to_string().into()),
        });
        ledger.commit(block).unwrap();
        after_block(number);
    }
}

fn key(row: u64) -> String {
    format!("k {row:04}")
}

fn tx_id(number: u64, index: u64) -> String {
    format!("tx {number} {index}")
}

/// What one question gives, as text; or that it cannot be told.
type Answer = Result<String, LedgerError>;

/// Everything that can be asked of the ledger, always in the same order.
fn answers(ledger: &Ledger) -> Vec<Answer> {
    let state = ledger.state();
    let mut answers: Vec<Answer> = Vec::new();
    answers.push(Ok(ledger.height().to_string()));
    for number in 0..=BLOCKS {
        answers.push(ledger.record(number).map(|record| format!("{record:?}")));
        answers.push(ledger.transaction(&tx_id(number, number % 12)).map(|position| format!("{position:?}")));
        let loser = ledger.transaction(&tx_id(number, ROWS_PER_BLOCK + 1));
        let explanation = loser.and_then(|loser| loser.map(|loser| ledger.explanation(&loser)).transpose());
        answers.push(explanation.map(|explanation| format!("{explanation:?}")));
    }
    for row in 0..=BLOCKS * ROWS_PER_BLOCK / 2 + ROWS_PER_BLOCK {
        answers.push(state.get("cc", &key(row)).map(|entry| format!("{entry:?}")).map_err(Into::into));
        if row % 20 == 0 {
            let history = ledger.history("cc", &key(row)).collect::<Result<Vec<_>, _>>();
            answers.push(history.map(|history| format!("{history:?}")));
        }
    }
    let rows = state.range("cc", "", "").collect::<Result<Vec<_>, _>>();
    answers.push(rows.map(|rows| format!("{rows:?}")).map_err(Into::into));
    answers.push(state.private("cc", "coll", "p").map(|entry| format!("{entry:?}")).map_err(Into::into));
    answers.push(state.get("", "CHANNEL_CONFIG_ENV_BYTES").map(|entry| format!("{entry:?}")).map_err(Into::into));
    answers
}

/// What became of a damaged ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Every answer is as before, perhaps after a rebuild while opening.
    Whole,
    /// It does not open, and says why.
    Refused,
    /// Some questions got errors; after a rebuild every answer is as before.
    Mended,
    /// Some questions about blocks get errors, every other answer is as before.
    Named,
}

/// Opens a damaged ledger and asks it everything.
fn outcome(path: &Path, expected: &[Answer], place: &str) -> Outcome {
    match Ledger::open(path, options()) {
        Ok(ledger) => outcome_of(ledger, path, expected, place),
        Err(error) => refused(&error, place),
    }
}

fn outcome_of(ledger: Ledger, path: &Path, expected: &[Answer], place: &str) -> Outcome {
    let errors = errors(&ledger, expected, place);
    if errors.is_empty() {
        return Outcome::Whole;
    }
    if errors.iter().any(|error| matches!(error, LedgerError::Store(StoreError::Damaged(_)))) {
        ledger.rebuild_at_next_start();
    }
    drop(ledger);
    match Ledger::open(path, options()) {
        Ok(ledger) if self::errors(&ledger, expected, place).is_empty() => Outcome::Mended,
        Ok(_) => Outcome::Named,
        Err(error) => refused(&error, place),
    }
}

/// Requires every answer to be an error or the right one. Returns the errors.
fn errors(ledger: &Ledger, expected: &[Answer], place: &str) -> Vec<LedgerError> {
    let answers = answers(ledger);
    assert_eq!(answers.len(), expected.len());
    for (found, expected) in answers.iter().zip(expected) {
        if let Ok(found) = found {
            let expected = expected.as_ref().unwrap();
            assert!(found == expected, "{place}: a wrong answer in silence: {found:.300} instead of {expected:.300}");
        }
    }
    answers.into_iter().filter_map(Result::err).collect()
}

fn refused(error: &LedgerError, place: &str) -> Outcome {
    let is_clear = matches!(
        error,
        LedgerError::Blocks(_)
            | LedgerError::BlocksLost { .. }
            | LedgerError::Contradiction { .. }
            | LedgerError::Empty { .. }
    );
    assert!(is_clear, "{place}: {error}");
    Outcome::Refused
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in entries(from) {
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(path, target)),
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// All files in a folder and below.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let below = entries(folder).into_iter();
    below.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
