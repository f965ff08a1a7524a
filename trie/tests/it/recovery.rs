//! Stores that crash half way through a write, lose records, or alter them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use rand::Rng;
use ripstop_trie::{
    Checkpoint, Error, Hash, KEPT_ROOTS, MemoryStore, NodeStore, RecordKey, StateTrie, StoreBatch, StoreError, verify,
};

use crate::world::{Block, Flat, World, advance, write_set};

/// Blocks, and what they lead to.
struct History {
    blocks: Vec<Block>,
    roots: Vec<Hash>,
    flats: Vec<Flat>,
}

impl History {
    fn new(seed: u64, keys: usize, blocks: usize, writes: usize) -> Self {
        let mut world = World::new(seed, keys, seed % 2 == 1);
        let mut trie = StateTrie::in_memory();
        let mut history = Self { blocks: Vec::new(), roots: Vec::new(), flats: Vec::new() };
        let mut flat = Flat::new();
        for number in 0..blocks {
            let block = world.block(writes);
            history.roots.push(trie.apply(number as u64, &write_set(&block)).unwrap());
            advance(&mut flat, &block);
            history.flats.push(flat.clone());
            history.blocks.push(block);
        }
        history
    }
}

type Records = BTreeMap<RecordKey, Vec<u8>>;

/// One change of one record.
type Step = (RecordKey, Option<Vec<u8>>);

/// Remembers each batch as the steps a store that tears batches would make.
#[derive(Default)]
struct RecordingStore {
    records: MemoryStore,
    batches: Mutex<Vec<Vec<Step>>>,
}

impl NodeStore for RecordingStore {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.records.read(key)
    }

    fn write(&self, batch: &StoreBatch) -> Result<(), StoreError> {
        let removed = batch.removed.iter().map(|key| (key.clone(), None));
        let put = batch.put.iter().map(|(key, record)| (key.clone(), Some(record.clone())));
        self.batches.lock().unwrap().push(removed.chain(put).collect());
        self.records.write(batch)
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.records.clear()
    }
}

/// A store with these records.
fn store_of(records: &Records) -> Arc<dyn NodeStore> {
    let store = MemoryStore::default();
    let put = records.iter().map(|(key, record)| (key.clone(), record.clone())).collect();
    store.write(&StoreBatch { put, ..StoreBatch::default() }).unwrap();
    Arc::new(store)
}

fn take(records: &mut Records, (key, record): &Step) {
    match record {
        Some(record) => records.insert(key.clone(), record.clone()),
        None => records.remove(key),
    };
}

/// Applies all blocks with a checkpoint begun every 7 and written two blocks after it is copied.
/// Gives the steps of each batch and the block after which it was written.
fn run(history: &History) -> Vec<(u64, Vec<Step>)> {
    let store = Arc::new(RecordingStore::default());
    let mut trie = StateTrie::open(Arc::clone(&store) as Arc<dyn NodeStore>, 0).unwrap();
    let mut waiting: VecDeque<(u64, Checkpoint)> = VecDeque::new();
    let mut written = Vec::new();
    for (number, block) in history.blocks.iter().enumerate() {
        assert_eq!(trie.apply(number as u64, &write_set(block)).unwrap(), history.roots[number]);
        if number % 7 == 6 {
            trie.begin_checkpoint();
        }
        waiting.extend(trie.take_checkpoint().map(|checkpoint| (number as u64 + 2, checkpoint)));
        if waiting.front().is_some_and(|(due, _)| *due == number as u64) {
            let (due, checkpoint) = waiting.pop_front().unwrap();
            trie.checkpoint_written(checkpoint.write().unwrap());
            written.push(due);
        }
    }
    let batches = std::mem::take(&mut *store.batches.lock().unwrap());
    assert_eq!(written.len(), batches.len());
    written.into_iter().zip(batches).collect()
}

