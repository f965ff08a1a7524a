//! Range reads: rows up to 50, a Merkle summary from 51 on.

use prost::Message;
use ripstop_proto::hash::sha256;
use ripstop_proto::kvrwset::range_query_info::ReadsInfo;
use ripstop_proto::kvrwset::{KvRead, RangeQueryInfo, Version};
use ripstop_proto::range_query::{MAX_DEGREE, ReadsSummary};

use super::{derived, items, text};

/// The outcome of reading `count` rows `k000000`, `k000001`, … of block 7.
fn range_read(count: u64) -> RangeQueryInfo {
    let mut summary = ReadsSummary::default();
    for tx_num in 0..count {
        summary.push(KvRead { key: format!("k{tx_num:06}"), version: Some(Version { block_num: 7, tx_num }) });
    }
    RangeQueryInfo { start_key: "k".into(), end_key: "l".into(), itr_exhausted: true, reads_info: summary.finish() }
}

#[test]
fn range_reads_of_any_length_have_the_recorded_form_and_hash() {
    for vector in items(&derived()["rangeQuery"]) {
        let count = vector["n"].as_u64().unwrap();
        let info = range_read(count);
        let form = match info.reads_info.as_ref().unwrap() {
            ReadsInfo::RawReads(_) => ("raw", 0, 0),
            ReadsInfo::ReadsMerkleHashes(summary) => {
                assert_eq!(summary.max_degree, MAX_DEGREE);
                ("merkle", u64::from(summary.max_level), summary.max_level_hashes.len() as u64)
            }
        };
        let recorded = (&vector["kind"], &vector["maxLevel"], &vector["topHashes"]);
        let recorded = (text(recorded.0), recorded.1.as_u64().unwrap(), recorded.2.as_u64().unwrap());
        assert_eq!(form, recorded, "{count} rows");
        let encoded = info.encode_to_vec();
        if let Some(encoding) = vector["encoding"].as_str() {
            assert_eq!(hex::encode(&encoded), encoding, "{count} rows");
        }
        assert_eq!(hex::encode(sha256(&[&encoded])), text(&vector["sha256OfEncoding"]), "{count} rows");
    }
}

#[test]
fn a_range_read_without_rows_leaves_no_reads() {
    assert_eq!(range_read(0).reads_info, None);
}
