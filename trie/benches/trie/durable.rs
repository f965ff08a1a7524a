//! Blocks that are on disk when they are reported, with checkpoints in the background.

use std::fs::File;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use ripstop_trie::{Kernel, NodeStore, StateTrie, StoreBatch, StoreError, WrittenCheckpoint};

use crate::measure::{Run, processor_time};
use crate::workload::{BLOCK_KEYS, Update, Workload, write_set};

/// Blocks between checkpoints.
const CHECKPOINT_BLOCKS: usize = 32;

/// Appends each batch to a file and syncs it; the trie holds all it reads.
struct FileStore(Mutex<File>);

impl NodeStore for FileStore {
    fn read(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn write(&self, batch: &StoreBatch) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(batch.bytes());
        for (key, record) in &batch.put {
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(record);
        }
        let mut file = self.0.lock().unwrap();
        file.write_all(&bytes)?;
        Ok(file.sync_data()?)
    }

    fn clear(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

pub(crate) fn report(workload: &Workload) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FileStore(Mutex::new(File::create(folder.path().join("nodes")).unwrap())));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for checkpoints in [false, true] {
        let mut trie = StateTrie::open(Arc::clone(&store) as Arc<dyn NodeStore>, usize::MAX).unwrap();
        let mut number = 0;
        for block in &workload.populate {
            pool.install(|| trie.apply(number, &write_set(block)).unwrap());
            number += 1;
        }
        let mut checkpoint = Checkpoints { begun: 0, bytes: 0, writing: None };
        first(&mut trie);
        let mut log = File::create(folder.path().join("log")).unwrap();
        let run = Run::over(&workload.blocks, BLOCK_KEYS, |index, block| {
            append(&mut log, block);
            pool.install(|| trie.apply(number, &write_set(block)).unwrap());
            number += 1;
            if checkpoints {
                checkpoint.step(&mut trie, index);
            }
        });
        println!(
            "durable/kernel={:?}/threads=2/checkpoints={checkpoints}: {:.0} keys/s, {:.2} us processor/key, ms per block p10 {:.2} p50 {:.2} p99 {:.2} max {:.2}; {} checkpoints of {} MB",
            Kernel::best(),
            run.keys_per_second(),
            run.processor_per_key(),
            run.percentile(0.1),
            run.percentile(0.5),
            run.percentile(0.99),
            run.percentile(1.0),
            checkpoint.begun,
            (checkpoint.bytes / checkpoint.begun.max(1)) >> 20,
        );
        checkpoint.end(&mut trie);
    }
    copying(workload);
}

/// The stand-in for the block store: the write set, synced.
fn append(log: &mut File, block: &[Update]) {
    let mut bytes = Vec::with_capacity(block.len() * 140);
    for (path, value) in block {
        bytes.extend_from_slice(path);
        bytes.push(value.len() as u8);
        bytes.extend_from_slice(value);
    }
    log.write_all(&bytes).unwrap();
    log.sync_data().unwrap();
}

/// One checkpoint after the other, each written by a thread of its own.
struct Checkpoints {
    begun: usize,
    bytes: usize,
    writing: Option<JoinHandle<WrittenCheckpoint>>,
}

impl Checkpoints {
    fn step(&mut self, trie: &mut StateTrie, index: usize) {
        if let Some(done) = self.writing.take_if(|writing| writing.is_finished()) {
            trie.checkpoint_written(done.join().unwrap());
        }
        if index.is_multiple_of(CHECKPOINT_BLOCKS) && trie.begin_checkpoint() {
            self.begun += 1;
        }
        if let Some(checkpoint) = trie.take_checkpoint() {
            self.bytes += checkpoint.bytes();
            self.writing = Some(std::thread::spawn(move || checkpoint.write().unwrap()));
        }
    }

    fn end(mut self, trie: &mut StateTrie) {
        if let Some(done) = self.writing.take() {
            trie.checkpoint_written(done.join().unwrap());
        }
    }
}

/// Writes all that filling a trie left, which is not what is measured.
fn first(trie: &mut StateTrie) {
    assert!(trie.begin_checkpoint());
    trie.finish_copying();
    let written = trie.take_checkpoint().unwrap().write().unwrap();
    trie.checkpoint_written(written);
}

/// What copying adds to blocks, in processor time, which other programs do not disturb as much.
fn copying(workload: &Workload) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let mut trie = StateTrie::in_memory();
    for (number, block) in workload.populate.iter().enumerate() {
        trie.apply(number as u64, &write_set(block)).unwrap();
    }
    first(&mut trie);
    let (mut alone, mut beside, mut under_way) = (Vec::new(), Vec::new(), false);
    for (index, block) in workload.blocks.iter().enumerate() {
        let number = trie.number().unwrap() + 1;
        let begin = processor_time();
        under_way |= index.is_multiple_of(CHECKPOINT_BLOCKS) && trie.begin_checkpoint();
        pool.install(|| trie.apply(number, &write_set(block)).unwrap());
        let checkpoint = trie.take_checkpoint();
        let time = (processor_time() - begin).as_secs_f64() * 1e3;
        if under_way {
            beside.push(time)
        } else {
            alone.push(time)
        }
        if let Some(checkpoint) = checkpoint {
            under_way = false;
            trie.checkpoint_written(checkpoint.write().unwrap());
        }
    }
    for (name, mut times) in [("none", alone), ("one", beside)] {
        times.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)];
        println!(
            "checkpoint/threads=1: {} blocks while {name} is copied, processor ms each: p50 {:.2} p90 {:.2} max {:.2}",
            times.len(),
            at(0.5),
            at(0.9),
            at(1.0)
        );
    }
}
