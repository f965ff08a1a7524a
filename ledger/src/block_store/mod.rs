//! The chain of blocks on disk: the ground truth that everything else is derived from.
//!
//! Records are only ever appended, each synced before [`BlockStore::append`] returns, in
//! segments of bounded size. Peers and orderers use the same store. It knows nothing of
//! what blocks mean: no codes, no state, no signatures.
//!
//! Formats: a record is drawn in `record`, segments and their offsets in `segment`; both
//! also in docs/formats.md. What a crash may leave, and what is damage, is told in `scan`.

mod error;
mod record;
mod scan;
mod segment;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use ripstop_proto::common::Block;
use ripstop_proto::ripstop::v1::BlockRecord;

use crate::files::{File, FileError, Files, Lock};
pub use error::BlockStoreError;
pub use record::Encoding;
use record::Header;
use segment::Segment;

/// How a block store writes.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How record bodies are written; both encodings are always read.
    pub encoding: Encoding,
    /// A segment that has reached this size is followed by a new one.
    pub segment_bytes_max: u64,
    /// Blocks below this number are known to have been stored. If they are unreadable at
    /// opening, that is damage and never a torn tail.
    pub known_height: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { encoding: Encoding::Zstd, segment_bytes_max: 64 << 20, known_height: 0 }
    }
}

/// An append-only store of block records, numbered from 0 without gaps.
pub struct BlockStore {
    files: Arc<dyn Files>,
    folder: PathBuf,
    settings: Settings,
    segments: RwLock<Segments>,
    writer: Mutex<Writer>,
    torn_bytes: u64,
    _lock: Lock,
}

/// What becomes of the bytes that a crash left after the last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TornTail {
    Cut,
    /// They stay, and nothing is written to the store.
    Keep,
}

struct Segments {
    full: Vec<Segment>,
    newest: Segment,
    newest_file: Arc<dyn File>,
}

/// Whether appending may go on.
enum Writer {
    Ready,
    /// A write failed for lack of space: unfinished bytes may stand after the last record.
    Unclean,
    /// A write or sync failed: nothing may be written before the next start.
    Ended,
    /// The store was opened to be looked at.
    ReadOnly,
}

impl BlockStore {
    /// Opens the store in `folder`, creating an empty one where there is none.
    ///
    /// # Errors
    /// [`BlockStoreError::Damaged`] or [`BlockStoreError::MissingSegment`] when durable
    /// blocks cannot be read; file errors.
    pub fn open(files: Arc<dyn Files>, folder: impl AsRef<Path>) -> Result<Self, BlockStoreError> {
        Self::open_with(files, folder, Settings::default())
    }

    /// Like [`BlockStore::open`], with settings.
    ///
    /// # Errors
    /// As [`BlockStore::open`].
    pub fn open_with(
        files: Arc<dyn Files>,
        folder: impl AsRef<Path>,
        settings: Settings,
    ) -> Result<Self, BlockStoreError> {
        let lock = Self::lock(files.as_ref(), folder.as_ref())?;
        Self::open_locked(files, folder, settings, lock)
    }

    /// Opens a store as it is: nothing is created, cut or appended.
    ///
    /// # Errors
    /// As [`BlockStore::open`]; [`BlockStoreError::NoBlocks`] where there is no store.
    pub fn open_read_only(files: Arc<dyn Files>, folder: impl AsRef<Path>) -> Result<Self, BlockStoreError> {
        let folder = folder.as_ref().to_owned();
        if !files.list(&folder)?.iter().any(|name| segment::first_number_of(name).is_some()) {
            return Err(BlockStoreError::NoBlocks { folder });
        }
        let lock = Self::lock(files.as_ref(), &folder)?;
        let (segments, torn_bytes) = open_segments(files.as_ref(), &folder, 0, TornTail::Keep)?;
        Ok(Self {
            files,
            folder,
            settings: Settings::default(),
            segments: RwLock::new(segments),
            writer: Mutex::new(Writer::ReadOnly),
            torn_bytes,
            _lock: lock,
        })
    }

    /// Takes the store in `folder` for this handle alone; the folder is created if missing.
    pub(crate) fn lock(files: &dyn Files, folder: &Path) -> Result<Lock, FileError> {
        files.create_folder(folder)?;
        files.lock(&folder.join("lock"))
    }

