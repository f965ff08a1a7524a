//! The one door for blocks: final codes, commit hash, one durable record, then everything
//! that is derived from it.
//!
//! Read [`Ledger::commit`] from top to bottom. The synced record is the only atomic step:
//! before it nothing has happened, after it the block is committed whatever comes. State
//! is published only then, so that nothing is ever endorsed on state that could be lost.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::block::{COMMIT_HASH, ROOTS, TRANSACTIONS_FILTER, header_hash, set_metadata_slot};
use ripstop_proto::commit_hash;
use ripstop_proto::common::{Block, BlockHeader, Metadata};
use ripstop_proto::hash::Hash;
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::ripstop::v1::{BlockRecord, BlockRoots};

use crate::committed::Committed;
use crate::contents;
use crate::decision::{self, Decision};
use crate::derived::{self, Applied};
use crate::error::CommitError;
use crate::explanation;
use crate::history;
use crate::ledger::Ledger;
use crate::roots::{results_root, transactions_root};
use crate::state::StateView;
use crate::store::{Batch, StoreError};
use crate::updates::Updates;
use crate::{PrivateWrite, Refusal};

/// What stage one says of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// VALID so far, or why not.
    pub code: TxValidationCode,
    /// More about a refusal, kept for those who ask later. The ledger sets its `tx_index`.
    pub reason: Option<Refusal>,
}

impl Verdict {
    /// Valid as far as signatures and policies go.
    pub fn valid() -> Self {
        Self { code: TxValidationCode::Valid, reason: None }
    }
}

/// A block that was verified as the next one of its channel, and whose transactions have
/// been through stage one: signatures, ids, endorsement policies.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedBlock {
    /// As delivered. The ledger writes metadata slots 2 and 4.
    pub block: Block,
    /// One per transaction, in order.
    pub verdicts: Vec<Verdict>,
    /// Private values that this node knows. The ledger keeps those of valid transactions
    /// whose hashes match the transaction's and drops the others.
    pub private_writes: Vec<PrivateWrite>,
}

/// A block as it was committed.
#[derive(Debug, Clone, PartialEq)]
pub struct CommittedBlock {
    /// With codes in metadata slot 2 and the commit hash in slot 4.
    pub block: Arc<Block>,
    /// The final codes, one per transaction.
    pub codes: Vec<TxValidationCode>,
    /// The transactions' ids, where one can be read.
    pub tx_ids: Vec<Option<String>>,
    /// Fabric's commit hash up to this block.
    pub commit_hash: Hash,
}

/// The end of the chain as stored; by default that of a chain without blocks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tip {
    /// Number of the next block.
    pub(crate) height: u64,
    /// Hash of the last block; empty before genesis.
    pub(crate) block_hash: Bytes,
    /// Commit hash of the last block; empty before block 1.
    pub(crate) commit_hash: Bytes,
}

/// What only the committer touches.
pub(crate) struct Writer {
    pub(crate) tip: Tip,
    /// A block that is stored but not yet applied to the derived store.
    pub(crate) pending: Option<Pending>,
    /// Why nothing may be committed any more.
    pub(crate) ended: Option<String>,
}

/// See [`Writer::pending`].
pub(crate) struct Pending {
    batch: Batch,
    committed: Arc<CommittedBlock>,
    failed_before: bool,
}

/// How many blocks at most a power failure makes the derived store lose; they are
/// replayed. Between these heights its writes are not synced.
const CHECKPOINT_BLOCKS: u64 = 64;

impl Ledger {
    /// Commits the next block. Returns when it is durable and its state is visible.
    ///
    /// There is a single caller, the channel's committer. The call computes on all cores
    /// and waits for the disk: keep it off threads that must not block.
    ///
    /// # Errors
    /// [`CommitError::NoSpace`]: stop taking blocks and offer the same block again once
    /// there is space; reads go on. [`CommitError::Fatal`]: end the process.
    pub fn commit(&self, checked: CheckedBlock) -> Result<Arc<CommittedBlock>, CommitError> {
        let mut writer = self.writer.lock();
        let number = checked.block.header.as_ref().map_or(0, |header| header.number);
        if let Some(reason) = &writer.ended {
            return Err(CommitError::Fatal { number, reason: reason.clone() });
        }
        let outcome = self.commit_next(&mut writer, checked);
        if let Err(error) = &outcome
            && error.must_end()
        {
            writer.ended = Some(error.to_string());
        }
        outcome
    }

