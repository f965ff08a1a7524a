//! The block header as it is hashed and signed.

use ripstop_proto::block;
use ripstop_proto::common::BlockHeader;

use super::{bytes, golden, items, text};

#[test]
fn block_headers_have_the_recorded_der_and_hash() {
    for vector in items(&golden()["blockHeader"]) {
        let header = BlockHeader {
            number: text(&vector["number"]).parse().unwrap(),
            previous_hash: bytes(&vector["previous_hash"]),
            data_hash: bytes(&vector["data_hash"]),
        };
        assert_eq!(hex::encode(block::header_der(&header)), text(&vector["der"]), "block {}", header.number);
        assert_eq!(hex::encode(block::header_hash(&header)), text(&vector["sha256"]), "block {}", header.number);
        let signed = block::signing_input(b"value", b"signature header", &header);
        assert_eq!(signed, [b"valuesignature header", &bytes(&vector["der"])[..]].concat());
    }
}
