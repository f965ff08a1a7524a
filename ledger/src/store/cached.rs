//! What a store's readers ask for again and again, kept in memory in front of it: keys that
//! were read lately, and ranges whose rows come and go.
//!
//! Nothing here is ever the only copy. Each snapshot has a number, that of the last write it
//! holds; `keys` and `ranges` always stand at the newest number, and answer only those
//! snapshots for which their answer is right. After a failed write, and when the store is
//! opened again, everything is forgotten, since what the store holds then is unknown.

mod keys;
mod ranges;
mod rows;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Batch, Cursor, Snapshot, Store, StoreError};
use keys::Keys;
use ranges::{HotRange, Ranges};

/// Which keys are kept.
type Kept = fn(&[u8]) -> bool;

/// A store with keys and ranges of it in memory.
pub(crate) struct CachedStore {
    store: Arc<dyn Store>,
    cache: Arc<Cache>,
    /// The number of writes so far, failed ones included. Held while one is made, so that
    /// a snapshot is of the number that it is given.
    writes: RwLock<u64>,
}

struct Cache {
    kept: Kept,
    keys: Keys,
    ranges: Ranges,
}

impl CachedStore {
    /// Over `store`; only keys for which `kept` says so, and ranges of such, are kept.
    pub(crate) fn new(store: Arc<dyn Store>, kept: Kept) -> Self {
        let cache = Cache { kept, keys: Keys::default(), ranges: Ranges::default() };
        Self { store, cache: Arc::new(cache), writes: RwLock::new(0) }
    }
}

impl Store for CachedStore {
    fn write(&self, batch: &Batch, durable: bool) -> Result<(), StoreError> {
        let mut writes = self.writes.write();
        *writes += 1;
        let written = self.store.write(batch, durable);
        match written {
            Ok(()) => self.cache.apply(*writes, batch),
            Err(_) => self.cache.forget(*writes),
        }
        written
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut writes = self.writes.write();
        *writes += 1;
        self.cache.forget(*writes);
        self.store.reopen()
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        let number = self.writes.read();
        Arc::new(CachedSnapshot {
            snapshot: self.store.snapshot(),
            number: *number,
            hot_ranges: self.cache.ranges.hot(),
            cache: Arc::clone(&self.cache),
        })
    }
}

impl Cache {
    fn apply(&self, number: u64, batch: &Batch) {
        let changes = || batch.changes().filter(|(key, _)| (self.kept)(key));
        self.keys.apply(number, changes());
        self.ranges.apply(number, changes());
    }

    fn forget(&self, number: u64) {
        self.keys.forget(number);
        self.ranges.forget(number);
    }
}

struct CachedSnapshot {
    snapshot: Arc<dyn Snapshot>,
    number: u64,
    /// The hot ranges as they were when this snapshot was made.
    hot_ranges: Vec<HotRange>,
    cache: Arc<Cache>,
}

impl Snapshot for CachedSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if !(self.cache.kept)(key) {
            return self.snapshot.get(key);
        }
        if let Some(value) = self.cache.keys.get(self.number, key) {
            return Ok(value);
        }
        let value = self.snapshot.get(key)?;
        self.cache.keys.note(self.number, key, value.as_ref());
        Ok(value)
    }

    fn range(&self, start: &[u8], end: &[u8]) -> Box<dyn Cursor> {
        if !(self.cache.kept)(start) {
            return self.snapshot.range(start, end);
        }
        if let Some(rows) = self.cache.ranges.rows(self.number, &self.hot_ranges, start, end) {
            return Box::new(rows);
        }
        let cursor = self.snapshot.range(start, end);
        match self.cache.ranges.is_worn(start, end) {
            true => Box::new(Noting::new(cursor, self, start, end)),
            false => cursor,
        }
    }
}

/// A walk over a range that is worth keeping: its rows are noted, and kept once all of them
/// have been read.
struct Noting {
    cursor: Box<dyn Cursor>,
    /// `None` when there are too many, and after the end.
    range: Option<HotRange>,
    number: u64,
    cache: Arc<Cache>,
}

impl Noting {
    fn new(cursor: Box<dyn Cursor>, snapshot: &CachedSnapshot, start: &[u8], end: &[u8]) -> Self {
        let range = Some(HotRange::new(start, end));
        Self { cursor, range, number: snapshot.number, cache: Arc::clone(&snapshot.cache) }
    }
}

