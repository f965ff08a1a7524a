//! Range reads: does running them again give the same keys with the same versions?
//!
//! Public face: [`difference`]. What makes a point read stale is `mvcc`'s.

use std::cmp::Ordering;
use std::iter::Peekable;

use bytes::Bytes;
use ripstop_proto::kvrwset::range_query_info::ReadsInfo;
use ripstop_proto::kvrwset::{self, KvRead, QueryReadsMerkleSummary, RangeQueryInfo};
use ripstop_proto::range_query::ReadsSummary;
use ripstop_proto::ripstop::v1::{RangeRead, ReadConflict};

use crate::committed::Committed;
use crate::mvcc;
use crate::state::{Rows, Space};
use crate::store::StoreError;
use crate::updates::{Update, Updates};
use crate::version::Version;

/// A Merkle summary below this degree has no shape.
const DEGREE_MIN: u32 = 2;

/// What differs when the range is read again; `None` when nothing does.
pub(crate) fn difference(
    range: &RangeQueryInfo,
    namespace: &str,
    updates: &Updates,
    committed: &Committed<'_>,
) -> Result<Option<ReadConflict>, StoreError> {
    let rows = CurrentRows::new(range, namespace, updates, committed);
    let (differing, is_summarized) = match &range.reads_info {
        Some(ReadsInfo::ReadsMerkleHashes(summary)) => {
            if summary_holds(summary, rows)? {
                return Ok(None);
            }
            let key = last_written(range, namespace, updates, committed)?;
            (key.map(|key| Differing { key, read: None }), true)
        }
        Some(ReadsInfo::RawReads(reads)) => (first_differing(&reads.kv_reads, rows)?, false),
        None => (first_differing(&[], rows)?, false),
    };
    let conflict = match differing {
        Some(Differing { key, read }) => mvcc::conflict(Space::Public(namespace), &key, read, updates, committed)?,
        None if is_summarized => ReadConflict { namespace: namespace.to_owned(), ..ReadConflict::default() },
        None => return Ok(None),
    };
    let range = RangeRead {
        start_key: range.start_key.clone(),
        end_key: range.end_key.clone(),
        end_included: !range.itr_exhausted,
        summarized: is_summarized,
    };
    Ok(Some(ReadConflict { range: Some(range), ..conflict }))
}

/// A key whose row is not as it was read.
struct Differing {
    key: Bytes,
    read: Option<kvrwset::Version>,
}

fn first_differing(reads: &[KvRead], mut rows: CurrentRows<'_>) -> Result<Option<Differing>, StoreError> {
    for read in reads {
        let row = rows.next()?;
        match row {
            // A row without version cannot have come from a range; Fabric has no outcome for it.
            Some((key, version))
                if key == read.key.as_bytes()
                    && read.version.is_some()
                    && mvcc::same_version(read.version, Some(version)) => {}
            Some((key, _)) if key < read.key.as_bytes() => return Ok(Some(Differing { key, read: None })),
            _ => {
                let key = Bytes::copy_from_slice(read.key.as_bytes());
                return Ok(Some(Differing { key, read: read.version }));
            }
        }
    }
    Ok(rows.next()?.map(|(key, _)| Differing { key, read: None }))
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

/// The key of the range that was written last. A summary does not tell which rows were
/// read; but if any differs, then the last write to the range came after the read.
/// Deletes in earlier blocks are not seen here.
fn last_written(
    range: &RangeQueryInfo,
    namespace: &str,
    updates: &Updates,
    committed: &Committed<'_>,
) -> Result<Option<Bytes>, StoreError> {
    let space = Space::Public(namespace);
    let mut last: Option<(Bytes, Version)> = None;
    let mut consider = |key: &[u8], version: Version| {
        if last.as_ref().is_none_or(|(_, newest)| *newest < version) {
            last = Some((Bytes::copy_from_slice(key), version));
        }
    };
    let end = range.end_key.as_bytes();
    let in_range = updates.range(namespace, range.start_key.as_bytes(), end);
    let end_update = updates.get(space, end).filter(|_| !range.itr_exhausted);
    for (key, update) in in_range.map(|(key, update)| (&key[..], update)).chain(end_update.map(|update| (end, update)))
    {
        // A delete of a key that was not there has changed nothing.
        if update.value.is_some() || committed.get(space, key)?.is_some() {
            consider(key, update.version);
        }
    }
    let mut rows = CurrentRows::new(range, namespace, updates, committed);
    while let Some((key, version)) = rows.next()? {
        consider(&key, version);
    }
    Ok(last.map(|(key, _)| key))
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
