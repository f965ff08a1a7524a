//! The calls into LevelDB, each with what makes it sound.
//!
//! All `unsafe` of this workspace stands here. Checks are on: with LevelDB's defaults a
//! damaged table may give a wrong value without an error, so `paranoid_checks` at opening
//! and `verify_checksums` at every read.

#![expect(unsafe_code, reason = "LevelDB is a C++ library with a C interface")]

use std::ffi::{CStr, CString, c_char, c_uchar};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use bytes::Bytes;
use leveldb_sys as ffi;

use super::LevelDbStores;
use crate::store::{Batch, Cursor, Snapshot, StoreError};

const BLOOM_BITS_PER_KEY: i32 = 10;
const OPEN_FILES_MAX: i32 = 500;

/// The open database and what it needs for as long as it is open.
pub(super) struct Database {
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
    pub(super) fn open(folder: &Path, sizes: &LevelDbStores) -> Result<Self, StoreError> {
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

    pub(super) fn write(&self, batch: &Batch, durable: bool) -> Result<(), StoreError> {
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

/// A snapshot; it keeps the database open.
pub(super) struct LevelDbSnapshot {
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
    pub(super) fn new(database: Arc<Database>) -> Self {
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

/// The checksum of LevelDB's blocks and log records, which its own code computes in tables;
/// the header that `build.rs` writes leads here.
// SAFETY: nothing else defines this name.
#[unsafe(no_mangle)]
extern "C" fn ripstop_crc32c(crc: u32, bytes: *const u8, count: usize) -> u32 {
    if count == 0 {
        return crc;
    }
    // SAFETY: LevelDB passes `count` readable bytes that stay as they are through the call.
    crc32c::crc32c_append(crc, unsafe { std::slice::from_raw_parts(bytes, count) })
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
    if ["No space left on device", "Disk quota exceeded", "File too large"].iter().any(|full| text.contains(full)) {
        StoreError::NoSpace(text)
    } else if text.contains("lock") && (text.contains("already held") || text.contains("temporarily unavailable")) {
        StoreError::InUse(text)
    } else if text.starts_with("Corruption") || text.starts_with("Invalid argument") || text.starts_with("NotFound") {
        StoreError::Damaged(text)
    } else {
        StoreError::Failed(text)
    }
}