    /// Like [`BlockStore::open_with`], by whoever has locked the folder.
    pub(crate) fn open_locked(
        files: Arc<dyn Files>,
        folder: impl AsRef<Path>,
        settings: Settings,
        lock: Lock,
    ) -> Result<Self, BlockStoreError> {
        let folder = folder.as_ref().to_owned();
        let (segments, torn_bytes) = open_segments(files.as_ref(), &folder, settings.known_height, TornTail::Cut)?;
        Ok(Self {
            files,
            folder,
            settings,
            segments: RwLock::new(segments),
            writer: Mutex::new(Writer::Ready),
            torn_bytes,
            _lock: lock,
        })
    }

    /// Bytes after the last record that were found at opening: what a crash left of an
    /// append. They have been cut, unless the store was opened for reading only.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// The number of blocks, which is the number of the next one.
    pub fn height(&self) -> u64 {
        self.segments.read().newest.next_number()
    }

    /// Appends a record. When this returns, the record is durable and readable.
    ///
    /// # Errors
    /// When the block is not the next one, there is no space (nothing is stored, try
    /// again), or a write or sync fails (the process must end).
    pub fn append(&self, record: &BlockRecord) -> Result<(), BlockStoreError> {
        self.append_all(std::slice::from_ref(record))
    }

    /// Appends several records with one sync. All of them are durable when this returns;
    /// after a crash meanwhile, the first few may be.
    ///
    /// # Errors
    /// As [`BlockStore::append`]; none is stored then.
    pub fn append_all(&self, records: &[BlockRecord]) -> Result<(), BlockStoreError> {
        let mut writer = self.writer.lock();
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(records.len());
        for ((number, record), index) in (self.height()..).zip(records).zip(0_u64..) {
            require_number(record, number)?;
            let place = u16::try_from(index).unwrap_or(u16::MAX);
            let encoded = record::encode(number, place, record, self.settings.encoding)
                .map_err(|reason| BlockStoreError::Unwritable { number, reason: reason.to_string() })?;
            bytes.extend_from_slice(&encoded);
            ends.push(bytes.len() as u64);
        }
        let outcome = self.write(&mut writer, &bytes);
        *writer = match &outcome {
            Ok(()) => Writer::Ready,
            Err(BlockStoreError::ReadOnly) => Writer::ReadOnly,
            Err(error) if error.is_no_space() => Writer::Unclean,
            Err(_) => Writer::Ended,
        };
        outcome?;
        let newest = &mut self.segments.write().newest;
        let start = newest.end;
        for end in ends {
            newest.offsets.push(newest.end);
            newest.end = start + end;
        }
        Ok(())
    }

    /// The record of a block; `None` at or above the height.
    ///
    /// # Errors
    /// [`BlockStoreError::Damaged`] when its bytes are not those that were written.
    pub fn record(&self, number: u64) -> Result<Option<BlockRecord>, BlockStoreError> {
        let Some((path, file, offset, length)) = self.place(number)? else { return Ok(None) };
        let bytes = bytes::Bytes::from(file.read_at(offset, length)?);
        let record = Header::read(&bytes).and_then(|header| match header.number == number {
            true => header.decode(bytes.slice(record::HEADER_BYTES..)),
            false => Err(record::RecordError::Number(header.number)),
        });
        record.map(Some).map_err(|reason| BlockStoreError::Damaged { path, offset, number, reason: reason.to_string() })
    }

    /// A block; `None` at or above the height.
    ///
    /// # Errors
    /// As [`BlockStore::record`].
    pub fn block(&self, number: u64) -> Result<Option<Block>, BlockStoreError> {
        Ok(self.record(number)?.and_then(|record| record.block))
    }

    /// The newest block; `None` in an empty store.
    ///
    /// # Errors
    /// As [`BlockStore::record`].
    pub fn last_block(&self) -> Result<Option<Block>, BlockStoreError> {
        match self.height().checked_sub(1) {
            Some(number) => self.block(number),
            None => Ok(None),
        }
    }

    fn write(&self, writer: &mut Writer, bytes: &[u8]) -> Result<(), BlockStoreError> {
        match writer {
            Writer::Ready => {}
            Writer::Unclean => self.cut_unfinished()?,
            Writer::Ended => return Err(BlockStoreError::Ended),
            Writer::ReadOnly => return Err(BlockStoreError::ReadOnly),
        }
        if self.segments.read().newest.end >= self.settings.segment_bytes_max {
            self.begin_segment()?;
        }
        let file = Arc::clone(&self.segments.read().newest_file);
        if let Err(error) = file.append(bytes) {
            if error.is_no_space() {
                self.cut_unfinished()?;
            }
            return Err(error.into());
        }
        Ok(file.sync()?)
    }

