//! Random blocks, compared with an independent crate after each.

use std::collections::VecDeque;
use std::sync::Arc;

use eth_trie::{EthTrie, MemoryDB, Trie};
use rand::Rng;
use ripstop_trie::{Hash, Kernel, MemoryStore, NodeStore, PlainTrie, StateTrie, keccak256, verify};

use crate::world::{Block, Flat, World, advance, write_set};

/// Sequences of blocks; RIPSTOP_TRIE_SEQUENCES asks for another number, RIPSTOP_TRIE_SEED for another beginning.
fn sequences() -> std::ops::Range<u64> {
    let read = |name, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let first = read("RIPSTOP_TRIE_SEED", 0);
    first..first + read("RIPSTOP_TRIE_SEQUENCES", 10_000)
}

#[test]
fn roots_equal_an_independent_crates_over_random_blocks() {
    let pools: Vec<_> =
        [1, 2, 5].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()).into();
    for seed in sequences() {
        let mut world = World::new(seed, 60, seed % 2 == 0);
        let mut tries = Tries::new(seed);
        let pool = &pools[seed as usize % pools.len()];
        let most = if seed % 50 == 0 { 400 } else { 25 };
        for number in 0..world.random.random_range(1..5) {
            let block = world.block(most);
            pool.install(|| tries.apply(number, &block));
            let path = world.path();
            tries.compare(&path);
        }
    }
}

/// The same state four times: in memory, in a store with hardly any memory, in another crate, flat.
struct Tries {
    seed: u64,
    memory: StateTrie,
    stored: StateTrie,
    store: Arc<MemoryStore>,
    other: EthTrie<MemoryDB>,
    flat: Flat,
    past: VecDeque<(u64, Hash, Flat)>,
}

impl Tries {
    fn new(seed: u64) -> Self {
        let kernels = Kernel::available();
        let store = Arc::new(MemoryStore::default());
        let mut memory = StateTrie::in_memory();
        memory.set_kernel(kernels[seed as usize % kernels.len()]);
        Self {
            seed,
            memory,
            stored: StateTrie::open(Arc::clone(&store) as Arc<dyn NodeStore>, 0).unwrap(),
            store,
            other: EthTrie::new(Arc::new(MemoryDB::new(false))),
            flat: Flat::new(),
            past: VecDeque::new(),
        }
    }

    fn apply(&mut self, number: u64, block: &Block) {
        self.memory.apply(number, &write_set(block)).unwrap();
        self.stored.apply(number, &write_set(block)).unwrap();
        if !(self.seed + number).is_multiple_of(3) {
            self.checkpoint(number);
        }
        for (path, value) in block {
            if value.is_empty() {
                self.other.remove(path).unwrap();
            } else {
                self.other.insert(path, value).unwrap();
            }
        }
        advance(&mut self.flat, block);
        self.past.push_back((number, self.memory.root(), self.flat.clone()));
    }

    fn checkpoint(&mut self, number: u64) {
        assert!(self.stored.begin_checkpoint());
        self.stored.finish_copying();
        let written = self.stored.take_checkpoint().unwrap().write().unwrap();
        self.stored.checkpoint_written(written);
        if (self.seed + number).is_multiple_of(5) {
            self.stored = StateTrie::open(Arc::clone(&self.store) as Arc<dyn NodeStore>, 0).unwrap();
        }
    }

    fn compare(&mut self, path: &[u8; 32]) {
        let seed = self.seed;
        let root = self.other.root_hash().unwrap().0;
        assert_eq!(self.memory.root(), root, "in memory, seed {seed}");
        assert_eq!(self.stored.root(), root, "in a store, seed {seed}");
        let proof = self.memory.prove(path).unwrap();
        assert_eq!(proof, self.stored.prove(path).unwrap(), "seed {seed}");
        assert!(self.flat.is_empty() || proof.nodes == self.other.get_proof(path).unwrap(), "seed {seed}");
        assert_eq!(verify(&root, path, &proof), Ok(self.flat.get(path).map(|value| &value[..])), "seed {seed}");
        for (number, root, flat) in &self.past {
            let kept = [&self.memory, &self.stored].into_iter().filter(|trie| trie.root_at(*number) == Some(*root));
            for trie in kept {
                let proof = trie.prove_at(*number, path).unwrap();
                assert_eq!(verify(root, path, &proof), Ok(flat.get(path).map(|value| &value[..])), "seed {seed}");
            }
            assert_eq!(self.memory.root_at(*number), Some(*root));
        }
    }
}

#[test]
fn roots_of_single_byte_values_equal_an_independent_crates() {
    for seed in 0..500 {
        let mut world = World::new(seed, 40, seed % 2 == 0);
        let mut flat = Flat::new();
        let block: Block = (0..40).map(|_| (world.path(), vec![world.random.random()])).collect();
        advance(&mut flat, &block);
        let mut trie = StateTrie::in_memory();
        trie.apply(0, &write_set(&block)).unwrap();
        let mut builder = alloy_trie::HashBuilder::default();
        for (path, value) in &flat {
            builder.add_leaf(alloy_trie::Nibbles::unpack(path), value);
        }
        assert_eq!(trie.root(), builder.root().0, "seed {seed}");
    }
}

#[test]
fn plain_tries_of_keys_that_begin_with_each_other_equal_an_independent_crates() {
    for seed in 0..2_000 {
        let mut world = World::new(seed, 40, false);
        let mut plain = PlainTrie::default();
        let mut other = EthTrie::new(Arc::new(MemoryDB::new(false)));
        for (path, value) in world.block(40) {
            let key = &path[..1 + usize::from(path[31] % 3)];
            let key = [&[path[30] % 2][..], key].concat();
            plain.set(&key, &value);
            if value.is_empty() {
                other.remove(&key).unwrap();
            } else {
                other.insert(&key, &value).unwrap();
            }
            let root = other.root_hash().unwrap().0;
            assert_eq!(plain.root(), root, "seed {seed}");
            let expected = other.get(&key).unwrap();
            let proof = plain.prove(&key);
            assert_eq!(verify(&root, &key, &proof), Ok(expected.as_deref()), "seed {seed}");
        }
    }
}

#[test]
fn lists_have_the_roots_of_an_independent_crate() {
    let values = |count: u64| (0..count).map(|index| keccak256(&index.to_be_bytes()).to_vec());
    for count in [0, 1, 2, 3, 16, 17, 127, 128, 129, 255, 256, 257, 1_000] {
        let list = PlainTrie::of_list(values(count));
        let root = alloy_trie::root::ordered_trie_root_encoded(&values(count).collect::<Vec<_>>());
        assert_eq!(list.root(), root.0, "{count} values");
        for index in (0..count + 2).step_by(1 + count as usize / 40) {
            let key = ripstop_trie::list_key(index);
            let proof = list.prove(&key);
            let value = values(count).nth(index as usize);
            assert_eq!(verify(&list.root(), &key, &proof), Ok(value.as_deref()), "{index} of {count}");
        }
    }
}
