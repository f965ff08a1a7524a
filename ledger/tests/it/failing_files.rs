//! Every single write and sync of a run fails once, for lack of space or for good. Without
//! space the same block is committed later; after any other failure nothing is written
//! before the next start, which finds everything that was reported.

use ripstop_ledger::files::{Fault, MemoryFiles, Survival};
use ripstop_ledger::store::{MemoryStores, StoreError};
use ripstop_ledger::{CheckedBlock, CommitError, Ledger, LedgerError, Options};

use crate::build::{CHANNEL, genesis};
use crate::crashes::{BLOCKS, FOLDER, Seen, chain, options, recover_and_finish, seen};

/// How a run went.
enum Run {
    /// Everything was committed, after so many failures for lack of space.
    Finished { seen: Box<Seen>, full: u64 },
    /// A failure after which the process has to end; so many blocks had been reported.
    Ended { reported: u64 },
}

fn run(files: &MemoryFiles, options: &Options, blocks: &[CheckedBlock], place: &str) -> Run {
    let mut full = 0;
    let ledger = loop {
        match Ledger::create(FOLDER, CHANNEL, genesis(), options.clone()) {
            Ok(ledger) => break ledger,
            Err(error) if is_no_space(&error) => full += 1,
            Err(_) => return Run::Ended { reported: 0 },
        }
    };
    for checked in blocks {
        while let Err(error) = ledger.commit(checked.clone()) {
            let height = ledger.height();
            assert_eq!(seen(&ledger).blocks.len() as u64, height, "{place}: reads go on");
            if error.is_no_space() {
                full += 1;
                assert!(full < 3, "{place}: {error}");
                continue;
            }
            require_ended(files, &ledger, checked, place);
            return Run::Ended { reported: height };
        }
    }
    Run::Finished { seen: Box::new(seen(&ledger)), full }
}

fn is_no_space(error: &LedgerError) -> bool {
    match error {
        LedgerError::Blocks(error) => error.is_no_space(),
        LedgerError::File(error) => error.is_no_space(),
        LedgerError::Store(error) => matches!(error, StoreError::NoSpace(_)),
        _ => false,
    }
}

/// Nothing is tried again: neither the failed sync nor any other operation.
fn require_ended(files: &MemoryFiles, ledger: &Ledger, checked: &CheckedBlock, place: &str) {
    let operations = files.operations();
    for _ in 0..2 {
        let error = ledger.commit(checked.clone()).unwrap_err();
        assert!(matches!(error, CommitError::Fatal { .. }) && error.must_end(), "{place}: {error}");
    }
    assert_eq!(files.operations(), operations, "{place}: something was written after the failure");
}

#[test]
fn a_failure_of_any_write_or_sync_stops_or_ends_the_ledger_and_loses_nothing() {
    let (whole, stores, blocks) = (MemoryFiles::new(), MemoryStores::new(), chain());
    let Run::Finished { seen: expected, full: 0 } = run(&whole, &options(&whole, &stores), &blocks, "no failure")
    else {
        panic!("a run without failures")
    };
    assert_eq!(expected.blocks.len() as u64, BLOCKS + 1);

    for fault in [Fault::NoSpace, Fault::Broken] {
        let (mut ended, mut went_on) = (0, 0);
        for operation in 1..=whole.operations() {
            let place = format!("operation {operation}: {fault:?}");
            let (files, stores) = (MemoryFiles::new(), MemoryStores::new());
            files.fail_at(operation, fault);
            match run(&files, &options(&files, &stores), &blocks, &place) {
                Run::Finished { seen, full } => {
                    assert_eq!(seen, expected, "{place}");
                    went_on += full;
                }
                Run::Ended { reported } => {
                    ended += 1;
                    for survival in [Survival::Written, Survival::Synced, Survival::Torn(operation)] {
                        let left = options(&files.restart(survival), &stores.image());
                        let place = format!("{place}, {survival:?}");
                        assert_eq!(recover_and_finish(&left, reported, &place), *expected, "{place}");
                    }
                }
            }
        }
        println!(
            "{fault:?} at {} operations: {went_on} times the run went on, {ended} times it ended",
            whole.operations()
        );
        match fault {
            // A sync never fails for lack of space only.
            Fault::NoSpace => assert!(ended == whole.syncs() && went_on > BLOCKS, "{ended} {went_on}"),
            Fault::Broken => assert!(ended > 2 * BLOCKS && went_on == 0, "{ended} {went_on}"),
        }
    }
}
