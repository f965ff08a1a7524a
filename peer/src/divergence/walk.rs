//! Finding the first path at which two state tries differ, one node of each at a time.
//!
//! Subtries whose links are equal are the same and are not entered. What the other side says is
//! taken as it is: it names a key for a person to look at, and decides nothing.

use ripstop_ledger::Node;
use ripstop_proto::ripstop::v1::{BranchResponse, branch_response};

/// Nibbles of a path.
const PATH_NIBBLES: usize = 64;
/// Nodes that are looked at before the other side is taken for one that leads nowhere.
const STEPS_MAX: usize = 4096;

/// Two tries that can be asked for nodes.
pub(crate) trait Tries {
    /// What goes wrong with asking.
    type Error;
    /// What stands at `prefix` (one nibble per byte) in our own trie and in the other one.
    async fn at(&mut self, prefix: &[u8]) -> Result<[Node; 2], Self::Error>;
}

/// The lowest path at which the tries differ; none where no difference is found.
///
/// # Errors
/// When a trie cannot be asked.
pub(crate) async fn first_difference<T: Tries>(tries: &mut T) -> Result<Option<[u8; 32]>, T::Error> {
    let mut prefixes = vec![Vec::new()];
    for _ in 0..STEPS_MAX {
        let Some(prefix) = prefixes.pop() else { return Ok(None) };
        let nodes = tries.at(&prefix).await?;
        if nodes[0] == nodes[1] {
            continue;
        }
        match differing_children(&nodes, prefix.len()) {
            // The lowest one is looked at next.
            Some(children) => prefixes.extend(children.into_iter().rev()),
            None => return Ok(nodes.iter().filter_map(path_of_leaf).min()),
        }
    }
    Ok(None)
}

/// The prefixes below which two different nodes may differ; none when neither is a branch.
fn differing_children(nodes: &[Node; 2], asked_nibbles: usize) -> Option<Vec<Vec<u8>>> {
    let path_of = |node: &Node| match node {
        Node::Branch { path, .. } if (asked_nibbles..PATH_NIBBLES).contains(&path.len()) => Some(path.clone()),
        _ => None,
    };
    // Of two branches the higher one has all that the lower one has below a single child.
    let top = nodes.iter().filter_map(path_of).min_by_key(Vec::len)?;
    let child = |node: &Node, nibble: usize| match node {
        Node::Branch { path, children } if *path == top => children[nibble].clone(),
        _ => None,
    };
    let both_at_top = nodes.iter().all(|node| path_of(node).as_ref() == Some(&top));
    let differs = |nibble: &usize| {
        let [own, other] = [child(&nodes[0], *nibble), child(&nodes[1], *nibble)];
        !both_at_top || own != other
    };
    let below = |nibble: usize| [&top[..], &[nibble as u8]].concat();
    Some((0..16).filter(differs).map(below).collect())
}

fn path_of_leaf(node: &Node) -> Option<[u8; 32]> {
    match node {
        Node::Leaf { path, .. } => Some(*path),
        _ => None,
    }
}

