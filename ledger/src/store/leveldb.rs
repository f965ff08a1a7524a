//! C++ LevelDB behind the store's trait.
//!
//! All `unsafe` of this workspace stands here. Checks are on: with LevelDB's defaults a
//! damaged table may give a wrong value without an error, so `paranoid_checks` at opening
//! and `verify_checksums` at every read.

#![expect(unsafe_code, reason = "LevelDB is a C++ library with a C interface")]

use std::ffi::{CStr, CString, c_char, c_uchar};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use leveldb_sys as ffi;
use parking_lot::RwLock;

use super::{Batch, Cursor, Snapshot, Store, StoreError, Stores};

const BLOOM_BITS_PER_KEY: i32 = 10;
const OPEN_FILES_MAX: i32 = 500;
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
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::NoSpace(text),
        _ => StoreError::Failed(text),
    }
}

/// The open database and what it needs for as long as it is open.
struct Database {
    handle: *mut ffi::leveldb_t,
    options: *mut ffi::leveldb_options_t,
    filter: *mut ffi::leveldb_filterpolicy_t,
    cache: *mut ffi::leveldb_cache_t,
}

// SAFETY: LevelDB documents its database handle as safe to use from several threads at
// once; the other pointers are only touched by `drop`.
unsafe impl Send for Database {}
// SAFETY: as above.
unsafe impl Sync for Database {}

impl Database {
    fn open(folder: &Path, sizes: &LevelDbStores) -> Result<Self, StoreError> {
        let path = CString::new(folder.as_os_str().as_bytes())
            .map_err(|_| StoreError::Failed(format!("{}: the path holds a zero byte", folder.display())))?;
        // SAFETY: the options, filter and cache are created here, set on the options before
        // they are used, and released once, by `drop`, after the database is closed.
        let mut database = unsafe {
            let options = ffi::leveldb_options_create();
            let filter = ffi::leveldb_filterpolicy_create_bloom(BLOOM_BITS_PER_KEY);
            let cache = ffi::leveldb_cache_create_lru(sizes.block_cache_bytes);
            ffi::leveldb_options_set_create_if_missing(options, 1);
            ffi::leveldb_options_set_paranoid_checks(options, 1);
            ffi::leveldb_options_set_filter_policy(options, filter);
            ffi::leveldb_options_set_cache(options, cache);
            ffi::leveldb_options_set_write_buffer_size(options, sizes.write_buffer_bytes);
            ffi::leveldb_options_set_max_open_files(options, OPEN_FILES_MAX);
            ffi::leveldb_options_set_compression(options, ffi::Compression::No);
            Self { handle: ptr::null_mut(), options, filter, cache }
        };
        let mut error = ptr::null_mut();
        // SAFETY: options and path live through the call; `error` receives a C string or stays null.
        database.handle = unsafe { ffi::leveldb_open(database.options, path.as_ptr(), &mut error) };
        outcome(error)?;
        Ok(database)
    }

    fn write(&self, batch: &Batch, durable: bool) -> Result<(), StoreError> {
        let mut error = ptr::null_mut();
        // SAFETY: batch and options are made and released here; LevelDB copies keys and
        // values while they are borrowed.
        unsafe {
            let changes = ffi::leveldb_writebatch_create();
            for (key, value) in batch.changes() {
                match value {
                    Some(value) => {
                        ffi::leveldb_writebatch_put(changes, chars(key), key.len(), chars(value), value.len());
                    }
                    None => ffi::leveldb_writebatch_delete(changes, chars(key), key.len()),
                }
            }
            let options = ffi::leveldb_writeoptions_create();
            ffi::leveldb_writeoptions_set_sync(options, c_uchar::from(durable));
            ffi::leveldb_write(self.handle, options, changes, &mut error);
            ffi::leveldb_writeoptions_destroy(options);
            ffi::leveldb_writebatch_destroy(changes);
        }
        outcome(error)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: snapshots and cursors hold an Arc of this, so none is left; every pointer
        // was created by `open` and is released once.
        unsafe {
            if !self.handle.is_null() {
                ffi::leveldb_close(self.handle);
            }
            ffi::leveldb_options_destroy(self.options);
            ffi::leveldb_cache_destroy(self.cache);
            ffi::leveldb_filterpolicy_destroy(self.filter);
        }
    }
}

struct LevelDbSnapshot {
    database: Arc<Database>,
    snapshot: *mut ffi::leveldb_snapshot_t,
    options: *mut ffi::leveldb_readoptions_t,
}

// SAFETY: a snapshot is a number inside LevelDB and never changes; read options are only
// read after `new`; LevelDB's reads may run on several threads at once.
unsafe impl Send for LevelDbSnapshot {}
// SAFETY: as above.
unsafe impl Sync for LevelDbSnapshot {}

