//! Blocks of one size, by index, that never move.
//!
//! Chunks double in size, so growing copies nothing and wastes little; large ones ask for large
//! pages, and blocks can be fetched ahead of their use. Nodes of a big trie lie all over memory:
//! both together make a block of updates about twice as fast (`docs/benchmarks.md`). These two
//! hints to kernel and processor are the `unsafe` code of this file; neither can change a value.
#![expect(unsafe_code, reason = "hints to kernel and processor; see the text above")]

/// Blocks in the first chunk.
const FIRST_CHUNK: usize = 16;

/// Bytes of a large page on x86-64 and aarch64.
const LARGE_PAGE: usize = 2 << 20;

/// Freed blocks are used again before new ones are made.
pub(crate) struct Slab<T> {
    /// Chunk `k` has room for `FIRST_CHUNK << k` blocks; all but the last are full.
    chunks: Vec<Vec<T>>,
    count: usize,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), count: 0, free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn get(&self, index: usize) -> &T {
        let (chunk, offset) = position(index);
        &self.chunks[chunk][offset]
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> &mut T {
        let (chunk, offset) = position(index);
        &mut self.chunks[chunk][offset]
    }

    /// Keeps a block and gives its index.
    pub(crate) fn insert(&mut self, block: T) -> usize {
        if let Some(index) = self.free.pop() {
            *self.get_mut(index as usize) = block;
            return index as usize;
        }
        let index = self.count;
        let (chunk, _) = position(index);
        if chunk == self.chunks.len() {
            let blocks = Vec::with_capacity(FIRST_CHUNK << chunk);
            ask_for_large_pages(&blocks);
            self.chunks.push(blocks);
        }
        self.chunks[chunk].push(block);
        self.count += 1;
        index
    }

    /// Gives a block's index free; the block stays until another takes its place.
    pub(crate) fn remove(&mut self, index: usize) {
        self.free.push(index as u32);
    }

    pub(crate) fn live_bytes(&self) -> usize {
        (self.count - self.free.len()) * size_of::<T>()
    }

    /// Has the processor fetch a block that will soon be read.
    pub(crate) fn fetch(&self, index: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            let block: *const i8 = std::ptr::from_ref(self.get(index)).cast();
            for offset in (0..size_of::<T>()).step_by(64) {
                // SAFETY: the address lies inside the block; a prefetch reads nothing.
                unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(block.add(offset)) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = index;
    }
}

/// The chunk of a block, and the place in it.
fn position(index: usize) -> (usize, usize) {
    let shifted = index + FIRST_CHUNK;
    let chunk = (shifted / FIRST_CHUNK).ilog2() as usize;
    (chunk, shifted - (FIRST_CHUNK << chunk))
}

/// Asks that the room of a large chunk be backed by large pages: finding a block in many small
/// ones costs more than reading it. Where the kernel has none, nothing changes.
fn ask_for_large_pages<T>(blocks: &Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        let start = blocks.as_ptr().addr().next_multiple_of(LARGE_PAGE);
        let end = (blocks.as_ptr().addr() + blocks.capacity() * size_of::<T>()) / LARGE_PAGE * LARGE_PAGE;
        if start < end {
            let room = blocks.as_ptr().with_addr(start).cast_mut().cast();
            // SAFETY: whole pages inside this allocation; the advice changes no content, and its
            // failure has no consequence.
            unsafe { libc::madvise(room, end - start, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = blocks;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_where_they_were_put_while_others_come_and_go() {
        let mut slab = Slab::default();
        let indexes: Vec<usize> = (0..200_000_u64).map(|number| slab.insert([number; 4])).collect();
        for (number, index) in indexes.iter().enumerate() {
            slab.fetch(*index);
            assert_eq!(slab.get(*index), &[number as u64; 4]);
        }
        for index in indexes.iter().step_by(3) {
            slab.remove(*index);
        }
        let live = slab.live_bytes();
        let again = slab.insert([7; 4]);
        assert!(indexes.contains(&again), "a freed block is used again");
        assert_eq!(slab.live_bytes(), live + 32);
        slab.get_mut(again)[0] = 8;
        assert_eq!(slab.get(again), &[8, 7, 7, 7]);
        assert_eq!(slab.get(indexes[1]), &[1; 4]);
    }

    #[test]
    fn chunks_follow_each_other_without_gaps() {
        let mut expected = (0, 0);
        for index in 0..100_000 {
            assert_eq!(position(index), expected);
            expected.1 += 1;
            if expected.1 == FIRST_CHUNK << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
    }
}
