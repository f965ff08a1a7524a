//! The chain of commit hashes.

use ripstop_proto::commit_hash::{self, Update};
use ripstop_proto::hash::sha256;

use super::{bytes, derived, text};

#[test]
fn commit_hashes_have_the_recorded_values() {
    let vectors = derived()["commitHash"].clone();
    let (key_hash, value_hash) = (sha256(&[b"pk"]), sha256(&[b"pv"]));
    let public =
        |namespace, key, value, tx_index| Update { namespace, collection: None, key, value, block_number: 1, tx_index };
    let updates = [
        public("a", &b"k1"[..], Some(&b"v1"[..]), 0),
        public("a", b"k2", None, 1),
        Update { collection: Some("c1"), ..public("a", &key_hash, Some(&value_hash), 1) },
        public("b", b"z", Some(b"w"), 2),
    ];
    assert_eq!(hex::encode(commit_hash::encode_updates(updates)), text(&vectors["updates"]));

    let first = commit_hash::chain(&bytes(&vectors["filter"]), updates, b"");
    assert_eq!(hex::encode(first), text(&vectors["block1"]));
    let second = commit_hash::chain(&[0], [], &first);
    assert_eq!(hex::encode(second), text(&vectors["block2"]));
}
