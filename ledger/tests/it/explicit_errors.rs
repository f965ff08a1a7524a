//! Full disks, failed syncs, damaged and foreign stores: what is refused, and what mends itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ripstop_ledger::files::{Files, MemoryFiles, Survival};
use ripstop_ledger::store::{Batch, MemoryStores, Snapshot, Store, StoreError, Stores};
use ripstop_ledger::{Ledger, LedgerError, Options};

use crate::build::{CHANNEL, checked, commit, endorsed, genesis, next_block, sets};

/// Stores that fail on demand.
#[derive(Clone, Default)]
struct Failing {
    stores: MemoryStores,
    full: Arc<AtomicBool>,
    damaged: Arc<AtomicBool>,
}

impl Stores for Failing {
    fn open(&self, folder: &Path) -> Result<Arc<dyn Store>, StoreError> {
        let store = self.stores.open(folder)?;
        Ok(Arc::new(FailingStore { store, full: Arc::clone(&self.full), damaged: Arc::clone(&self.damaged) }))
    }

    fn set_aside(&self, folder: &Path) -> Result<Option<String>, StoreError> {
        self.stores.set_aside(folder)
    }
}

struct FailingStore {
    store: Arc<dyn Store>,
    full: Arc<AtomicBool>,
    damaged: Arc<AtomicBool>,
}

impl Store for FailingStore {
    fn write(&self, batch: &Batch, durable: bool) -> Result<(), StoreError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(StoreError::NoSpace("as planned".into()));
        }
        if self.damaged.load(Ordering::Relaxed) {
            return Err(StoreError::Damaged("as planned".into()));
        }
        self.store.write(batch, durable)
    }

    fn reopen(&self) -> Result<(), StoreError> {
        match self.full.load(Ordering::Relaxed) {
            true => Err(StoreError::NoSpace("as planned".into())),
            false => self.store.reopen(),
        }
    }

    fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.store.snapshot()
    }
}

struct Setting {
    files: MemoryFiles,
    stores: Failing,
}

impl Setting {
    fn new() -> Self {
        Self { files: MemoryFiles::new(), stores: Failing::default() }
    }

    fn options(&self) -> Options {
        let (files, stores) = (Arc::new(self.files.clone()), Arc::new(self.stores.clone()));
        Options { files, stores, ..Options::in_memory() }
    }

    fn ledger(&self) -> Ledger {
        let ledger = Ledger::create("ledger", CHANNEL, genesis(), self.options()).unwrap();
        commit(&ledger, &[sets().write("k", "1")]);
        ledger
    }
}

fn value(ledger: &Ledger) -> String {
    let entry = ledger.state().get("cc", "k").unwrap().unwrap();
    String::from_utf8(entry.value.to_vec()).unwrap()
}

fn next(ledger: &Ledger) -> ripstop_ledger::CheckedBlock {
    checked(next_block(ledger, vec![endorsed("next", &sets().write("k", "2"))]))
}

#[test]
fn with_a_full_disk_reads_go_on_and_the_same_block_is_committed_later() {
    let setting = Setting::new();
    let ledger = setting.ledger();
    setting.files.set_capacity_bytes(Some(0));
    let block = next(&ledger);
    for _ in 0..2 {
        let error = ledger.commit(block.clone()).unwrap_err();
        assert!(error.is_no_space() && !error.must_end(), "{error}");
        assert_eq!((ledger.height(), value(&ledger).as_str()), (2, "1"));
    }
    setting.files.set_capacity_bytes(None);
    ledger.commit(block).unwrap();
    assert_eq!((ledger.height(), value(&ledger).as_str()), (3, "2"));
}

#[test]
fn a_block_whose_state_found_no_space_is_applied_when_it_is_offered_again() {
    let setting = Setting::new();
    let ledger = setting.ledger();
    let block = next(&ledger);
    setting.stores.full.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        assert!(ledger.commit(block.clone()).unwrap_err().is_no_space());
        assert_eq!((ledger.height(), value(&ledger).as_str()), (2, "1"), "nothing is visible yet");
    }
    setting.stores.full.store(false, Ordering::Relaxed);
    let committed = ledger.commit(block).unwrap();
    assert_eq!(committed.block.header.as_ref().unwrap().number, 2);
    assert_eq!((ledger.height(), value(&ledger).as_str()), (3, "2"));
    commit(&ledger, &[sets().write("k", "3")]);
    assert_eq!((ledger.height(), value(&ledger).as_str()), (4, "3"));
}

#[test]
fn a_block_whose_state_found_no_space_is_there_after_a_restart() {
    let setting = Setting::new();
    let ledger = setting.ledger();
    setting.stores.full.store(true, Ordering::Relaxed);
    ledger.commit(next(&ledger)).unwrap_err();
    drop(ledger);
    setting.stores.full.store(false, Ordering::Relaxed);
    let ledger = Ledger::open("ledger", setting.options()).unwrap();
    assert_eq!((ledger.height(), value(&ledger).as_str()), (3, "2"));
}

