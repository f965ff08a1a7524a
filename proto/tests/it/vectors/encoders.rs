//! Absent against empty against zero, and the fixed messages of a chaincode's greeting.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common::{LastConfig, Metadata, OrdererBlockMetadata};
use ripstop_proto::kvrwset::range_query_info::ReadsInfo;
use ripstop_proto::kvrwset::{KvRead, QueryReads, RangeQueryInfo, Version};
use ripstop_proto::protos::application_policy::Type::ChannelConfigPolicyReference;
use ripstop_proto::protos::{
    ApplicationPolicy, ChaincodeAdditionalParams, ChaincodeId, ChaincodeMessage, chaincode_message,
};

use super::golden;

fn block_metadata() -> OrdererBlockMetadata {
    OrdererBlockMetadata {
        last_config: Some(LastConfig { index: 0 }),
        consenter_metadata: Metadata::default().encode_to_vec().into(),
    }
}

fn range_query(reads_info: Option<ReadsInfo>) -> RangeQueryInfo {
    RangeQueryInfo { start_key: "a".into(), end_key: "z".into(), itr_exhausted: true, reads_info }
}

fn chaincode_message(r#type: chaincode_message::Type, payload: impl Into<Bytes>) -> ChaincodeMessage {
    ChaincodeMessage { r#type: r#type.into(), payload: payload.into(), ..Default::default() }
}

fn additional_params() -> ChaincodeAdditionalParams {
    ChaincodeAdditionalParams {
        use_write_batch: true,
        max_size_write_batch: 1000,
        use_get_multiple_keys: true,
        max_size_get_multiple_keys: 1000,
    }
}

fn endorsement_reference() -> ApplicationPolicy {
    ApplicationPolicy { r#type: Some(ChannelConfigPolicyReference("/Channel/Application/Endorsement".into())) }
}

#[test]
fn zero_and_absent_values_have_the_recorded_bytes() {
    use chaincode_message::Type::{Ready, Register, Registered};
    let id = ChaincodeId { name: "basic_1.0:abcd".into(), ..Default::default() };
    let read = |version| KvRead { key: "k".into(), version };
    let ours = [
        ("LastConfig{0}", LastConfig { index: 0 }.encode_to_vec()),
        ("LastConfig{5}", LastConfig { index: 5 }.encode_to_vec()),
        ("OrdererBlockMetadata{last_config:{0},consenter:Metadata{}}", block_metadata().encode_to_vec()),
        ("KVRead{k,absent}", read(None).encode_to_vec()),
        ("KVRead{k,{0,0}}", read(Some(Version::default())).encode_to_vec()),
        ("RangeQueryInfo{a,z,exhausted,no reads_info}", range_query(None).encode_to_vec()),
        (
            "RangeQueryInfo{a,z,exhausted,raw_reads:{}}",
            range_query(Some(ReadsInfo::RawReads(QueryReads::default()))).encode_to_vec(),
        ),
        (
            "ChaincodeMessage READY (3.1 defaults)",
            chaincode_message(Ready, additional_params().encode_to_vec()).encode_to_vec(),
        ),
        ("ChaincodeMessage REGISTER basic_1.0:abcd", chaincode_message(Register, id.encode_to_vec()).encode_to_vec()),
        ("ChaincodeMessage REGISTERED", chaincode_message(Registered, Bytes::new()).encode_to_vec()),
        ("ApplicationPolicy default endorsement ref", endorsement_reference().encode_to_vec()),
    ];
    let ours: BTreeMap<_, _> = ours.into_iter().map(|(name, bytes)| (name.to_owned(), hex::encode(bytes))).collect();
    let recorded: BTreeMap<String, String> = serde_json::from_value(golden()["encoders"].clone()).unwrap();
    assert_eq!(ours, recorded);
}