/// Reads a peer's answer; `None` when it is none that a trie gives.
pub(crate) fn node_of(response: BranchResponse) -> Option<Node> {
    match response.node {
        None => Some(Node::Nothing),
        Some(branch_response::Node::Leaf(leaf)) => {
            Some(Node::Leaf { path: leaf.path.as_ref().try_into().ok()?, value: leaf.leaf.to_vec() })
        }
        Some(branch_response::Node::Branch(branch)) => {
            let mut children: Box<[Option<Vec<u8>>; 16]> = Box::default();
            for child in &branch.children {
                let place = children.get_mut(usize::try_from(child.nibble).ok()?)?;
                *place = Some(child.link.to_vec());
            }
            let is_path = branch.path.len() < PATH_NIBBLES && branch.path.iter().all(|nibble| *nibble < 16);
            is_path.then(|| Node::Branch { path: branch.path.to_vec(), children })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Tries of plain leaves by path in nibbles.
    type Leaves = BTreeMap<Vec<u8>, u8>;

    struct Pair {
        tries: [Leaves; 2],
        asked: usize,
    }

    impl Tries for Pair {
        type Error = Infallible;

        async fn at(&mut self, prefix: &[u8]) -> Result<[Node; 2], Infallible> {
            self.asked += 1;
            Ok([node(&self.tries[0], prefix), node(&self.tries[1], prefix)])
        }
    }

    fn bytes(nibbles: &[u8]) -> [u8; 32] {
        std::array::from_fn(|index| nibbles[index * 2] << 4 | nibbles[index * 2 + 1])
    }

    fn node(trie: &Leaves, prefix: &[u8]) -> Node {
        let below: Vec<_> = trie.iter().filter(|(path, _)| path.starts_with(prefix)).collect();
        match below.as_slice() {
            [] => Node::Nothing,
            [(path, value)] => Node::Leaf { path: bytes(path), value: vec![**value] },
            [(first, _), .., (last, _)] => {
                let shared = first.iter().zip(*last).take_while(|(one, other)| one == other).count();
                let path = first[..shared].to_vec();
                let link = |nibble: u8| {
                    let child = [&path[..], &[nibble]].concat();
                    let leaves: Vec<_> = below.iter().filter(|(path, _)| path.starts_with(&child)).collect();
                    (!leaves.is_empty()).then(|| format!("{leaves:?}").into_bytes())
                };
                Node::Branch { children: Box::new(std::array::from_fn(|nibble| link(nibble as u8))), path }
            }
        }
    }

    async fn compare(one: &Leaves, other: &Leaves) -> (Option<[u8; 32]>, usize) {
        let mut pair = Pair { tries: [one.clone(), other.clone()], asked: 0 };
        let found = first_difference(&mut pair).await.unwrap();
        (found, pair.asked)
    }

    #[tokio::test]
    async fn the_first_of_random_differences_is_found_in_few_steps() {
        for seed in 0..300 {
            let mut random = StdRng::seed_from_u64(seed);
            let count = random.random_range(0..60);
            // Few nibble values, so that paths share much.
            let mut path = |values: u8| -> Vec<u8> { (0..64).map(|_| random.random_range(0..values)).collect() };
            let one: Leaves = (0..count).map(|index| (path(if index % 2 == 0 { 2 } else { 16 }), 1)).collect();
            let mut other = one.clone();
            let strangers: Vec<_> = (0..2).map(|_| path(2)).collect();
            let mut expected = Vec::new();
            if seed % 4 != 0 {
                expected.extend(strangers.iter().take(1 + seed as usize % 2).cloned());
                other.extend(expected.iter().map(|path| (path.clone(), 3)));
            }
            if seed % 3 != 0 && count > 0 {
                let path = one.keys().nth(seed as usize % one.len()).unwrap().clone();
                other.remove(&path);
                if seed % 2 == 1 {
                    other.insert(path.clone(), 2);
                }
                expected.push(path);
            }
            let expected = expected.iter().min().map(|path| bytes(path));
            for (one, other) in [(&one, &other), (&other, &one)] {
                let (found, asked) = compare(one, other).await;
                assert_eq!(found, expected, "seed {seed}");
                assert!(asked <= 16 * 64, "seed {seed}: {asked} steps");
            }
        }
    }

    #[tokio::test]
    async fn a_side_that_always_says_something_else_is_left_after_a_while() {
        struct Misleading(u64);
        impl Tries for Misleading {
            type Error = Infallible;
            async fn at(&mut self, prefix: &[u8]) -> Result<[Node; 2], Infallible> {
                self.0 += 1;
                let children = Box::new(std::array::from_fn(|_| Some(self.0.to_be_bytes().to_vec())));
                // A node above the prefix leads nowhere, either.
                let path = if self.0.is_multiple_of(2) { prefix.to_vec() } else { Vec::new() };
                Ok([Node::Nothing, Node::Branch { path, children }])
            }
        }
        assert_eq!(first_difference(&mut Misleading(0)).await.unwrap(), None);
    }

    #[test]
    fn answers_that_no_trie_gives_are_refused() {
        use ripstop_proto::ripstop::v1::{StateBranch, StateChild, StateLeaf};
        let branch = |path: Vec<u8>, nibble: u32| {
            let children = vec![StateChild { nibble, link: vec![1].into() }];
            let branch = StateBranch { path: path.into(), children };
            node_of(BranchResponse { node: Some(branch_response::Node::Branch(branch)) })
        };
        assert!(branch(vec![15; 63], 15).is_some());
        assert_eq!(branch(vec![15; 64], 15), None);
        assert_eq!(branch(vec![16], 15), None);
        assert_eq!(branch(vec![15], 16), None);
        let leaf = |path: Vec<u8>| {
            let leaf = StateLeaf { path: path.into(), leaf: vec![1].into() };
            node_of(BranchResponse { node: Some(branch_response::Node::Leaf(leaf)) })
        };
        assert!(leaf(vec![1; 32]).is_some());
        assert_eq!(leaf(vec![1; 31]), None);
    }
}
