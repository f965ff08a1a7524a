//! What hashing alone takes: per message, and for the nodes a block of the workload changes.

use std::hint::black_box;

use ripstop_trie::keccak::{BLOCK_BYTES, Batch};
use ripstop_trie::{Kernel, Path};

use crate::measure::processor_time;
use crate::workload::{BLOCK_KEYS, Workload};

/// Bytes of a leaf of the workload, and of a full branch.
const LEAF_BYTES: usize = 100;

pub(crate) fn report(workload: &Workload) {
    let sizes = census(workload);
    for kernel in Kernel::available() {
        let times = [LEAF_BYTES, 300, 532].map(|length| nanoseconds(kernel, &vec![length; 40_000]) / 40_000.0);
        println!(
            "hashing/kernel={kernel:?}: ns per message of {LEAF_BYTES} B {:.0}, 300 B {:.0}, 532 B {:.0}",
            times[0], times[1], times[2]
        );
        let per_key = nanoseconds(kernel, &sizes) / BLOCK_KEYS as f64;
        println!(
            "hashing/kernel={kernel:?}/block: {} nodes, {:.2} permutations per key; limit {:.3} us/key, {:.0} keys/s on one core",
            sizes.len(),
            sizes.iter().map(|length| length / BLOCK_BYTES + 1).sum::<usize>() as f64 / BLOCK_KEYS as f64,
            per_key / 1e3,
            1e9 / per_key
        );
    }
}

/// The least of nine runs over messages of these lengths.
fn nanoseconds(kernel: Kernel, lengths: &[usize]) -> f64 {
    let text = vec![7; *lengths.iter().max().unwrap()];
    let run = || {
        let mut batch = Batch::new(kernel);
        let begin = processor_time();
        for length in lengths {
            black_box(batch.add((), *length, |out| out.extend_from_slice(&text[..*length])));
        }
        black_box(batch.flush());
        (processor_time() - begin).as_nanos() as f64
    };
    (0..9).map(|_| run()).fold(f64::MAX, f64::min)
}

/// The lengths of all nodes the last block changes, by order of their size as a trie would batch them.
fn census(workload: &Workload) -> Vec<usize> {
    let mut keys = workload.keys.clone();
    keys.sort_unstable();
    let mut changed: Vec<Path> = workload.blocks[workload.blocks.len() - 1].iter().map(|(path, _)| *path).collect();
    changed.sort_unstable();
    let mut sizes = Vec::new();
    nodes(&keys, &changed, 0, &mut sizes);
    sizes
}

fn nodes(keys: &[Path], changed: &[Path], depth: usize, sizes: &mut Vec<usize>) {
    if changed.is_empty() {
        return;
    }
    if keys.len() == 1 {
        return sizes.push(LEAF_BYTES);
    }
    let nibble = |path: &Path| path[depth / 2] >> (4 * (1 - depth % 2)) & 0x0f;
    let (mut children, mut keys, mut changed) = (0, keys, changed);
    for next in 0..16 {
        let (own, others) = keys.split_at(keys.partition_point(|path| nibble(path) <= next));
        let (own_changed, others_changed) = changed.split_at(changed.partition_point(|path| nibble(path) <= next));
        (keys, changed) = (others, others_changed);
        children += usize::from(!own.is_empty());
        nodes(own, own_changed, depth + 1, sizes);
    }
    // A branch with one child is an extension: not hashed by itself.
    if children > 1 {
        sizes.push(17 + 32 * children + if children == 1 { 2 } else { 3 });
    }
}
