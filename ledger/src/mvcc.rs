//! The versions: has anything that a transaction read been written since?
//!
//! Transactions are judged one by one in block order, each against the committed state
//! and the updates of the valid ones before it in the block. Blind writes never conflict.
//! The rules are Fabric's (`core/ledger/kvledger/txmgmt/validation`), corner cases
//! included; where Fabric stops without an outcome, the read counts as a conflict.

use std::cmp::Ordering;
use std::iter::Peekable;

use bytes::Bytes;
use ripstop_proto::kvrwset::range_query_info::ReadsInfo;
use ripstop_proto::kvrwset::{self, KvRead, KvReadHash, QueryReadsMerkleSummary, RangeQueryInfo};
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::range_query::ReadsSummary;
use ripstop_proto::read_write_set::{CollectionSet, ReadWriteSet};

use crate::committed::Committed;
use crate::state::{Rows, Space};
use crate::store::StoreError;
use crate::updates::{Update, Updates};
use crate::version::Version;

/// A Merkle summary below this degree has no shape.
const DEGREE_MIN: u32 = 2;

/// The code of a transaction that is valid so far. Namespaces are judged in the order of
/// the set; in each public reads, then ranges, then hashed reads; the first failure decides.
pub(crate) fn judge(
    read_write_set: &ReadWriteSet,
    updates: &Updates,
    committed: &Committed<'_>,
) -> Result<TxValidationCode, StoreError> {
    for set in &read_write_set.namespaces {
        let namespace = set.namespace.as_str();
        for read in &set.public.reads {
            if !holds(read, namespace, updates, committed)? {
                return Ok(TxValidationCode::MvccReadConflict);
            }
        }
        for range in &set.public.range_queries_info {
            if !range_holds(range, namespace, updates, committed)? {
                return Ok(TxValidationCode::PhantomReadConflict);
            }
        }
        for collection in &set.collections {
            for read in &collection.hashed.hashed_reads {
                if !hashed_holds(read, namespace, collection, updates, committed)? {
                    return Ok(TxValidationCode::MvccReadConflict);
                }
            }
        }
    }
    Ok(TxValidationCode::Valid)
}

/// A point read holds when no earlier transaction of the block touched the key in any way
/// (also by a delete or a change of metadata), and the committed version is the one read.
fn holds(read: &KvRead, namespace: &str, updates: &Updates, committed: &Committed<'_>) -> Result<bool, StoreError> {
    let space = Space::Public(namespace);
    let key = read.key.as_bytes();
    Ok(updates.get(space, key).is_none()
        && same_version(read.version, committed.get(space, key)?.map(|entry| entry.version)))
}

fn hashed_holds(
    read: &KvReadHash,
    namespace: &str,
    collection: &CollectionSet,
    updates: &Updates,
    committed: &Committed<'_>,
) -> Result<bool, StoreError> {
    let space = Space::Hashed(namespace, &collection.name);
    let key = read.key_hash.as_ref();
    Ok(updates.get(space, key).is_none()
        && same_version(read.version, committed.get(space, key)?.map(|entry| entry.version)))
}

fn same_version(read: Option<kvrwset::Version>, committed: Option<Version>) -> bool {
    read.as_ref().map(Version::from) == committed
}

/// A range read holds when running it again gives the same keys with the same versions.
fn range_holds(
    range: &RangeQueryInfo,
    namespace: &str,
    updates: &Updates,
    committed: &Committed<'_>,
) -> Result<bool, StoreError> {
    let rows = CurrentRows::new(range, namespace, updates, committed);
    match &range.reads_info {
        Some(ReadsInfo::ReadsMerkleHashes(summary)) => summary_holds(summary, rows),
        Some(ReadsInfo::RawReads(reads)) => rows_hold(&reads.kv_reads, rows),
        None => rows_hold(&[], rows),
    }
}