/// Opens a store after a crash at block `height`, as a ledger does: replays the blocks since the
/// checkpoint, and rebuilds where anything disagrees. Gives the trie, and whether it was rebuilt.
fn recover(history: &History, store: &Arc<dyn NodeStore>, height: u64) -> (StateTrie, bool) {
    match replay(history, Arc::clone(store), height) {
        Ok(trie) => (trie, false),
        Err(Error::Damaged { .. }) => (rebuild(history, Arc::clone(store), height), true),
        Err(error) => panic!("{error}"),
    }
}

fn replay(history: &History, store: Arc<dyn NodeStore>, height: u64) -> Result<StateTrie, Error> {
    let mut trie = StateTrie::open(store, 0)?;
    let first = trie.number().map_or(0, |number| number + 1);
    assert!(first <= height + 1, "the marker is ahead of the chain");
    for number in first..=height {
        let root = trie.apply(number, &write_set(&history.blocks[number as usize]))?;
        assert_eq!(root, history.roots[number as usize], "a wrong root instead of an error");
    }
    Ok(trie)
}

fn rebuild(history: &History, store: Arc<dyn NodeStore>, height: u64) -> StateTrie {
    let flat = &history.flats[height as usize];
    let leaves = flat.iter().map(|(path, value)| (*path, value.clone()));
    StateTrie::rebuild(store, 0, height, leaves).unwrap()
}

fn checkpoint(trie: &mut StateTrie) {
    assert!(trie.begin_checkpoint());
    trie.finish_copying();
    let written = trie.take_checkpoint().unwrap().write().unwrap();
    trie.checkpoint_written(written);
}

/// All values are proved, or the first that cannot be is an error; never a wrong proof.
fn prove_all(trie: &StateTrie, flat: &Flat) -> Result<(), Error> {
    for (path, value) in flat {
        assert_eq!(verify(&trie.root(), path, &trie.prove(path)?), Ok(Some(&value[..])));
    }
    Ok(())
}

/// The trie goes on from a crash at `height`, through a checkpoint of its own.
fn goes_on(history: &History, records: &Records, height: u64) -> bool {
    let store = store_of(records);
    let (mut trie, mut rebuilt) = recover(history, &store, height);
    assert_eq!(trie.root(), history.roots[height as usize]);
    if prove_all(&trie, &history.flats[height as usize]).is_err() {
        (trie, rebuilt) = (rebuild(history, Arc::clone(&store), height), true);
        assert_eq!(trie.root(), history.roots[height as usize]);
        prove_all(&trie, &history.flats[height as usize]).unwrap();
    }
    checkpoint(&mut trie);
    let last = (height + 2).min(history.blocks.len() as u64 - 1);
    let (trie, again) = recover(history, &store, last);
    assert!(!again, "what was checkpointed after a recovery is whole");
    assert_eq!(trie.root(), history.roots[last as usize]);
    prove_all(&trie, &history.flats[last as usize]).unwrap();
    rebuilt
}

#[test]
fn a_crash_at_any_write_of_200_blocks_leads_to_the_same_root() {
    let history = History::new(1, 60, 200, 12);
    let (mut replayed, mut rebuilt) = (0, 0);
    let mut records = Records::new();
    for (height, steps) in run(&history) {
        for step in steps.iter().take(steps.len() - 1) {
            take(&mut records, step);
            *if goes_on(&history, &records, height) { &mut rebuilt } else { &mut replayed } += 1;
        }
        take(&mut records, &steps[steps.len() - 1]);
        assert!(!goes_on(&history, &records, height), "a batch that is whole is replayed from");
    }
    assert!(replayed > 50 && rebuilt > 1_000, "{replayed} replayed, {rebuilt} rebuilt");
}

#[test]
fn a_batch_of_which_any_part_is_lost_leads_to_the_same_root() {
    let history = History::new(2, 60, 60, 12);
    let mut world = World::new(3, 1, false);
    let mut records = Records::new();
    for (height, steps) in run(&history) {
        for _ in 0..40 {
            let mut torn = records.clone();
            let share = world.random.random_range(0.0..1.0);
            steps.iter().filter(|_| world.random.random_bool(share)).for_each(|step| take(&mut torn, step));
            goes_on(&history, &torn, height);
        }
        steps.iter().for_each(|step| take(&mut records, step));
    }
}

