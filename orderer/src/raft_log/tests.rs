//! The log against a disk that crashes, tears and flips.

use ripstop_ledger::files::{MemoryFiles, Survival};

use super::*;
use crate::raft_record::tests::{entry, hard_state};

const SMALL: u64 = 1024;

fn folder() -> &'static Path {
    Path::new("channel/raft")
}

fn create(files: &MemoryFiles) -> RaftLog {
    RaftLog::create(Arc::new(files.clone()), folder(), SMALL, 7, &[1, 2, 3]).unwrap()
}

fn reopen(files: &MemoryFiles) -> Result<(RaftLog, Recovered), SegmentError> {
    Ok(RaftLog::open(Arc::new(files.clone()), folder(), SMALL, 8)?.expect("there is a log"))
}

fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Record {
    let entries = indexes.map(|index| entry(term, index, &[index as u8; 60])).collect();
    Record { hard_state: Some(hard_state(term, 1, 0)), entries, ..Record::default() }
}

/// A term and an index for each entry.
fn places(recovered: &Recovered) -> Vec<(u64, u64)> {
    recovered.entries.iter().map(|entry| (entry.term, entry.index)).collect()
}

#[test]
fn a_new_log_has_its_members_and_no_entries() {
    let files = MemoryFiles::new();
    assert!(RaftLog::open(Arc::new(files.clone()), folder(), SMALL, 7).unwrap().is_none());
    create(&files);
    let (_, recovered) = reopen(&files.restart(Survival::Synced)).unwrap();
    assert_eq!(recovered, Recovered { members: vec![1, 2, 3], ..Recovered::default() });
}

#[test]
fn entries_over_many_segments_read_back() {
    let files = MemoryFiles::new();
    let mut log = create(&files);
    for index in 1..=100 {
        log.append(&entries(1, index..=index)).unwrap();
    }
    let (_, recovered) = reopen(&files.restart(Survival::Synced)).unwrap();
    assert_eq!(places(&recovered), (1..=100).map(|index| (1, index)).collect::<Vec<_>>());
    assert_eq!(recovered.entries[41].data, vec![42_u8; 60]);
    assert_eq!(recovered.hard_state, hard_state(1, 1, 0));
    assert!(raft_segment::numbers(&files, folder()).unwrap().len() > 10);
}

#[test]
fn a_record_larger_than_a_segment_gets_one_of_its_own() {
    let files = MemoryFiles::new();
    let mut log = create(&files);
    let large = Record { entries: vec![entry(1, 1, &[9; 5000])], ..Record::default() };
    log.append(&large).unwrap();
    log.append(&entries(1, 2..=2)).unwrap();
    let (_, recovered) = reopen(&files.restart(Survival::Synced)).unwrap();
    assert_eq!(places(&recovered), [(1, 1), (1, 2)]);
    assert_eq!(recovered.entries[0].data.len(), 5000);
}

#[test]
fn later_entries_replace_those_of_a_lost_leader() {
    let files = MemoryFiles::new();
    let mut log = create(&files);
    log.append(&entries(1, 1..=4)).unwrap();
    log.append(&entries(2, 3..=3)).unwrap();
    let files = files.restart(Survival::Synced);
    let (mut log, recovered) = reopen(&files).unwrap();
    assert_eq!(places(&recovered), [(1, 1), (1, 2), (2, 3)]);
    log.append(&entries(3, 2..=3)).unwrap();
    log.compact(Position { index: 2, term: 3 }).unwrap();
    let (_, recovered) = reopen(&files.restart(Survival::Synced)).unwrap();
    assert_eq!((recovered.compacted, places(&recovered)), (Position { index: 2, term: 3 }, vec![(3, 3)]));
}

