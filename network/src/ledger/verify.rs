//! `ledger verify`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use ripstop_ledger::store::{LevelDbStores, Stores};
use ripstop_ledger::{DerivedFinding, Options, Verification};
use serde_json::json;

use super::report_progress;
use crate::cli::Place;
use crate::output::say;

/// Looks through the ledger and prints what was checked.
pub(super) fn verify(place: &Place, json: bool) -> anyhow::Result<ExitCode> {
    let folder = place.ledger()?;
    // Beside the ledger, where there is room for one more of its kind.
    let scratch = tempfile::Builder::new().prefix("verification-").tempdir_in(&folder);
    let scratch = scratch.with_context(|| format!("verification replays the chain into {}", folder.display()))?;
    let store = LevelDbStores::default().open(scratch.path())?;
    let found = Verification::of(&folder, &Options::default(), store, |number| report_progress("checked", number + 1))?;
    let is_whole = !matches!(found.derived, DerivedFinding::Wrong { .. });
    if json {
        say(&as_json(&folder, &found))?;
    } else {
        say(&as_text(&folder, &found))?;
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json(folder: &Path, found: &Verification) -> serde_json::Value {
    let derived = match &found.derived {
        DerivedFinding::Equal { height, entries } => json!({ "state": "equal", "height": height, "entries": entries }),
        DerivedFinding::Absent => json!({ "state": "absent" }),
        DerivedFinding::NotDerived => json!({ "state": "none" }),
        DerivedFinding::Wrong { reason } => json!({ "state": "wrong", "reason": reason }),
    };
    json!({
        "channel": found.channel_id, "folder": folder, "blocks": found.height, "transactions": found.transactions,
        "torn_bytes": found.torn_bytes, "derived": derived,
    })
}

fn as_text(folder: &Path, found: &Verification) -> String {
    let Verification { channel_id, height, transactions, torn_bytes, derived } = found;
    let mut lines = vec![
        format!("{} (channel {channel_id})", folder.display()),
        format!("blocks           {height} with {transactions} transactions"),
        "records          every length, number and checksum is right".to_owned(),
        "chain            every previous hash and data hash is right".to_owned(),
    ];
    if *derived != DerivedFinding::NotDerived {
        lines.push("transaction ids  those of valid transactions are right and used once".to_owned());
        lines.push("commit hashes    every one follows from the codes, the writes and the one before".to_owned());
    }
    lines.push(match derived {
        DerivedFinding::Equal { height: own, entries } if own == height => {
            format!("index and state  {entries} entries, all equal to a replay of the blocks")
        }
        DerivedFinding::Equal { height: own, entries } => format!(
            "index and state  {entries} entries, all equal to a replay of {own} blocks; the next start applies the others"
        ),
        DerivedFinding::Absent => "index and state  not there; the next start builds them from the blocks".to_owned(),
        DerivedFinding::NotDerived => "index and state  none: these are an orderer's blocks".to_owned(),
        DerivedFinding::Wrong { reason } => format!(
            "index and state  WRONG: {reason}; the blocks are right, so `ripstop ledger rebuild {}` mends it",
            folder.display()
        ),
    });
    if *torn_bytes > 0 {
        lines.push(format!("torn tail        {torn_bytes} bytes that a crash left; the next start cuts them"));
    }
    lines.join("\n")
}
