//! Whether a block is the next of the chain and the orderers stand behind it.
//!
//! Pure: block, tip and configuration in, verdict out. Transactions are not
//! judged, only that each envelope is the one encoding of itself, since the data
//! hash covers no lengths.
//! Sources: Fabric `common/deliverclient/block_verification.go`,
//! `protoutil/blockutils.go`.

use ripstop_channel::{BlockSignatureError, ChannelConfig};
use ripstop_ledger::Ledger;
use ripstop_proto::block::{self, METADATA_SLOTS};
use ripstop_proto::common::{Block, BlockHeader};
use ripstop_proto::envelope::{self, NotCanonical};

/// The end of the chain so far: what the next block has to continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Number of the next block.
    pub next_number: u64,
    /// Hash of the last block's header.
    pub previous_hash: [u8; 32],
}

/// Why a block from an orderer is refused. The orderer is left for another.
#[derive(Debug, thiserror::Error)]
pub enum BadBlock {
    /// A part that every block has is not there.
    #[error("block {expected} was expected, and one without {part} came")]
    Missing {
        /// The number that was expected.
        expected: u64,
        /// The missing part.
        part: &'static str,
    },
    /// A gap, or a block again.
    #[error("block {expected} was expected, {number} came")]
    Number {
        /// The number that was expected.
        expected: u64,
        /// The number that came.
        number: u64,
    },
    /// The block continues another chain.
    #[error("block {number} follows a block with hash {claimed}, our last block has {ours}")]
    PreviousHash {
        /// The block.
        number: u64,
        /// What it names, in hex.
        claimed: String,
        /// What it should name, in hex.
        ours: String,
    },
    /// Too few metadata slots.
    #[error("block {number} has {count} metadata slots, at least {METADATA_SLOTS} are needed")]
    MetadataSlots {
        /// The block.
        number: u64,
        /// How many it has.
        count: usize,
    },
    /// An entry is not the one encoding of a signed envelope.
    #[error("entry {index} of block {number}: {cause}")]
    Entry {
        /// The block.
        number: u64,
        /// Position of the entry.
        index: usize,
        /// What is wrong with it.
        cause: NotCanonical,
    },
    /// The entries are not those that the header names.
    #[error("the data hash of block {number} is not that of its entries")]
    DataHash {
        /// The block.
        number: u64,
    },
    /// The orderers do not stand behind the block.
    #[error(transparent)]
    Signatures(#[from] BlockSignatureError),
}

impl Tip {
    /// The tip of a ledger.
    ///
    /// # Errors
    /// When the ledger's last block cannot be read.
    pub fn of(ledger: &Ledger) -> Result<Self, ripstop_ledger::LedgerError> {
        let info = ledger.chain_info()?;
        let mut previous_hash = [0; 32];
        previous_hash.copy_from_slice(&info.current_block_hash);
        Ok(Self { next_number: info.height, previous_hash })
    }
}

/// Verifies that `block` continues `tip` and is signed as `config` demands, and
/// returns the tip after it. The checks stand in Fabric's order.
///
/// # Errors
/// Names the first check that fails.
pub fn verify(block: &Block, tip: &Tip, config: &ChannelConfig) -> Result<Tip, BadBlock> {
    let missing = |part| BadBlock::Missing { expected: tip.next_number, part };
    let header = block.header.as_ref().ok_or_else(|| missing("header"))?;
    check_place(header, tip)?;
    let count = block.metadata.as_ref().map_or(0, |metadata| metadata.metadata.len());
    if count < METADATA_SLOTS {
        return Err(BadBlock::MetadataSlots { number: header.number, count });
    }
    let entries = block.data.as_ref().map_or(&[][..], |data| &data.data);
    if entries.is_empty() {
        return Err(missing("entries"));
    }
    if !block::is_config(block) {
        for (index, entry) in entries.iter().enumerate() {
            envelope::canonical(entry).map_err(|cause| BadBlock::Entry { number: header.number, index, cause })?;
        }
    }
    if block::data_hash(entries) != *header.data_hash {
        return Err(BadBlock::DataHash { number: header.number });
    }
    config.check_block_signatures(block)?;
    Ok(Tip { next_number: header.number + 1, previous_hash: block::header_hash(header) })
}

fn check_place(header: &BlockHeader, tip: &Tip) -> Result<(), BadBlock> {
    if header.number != tip.next_number {
        return Err(BadBlock::Number { expected: tip.next_number, number: header.number });
    }
    if tip.previous_hash != *header.previous_hash {
        return Err(BadBlock::PreviousHash {
            number: header.number,
            claimed: hex::encode(&header.previous_hash),
            ours: hex::encode(tip.previous_hash),
        });
    }
    Ok(())
}