impl LevelDbSnapshot {
    fn new(database: Arc<Database>) -> Self {
        // SAFETY: the database is open as long as the Arc lives; `drop` releases both once.
        let (snapshot, options) = unsafe {
            let snapshot = ffi::leveldb_create_snapshot(database.handle);
            let options = ffi::leveldb_readoptions_create();
            ffi::leveldb_readoptions_set_verify_checksums(options, 1);
            ffi::leveldb_readoptions_set_snapshot(options, snapshot);
            (snapshot, options)
        };
        Self { database, snapshot, options }
    }
}

impl Drop for LevelDbSnapshot {
    fn drop(&mut self) {
        // SAFETY: both were created by `new` on this database, which is still open.
        unsafe {
            ffi::leveldb_readoptions_destroy(self.options);
            ffi::leveldb_release_snapshot(self.database.handle, self.snapshot);
        }
    }
}

impl Snapshot for LevelDbSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let (mut length, mut error) = (0, ptr::null_mut());
        // SAFETY: the key is borrowed through the call; the answer is null or `length` bytes
        // that belong to us, are copied at once and then released.
        let value = unsafe {
            let value =
                ffi::leveldb_get(self.database.handle, self.options, chars(key), key.len(), &mut length, &mut error);
            let copy = (!value.is_null()).then(|| Bytes::copy_from_slice(slice(value, length)));
            ffi::leveldb_free(value.cast());
            copy
        };
        outcome(error)?;
        Ok(value)
    }

    fn range(&self, start: &[u8], end: &[u8]) -> Box<dyn Cursor> {
        // SAFETY: the iterator takes the snapshot's number from the options at creation and
        // needs only the database afterwards, which its Arc keeps open.
        let iterator = unsafe {
            let iterator = ffi::leveldb_create_iterator(self.database.handle, self.options);
            ffi::leveldb_iter_seek(iterator, chars(start), start.len());
            iterator
        };
        Box::new(LevelDbCursor { _database: Arc::clone(&self.database), iterator, end: end.to_vec() })
    }
}

struct LevelDbCursor {
    iterator: *mut ffi::leveldb_iterator_t,
    end: Vec<u8>,
    /// Dropped after the iterator, which `drop` releases.
    _database: Arc<Database>,
}

// SAFETY: an iterator may move between threads as long as one uses it at a time, which
// `&mut self` ensures.
unsafe impl Send for LevelDbCursor {}

impl LevelDbCursor {
    /// The iterator steps over blocks that it cannot read and goes on behind them, so its
    /// error has to be asked for before every row and not only at the end.
    fn require_no_error(&self) -> Result<(), StoreError> {
        let mut error: *mut c_char = ptr::null_mut();
        // SAFETY: the iterator lives until `drop`; `error` receives a C string or stays null.
        unsafe { ffi::leveldb_iter_get_error(self.iterator, (&raw mut error).cast()) };
        outcome(error)
    }
}

impl Cursor for LevelDbCursor {
    fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        self.require_no_error()?;
        // SAFETY: the iterator lives until `drop`; key and value are valid until it moves
        // and are copied before. The binding says `*const` for lengths that LevelDB writes.
        unsafe {
            if ffi::leveldb_iter_valid(self.iterator) == 0 {
                return Ok(None);
            }
            let (mut key_length, mut value_length) = (0_usize, 0_usize);
            let key = ffi::leveldb_iter_key(self.iterator, &raw mut key_length);
            let key = slice(key, key_length);
            if key >= self.end.as_slice() {
                return Ok(None);
            }
            let value = ffi::leveldb_iter_value(self.iterator, &raw mut value_length);
            let value = slice(value, value_length);
            let row = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            ffi::leveldb_iter_next(self.iterator);
            Ok(Some(row))
        }
    }
}

impl Drop for LevelDbCursor {
    fn drop(&mut self) {
        // SAFETY: created by `range`, released once, before the database's Arc.
        unsafe { ffi::leveldb_iter_destroy(self.iterator) };
    }
}

fn chars(bytes: &[u8]) -> *const c_char {
    bytes.as_ptr().cast()
}

/// # Safety
/// `start` must point to `length` readable bytes that stay as they are through `'a`.
unsafe fn slice<'a>(start: *const c_char, length: usize) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(start.cast(), length) }
}

/// Turns an error string of LevelDB into an error and releases it; null is no error.
fn outcome(error: *mut c_char) -> Result<(), StoreError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: LevelDB returns a zero-terminated string that belongs to us.
    let text = unsafe {
        let text = CStr::from_ptr(error).to_string_lossy().into_owned();
        ffi::leveldb_free(error.cast());
        text
    };
    Err(classified(text))
}

fn classified(text: String) -> StoreError {
    if text.contains("No space left on device") || text.contains("Disk quota exceeded") {
        StoreError::NoSpace(text)
    } else if text.contains("lock") && (text.contains("already held") || text.contains("temporarily unavailable")) {
        StoreError::InUse(text)
    } else if text.starts_with("Corruption") || text.starts_with("Invalid argument") || text.starts_with("NotFound") {
        StoreError::Damaged(text)
    } else {
        StoreError::Failed(text)
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
