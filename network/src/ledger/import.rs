//! `ledger import`: a Fabric peer's chain becomes a ledger here, and every code and commit
//! hash that Fabric stored is compared with what becomes of its block here.

mod comparison;
mod intake;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ripstop_proto::block_file::BlockFile;
use ripstop_proto::common::Block;
use serde_json::json;

use self::comparison::Comparison;
use self::intake::Intake;
use super::place::require_unused;
use super::report_progress;
use crate::cli::Import;
use crate::output::say;

/// Imports the files and prints the comparison. The exit code is 1 when anything differs.
pub(super) fn import(options: &Import) -> anyhow::Result<ExitCode> {
    require_unused(&options.dir, "--dir")?;
    options.fabric.iter().try_for_each(|path| require_file(path))?;
    let mut taken = Taken { options, intake: None, comparison: Comparison::default() };
    let outcome = options.fabric.iter().try_for_each(|path| taken.take_file(path));
    let blocks = taken.comparison.blocks;
    if let Err(error) = outcome {
        return match blocks {
            0 => Err(error),
            _ => {
                Err(error.context(format!("stopped at block {blocks}, those before are in {}", options.dir.display())))
            }
        };
    }
    let Some(intake) = &taken.intake else { bail!("there is no block in what --fabric names") };
    let channel = intake.ledger().channel_id();
    if options.json.json {
        let mut shown = taken.comparison.as_json();
        shown["channel"] = json!(channel);
        say(&shown)?;
    } else {
        say(&format!("channel        {channel}, now in {}", options.dir.display()))?;
        say(&taken.comparison)?;
    }
    Ok(if taken.comparison.is_equal() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Finds out before any work what can be read at all.
fn require_file(path: &Path) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    match file.metadata()?.is_file() {
        true => Ok(()),
        false => bail!("{} is no file: name its block files, for instance {0}/blockfile_*", path.display()),
    }
}

/// What has become of the files so far.
struct Taken<'a> {
    options: &'a Import,
    /// `None` before the genesis block.
    intake: Option<Intake>,
    comparison: Comparison,
}

impl Taken<'_> {
    fn take_file(&mut self, path: &Path) -> anyhow::Result<()> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut file = BlockFile::new(BufReader::with_capacity(1 << 20, file));
        loop {
            let offset = file.offset();
            let Some(block) = file.next_block().with_context(|| path.display().to_string())? else { return Ok(()) };
            self.take_block(block).with_context(|| format!("{}, the block at offset {offset}", path.display()))?;
        }
    }

    fn take_block(&mut self, block: Block) -> anyhow::Result<()> {
        let theirs = block.clone();
        let ours = match &mut self.intake {
            Some(intake) => intake.commit(block)?,
            None => {
                let intake = Intake::begin(&self.options.dir, block, self.options.trust_codes)?;
                self.intake.insert(intake).genesis()?
            }
        };
        self.comparison.add(&ours, &theirs);
        report_progress("imported", self.comparison.blocks);
        Ok(())
    }
}
