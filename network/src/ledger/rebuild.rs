//! `ledger rebuild`

use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use ripstop_ledger::{BlockStore, Judgement, Ledger, Options};
use serde_json::json;

use crate::cli::Place;
use crate::output::say;

/// Builds index and state again.
pub(super) fn rebuild(place: &Place, json: bool) -> anyhow::Result<ExitCode> {
    let folder = place.ledger()?;
    let options = Options::default();
    let blocks = BlockStore::open_read_only(options.files.clone(), folder.join("blocks"))?;
    if blocks.block(0)?.is_some_and(|genesis| Judgement::of(&genesis).codes.is_none()) {
        bail!("{} is an orderer's: it keeps blocks only, there is nothing to rebuild", folder.display());
    }
    drop(blocks);
    let begin = Instant::now();
    let ledger = Ledger::rebuild(&folder, options)?;
    let (channel, height) = (ledger.channel_id().to_owned(), ledger.height());
    drop(ledger);
    if json {
        say(&json!({ "channel": channel, "folder": folder, "blocks": height }))?;
    } else {
        say(&format!(
            "built index and state of channel {channel} from {height} blocks in {:.1} s; what was there is kept as derived.set-aside-N in {}",
            begin.elapsed().as_secs_f64(),
            folder.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
