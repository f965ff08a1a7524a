//! Looking through a whole ledger folder without changing it: is every block what was
//! committed, and do index and state follow from the blocks?
//!
//! Every block is read (its record has checksums), is compared with its header and with the
//! block before, and is applied once more to an empty store, which has to give the commit hash
//! that is stored with it. In the end that store and the ledger's own have to be equal.
//! Nothing is mended here: `recovery` does that, at the next opening.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rayon::prelude::*;
use ripstop_proto::block::data_hash;
use ripstop_proto::common::HeaderType;
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::tx_id;

use crate::block_store::{BlockStore, BlockStoreError};
use crate::commit::Tip;
use crate::contents;
use crate::derived;
use crate::error::LedgerError;
use crate::ledger::{Options, rebuild_mark};
use crate::recovery::{BLOCKS_FOLDER, DERIVED_FOLDER, Explained, Stored, channel_of, contradiction};
use crate::store::{Snapshot, Store, StoreError};
use crate::trie_records;

/// What was found in a folder whose blocks are all as they were committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The channel, as genesis states it.
    pub channel_id: String,
    /// Number of blocks.
    pub height: u64,
    /// Transactions in them, whatever their codes.
    pub transactions: u64,
    /// Bytes after the last block that a crash left; the next opening cuts them.
    pub torn_bytes: u64,
    /// Index and state.
    pub derived: DerivedFinding,
}

/// What is to be said about index and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DerivedFinding {
    /// They equal a replay of the blocks.
    Equal {
        /// Up to where they are; the next opening replays the blocks since.
        height: u64,
        /// Entries compared.
        entries: u64,
    },
    /// There is nothing to compare: the next opening builds them from the blocks.
    Absent,
    /// The blocks carry no codes, so this is an orderer's chain and nothing follows from it.
    NotDerived,
    /// They are not what follows from the blocks.
    Wrong {
        /// What differs, or why they cannot be read.
        reason: String,
    },
}

impl Verification {
    /// Looks through the ledger in `folder`. `scratch` is an empty store that takes the
    /// replay; `progress` hears the number of each block after it was checked.
    ///
    /// # Errors
    /// The first block that is not what was committed; a folder without blocks, or one that
    /// another process uses.
    pub fn of(
        folder: &Path,
        options: &Options,
        scratch: Arc<dyn Store>,
        mut progress: impl FnMut(u64),
    ) -> Result<Self, LedgerError> {
        let blocks = match BlockStore::open_read_only(Arc::clone(&options.files), folder.join(BLOCKS_FOLDER)) {
            Err(BlockStoreError::NoBlocks { .. }) => return Err(LedgerError::Empty { folder: folder.to_owned() }),
            opened => opened?,
        };
        let genesis = blocks.block(0)?.ok_or_else(|| LedgerError::Empty { folder: folder.to_owned() })?;
        let channel_id = channel_of(&genesis).map_err(|reason| contradiction(folder, 0, &reason))?;
        let height = blocks.height();
        let is_judged = contents::codes(&genesis).is_some();
        let mut derived = match is_judged {
            true => Derived::open(folder, options, height)?,
            false => Derived { store: None, finding: DerivedFinding::NotDerived },
        };

        scratch.write(&derived::first_batch(), false)?;
        let replay = Replay { folder, explained: Explained::at(height, options.explained_blocks), scratch };
        let mut tip = Tip::default();
        let mut transactions = 0;
        for number in 0..height {
            let stored = Stored::read(&blocks, number, folder)?;
            transactions += replay.check_chain(&stored, &tip)?;
            if is_judged {
                replay.apply(&stored, &tip)?;
            }
            tip = stored.tip();
            derived.compare_at(tip.height, &replay)?;
            progress(number);
        }
        let torn_bytes = blocks.torn_bytes();
        Ok(Self { channel_id, height, transactions, torn_bytes, derived: derived.finding })
    }
}

/// The chain on its way into an empty store.
struct Replay<'a> {
    folder: &'a Path,
    explained: Explained,
    scratch: Arc<dyn Store>,
}

impl Replay<'_> {
    /// Checks a block against its header and the block before. Returns how many transactions
    /// it has.
    fn check_chain(&self, stored: &Stored, tip: &Tip) -> Result<u64, LedgerError> {
        let wrong = |reason: &str| contradiction(self.folder, stored.header.number, reason);
        if stored.header.previous_hash != tip.block_hash {
            return Err(wrong("its previous hash is not the hash of the block before"));
        }
        let entries = stored.entries();
        match data_hash(entries) == *stored.header.data_hash {
            true => Ok(entries.len() as u64),
            false => Err(wrong("its data hash is not that of its transactions")),
        }
    }

    /// Applies a block by its codes, which has to give its commit hash, and checks the ids of
    /// its valid transactions.
    fn apply(&self, stored: &Stored, tip: &Tip) -> Result<(), LedgerError> {
        let number = stored.header.number;
        let batch = stored.replay(&self.scratch, tip, &self.explained, self.folder)?;
        self.scratch.write(&batch, false)?;
        let codes = contents::codes(&stored.block).unwrap_or_default();
        let indexed = self.scratch.snapshot();
        let check_one = |(index, (entry, code)): (usize, (&Bytes, TxValidationCode))| match code {
            TxValidationCode::Valid => check_tx_id(entry, number, index, indexed.as_ref()).map_err(|reason| {
                contradiction(self.folder, number, &format!("transaction {index} is valid, but {reason}"))
            }),
            _ => Ok(()),
        };
        stored.entries().par_iter().zip(codes).enumerate().try_for_each(check_one)
    }
}

