//! One file of the Raft log: a header, then records, in space that was allocated before.
//!
//! ```text
//! header  8  "RIPSRAFT"
//!         2  version, 1           1  encoding of what follows, 1       1  zero
//!         8  segment number       8  number of the first record        8  salt
//!         4  CRC-32C of the above
//! record  4  bytes of the body, at least 1
//!         4  CRC-32C, begun with the salt and the segment number, over length and body
//!         n  body (see raft_record), then zeros up to a multiple of 8
//! ```
//! Integers are little-endian. A segment ends where no record is found. Every record is
//! written in one write and synced before the next, so after a crash at most the last one
//! is torn; a readable record *behind* an unreadable one is damage, and such a log is
//! refused. Space is used again without clearing it: the checksum of an older life of the
//! file does not match, and the salt keeps clients from forging records inside envelopes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use ripstop_ledger::files::{File, FileError, Files};

use crate::raft_record::{Record, RecordError};

const MARK: &[u8; 8] = b"RIPSRAFT";
const VERSION: u16 = 1;
const ENCODING: u8 = 1;
const HEADER_BYTES: usize = 40;
const FRAME_BYTES: usize = 8;
const ALIGNMENT: usize = 8;
/// A body holds at least its number, its flags and the count of its entries.
const BODY_BYTES_MIN: usize = 13;

const NAME_END: &str = ".segment";
const SPARE_NAME: &str = "spare";

/// Why a segment cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a segment, or one of another version.
    #[error("{path} is not a segment of the Raft log that this version reads: {why}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What differs.
        why: String,
    },
    /// Records are unreadable though they were once synced.
    #[error(
        "{path} is damaged at byte {offset}: {why}. Committed entries may be lost here, so this consenter must \
         neither vote nor go on: check the disk, then remove the node's channel folder and join it anew as another consenter"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// What was expected there.
        why: String,
    },
}

/// What a segment was found to hold.
#[derive(Debug)]
pub(crate) struct Found {
    /// Number of the first record.
    pub(crate) first_record: u64,
    /// The records in the order of writing.
    pub(crate) records: Vec<Record>,
    /// Whether bytes of an unfinished record stand behind the last one.
    pub(crate) torn: bool,
}

/// A segment that is written to.
pub(crate) struct Segment {
    file: Arc<dyn File>,
    number: u64,
    checksum_seed: u32,
    end: u64,
    length: u64,
}

impl Segment {
    /// Makes a segment that begins with one record, out of the spare file if it is long enough.
    /// It is on the disk, under its name, when this returns.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn create(
        files: &dyn Files,
        folder: &Path,
        start: &SegmentStart,
        record: &Record,
    ) -> Result<Self, SegmentError> {
        let &SegmentStart { number, first_record, salt, length_min } = start;
        let checksum_seed = checksum_seed(salt, number);
        let mut bytes = header(number, first_record, salt);
        write_frame(record, first_record, checksum_seed, &mut bytes);
        let (file, length) = spare(files, folder, length_min.max(bytes.len() as u64))?;
        file.write_at(0, &bytes)?;
        file.sync()?;
        files.rename(&folder.join(SPARE_NAME), &path(folder, number))?;
        files.sync_folder(folder)?;
        Ok(Self { file, number, checksum_seed, end: bytes.len() as u64, length })
    }

    /// Opens a segment and reads its records. What is read is durable when this returns.
    ///
    /// # Errors
    /// The disk's; a file of another format; damage.
    pub(crate) fn open(files: &dyn Files, folder: &Path, number: u64) -> Result<(Self, Found), SegmentError> {
        let path = path(folder, number);
        let format = |why: String| SegmentError::Format { path: path.clone(), why };
        let file = files.open_existing(&path)?.ok_or_else(|| format("the file is missing".to_owned()))?;
        // A process that was killed may have left a record that only the page cache knows.
        file.sync()?;
        let length = file.length()?;
        let bytes = Bytes::from(file.read_at(0, length as usize)?);
        let (first_record, salt) = read_header(&bytes, number).map_err(format)?;
        let checksum_seed = checksum_seed(salt, number);
        let mut walk = Walk { bytes, checksum_seed, offset: HEADER_BYTES };
        let mut records = Vec::new();
        let damaged = |offset, why| SegmentError::Damaged { path: path.clone(), offset: offset as u64, why };
        while let Some(body) = walk.next() {
            let (found, record) =
                Record::read_body(body).map_err(|error: RecordError| damaged(walk.offset, error.to_string()))?;
            let expected = first_record + records.len() as u64;
            if found != expected {
                return Err(damaged(walk.offset, format!("record {found} stands where {expected} should")));
            }
            records.push(record);
        }
        let next = first_record + records.len() as u64;
        if let Some(later) = walk.readable_record_behind(next) {
            return Err(damaged(walk.offset, format!("record {next} is unreadable, record {later} behind it is not")));
        }
        let torn =
            walk.bytes.get(walk.offset..walk.offset + FRAME_BYTES).is_some_and(|frame| frame != [0; FRAME_BYTES]);
        let segment = Self { file, number, checksum_seed, end: walk.offset as u64, length };
        Ok((segment, Found { first_record, records, torn }))
    }

    /// The segment's number; they ascend by one.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Writes a record and syncs it. `false` when there is no room left for it.
    ///
    /// # Errors
    /// The disk's; what is in the file is then unknown.
    pub(crate) fn append(&mut self, record: &Record, number: u64) -> Result<bool, FileError> {
        let mut bytes = Vec::new();
        write_frame(record, number, self.checksum_seed, &mut bytes);
        if self.end + bytes.len() as u64 > self.length {
            return Ok(false);
        }
        self.file.write_at(self.end, &bytes)?;
        self.file.sync()?;
        self.end += bytes.len() as u64;
        Ok(true)
    }
}