    fn commit_next(&self, writer: &mut Writer, checked: CheckedBlock) -> Result<Arc<CommittedBlock>, CommitError> {
        let header = checked.block.header.clone().unwrap_or_default();
        let number = header.number;
        if let Some(committed) = self.apply_pending(writer)?
            && committed.block.header.as_ref() == Some(&header)
        {
            return Ok(committed);
        }
        require_next(&writer.tip, &checked, &header)?;
        let CheckedBlock { mut block, verdicts, private_writes } = checked;

        let (mut codes, refusals) = split(verdicts);
        let entries = contents::open_entries(&block, &codes);
        let view = self.state();
        let before = Committed::load(&view, &entries).map_err(|error| self.stopped_by(number, &error))?;
        let Decision { updates, conflicts } =
            decision::decide(number, &entries, &mut codes, &before).map_err(|error| self.stopped_by(number, &error))?;
        let private_writes = decision::matching_private_writes(private_writes, &entries, &codes);
        let commit_hash = fill_metadata(&mut block, &codes, &updates, &writer.tip);
        if let Some(roots) = &self.roots {
            let lists = || (transactions_root(&block), results_root(&codes, &entries));
            let state_root = || roots.lock().apply(number, &updates, &view);
            let (state_root, (transactions_root, results_root)) = rayon::join(state_root, lists);
            let state_root = state_root.map_err(|error| self.stopped_by(number, &error))?;
            let block_roots = BlockRoots {
                channel_id: self.channel_id.clone(),
                number,
                block_hash: bytes_of(&header_hash(&header)),
                commit_hash: commit_hash.as_ref().map_or(Bytes::new(), bytes_of),
                state_root: bytes_of(&state_root),
                transactions_root: bytes_of(&transactions_root),
                results_root: bytes_of(&results_root),
            };
            set_metadata_slot(&mut block, ROOTS, block_roots.encode_to_vec().into());
        }

        let record = BlockRecord { block: Some(block), refusals, private_writes };
        let started = Instant::now();
        self.blocks.append(&record).map_err(|error| CommitError::blocks(number, &error))?;
        self.tell_time("ledger_blockstorage_commit_time", started);
        // One record holds both, so both take the same time.
        self.tell_time("ledger_blockstorage_and_pvtdata_commit_time", started);

        let block_hash = header_hash(&header);
        let batch = derived::batch(Applied {
            number,
            block_hash,
            updates: &updates,
            private_writes: &record.private_writes,
            new_tx_ids: decision::new_tx_ids(&entries, &codes, &before),
            history_keys: history::keys(number, &entries, &codes),
            explanations: explanation::of_block(&codes, &record.refusals, conflicts),
            explained_blocks: self.explained_blocks,
        });
        writer.tip = Tip {
            height: number + 1,
            block_hash: Bytes::copy_from_slice(&block_hash),
            commit_hash: commit_hash.as_ref().map_or(Bytes::new(), bytes_of),
        };
        let committed = Arc::new(CommittedBlock {
            block: Arc::new(record.block.unwrap_or_default()),
            codes,
            tx_ids: entries.into_iter().map(|entry| entry.tx_id).collect(),
            commit_hash: commit_hash.unwrap_or_default(),
        });
        writer.pending = Some(Pending { batch, committed: Arc::clone(&committed), failed_before: false });
        self.apply_pending(writer)?;
        Ok(committed)
    }

    /// Brings the block that is stored but not yet applied into the derived store, and
    /// then shows its state to readers. Returns that block, if there was one.
    fn apply_pending(&self, writer: &mut Writer) -> Result<Option<Arc<CommittedBlock>>, CommitError> {
        let Some(pending) = &mut writer.pending else { return Ok(None) };
        let height = writer.tip.height;
        let stopped = |error: &StoreError| self.stopped_by(height - 1, error);
        let started = Instant::now();
        let applied = pending.failed_before && self.reopen_store().map_err(|error| stopped(&error))? == height;
        if !applied && let Err(error) = self.store.write(&pending.batch, height.is_multiple_of(CHECKPOINT_BLOCKS)) {
            pending.failed_before = true;
            return Err(stopped(&error));
        }
        self.tell_time("ledger_statedb_commit_time", started);
        self.remember(Arc::clone(&pending.committed.block));
        self.publish(StateView::new(self.store.snapshot(), height));
        if let Some(roots) = &self.roots {
            roots.lock().checkpoint_if_due().map_err(|error| self.stopped_by(height - 1, &error))?;
        }
        Ok(writer.pending.take().map(|pending| pending.committed))
    }

