//! A ledger that crashes at every single write and sync, and is opened again on whatever
//! a disk may hold then, has every block it ever reported, and goes on to the same end.
//!
//! `RIPSTOP_CRASH_IMAGES` sets how many torn and how many reordered disks are made for each
//! crash, each with another seed.

use std::sync::Arc;

use ripstop_ledger::block_store::{Encoding, Settings};
use ripstop_ledger::files::{MemoryFiles, Survival};
use ripstop_ledger::store::MemoryStores;
use ripstop_ledger::{CheckedBlock, Ledger, LedgerError, Options, PrivateWrite, Version, VersionedValue};
use ripstop_proto::common::Block;

use crate::build::{CHANNEL, block, checked, endorsed, genesis, sets};
use crate::environment::number;

pub(crate) const FOLDER: &str = "ledger";
pub(crate) const BLOCKS: u64 = 30;
const IMAGES: u64 = 1;

/// The blocks to commit, made so that codes depend on the state before.
pub(crate) fn chain() -> Vec<CheckedBlock> {
    let mut previous = genesis();
    (1..=BLOCKS).map(|number| next_of(&mut previous, number)).collect()
}

fn next_of(previous: &mut Block, number: u64) -> CheckedBlock {
    let stale = Some(Version::new(number.saturating_sub(2), 0).into());
    let fresh = (number > 1).then(|| Version::new(number - 1, 0).into());
    let transactions = [
        sets().read("counter", fresh).write("counter", &format!("{number}")).private_write("coll", "p", "v"),
        sets().read("counter", stale).write("lost", "x"),
        sets().write(&format!("row {number}"), &"filling ".repeat(60)).delete(&format!("row {}", number - 1)),
    ];
    let entries = transactions.iter().enumerate().map(|(index, sets)| endorsed(&format!("{number}-{index}"), sets));
    let hash = ripstop_proto::block::header_hash(previous.header.as_ref().unwrap());
    *previous = block(number, hash.to_vec().into(), entries.collect());
    let private = PrivateWrite {
        tx_index: 0,
        namespace: "cc".into(),
        collection: "coll".into(),
        key: "p".into(),
        value: Some("v".into()),
    };
    CheckedBlock { private_writes: vec![private], ..checked(previous.clone()) }
}

pub(crate) fn options(files: &MemoryFiles, stores: &MemoryStores) -> Options {
    let blocks = Settings { encoding: Encoding::Plain, segment_bytes_max: 3_000, known_height: 0 };
    Options { files: Arc::new(files.clone()), stores: Arc::new(stores.clone()), blocks, ..Options::in_memory() }
}

/// All that a reader can see.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) blocks: Vec<Block>,
    state: Vec<(String, VersionedValue)>,
    private: Option<VersionedValue>,
    positions: Vec<Option<ripstop_ledger::TransactionPosition>>,
}

pub(crate) fn seen(ledger: &Ledger) -> Seen {
    let ids = (1..=BLOCKS).flat_map(|number| (0..3).map(move |index| format!("{number}-{index}")));
    Seen {
        blocks: (0..ledger.height()).map(|number| Block::clone(&ledger.block(number).unwrap().unwrap())).collect(),
        state: ledger.state().range("cc", "", "").map(Result::unwrap).collect(),
        private: ledger.state().private("cc", "coll", "p").unwrap(),
        positions: ids.map(|id| ledger.transaction(&id).unwrap()).collect(),
    }
}

/// Creates the ledger and commits the chain until something fails. Returns the heights
/// that were reported.
fn run(options: &Options, images: &mut Vec<MemoryStores>, stores: &MemoryStores) -> u64 {
    let Ok(ledger) = Ledger::create(FOLDER, CHANNEL, genesis(), options.clone()) else { return 0 };
    images.push(stores.image());
    for checked in chain() {
        if ledger.commit(checked).is_err() {
            break;
        }
        images.push(stores.image());
    }
    ledger.height()
}

