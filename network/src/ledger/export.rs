//! `ledger export`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use ripstop_ledger::{BlockStore, FabricBlockFiles, Options};
use ripstop_proto::common::Block;
use ripstop_proto::config::config_envelope;
use serde_json::json;

use super::place::require_unused;
use crate::cli::Place;
use crate::output::say;

/// Writes the chain into `output`.
pub(super) fn export(place: &Place, output: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let folder = place.ledger()?;
    let files = Options::default().files;
    let blocks = BlockStore::open_read_only(files.clone(), folder.join("blocks"))?;
    let read = |number| -> anyhow::Result<Block> {
        blocks.block(number)?.with_context(|| format!("{} lacks block {number}", folder.display()))
    };
    let (channel, _) = config_envelope(&read(0)?)?;
    let target = output.map_or_else(|| PathBuf::from(format!("{channel}-blocks")), Path::to_owned);
    require_unused(&target, "--output")?;
    let mut written = FabricBlockFiles::create(files, &target)?;
    for number in 0..blocks.height() {
        written.append(&read(number)?)?;
    }
    let (file_count, height) = (written.finish()?, blocks.height());
    if json {
        say(&json!({ "channel": channel, "folder": target, "blocks": height, "files": file_count }))?;
    } else {
        let last = file_count.saturating_sub(1);
        say(&format!("wrote {height} blocks of channel {channel} to {} (to blockfile_{last:06})", target.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