#[test]
fn a_commit_index_waits_for_the_next_record_or_the_end() {
    let files = MemoryFiles::new();
    let mut log = create(&files);
    log.append(&entries(1, 1..=1)).unwrap();
    let syncs = files.syncs();
    let commit = |index| Record { hard_state: Some(hard_state(1, 1, index)), ..Record::default() };
    log.append(&commit(1)).unwrap();
    assert_eq!(files.syncs(), syncs, "a commit index alone costs no sync");
    assert_eq!(reopen(&files.restart(Survival::Written)).unwrap().1.hard_state.commit, 0);

    log.append(&Record { entries: vec![entry(1, 2, b"")], ..Record::default() }).unwrap();
    assert_eq!(reopen(&files.restart(Survival::Synced)).unwrap().1.hard_state.commit, 1);
    log.append(&commit(2)).unwrap();
    log.flush().unwrap();
    assert_eq!(reopen(&files.restart(Survival::Synced)).unwrap().1.hard_state.commit, 2);
    log.append(&Record { hard_state: Some(hard_state(2, 3, 2)), ..Record::default() }).unwrap();
    assert_eq!(reopen(&files.restart(Survival::Synced)).unwrap().1.hard_state, hard_state(2, 3, 2));
}

#[test]
fn compaction_keeps_the_disk_bounded_and_reuses_space() {
    let files = MemoryFiles::new();
    let mut log = create(&files);
    for index in 1..=500_u64 {
        log.append(&entries(1, index..=index)).unwrap();
        if index % 10 == 0 {
            log.compact(Position { index: index - 5, term: 1 }).unwrap();
            assert!(files.list(folder()).unwrap().len() <= 4, "at {index}");
        }
    }
    let files = files.restart(Survival::Synced);
    let (mut log, recovered) = reopen(&files).unwrap();
    assert_eq!(recovered.compacted, Position { index: 495, term: 1 });
    assert_eq!(places(&recovered), [(1, 496), (1, 497), (1, 498), (1, 499), (1, 500)]);
    log.append(&entries(1, 501..=501)).unwrap();
    assert_eq!(reopen(&files.restart(Survival::Synced)).unwrap().1.entries.len(), 6);
}

#[test]
fn a_failed_sync_is_told_and_never_hidden() {
    let files = MemoryFiles::new();
    let mut log = create(&files);
    files.fail_sync(files.syncs() + 1);
    let error = log.append(&entries(1, 1..=1)).unwrap_err();
    assert!(error.must_end(), "{error}");
}

/// A row of steps as a consenter makes them: appends, a conflict, commits, compactions.
fn steps() -> Vec<Result<Record, Position>> {
    let mut steps = Vec::new();
    for index in (1..40).step_by(2) {
        steps.push(Ok(entries(1, index..=index + 1)));
        steps.push(Ok(Record { hard_state: Some(hard_state(1, 1, index)), ..Record::default() }));
        if index % 9 == 0 {
            steps.push(Ok(entries(1, index..=index)));
            steps.push(Ok(entries(1, index + 1..=index + 1)));
            steps.push(Err(Position { index: index - 2, term: 1 }));
        }
    }
    steps
}

/// Makes the steps until the disk crashes; the last index that was acknowledged, and the last tried.
fn run(log: &mut RaftLog) -> (u64, u64) {
    let (mut acknowledged, mut tried) = (0, 0);
    for step in steps() {
        let result = match &step {
            Ok(record) => {
                tried = record.entries.last().map_or(tried, |entry| entry.index);
                log.append(record)
            }
            Err(position) => log.compact(*position),
        };
        match result {
            Ok(()) => acknowledged = tried,
            Err(_) => break,
        }
    }
    (acknowledged, tried)
}

