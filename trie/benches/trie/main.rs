//! How fast the trie is, beside what hashing alone would take, an eager trie, and a known crate.
//!
//! `cargo bench -p ripstop-trie [-- KEYS [SECTION…]]`, sections: hashing update others durable proofs.
//! One million keys unless told otherwise. Processor time per key is what a busy machine disturbs
//! least; times of the wall mean something on a quiet one only.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock, and writes in the background")]
#![expect(clippy::disallowed_types, reason = "the eager trie keeps its nodes in a hash map")]
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod durable;
mod eager;
mod hashing;
mod measure;
mod workload;

use std::hint::black_box;
use std::sync::Arc;

use eth_trie::Trie;
use ripstop_trie::{Kernel, Path, StateTrie, verify};

use measure::{Run, processor_time, resident_bytes};
use workload::{BLOCK_KEYS, Choice, Update, Workload, write_set};

/// Blocks after the trie is filled; the slow candidates take fewer.
const BLOCKS: usize = 200;
const BLOCKS_OF_OTHERS: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let keys = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let asked = |section: &str| arguments.len() < 2 || arguments[1..].iter().any(|argument| argument == section);
    let workload = Workload::new(keys, BLOCKS, Choice::Uniform);
    println!("{keys} keys, blocks of {BLOCK_KEYS} distinct keys, 80 % existing\n");
    if asked("hashing") {
        hashing::report(&workload);
    }
    if asked("update") {
        updates(&workload);
        zipf(keys);
    }
    if asked("others") {
        others(&workload);
    }
    if asked("durable") {
        durable::report(&workload);
    }
    if asked("proofs") {
        proofs(&workload);
    }
}

fn row(name: &str, populate: &Run, run: &Run) {
    println!(
        "update/{name}: {:.0} keys/s, {:.2} us processor/key, ms per block p10 {:.2} p50 {:.2} p99 {:.2}; filling {:.0} keys/s, {:.2} us/key",
        run.keys_per_second(),
        run.processor_per_key(),
        run.percentile(0.1),
        run.percentile(0.5),
        run.percentile(0.99),
        populate.keys_per_second(),
        populate.processor_per_key(),
    );
}

/// Fills a trie and applies the blocks, all on a pool of so many threads.
fn ours(name: &str, workload: &Workload, kernel: Kernel, threads: usize) -> StateTrie {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut trie = StateTrie::in_memory();
    trie.set_kernel(kernel);
    let mut apply = |block: &Vec<Update>| {
        let number = trie.number().map_or(0, |number| number + 1);
        pool.install(|| trie.apply(number, &write_set(block)).unwrap());
    };
    let populate = Run::over(&workload.populate, workload.populate[0].len(), |_, block| apply(block));
    let run = Run::over(&workload.blocks, BLOCK_KEYS, |_, block| apply(block));
    row(&format!("{name}/kernel={kernel:?}/threads={threads}"), &populate, &run);
    trie
}

fn updates(workload: &Workload) {
    let before = resident_bytes();
    let trie = ours("uniform", workload, Kernel::best(), 1);
    let keys = workload.keys.len();
    println!(
        "memory/: {} B per key in use, the last {} roots included; {} B per key resident",
        trie.memory_bytes() / keys,
        ripstop_trie::KEPT_ROOTS,
        resident_bytes().saturating_sub(before) / keys
    );
    let root = trie.root();
    drop(trie);
    for kernel in Kernel::available() {
        for threads in [1, 2] {
            assert_eq!(ours("uniform", workload, kernel, threads).root(), root);
        }
    }
}

fn zipf(keys: usize) {
    let workload = Workload::new(keys, BLOCKS, Choice::Zipf);
    for threads in [1, 2] {
        ours("zipf", &workload, Kernel::best(), threads);
    }
}

/// The eager binary trie, and `eth_trie` with its database in memory.
fn others(workload: &Workload) {
    let blocks = &workload.blocks[..BLOCKS_OF_OTHERS];
    let mut eager = eager::EagerTrie::default();
    let mut apply = |block: &Vec<Update>| block.iter().for_each(|(path, value)| eager.set(path, value));
    let populate = Run::over(&workload.populate, workload.populate[0].len(), |_, block| apply(block));
    row("eager-binary", &populate, &Run::over(blocks, BLOCK_KEYS, |_, block| apply(block)));
    drop(eager);

    let mut other = eth_trie::EthTrie::new(Arc::new(eth_trie::MemoryDB::new(false)));
    let mut apply = |block: &Vec<Update>| {
        block.iter().for_each(|(path, value)| other.insert(path, value).unwrap());
        black_box(other.root_hash().unwrap());
    };
    let populate = Run::over(&workload.populate, workload.populate[0].len(), |_, block| apply(block));
    row("eth_trie", &populate, &Run::over(blocks, BLOCK_KEYS, |_, block| apply(block)));
    let root = other.root_hash().unwrap().0;
    let mut trie = StateTrie::in_memory();
    for (number, block) in workload.populate.iter().chain(blocks).enumerate() {
        trie.apply(number as u64, &write_set(block)).unwrap();
    }
    assert_eq!(trie.root(), root, "both have the same root");
}

fn proofs(workload: &Workload) {
    let mut trie = StateTrie::in_memory();
    for (number, block) in workload.populate.iter().chain(&workload.blocks).enumerate() {
        trie.apply(number as u64, &write_set(block)).unwrap();
    }
    // 7,919 is prime: neighbours in this order are far apart in the trie.
    let paths: Vec<Path> = (0..50_000).map(|index| workload.keys[index * 7_919 % workload.keys.len()]).collect();
    let begin = processor_time();
    let proofs: Vec<_> = paths.iter().map(|path| trie.prove(path).unwrap()).collect();
    let made = processor_time() - begin;
    let begin = processor_time();
    for (path, proof) in paths.iter().zip(&proofs) {
        assert!(verify(&trie.root(), path, proof).unwrap().is_some());
    }
    let verified = processor_time() - begin;
    let bytes: usize = proofs.iter().flat_map(|proof| &proof.nodes).map(Vec::len).sum();
    let newest = trie.number().unwrap();
    let begin = processor_time();
    for path in &paths[..5_000] {
        black_box(trie.prove_at(newest - 100, path).unwrap());
    }
    let past = processor_time() - begin;
    let rate = |count: usize, time: std::time::Duration| count as f64 / time.as_secs_f64();
    println!(
        "proofs/: per second of one core {:.0} made, {:.0} verified, {:.0} made at the root of 100 blocks before; {} B each",
        rate(paths.len(), made),
        rate(paths.len(), verified),
        rate(5_000, past),
        bytes / paths.len()
    );
}