/// How a new segment begins.
pub(crate) struct SegmentStart {
    /// Its number.
    pub(crate) number: u64,
    /// The number of its first record.
    pub(crate) first_record: u64,
    /// Random bits that no client knows.
    pub(crate) salt: u64,
    /// Bytes to allocate; more if the first record is longer.
    pub(crate) length_min: u64,
}

/// The numbers of the segments in a folder, ascending.
///
/// # Errors
/// The disk's.
pub(crate) fn numbers(files: &dyn Files, folder: &Path) -> Result<Vec<u64>, FileError> {
    let number = |name: String| u64::from_str_radix(name.strip_suffix(NAME_END)?, 16).ok();
    let mut numbers: Vec<u64> = files.list(folder)?.into_iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Takes a segment out of the log; its file becomes the spare one if it has the usual length.
///
/// # Errors
/// The disk's.
pub(crate) fn retire(files: &dyn Files, folder: &Path, number: u64, usual_length: u64) -> Result<(), FileError> {
    let path = path(folder, number);
    let length = files.open_existing(&path)?.map_or(Ok(0), |file| file.length())?;
    match length == usual_length {
        true => files.rename(&path, &folder.join(SPARE_NAME))?,
        false => files.remove(&path)?,
    }
    files.sync_folder(folder)
}

/// Removes the spare file.
///
/// # Errors
/// The disk's.
pub(crate) fn drop_spare(files: &dyn Files, folder: &Path) -> Result<(), FileError> {
    let spare = folder.join(SPARE_NAME);
    if files.open_existing(&spare)?.is_some() {
        files.remove(&spare)?;
        files.sync_folder(folder)?;
    }
    Ok(())
}

/// Where the segment stands.
pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016x}{NAME_END}"))
}

/// The spare file, made anew unless there is one of sufficient length.
fn spare(files: &dyn Files, folder: &Path, length_min: u64) -> Result<(Arc<dyn File>, u64), FileError> {
    let path = folder.join(SPARE_NAME);
    if let Some(file) = files.open_existing(&path)? {
        let length = file.length()?;
        if length >= length_min {
            return Ok((file, length));
        }
        files.remove(&path)?;
    }
    let file = files.open(&path)?;
    file.append(&vec![0; length_min as usize])?;
    Ok((file, length_min))
}

fn header(number: u64, first_record: u64, salt: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.put_slice(MARK);
    bytes.put_u16_le(VERSION);
    bytes.put_u8(ENCODING);
    bytes.put_u8(0);
    [number, first_record, salt].iter().for_each(|value| bytes.put_u64_le(*value));
    let checksum = crc32c::crc32c(&bytes);
    bytes.put_u32_le(checksum);
    bytes
}