    fn tell_time(&self, metric: &'static str, started: Instant) {
        metrics::histogram!(metric, "channel" => self.channel_id().to_owned()).record(started.elapsed().as_secs_f64());
    }

    /// Opens the derived store again after a write failed. Readers wait meanwhile. Returns
    /// the height that it stands at: the failed write may have reached its log.
    fn reopen_store(&self) -> Result<u64, StoreError> {
        let mut published = self.published.write();
        let height = published.height();
        published.let_go();
        let reopened = self.store.reopen();
        *published = StateView::new(self.store.snapshot(), height);
        reopened?;
        let savepoint = derived::savepoint(published.snapshot())?;
        let found = savepoint.map_or(0, |savepoint| savepoint.height);
        match found < height {
            true => Err(StoreError::Damaged(format!("it fell back from height {height} to {found}"))),
            false => Ok(found),
        }
    }

    /// The error to give to the committer. A damaged store is built again at the next start.
    fn stopped_by(&self, number: u64, error: &StoreError) -> CommitError {
        if let StoreError::Damaged(_) = error {
            self.rebuild_at_next_start();
        }
        CommitError::store(number, error)
    }
}

fn require_next(tip: &Tip, checked: &CheckedBlock, header: &BlockHeader) -> Result<(), CommitError> {
    let not_next =
        |reason: &str| CommitError::NotNext { number: header.number, height: tip.height, reason: reason.to_owned() };
    if checked.block.header.is_none() {
        return Err(not_next("it has no header"));
    }
    if header.number != tip.height {
        return Err(not_next("its number is not the next one"));
    }
    if header.previous_hash != tip.block_hash {
        return Err(not_next("its previous hash is not the hash of the last block"));
    }
    let entries = checked.block.data.as_ref().map_or(0, |data| data.data.len());
    let verdicts = checked.verdicts.len();
    match entries == verdicts {
        true => Ok(()),
        false => Err(CommitError::Verdicts { number: header.number, entries, verdicts }),
    }
}

/// Codes of all transactions, reasons of the refused ones.
fn split(verdicts: Vec<Verdict>) -> (Vec<TxValidationCode>, Vec<Refusal>) {
    let mut refusals = Vec::new();
    let codes = verdicts.into_iter().zip(0_u32..).map(|(verdict, tx_index)| {
        if let Some(reason) = verdict.reason {
            refusals.push(Refusal { tx_index, ..reason });
        }
        verdict.code
    });
    (codes.collect(), refusals)
}

/// Writes codes and commit hash into their slots. Genesis has no commit hash.
fn fill_metadata(block: &mut Block, codes: &[TxValidationCode], updates: &Updates, tip: &Tip) -> Option<Hash> {
    let filter = filter_bytes(codes);
    let commit_hash = next_commit_hash(&filter, updates, tip);
    set_metadata_slot(block, TRANSACTIONS_FILTER, filter);
    let stored = commit_hash.map_or(Bytes::new(), |hash| {
        let metadata = Metadata { value: Bytes::copy_from_slice(&hash), signatures: Vec::new() };
        metadata.encode_to_vec().into()
    });
    set_metadata_slot(block, COMMIT_HASH, stored);
    commit_hash
}

fn bytes_of(hash: &Hash) -> Bytes {
    Bytes::copy_from_slice(hash)
}

/// The commit hash of the block that follows `tip`; none for genesis.
pub(crate) fn next_commit_hash(filter: &[u8], updates: &Updates, tip: &Tip) -> Option<Hash> {
    (tip.height > 0).then(|| commit_hash::chain(filter, updates.hashed(), &tip.commit_hash))
}

/// One byte per transaction.
fn filter_bytes(codes: &[TxValidationCode]) -> Bytes {
    codes.iter().map(|code| *code as i32 as u8).collect::<Vec<u8>>().into()
}
