//! What a block writes, in the order the trie takes it.

use crate::nibbles::Path;

/// One key's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write<'a> {
    /// Where the key stands.
    pub path: Path,
    /// Its new value; none removes it.
    pub value: Option<&'a [u8]>,
}

/// The writes of a block, sorted by path, each path once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteSet<'a> {
    writes: Vec<Write<'a>>,
}

impl<'a> WriteSet<'a> {
    /// Sorts writes. Of several for one path the last counts; an empty value removes the key, as
    /// everywhere in Ethereum's tries.
    pub fn new(writes: impl IntoIterator<Item = Write<'a>>) -> Self {
        let writes: Vec<Write<'a>> = writes.into_iter().collect();
        // Sorting 16-byte pairs moves less than sorting whole writes; indexes keep the order of equals.
        let mut order: Vec<(u64, u32)> =
            writes.iter().zip(0..).map(|(write, index)| (leading(&write.path), index)).collect();
        order.sort_unstable();
        let mut sorted: Vec<Write<'a>> = order.into_iter().map(|(_, index)| writes[index as usize]).collect();
        if !sorted.is_sorted_by(|a, b| a.path <= b.path) {
            sorted.sort_by_key(|write| write.path);
        }
        sorted.dedup_by(|later, kept| {
            let same = later.path == kept.path;
            if same {
                kept.value = later.value;
            }
            same
        });
        for write in &mut sorted {
            write.value = write.value.filter(|value| !value.is_empty());
        }
        Self { writes: sorted }
    }

    /// The writes, sorted.
    pub fn writes(&self) -> &[Write<'a>] {
        &self.writes
    }

    /// The writes whose paths begin with each nibble.
    pub(crate) fn by_first_nibble(&self) -> [&[Write<'a>]; 16] {
        let mut rest = &self.writes[..];
        std::array::from_fn(|nibble| {
            let (own, others) = rest.split_at(rest.partition_point(|write| usize::from(write.path[0] >> 4) <= nibble));
            rest = others;
            own
        })
    }
}

fn leading(path: &Path) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&path[..8]);
    u64::from_be_bytes(bytes)
}