/// The number of the first record, and the salt.
fn read_header(bytes: &Bytes, number: u64) -> Result<(u64, u64), String> {
    let header = bytes.get(..HEADER_BYTES).ok_or("the file is too short")?;
    let (mut fields, mut checksum) = header.split_at(HEADER_BYTES - 4);
    if !fields.starts_with(MARK) {
        return Err("it does not begin with RIPSRAFT".to_owned());
    }
    if checksum.get_u32_le() != crc32c::crc32c(fields) {
        return Err("the checksum of its header is wrong".to_owned());
    }
    fields.advance(MARK.len());
    match (fields.get_u16_le(), fields.get_u8()) {
        (VERSION, ENCODING) => fields.advance(1),
        (version, encoding) => return Err(format!("version {version}, encoding {encoding}")),
    }
    match fields.get_u64_le() {
        stated if stated != number => Err(format!("it says that it is segment {stated}")),
        _ => Ok((fields.get_u64_le(), fields.get_u64_le())),
    }
}

fn checksum_seed(salt: u64, number: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &number.to_le_bytes())
}

fn write_frame(record: &Record, number: u64, checksum_seed: u32, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.put_u64_le(0);
    record.write_body(number, bytes);
    let length = ((bytes.len() - start - FRAME_BYTES) as u32).to_le_bytes();
    let checksum = crc32c::crc32c_append(checksum_seed, &length);
    let checksum = crc32c::crc32c_append(checksum, &bytes[start + FRAME_BYTES..]);
    bytes[start..start + 4].copy_from_slice(&length);
    bytes[start + 4..start + FRAME_BYTES].copy_from_slice(&checksum.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}

/// Goes through the records of a segment.
struct Walk {
    bytes: Bytes,
    checksum_seed: u32,
    offset: usize,
}

impl Walk {
    /// The body of the next record; the offset moves behind it.
    fn next(&mut self) -> Option<Bytes> {
        let body = self.body_at(self.offset)?;
        self.offset = (self.offset + FRAME_BYTES + body.len()).next_multiple_of(ALIGNMENT);
        Some(body)
    }

    /// The body of the record at an offset, if there is one with the right checksum.
    fn body_at(&self, offset: usize) -> Option<Bytes> {
        let mut frame = self.bytes.get(offset..offset + FRAME_BYTES)?;
        let (length, checksum) = (frame.get_u32_le(), frame.get_u32_le());
        let start = offset + FRAME_BYTES;
        let body = self.bytes.get(start..start.checked_add(length as usize)?)?;
        let found = crc32c::crc32c_append(self.checksum_seed, &length.to_le_bytes());
        let right = body.len() >= BODY_BYTES_MIN && crc32c::crc32c_append(found, body) == checksum;
        right.then(|| self.bytes.slice_ref(body))
    }

    /// The number of a readable record somewhere behind the current offset, where the record
    /// with number `next` would be. The number is compared first, so that only few of the
    /// places need a checksum.
    fn readable_record_behind(&self, next: u64) -> Option<u64> {
        let places = (self.offset + ALIGNMENT..self.bytes.len()).step_by(ALIGNMENT);
        let later = |offset: usize| {
            let number = self.bytes.get(offset + FRAME_BYTES..offset + FRAME_BYTES + 8)?.get_u64_le();
            let plausible = number > next && number - next <= self.bytes.len() as u64;
            (plausible && self.body_at(offset).is_some()).then_some(number)
        };
        places.into_iter().find_map(later)
    }
}

#[cfg(test)]
mod tests {
    use ripstop_ledger::files::MemoryFiles;

    use super::*;
    use crate::raft_record::tests::{entry, hard_state};

    #[test]
    fn the_bytes_are_those_of_the_drawing() {
        let files = MemoryFiles::new();
        let record =
            Record { hard_state: Some(hard_state(1, 2, 0)), entries: vec![entry(1, 5, b"ab")], ..Record::default() };
        let start = SegmentStart { number: 3, first_record: 9, salt: 0x0102_0304_0506_0708, length_min: 128 };
        Segment::create(&files, Path::new("raft"), &start, &record).unwrap();
        let file = files.open_existing(Path::new("raft/0000000000000003.segment")).unwrap().unwrap();
        let expected = [
            "5249505352414654 0100 01 00 0300000000000000 0900000000000000 0807060504030201 f5f6134a",
            "3f000000 b020c9d0",
            "0900000000000000 01 010000000000000002000000000000000000000000000000",
            "01000000 01000000000000000500000000000000 02000000 6162 00000000",
            "00 0000000000000000 0000000000000000",
        ];
        assert_eq!(hex::encode(file.read_at(0, 1000).unwrap()), expected.concat().replace(' ', ""));
    }
}
