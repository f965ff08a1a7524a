//! The Raft log on disk: what a consenter has promised to remember.
//!
//! A row of segments (`raft_segment.rs`) with one record per step. Each append is one
//! write and one sync. A segment begins with everything but the entries, so old segments
//! can go as soon as their entries stand in the block store ([`RaftLog::compact`]); disk use
//! stays bounded by what is kept for slow followers.
//!
//! A step that changes only the commit index is not written for its own sake: it goes into
//! the next record. This is safe since whatever was applied stands in the block store with
//! its raft index, and a consenter starts with that as its lowest commit index.
//!
//! An error of [`RaftLog::append`] leaves the file in an unknown state: the node must stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft::eraftpb::{Entry, HardState};
use ripstop_ledger::files::{FileError, Files};

use crate::raft_record::{Position, Record};
use crate::raft_segment::{self, Found, Segment, SegmentError, SegmentStart};

/// Bytes allocated for a segment.
pub const SEGMENT_BYTES: u64 = 8 << 20;

/// What a consenter finds in its log at the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recovered {
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// The ids of the voting consenters.
    pub members: Vec<u64>,
    /// The place before the first entry.
    pub compacted: Position,
    /// The entries, indexes ascending by one.
    pub entries: Vec<Entry>,
    /// Whether an unfinished record stood at the end.
    pub torn: bool,
}

/// The Raft log of one channel.
pub struct RaftLog {
    files: Arc<dyn Files>,
    folder: PathBuf,
    segment_bytes: u64,
    salt: u64,
    sealed: Vec<Sealed>,
    current: Segment,
    current_last_index: u64,
    next_record: u64,
    state: Record,
    unwritten_commit: bool,
}

/// A segment that is no longer written to.
struct Sealed {
    number: u64,
    last_index: u64,
}

impl RaftLog {
    /// Makes a log without entries. `salt` is random.
    ///
    /// # Errors
    /// The disk's.
    pub fn create(
        files: Arc<dyn Files>,
        folder: &Path,
        segment_bytes: u64,
        salt: u64,
        members: &[u64],
    ) -> Result<Self, SegmentError> {
        files.create_folder(folder)?;
        let state = Record { members: Some(members.to_vec()), ..whole_state(&Recovered::default()) };
        let start = SegmentStart { number: 1, first_record: 1, salt, length_min: segment_bytes };
        let current = Segment::create(files.as_ref(), folder, &start, &state)?;
        let folder = folder.to_owned();
        let (sealed, current_last_index, next_record) = (Vec::new(), 0, 2);
        let unwritten_commit = false;
        Ok(Self {
            files,
            folder,
            segment_bytes,
            salt,
            sealed,
            current,
            current_last_index,
            next_record,
            state,
            unwritten_commit,
        })
    }

    /// Opens the log in a folder; `None` when there is none.
    ///
    /// # Errors
    /// The disk's; another format; damage.
    pub fn open(
        files: Arc<dyn Files>,
        folder: &Path,
        segment_bytes: u64,
        salt: u64,
    ) -> Result<Option<(Self, Recovered)>, SegmentError> {
        // After a crash the spare file may be a segment that was being renamed.
        raft_segment::drop_spare(files.as_ref(), folder)?;
        let numbers = raft_segment::numbers(files.as_ref(), folder)?;
        let mut segments = Vec::new();
        for number in numbers {
            let (segment, found) = Segment::open(files.as_ref(), folder, number)?;
            if let Some((before, found_before)) = segments.last() {
                check_succession(folder, before, found_before, &segment, &found)?;
            }
            segments.push((segment, found));
        }
        let recovered = recover(folder, &segments)?;
        let Some((current, last)) = segments.pop() else { return Ok(None) };
        let sealed =
            segments.iter().map(|(segment, found)| Sealed { number: segment.number(), last_index: last_index(found) });
        let log = Self {
            files,
            folder: folder.to_owned(),
            segment_bytes,
            salt,
            sealed: sealed.collect(),
            current_last_index: last_index(&last),
            current,
            next_record: last.first_record + last.records.len() as u64,
            state: whole_state(&recovered),
            unwritten_commit: false,
        };
        Ok(Some((log, recovered)))
    }

    /// Makes a record durable. One that only moves the commit index waits for the next one.
    ///
    /// # Errors
    /// The disk's; the node must stop then.
    pub fn append(&mut self, record: &Record) -> Result<(), FileError> {
        if self.only_commits(record) {
            self.state.hard_state.clone_from(&record.hard_state);
            self.unwritten_commit = true;
            return Ok(());
        }
        self.note(record);
        let written = match self.unwritten_commit && record.hard_state.is_none() {
            true => self.write(&Record { hard_state: self.state.hard_state.clone(), ..record.clone() }),
            false => self.write(record),
        };
        written?;
        match record.emptied {
            true => self.retire(u64::MAX),
            false => Ok(()),
        }
    }

    /// Writes a commit index that still waits; for an orderly end.
    ///
    /// # Errors
    /// The disk's.
    pub fn flush(&mut self) -> Result<(), FileError> {
        if !self.unwritten_commit {
            return Ok(());
        }
        self.write(&Record { hard_state: self.state.hard_state.clone(), ..Record::default() })
    }

