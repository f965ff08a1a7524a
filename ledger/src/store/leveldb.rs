//! C++ LevelDB behind the store's trait.
//!
//! Folders, and what to do when the disk was full: LevelDB then stays in error until it is
//! opened again. The calls into C++ stand in `database`.

mod database;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Batch, Cursor, Snapshot, Store, StoreError, Stores};
use database::{Database, LevelDbSnapshot};

/// How long a reopening waits for snapshots and cursors to be let go of.
const WAIT_FOR_READERS: Duration = Duration::from_secs(1);

/// Opens LevelDB stores with these memory sizes each.
#[derive(Debug, Clone, Copy)]
pub struct LevelDbStores {
    /// Bytes of the cache of table blocks.
    pub block_cache_bytes: usize,
    /// Bytes gathered in memory before a table is written.
    pub write_buffer_bytes: usize,
}

impl Default for LevelDbStores {
    fn default() -> Self {
        Self { block_cache_bytes: 64 << 20, write_buffer_bytes: 16 << 20 }
    }
}

impl Stores for LevelDbStores {
    fn open(&self, folder: &Path) -> Result<Arc<dyn Store>, StoreError> {
        fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        let database = Some(Arc::new(Database::open(folder, self)?));
        Ok(Arc::new(LevelDb { sizes: *self, folder: folder.to_owned(), database: RwLock::new(database) }))
    }

    fn set_aside(&self, folder: &Path) -> Result<Option<String>, StoreError> {
        let Some(target) = free_name_beside(folder) else { return Ok(None) };
        fs::rename(folder, &target).map_err(|error| failed(folder, &error))?;
        Ok(Some(target.display().to_string()))
    }
}

/// `FOLDER.set-aside-N` with the first N that is free; `None` when FOLDER does not exist.
fn free_name_beside(folder: &Path) -> Option<PathBuf> {
    let name = folder.exists().then(|| folder.file_name())??.to_string_lossy().into_owned();
    (1_u32..).map(|number| folder.with_file_name(format!("{name}.set-aside-{number}"))).find(|path| !path.exists())
}

struct LevelDb {
    sizes: LevelDbStores,
    folder: PathBuf,
    /// `None` when a reopening failed half-way: then nothing can be read or written.
    database: RwLock<Option<Arc<Database>>>,
}

impl LevelDb {
    /// Whether there is room for what opening writes: tables of two full write buffers.
    fn require_space(&self) -> Result<(), StoreError> {
        let path = self.folder.join("space-probe");
        let mebibytes = ((2 * self.sizes.write_buffer_bytes) >> 20) + 4;
        let probed = fs::File::create(&path).and_then(|mut file| {
            (0..mebibytes).try_for_each(|_| file.write_all(&[0; 1 << 20]))?;
            file.sync_all()
        });
        let removed = fs::remove_file(&path);
        probed.and(removed).map_err(|error| failed(&self.folder, &error))
    }
}

impl Store for LevelDb {
    fn write(&self, batch: &Batch, durable: bool) -> Result<(), StoreError> {
        self.database.read().as_ref().ok_or_else(closed)?.write(batch, durable)
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        match &*self.database.read() {
            Some(database) => Arc::new(LevelDbSnapshot::new(Arc::clone(database))),
            None => Arc::new(Closed),
        }
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.require_space()?;
        let mut database = self.database.write();
        let begin = Instant::now();
        while database.as_ref().is_some_and(|database| Arc::strong_count(database) > 1) {
            if begin.elapsed() > WAIT_FOR_READERS {
                return Err(StoreError::InUse("readers still hold its snapshots".to_owned()));
            }
            thread::sleep(Duration::from_millis(1));
        }
        *database = None;
        *database = Some(Arc::new(Database::open(&self.folder, &self.sizes)?));
        Ok(())
    }
}

/// The snapshot of a store that is not open.
struct Closed;

impl Snapshot for Closed {
    fn get(&self, _key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Err(closed())
    }

    fn range(&self, _start: &[u8], _end: &[u8]) -> Box<dyn Cursor> {
        Box::new(Closed)
    }
}

impl Cursor for Closed {
    fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        Err(closed())
    }
}

fn closed() -> StoreError {
    StoreError::NoSpace("it could not be opened again after the disk was full".to_owned())
}

fn failed(folder: &Path, error: &io::Error) -> StoreError {
    let text = format!("{}: {error}", folder.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => StoreError::NoSpace(text),
        _ => StoreError::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_outlives_its_snapshot_and_sees_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let store = LevelDbStores::default().open(folder.path()).unwrap();
        let mut batch = Batch::default();
        for key in ["a", "b", "c"] {
            batch.put(key.into(), key.to_uppercase().into());
        }
        store.write(&batch, true).unwrap();
        let mut cursor = store.snapshot().range(b"a", b"c");
        let mut later = Batch::default();
        later.delete(b"b".to_vec());
        store.write(&later, false).unwrap();
        drop(store);
        assert_eq!(cursor.next().unwrap().unwrap().1, Bytes::from_static(b"A"));
        assert_eq!(cursor.next().unwrap().unwrap().0, Bytes::from_static(b"b"));
        assert!(cursor.next().unwrap().is_none());
        assert!(cursor.next().unwrap().is_none());
    }

    #[test]
    fn reopening_keeps_the_content_and_needs_all_snapshots_back() {
        let folder = tempfile::tempdir().unwrap();
        let stores = LevelDbStores { write_buffer_bytes: 1 << 20, ..LevelDbStores::default() };
        let store = stores.open(folder.path()).unwrap();
        let mut batch = Batch::default();
        batch.put(b"k".to_vec(), b"v".to_vec());
        store.write(&batch, false).unwrap();
        let held = store.snapshot();
        assert!(matches!(store.reopen(), Err(StoreError::InUse(_))));
        assert_eq!(held.get(b"k").unwrap(), Some(Bytes::from_static(b"v")));
        drop(held);
        store.reopen().unwrap();
        assert_eq!(store.snapshot().get(b"k").unwrap(), Some(Bytes::from_static(b"v")));
        store.write(&batch, true).unwrap();
    }

    #[test]
    fn a_second_handle_is_refused_as_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let stores = LevelDbStores::default();
        let _first = stores.open(folder.path()).unwrap();
        assert!(matches!(stores.open(folder.path()), Err(StoreError::InUse(_))));
    }

    #[test]
    fn a_damaged_database_says_so_and_can_be_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("derived");
        let stores = LevelDbStores::default();
        drop(stores.open(&path).unwrap());
        fs::write(path.join("CURRENT"), "MANIFEST-999999\n").unwrap();
        let error = stores.open(&path).err().unwrap();
        assert!(matches!(error, StoreError::Damaged(_) | StoreError::Failed(_)), "{error}");
        assert!(stores.set_aside(&path).unwrap().unwrap().ends_with("derived.set-aside-1"));
        stores.open(&path).unwrap();
    }
}
