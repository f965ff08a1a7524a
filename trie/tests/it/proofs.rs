//! Proofs that were altered show nothing.

use rand::Rng;
use ripstop_trie::{Proof, ProofError, StateTrie, verify};

use crate::world::{Flat, World, advance, write_set};

fn trie(seed: u64, keys: usize, close: bool) -> (StateTrie, World, Flat) {
    let mut world = World::new(seed, keys, close);
    let mut trie = StateTrie::in_memory();
    let mut flat = Flat::new();
    for number in 0..4 {
        let block = world.block(keys);
        advance(&mut flat, &block);
        trie.apply(number, &write_set(&block)).unwrap();
    }
    (trie, world, flat)
}

#[test]
fn a_proof_with_any_byte_altered_fails() {
    for (seed, close) in [(1, false), (2, true), (3, true)] {
        let (trie, mut world, flat) = trie(seed, 300, close);
        for _ in 0..4 {
            let path = world.path();
            let proof = trie.prove(&path).unwrap();
            assert_eq!(verify(&trie.root(), &path, &proof), Ok(flat.get(&path).map(|value| &value[..])));
            for node in 0..proof.nodes.len() {
                for byte in 0..proof.nodes[node].len() {
                    let mut altered = proof.clone();
                    altered.nodes[node][byte] ^= 1 << world.random.random_range(0..8);
                    assert_eq!(verify(&trie.root(), &path, &altered), Err(ProofError::WrongNode(node)));
                }
            }
        }
    }
}

#[test]
fn a_proof_with_nodes_missing_added_or_in_another_order_fails() {
    let (trie, mut world, _) = trie(4, 300, false);
    let path = world.path();
    let proof = trie.prove(&path).unwrap();
    let count = proof.nodes.len();
    assert!(count > 2);
    let check = |nodes| verify(&trie.root(), &path, &Proof { nodes }).map(|value| value.map(<[u8]>::to_vec));
    assert_eq!(check(proof.nodes[..count - 1].to_vec()), Err(ProofError::Incomplete(count - 1)));
    assert_eq!(check(proof.nodes[1..].to_vec()), Err(ProofError::WrongNode(0)));
    assert_eq!(check([&proof.nodes[..], &proof.nodes[..1]].concat()), Err(ProofError::Superfluous(count)));
    assert_eq!(check(Vec::new()), Err(ProofError::Incomplete(0)));
    assert_eq!(check(vec![proof.nodes[0].clone(); 1_000]), Err(ProofError::Superfluous(130)));
    let mut turned = proof.nodes.clone();
    turned.swap(0, 1);
    assert_eq!(check(turned), Err(ProofError::WrongNode(0)));
}

#[test]
fn a_proof_for_one_key_or_root_shows_nothing_of_another() {
    let (trie, mut world, flat) = trie(5, 300, false);
    let keys: Vec<_> = flat.keys().copied().collect();
    let proof = trie.prove(&keys[0]).unwrap();
    for other in &keys[1..] {
        assert!(verify(&trie.root(), other, &proof).is_err());
    }
    let root: [u8; 32] = world.random.random();
    assert_eq!(verify(&root, &keys[0], &proof), Err(ProofError::WrongNode(0)));
}

#[test]
fn nodes_that_hash_right_and_are_no_nodes_are_refused() {
    let nodes: [&[u8]; 8] = [
        &[],
        &[0x80],
        &[0xc0],
        &[0xc1, 0x80],
        &[0xc3, 0x80, 0x80, 0x80],
        &[0xc2, 0x40, 0x01],
        &[0xc2, 0x05, 0x01],
        &[0xc2, 0x20, 0x01, 0x00],
    ];
    for node in nodes {
        let proof = Proof { nodes: vec![node.to_vec()] };
        assert_eq!(
            verify(&ripstop_trie::keccak256(node), &[0; 32], &proof),
            Err(ProofError::Malformed(0)),
            "{node:x?}"
        );
    }
}
