//! Every call of the protocol that single keys and plain ranges do not show: its bytes, and
//! what is read of its answer.

use prost::Message;
use prost_types::Timestamp;
use ripstop_chaincode_sdk::{Bytes, Failure, KeyPolicy, PageRequest, Stub};
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::{
    GetHistoryForKey, GetQueryResult, GetState, GetStateByRange, GetStateMetadata, GetStateMultiple,
    GetStateMultipleResult, PurgePrivateState, PutState, PutStateMetadata, QueryMetadata, QueryResponse,
    QueryResponseMetadata, QueryResultBytes, Response, StateMetadata, StateMetadataResult, WriteBatchState,
    write_record,
};
use ripstop_proto::queryresult::{KeyModification, Kv};

use crate::probe::service;
use crate::scripted_peer::ScriptedPeer;

/// What the contract does for `Call name`.
pub(crate) async fn call(stub: &Stub, name: String) -> Result<String, Failure> {
    let page = PageRequest { size: 2, bookmark: "k2".into() };
    Ok(match name.as_str() {
        "history" => format!("{:?}", stub.get_history_for_key("k").await?.all().await?),
        "page" => format!("{:?}", stub.get_page_by_range("", "z", &page).await?),
        "composite page" => format!("{:?}", stub.get_page_by_partial_composite_key("t", &["a"], &page).await?),
        "query" => format!("{:?}", stub.get_query_result("{}").await?.all().await?),
        "query page" => format!("{:?}", stub.get_query_result_page("{}", &page).await?),
        "policy" => format!("{:?}", stub.get_key_policy("k").await?),
        "metadata" => format!("{:?}", stub.get_state_metadata("k").await?),
        "set policy" => format!("{:?}", stub.set_key_policy("k", &KeyPolicy::peers(["Org1MSP"])).await?),
        "private" => format!("{:?}", stub.collection("c").get_state("k").await?),
        "private many" => format!("{:?}", stub.collection("c").view().get_states(&["k", "l"]).await?),
        "private hash" => format!("{:?}", stub.collection("c").view().get_hash("k").await?),
        "private range" => {
            format!("{:?}", stub.collection("c").view().get_state_by_range("", "").await?.all().await?)
        }
        "private query" => format!("{:?}", stub.collection("c").view().get_query_result("{}").await?.all().await?),
        "private put" => format!("{:?}", stub.collection("c").put_state("k", "v").await?),
        "private purge" => format!("{:?}", stub.collection("c").purge_state("k").await?),
        "private policy" => format!("{:?}", stub.collection("c").set_key_policy("k", &KeyPolicy::default()).await?),
        "all writes" => {
            stub.put_state("a", "1").await?;
            stub.delete_state("b").await?;
            stub.set_key_policy("c", &KeyPolicy::default()).await?;
            stub.collection("d").purge_state("d").await?;
            stub.collection("e").delete_state("e").await?;
            String::new()
        }
        other => panic!("no call {other}"),
    })
}

/// Calls, checks type and payload of the one request, answers it, and returns the result.
async fn exchange(name: &str, kind: Type, request: impl Message, answer: Vec<u8>) -> String {
    let mut peer = ScriptedPeer::registered(service().await).await;
    peer.call("ch", "tx", &["Call", name]).await;
    let asked = peer.expect(kind).await;
    assert_eq!(asked.payload, request.encode_to_vec(), "{name}");
    peer.answer(&asked, answer).await;
    let response = Response::decode(peer.expect(Type::Completed).await.payload).unwrap();
    assert_eq!((response.status, response.message.as_str()), (200, ""), "{name}");
    String::from_utf8(response.payload.to_vec()).unwrap()
}

fn results(elements: &[impl Message], bookmark: Option<&str>) -> Vec<u8> {
    let results = elements.iter().map(|element| QueryResultBytes { result_bytes: element.encode_to_vec().into() });
    let metadata = bookmark.map(|bookmark| QueryResponseMetadata {
        fetched_records_count: elements.len() as i32,
        bookmark: bookmark.into(),
    });
    let metadata = metadata.map(|metadata| metadata.encode_to_vec().into()).unwrap_or_default();
    QueryResponse { results: results.collect(), metadata, id: "q".into(), has_more: false }.encode_to_vec()
}

fn entry(key: &str) -> Kv {
    Kv { namespace: "basic".into(), key: key.into(), value: Bytes::from_static(b"v") }
}

const ENTRIES: &str = r#"[KeyValue { key: "k", value: b"v" }]"#;

#[tokio::test]
async fn a_history_tells_deletes_from_values() {
    let timestamp = Some(Timestamp { seconds: 7, nanos: 0 });
    let changes = [
        KeyModification { tx_id: "t2".into(), is_delete: true, timestamp, ..Default::default() },
        KeyModification { tx_id: "t1".into(), value: Bytes::from_static(b"v"), timestamp, is_delete: false },
    ];
    let request = GetHistoryForKey { key: "k".into() };
    let history = exchange("history", Type::GetHistoryForKey, request, results(&changes, None)).await;
    let at = "timestamp: Timestamp { seconds: 7, nanos: 0 }";
    let expected = format!(
        r#"[Modification {{ tx_id: "t2", value: None, {at} }}, Modification {{ tx_id: "t1", value: Some(b"v"), {at} }}]"#
    );
    assert_eq!(history, expected);
}

