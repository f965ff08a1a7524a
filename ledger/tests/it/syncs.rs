//! A block that is reported is durable: the power is taken away right after every report,
//! and this notices when a single sync is left out.

use std::path::Path;

use ripstop_ledger::Ledger;
use ripstop_ledger::files::{Files, MemoryFiles, Survival};
use ripstop_ledger::store::MemoryStores;

use crate::build::{CHANNEL, genesis};
use crate::crashes::{BLOCKS, FOLDER, chain, options};

/// Commits the chain and looks after each report at what a power failure would leave.
/// Returns the first block that was reported and would be lost.
fn first_lost(files: &MemoryFiles) -> Option<u64> {
    let ledger = Ledger::create(FOLDER, CHANNEL, genesis(), options(files, &MemoryStores::new())).unwrap();
    let is_lost = |number: u64| {
        let left = options(&files.restart(Survival::Synced), &MemoryStores::new());
        Ledger::open(FOLDER, left).map_or(0, |ledger| ledger.height()) <= number
    };
    if is_lost(0) {
        return Some(0);
    }
    (1..).zip(chain()).find_map(|(number, checked)| {
        ledger.commit(checked).unwrap();
        is_lost(number).then_some(number)
    })
}

fn segments(files: &MemoryFiles) -> usize {
    let names = files.list(&Path::new(FOLDER).join("blocks")).unwrap();
    names.iter().filter(|name| name.ends_with(".blocks")).count()
}

#[test]
fn a_reported_block_survives_a_power_failure_right_after() {
    let files = MemoryFiles::new();
    assert_eq!(first_lost(&files), None);
    // One for each block; and for each segment its empty file and the folder.
    assert_eq!(files.syncs(), BLOCKS + 1 + 2 * segments(&files) as u64);
}

#[test]
fn every_sync_that_is_left_out_loses_a_reported_block() {
    let whole = MemoryFiles::new();
    assert_eq!(first_lost(&whole), None);
    let harmless = (1..=whole.syncs()).filter(|sync| {
        let files = MemoryFiles::new();
        files.drop_sync(*sync);
        first_lost(&files).is_none()
    });
    // Only the sync of a segment's file that is still empty has nothing to lose.
    assert_eq!(harmless.count(), segments(&whole));
}