impl Cursor for Noting {
    fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        let row = self.cursor.next()?;
        match (&row, self.range.take()) {
            (Some((key, value)), Some(mut range)) => {
                range.push(key.clone(), value.clone());
                self.range = range.fits().then_some(range);
            }
            (None, Some(range)) => self.cache.ranges.keep(self.number, range),
            (_, None) => {}
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicU8, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::store::{MemoryStores, Stores};

    const WORKS: u8 = 0;
    const FAILS: u8 = 1;
    const FAILS_AFTER_WRITING: u8 = 2;

    /// A store whose writes can be made to fail, before or after they took effect.
    struct Failing {
        store: Arc<dyn Store>,
        mode: AtomicU8,
    }

    impl Store for Failing {
        fn write(&self, batch: &Batch, durable: bool) -> Result<(), StoreError> {
            let mode = self.mode.load(Ordering::Relaxed);
            if mode != FAILS {
                self.store.write(batch, durable)?;
            }
            match mode {
                WORKS => Ok(()),
                _ => Err(StoreError::NoSpace("as told".to_owned())),
            }
        }

        fn reopen(&self) -> Result<(), StoreError> {
            self.store.reopen()
        }

        fn snapshot(&self) -> Arc<dyn Snapshot> {
            self.store.snapshot()
        }
    }

    fn stores() -> (Arc<Failing>, CachedStore) {
        let store = MemoryStores::new().open(Path::new("derived")).unwrap();
        let failing = Arc::new(Failing { store, mode: AtomicU8::new(WORKS) });
        let is_kept = |key: &[u8]| key.first() == Some(&b'd');
        (Arc::clone(&failing), CachedStore::new(failing, is_kept))
    }

    fn key(number: u32) -> Vec<u8> {
        format!("{}{number:06}", if number.is_multiple_of(9) { 'e' } else { 'd' }).into_bytes()
    }

    fn rows(snapshot: &dyn Snapshot, start: &[u8], end: &[u8]) -> Vec<(Bytes, Bytes)> {
        let mut cursor = snapshot.range(start, end);
        std::iter::from_fn(|| cursor.next().unwrap()).collect()
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// Fills or empties a run of keys.
        Write {
            first: u32,
            count: u32,
            deletes: bool,
            mode: u8,
        },
        Read {
            first: u32,
            count: u32,
        },
        Snapshot,
        Reopen,
    }

    fn step() -> impl Strategy<Value = Step> {
        let run = || (0_u32..1_500, 1_u32..900);
        let mode = prop_oneof![8 => Just(WORKS), 1 => Just(FAILS), 1 => Just(FAILS_AFTER_WRITING)];
        prop_oneof![
            6 => (run(), any::<bool>(), mode)
                .prop_map(|((first, count), deletes, mode)| Step::Write { first, count, deletes, mode }),
            6 => run().prop_map(|(first, count)| Step::Read { first, count }),
            2 => Just(Step::Snapshot),
            1 => Just(Step::Reopen),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn every_snapshot_reads_what_the_store_below_holds(steps in proptest::collection::vec(step(), 1..60)) {
            let (failing, cached) = stores();
            let mut snapshots = vec![(cached.snapshot(), failing.snapshot())];
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Write { first, count, deletes, mode } => {
                        let mut batch = Batch::default();
                        for place in first..first + count {
                            match deletes {
                                true => batch.delete(key(place)),
                                false => batch.put(key(place), number.to_string().into_bytes()),
                            }
                        }
                        failing.mode.store(mode, Ordering::Relaxed);
                        prop_assert_eq!(cached.write(&batch, false).is_ok(), mode == WORKS);
                        failing.mode.store(WORKS, Ordering::Relaxed);
                    }
                    Step::Read { first, count } => {
                        let (start, end) = (key(first), key(first + count));
                        for (ours, plain) in &snapshots {
                            for place in (first..first + count).step_by(7).map(key) {
                                prop_assert_eq!(ours.get(&place).unwrap(), plain.get(&place).unwrap());
                            }
                            let of_state = (b"d".to_vec(), b"e".to_vec());
                            for (start, end) in [(&start, &end), (&of_state.0, &of_state.1)] {
                                prop_assert_eq!(rows(&**ours, start, end), rows(&**plain, start, end));
                            }
                        }
                    }
                    Step::Snapshot => snapshots.push((cached.snapshot(), failing.snapshot())),
                    Step::Reopen => cached.reopen().unwrap(),
                }
                if snapshots.len() > 3 {
                    snapshots.remove(0);
                }
            }
        }
    }

    #[test]
    fn a_range_in_which_many_keys_were_deleted_is_kept_and_follows_writes() {
        let (_, cached) = stores();
        let (mut fill, mut empty) = (Batch::default(), Batch::default());
        for place in 0..1_000 {
            fill.put(format!("d{place:04}").into_bytes(), b"v".to_vec());
            empty.delete(format!("d{place:04}").into_bytes());
        }
        for batch in [&fill, &empty, &fill] {
            cached.write(batch, false).unwrap();
        }
        let before = cached.snapshot();
        let is_kept = |snapshot: &Arc<dyn Snapshot>, start: &[u8], end: &[u8]| {
            rows(snapshot.as_ref(), start, end);
            cached.cache.ranges.hot().iter().any(|range| !range.is_empty())
        };
        assert!(is_kept(&before, b"d0000", b"d0900"));
        let mut change = Batch::default();
        change.put(b"d0500a".to_vec(), b"new".to_vec());
        change.delete(b"d0501".to_vec());
        cached.write(&change, false).unwrap();
        let after = cached.snapshot();
        let found = rows(after.as_ref(), b"d0500", b"d0503");
        let keys: Vec<&[u8]> = found.iter().map(|(key, _)| &key[..]).collect();
        assert_eq!(keys, [&b"d0500"[..], b"d0500a", b"d0502"]);
        assert_eq!(rows(before.as_ref(), b"d0500", b"d0503").len(), 3);
        assert_eq!(rows(before.as_ref(), b"d0500", b"d0503")[1].0, Bytes::from_static(b"d0501"));
    }
}
