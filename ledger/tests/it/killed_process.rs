//! A process that is killed while it commits: what it had reported is there afterwards.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use ripstop_ledger::{Ledger, LedgerError, Options};

use crate::build::{CHANNEL, commit, genesis, sets};

const FOLDER: &str = "RIPSTOP_TEST_LEDGER";
const ROUNDS: usize = 8;

/// Key "last" holds the number of the block; each block adds one row.
fn commit_for_ever(folder: &Path) {
    let ledger = match Ledger::open(folder, Options::default()) {
        Err(LedgerError::Empty { .. }) => Ledger::create(folder, CHANNEL, genesis(), Options::default()).unwrap(),
        opened => opened.unwrap(),
    };
    loop {
        let number = ledger.height();
        let row = sets().write("last", &number.to_string()).write(&format!("row {number:06}"), &"v".repeat(2_000));
        commit(&ledger, &[row]);
        println!("\ncommitted {number}");
    }
}

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn commits_until_it_is_killed() {
    if let Ok(folder) = std::env::var(FOLDER) {
        commit_for_ever(Path::new(&folder));
    }
}

#[test]
fn a_killed_process_has_every_block_that_it_reported() {
    let folder = tempfile::tempdir().unwrap();
    let mut reported = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed_process::commits_until_it_is_killed", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let numbers =
            lines.filter_map(|line| line.strip_prefix("committed ").map(|number| number.parse::<u64>().unwrap()));
        reported = numbers.take(1 + round * 7).last().unwrap_or(reported);
        child.kill().unwrap();
        child.wait().unwrap();

        let ledger = Ledger::open(folder.path(), Options::default()).unwrap();
        let last = ledger.height() - 1;
        assert!(last >= reported, "{last} blocks are left of {reported}");
        let state = ledger.state();
        assert_eq!(state.range("cc", "row", "").count() as u64, last);
        assert_eq!(state.get("cc", "last").unwrap().unwrap().value, last.to_string());
        for number in 1..=last {
            assert!(ledger.block(number).unwrap().is_some());
        }
    }
    assert!(reported > 20, "{reported}");
}
