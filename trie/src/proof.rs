//! Proofs: the nodes from the root towards a key, as Ethereum's tools list them.
//!
//! A proof shows that a key has a value, or that it has none. Checking one needs the root and
//! nothing else: no store, no trie. Nodes under 32 bytes stand inside their parents and not in the
//! list. Where next: `state_trie.rs` and `plain.rs` make proofs.

use crate::keccak::{Batch, Hash, Kernel};
use crate::nibbles::nibble;
use crate::node::EMPTY_ROOT;
use crate::rlp::{self, Item};

/// The encodings of the nodes from the root towards a key, the root first. No node proves that
/// the trie of the empty root holds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// RLP of each node.
    pub nodes: Vec<Vec<u8>>,
}

/// Why a proof shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A node's hash is not what the root, or the node above it, asks for.
    #[error("node {0} of the proof is not the one its parent names: the proof was altered or belongs to another root")]
    WrongNode(usize),
    /// The list ends before the key's place is reached.
    #[error("the proof ends after {0} nodes, before it reaches the key")]
    Incomplete(usize),
    /// The list goes on after the key's place.
    #[error("the proof has nodes after the one that ends it (node {0})")]
    Superfluous(usize),
    /// A node is none of leaf, extension, branch.
    #[error("node {0} of the proof is not a trie node")]
    Malformed(usize),
}

/// Checks a proof for the key at `path` against `root`, and gives the key's value, or none when
/// the proof shows that the key is absent.
///
/// For the state trie `path` is [`crate::state_path`]'s; for a list it is the RLP of the index.
pub fn verify<'a>(root: &Hash, path: &[u8], proof: &'a Proof) -> Result<Option<&'a [u8]>, ProofError> {
    let nodes = &proof.nodes;
    if *root == EMPTY_ROOT && nodes.is_empty() {
        return Ok(None);
    }
    // Each node but the last takes at least one nibble of the path, or is the extension before one.
    if nodes.len() > 4 * path.len() + 2 {
        return Err(ProofError::Superfluous(4 * path.len() + 2));
    }
    let mut walk = Walk { nodes, hashes: hashes(nodes), used: 0 };
    let value = walk.value(root, path)?;
    if walk.used < nodes.len() { Err(ProofError::Superfluous(walk.used)) } else { Ok(value) }
}

/// The hashes of all nodes, as many at once as the processor can.
fn hashes(nodes: &[Vec<u8>]) -> Vec<Hash> {
    let mut hashes = vec![[0; 32]; nodes.len()];
    let mut batch = Batch::new(Kernel::best());
    for (index, node) in nodes.iter().enumerate() {
        for (index, hash) in batch.add(index, node.len(), |out| out.extend_from_slice(node)) {
            hashes[*index] = *hash;
        }
    }
    for (index, hash) in batch.flush() {
        hashes[*index] = *hash;
    }
    hashes
}

struct Walk<'a> {
    nodes: &'a [Vec<u8>],
    hashes: Vec<Hash>,
    used: usize,
}

/// Where a node leads.
enum Step<'a> {
    Found(&'a [u8]),
    Absent,
    /// To a child, with the nibbles of the path used so far.
    Child(Item<'a>, usize),
}

impl<'a> Walk<'a> {
    fn value(&mut self, root: &Hash, path: &[u8]) -> Result<Option<&'a [u8]>, ProofError> {
        let mut payload = self.next_node(root)?;
        let mut depth = 0;
        loop {
            let step = step(payload, path, depth).ok_or(ProofError::Malformed(self.used - 1))?;
            match step {
                Step::Found(value) => return Ok(Some(value)),
                Step::Absent => return Ok(None),
                Step::Child(Item::List(inlined), used) if inlined.len() < 31 => (payload, depth) = (inlined, used),
                Step::Child(Item::String(link), used) => {
                    let hash = link.try_into().map_err(|_| ProofError::Malformed(self.used - 1))?;
                    (payload, depth) = (self.next_node(hash)?, used);
                }
                Step::Child(Item::List(_), _) => return Err(ProofError::Malformed(self.used - 1)),
            }
        }
    }

    /// The payload of the next listed node, which has to have this hash.
    fn next_node(&mut self, hash: &Hash) -> Result<&'a [u8], ProofError> {
        let index = self.used;
        let node = self.nodes.get(index).ok_or(ProofError::Incomplete(index))?;
        if self.hashes[index] != *hash {
            return Err(ProofError::WrongNode(index));
        }
        self.used += 1;
        match rlp::split(node) {
            Ok((Item::List(payload), [])) => Ok(payload),
            _ => Err(ProofError::Malformed(index)),
        }
    }
}

/// One node's step along `path`, of which `depth` nibbles are used; none for what is not a node.
fn step<'a>(payload: &'a [u8], path: &[u8], depth: usize) -> Option<Step<'a>> {
    let (first, rest) = rlp::split(payload).ok()?;
    let (second, rest) = rlp::split(rest).ok()?;
    if !rest.is_empty() {
        return branch_step([first, second], rest, path, depth);
    }
    let Item::String(shared) = first else { return None };
    let (leaf, end) = match shared_end(shared, path, depth)? {
        (leaf, None) => return Some(if leaf || is_link(&second) { Step::Absent } else { return None }),
        (leaf, Some(end)) => (leaf, end),
    };
    match second {
        Item::String(value) if leaf && end == path.len() * 2 => Some(Step::Found(value)),
        _ if leaf => Some(Step::Absent),
        link => Some(Step::Child(link, end)),
    }
}

fn is_link(item: &Item<'_>) -> bool {
    match item {
        Item::String(hash) => hash.len() == 32,
        Item::List(_) => true,
    }
}

fn branch_step<'a>(first: [Item<'a>; 2], mut rest: &'a [u8], path: &[u8], depth: usize) -> Option<Step<'a>> {
    let mut items = [first[0]; 17];
    items[1] = first[1];
    for item in &mut items[2..] {
        (*item, rest) = rlp::split(rest).ok()?;
    }
    if !rest.is_empty() {
        return None;
    }
    if depth == path.len() * 2 {
        let Item::String(value) = items[16] else { return None };
        return Some(if value.is_empty() { Step::Absent } else { Step::Found(value) });
    }
    match items[usize::from(nibble(path, depth))] {
        Item::String([]) => Some(Step::Absent),
        link => Some(Step::Child(link, depth + 1)),
    }
}

/// Reads a hex-prefix path: whether it is a leaf's, and how far it takes `path`, or none where it
/// leads elsewhere.
fn shared_end(shared: &[u8], path: &[u8], depth: usize) -> Option<(bool, Option<usize>)> {
    let flags = shared.first()? >> 4;
    let odd = flags & 1 == 1;
    if flags > 3 || (!odd && shared[0] & 0x0f != 0) {
        return None;
    }
    let start = if odd { 1 } else { 2 };
    let count = shared.len() * 2 - start;
    let fits = depth + count <= path.len() * 2
        && (0..count).all(|index| nibble(shared, start + index) == nibble(path, depth + index));
    Some((flags >= 2, fits.then_some(depth + count)))
}