#[tokio::test]
async fn pages_carry_their_size_and_bookmark_and_bring_the_next_one() {
    let metadata: Bytes = QueryMetadata { page_size: 2, bookmark: "k2".into() }.encode_to_vec().into();
    let page = format!(r#"Page {{ entries: {ENTRIES}, bookmark: "k3" }}"#);
    let range = |start: &str, end: &str| GetStateByRange {
        start_key: start.into(),
        end_key: end.into(),
        metadata: metadata.clone(),
        ..Default::default()
    };
    let answer = results(&[entry("k")], Some("k3"));
    let ranges =
        [("page", range("\u{1}", "z")), ("composite page", range("\u{0}t\u{0}a\u{0}", "\u{0}t\u{0}a\u{0}\u{10ffff}"))];
    for (name, request) in ranges {
        assert_eq!(exchange(name, Type::GetStateByRange, request, answer.clone()).await, page);
    }
    let query = GetQueryResult { query: "{}".into(), metadata: metadata.clone(), ..Default::default() };
    assert_eq!(exchange("query page", Type::GetQueryResult, query, answer).await, page);
    let query = GetQueryResult { query: "{}".into(), ..Default::default() };
    assert_eq!(exchange("query", Type::GetQueryResult, query, results(&[entry("k")], None)).await, ENTRIES);
}

#[tokio::test]
async fn policies_of_keys_are_read_and_set() {
    let policy = KeyPolicy::peers(["Org1MSP"]);
    let metadata = StateMetadata { metakey: "VALIDATION_PARAMETER".into(), value: policy.encode() };
    let get = GetStateMetadata { key: "k".into(), ..Default::default() };
    let found = StateMetadataResult { entries: vec![metadata.clone()] }.encode_to_vec();
    let read = exchange("policy", Type::GetStateMetadata, get.clone(), found).await;
    assert_eq!(read, format!("{:?}", Some(policy)));
    assert_eq!(exchange("policy", Type::GetStateMetadata, get.clone(), Vec::new()).await, "None");
    let other = StateMetadata { metakey: "m".into(), value: Bytes::from_static(b"1") };
    let found = StateMetadataResult { entries: vec![other] }.encode_to_vec();
    assert_eq!(exchange("metadata", Type::GetStateMetadata, get, found).await, r#"{"m": b"1"}"#);
    let put = PutStateMetadata { key: "k".into(), collection: String::new(), metadata: Some(metadata) };
    assert_eq!(exchange("set policy", Type::PutStateMetadata, put, Vec::new()).await, "()");
}

#[tokio::test]
async fn private_data_is_asked_for_in_its_collection() {
    let (key, collection) = ("k".to_owned(), "c".to_owned());
    let get = GetState { key: key.clone(), collection: collection.clone() };
    assert_eq!(exchange("private", Type::GetState, get.clone(), b"v".to_vec()).await, r#"Some(b"v")"#);
    assert_eq!(exchange("private hash", Type::GetPrivateDataHash, get, b"h".to_vec()).await, r#"Some(b"h")"#);
    let many = GetStateMultiple { keys: vec!["k".into(), "l".into()], collection: collection.clone() };
    let values = GetStateMultipleResult { values: vec!["v".into(), Bytes::new()] }.encode_to_vec();
    assert_eq!(exchange("private many", Type::GetStateMultiple, many, values).await, r#"[Some(b"v"), None]"#);
    let range = GetStateByRange { start_key: "\u{1}".into(), collection: collection.clone(), ..Default::default() };
    let found = results(&[entry("k")], None);
    assert_eq!(exchange("private range", Type::GetStateByRange, range, found.clone()).await, ENTRIES);
    let query = GetQueryResult { query: "{}".into(), collection: collection.clone(), ..Default::default() };
    assert_eq!(exchange("private query", Type::GetQueryResult, query, found).await, ENTRIES);
    let put = PutState { key: key.clone(), value: "v".into(), collection: collection.clone() };
    exchange("private put", Type::PutState, put, Vec::new()).await;
    let purge = PurgePrivateState { key: key.clone(), collection: collection.clone() };
    exchange("private purge", Type::PurgePrivateData, purge, Vec::new()).await;
    let metadata = StateMetadata { metakey: "VALIDATION_PARAMETER".into(), value: KeyPolicy::default().encode() };
    let put = PutStateMetadata { key, collection, metadata: Some(metadata) };
    exchange("private policy", Type::PutStateMetadata, put, Vec::new()).await;
}

#[tokio::test]
async fn writes_of_every_kind_go_into_one_batch_in_their_order() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    peer.call("ch", "tx", &["Call", "all writes"]).await;
    let batch = peer.expect(Type::WriteBatchState).await;
    let records = WriteBatchState::decode(batch.payload.clone()).unwrap().rec;
    let seen: Vec<_> =
        records.iter().map(|record| (record.r#type(), record.key.as_str(), record.collection.as_str())).collect();
    use write_record::Type as Kind;
    let expected = [
        (Kind::PutState, "a", ""),
        (Kind::DelState, "b", ""),
        (Kind::PutStateMetadata, "c", ""),
        (Kind::PurgePrivateData, "d", "d"),
        (Kind::DelState, "e", "e"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(records[2].metadata.as_ref().unwrap().metakey, "VALIDATION_PARAMETER");
    peer.answer(&batch, "").await;
    peer.expect(Type::Completed).await;
}
