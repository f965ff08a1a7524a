//! What one write to the Raft log holds, and its bytes.
//!
//! ```text
//! body    8  record number
//!         1  which parts follow: 1 hard state, 2 members, 4 compacted; 8 says that no entry
//!            before this record counts any more, and has no part
//!        24  hard state: term, vote, commit            (if flagged)
//!       4+n  members: count, then one id each           (if flagged)
//!        16  compacted: index and term                  (if flagged)
//!         4  count of entries, each:
//!              term, index, 4 bytes length and data, 4 bytes length and context
//! ```
//! Integers are little-endian and of 8 bytes unless said otherwise. Hard state, members and
//! entries of one step stand in one record, so that a crash keeps all of them or none.
//! How records stand in files: `raft_segment.rs`.

use bytes::{Buf, BufMut, Bytes};
use raft::eraftpb::{Entry, HardState};

const HARD_STATE: u8 = 1;
const MEMBERS: u8 = 2;
const COMPACTED: u8 = 4;
const EMPTIED: u8 = 8;

/// Bytes of an entry beside its data and context.
const ENTRY_FRAME_BYTES: usize = 24;

/// A place in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// Index of the entry, from 1; 0 stands before the first.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
}

/// The changes that one step makes to the durable state of a consenter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Term, vote and commit index, when one of them changed.
    pub hard_state: Option<HardState>,
    /// The ids of the voting consenters, when they changed.
    pub members: Option<Vec<u64>>,
    /// Entries up to this place are no longer part of the log.
    pub compacted: Option<Position>,
    /// All entries of earlier records are void: the log goes on after `compacted`, with what
    /// other consenters have.
    pub emptied: bool,
    /// New entries, indexes ascending by one. They replace entries of the same and all
    /// higher indexes.
    pub entries: Vec<Entry>,
}

/// Why the body of a record, though its checksum is right, cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The body ends before its content does.
    #[error("the record ends too early")]
    Short,
    /// Bytes are left over after the last entry.
    #[error("{0} bytes are left over at the end of the record")]
    LeftOver(usize),
    /// A part that this version does not know.
    #[error("the record has parts (flags {0:#04x}) that this version does not know: use the version that wrote it")]
    UnknownParts(u8),
}

impl Record {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Writes the body of the record with this number.
    pub fn write_body(&self, number: u64, body: &mut Vec<u8>) {
        body.put_u64_le(number);
        body.put_u8(self.flags());
        if let Some(state) = &self.hard_state {
            [state.term, state.vote, state.commit].iter().for_each(|value| body.put_u64_le(*value));
        }
        if let Some(members) = &self.members {
            body.put_u32_le(members.len() as u32);
            members.iter().for_each(|id| body.put_u64_le(*id));
        }
        if let Some(Position { index, term }) = self.compacted {
            [index, term].iter().for_each(|value| body.put_u64_le(*value));
        }
        body.put_u32_le(self.entries.len() as u32);
        for entry in &self.entries {
            [entry.term, entry.index].iter().for_each(|value| body.put_u64_le(*value));
            for part in [&entry.data, &entry.context] {
                body.put_u32_le(part.len() as u32);
                body.put_slice(part);
            }
        }
    }

    fn flags(&self) -> u8 {
        let flag = |there: bool, flag: u8| if there { flag } else { 0 };
        flag(self.hard_state.is_some(), HARD_STATE)
            | flag(self.members.is_some(), MEMBERS)
            | flag(self.compacted.is_some(), COMPACTED)
            | flag(self.emptied, EMPTIED)
    }

    /// Reads a body; the record's number comes first.
    ///
    /// # Errors
    /// When the body is not what [`Record::write_body`] writes.
    pub fn read_body(mut body: Bytes) -> Result<(u64, Self), RecordError> {
        let number = take_u64(&mut body)?;
        let flags = body.try_get_u8().map_err(|_| RecordError::Short)?;
        if flags & !(HARD_STATE | MEMBERS | COMPACTED | EMPTIED) != 0 {
            return Err(RecordError::UnknownParts(flags));
        }
        let mut record = Self { emptied: flags & EMPTIED != 0, ..Self::default() };
        if flags & HARD_STATE != 0 {
            record.hard_state = Some(take_hard_state(&mut body)?);
        }
        if flags & MEMBERS != 0 {
            let count = take_count(&mut body, 8)?;
            record.members = Some((0..count).map(|_| take_u64(&mut body)).collect::<Result<_, _>>()?);
        }
        if flags & COMPACTED != 0 {
            record.compacted = Some(Position { index: take_u64(&mut body)?, term: take_u64(&mut body)? });
        }
        let count = take_count(&mut body, ENTRY_FRAME_BYTES)?;
        record.entries = (0..count).map(|_| take_entry(&mut body)).collect::<Result<_, _>>()?;
        match body.remaining() {
            0 => Ok((number, record)),
            left => Err(RecordError::LeftOver(left)),
        }
    }
}