    /// Takes away what a failed append left after the last record.
    fn cut_unfinished(&self) -> Result<(), BlockStoreError> {
        let segments = self.segments.read();
        segments.newest_file.truncate(segments.newest.end)?;
        Ok(segments.newest_file.sync()?)
    }

    fn begin_segment(&self) -> Result<(), BlockStoreError> {
        let full = self.segments.read().newest.clone();
        if let Err(error) = full.write_offsets(self.files.as_ref(), &self.folder)
            && error.must_end()
        {
            return Err(error);
        }
        let newest = Segment::empty(full.next_number());
        let newest_file = begin_file(self.files.as_ref(), &self.folder, &newest)?;
        let mut segments = self.segments.write();
        segments.full.push(full);
        segments.newest = newest;
        segments.newest_file = newest_file;
        Ok(())
    }

    /// Where a record lies: file, offset, length. Files of full segments are opened for
    /// each read, which is cheap beside reading a block and holds no handles.
    #[expect(clippy::type_complexity, reason = "used once, right here")]
    fn place(&self, number: u64) -> Result<Option<(PathBuf, Arc<dyn File>, u64, usize)>, BlockStoreError> {
        let segments = self.segments.read();
        if let Some((offset, length)) = segments.newest.place(number) {
            let path = segments.newest.path(&self.folder);
            return Ok(Some((path, Arc::clone(&segments.newest_file), offset, length)));
        }
        let after = segments.full.partition_point(|segment| segment.first_number <= number);
        let Some(segment) = after.checked_sub(1).map(|index| &segments.full[index]) else { return Ok(None) };
        let Some((offset, length)) = segment.place(number) else { return Ok(None) };
        let path = segment.path(&self.folder);
        drop(segments);
        let file = self.files.open(&path)?;
        Ok(Some((path, file, offset, length)))
    }
}

fn require_number(record: &BlockRecord, expected: u64) -> Result<(), BlockStoreError> {
    let header = record.block.as_ref().and_then(|block| block.header.as_ref());
    match header {
        Some(header) if header.number == expected => Ok(()),
        Some(header) => Err(BlockStoreError::Number { expected, found: header.number.to_string() }),
        None => Err(BlockStoreError::Number { expected, found: "without header".to_owned() }),
    }
}

/// The segments, and how many bytes a crash left after the last record.
fn open_segments(
    files: &dyn Files,
    folder: &Path,
    known_height: u64,
    torn_tail: TornTail,
) -> Result<(Segments, u64), BlockStoreError> {
    let mut numbers: Vec<u64> = files.list(folder)?.iter().filter_map(|name| segment::first_number_of(name)).collect();
    numbers.sort_unstable();
    let Some(newest_number) = numbers.pop() else {
        let newest = Segment::empty(0);
        let newest_file = begin_file(files, folder, &newest)?;
        return Ok((Segments { full: Vec::new(), newest, newest_file }, 0));
    };
    let mut full = Vec::with_capacity(numbers.len());
    let mut expected = 0;
    for first_number in numbers {
        require_adjacent(folder, expected, first_number)?;
        let segment = Segment::open_full(files, folder, first_number)?;
        expected = segment.next_number();
        full.push(segment);
    }
    require_adjacent(folder, expected, newest_number)?;
    let (newest, newest_file, torn_bytes) = Segment::open_newest(files, folder, newest_number, known_height)?;
    if torn_bytes > 0 && torn_tail == TornTail::Cut {
        newest_file.truncate(newest.end)?;
        newest_file.sync()?;
        tracing::warn!(
            folder = %folder.display(), torn_bytes, height = newest.next_number(),
            "cut an unfinished block record that a crash left at the end of the chain"
        );
    }
    Ok((Segments { full, newest, newest_file }, torn_bytes))
}

fn require_adjacent(folder: &Path, expected: u64, found: u64) -> Result<(), BlockStoreError> {
    match expected == found {
        true => Ok(()),
        false => Err(BlockStoreError::MissingSegment { folder: folder.to_owned(), expected, found }),
    }
}

/// Creates a segment's file and makes the folder remember it before anything is written.
fn begin_file(files: &dyn Files, folder: &Path, segment: &Segment) -> Result<Arc<dyn File>, BlockStoreError> {
    let file = files.open(&segment.path(folder))?;
    file.sync()?;
    files.sync_folder(folder)?;
    Ok(file)
}
