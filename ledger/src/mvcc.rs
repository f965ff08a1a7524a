//! The versions: has anything that a transaction read been written since?
//!
//! Transactions are judged one by one in block order, each against the committed state
//! and the updates of the valid ones before it in the block. Blind writes never conflict.
//! The rules are Fabric's (`core/ledger/kvledger/txmgmt/validation`), corner cases
//! included; where Fabric stops without an outcome, the read counts as a conflict.
//!
//! A transaction that loses gets to know by which key; one that is valid pays nothing for
//! that. Ranges are judged in `range_read`.

use ripstop_proto::kvrwset;
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::read_write_set::{NamespaceSet, ReadWriteSet};
use ripstop_proto::ripstop::v1::ReadConflict;

use crate::committed::Committed;
use crate::explanation;
use crate::range_read;
use crate::state::Space;
use crate::store::StoreError;
use crate::updates::Updates;
use crate::version::Version;

/// Why a transaction loses.
pub(crate) struct Loss {
    pub(crate) code: TxValidationCode,
    pub(crate) conflict: ReadConflict,
}

/// Judges a transaction that is valid so far; `None` is still valid. Namespaces are judged
/// in the order of the set; in each public reads, then ranges, then hashed reads; the first
/// failure decides.
pub(crate) fn judge(
    read_write_set: &ReadWriteSet,
    updates: &Updates,
    committed: &Committed<'_>,
) -> Result<Option<Loss>, StoreError> {
    for set in &read_write_set.namespaces {
        if let Some(conflict) = stale_read(set, updates, committed)? {
            return Ok(Some(Loss { code: TxValidationCode::MvccReadConflict, conflict }));
        }
        for range in &set.public.range_queries_info {
            if let Some(conflict) = range_read::difference(range, &set.namespace, updates, committed)? {
                return Ok(Some(Loss { code: TxValidationCode::PhantomReadConflict, conflict }));
            }
        }
        if let Some(conflict) = stale_hashed_read(set, updates, committed)? {
            return Ok(Some(Loss { code: TxValidationCode::MvccReadConflict, conflict }));
        }
    }
    Ok(None)
}

fn stale_read(
    set: &NamespaceSet,
    updates: &Updates,
    committed: &Committed<'_>,
) -> Result<Option<ReadConflict>, StoreError> {
    let space = Space::Public(&set.namespace);
    for read in &set.public.reads {
        if !holds(space, read.key.as_bytes(), read.version, updates, committed)? {
            return conflict(space, read.key.as_bytes(), read.version, updates, committed).map(Some);
        }
    }
    Ok(None)
}

fn stale_hashed_read(
    set: &NamespaceSet,
    updates: &Updates,
    committed: &Committed<'_>,
) -> Result<Option<ReadConflict>, StoreError> {
    for collection in &set.collections {
        let space = Space::Hashed(&set.namespace, &collection.name);
        for read in &collection.hashed.hashed_reads {
            if !holds(space, &read.key_hash, read.version, updates, committed)? {
                return conflict(space, &read.key_hash, read.version, updates, committed).map(Some);
            }
        }
    }
    Ok(None)
}

/// A point read holds when no earlier transaction of the block touched the key in any way
/// (also by a delete or a change of metadata), and the committed version is the one read.
fn holds(
    space: Space<'_>,
    key: &[u8],
    read: Option<kvrwset::Version>,
    updates: &Updates,
    committed: &Committed<'_>,
) -> Result<bool, StoreError> {
    Ok(updates.get(space, key).is_none() && same_version(read, committed.get(space, key)?.map(|entry| entry.version)))
}

pub(crate) fn same_version(read: Option<kvrwset::Version>, committed: Option<Version>) -> bool {
    read.as_ref().map(Version::from) == committed
}

/// What a loser is told of a key: what it read, what is there now, and who wrote that. Who
/// deleted a key in an earlier block cannot be told from the state.
pub(crate) fn conflict(
    space: Space<'_>,
    key: &[u8],
    read: Option<kvrwset::Version>,
    updates: &Updates,
    committed: &Committed<'_>,
) -> Result<ReadConflict, StoreError> {
    let update = updates.get(space, key);
    let found = match update {
        Some(update) => update.value.is_some().then_some(update.version),
        None => committed.get(space, key)?.map(|entry| entry.version),
    };
    let (namespace, collection) = match space {
        Space::Public(namespace) => (namespace, ""),
        Space::Hashed(namespace, collection) | Space::Private(namespace, collection) => (namespace, collection),
    };
    Ok(ReadConflict {
        namespace: namespace.to_owned(),
        collection: collection.to_owned(),
        key: explanation::text_of(space, key),
        read_version: read,
        found_version: found.map(Into::into),
        winner: update.map(|update| update.version).or(found).map(Into::into),
        within_block: update.is_some(),
        ..ReadConflict::default()
    })
}