    /// Gives up the entries up to `position`, and the segments that hold no others.
    ///
    /// # Errors
    /// The disk's.
    pub fn compact(&mut self, position: Position) -> Result<(), FileError> {
        self.append(&Record { compacted: Some(position), ..Record::default() })?;
        self.retire(position.index)
    }

    /// Gives up the segments that hold no entry beyond `index`.
    fn retire(&mut self, index: u64) -> Result<(), FileError> {
        let retired = self.sealed.iter().take_while(|segment| segment.last_index <= index).count();
        for segment in self.sealed.drain(..retired) {
            raft_segment::retire(self.files.as_ref(), &self.folder, segment.number, self.segment_bytes)?;
        }
        Ok(())
    }

    fn only_commits(&self, record: &Record) -> bool {
        let vote = |state: &HardState| (state.term, state.vote);
        let rest = Record { hard_state: None, ..record.clone() };
        rest.is_empty() && record.hard_state.as_ref().map(vote) == self.state.hard_state.as_ref().map(vote)
    }

    /// Takes over what the next segment has to begin with.
    fn note(&mut self, record: &Record) {
        let Record { hard_state, members, compacted, .. } = record;
        if hard_state.is_some() {
            self.state.hard_state.clone_from(hard_state);
        }
        if members.is_some() {
            self.state.members.clone_from(members);
        }
        if compacted.is_some() {
            self.state.compacted = *compacted;
        }
    }

    fn write(&mut self, record: &Record) -> Result<(), FileError> {
        if !self.current.append(record, self.next_record)? {
            self.begin_segment(record)?;
        }
        self.current_last_index = self.current_last_index.max(record.entries.last().map_or(0, |entry| entry.index));
        self.next_record += 1;
        self.unwritten_commit = false;
        Ok(())
    }

    fn begin_segment(&mut self, record: &Record) -> Result<(), FileError> {
        let record = Record { entries: record.entries.clone(), emptied: record.emptied, ..self.state.clone() };
        let start = SegmentStart {
            number: self.current.number() + 1,
            first_record: self.next_record,
            salt: self.salt,
            length_min: self.segment_bytes,
        };
        let next = match Segment::create(self.files.as_ref(), &self.folder, &start, &record) {
            Ok(next) => next,
            Err(SegmentError::File(error)) => return Err(error),
            Err(SegmentError::Format { .. } | SegmentError::Damaged { .. }) => unreachable!("nothing is read"),
        };
        let number = std::mem::replace(&mut self.current, next).number();
        self.sealed.push(Sealed { number, last_index: std::mem::take(&mut self.current_last_index) });
        Ok(())
    }
}

/// Everything but the entries, as one record.
fn whole_state(recovered: &Recovered) -> Record {
    Record {
        hard_state: Some(recovered.hard_state.clone()),
        members: Some(recovered.members.clone()),
        compacted: Some(recovered.compacted),
        emptied: false,
        entries: Vec::new(),
    }
}

fn last_index(found: &Found) -> u64 {
    let entries = found.records.iter().flat_map(|record| record.entries.last());
    entries.map(|entry| entry.index).max().unwrap_or(0)
}

/// A later segment shows that all records of the one before were synced.
fn check_succession(
    folder: &Path,
    before: &Segment,
    found_before: &Found,
    segment: &Segment,
    found: &Found,
) -> Result<(), SegmentError> {
    let expected = found_before.first_record + found_before.records.len() as u64;
    let damaged =
        |number: u64, why: String| SegmentError::Damaged { path: raft_segment::path(folder, number), offset: 0, why };
    if segment.number() != before.number() + 1 {
        let why = format!("segment {} stands before it, the ones between are missing", before.number());
        return Err(damaged(segment.number(), why));
    }
    if found.first_record != expected {
        let why = format!("it ends with record {}, the next segment begins with {}", expected - 1, found.first_record);
        return Err(damaged(before.number(), why));
    }
    Ok(())
}

/// Replays the records.
fn recover(folder: &Path, segments: &[(Segment, Found)]) -> Result<Recovered, SegmentError> {
    let records =
        || segments.iter().flat_map(|(segment, found)| found.records.iter().map(|record| (segment.number(), record)));
    let mut recovered =
        Recovered { torn: segments.last().is_some_and(|(_, found)| found.torn), ..Recovered::default() };
    // The segments that held the entries before this place may be gone.
    recovered.compacted = records().filter_map(|(_, record)| record.compacted).next_back().unwrap_or_default();
    for (number, record) in records() {
        if let Some(state) = &record.hard_state {
            recovered.hard_state.clone_from(state);
        }
        if let Some(members) = &record.members {
            recovered.members.clone_from(members);
        }
        if record.emptied {
            recovered.entries.clear();
        }
        replay_entries(&mut recovered, &record.entries).map_err(|why| SegmentError::Damaged {
            path: raft_segment::path(folder, number),
            offset: 0,
            why,
        })?;
    }
    Ok(recovered)
}

fn replay_entries(recovered: &mut Recovered, entries: &[Entry]) -> Result<(), String> {
    let Some(first) = entries.first() else { return Ok(()) };
    let base = recovered.compacted.index;
    recovered.entries.truncate(first.index.saturating_sub(base + 1) as usize);
    for entry in entries.iter().filter(|entry| entry.index > base) {
        let expected = base + recovered.entries.len() as u64 + 1;
        if entry.index != expected {
            return Err(format!("entry {} stands where entry {expected} should", entry.index));
        }
        recovered.entries.push(entry.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
