//! `block decode FILE`: a Fabric block file, a block, or an envelope, recognised by what is in it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, bail};
use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_proto::block::{header_hash, is_config};
use ripstop_proto::block_file::{BlockFile, BlockFileError};
use ripstop_proto::common;
use serde_json::json;

use crate::decoded::block::{Before, Block};
use crate::decoded::transaction::Transaction;
use crate::output::{print, say};

/// Messages are at most 100 MiB.
const MESSAGE_BYTES_MAX: u64 = 128 << 20;
const HASH_BYTES: usize = 32;

/// Prints what the file holds.
pub(crate) fn decode(path: &Path, json: bool) -> anyhow::Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let length = file.metadata()?.len();
    if length == 0 {
        bail!("{} is empty", path.display());
    }
    let mut first = BlockFile::new(BufReader::new(&file));
    if matches!(first.next_block(), Ok(Some(block)) if is_plausible(&block)) {
        file.rewind()?;
        return decode_blocks(BlockFile::new(BufReader::new(&file)), json)
            .with_context(|| format!("{} is a block file, but", path.display()));
    }
    if length > MESSAGE_BYTES_MAX {
        bail!(
            "{} is no block file, and its {length} bytes are more than a block or an envelope has ({MESSAGE_BYTES_MAX})",
            path.display()
        );
    }
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MESSAGE_BYTES_MAX).read_to_end(&mut bytes)?;
    match Recognised::of(&bytes) {
        Some(Recognised::Block(block)) if json => say(&json!({ "block": *block })),
        Some(Recognised::Block(block)) => print(&block),
        Some(Recognised::Envelope(transaction)) if json => say(&json!({ "envelope": *transaction })),
        Some(Recognised::Envelope(transaction)) => print(&format!("envelope\n{transaction}")),
        None => bail!("{} is no block file, no block (common.Block) and no envelope (common.Envelope)", path.display()),
    }
}

/// A message that stands alone in a file.
enum Recognised {
    Block(Box<Block>),
    Envelope(Box<Transaction>),
}

impl Recognised {
    /// What `bytes` are; `None` when they are nothing known.
    fn of(bytes: &[u8]) -> Option<Self> {
        if let Some(block) = common::Block::decode(bytes).ok().filter(is_plausible) {
            return Some(Self::Block(Box::new(Block::open(&block, &Before::default()))));
        }
        let envelope = common::Envelope::decode(bytes).ok()?;
        let transaction = Transaction::from_envelope(envelope);
        transaction.is_plausible().then(|| Self::Envelope(Box::new(transaction)))
    }
}

/// Nearly any bytes are a protobuf message; a block has hashes of the right length.
fn is_plausible(block: &common::Block) -> bool {
    let Some(header) = &block.header else { return false };
    let previous_fits = header.previous_hash.len() == HASH_BYTES || header.number == 0;
    header.data_hash.len() == HASH_BYTES && previous_fits && block.data.is_some()
}

/// What the blocks so far say about the next one.
#[derive(Default)]
struct Chain {
    hash: Option<[u8; 32]>,
    config: Option<ChannelConfig>,
}

impl Chain {
    fn open(&mut self, block: &common::Block) -> Block {
        let opened = Block::open(block, &Before { hash: self.hash, config: self.config.as_ref() });
        self.hash = block.header.as_ref().map(header_hash);
        if is_config(block) {
            // A configuration that is refused leaves signatures after it unverified.
            self.config = ChannelConfig::from_block(block).ok();
        }
        opened
    }
}

/// Block by block, so that the largest file needs the memory of one block.
fn decode_blocks(mut file: BlockFile<impl BufRead>, json: bool) -> anyhow::Result<()> {
    let mut chain = Chain::default();
    let mut count = 0;
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    if json {
        write!(stdout, "{{\"blocks\":[")?;
    }
    let end = loop {
        let block = match file.next_block() {
            Ok(Some(block)) => chain.open(&block),
            Ok(None) => break None,
            Err(error) => break Some(error),
        };
        if json {
            let comma = if count == 0 { "" } else { "," };
            write!(stdout, "{comma}{}", serde_json::to_string(&block)?)?;
        } else {
            writeln!(stdout, "{block}")?;
        }
        count += 1;
    };
    if json {
        let end = end.as_ref().map(ToString::to_string);
        writeln!(stdout, "],\"count\":{count},\"error\":{}}}", json!(end))?;
    }
    stdout.flush()?;
    match end {
        None => Ok(()),
        // After a crash this is how a healthy chain ends.
        Some(error @ BlockFileError::Torn { .. }) => {
            eprintln!("ripstop: {error}; the {count} blocks before it are whole");
            Ok(())
        }
        Some(error) => Err(error).with_context(|| format!("after {count} blocks")),
    }
}

#[cfg(test)]
mod tests;