/// A valid endorsed transaction has the id that its nonce and creator give, and nobody had it
/// before, apart from invalid ones of the same block.
fn check_tx_id(entry: &Bytes, number: u64, index: usize, indexed: &dyn Snapshot) -> Result<(), String> {
    let envelope = OpenEnvelope::open(entry).map_err(|error| error.to_string())?;
    if envelope.header_type() != Some(HeaderType::EndorserTransaction) {
        return Ok(());
    }
    let (id, header) = (&envelope.channel_header.tx_id, &envelope.signature_header);
    if tx_id::compute(&header.nonce, &header.creator) != *id {
        return Err(format!("its id {id} is not the one that nonce and creator give"));
    }
    match derived::position(indexed, id).map_err(|error| error.to_string())? {
        Some(earlier) if earlier.block_number == number && earlier.tx_index as usize == index => Ok(()),
        Some(earlier) if earlier.block_number == number && earlier.code != TxValidationCode::Valid => Ok(()),
        _ => Err(format!("its id {id} was used before")),
    }
}

/// The ledger's own index and state.
struct Derived {
    /// Until it was compared.
    store: Option<AtHeight>,
    finding: DerivedFinding,
}

impl Derived {
    fn open(folder: &Path, options: &Options, height: u64) -> Result<Self, LedgerError> {
        let path = folder.join(DERIVED_FOLDER);
        let is_there = options.files.list(folder)?.iter().any(|name| name == DERIVED_FOLDER);
        if !is_there || options.files.open_existing(&rebuild_mark(folder))?.is_some() {
            return Ok(Self { store: None, finding: DerivedFinding::Absent });
        }
        match open_store(&path, options) {
            Ok(Some((_, state_height))) if state_height > height => {
                Err(LedgerError::BlocksLost { folder: folder.to_owned(), height, state_height })
            }
            Ok(store) => Ok(Self { store, finding: DerivedFinding::Absent }),
            Err(StoreError::Damaged(reason) | StoreError::Failed(reason)) => {
                Ok(Self { store: None, finding: DerivedFinding::Wrong { reason } })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Compares when the replay stands where this store does.
    fn compare_at(&mut self, height: u64, replay: &Replay<'_>) -> Result<(), LedgerError> {
        let Some((store, _)) = self.store.take_if(|(_, own)| *own == height) else { return Ok(()) };
        let (ours, replayed) = (store.snapshot(), replay.scratch.snapshot());
        self.finding = match compare(ours.as_ref(), replayed.as_ref(), replay.explained.from) {
            Ok(finding) => match finding {
                Ok(entries) => DerivedFinding::Equal { height, entries },
                Err(reason) => DerivedFinding::Wrong { reason },
            },
            Err(StoreError::Damaged(reason)) => DerivedFinding::Wrong { reason },
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }
}

/// An open store and the height at which it stands.
type AtHeight = (Arc<dyn Store>, u64);

/// The store in `path`; `None` when no block was applied to it.
fn open_store(path: &Path, options: &Options) -> Result<Option<AtHeight>, StoreError> {
    let store = options.stores.open(path)?;
    let snapshot = store.snapshot();
    match derived::format(snapshot.as_ref())? {
        None => return Ok(None),
        Some(mark) if mark == derived::FORMAT => {}
        Some(mark) => return Err(StoreError::Damaged(format!("their format is {:?}", String::from_utf8_lossy(&mark)))),
    }
    let savepoint = derived::savepoint(snapshot.as_ref())?;
    Ok(savepoint.map(|savepoint| (store, savepoint.height)))
}

/// The number of equal entries, or the first one that differs.
fn compare(
    ours: &dyn Snapshot,
    replayed: &dyn Snapshot,
    explained_from: u64,
) -> Result<Result<u64, String>, StoreError> {
    let every_key = |snapshot: &dyn Snapshot| snapshot.range(&[], &[0xff]);
    let (mut ours, mut replayed) = (every_key(ours), every_key(replayed));
    let mut next_of_ours = || loop {
        match ours.next()? {
            // The state trie has its own root to be compared with, at every opening.
            Some((key, _)) if trie_records::is_record(&key) => {}
            // Explanations of older blocks are kept until their turn comes to go.
            Some((key, _)) if derived::is_explanation_before(&key, explained_from) => {}
            entry => return Ok::<_, StoreError>(entry),
        }
    };
    let mut entries = 0;
    loop {
        let differing = match (next_of_ours()?, replayed.next()?) {
            (None, None) => return Ok(Ok(entries)),
            (Some(ours), Some(replayed)) if ours == replayed => {
                entries += 1;
                continue;
            }
            (Some((key, _)), Some((expected, _))) if key == expected => (key, "has another value than the blocks give"),
            (Some((key, _)), Some((expected, _))) if key > expected => (expected, "is missing"),
            (Some((key, _)), _) => (key, "does not follow from any block"),
            (None, Some((expected, _))) => (expected, "is missing"),
        };
        return Ok(Err(format!("{} {}", derived::name_of(&differing.0), differing.1)));
    }
}
