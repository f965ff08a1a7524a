//! Random blocks over few keys, and the flat state they make.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ripstop_trie::{Path, Write, WriteSet, keccak256};

/// One block's writes; an empty value removes the key.
pub(crate) type Block = Vec<(Path, Vec<u8>)>;

/// Keys and values as of some block.
pub(crate) type Flat = BTreeMap<Path, Vec<u8>>;

/// Makes blocks from a seed.
pub(crate) struct World {
    pub(crate) random: StdRng,
    paths: Vec<Path>,
}

impl World {
    /// Blocks over `keys` keys. With `close` their paths share long beginnings, which keys' hashes
    /// never do: nodes get extensions, stand deep, and fit into their parents.
    pub(crate) fn new(seed: u64, keys: usize, close: bool) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut paths: Vec<Path> = Vec::new();
        while paths.len() < keys {
            let path = match paths.len().checked_sub(1) {
                Some(last) if close => near(&paths[random.random_range(0..=last)], &mut random),
                _ => keccak256(&random.random::<u64>().to_be_bytes()),
            };
            paths.push(path);
        }
        Self { random, paths }
    }

    /// A key of the world.
    pub(crate) fn path(&mut self) -> Path {
        self.paths[self.random.random_range(0..self.paths.len())]
    }

    /// A block of up to `writes` writes.
    pub(crate) fn block(&mut self, writes: usize) -> Block {
        let count = self.random.random_range(0..=writes);
        (0..count).map(|_| (self.path(), self.value())).collect()
    }

    fn value(&mut self) -> Vec<u8> {
        let length = match self.random.random_range(0..10) {
            0..3 => 0,
            3..5 => self.random.random_range(1..4),
            5..9 => self.random.random_range(20..120),
            _ => self.random.random_range(120..2_000),
        };
        // eth_trie 0.6.1 reads a single byte of 0x80 and above wrongly; a test of its own has those.
        let highest = if length == 1 { 0x7f } else { 0xff };
        (0..length).map(|_| self.random.random_range(0..=highest)).collect()
    }
}

fn near(path: &Path, random: &mut StdRng) -> Path {
    let mut path = *path;
    for _ in 0..random.random_range(1..3) {
        let last = random.random_bool(0.5);
        let byte = if last { random.random_range(26..32) } else { random.random_range(0..32) };
        path[byte] ^= 1 << random.random_range(0..8);
    }
    path
}

/// The block as the trie takes it.
pub(crate) fn write_set(block: &Block) -> WriteSet<'_> {
    WriteSet::new(block.iter().map(|(path, value)| Write { path: *path, value: Some(value) }))
}

/// Applies a block to the flat state.
pub(crate) fn advance(flat: &mut Flat, block: &Block) {
    for (path, value) in block {
        if value.is_empty() {
            flat.remove(path);
        } else {
            flat.insert(*path, value.clone());
        }
    }
}
