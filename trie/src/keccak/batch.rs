//! Lanes filled one message after the other, hashed when all are full.

use super::{BLOCK_BYTES, Hash, Kernel, keccak256, pad};

/// Messages of up to this many blocks share lanes; longer ones are hashed one at a time.
/// A full branch of a trie has 532 bytes: four blocks.
const BATCHED_BLOCKS_MAX: usize = 4;

/// Collects messages and hashes as many at once as the kernel has lanes.
///
/// Lanes of one run must have equally many blocks, so messages wait in one queue per count of
/// blocks. `T` says where a digest belongs.
#[derive(Debug)]
pub struct Batch<T> {
    kernel: Kernel,
    queues: [Queue<T>; BATCHED_BLOCKS_MAX],
    long: Vec<u8>,
    done: Vec<(T, Hash)>,
}

#[derive(Debug)]
struct Queue<T> {
    lanes: [Vec<u8>; 8],
    targets: Vec<T>,
}

impl<T> Batch<T> {
    /// An empty batch. A kernel this processor lacks is replaced by the best it has.
    pub fn new(kernel: Kernel) -> Self {
        let kernel = if kernel.is_available() { kernel } else { Kernel::best() };
        let queue = || Queue { lanes: Default::default(), targets: Vec::with_capacity(kernel.lanes()) };
        Self { kernel, queues: std::array::from_fn(|_| queue()), long: Vec::new(), done: Vec::with_capacity(8) }
    }

    /// Adds the message of `length` bytes that `write` appends to an empty buffer, and gives the
    /// digests that were made of it.
    pub fn add(&mut self, target: T, length: usize, write: impl FnOnce(&mut Vec<u8>)) -> &[(T, Hash)] {
        self.done.clear();
        let blocks = length / BLOCK_BYTES + 1;
        if self.kernel.lanes() == 1 || blocks > BATCHED_BLOCKS_MAX {
            self.long.clear();
            write(&mut self.long);
            debug_assert_eq!(self.long.len(), length);
            self.done.push((target, keccak256(&self.long)));
            return &self.done;
        }
        let queue = &mut self.queues[blocks - 1];
        let lane = &mut queue.lanes[queue.targets.len()];
        lane.clear();
        write(lane);
        debug_assert_eq!(lane.len(), length);
        pad(lane);
        queue.targets.push(target);
        if queue.targets.len() == self.kernel.lanes() {
            queue.run(self.kernel, blocks, &mut self.done);
        }
        &self.done
    }

    /// Hashes what still waits.
    pub fn flush(&mut self) -> &[(T, Hash)] {
        self.done.clear();
        for (index, queue) in self.queues.iter_mut().enumerate() {
            queue.run(self.kernel, index + 1, &mut self.done);
        }
        &self.done
    }
}

impl<T> Queue<T> {
    fn run(&mut self, kernel: Kernel, blocks: usize, done: &mut Vec<(T, Hash)>) {
        let Some(last) = self.targets.len().checked_sub(1) else { return };
        let length = blocks * BLOCK_BYTES;
        // Idle lanes hash the last message again; their digests are dropped.
        let lane = |index: usize| &self.lanes[index.min(last)][..length];
        let mut hashes = [[0; 32]; 8];
        match kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => super::simd::eight(&std::array::from_fn(lane), &mut hashes),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => super::simd::four(&std::array::from_fn(lane), &mut hashes),
            _ => unreachable!("a kernel with one lane has no queues"),
        }
        done.extend(self.targets.drain(..).zip(hashes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_gives_the_scalar_digest_for_every_length_and_number_of_lanes() {
        let text: Vec<u8> = (0..1_200_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for kernel in Kernel::available() {
            for length in 0..=1_100 {
                for count in 1..=kernel.lanes() {
                    agrees(kernel, &text, length, count);
                }
            }
        }
    }

    /// `count` different messages of one length, in one batch.
    fn agrees(kernel: Kernel, text: &[u8], length: usize, count: usize) {
        let messages: Vec<&[u8]> = (0..count).map(|lane| &text[lane * 7..lane * 7 + length]).collect();
        let mut batch = Batch::new(kernel);
        let mut seen = vec![None; count];
        for (index, message) in messages.iter().enumerate() {
            let done = batch.add(index, length, |out| out.extend_from_slice(message));
            done.iter().for_each(|(index, hash)| seen[*index] = Some(*hash));
        }
        batch.flush().iter().for_each(|(index, hash)| seen[*index] = Some(*hash));
        for (message, hash) in messages.iter().zip(seen) {
            assert_eq!(hash, Some(keccak256(message)), "{kernel:?}, {length} bytes, {count} lanes");
        }
    }

    #[test]
    fn messages_of_mixed_lengths_keep_their_targets() {
        let text = [0x5a; 900];
        for kernel in Kernel::available() {
            let mut batch = Batch::new(kernel);
            let mut seen = vec![None; 900];
            for length in (0..900).map(|index| index * 577 % 900) {
                let done = batch.add(length, length, |out| out.extend_from_slice(&text[..length]));
                done.iter().for_each(|(length, hash)| seen[*length] = Some(*hash));
            }
            batch.flush().iter().for_each(|(length, hash)| seen[*length] = Some(*hash));
            for (length, hash) in seen.into_iter().enumerate() {
                assert_eq!(hash, Some(keccak256(&text[..length])), "{kernel:?}, {length}");
            }
        }
    }
}
