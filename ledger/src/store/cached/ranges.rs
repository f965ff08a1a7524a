//! Ranges whose rows are inserted, read and deleted again and again, whole and in memory.
//!
//! LevelDB leaves a mark for each deleted key until its compaction gets there, and a walk
//! over the range passes all of these marks: after a hundred rounds it is many times slower
//! than over the rows that are left. So deletes are noted; a range in which many keys were
//! deleted is kept when it is next read to its end, and follows every write from then on.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::rows::{Rows, RowsCursor};

/// Deletes that make a range worth keeping.
const DELETES_WORN: usize = 256;
/// Deleted keys that are noted; when there are more, noting begins anew.
const DELETES_NOTED_MAX: usize = 1 << 16;
/// The longest key that is noted.
const KEY_BYTES_NOTED_MAX: usize = 256;
const RANGES_MAX: usize = 16;
/// Bounds of one range.
const ROWS_MAX: usize = 20_000;
const BYTES_MAX: usize = 4 << 20;

/// All rows from `start` up to but not including `end`, at some number of writes.
#[derive(Clone)]
pub(super) struct HotRange {
    start: Bytes,
    end: Bytes,
    rows: Arc<Rows>,
}

impl HotRange {
    pub(super) fn new(start: &[u8], end: &[u8]) -> Self {
        Self { start: Bytes::copy_from_slice(start), end: Bytes::copy_from_slice(end), rows: Arc::default() }
    }

    /// Adds a row that was found.
    pub(super) fn push(&mut self, key: Bytes, value: Bytes) {
        Arc::make_mut(&mut self.rows).set(&key, Some(&value));
    }

    /// Whether the range is within the bounds.
    pub(super) fn fits(&self) -> bool {
        self.rows.count() <= ROWS_MAX && self.rows.bytes() <= BYTES_MAX
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.rows.count() == 0
    }

    fn covers(&self, start: &[u8], end: &[u8]) -> bool {
        *self.start <= *start && *end <= *self.end
    }

    fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && *key < *self.end
    }
}

#[derive(Default)]
pub(super) struct Ranges(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The newest write.
    number: u64,
    /// As of that write, oldest first.
    hot: Vec<HotRange>,
    deleted: BTreeSet<Box<[u8]>>,
}

impl Ranges {
    /// The hot ranges as of the newest write.
    pub(super) fn hot(&self) -> Vec<HotRange> {
        self.0.lock().hot.clone()
    }

    /// The rows of a range in the snapshot of this number, which was made when `hot_then`
    /// were the hot ranges.
    pub(super) fn rows(&self, number: u64, hot_then: &[HotRange], start: &[u8], end: &[u8]) -> Option<RowsCursor> {
        let inner = self.0.lock();
        let hot = if inner.number == number { &inner.hot[..] } else { hot_then };
        hot.iter().find(|range| range.covers(start, end)).map(|range| range.rows.range(start, end))
    }

    /// Whether many keys of a range were deleted.
    pub(super) fn is_worn(&self, start: &[u8], end: &[u8]) -> bool {
        let inner = self.0.lock();
        start < end
            && inner.deleted.len() >= DELETES_WORN
            && inner
                .deleted
                .range::<[u8], _>((std::ops::Bound::Included(start), std::ops::Bound::Excluded(end)))
                .nth(DELETES_WORN - 1)
                .is_some()
    }

    /// Keeps a range that was read from the snapshot of this number, unless there have been
    /// writes since.
    pub(super) fn keep(&self, number: u64, range: HotRange) {
        let mut inner = self.0.lock();
        if inner.number == number {
            inner.hot.retain(|other| !range.covers(&other.start, &other.end));
            if inner.hot.len() == RANGES_MAX {
                inner.hot.remove(0);
            }
            inner.hot.push(range);
        }
    }

    /// Follows a write.
    pub(super) fn apply<'a>(&self, number: u64, changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) {
        let mut inner = self.0.lock();
        inner.number = number;
        for (key, value) in changes {
            for range in inner.hot.iter_mut().filter(|range| range.contains(key)) {
                Arc::make_mut(&mut range.rows).set(key, value);
            }
            if value.is_none() && key.len() <= KEY_BYTES_NOTED_MAX {
                inner.deleted.insert(key.into());
            }
        }
        inner.hot.retain(HotRange::fits);
        if inner.deleted.len() > DELETES_NOTED_MAX {
            inner.deleted.clear();
        }
    }

    /// Forgets all rows.
    pub(super) fn forget(&self, number: u64) {
        let mut inner = self.0.lock();
        inner.number = number;
        inner.hot.clear();
    }
}
