//! Rows in key order that can be copied and then changed at little cost: copies share the
//! chunks that neither has changed.

use std::sync::Arc;

use bytes::Bytes;

use crate::store::{Cursor, StoreError};

const CHUNK_ROWS_MAX: usize = 256;

type Row = (Bytes, Bytes);

/// Rows in chunks, none of them empty.
#[derive(Clone, Default)]
pub(super) struct Rows {
    chunks: Vec<Arc<Vec<Row>>>,
    count: usize,
    bytes: usize,
}

impl Rows {
    /// The number of rows.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Bytes of all keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets a key, or removes it.
    pub(super) fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some(value) = value else { return self.remove(key) };
        let row = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        if self.chunks.is_empty() {
            self.chunks.push(Arc::default());
        }
        let at = self.chunk_of(key).min(self.chunks.len() - 1);
        self.bytes += key.len() + value.len();
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        match chunk.binary_search_by(|(other, _)| (**other).cmp(key)) {
            Ok(place) => {
                self.bytes -= key.len() + chunk[place].1.len();
                chunk[place] = row;
            }
            Err(place) => {
                chunk.insert(place, row);
                self.count += 1;
            }
        }
        if chunk.len() > CHUNK_ROWS_MAX {
            let second = chunk.split_off(CHUNK_ROWS_MAX / 2);
            self.chunks.insert(at + 1, Arc::new(second));
        }
    }

    fn remove(&mut self, key: &[u8]) {
        let at = self.chunk_of(key);
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        let Ok(place) = chunk.binary_search_by(|(other, _)| (**other).cmp(key)) else { return };
        let (key, value) = Arc::make_mut(chunk).remove(place);
        self.count -= 1;
        self.bytes -= key.len() + value.len();
        if chunk.is_empty() {
            self.chunks.remove(at);
        }
    }

    /// The first chunk that does not end before `key`.
    fn chunk_of(&self, key: &[u8]) -> usize {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|(last, _)| **last < *key))
    }

    /// Walks over the rows from `start` up to but not including `end`.
    pub(super) fn range(self: &Arc<Self>, start: &[u8], end: &[u8]) -> RowsCursor {
        let chunk = self.chunk_of(start);
        let place = self.chunks.get(chunk).map_or(0, |rows| rows.partition_point(|(key, _)| **key < *start));
        RowsCursor { rows: Arc::clone(self), chunk, place, end: end.to_vec() }
    }
}

/// A walk over rows.
pub(super) struct RowsCursor {
    rows: Arc<Rows>,
    chunk: usize,
    place: usize,
    end: Vec<u8>,
}

impl Cursor for RowsCursor {
    fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        let Some(chunk) = self.rows.chunks.get(self.chunk) else { return Ok(None) };
        let Some(row) = chunk.get(self.place).filter(|(key, _)| **key < *self.end) else { return Ok(None) };
        self.place += 1;
        if self.place == chunk.len() {
            (self.chunk, self.place) = (self.chunk + 1, 0);
        }
        Ok(Some(row.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn all(rows: &Arc<Rows>, start: &[u8], end: &[u8]) -> Vec<Row> {
        let mut cursor = rows.range(start, end);
        std::iter::from_fn(|| cursor.next().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn rows_are_those_of_a_map_and_copies_stay_as_they_are(
            changes in proptest::collection::vec((any::<u16>(), any::<bool>()), 0..4_000),
            (start, end) in (any::<u16>(), any::<u16>()),
        ) {
            let mut map = BTreeMap::new();
            let mut rows = Arc::new(Rows::default());
            let mut copy = None;
            for (number, (key, sets)) in changes.iter().enumerate() {
                let key = (key % 2_000).to_be_bytes();
                let value = sets.then(|| number.to_be_bytes());
                Arc::make_mut(&mut rows).set(&key, value.as_ref().map(|value| &value[..]));
                match value {
                    Some(value) => map.insert(key, value),
                    None => map.remove(&key),
                };
                if number == changes.len() / 2 {
                    copy = Some((Arc::clone(&rows), map.clone()));
                }
            }
            for (rows, map) in copy.into_iter().chain([(rows, map)]) {
                let bytes = map.iter().map(|(key, value)| key.len() + value.len()).sum();
                prop_assert_eq!((rows.count(), rows.bytes()), (map.len(), bytes));
                let (start, end) = (start % 2_000, end % 2_000);
                let expected: Vec<Row> = map
                    .iter()
                    .filter(|(key, _)| (start.to_be_bytes()..end.to_be_bytes()).contains(*key))
                    .map(|(key, value)| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)))
                    .collect();
                prop_assert_eq!(all(&rows, &start.to_be_bytes(), &end.to_be_bytes()), expected);
            }
        }
    }
}
