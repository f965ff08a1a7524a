//! The final codes of a block, the updates that follow from them, and why losers lost.

use std::collections::HashSet;

use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::ripstop::v1::ReadConflict;

use crate::PrivateWrite;
use crate::committed::Committed;
use crate::contents::{Contents, Entry};
use crate::mvcc;
use crate::store::StoreError;
use crate::updates::{self, Updates};
use crate::version::Version;

/// What a block comes to.
pub(crate) struct Decision {
    pub(crate) updates: Updates,
    /// Of the transactions that lost against another one: their index, and what differed.
    pub(crate) conflicts: Vec<(u32, ReadConflict)>,
}

/// Judges the transactions that stage one left valid: ids first, then versions, in block
/// order. `codes` become the final ones.
pub(crate) fn decide(
    number: u64,
    entries: &[Entry],
    codes: &mut [TxValidationCode],
    committed: &Committed<'_>,
) -> Result<Decision, StoreError> {
    mark_duplicates(entries, codes, committed);
    let mut updates = Updates::default();
    let mut conflicts = Vec::new();
    for (index, (entry, code)) in (0_u32..).zip(entries.iter().zip(codes)) {
        if *code != TxValidationCode::Valid {
            continue;
        }
        if let Contents::Endorsed(read_write_set) = &entry.contents
            && let Some(loss) = mvcc::judge(read_write_set, &updates, committed)?
        {
            *code = loss.code;
            conflicts.push((index, loss.conflict));
        }
        if let Contents::Unreadable(reason) = entry.contents {
            *code = reason;
        }
        if *code == TxValidationCode::Valid {
            apply(&mut updates, number, index, entry, committed)?;
        }
    }
    Ok(Decision { updates, conflicts })
}

/// The updates of a block whose codes are final already: the stored codes are the truth.
/// Those losers that were opened are judged again, only to learn what they lost by.
pub(crate) fn replay(
    number: u64,
    entries: &[Entry],
    codes: &[TxValidationCode],
    committed: &Committed<'_>,
) -> Result<Decision, StoreError> {
    let mut updates = Updates::default();
    let mut conflicts = Vec::new();
    for (index, (entry, code)) in (0_u32..).zip(entries.iter().zip(codes)) {
        if is_valid(*code) {
            apply(&mut updates, number, index, entry, committed)?;
        } else if let Contents::Endorsed(read_write_set) = &entry.contents
            && let Some(loss) = mvcc::judge(read_write_set, &updates, committed)?
        {
            conflicts.push((index, loss.conflict));
        }
    }
    Ok(Decision { updates, conflicts })
}

fn apply(
    updates: &mut Updates,
    number: u64,
    index: u32,
    entry: &Entry,
    committed: &Committed<'_>,
) -> Result<(), StoreError> {
    let version = Version::new(number, u64::from(index));
    match &entry.contents {
        Contents::Endorsed(read_write_set) => updates.apply(read_write_set, version, committed)?,
        Contents::Config(config_envelope) => updates.apply_config(config_envelope.clone(), version),
        Contents::Nothing | Contents::Unreadable(_) => {}
    }
    Ok(())
}

/// Among endorsed transactions that are still valid the second and later ones of an id are
/// duplicates, and so is one whose id stands in an earlier block.
fn mark_duplicates(entries: &[Entry], codes: &mut [TxValidationCode], committed: &Committed<'_>) {
    let mut seen = HashSet::new();
    for (entry, code) in entries.iter().zip(codes) {
        if let (TxValidationCode::Valid, Contents::Endorsed(_), Some(tx_id)) = (*code, &entry.contents, &entry.tx_id)
            && (committed.knows_tx_id(tx_id) || !seen.insert(tx_id))
        {
            *code = TxValidationCode::DuplicateTxid;
        }
    }
}

/// The ids that this block brings into the index: the first transaction of each id that no
/// earlier block has, with its index and code.
pub(crate) fn new_tx_ids<'a>(
    entries: &'a [Entry],
    codes: &[TxValidationCode],
    committed: &Committed<'_>,
) -> Vec<(&'a str, u32, TxValidationCode)> {
    let mut seen = HashSet::new();
    let with_id = entries.iter().zip(codes).zip(0_u32..).filter_map(|((entry, code), index)| {
        let tx_id = entry.tx_id.as_deref()?;
        Some((tx_id, index, *code))
    });
    with_id.filter(|(tx_id, ..)| !committed.knows_tx_id(tx_id) && seen.insert(*tx_id)).collect()
}

/// The private writes to keep: those of valid transactions whose key and value hash to
/// what the transaction says.
pub(crate) fn matching_private_writes(
    private_writes: Vec<PrivateWrite>,
    entries: &[Entry],
    codes: &[TxValidationCode],
) -> Vec<PrivateWrite> {
    let matches = |write: &PrivateWrite| {
        let index = write.tx_index as usize;
        let is_valid = codes.get(index).copied().is_some_and(is_valid);
        is_valid && entries.get(index).is_some_and(|entry| updates::announces(&entry.contents, write))
    };
    private_writes.into_iter().filter(matches).collect()
}

fn is_valid(code: TxValidationCode) -> bool {
    code == TxValidationCode::Valid
}