/// The bytes that an entry adds to a record.
pub fn entry_bytes(entry: &Entry) -> usize {
    ENTRY_FRAME_BYTES + entry.data.len() + entry.context.len()
}

fn take_u64(body: &mut Bytes) -> Result<u64, RecordError> {
    body.try_get_u64_le().map_err(|_| RecordError::Short)
}

/// A count of things that are at least `bytes_min` long each.
fn take_count(body: &mut Bytes, bytes_min: usize) -> Result<usize, RecordError> {
    let count = body.try_get_u32_le().map_err(|_| RecordError::Short)? as usize;
    match count.checked_mul(bytes_min) {
        Some(bytes) if bytes <= body.remaining() => Ok(count),
        _ => Err(RecordError::Short),
    }
}

fn take_hard_state(body: &mut Bytes) -> Result<HardState, RecordError> {
    let (term, vote, commit) = (take_u64(body)?, take_u64(body)?, take_u64(body)?);
    Ok(HardState { term, vote, commit, ..HardState::default() })
}

fn take_entry(body: &mut Bytes) -> Result<Entry, RecordError> {
    let (term, index) = (take_u64(body)?, take_u64(body)?);
    let mut entry = Entry { term, index, ..Entry::default() };
    for part in [&mut entry.data, &mut entry.context] {
        let length = take_count(body, 1)?;
        *part = body.split_to(length);
    }
    Ok(entry)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry(term: u64, index: u64, data: &[u8]) -> Entry {
        Entry { term, index, data: Bytes::copy_from_slice(data), ..Entry::default() }
    }

    pub(crate) fn hard_state(term: u64, vote: u64, commit: u64) -> HardState {
        HardState { term, vote, commit, ..HardState::default() }
    }

    fn full_record() -> Record {
        Record {
            hard_state: Some(hard_state(3, 2, 9)),
            members: Some(vec![1, 2, 3]),
            compacted: Some(Position { index: 7, term: 2 }),
            emptied: true,
            entries: vec![entry(3, 10, b"ten"), entry(3, 11, b"")],
        }
    }

    fn body(record: &Record, number: u64) -> Vec<u8> {
        let mut body = Vec::new();
        record.write_body(number, &mut body);
        body
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let with_entry = Record { entries: vec![entry(1, 1, &[7; 1000])], ..Record::default() };
        for record in [full_record(), with_entry, Record::default()] {
            assert_eq!(Record::read_body(body(&record, 42).into()), Ok((42, record)));
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_drawing() {
        let record =
            Record { hard_state: Some(hard_state(1, 2, 0)), entries: vec![entry(1, 5, b"ab")], ..Record::default() };
        let expected = [
            "0900000000000000 01",
            "0100000000000000 0200000000000000 0000000000000000",
            "01000000 0100000000000000 0500000000000000 02000000 6162 00000000",
        ];
        assert_eq!(hex::encode(body(&record, 9)), expected.concat().replace(' ', ""));
    }

    #[test]
    fn every_shortened_body_is_refused() {
        let whole = body(&full_record(), 1);
        for length in 0..whole.len() {
            let short = Bytes::copy_from_slice(&whole[..length]);
            assert_eq!(Record::read_body(short), Err(RecordError::Short), "{length}");
        }
    }

    #[test]
    fn leftovers_unknown_parts_and_false_counts_are_refused() {
        let mut long = body(&full_record(), 1);
        long.push(0);
        assert_eq!(Record::read_body(long.into()), Err(RecordError::LeftOver(1)));
        let mut unknown = body(&Record::default(), 1);
        unknown[8] = 0x10;
        assert_eq!(Record::read_body(unknown.into()), Err(RecordError::UnknownParts(0x10)));
        let mut many = body(&Record::default(), 1);
        many[9..13].fill(0xff);
        assert_eq!(Record::read_body(many.into()), Err(RecordError::Short));
    }
}
