//! The block store over files that crash, fill up and rot.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ripstop_ledger::block_store::{Encoding, Settings};
use ripstop_ledger::files::{DiskFiles, File, Files, MemoryFiles, Survival};
use ripstop_ledger::{BlockRecord, BlockStore, BlockStoreError, Refusal};
use ripstop_proto::common::{Block, BlockData, BlockHeader, BlockMetadata};

const FOLDER: &str = "blocks";

fn record(number: u64) -> BlockRecord {
    let data = vec![Bytes::from(format!("envelope {number} ").repeat(20))];
    let header = BlockHeader { number, previous_hash: Bytes::from_static(b"previous"), data_hash: Bytes::new() };
    let metadata = BlockMetadata { metadata: vec![Bytes::new(); 5] };
    let block = Block { header: Some(header), data: Some(BlockData { data }), metadata: Some(metadata) };
    let refusals = vec![Refusal { tx_index: 0, text: "why".into(), ..Refusal::default() }];
    BlockRecord { block: Some(block), refusals, private_writes: vec![] }
}

fn plain() -> Settings {
    Settings { encoding: Encoding::Plain, ..Settings::default() }
}

/// Two or three blocks per segment.
fn small_segments() -> Settings {
    Settings { segment_bytes_max: 1_000, ..plain() }
}

fn open(files: &MemoryFiles, settings: Settings) -> Result<BlockStore, BlockStoreError> {
    BlockStore::open_with(Arc::new(files.clone()), FOLDER, settings)
}

fn filled(files: &MemoryFiles, settings: Settings, count: u64) -> BlockStore {
    let store = open(files, settings).unwrap();
    (0..count).for_each(|number| store.append(&record(number)).unwrap());
    store
}

fn segment(first_number: u64) -> PathBuf {
    Path::new(FOLDER).join(format!("{first_number:012}.blocks"))
}

fn file(files: &MemoryFiles, path: &Path) -> Arc<dyn File> {
    files.open_existing(path).unwrap().unwrap()
}

fn content(files: &MemoryFiles, path: &Path) -> Vec<u8> {
    let file = file(files, path);
    file.read_at(0, file.length().unwrap() as usize).unwrap()
}

#[test]
fn a_record_has_the_documented_bytes() {
    let files = MemoryFiles::new();
    let header = BlockHeader { number: 0, previous_hash: Bytes::new(), data_hash: Bytes::from_static(b"dh") };
    let block = Block { header: Some(header), data: Some(BlockData { data: vec!["tx".into()] }), metadata: None };
    open(&files, plain()).unwrap().append(&BlockRecord { block: Some(block), ..BlockRecord::default() }).unwrap();
    let expected = concat!(
        "5253424b",         // magic "RSBK"
        "01",               // format version
        "00",               // plain
        "0000",             // zero
        "0000000000000000", // block number
        "0e000000",         // body length
        "0e000000",         // decoded length
        "317555f2",         // CRC-32C of the body
        "67b84aa7",         // CRC-32C of the header before
        "0a0c",             // BlockRecord.block
        "0a041a026468",     // header: data_hash "dh"
        "12040a027478",     // data: "tx"
    );
    assert_eq!(hex::encode(content(&files, &segment(0))), expected);
}

#[test]
fn records_come_back_in_either_encoding_after_any_reopening() {
    let files = MemoryFiles::new();
    for number in 0..20 {
        let encoding = if number % 2 == 0 { Encoding::Plain } else { Encoding::Zstd };
        let store = open(&files, Settings { encoding, ..small_segments() }).unwrap();
        assert_eq!(store.height(), number);
        store.append(&record(number)).unwrap();
    }
    let store = open(&files, plain()).unwrap();
    for number in 0..20 {
        assert_eq!(store.record(number).unwrap(), Some(record(number)));
    }
    assert_eq!(store.record(20).unwrap(), None);
    assert_eq!(store.last_block().unwrap(), record(19).block);
    let segments = files.list(Path::new(FOLDER)).unwrap();
    assert!(segments.iter().filter(|name| name.ends_with(".blocks")).count() > 3, "{segments:?}");
}

