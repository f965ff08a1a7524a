//! A segment: one file of consecutive block records, and where they begin in it.
//!
//! A segment's name is its first block number. When the next segment is begun, the
//! offsets of the full one are written beside it, so that opening a long chain does not
//! walk through all of it; that file is derived and may be missing.
//!
//! ```text
//! NNNNNNNNNNNN.blocks    records
//! NNNNNNNNNNNN.offsets   "RSBO" | length of the segment u64 | count u32 | count × u64 | CRC-32C of all before
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::BlockStoreError;
use super::scan;
use crate::files::{File, Files};

const OFFSETS_MAGIC: [u8; 4] = *b"RSBO";
const DIGITS: usize = 12;

/// The records of one file.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) first_number: u64,
    pub(super) offsets: Vec<u64>,
    /// Where the last record ends.
    pub(super) end: u64,
}

impl Segment {
    pub(super) fn empty(first_number: u64) -> Self {
        Self { first_number, offsets: Vec::new(), end: 0 }
    }

    /// The number after the last block in this segment.
    pub(super) fn next_number(&self) -> u64 {
        self.first_number + self.offsets.len() as u64
    }

    /// Where the record of a block lies: offset and length.
    pub(super) fn place(&self, number: u64) -> Option<(u64, usize)> {
        let index = usize::try_from(number.checked_sub(self.first_number)?).ok()?;
        let start = *self.offsets.get(index)?;
        let end = self.offsets.get(index + 1).copied().unwrap_or(self.end);
        Some((start, (end - start) as usize))
    }

    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{:0DIGITS$}.blocks", self.first_number))
    }

    fn offsets_path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{:0DIGITS$}.offsets", self.first_number))
    }

    /// Opens a segment that is not the newest. Its records must all be readable.
    pub(super) fn open_full(files: &dyn Files, folder: &Path, first_number: u64) -> Result<Self, BlockStoreError> {
        let mut segment = Self::empty(first_number);
        let path = segment.path(folder);
        let file = files.open(&path)?;
        if let Some(offsets) = segment.read_offsets(files, folder, file.length()?)? {
            segment.offsets = offsets;
            segment.end = file.length()?;
            return Ok(segment);
        }
        let found = scan::walk(file.as_ref(), first_number, false)?;
        segment.offsets = found.offsets;
        segment.end = found.end;
        match found.unreadable {
            None => Ok(segment),
            Some(reason) => Err(BlockStoreError::Damaged {
                path,
                offset: segment.end,
                number: segment.next_number(),
                reason: format!("{reason}, but later segments follow"),
            }),
        }
    }

    /// Opens the newest segment and checks every record. Also returns how many bytes a crash
    /// left after the last one.
    pub(super) fn open_newest(
        files: &dyn Files,
        folder: &Path,
        first_number: u64,
        known_height: u64,
    ) -> Result<(Self, Arc<dyn File>, u64), BlockStoreError> {
        let mut segment = Self::empty(first_number);
        let path = segment.path(folder);
        let file = files.open(&path)?;
        let found = scan::walk(file.as_ref(), first_number, true)?;
        let number = first_number + found.offsets.len() as u64;
        scan::require_torn_tail(file.as_ref(), &path, &found, number)?;
        let torn_bytes = file.length()? - found.end;
        if let Some(reason) = &found.unreadable
            && number < known_height
        {
            let reason = format!("{reason}, and blocks up to {} had been stored here", known_height - 1);
            return Err(BlockStoreError::Damaged { path, offset: found.end, number, reason });
        }
        segment.offsets = found.offsets;
        segment.end = found.end;
        Ok((segment, file, torn_bytes))
    }

    /// Writes the offsets of a full segment beside it. Nothing depends on their being there.
    pub(super) fn write_offsets(&self, files: &dyn Files, folder: &Path) -> Result<(), BlockStoreError> {
        let path = self.offsets_path(folder);
        files.remove(&path)?;
        let mut bytes = OFFSETS_MAGIC.to_vec();
        bytes.extend_from_slice(&self.end.to_le_bytes());
        bytes.extend_from_slice(&(self.offsets.len() as u32).to_le_bytes());
        self.offsets.iter().for_each(|offset| bytes.extend_from_slice(&offset.to_le_bytes()));
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Ok(files.open(&path)?.append(&bytes)?)
    }

    /// The offsets from beside the segment, when they are there, whole and of this segment.
    fn read_offsets(
        &self,
        files: &dyn Files,
        folder: &Path,
        segment_bytes: u64,
    ) -> Result<Option<Vec<u64>>, BlockStoreError> {
        let Some(file) = files.open_existing(&self.offsets_path(folder))? else { return Ok(None) };
        let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
        let bytes = file.read_at(0, length)?;
        Ok(parse_offsets(&bytes, segment_bytes))
    }
}

fn parse_offsets(bytes: &[u8], segment_bytes: u64) -> Option<Vec<u64>> {
    let (content, checksum) = bytes.split_last_chunk::<4>()?;
    let (head, offsets) = content.split_first_chunk::<16>()?;
    let right = crc32c::crc32c(content).to_le_bytes() == *checksum
        && head[..4] == OFFSETS_MAGIC
        && head[4..12] == segment_bytes.to_le_bytes()
        && offsets.len() % 8 == 0
        && head[12..] == ((offsets.len() / 8) as u32).to_le_bytes();
    right.then(|| offsets.as_chunks::<8>().0.iter().map(|offset| u64::from_le_bytes(*offset)).collect())
}

/// The first block number in a segment's file name.
pub(super) fn first_number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".blocks")?;
    (digits.len() == DIGITS).then(|| digits.parse().ok())?
}
