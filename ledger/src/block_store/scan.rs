//! Walking through a segment's records when a store is opened, and telling a torn tail
//! from damage.
//!
//! Records are synced before later ones are written, one by one or a few together. So a
//! crash can only leave unreadable bytes among those that were to be synced last, in any
//! order. When a readable record follows unreadable bytes that were durable when it was
//! written, something has been lost, and nothing is cut.

use std::path::Path;

use super::BlockStoreError;
use super::record::{HEADER_BYTES, Header, MAGIC, RecordError};
use crate::files::File;

const CHUNK_BYTES: usize = 1 << 20;

/// The records of a segment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Where each record begins, in order.
    pub(super) offsets: Vec<u64>,
    /// Where the last readable record ends.
    pub(super) end: u64,
    /// Why reading stopped at `end`, when the file goes on after it.
    pub(super) unreadable: Option<RecordError>,
}

/// Walks over the records from the start of `file`; `bodies` says whether their checksums
/// are checked too. Stops at the first one that is not readable.
pub(super) fn walk(file: &dyn File, first_number: u64, bodies: bool) -> Result<Found, BlockStoreError> {
    let length = file.length()?;
    let mut found = Found::default();
    while found.end < length {
        let number = first_number + found.offsets.len() as u64;
        match record_at(file, found.end, length, bodies)? {
            Ok(header) if header.number == number => {
                found.offsets.push(found.end);
                found.end += (HEADER_BYTES + header.body_bytes) as u64;
            }
            Ok(header) => {
                found.unreadable = Some(RecordError::Number(header.number));
                break;
            }
            Err(reason) => {
                found.unreadable = Some(reason);
                break;
            }
        }
    }
    Ok(found)
}

/// Whether the unreadable bytes at the end of the newest segment are what a crash leaves.
///
/// # Errors
/// [`BlockStoreError::Damaged`] when a readable record follows that was written after this
/// block was durable, or when no crash can have left what stands there.
pub(super) fn require_torn_tail(
    file: &dyn File,
    path: &Path,
    found: &Found,
    next_number: u64,
) -> Result<(), BlockStoreError> {
    let Some(reason) = &found.unreadable else { return Ok(()) };
    let damaged = |reason: String| {
        let (path, offset) = (path.to_owned(), found.end);
        BlockStoreError::Damaged { path, offset, number: next_number, reason }
    };
    if !reason.may_be_torn() {
        return Err(damaged(reason.to_string()));
    }
    let length = file.length()?;
    let mut offset = found.end;
    while offset < length {
        let chunk = file.read_at(offset, CHUNK_BYTES + MAGIC.len() - 1)?;
        for at in chunk.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC).map(|(at, _)| at) {
            let place = offset + at as u64;
            if place > found.end
                && let Ok(header) = record_at(file, place, length, true)?
                && (header.first_synced_with() > next_number || header.number == next_number)
            {
                return Err(damaged(format!("{reason}, but block {} follows at offset {place}", header.number)));
            }
        }
        offset += CHUNK_BYTES as u64;
    }
    Ok(())
}

fn record_at(
    file: &dyn File,
    offset: u64,
    length: u64,
    with_body: bool,
) -> Result<Result<Header, RecordError>, BlockStoreError> {
    let header = match Header::read(&file.read_at(offset, HEADER_BYTES)?) {
        Ok(header) => header,
        Err(reason) => return Ok(Err(reason)),
    };
    let body_offset = offset + HEADER_BYTES as u64;
    if body_offset + header.body_bytes as u64 > length {
        return Ok(Err(RecordError::BodyChecksum));
    }
    if with_body && let Err(reason) = header.check(&file.read_at(body_offset, header.body_bytes)?) {
        return Ok(Err(reason));
    }
    Ok(Ok(header))
}
