//! Looking through a ledger's folder, and building index and state again on demand.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ripstop_ledger::files::DiskFiles;
use ripstop_ledger::store::{Batch, LevelDbStores, MemoryStores, Stores};
use ripstop_ledger::{
    BlockRecord, BlockStore, BlockStoreError, DerivedFinding, Ledger, LedgerError, Options, Verification,
};
use ripstop_proto::block::set_metadata_slot;
use ripstop_proto::config::config_envelope;
use ripstop_proto::envelope::OpenEnvelope;

use crate::fabric_chains::{as_delivered, chain};

/// A ledger of the first blocks of the chain `mixed`, in a folder of its own.
fn imported(height: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let blocks = &chain("mixed")[..height];
    let (channel_id, _) = config_envelope(&blocks[0]).unwrap();
    let ledger = Ledger::create(folder.path(), &channel_id, blocks[0].clone(), Options::default()).unwrap();
    blocks[1..].iter().for_each(|block| drop(ledger.commit(as_delivered(block)).unwrap()));
    folder
}

fn verify(folder: &Path) -> Result<Verification, LedgerError> {
    let scratch = MemoryStores::new().open(Path::new("scratch")).unwrap();
    Verification::of(folder, &Options::default(), scratch, |_| {})
}

fn wrong(folder: &Path) -> String {
    match verify(folder).unwrap().derived {
        DerivedFinding::Wrong { reason } => reason,
        other => panic!("{other:?}"),
    }
}

/// Writes into a ledger's derived store behind its back.
fn tamper(folder: &Path, change: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::default();
    change(&mut batch);
    LevelDbStores::default().open(&folder.join("derived")).unwrap().write(&batch, true).unwrap();
}

fn segment(folder: &Path) -> PathBuf {
    folder.join("blocks/000000000000.blocks")
}

#[test]
fn a_whole_ledger_is_found_whole_and_stays_as_it_is() {
    let folder = imported(117);
    let before = fs::read(segment(folder.path())).unwrap();
    let mut seen = Vec::new();
    let scratch = MemoryStores::new().open(Path::new("scratch")).unwrap();
    let found = Verification::of(folder.path(), &Options::default(), scratch, |number| seen.push(number)).unwrap();
    assert_eq!((found.height, found.transactions, found.torn_bytes), (117, 1_996, 0));
    let DerivedFinding::Equal { height: 117, entries } = found.derived else { panic!("{:?}", found.derived) };
    assert!(entries > 2_000, "{entries} entries");
    assert_eq!(seen, (0..117).collect::<Vec<_>>());
    assert_eq!(fs::read(segment(folder.path())).unwrap(), before);
    assert_eq!(verify(folder.path()).unwrap().derived, DerivedFinding::Equal { height: 117, entries });
}

