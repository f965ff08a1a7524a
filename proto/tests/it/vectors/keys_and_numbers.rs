//! Numbers in byte order, and the composite keys of contracts.

use ripstop_proto::composite_key::{self, INITIALIZED_KEY};
use ripstop_proto::varint;

use super::{bytes, derived, items, text};

#[test]
fn order_preserving_numbers_have_the_recorded_bytes() {
    for vector in items(&derived()["opv"]) {
        let number: u64 = text(&vector["n"]).parse().unwrap();
        let encoded = varint::order_preserving(number);
        assert_eq!(hex::encode(&encoded), text(&vector["hex"]), "{number}");
        assert_eq!(varint::read_order_preserving(&encoded).unwrap(), (number, encoded.len()));
    }
}

#[test]
fn composite_keys_have_the_recorded_bytes() {
    for vector in items(&derived()["compositeKey"]) {
        let object_type = text(&vector["objectType"]);
        let attributes: Vec<_> = vector["attrs"].as_array().unwrap().iter().map(text).collect();
        let key = composite_key::create(object_type, &attributes).unwrap();
        assert_eq!(key.as_bytes(), bytes(&vector["keyHex"]));
        let (start, end) = composite_key::partial_range(object_type, &attributes).unwrap();
        assert_eq!((start.as_bytes(), end.as_bytes()), (key.as_bytes(), &bytes(&vector["partialEndHex"])[..]));
        let (split_type, split_attributes) = composite_key::split(&key).unwrap();
        assert_eq!(
            (split_type.as_str(), split_attributes),
            (object_type, attributes.iter().map(|a| (*a).to_owned()).collect())
        );
    }
}

#[test]
fn the_key_of_an_initialized_chaincode_has_the_recorded_bytes() {
    assert_eq!(INITIALIZED_KEY.as_bytes(), bytes(&derived()["initKeyHex"]));
}