/// Opens what is left, creating the ledger anew where its genesis was never stored, and
/// commits the rest of the chain.
pub(crate) fn recover_and_finish(options: &Options, reported: u64, place: &str) -> Seen {
    let ledger = match Ledger::open(FOLDER, options.clone()) {
        Ok(ledger) => ledger,
        Err(LedgerError::Empty { .. }) if reported == 0 => {
            Ledger::create(FOLDER, CHANNEL, genesis(), options.clone()).unwrap()
        }
        Err(error) => panic!("{place}: {error}"),
    };
    assert!(ledger.height() >= reported, "{place}: {} blocks left of {reported}", ledger.height());
    for checked in chain().into_iter().skip(ledger.height() as usize - 1) {
        ledger.commit(checked).unwrap();
    }
    seen(&ledger)
}

/// What a disk may hold after crash number `crash`.
fn survivals(crash: u64) -> impl Iterator<Item = Survival> {
    let seeds = (0..number("RIPSTOP_CRASH_IMAGES", IMAGES)).map(move |seed| seed + crash * 100);
    let by_seed = seeds.flat_map(|seed| [Survival::Torn(seed), Survival::Reordered(seed)]);
    [Survival::Written, Survival::Synced, Survival::Zeroed].into_iter().chain(by_seed)
}

#[test]
fn a_crash_at_any_write_or_sync_loses_nothing_that_was_reported() {
    let (files, stores) = (MemoryFiles::new(), MemoryStores::new());
    assert_eq!(run(&options(&files, &stores), &mut Vec::new(), &stores), BLOCKS + 1);
    let expected = seen(&Ledger::open(FOLDER, options(&files, &stores)).unwrap());
    assert_eq!(expected.blocks.len() as u64, BLOCKS + 1);
    let operations = files.operations();
    assert!(operations > 4 * BLOCKS, "{operations} operations");

    let mut recoveries = 0;
    for crash in 1..=operations {
        let (files, stores) = (MemoryFiles::new(), MemoryStores::new());
        files.crash_at(crash);
        let mut images = Vec::new();
        let reported = run(&options(&files, &stores), &mut images, &stores);
        for survival in survivals(crash) {
            // The derived store as it was, as it was some blocks before, and none at all.
            let older = images.get(images.len() / 2).map(MemoryStores::image);
            for (index, derived) in
                [stores.image(), older.unwrap_or_default(), MemoryStores::new()].into_iter().enumerate()
            {
                let place = format!("crash at {crash}, {survival:?}, derived store {index}");
                let found = recover_and_finish(&options(&files.restart(survival), &derived), reported, &place);
                assert_eq!(found, expected, "{place}");
                recoveries += 1;
            }
        }
    }
    println!("{recoveries} recoveries after crashes at {operations} operations");
}

#[test]
fn a_crash_while_recovering_is_recovered_from() {
    let (files, stores) = (MemoryFiles::new(), MemoryStores::new());
    files.crash_at(18);
    let reported = run(&options(&files, &stores), &mut Vec::new(), &stores);
    assert!((1..=BLOCKS).contains(&reported), "{reported}");
    let torn = files.restart(Survival::Torn(3));
    let (whole_files, whole_stores) = (MemoryFiles::new(), MemoryStores::new());
    run(&options(&whole_files, &whole_stores), &mut Vec::new(), &whole_stores);
    let expected = seen(&Ledger::open(FOLDER, options(&whole_files, &whole_stores)).unwrap());
    for crash in 1..40 {
        let again = torn.restart(Survival::Written);
        again.crash_at(crash);
        let derived = stores.image();
        if let Ok(ledger) = Ledger::open(FOLDER, options(&again, &derived)) {
            chain()
                .into_iter()
                .skip(ledger.height() as usize - 1)
                .find(|checked| ledger.commit(checked.clone()).is_err());
        }
        let place = format!("second crash at {crash}");
        let found = recover_and_finish(&options(&again.restart(Survival::Synced), &derived), reported, &place);
        assert_eq!(found, expected, "{place}");
    }
}
