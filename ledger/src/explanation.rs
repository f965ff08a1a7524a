//! Why a transaction is invalid, for those who ask later.
//!
//! Made when a block is decided over, from what stage one said of refused transactions and
//! from the key that a loser lost by. Kept for the newest blocks beside index and state,
//! and derived like them: a replay judges the losers of those blocks again. The winner is
//! noted by its place only; its id, and who deleted a key in an earlier block, is read from
//! the blocks when somebody asks, because few losers are ever asked for.

use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::kvrwset;
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::ripstop::v1::explanation::Reason;
use ripstop_proto::ripstop::v1::{BlockExplanations, Explanation, RangeRead, ReadConflict, Refusal};

use crate::contents::{self, Contents};
use crate::derived;
use crate::error::LedgerError;
use crate::ledger::{Ledger, TransactionPosition};
use crate::state::Space;
use crate::updates;
use crate::version::Version;

/// For how many blocks explanations are kept, unless options say otherwise.
pub const EXPLAINED_BLOCKS: u64 = 10_000;

/// How many blocks are searched for the transaction that deleted a key. What was read is
/// rarely more than a few blocks old.
const SEARCHED_BLOCKS: usize = 1_000;

/// The explanations of a block's invalid transactions, in block order.
pub(crate) fn of_block(
    codes: &[TxValidationCode],
    refusals: &[Refusal],
    conflicts: Vec<(u32, ReadConflict)>,
) -> BlockExplanations {
    let invalid = (0_u32..).zip(codes).filter(|(_, code)| **code != TxValidationCode::Valid);
    let mut explanations: Vec<Explanation> =
        invalid.map(|(tx_index, code)| Explanation { tx_index, code: (*code).into(), reason: None }).collect();
    let reasons = refusals.iter().map(|refusal| (refusal.tx_index, Reason::Refusal(refusal.clone())));
    for (tx_index, reason) in reasons.chain(conflicts.into_iter().map(|(index, loss)| (index, Reason::Conflict(loss))))
    {
        if let Ok(place) = explanations.binary_search_by_key(&tx_index, |explanation| explanation.tx_index) {
            explanations[place].reason = Some(reason);
        }
    }
    BlockExplanations { explanations }
}

impl Ledger {
    /// Why a transaction is invalid, with the winner's id where it lost against another
    /// one. `None` when it is valid, and when its block is below
    /// [`Ledger::explained_from`]. Reads blocks.
    ///
    /// # Errors
    /// When blocks or explanations cannot be read.
    pub fn explanation(&self, position: &TransactionPosition) -> Result<Option<Explanation>, LedgerError> {
        let kept = derived::explanations(self.state().snapshot(), position.block_number)?;
        let found = kept.explanations.into_iter().find(|explanation| explanation.tx_index == position.tx_index);
        let Some(mut explanation) = found else { return Ok(None) };
        if let Some(Reason::Conflict(conflict)) = &mut explanation.reason {
            self.complete(position.block_number, conflict)?;
        }
        Ok(Some(explanation))
    }

    /// The first block whose invalid transactions are still explained.
    pub fn explained_from(&self) -> u64 {
        self.height().saturating_sub(self.explained_blocks)
    }

    /// Finds out who won, and the winner's id.
    fn complete(&self, number: u64, conflict: &mut ReadConflict) -> Result<(), LedgerError> {
        let is_summarized = conflict.range.as_ref().is_some_and(|range| range.summarized);
        if is_summarized && !conflict.within_block {
            self.find_last_delete_in_range(number, conflict)?;
        } else if conflict.winner.is_none() {
            conflict.winner = self.deleter(number, conflict)?.map(Into::into);
        }
        if let Some(winner) = &conflict.winner {
            conflict.winner_tx_id = self.tx_id(winner)?.unwrap_or_default();
        }
        Ok(())
    }

    /// Who deleted the key that was read and is no longer there.
    fn deleter(&self, number: u64, conflict: &ReadConflict) -> Result<Option<Version>, LedgerError> {
        let Some(read) = &conflict.read_version else { return Ok(None) };
        let is_key = |write: &Write| write.key == conflict.key;
        let mut deleter = None;
        for number in (read.block_num..number).rev().take(SEARCHED_BLOCKS) {
            for write in self.writes(number, conflict)?.into_iter().rev().filter(is_key) {
                // A delete of a key that was deleted before made no difference.
                match write.deletes {
                    true => deleter = Some(write.version),
                    false => return Ok(deleter),
                }
            }
        }
        Ok(deleter)
    }

    /// The last write to a summarized range in the blocks before may have been a delete,
    /// which leaves no row behind.
    fn find_last_delete_in_range(&self, number: u64, conflict: &mut ReadConflict) -> Result<(), LedgerError> {
        let Some(range) = conflict.range.clone() else { return Ok(()) };
        let newest_row = conflict.winner.as_ref().map(Version::from);
        let first = newest_row.map_or(0, |version| version.block_number);
        for number in (first..number).rev().take(SEARCHED_BLOCKS) {
            let writes = self.writes(number, conflict)?;
            let is_later = |write: &&Write| newest_row.is_none_or(|newest| write.version > newest);
            let delete = writes.iter().rev().find(|write| write.deletes && contains(&range, &write.key));
            if let Some(delete) = delete.filter(is_later) {
                conflict.key.clone_from(&delete.key);
                conflict.found_version = None;
                conflict.winner = Some(delete.version.into());
                break;
            }
        }
        Ok(())
    }

    /// What the valid transactions of a block write in the conflict's namespace and
    /// collection, in block order.
    fn writes(&self, number: u64, conflict: &ReadConflict) -> Result<Vec<Write>, LedgerError> {
        let Some(block) = self.block(number)? else { return Ok(Vec::new()) };
        let Some(codes) = contents::codes(&block) else { return Ok(Vec::new()) };
        let space = match conflict.collection.as_str() {
            "" => Space::Public(&conflict.namespace),
            collection => Space::Hashed(&conflict.namespace, collection),
        };
        let mut writes = Vec::new();
        for (entry, tx_index) in contents::open_entries(&block, &codes).iter().zip(0..) {
            let Contents::Endorsed(read_write_set) = &entry.contents else { continue };
            let version = Version::new(number, tx_index);
            let written = updates::written_values(read_write_set).into_iter().filter(|(written, ..)| *written == space);
            writes.extend(written.map(|(_, key, deletes)| Write { version, key: text_of(space, key), deletes }));
        }
        Ok(writes)
    }

    fn tx_id(&self, place: &kvrwset::Version) -> Result<Option<String>, LedgerError> {
        let block = self.block(place.block_num)?;
        let entry = block.as_ref().and_then(|block| block.data.as_ref()?.data.get(usize::try_from(place.tx_num).ok()?));
        Ok(entry.and_then(|entry| OpenEnvelope::open(entry).ok()).map(|envelope| envelope.index_tx_id()))
    }
}

/// A key's value set or deleted by a valid transaction.
struct Write {
    version: Version,
    key: String,
    deletes: bool,
}

/// A key as it is printed: those of collections are hashes.
pub(crate) fn text_of(space: Space<'_>, key: &[u8]) -> String {
    match space {
        Space::Public(_) => String::from_utf8_lossy(key).into_owned(),
        Space::Hashed(..) | Space::Private(..) => hex::encode(key),
    }
}

fn contains(range: &RangeRead, key: &str) -> bool {
    let is_before_end = range.end_key.is_empty() || *key < *range.end_key;
    (*range.start_key <= *key && is_before_end) || (range.end_included && *key == *range.end_key)
}
