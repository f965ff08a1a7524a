//! The roots in each block, and proofs against them.

use std::path::Path;

use bytes::Bytes;
use ripstop_ledger::store::{Batch, Stores};
use ripstop_ledger::{Ledger, Node, Options, ProofError, TrieSettings};
use ripstop_proto::block::{block_roots, header_hash};
use ripstop_proto::config::config_envelope;
use ripstop_proto::hash::sha256;
use ripstop_proto::ripstop::v1::BlockRoots;
use ripstop_trie::{EMPTY_ROOT, PlainTrie, StateTrie, Write, WriteSet, result_leaf, state_leaf, state_path, verify};

use crate::build::{commit, new_ledger, sets, version};
use crate::fabric_chains::{as_delivered, chain};

fn roots_of(ledger: &Ledger, number: u64) -> BlockRoots {
    block_roots(&ledger.block(number).unwrap().unwrap()).unwrap()
}

/// The root over all public keys, made by another trie from nothing.
fn root_anew(ledger: &Ledger) -> Bytes {
    let mut leaves = Vec::new();
    for namespace in ["", "cc"] {
        for row in ledger.state().range(namespace, "", "") {
            let (key, entry) = row.unwrap();
            let place = entry.version;
            let leaf = state_leaf(place.block_number, place.tx_index, &entry.value, entry.metadata.as_deref());
            leaves.push((state_path(namespace, key.as_bytes()), leaf));
        }
    }
    let writes = leaves.iter().map(|(path, leaf)| Write { path: *path, value: Some(leaf) });
    StateTrie::in_memory().apply(0, &WriteSet::new(writes)).unwrap().to_vec().into()
}

#[test]
fn each_block_carries_the_roots_of_its_state_transactions_and_results() {
    let ledger = new_ledger();
    let blocks = [
        vec![sets().write("a", "1").write("b", "1"), sets().write("c", "1").metadata("c", Some("x"))],
        vec![sets().delete("b"), sets().read("a", version(7, 7)).write("a", "lost"), sets().metadata("a", Some("y"))],
        vec![],
        vec![sets().delete("a").delete("absent"), sets().write("c", "2"), sets().metadata("c", None)],
    ];
    for transactions in &blocks {
        commit(&ledger, transactions);
        let block = ledger.block(ledger.height() - 1).unwrap().unwrap();
        let roots = block_roots(&block).unwrap();
        assert_eq!(roots.channel_id, "mychannel");
        assert_eq!(roots.number, ledger.height() - 1);
        assert_eq!(*roots.block_hash, header_hash(block.header.as_ref().unwrap()));
        assert_eq!(roots.commit_hash, ripstop_proto::block::commit_hash(&block).unwrap()[..]);
        assert_eq!(roots.state_root, root_anew(&ledger));
        let entries = &block.data.as_ref().unwrap().data;
        assert_eq!(*roots.transactions_root, PlainTrie::of_list(entries.iter().map(|it| sha256(&[it]))).root());
        let codes = ripstop_proto::block::metadata_slot(&block, ripstop_proto::block::TRANSACTIONS_FILTER);
        assert_eq!(*roots.results_root, PlainTrie::of_list(codes.iter().map(|code| result_leaf(*code, None))).root());
    }
    let genesis = roots_of(&ledger, 0);
    assert!(genesis.commit_hash.is_empty());
    assert_eq!(genesis.state_root.len(), 32);
    assert_eq!(*roots_of(&ledger, 3).transactions_root, EMPTY_ROOT);
}