#[test]
fn several_records_are_appended_with_one_sync() {
    let files = MemoryFiles::new();
    let store = filled(&files, plain(), 2);
    let syncs = files.syncs();
    store.append_all(&[record(2), record(3), record(4)]).unwrap();
    assert_eq!(files.syncs(), syncs + 1);
    assert_eq!(open(&files, plain()).unwrap().record(3).unwrap(), Some(record(3)));
}

#[test]
fn a_crash_while_several_records_are_appended_leaves_the_first_few() {
    let kept = |seed| {
        let files = MemoryFiles::new();
        let store = filled(&files, plain(), 2);
        files.crash_at(files.operations() + 2);
        assert!(store.append_all(&[record(2), record(3), record(4), record(5)]).is_err(), "the sync fails");
        let after = files.restart(Survival::Reordered(seed));
        let store = open(&after, plain()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let kept = store.height();
        (0..kept).for_each(|number| assert_eq!(store.record(number).unwrap(), Some(record(number))));
        (kept..8).for_each(|number| store.append(&record(number)).unwrap());
        kept
    };
    let heights: std::collections::BTreeSet<u64> = (0..200).map(kept).collect();
    assert!(heights.len() > 2 && heights.first() == Some(&2), "{heights:?}");
}

#[test]
fn only_the_next_number_is_taken() {
    let store = filled(&MemoryFiles::new(), plain(), 3);
    for wrong in [0, 2, 4] {
        assert!(matches!(store.append(&record(wrong)), Err(BlockStoreError::Number { expected: 3, .. })));
    }
    let headless = BlockRecord { block: Some(Block::default()), ..BlockRecord::default() };
    assert!(matches!(store.append(&headless), Err(BlockStoreError::Number { expected: 3, .. })));
    store.append(&record(3)).unwrap();
}

#[test]
fn a_torn_tail_of_any_length_is_cut_and_the_block_can_be_appended_again() {
    let whole = MemoryFiles::new();
    filled(&whole, plain(), 3);
    let length = content(&whole, &segment(0)).len() as u64;
    let second_end = length / 3 * 2;
    for cut in (second_end..length).step_by(7).chain([second_end + 1, length - 1]) {
        let files = MemoryFiles::new();
        filled(&files, plain(), 3);
        file(&files, &segment(0)).truncate(cut).unwrap();
        let store = open(&files, plain()).unwrap();
        assert_eq!(store.height(), 2, "cut at {cut}");
        store.append(&record(2)).unwrap();
        assert_eq!(open(&files, plain()).unwrap().record(2).unwrap(), Some(record(2)));
    }
}

#[test]
fn a_tail_of_zeros_is_cut() {
    let files = MemoryFiles::new();
    filled(&files, plain(), 2);
    file(&files, &segment(0)).append(&[0; 5_000]).unwrap();
    assert_eq!(open(&files, plain()).unwrap().height(), 2);
}

#[test]
fn a_flipped_byte_before_the_last_record_is_refused_and_nothing_is_cut() {
    let whole = MemoryFiles::new();
    filled(&whole, plain(), 3);
    let length = content(&whole, &segment(0)).len();
    for offset in (0..length / 3 * 2).step_by(11) {
        let files = MemoryFiles::new();
        filled(&files, plain(), 3);
        assert!(files.flip_byte(&segment(0), offset));
        let error = open(&files, plain()).err().unwrap();
        assert!(matches!(error, BlockStoreError::Damaged { .. }), "offset {offset}: {error}");
        assert_eq!(content(&files, &segment(0)).len(), length);
    }
}

#[test]
fn a_flipped_byte_in_the_last_record_is_damage_when_that_block_is_known_to_have_been_stored() {
    let flipped = || {
        let files = MemoryFiles::new();
        filled(&files, plain(), 3);
        let length = content(&files, &segment(0)).len();
        files.flip_byte(&segment(0), length - 1);
        files
    };
    assert_eq!(open(&flipped(), plain()).unwrap().height(), 2);
    let error = open(&flipped(), Settings { known_height: 3, ..plain() }).err().unwrap();
    assert!(matches!(error, BlockStoreError::Damaged { number: 2, .. }), "{error}");
}

#[test]
fn a_format_of_the_future_is_refused_and_not_cut() {
    let files = MemoryFiles::new();
    filled(&files, plain(), 1);
    let mut bytes = content(&files, &segment(0));
    bytes[4] = 2;
    let checksum = crc32c::crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&checksum.to_le_bytes());
    let file = file(&files, &segment(0));
    file.truncate(0).unwrap();
    file.append(&bytes).unwrap();
    let error = open(&files, plain()).err().unwrap();
    assert!(error.to_string().contains("record format 2"), "{error}");
    assert_eq!(content(&files, &segment(0)), bytes);
}