#[test]
fn a_failed_sync_ends_committing_for_good_and_reads_go_on() {
    let setting = Setting::new();
    let ledger = setting.ledger();
    setting.files.fail_sync(setting.files.syncs() + 1);
    let block = next(&ledger);
    for _ in 0..2 {
        let error = ledger.commit(block.clone()).unwrap_err();
        assert!(error.must_end(), "{error}");
    }
    assert_eq!((ledger.height(), value(&ledger).as_str()), (2, "1"));
}

#[test]
fn a_damaged_store_is_rebuilt_at_the_next_start() {
    let setting = Setting::new();
    let ledger = setting.ledger();
    setting.stores.damaged.store(true, Ordering::Relaxed);
    assert!(ledger.commit(next(&ledger)).unwrap_err().must_end());
    drop(ledger);
    setting.stores.damaged.store(false, Ordering::Relaxed);
    let poison = setting.stores.stores.open(Path::new("ledger/derived")).unwrap();
    let mut wrong = Batch::default();
    wrong.put(b"dcc\0k".to_vec(), b"\x01\x01\x00\x00wrong".to_vec());
    poison.write(&wrong, true).unwrap();
    let ledger = Ledger::open("ledger", setting.options()).unwrap();
    assert_eq!((ledger.height(), value(&ledger).as_str()), (3, "2"), "nothing is taken from the old store");
    assert!(!setting.files.list(Path::new("ledger")).unwrap().contains(&"rebuild".to_owned()));
}

#[test]
fn a_store_of_another_format_is_rebuilt() {
    let setting = Setting::new();
    drop(setting.ledger());
    let store = setting.stores.stores.open(Path::new("ledger/derived")).unwrap();
    let mut other = Batch::default();
    other.put(b"f".to_vec(), b"ripstop derived 0".to_vec());
    other.delete(b"dcc\0k".to_vec());
    store.write(&other, true).unwrap();
    let ledger = Ledger::open("ledger", setting.options()).unwrap();
    assert_eq!((ledger.height(), value(&ledger).as_str()), (2, "1"));
}

#[test]
fn a_store_that_lost_a_block_in_between_is_rebuilt() {
    let setting = Setting::new();
    let ledger = setting.ledger();
    commit(&ledger, &[sets().write("other", "x")]);
    drop(ledger);
    let store = setting.stores.stores.open(Path::new("ledger/derived")).unwrap();
    let mut lost = Batch::default();
    lost.delete([&b"n"[..], &1_u64.to_be_bytes()].concat());
    lost.delete(b"dcc\0k".to_vec());
    store.write(&lost, true).unwrap();
    let ledger = Ledger::open("ledger", setting.options()).unwrap();
    assert_eq!((ledger.height(), value(&ledger).as_str()), (3, "1"));
}

#[test]
fn a_store_of_another_chain_is_rebuilt() {
    let (ours, theirs) = (Setting::new(), Setting::new());
    drop(ours.ledger());
    let foreign = Ledger::create("ledger", CHANNEL, genesis(), theirs.options()).unwrap();
    commit(&foreign, &[sets().write("k", "foreign")]);
    drop(foreign);
    let options = Options { stores: Arc::new(theirs.stores.clone()), ..ours.options() };
    assert_eq!(value(&Ledger::open("ledger", options).unwrap()), "1");
}

#[test]
fn a_state_beyond_the_blocks_is_refused_with_what_to_do() {
    let setting = Setting::new();
    let ledger = setting.ledger();
    let before = setting.files.restart(Survival::Written);
    commit(&ledger, &[sets().write("k", "2")]);
    drop(ledger);
    let options = Options { files: Arc::new(before), ..setting.options() };
    let error = Ledger::open("ledger", options).err().unwrap();
    assert!(matches!(error, LedgerError::BlocksLost { height: 2, state_height: 3, .. }), "{error}");
}

#[test]
fn a_record_that_does_not_give_its_commit_hash_again_stops_the_node() {
    let setting = Setting::new();
    let ledger = setting.ledger();
    let record = ledger.record(1).unwrap().unwrap();
    let genesis_record = ledger.record(0).unwrap().unwrap();
    drop(ledger);
    let files = MemoryFiles::new();
    let blocks = ripstop_ledger::BlockStore::open(Arc::new(files.clone()), "ledger/blocks").unwrap();
    blocks.append(&genesis_record).unwrap();
    let mut altered = record;
    ripstop_proto::block::set_metadata_slot(altered.block.as_mut().unwrap(), 2, vec![11].into());
    blocks.append(&altered).unwrap();
    drop(blocks);
    let options = Options { files: Arc::new(files), ..Options::in_memory() };
    let error = Ledger::open("ledger", options).err().unwrap();
    assert!(matches!(&error, LedgerError::Contradiction { number: 1, .. }) && error.must_end(), "{error}");
}