/// Replays a chain with a trie that is kept in this way; halfway the process is cut off.
fn final_root(name: &str, threads: usize, trie: TrieSettings, crashes: bool) -> String {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let blocks = chain(name);
    let (channel_id, _) = config_envelope(&blocks[0]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let options = || Options { trie: Some(trie), ..Options::default() };
    pool.install(|| {
        let mut ledger = Ledger::create(&first, &channel_id, blocks[0].clone(), options()).unwrap();
        for (index, stored) in blocks[1..].iter().enumerate() {
            if crashes && index == blocks.len() / 2 {
                copy(&first, &second);
                ledger = Ledger::open(&second, options()).unwrap();
            }
            ledger.commit(as_delivered(stored)).unwrap();
        }
        hex::encode(&roots_of(&ledger, ledger.height() - 1).state_root)
    })
}

/// A folder as it is at this moment, while somebody writes in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn real_chains_give_one_root_whatever_the_threads_the_checkpoints_and_a_crash() {
    let kept = |memory_bytes, checkpoint_blocks| TrieSettings { memory_bytes, checkpoint_blocks };
    for (name, expected) in [
        ("lifecycle", "1a4acbd7ace88ad690d25d4968ee30fb40169c8e9e3475be91690fb8156f9111"),
        ("mixed", "35664308e7780fab0a4473eda04e7a09bb738a021d57d399f67dd7b1358f7ce5"),
    ] {
        assert_eq!(final_root(name, 1, TrieSettings::default(), false), expected);
        assert_eq!(final_root(name, 2, kept(0, 1), true), expected);
        assert_eq!(final_root(name, 8, kept(100_000, 7), true), expected);
        assert_eq!(final_root(name, 2, kept(0, 10_000), true), expected);
    }
}

#[test]
fn a_key_is_proved_at_the_newest_and_at_earlier_heights() {
    let ledger = new_ledger();
    commit(&ledger, &[sets().write("a", "1").write("b", "1")]);
    commit(&ledger, &[sets().write("a", "2").metadata("b", Some("x"))]);
    commit(&ledger, &[sets().delete("a")]);
    let value = |key: &str, height: Option<u64>| {
        let proved = ledger.prove("cc", key, height).unwrap();
        let root: [u8; 32] = proved.roots.state_root[..].try_into().unwrap();
        let leaf = verify(&root, &state_path("cc", key.as_bytes()), &proved.proof).unwrap();
        assert_eq!(leaf.is_some(), proved.content.is_some());
        proved.content.map(|content| (content.version.block_number, String::from_utf8(content.value.to_vec()).unwrap()))
    };
    let is = |number: u64, value: &str| Some((number, value.to_owned()));
    assert_eq!([value("a", None), value("a", Some(3)), value("a", Some(2))], [None, is(2, "2"), is(1, "1")]);
    assert_eq!([value("b", None), value("b", Some(2)), value("b", Some(1))], [is(2, "1"), is(1, "1"), None]);
    assert_eq!(value("never", None), None);
    for height in [0, 5] {
        let refused = ledger.prove("cc", "a", Some(height)).unwrap_err();
        assert!(matches!(refused, ProofError::NotThere { newest: 4, .. }), "{refused}");
    }
}

#[test]
fn private_values_and_namespaces_with_a_zero_byte_are_not_proved() {
    let ledger = new_ledger();
    commit(&ledger, &[sets().private_write("secrets", "a", "1").write("a", "1")]);
    for namespace in ["cc$$psecrets", "cc$$p", "cc\0", "\0"] {
        let refused = ledger.prove(namespace, "a", None).unwrap_err();
        assert!(matches!(&refused, ProofError::Namespace(name) if name == namespace), "{refused}");
    }
}

#[test]
fn nodes_are_shown_of_blocks_that_are_there() {
    let ledger = new_ledger();
    commit(&ledger, &[sets().write("a", "1")]);
    commit(&ledger, &[sets().write("a", "2")]);
    let path = state_path("cc", b"a");
    let nibbles: Vec<u8> = path.iter().flat_map(|byte| [byte >> 4, byte & 15]).collect();
    for (number, value) in [(1, "1"), (2, "2")] {
        let leaf = state_leaf(number, 0, value.as_bytes(), None);
        assert_eq!(ledger.trie_node(number, &nibbles).unwrap(), Node::Leaf { path, value: leaf });
    }
    let refused = ledger.trie_node(3, &[]).unwrap_err();
    assert!(matches!(refused, ProofError::NotThere { height: 4, newest: 3 }), "{refused}");
}

