//! Byte vectors in `testdata/`. `golden.json` was recorded from the unmodified Node SDK
//! (fabric-gateway 1.11.0 with fabric-protos 0.3.7) with a fixed nonce, clock and key;
//! `derived.json` comes from independent JavaScript for the formulas that no SDK has.

mod block_hashes;
mod commit_hashes;
mod encoders;
mod endorsement;
mod gateway_calls;
mod keys_and_numbers;
mod private_collections;
mod range_queries;

use bytes::Bytes;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../testdata/golden.json")).unwrap()
}

fn derived() -> Value {
    serde_json::from_str(include_str!("../../../testdata/derived.json")).unwrap()
}

/// A text of the vectors.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text is expected, not {value}"))
}

/// Bytes of the vectors, from their hex form.
fn bytes(value: &Value) -> Bytes {
    hex::decode(text(value)).unwrap().into()
}

/// Items of a list that must not be empty.
fn items(value: &Value) -> &[Value] {
    let items = value.as_array().unwrap();
    assert!(!items.is_empty());
    items
}

/// Asserts that the key of the vectors signed `message`.
fn assert_signed(message: &[u8], signature: &[u8]) {
    let public_key = bytes(&golden()["meta"]["publicKeyUncompressed"]);
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &public_key);
    key.verify(message, signature).unwrap();
    assert!(key.verify(&[message, b"\0"].concat(), signature).is_err());
}
