//! `ledger …`: what can be done with a ledger's folder while no node holds it.
//!
//! Here is only what is asked for and what is printed: codes, hashes and formats are the
//! ledger's, signatures and policies the peer's. Blocks of hostile files are refused where
//! they are read.

mod export;
mod import;
mod place;
mod rebuild;
mod verify;

use std::process::ExitCode;

use crate::cli::Ledger;
use crate::output::progress;

/// Blocks between two lines of progress.
const PROGRESS_BLOCKS: u64 = 1_000;

/// Does what was typed. Computes on all cores and waits for the disk.
pub(crate) fn run(command: &Ledger) -> anyhow::Result<ExitCode> {
    match command {
        Ledger::Import(options) => import::import(options),
        Ledger::Export { place, output, json } => export::export(place, output.as_deref(), json.json),
        Ledger::Verify { place, json } => verify::verify(place, json.json),
        Ledger::Rebuild { place, json } => rebuild::rebuild(place, json.json),
    }
}

/// A line now and then while many blocks are gone through.
fn report_progress(done: &str, blocks: u64) {
    if blocks.is_multiple_of(PROGRESS_BLOCKS) {
        progress(&format!("{done} {blocks} blocks"));
    }
}