#[test]
fn a_flipped_byte_in_an_old_segment_is_found_when_it_is_read() {
    let files = MemoryFiles::new();
    drop(filled(&files, small_segments(), 10));
    files.flip_byte(&segment(0), 100);
    let store = open(&files, small_segments()).unwrap();
    assert!(matches!(store.record(0), Err(BlockStoreError::Damaged { number: 0, .. })));
    assert_eq!(store.record(9).unwrap(), Some(record(9)));
}

#[test]
fn offsets_beside_a_segment_may_be_missing_or_damaged() {
    let files = MemoryFiles::new();
    drop(filled(&files, small_segments(), 10));
    let offsets = Path::new(FOLDER).join(format!("{:012}.offsets", 0));
    assert!(files.flip_byte(&offsets, 20));
    let check = || {
        let store = open(&files, small_segments()).unwrap();
        (0..10).for_each(|number| assert_eq!(store.record(number).unwrap(), Some(record(number))));
    };
    check();
    files.remove(&offsets).unwrap();
    check();
}

#[test]
fn a_missing_segment_is_named() {
    let files = MemoryFiles::new();
    drop(filled(&files, small_segments(), 10));
    files.remove(&segment(0)).unwrap();
    let error = open(&files, small_segments()).err().unwrap();
    assert!(matches!(error, BlockStoreError::MissingSegment { expected: 0, .. }), "{error}");
}

#[test]
fn a_full_disk_stops_appending_until_there_is_space() {
    let files = MemoryFiles::new();
    let store = filled(&files, plain(), 3);
    files.set_capacity_bytes(Some(content(&files, &segment(0)).len() as u64 + 100));
    for _ in 0..2 {
        let error = store.append(&record(3)).unwrap_err();
        assert!(error.is_no_space() && !error.must_end(), "{error}");
    }
    assert_eq!((store.height(), store.record(2).unwrap()), (3, Some(record(2))));
    files.set_capacity_bytes(None);
    store.append(&record(3)).unwrap();
    drop(store);
    assert_eq!(open(&files, plain()).unwrap().record(3).unwrap(), Some(record(3)));
}

#[test]
fn after_a_failed_sync_nothing_is_written_any_more() {
    let files = MemoryFiles::new();
    let store = filled(&files, plain(), 3);
    files.fail_sync(files.syncs() + 1);
    assert!(store.append(&record(3)).unwrap_err().must_end());
    let operations = files.operations();
    assert!(matches!(store.append(&record(3)), Err(BlockStoreError::Ended)));
    assert_eq!(files.operations(), operations, "the sync is not tried again");
    assert_eq!((store.height(), store.record(2).unwrap()), (3, Some(record(2))));
}

#[test]
fn a_folder_on_the_disk_belongs_to_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a").join("blocks");
    let store = BlockStore::open(Arc::new(DiskFiles), &path).unwrap();
    store.append(&record(0)).unwrap();
    let error = BlockStore::open(Arc::new(DiskFiles), &path).err().unwrap();
    assert!(error.to_string().contains("another process uses this folder"), "{error}");
    drop(store);
    let store = BlockStore::open(Arc::new(DiskFiles), &path).unwrap();
    assert_eq!(store.record(0).unwrap(), Some(record(0)));
}
