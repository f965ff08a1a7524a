//! The trie of plain keys, built at once: for the transactions and the results of one block.
//!
//! Keys are of any length and may begin with each other, so a branch may hold a value. The trie of
//! a block is made once and never changed; it is folded from its sorted keys, nothing is kept.

use std::collections::BTreeMap;

use crate::keccak::{Hash, keccak256};
use crate::nibbles::nibble;
use crate::node::{self, EMPTY_ROOT, Link};
use crate::proof::Proof;
use crate::rlp;

/// Keys and values whose root and proofs are computed when asked for.
///
/// Setting an empty value removes the key, as everywhere in Ethereum's tries.
#[derive(Clone, Debug, Default)]
pub struct PlainTrie {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl PlainTrie {
    /// A list: the key of each value is the RLP of its index.
    pub fn of_list<V: Into<Vec<u8>>>(values: impl IntoIterator<Item = V>) -> Self {
        let values = values.into_iter().enumerate();
        Self { entries: values.map(|(index, value)| (list_key(index as u64), value.into())).collect() }
    }

    /// Sets the value of a key; an empty value removes it.
    pub fn set(&mut self, key: &[u8], value: &[u8]) {
        if value.is_empty() {
            self.entries.remove(key);
        } else {
            self.entries.insert(key.to_vec(), value.to_vec());
        }
    }

    /// The root.
    pub fn root(&self) -> Hash {
        let entries = self.sorted();
        if entries.is_empty() { EMPTY_ROOT } else { keccak256(&encoding(&entries, 0, None)) }
    }

    /// The nodes from the root towards `key`: they show its value, or that it has none.
    pub fn prove(&self, key: &[u8]) -> Proof {
        let entries = self.sorted();
        let mut search = Search { key, nodes: Vec::new() };
        if !entries.is_empty() {
            encoding(&entries, 0, Some(&mut search));
        }
        search.nodes.reverse();
        Proof { nodes: search.nodes }
    }

    fn sorted(&self) -> Vec<Entry<'_>> {
        self.entries.iter().map(|(key, value)| (&key[..], &value[..])).collect()
    }
}

/// The key of the value at `index` of a list.
pub fn list_key(index: u64) -> Vec<u8> {
    let mut key = Vec::new();
    rlp::put_number(&mut key, index);
    key
}

type Entry<'a> = (&'a [u8], &'a [u8]);

/// Collects the nodes on the way to a key, the deepest first.
struct Search<'a> {
    key: &'a [u8],
    nodes: Vec<Vec<u8>>,
}

/// The node over `entries`, which share their first `depth` nibbles, are sorted and not empty.
/// There is a `search` as long as its key leads here.
fn encoding(entries: &[Entry<'_>], depth: usize, mut search: Option<&mut Search<'_>>) -> Vec<u8> {
    let (first, last) = (entries[0].0, entries[entries.len() - 1].0);
    let shared = shared_nibbles(first, last);
    let node = if entries.len() == 1 {
        let mut leaf = Vec::new();
        node::put_leaf(&mut leaf, first, depth..first.len() * 2, entries[0].1);
        leaf
    } else if shared > depth {
        let follow = search.as_deref_mut().filter(|search| shared_nibbles(search.key, first) >= shared);
        node::extension(first, depth..shared, &Link::to(&encoding(entries, shared, follow)))
    } else {
        branch(entries, depth, search.as_deref_mut())
    };
    if let Some(search) = search.filter(|_| node.len() >= 32 || depth == 0) {
        search.nodes.push(node.clone());
    }
    node
}

/// The branch over entries that share exactly `depth` nibbles.
fn branch(entries: &[Entry<'_>], depth: usize, mut search: Option<&mut Search<'_>>) -> Vec<u8> {
    let (value, mut rest) = match entries.split_first() {
        Some((own, rest)) if own.0.len() * 2 == depth => (own.1, rest),
        _ => (&[][..], entries),
    };
    let mut payload = Vec::new();
    for next in 0..16 {
        let (group, others) = rest.split_at(rest.partition_point(|(key, _)| nibble(key, depth) <= next));
        rest = others;
        if group.is_empty() {
            payload.push(0x80);
            continue;
        }
        let here = |key: &[u8]| key.len() * 2 > depth && nibble(key, depth) == next;
        let follow = search.as_deref_mut().filter(|search| here(search.key));
        Link::to(&encoding(group, depth + 1, follow)).put(&mut payload);
    }
    rlp::put_string(&mut payload, value);
    let mut out = Vec::with_capacity(payload.len() + 3);
    rlp::put_list_header(&mut out, payload.len());
    out.extend_from_slice(&payload);
    out
}

fn shared_nibbles(a: &[u8], b: &[u8]) -> usize {
    let most = 2 * a.len().min(b.len());
    (0..most).find(|&index| nibble(a, index) != nibble(b, index)).unwrap_or(most)
}
