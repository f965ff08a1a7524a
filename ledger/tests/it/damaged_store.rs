//! LevelDB files with flipped bytes, cut short or removed: never a wrong answer in silence.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::Rng;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use ripstop_ledger::store::LevelDbStores;
use ripstop_ledger::{Ledger, LedgerError, Options, VersionedValue};

use crate::build::{CHANNEL, commit, genesis, sets};

/// Damaged images per run; set RIPSTOP_DAMAGED_IMAGES for a longer one.
const IMAGES: usize = 30;
const SEED: &[u8; 32] = b"the store of index and state, 30";

fn rows(ledger: &Ledger) -> Result<Vec<(String, VersionedValue)>, LedgerError> {
    let state = ledger.state();
    let mut rows = state.range("cc", "", "").collect::<Result<Vec<_>, _>>()?;
    for key in ["k 3", "k 77", "k 150"] {
        rows.extend(state.get("cc", key)?.map(|entry| (key.to_owned(), entry)));
    }
    Ok(rows)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn damage(path: &Path, choice: u64, place: u64) {
    let mut bytes = fs::read(path).unwrap();
    if bytes.is_empty() {
        return;
    }
    let place = place as usize % bytes.len();
    match choice % 4 {
        0 => fs::remove_file(path).unwrap(),
        1 => {
            bytes.truncate(place);
            fs::write(path, bytes).unwrap();
        }
        _ => {
            bytes[place] ^= 1 << (choice % 8);
            fs::write(path, bytes).unwrap();
        }
    }
}

fn derived_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("derived")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name != "LOCK" && name != "LOG"));
    files.sort();
    files
}

fn small_tables() -> Options {
    let stores = LevelDbStores { block_cache_bytes: 1 << 20, write_buffer_bytes: 64 << 10 };
    Options { stores: Arc::new(stores), ..Options::default() }
}

fn commit_blocks(ledger: &Ledger, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let key = |index| format!("k {}", number * 5 + index);
        let transactions: Vec<_> = (0..10).map(|index| sets().write(&key(index), &"v".repeat(300))).collect();
        commit(ledger, &transactions);
    }
}

#[test]
fn damage_to_index_and_state_is_mended_from_the_blocks_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let (original, older) = (folder.path().join("original"), folder.path().join("older"));
    let ledger = Ledger::create(&original, CHANNEL, genesis(), small_tables()).unwrap();
    commit_blocks(&ledger, 0..30);
    drop(ledger);
    copy(&original.join("derived"), &older);
    let ledger = Ledger::open(&original, small_tables()).unwrap();
    commit_blocks(&ledger, 30..40);
    let expected = rows(&ledger).unwrap();
    drop(ledger);

    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, SEED);
    let mut rng = TestRunner::new_with_rng(Config::default(), rng).new_rng();
    let images = std::env::var("RIPSTOP_DAMAGED_IMAGES").map_or(IMAGES, |count| count.parse().unwrap());
    for image in 0..images {
        let place = folder.path().join(format!("image {image}"));
        copy(&original, &place);
        if image % 2 == 1 {
            fs::remove_dir_all(place.join("derived")).unwrap();
            copy(&older, &place.join("derived"));
        }
        let files = derived_files(&place);
        let file = &files[rng.next_u64() as usize % files.len()];
        damage(file, rng.next_u64(), rng.next_u64());
        let ledger = Ledger::open(&place, small_tables()).unwrap();
        let found = rows(&ledger);
        if found.is_err() {
            ledger.rebuild_at_next_start();
        }
        drop(ledger);
        let found = found.or_else(|_| rows(&Ledger::open(&place, small_tables()).unwrap())).unwrap();
        assert!(found == expected, "image {image}: other rows after damage to {}", file.display());
        fs::remove_dir_all(&place).unwrap();
    }
}