#[test]
fn an_altered_record_is_noticed_and_never_proves_anything() {
    let history = History::new(5, 40, 30, 12);
    let mut records = Records::new();
    let batches = run(&history);
    let height = batches[batches.len() - 1].0;
    batches.iter().flat_map(|(_, steps)| steps).for_each(|step| take(&mut records, step));
    let mut world = World::new(6, 1, false);
    let keys: Vec<RecordKey> = records.keys().filter(|key| *key.last().unwrap() <= 64).cloned().collect();
    assert!(keys.len() > 10);
    for key in keys {
        for _ in 0..10 {
            let mut altered = records.clone();
            let record = altered.get_mut(&key).unwrap();
            let byte = world.random.random_range(0..record.len());
            record[byte] ^= 1 << world.random.random_range(0..8);
            let Ok(trie) = replay(&history, store_of(&altered), height) else { continue };
            // The blocks since the checkpoint may have replaced the branch without reading it.
            let _ = prove_all(&trie, &history.flats[height as usize]);
        }
        let mut missing = records.clone();
        missing.remove(&key);
        goes_on(&history, &missing, height);
    }
}

#[test]
fn the_last_128_roots_stay_provable_also_after_a_restart() {
    let history = History::new(7, 50, 300, 8);
    let store: Arc<dyn NodeStore> = Arc::new(MemoryStore::default());
    let mut trie = StateTrie::open(Arc::clone(&store), 0).unwrap();
    let mut world = World::new(7, 50, true);
    for (number, block) in history.blocks.iter().enumerate() {
        trie.apply(number as u64, &write_set(block)).unwrap();
        if number % 9 == 8 {
            checkpoint(&mut trie);
        }
        if number % 100 == 99 {
            trie = replay(&history, Arc::clone(&store), number as u64).unwrap();
        }
        if number % 10 != 9 {
            continue;
        }
        let oldest = number.saturating_sub(KEPT_ROOTS);
        for past in oldest..=number {
            assert_eq!(trie.root_at(past as u64), Some(history.roots[past]), "block {past} of {number}");
            let path = world.path();
            let proof = trie.prove_at(past as u64, &path).unwrap();
            let value = history.flats[past].get(&path).map(|value| &value[..]);
            assert_eq!(verify(&history.roots[past], &path, &proof), Ok(value), "block {past} of {number}");
        }
        if let Some(forgotten) = oldest.checked_sub(1) {
            let refused = trie.prove_at(forgotten as u64, &world.path());
            assert!(matches!(refused, Err(Error::NotKept { .. })), "{refused:?}");
        }
    }
}

#[test]
fn memory_stays_within_its_budget_once_a_checkpoint_is_written() {
    let history = History::new(8, 3_000, 30, 1_500);
    let budget = 100_000;
    let store: Arc<dyn NodeStore> = Arc::new(MemoryStore::default());
    let mut trie = StateTrie::open(store, budget).unwrap();
    let mut unlimited = StateTrie::in_memory();
    for (number, block) in history.blocks.iter().enumerate() {
        assert_eq!(trie.apply(number as u64, &write_set(block)).unwrap(), history.roots[number]);
        unlimited.apply(number as u64, &write_set(block)).unwrap();
        checkpoint(&mut trie);
        assert!(trie.node_bytes() <= budget, "{} bytes", trie.node_bytes());
    }
    assert!(unlimited.node_bytes() > 3 * budget, "{} bytes", unlimited.node_bytes());
    prove_all(&trie, &history.flats[history.flats.len() - 1]).unwrap();
}

#[test]
fn blocks_out_of_order_are_refused_and_change_nothing() {
    let history = History::new(9, 40, 4, 12);
    let mut trie = StateTrie::in_memory();
    trie.apply(0, &write_set(&history.blocks[0])).unwrap();
    for number in [0, 2] {
        let refused = trie.apply(number, &write_set(&history.blocks[1]));
        assert!(matches!(refused, Err(Error::OutOfOrder { last: 0, .. })), "{refused:?}");
    }
    assert_eq!(trie.apply(1, &write_set(&history.blocks[1])).unwrap(), history.roots[1]);
}