fn rows_hold(reads: &[KvRead], mut rows: CurrentRows<'_>) -> Result<bool, StoreError> {
    for read in reads {
        let Some((key, version)) = rows.next()? else { return Ok(false) };
        // A row without version cannot have come from a range; Fabric has no outcome for it.
        let is_same = read.version.is_some() && same_version(read.version, Some(version));
        if key != read.key.as_bytes() || !is_same {
            return Ok(false);
        }
    }
    Ok(rows.next()?.is_none())
}

fn summary_holds(recorded: &QueryReadsMerkleSummary, mut rows: CurrentRows<'_>) -> Result<bool, StoreError> {
    if recorded.max_degree < DEGREE_MIN {
        return Ok(false);
    }
    let mut summary = ReadsSummary::new(recorded.max_degree);
    while let Some((key, version)) = rows.next()? {
        let Ok(key) = String::from_utf8(key.into()) else { return Ok(false) };
        summary.push(KvRead { key, version: Some(version.into()) });
    }
    Ok(summary.finish() == Some(ReadsInfo::ReadsMerkleHashes(recorded.clone())))
}

/// The rows that a range read would give now: committed rows with the block's updates over
/// them, deleted keys left out. Start is inclusive, end exclusive; a read that was not run
/// to its end has its end key once more after all rows, if there is such a key.
struct CurrentRows<'a> {
    committed_rows: Rows,
    next_committed: Option<(Bytes, Version)>,
    updates: Peekable<Box<dyn Iterator<Item = (&'a Bytes, &'a Update)> + 'a>>,
    started: bool,
    last: Option<LastKey<'a>>,
}

struct LastKey<'a> {
    namespace: &'a str,
    key: &'a [u8],
    updates: &'a Updates,
    committed: &'a Committed<'a>,
}

impl<'a> CurrentRows<'a> {
    fn new(range: &'a RangeQueryInfo, namespace: &'a str, updates: &'a Updates, committed: &'a Committed<'a>) -> Self {
        let (start, end) = (range.start_key.as_bytes(), range.end_key.as_bytes());
        let last = LastKey { namespace, key: end, updates, committed };
        let updates: Box<dyn Iterator<Item = _> + 'a> = Box::new(updates.range(namespace, start, end));
        Self {
            committed_rows: committed.rows(namespace, start, end),
            next_committed: None,
            updates: updates.peekable(),
            started: false,
            last: (!range.itr_exhausted).then_some(last),
        }
    }

    fn next(&mut self) -> Result<Option<(Bytes, Version)>, StoreError> {
        if !self.started {
            self.started = true;
            self.advance_committed()?;
        }
        loop {
            let order = match (&self.next_committed, self.updates.peek()) {
                (None, None) => return self.last_row(),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((key, _)), Some((updated, _))) => key.cmp(updated),
            };
            if order != Ordering::Greater {
                let row = self.advance_committed()?;
                if order == Ordering::Less {
                    return Ok(row);
                }
            }
            if let Some((key, update)) = self.updates.next()
                && update.value.is_some()
            {
                return Ok(Some((key.clone(), update.version)));
            }
        }
    }

    /// The committed row that stood first, after the next one has taken its place.
    fn advance_committed(&mut self) -> Result<Option<(Bytes, Version)>, StoreError> {
        let next = self.committed_rows.next()?.map(|(key, entry)| (key, entry.version));
        Ok(std::mem::replace(&mut self.next_committed, next))
    }

    fn last_row(&mut self) -> Result<Option<(Bytes, Version)>, StoreError> {
        let Some(LastKey { namespace, key, updates, committed }) = self.last.take() else { return Ok(None) };
        let space = Space::Public(namespace);
        let version = match updates.get(space, key) {
            Some(update) => update.value.is_some().then_some(update.version),
            None => committed.get(space, key)?.map(|entry| entry.version),
        };
        Ok(version.map(|version| (Bytes::copy_from_slice(key), version)))
    }
}
