//! Makes the records of a consenter durable, several with one sync where they have gathered.

use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use metrics::{Label, histogram};
use ripstop_ledger::files::FileError;

use super::{Event, FailureCause};
use crate::consenter::Input;
use crate::raft_log::RaftLog;
use crate::raft_record::{Position, Record};

/// Entries of a record to which no further ones are joined.
const JOINED_ENTRIES_MAX: usize = 64;

/// What there is to do.
pub(super) enum Work {
    Persist { number: u64, record: Record },
    Compact(Position),
}

pub(super) struct LogThread {
    pub(super) log: RaftLog,
    pub(super) to_persist: Receiver<Work>,
    pub(super) events: Sender<Event>,
    pub(super) labels: Vec<Label>,
}

impl LogThread {
    pub(super) fn run(mut self) -> Result<(), FailureCause> {
        self.persist_all()?;
        Ok(self.log.flush()?)
    }

    fn persist_all(&mut self) -> Result<(), FileError> {
        let mut next = None;
        while let Some(work) = next.take().or_else(|| self.to_persist.recv().ok()) {
            match work {
                Work::Compact(position) => self.log.compact(position)?,
                Work::Persist { mut number, mut record } => {
                    while next.is_none()
                        && let Ok(further) = self.to_persist.try_recv()
                    {
                        next = join(&mut record, &mut number, further);
                    }
                    self.persist(number, &record)?;
                }
            }
        }
        Ok(())
    }

    fn persist(&mut self, number: u64, record: &Record) -> Result<(), FileError> {
        let started = Instant::now();
        if !record.is_empty() {
            self.log.append(record)?;
        }
        if !record.entries.is_empty() {
            histogram!("consensus_etcdraft_data_persist_duration", self.labels.clone()).record(started.elapsed());
        }
        // Nobody to tell: the consenter has ended.
        let _ = self.events.send(Event::Input(Input::Persisted(number)));
        Ok(())
    }
}

/// Adds a later record whose entries follow on, and takes its number. Gives the work back
/// where the two have to stay apart.
fn join(record: &mut Record, number: &mut u64, further: Work) -> Option<Work> {
    let Work::Persist { number: later_number, record: later } = further else { return Some(further) };
    let last = record.entries.last().map(|entry| entry.index);
    let follows = match (last, later.entries.first()) {
        (Some(last), Some(first)) => first.index == last + 1,
        (_, _) => true,
    };
    if !follows || later.emptied || record.entries.len() >= JOINED_ENTRIES_MAX {
        return Some(Work::Persist { number: later_number, record: later });
    }
    let Record { hard_state, members, compacted, emptied: _, entries } = later;
    record.entries.extend(entries);
    record.hard_state = hard_state.or(record.hard_state.take());
    record.members = members.or(record.members.take());
    record.compacted = compacted.or(record.compacted.take());
    *number = later_number;
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft_record::tests::{entry, hard_state};

    fn work(number: u64, commit: u64, indexes: std::ops::Range<u64>) -> Work {
        let entries = indexes.map(|index| entry(1, index, b"")).collect();
        let hard_state = (commit > 0).then(|| hard_state(1, 1, commit));
        Work::Persist { number, record: Record { hard_state, entries, ..Record::default() } }
    }

    fn record(work: Work) -> Record {
        match work {
            Work::Persist { record, .. } => record,
            Work::Compact(_) => unreachable!("not made here"),
        }
    }

    #[test]
    fn records_join_as_if_written_one_after_the_other() {
        let (mut joined, mut number) = (record(work(1, 3, 1..3)), 1);
        assert!(join(&mut joined, &mut number, work(2, 0, 3..5)).is_none());
        assert!(join(&mut joined, &mut number, work(3, 4, 0..0)).is_none());
        assert_eq!((joined, number), (record(work(0, 4, 1..5)), 3));
        let mut without_entries = record(work(1, 3, 0..0));
        assert!(join(&mut without_entries, &mut number, work(4, 0, 7..8)).is_none());
        assert_eq!((without_entries, number), (record(work(0, 3, 7..8)), 4));
    }

    #[test]
    fn entries_that_replace_others_and_compactions_stay_apart() {
        let (mut first, mut number) = (record(work(1, 3, 1..5)), 1);
        let replacing = join(&mut first, &mut number, work(2, 0, 4..6));
        assert!(matches!(replacing, Some(Work::Persist { number: 2, .. })));
        let compact = Work::Compact(Position { index: 1, term: 1 });
        assert!(matches!(join(&mut first, &mut number, compact), Some(Work::Compact(_))));
        assert_eq!((first, number), (record(work(1, 3, 1..5)), 1));
    }
}