#[test]
fn index_and_state_that_do_not_follow_from_the_blocks_are_found_and_can_be_rebuilt() {
    type Alteration = (&'static str, fn(&mut Batch));
    let alterations: [Alteration; 4] = [
        ("\"stray\" in namespace \"bench\"", |batch| {
            batch.put(b"dbench\0stray".to_vec(), b"\x01\x01\x00\x00v".to_vec());
        }),
        ("the place of transaction", |batch| batch.delete([vec![b'x'], hex::decode(some_tx_id()).unwrap()].concat())),
        ("format", |batch| batch.put(b"f".to_vec(), b"ripstop derived 0".to_vec())),
        ("savepoint", |batch| batch.put(b"s".to_vec(), b"short".to_vec())),
    ];
    for (named, alter) in alterations {
        let folder = imported(30);
        tamper(folder.path(), alter);
        let reason = wrong(folder.path());
        assert!(reason.contains(named), "{named}: {reason}");
        assert_eq!(wrong(folder.path()), reason, "looking changed something");
        let rebuilt = Ledger::rebuild(folder.path(), Options::default()).unwrap();
        assert_eq!(rebuilt.height(), 30);
        drop(rebuilt);
        let found = verify(folder.path()).unwrap();
        assert!(matches!(found.derived, DerivedFinding::Equal { height: 30, .. }), "{named}: {found:?}");
        assert!(folder.path().join("derived.set-aside-1").is_dir());
    }
}

fn some_tx_id() -> String {
    let block = &chain("mixed")[10];
    OpenEnvelope::open(&block.data.as_ref().unwrap().data[0]).unwrap().channel_header.tx_id
}

#[test]
fn missing_index_and_state_are_no_damage() {
    let folder = imported(10);
    fs::remove_dir_all(folder.path().join("derived")).unwrap();
    assert_eq!(verify(folder.path()).unwrap().derived, DerivedFinding::Absent);
    assert!(!folder.path().join("derived").exists(), "looking made something");
    drop(Ledger::open(folder.path(), Options::default()).unwrap());
    assert!(matches!(verify(folder.path()).unwrap().derived, DerivedFinding::Equal { height: 10, .. }));
}

#[test]
fn what_a_crash_left_is_told_and_left_to_the_next_start() {
    let folder = imported(10);
    let mut bytes = fs::read(segment(folder.path())).unwrap();
    let whole = bytes.len();
    bytes.extend_from_slice(b"RSBK and then the power failed");
    fs::write(segment(folder.path()), &bytes).unwrap();
    let found = verify(folder.path()).unwrap();
    assert_eq!((found.height, found.torn_bytes), (10, (bytes.len() - whole) as u64));
    assert_eq!(fs::read(segment(folder.path())).unwrap(), bytes);
    drop(Ledger::open(folder.path(), Options::default()).unwrap());
    assert_eq!(fs::read(segment(folder.path())).unwrap().len(), whole);
}

#[test]
fn blocks_that_state_knows_of_are_missed_by_verification_and_rebuild() {
    let folder = imported(10);
    let bytes = fs::read(segment(folder.path())).unwrap();
    fs::write(segment(folder.path()), &bytes[..bytes.len() - 1]).unwrap();
    let error = verify(folder.path()).unwrap_err();
    assert!(matches!(error, LedgerError::BlocksLost { height: 9, state_height: 10, .. }), "{error}");
    let error = Ledger::rebuild(folder.path(), Options::default()).err().unwrap();
    assert!(matches!(error, LedgerError::Blocks(BlockStoreError::Damaged { number: 9, .. })), "{error}");
    assert_eq!(fs::read(segment(folder.path())).unwrap().len(), bytes.len() - 1, "nothing was cut");
}

#[test]
fn any_flipped_byte_of_a_block_is_found() {
    let folder = imported(10);
    let bytes = fs::read(segment(folder.path())).unwrap();
    for place in (0..bytes.len()).step_by(bytes.len() / 60) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 0x20;
        fs::write(segment(folder.path()), &flipped).unwrap();
        let error = verify(folder.path()).unwrap_err();
        let is_told = matches!(
            error,
            LedgerError::Blocks(BlockStoreError::Damaged { .. }) | LedgerError::BlocksLost { state_height: 10, .. }
        );
        assert!(is_told, "byte {place}: {error}");
    }
}

#[test]
fn a_folder_in_use_is_refused_and_not_touched() {
    let folder = imported(10);
    let ledger = Ledger::open(folder.path(), Options::default()).unwrap();
    for error in [verify(folder.path()).unwrap_err(), Ledger::rebuild(folder.path(), Options::default()).err().unwrap()]
    {
        assert!(error.to_string().contains("another process uses this folder"), "{error}");
    }
    assert!(!folder.path().join("rebuild").exists() && !folder.path().join("derived.set-aside-1").exists());
    drop(ledger);
    assert!(matches!(verify(folder.path()).unwrap().derived, DerivedFinding::Equal { .. }));
}

#[test]
fn a_second_opening_leaves_a_store_alone_that_is_to_be_rebuilt() {
    let folder = imported(10);
    let ledger = Ledger::open(folder.path(), Options::default()).unwrap();
    ledger.rebuild_at_next_start();
    let error = Ledger::open(folder.path(), Options::default()).err().unwrap();
    assert!(matches!(error, LedgerError::File(_)), "{error}");
    assert!(!folder.path().join("derived.set-aside-1").exists());
}

#[test]
fn of_an_orderer_s_chain_the_blocks_are_checked_and_nothing_else_is_asked_for() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = BlockStore::open(Arc::new(DiskFiles), folder.path().join("blocks")).unwrap();
    let altered = BlockStore::open(Arc::new(DiskFiles), other.path().join("blocks")).unwrap();
    for (number, mut block) in chain("mixed").into_iter().take(10).enumerate() {
        set_metadata_slot(&mut block, 2, Bytes::new());
        set_metadata_slot(&mut block, 4, Bytes::new());
        store.append(&BlockRecord { block: Some(block.clone()), ..BlockRecord::default() }).unwrap();
        if number == 5 {
            block.data.as_mut().unwrap().data.pop();
        }
        altered.append(&BlockRecord { block: Some(block), ..BlockRecord::default() }).unwrap();
    }
    drop((store, altered));
    let found = verify(folder.path()).unwrap();
    assert_eq!((found.height, found.derived), (10, DerivedFinding::NotDerived));
    let error = verify(other.path()).unwrap_err();
    assert!(matches!(error, LedgerError::Contradiction { number: 5, .. }), "{error}");
}

#[test]
fn a_folder_without_blocks_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let error = verify(folder.path()).unwrap_err();
    assert!(matches!(error, LedgerError::Empty { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "looking made something");
}
