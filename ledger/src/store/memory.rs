//! The store's twin in memory.
//!
//! A snapshot is a shared map; a write copies the map only while a snapshot of it lives.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::{Batch, Cursor, Snapshot, Store, StoreError, Stores};

type Map = BTreeMap<Bytes, Bytes>;

/// Stores in memory by folder. Clones share them, so a store that is opened again holds
/// what it held; [`MemoryStores::image`] keeps a copy for tests of recovery.
#[derive(Clone, Default)]
pub struct MemoryStores {
    stores: Arc<Mutex<BTreeMap<PathBuf, Arc<MemoryStore>>>>,
}

impl MemoryStores {
    /// No stores.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of all stores as they are now, independent of this one.
    pub fn image(&self) -> Self {
        let stores = self.stores.lock();
        let copies = stores.iter().map(|(folder, store)| {
            let map = RwLock::new(Arc::clone(&store.map.read()));
            (folder.clone(), Arc::new(MemoryStore { map }))
        });
        Self { stores: Arc::new(Mutex::new(copies.collect())) }
    }
}

impl Stores for MemoryStores {
    fn open(&self, folder: &Path) -> Result<Arc<dyn Store>, StoreError> {
        let mut stores = self.stores.lock();
        let store = stores.entry(folder.to_owned()).or_default();
        Ok(Arc::clone(store) as Arc<dyn Store>)
    }

    fn set_aside(&self, folder: &Path) -> Result<Option<String>, StoreError> {
        let removed = self.stores.lock().remove(folder);
        Ok(removed.map(|_| "memory".to_owned()))
    }
}

#[derive(Default)]
struct MemoryStore {
    map: RwLock<Arc<Map>>,
}

impl Store for MemoryStore {
    fn write(&self, batch: &Batch, _durable: bool) -> Result<(), StoreError> {
        let mut shared = self.map.write();
        let map = Arc::make_mut(&mut shared);
        for (key, value) in batch.changes() {
            match value {
                Some(value) => map.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)),
                None => map.remove(key),
            };
        }
        Ok(())
    }

    fn reopen(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::new(MemorySnapshot { map: Arc::clone(&self.map.read()) })
    }
}

struct MemorySnapshot {
    map: Arc<Map>,
}

impl Snapshot for MemorySnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.map.get(key).cloned())
    }

    fn range(&self, start: &[u8], end: &[u8]) -> Box<dyn Cursor> {
        let from = Bound::Included(Bytes::copy_from_slice(start));
        Box::new(MemoryCursor { map: Arc::clone(&self.map), from, end: Bytes::copy_from_slice(end) })
    }
}

struct MemoryCursor {
    map: Arc<Map>,
    from: Bound<Bytes>,
    end: Bytes,
}

impl Cursor for MemoryCursor {
    fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        let mut rest = self.map.range((self.from.clone(), Bound::Unbounded));
        let Some((key, value)) = rest.next().filter(|(key, _)| **key < self.end) else { return Ok(None) };
        self.from = Bound::Excluded(key.clone());
        Ok(Some((key.clone(), value.clone())))
    }
}