/// Changes what a closed ledger has in its store.
fn alter(folder: &Path, change: impl Fn(&[u8], &[u8]) -> Option<Option<Vec<u8>>>) {
    let stores = Options::default().stores;
    let store = Stores::open(stores.as_ref(), &folder.join("derived")).unwrap();
    let mut batch = Batch::default();
    let snapshot = store.snapshot();
    let mut rows = snapshot.range(&[], &[0xff]);
    while let Some((key, value)) = rows.next().unwrap() {
        match change(&key, &value) {
            Some(Some(value)) => batch.put(key.to_vec(), value),
            Some(None) => batch.delete(key.to_vec()),
            None => {}
        }
    }
    assert!(batch.changes().len() > 0, "nothing was altered");
    store.write(&batch, true).unwrap();
}

#[test]
fn a_value_that_was_altered_under_an_intact_trie_is_not_proved() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), "mychannel", crate::build::genesis(), Options::default()).unwrap();
    commit(&ledger, &[sets().write("a", "1").write("b", "1")]);
    drop(ledger);
    alter(folder.path(), |key, value| (key == b"dcc\0a").then(|| Some([&value[..value.len() - 1], b"9"].concat())));
    let ledger = Ledger::open(folder.path(), Options::default()).unwrap();
    let refused = ledger.prove("cc", "a", None).unwrap_err();
    assert!(matches!(refused, ProofError::Altered { .. }), "{refused}");
    ledger.prove("cc", "b", None).unwrap();
}

#[test]
fn a_trie_that_is_gone_or_damaged_is_made_anew_and_a_trie_over_an_altered_value_gives_other_roots() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), "mychannel", crate::build::genesis(), Options::default()).unwrap();
    commit(&ledger, &[sets().write("a", "1").write("b", "1")]);
    drop(ledger);
    let is_record = |key: &[u8]| key.starts_with(b"m");
    alter(folder.path(), |key, _| is_record(key).then_some(None));
    drop(Ledger::open(folder.path(), Options::default()).unwrap());
    alter(folder.path(), |key, value| is_record(key).then(|| Some(value.iter().map(|byte| byte ^ 1).collect())));
    let ledger = Ledger::open(folder.path(), Options::default()).unwrap();
    commit(&ledger, &[sets().write("c", "1")]);
    assert_eq!(roots_of(&ledger, 2).state_root, root_anew(&ledger));
    drop(ledger);

    alter(folder.path(), |key, value| match key {
        b"dcc\0a" => Some(Some([&value[..value.len() - 1], b"9"].concat())),
        key => is_record(key).then_some(None),
    });
    let ledger = Ledger::open(folder.path(), Options::default()).unwrap();
    assert_ne!(ledger.state_root(2).unwrap()[..], roots_of(&ledger, 2).state_root);
    commit(&ledger, &[sets().write("d", "1")]);
    let altered = ledger.state_root(2).unwrap();
    assert_eq!(ledger.state_root(3).unwrap()[..], roots_of(&ledger, 3).state_root);
    let honest = new_ledger();
    for transactions in [sets().write("a", "1").write("b", "1"), sets().write("c", "1"), sets().write("d", "1")] {
        commit(&honest, &[transactions]);
    }
    assert_ne!(altered, honest.state_root(2).unwrap());
    assert_eq!(honest.state_root(2).unwrap()[..], roots_of(&honest, 2).state_root);
    assert_eq!(roots_of(&ledger, 2), roots_of(&honest, 2));
    assert_ne!(roots_of(&ledger, 3).state_root, roots_of(&honest, 3).state_root);
}
