//! The two ways for blocks from a file into a ledger.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use ripstop_ledger::{CheckedBlock, Judgement, Ledger, Options};
use ripstop_peer::channel::Channel;
use ripstop_peer::{committer, deliver_client};
use ripstop_proto::block::{TRANSACTIONS_FILTER, data_hash, metadata_slot};
use ripstop_proto::common::Block;
use ripstop_proto::config::config_envelope;

/// A ledger that grows by blocks that another peer has judged before.
pub(super) enum Intake {
    /// Each goes the way of a block that an orderer delivers.
    Judged {
        /// Its configuration is the one that the chain itself has brought up to here.
        channel: Arc<Channel>,
        tip: deliver_client::Tip,
    },
    /// Stage one is taken from the codes in the file.
    Trusting(Box<Ledger>),
}

impl Intake {
    /// Begins a ledger in `folder` with the first block of the files.
    pub(super) fn begin(folder: &Path, genesis: Block, trust_codes: bool) -> anyhow::Result<Self> {
        let number = genesis.header.as_ref().map_or(0, |header| header.number);
        if number > 0 {
            bail!("the files begin with block {number}: name the file with block 0 (blockfile_000000) first");
        }
        require_data_hash(&genesis)?;
        if trust_codes {
            let (channel_id, _) = config_envelope(&genesis).context("block 0 is no genesis block")?;
            let ledger = Ledger::create(folder, &channel_id, genesis, Options::default())?;
            return Ok(Self::Trusting(Box::new(ledger)));
        }
        let channel = Channel::create(folder, genesis, Options::default())?;
        let tip = deliver_client::Tip::of(channel.ledger())?;
        Ok(Self::Judged { channel, tip })
    }

    /// The ledger as it is so far.
    pub(super) fn ledger(&self) -> &Ledger {
        match self {
            Self::Judged { channel, .. } => channel.ledger(),
            Self::Trusting(ledger) => ledger,
        }
    }

    /// The genesis block as it was committed.
    pub(super) fn genesis(&self) -> anyhow::Result<Arc<Block>> {
        self.ledger().block(0)?.context("the ledger lost its genesis block")
    }

    /// Commits the next block. Returns it with what was decided here.
    pub(super) fn commit(&mut self, block: Block) -> anyhow::Result<Arc<Block>> {
        match self {
            Self::Judged { channel, tip } => {
                *tip = deliver_client::verify(&block, tip, &channel.config())?;
                // This is no peer of any organization, so nothing is known in clear.
                Ok(Arc::clone(&committer::commit_next(channel, "", block)?.block))
            }
            Self::Trusting(ledger) => {
                require_data_hash(&block)?;
                let verdicts = Judgement::of(&block).verdicts().with_context(|| no_codes(&block))?;
                let checked = CheckedBlock { block, verdicts, private_writes: Vec::new() };
                Ok(Arc::clone(&ledger.commit(checked)?.block))
            }
        }
    }
}

fn no_codes(block: &Block) -> String {
    let number = block.header.as_ref().map_or(0, |header| header.number);
    let entries = block.data.as_ref().map_or(0, |data| data.data.len());
    format!(
        "block {number} has {entries} transactions and {} bytes of codes, or codes that nobody knows: is this an orderer's \
         file? Without --trust-codes all codes are computed",
        metadata_slot(block, TRANSACTIONS_FILTER).len()
    )
}

fn require_data_hash(block: &Block) -> anyhow::Result<()> {
    let entries = block.data.as_ref().map_or(&[][..], |data| &data.data);
    match block.header.as_ref().is_some_and(|header| data_hash(entries) == *header.data_hash) {
        true => Ok(()),
        false => bail!("the block's data hash is not that of its transactions: the file was altered or is damaged"),
    }
}