#[test]
fn after_a_crash_at_any_operation_every_acknowledged_entry_is_there() {
    let whole = MemoryFiles::new();
    run(&mut create(&whole));
    let total = whole.operations();
    assert!(total > 60);
    let (mut torn, mut survived) = (0, 0);
    for operation in 1..=total {
        let files = MemoryFiles::new();
        files.crash_at(operation);
        let log = RaftLog::create(Arc::new(files.clone()), folder(), SMALL, 7, &[1]);
        let (acknowledged, tried) = log.map_or((0, 0), |mut log| run(&mut log));
        let survivals = (0..12).map(Survival::Torn).chain([Survival::Written, Survival::Synced, Survival::Zeroed]);
        for survival in survivals {
            let after = files.restart(survival);
            let opened = RaftLog::open(Arc::new(after.clone()), folder(), SMALL, 9);
            let Some((mut log, recovered)) = opened.unwrap_or_else(|error| panic!("{operation} {survival:?}: {error}"))
            else {
                assert_eq!(acknowledged, 0, "{operation} {survival:?}: the log is gone");
                continue;
            };
            torn += usize::from(recovered.torn);
            survived += 1;
            let last = recovered.compacted.index + recovered.entries.len() as u64;
            assert!(
                [acknowledged, tried].contains(&last),
                "{operation} {survival:?}: {last}, not {acknowledged} or {tried}"
            );
            for entry in &recovered.entries {
                assert_eq!(entry.data, vec![entry.index as u8; 60], "{operation} {survival:?}");
            }
            // The log goes on from there, also through a second crash.
            log.append(&entries(2, last + 1..=last + 3)).unwrap();
            let (_, again) = reopen(&after.restart(Survival::Synced)).unwrap();
            assert_eq!(again.compacted.index + again.entries.len() as u64, last + 3, "{operation} {survival:?}");
        }
    }
    assert!(torn > 0 && survived > 500, "torn {torn}, survived {survived}");
}

#[test]
fn a_flipped_byte_before_the_last_record_is_refused() {
    let files = MemoryFiles::new();
    let mut log = create(&files);
    for index in 1..=30 {
        log.append(&entries(1, index..=index)).unwrap();
    }
    let numbers = raft_segment::numbers(&files, folder()).unwrap();
    let (mut refused, mut padding) = (0, 0);
    for number in &numbers[..numbers.len() - 1] {
        for offset in 0..SMALL as usize {
            let damaged = files.restart(Survival::Synced);
            damaged.flip_byte(&raft_segment::path(folder(), *number), offset);
            match reopen(&damaged) {
                Err(SegmentError::Damaged { .. } | SegmentError::Format { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
                // Space behind the last record, and the zeros between records.
                Ok((_, recovered)) => {
                    assert_eq!(recovered.entries.len(), 30, "segment {number}, byte {offset}");
                    padding += 1;
                }
            }
        }
    }
    assert!(refused > 5 * padding, "{refused} refused, {padding} without effect");
}

#[test]
fn a_missing_segment_is_refused() {
    let files = MemoryFiles::new();
    let mut log = create(&files);
    for index in 1..=30 {
        log.append(&entries(1, index..=index)).unwrap();
    }
    let numbers = raft_segment::numbers(&files, folder()).unwrap();
    for missing in &numbers[..numbers.len() - 1] {
        let damaged = files.restart(Survival::Synced);
        damaged.remove(&raft_segment::path(folder(), *missing)).unwrap();
        let error = reopen(&damaged).err().expect("refused").to_string();
        assert!(error.contains("is damaged"), "{error}");
    }
}

#[test]
fn bytes_of_a_client_that_look_like_a_record_are_not_taken_for_one() {
    let files = MemoryFiles::new();
    let mut log = create(&files);
    log.append(&entries(1, 1..=1)).unwrap();
    // The bytes of a later record of this very log, inside an envelope of a torn record.
    let (mut other, copy) = (create(&MemoryFiles::new()), entries(1, 1..=1));
    other.append(&copy).unwrap();
    let mut forged = vec![0; 8];
    copy.write_body(99, &mut forged);
    let length = (forged.len() as u32 - 8).to_le_bytes();
    forged[..4].copy_from_slice(&length);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), &forged[8..]);
    forged[4..8].copy_from_slice(&checksum.to_le_bytes());
    let mut data = vec![0; 7 * 8];
    data.extend_from_slice(&forged);
    log.append(&Record { entries: vec![entry(1, 2, &data)], ..Record::default() }).unwrap();
    let torn = files.restart(Survival::Synced);
    assert!(torn.flip_byte(&raft_segment::path(folder(), 1), 300));
    let (_, recovered) = reopen(&torn).unwrap();
    assert_eq!((places(&recovered), recovered.torn), (vec![(1, 1)], true));
}
