//! Two tries are walked to the first leaf in which they differ.

use rand::Rng;
use ripstop_trie::{Node, Path, StateTrie, Write, WriteSet};

use crate::world::{Flat, World, advance, write_set};

/// The first leaf, in the order of paths, that the two tries do not share, and the nodes asked for.
fn first_difference(tries: [&StateTrie; 2], number: u64) -> (Option<Path>, usize) {
    let (mut prefixes, mut asked) = (vec![Vec::new()], 0);
    while let Some(prefix) = prefixes.pop() {
        let nodes = tries.map(|trie| trie.branch_at(number, &prefix).unwrap());
        asked += 2;
        let shorter = match &nodes {
            [a, b] if a == b => continue,
            [Node::Branch { path: a, children: some }, Node::Branch { path: b, children: others }] if a == b => {
                let differing = (0..16).rev().filter(|nibble| some[*nibble] != others[*nibble]);
                prefixes.extend(differing.map(|nibble| [&a[..], &[nibble as u8]].concat()));
                continue;
            }
            [Node::Branch { path: a, .. }, Node::Branch { path: b, .. }] => {
                if a.len() < b.len() {
                    a
                } else {
                    b
                }
            }
            [Node::Branch { path, .. }, _] | [_, Node::Branch { path, .. }] => path,
            [Node::Leaf { path: a, .. }, Node::Leaf { path: b, .. }] => return (Some(*a.min(b)), asked),
            [Node::Leaf { path, .. }, _] | [_, Node::Leaf { path, .. }] => return (Some(*path), asked),
            [Node::Nothing, Node::Nothing] => unreachable!("they are equal"),
        };
        prefixes.extend((0..16).rev().map(|nibble| [&shorter[..], &[nibble]].concat()));
    }
    (None, asked)
}

#[test]
fn the_first_leaf_that_differs_is_found_now_and_in_recent_blocks() {
    for seed in 0..200 {
        let mut world = World::new(seed, 40, seed % 2 == 0);
        let (mut one, mut other) = (StateTrie::in_memory(), StateTrie::in_memory());
        let (mut flat, mut states) = (Flat::new(), Vec::new());
        for number in 0..6 {
            let block = world.block(30);
            advance(&mut flat, &block);
            one.apply(number, &write_set(&block)).unwrap();
            let mut altered: Vec<_> = block.clone();
            if number == 2 {
                let value = if world.random.random_bool(0.3) { Vec::new() } else { vec![0x7f; 40] };
                altered.push((world.path(), value));
            }
            let unique: Flat = altered.into_iter().collect();
            let writes = unique.iter().map(|(path, value)| Write { path: *path, value: Some(value) });
            other.apply(number, &WriteSet::new(writes)).unwrap();
            let mut other_flat = states.last().map_or_else(Flat::new, |(_, flat): &(Flat, Flat)| flat.clone());
            advance(&mut other_flat, &unique.into_iter().collect());
            states.push((flat.clone(), other_flat));
        }
        for (number, (flat, other_flat)) in states.iter().enumerate() {
            let number = number as u64;
            let paths = flat.keys().chain(other_flat.keys());
            let expected = paths.filter(|path| flat.get(*path) != other_flat.get(*path)).min().copied();
            let (found, asked) = first_difference([&one, &other], number);
            assert_eq!(found, expected, "seed {seed}, block {number}");
            assert_eq!(one.root_at(number) == other.root_at(number), expected.is_none(), "seed {seed}");
            assert!(expected.is_some() || asked == 2, "equal tries were walked");
        }
    }
}

#[test]
fn every_prefix_shows_the_paths_that_have_it() {
    let mut world = World::new(7, 60, true);
    let (mut trie, mut flat) = (StateTrie::in_memory(), Flat::new());
    assert!(trie.branch_at(0, &[]).is_err(), "no block is applied yet");
    for number in 0..3 {
        let block = world.block(60);
        advance(&mut flat, &block);
        trie.apply(number, &write_set(&block)).unwrap();
    }
    let nibbles = |path: &Path| path.iter().flat_map(|byte| [byte >> 4, byte & 15]).collect::<Vec<u8>>();
    for path in flat.keys() {
        for length in 0..=64 {
            let prefix = &nibbles(path)[..length];
            let having: Vec<_> = flat.iter().filter(|(path, _)| nibbles(path).starts_with(prefix)).collect();
            match trie.branch_at(2, prefix).unwrap() {
                Node::Leaf { path: found, value } => assert_eq!(having, [(&found, &value)]),
                Node::Branch { path, children } => {
                    assert!(path.starts_with(prefix) && having.len() > 1);
                    assert!(having.iter().all(|(having, _)| nibbles(having).starts_with(&path)));
                    for (nibble, child) in children.iter().enumerate() {
                        let is_there = having.iter().any(|(having, _)| nibbles(having)[path.len()] == nibble as u8);
                        assert_eq!(child.is_some(), is_there);
                    }
                }
                Node::Nothing => panic!("{prefix:x?} of {path:x?} is there"),
            }
        }
        let mut elsewhere = nibbles(path);
        elsewhere[63] ^= 1;
        if !flat.keys().any(|path| nibbles(path) == elsewhere) {
            assert_eq!(trie.branch_at(2, &elsewhere).unwrap(), Node::Nothing);
        }
    }
    for prefix in [&[16][..], &[0; 65]] {
        assert_eq!(trie.branch_at(2, prefix).unwrap(), Node::Nothing);
    }
    assert!(trie.branch_at(3, &[]).is_err());
}
