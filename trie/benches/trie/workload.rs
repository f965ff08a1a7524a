//! The blocks all candidates take: random keys, then blocks of distinct keys, four in five existing.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ripstop_trie::{Path, Write, WriteSet};

/// Keys written per block.
pub(crate) const BLOCK_KEYS: usize = 2_000;
/// Keys written at once while the trie is filled.
const POPULATE_KEYS: usize = 25_000;

/// One key's new value.
pub(crate) type Update = (Path, Vec<u8>);

/// How the existing keys of a block are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Choice {
    Uniform,
    /// By rank with exponent 0.99, drawn again until a block's keys are distinct.
    Zipf,
}

pub(crate) struct Workload {
    pub(crate) keys: Vec<Path>,
    pub(crate) populate: Vec<Vec<Update>>,
    pub(crate) blocks: Vec<Vec<Update>>,
}

impl Workload {
    pub(crate) fn new(keys: usize, blocks: usize, choice: Choice) -> Self {
        let mut random = StdRng::seed_from_u64(7);
        let mut all: Vec<Path> = (0..keys).map(|_| random.random()).collect();
        let populate = all.chunks(POPULATE_KEYS);
        let populate = populate.map(|part| part.iter().map(|key| (*key, value(&mut random))).collect()).collect();
        let blocks = (0..blocks).map(|_| block(&mut all, keys, choice, &mut random)).collect();
        Self { keys: all, populate, blocks }
    }
}

fn block(all: &mut Vec<Path>, old: usize, choice: Choice, random: &mut StdRng) -> Vec<Update> {
    let mut chosen = BTreeSet::new();
    while chosen.len() < BLOCK_KEYS * 4 / 5 {
        chosen.insert(match choice {
            Choice::Uniform => all[random.random_range(0..all.len())],
            Choice::Zipf => all[zipf(old, random)],
        });
    }
    let new: Vec<Path> = (0..BLOCK_KEYS / 5).map(|_| random.random()).collect();
    all.extend(&new);
    // In no order, as transactions of a block write them.
    let mut keys: Vec<Path> = chosen.into_iter().chain(new).collect();
    for index in (1..keys.len()).rev() {
        keys.swap(index, random.random_range(0..=index));
    }
    keys.into_iter().map(|key| (key, value(random))).collect()
}

/// A rank from 0, by the inverse of the continuous distribution.
fn zipf(count: usize, random: &mut StdRng) -> usize {
    const EXPONENT: f64 = 0.99;
    let share = 1.0 - EXPONENT;
    let highest = (count as f64 + 1.0).powf(share) - 1.0;
    ((random.random::<f64>() * highest + 1.0).powf(1.0 / share) as usize).saturating_sub(1).min(count - 1)
}

fn value(random: &mut StdRng) -> Vec<u8> {
    (0..random.random_range(40..=100)).map(|_| random.random()).collect()
}

/// The updates as the trie takes them; sorting them is part of what is measured.
pub(crate) fn write_set(updates: &[Update]) -> WriteSet<'_> {
    WriteSet::new(updates.iter().map(|(path, value)| Write { path: *path, value: Some(value) }))
}
