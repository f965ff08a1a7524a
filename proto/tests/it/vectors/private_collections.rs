//! What of a private collection stands in the public read and write set: hashes, in the
//! order of the clear keys.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::hash::sha256;
use ripstop_proto::kvrwset::{HashedRwSet, KvWrite, KvWriteHash, KvrwSet};
use ripstop_proto::read_write_set::{CollectionSet, NamespaceSet, ReadWriteSet};

use super::{derived, text};

fn hash(text: &str) -> Bytes {
    Bytes::copy_from_slice(&sha256(&[text.as_bytes()]))
}

#[test]
fn private_writes_are_hashed_in_the_order_of_their_clear_keys() {
    let vectors = derived()["privateCollection"].clone();
    let rows = ["a", "b", "c"].map(|key| (key, format!("v{key}")));

    let clear = rows.clone().map(|(key, value)| KvWrite { key: key.into(), is_delete: false, value: value.into() });
    let clear = KvrwSet { writes: clear.into(), ..Default::default() }.encode_to_vec();
    assert_eq!(hex::encode(&clear), text(&vectors["clearKVRWSet"]));
    assert_eq!(hex::encode(sha256(&[&clear])), text(&vectors["pvtRwsetHash"]));

    let hashed_writes =
        rows.map(|(key, value)| KvWriteHash { key_hash: hash(key), value_hash: hash(&value), ..Default::default() });
    assert!(!hashed_writes.is_sorted_by_key(|write| write.key_hash.clone()), "the order would not show");
    let hashed = HashedRwSet { hashed_writes: hashed_writes.into(), ..Default::default() };
    assert_eq!(hex::encode(hashed.encode_to_vec()), text(&vectors["hashedRWSet"]));

    let collection =
        CollectionSet { name: "c1".into(), hashed, pvt_rwset_hash: Bytes::copy_from_slice(&sha256(&[&clear])) };
    let namespace = NamespaceSet { namespace: "n".into(), collections: vec![collection], ..Default::default() };
    let set = ReadWriteSet { namespaces: vec![namespace] };
    let encoded = set.encode();
    assert!(hex::encode(&encoded).contains(text(&vectors["hashedRWSet"])));
    assert_eq!(ReadWriteSet::decode(encoded).unwrap(), set);
}
