//! Roots others published, and vectors computed elsewhere.

use ripstop_trie::{EMPTY_ROOT, PlainTrie, StateTrie, Write, WriteSet, keccak256, result_leaf, state_leaf, state_path};

/// Cases of github.com/ethereum/tests, folder TrieTests. Strings that begin with 0x are hex.
#[derive(Debug)]
struct Case {
    name: String,
    secure: bool,
    writes: Vec<(Vec<u8>, Vec<u8>)>,
    root: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let text = include_str!("../../testdata/trie_tests.json");
    let cases: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    let read = |case: &serde_json::Value| Case {
        name: case["name"].as_str().unwrap().to_owned(),
        secure: case["secure"].as_bool().unwrap(),
        writes: case["writes"].as_array().unwrap().iter().map(|pair| (bytes(&pair[0]), bytes(&pair[1]))).collect(),
        root: bytes(&case["root"]),
    };
    cases.iter().map(read).collect()
}

/// No value, which removes the key, is the empty value.
fn bytes(text: &serde_json::Value) -> Vec<u8> {
    let text = text.as_str().unwrap_or_default();
    text.strip_prefix("0x").map_or_else(|| text.as_bytes().to_vec(), |digits| hex::decode(digits).unwrap())
}

#[test]
fn ethereums_own_cases_give_their_published_roots() {
    let cases = cases();
    assert_eq!(cases.len(), 19);
    for case in cases {
        let mut plain = PlainTrie::default();
        let mut state = StateTrie::in_memory();
        for (number, (key, value)) in case.writes.iter().enumerate() {
            let path = keccak256(key);
            let key = if case.secure { &path[..] } else { key };
            plain.set(key, value);
            state.apply(number as u64, &WriteSet::new([Write { path, value: Some(value) }])).unwrap();
        }
        assert_eq!(plain.root()[..], case.root, "{}, plain trie, secure: {}", case.name, case.secure);
        if case.secure {
            assert_eq!(state.root()[..], case.root, "{}, state trie", case.name);
        }
    }
}

#[test]
fn the_order_of_writes_does_not_matter() {
    for case in cases().into_iter().filter(|case| case.writes.iter().all(|(_, value)| !value.is_empty())) {
        let keys = case.writes.iter().map(|(key, _)| key);
        if keys.clone().collect::<std::collections::BTreeSet<_>>().len() < case.writes.len() {
            continue;
        }
        for turn in 0..case.writes.len() {
            let mut turned = case.writes.clone();
            turned.rotate_left(turn);
            let mut plain = PlainTrie::default();
            for (key, value) in turned {
                let path = keccak256(&key);
                plain.set(if case.secure { &path } else { &key }, &value);
            }
            assert_eq!(plain.root()[..], case.root, "{}", case.name);
        }
    }
}

#[test]
fn a_trie_without_keys_has_the_standard_empty_root() {
    assert_eq!(keccak256(&[0x80]), EMPTY_ROOT);
    assert_eq!(PlainTrie::default().root(), EMPTY_ROOT);
    assert_eq!(StateTrie::in_memory().root(), EMPTY_ROOT);
    let mut trie = StateTrie::in_memory();
    let write = |value| WriteSet::new([Write { path: [7; 32], value }]);
    assert_ne!(trie.apply(0, &write(Some(b"v"))).unwrap(), EMPTY_ROOT);
    assert_eq!(trie.apply(1, &write(None)).unwrap(), EMPTY_ROOT);
}

/// Computed with a Keccak and an RLP written out in Python, from the text of their definitions.
#[test]
fn paths_and_leaves_of_the_state_equal_vectors_computed_elsewhere() {
    let path = |namespace, key: &[u8]| hex::encode(state_path(namespace, key));
    assert_eq!(path("basic", b"asset1"), "af5d569e5fc8cd9a70c089413337487aed920e74ba7aa3ec6161d8f35c389e14");
    assert_eq!(path("basic", b""), "0b4bbd7849740cdae2205d3bc68541270b9ed7e04e9299099b38062629d8d1b6");
    assert_eq!(
        path("", b"CHANNEL_CONFIG_ENV_BYTES"),
        "a3034f88005a4a2b322f6cd243e9c4dcf30aa134ce3cdab62d68e2199e76cf01"
    );
    assert_eq!(
        path("marbles$$hcollection", &[0x00, 0xff, 0x80]),
        "6103c76954b3505cb25b8b1f90913acfcb9430eaf0bbd7732b432583b4e7c2a3"
    );
    let leaf = |block, tx, value: &[u8], metadata| hex::encode(state_leaf(block, tx, value, metadata));
    assert_eq!(leaf(0, 0, b"", None), "e48080a0c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a47080");
    assert_eq!(
        leaf(7, 127, b"value", None),
        "e4077fa081afeeaff0ed5cee7d05a21078399c2f56226b0cd5657062500cef4c4e736f8580"
    );
    assert_eq!(
        leaf(128, 300, b"{\"owner\":\"ann\"}", Some(b"policy")),
        "f847818082012ca0a00b023f0762cbd9dfe42e5a8bd4de1e63c4e786a3916644013d95bfa424708f\
         a05b0f9436c819b53dbee8ea2c97c9b239e65dc59bc3413d5d08ecbb88caf2b2db"
    );
    assert_eq!(
        leaf(1 << 40, 65_536, b"x", Some(b"")),
        "f84d8601000000000083010000a07521d1cadbcfa91eec65aa16715b94ffc1c9654ba57ea2ef1a2127bca1127a83\
         a0c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    );
    assert_eq!(hex::encode(result_leaf(0, None)), "c28080");
    assert_eq!(hex::encode(result_leaf(254, None)), "c381fe80");
    let event_hash = std::array::from_fn(|index| index as u8);
    assert_eq!(
        hex::encode(result_leaf(11, Some(&event_hash))),
        "e20ba0000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    );
}
