//! What the stub asks of a peer, and in which order.

use prost::Message;
use ripstop_chaincode_sdk::Bytes;
use ripstop_proto::composite_key;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::{
    ChaincodeMessage, GetStateByRange, GetStateMultiple, GetStateMultipleResult, QueryResponse, Response,
};

use crate::probe::service;
use crate::scripted_peer::{LedgerPeer, ScriptedPeer, message, multi_get};

fn payload(completed: &ChaincodeMessage) -> Bytes {
    Response::decode(completed.payload.clone()).unwrap().payload
}

async fn ledger(keys: &[&str]) -> LedgerPeer {
    let mut peer = LedgerPeer::new(ScriptedPeer::registered(service().await).await);
    peer.state = keys.iter().map(|key| ((*key).to_owned(), Bytes::from((*key).to_owned()))).collect();
    peer
}

#[tokio::test]
async fn many_keys_are_asked_for_in_requests_of_the_size_the_peer_allows() {
    let mut peer = ScriptedPeer::registered_with(service().await, Some(multi_get(3))).await;
    peer.call("ch", "tx", &["GetMany", "a", "b", "c", "d", "e", "f", "g"]).await;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 7 {
        let request = peer.expect(Type::GetStateMultiple).await;
        let keys = GetStateMultiple::decode(request.payload.clone()).unwrap().keys;
        // "c" is absent.
        let values = keys.iter().map(|key| if key == "c" { Bytes::new() } else { key.clone().into() }).collect();
        peer.answer(&request, GetStateMultipleResult { values }.encode_to_vec()).await;
        sizes.push(keys.len());
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert_eq!(payload(&peer.expect(Type::Completed).await), "ab-defg");
}

#[tokio::test]
async fn many_keys_are_asked_for_singly_when_the_peer_knows_no_other_way() {
    let off = ripstop_proto::protos::ChaincodeAdditionalParams { use_get_multiple_keys: false, ..multi_get(3) };
    for parameters in [None, Some(off), Some(multi_get(0))] {
        let mut peer = ScriptedPeer::registered_with(service().await, parameters).await;
        peer.call("ch", "tx", &["GetMany", "a", "b"]).await;
        for value in ["1", "2"] {
            let request = peer.expect(Type::GetState).await;
            peer.answer(&request, value).await;
        }
        assert_eq!(payload(&peer.expect(Type::Completed).await), "12");
    }
}

#[tokio::test]
async fn an_answer_with_another_number_of_values_is_refused() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    peer.call("ch", "tx", &["GetMany", "a", "b"]).await;
    let request = peer.expect(Type::GetStateMultiple).await;
    peer.answer(&request, GetStateMultipleResult { values: vec!["1".into()] }.encode_to_vec()).await;
    let failed = Response::decode(peer.expect(Type::Completed).await.payload).unwrap();
    assert!(failed.message.contains("GET_STATE_MULTIPLE") && failed.message.contains("1 values for 2 keys"));
}

#[tokio::test]
async fn a_range_fetches_pages_as_it_is_walked_and_writes_in_between() {
    let keys: Vec<String> = (0..201).map(|number| format!("a{number:03}")).collect();
    let mut peer = ledger(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    peer.state.insert("b".into(), "outside".into());
    let marked = peer.invoke(&["Mark"]).await;
    assert_eq!(marked.text(), "201");
    assert_eq!(peer.state.keys().filter(|key| key.starts_with("marked-")).count(), 201);
    let asked = |kind| marked.asked.iter().filter(|asked| **asked == kind).count();
    assert_eq!((asked(Type::GetStateByRange), asked(Type::QueryStateNext), asked(Type::WriteBatchState)), (1, 2, 1));
    // A peer that takes no batches gets the writes where they are made; there one sees that
    // the second page is fetched when the first 100 keys are used up, not before.
    let mut peer = LedgerPeer::new(ScriptedPeer::registered_with(service().await, None).await);
    peer.state = keys.iter().map(|key| (key.clone(), Bytes::from("value"))).collect();
    let marked = peer.invoke(&["Mark"]).await;
    assert_eq!(marked.text(), "201");
    assert_eq!(marked.asked[101], Type::QueryStateNext);
}

#[tokio::test]
async fn a_range_that_is_given_up_is_closed_unless_the_peer_has_closed_it() {
    let keys: Vec<String> = (0..101).map(|number| format!("a{number:03}")).collect();
    let mut peer = ledger(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let two = peer.invoke(&["First", "2"]).await;
    assert_eq!(two.text(), "a000 a001 ");
    assert_eq!(two.asked, [Type::GetStateByRange, Type::QueryStateClose]);
    peer.state.remove("a100");
    assert_eq!(peer.invoke(&["First", "2"]).await.asked, [Type::GetStateByRange]);
}

#[tokio::test]
async fn a_copy_reads_then_writes_and_a_failed_one_does_not_write() {
    let mut peer = ledger(&["a"]).await;
    let copied = peer.invoke(&["Copy", "a", "b"]).await;
    assert_eq!(copied.text(), "");
    assert_eq!(copied.asked, [Type::GetState, Type::PutState]);
    assert_eq!(copied.event.unwrap().event_name, "Copied");
    assert_eq!(peer.invoke(&["Copy", "c", "d"]).await.failure(), "nothing at c");
    assert_eq!(peer.state.keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn ten_thousand_rows_are_walked_and_given_up_where_the_contract_says() {
    let keys: Vec<String> = (0..10_000).map(|number| format!("a{number:05}")).collect();
    let mut peer = ledger(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let all = peer.invoke(&["First", "20000"]).await;
    assert_eq!(all.text().split_whitespace().collect::<Vec<_>>(), keys);
    assert_eq!((all.asked.len(), all.asked[99]), (100, Type::QueryStateNext));
    // 4,950 of them are 50 pages, the last one used to its half.
    let some = peer.invoke(&["First", "4950"]).await;
    assert_eq!(some.text().split_whitespace().count(), 4950);
    assert_eq!((some.asked.len(), some.asked[50]), (51, Type::QueryStateClose));
}

#[tokio::test]
async fn composite_keys_are_found_by_their_first_parts() {
    let key = |color, name| composite_key::create("color~name", &[color, name]).unwrap();
    let keys = [key("blue", "asset1"), key("blue", "asset4"), key("bluegreen", "asset2"), key("red", "asset3")];
    let mut peer = ledger(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(peer.invoke(&["Colors", "blue"]).await.text(), "asset1 asset4");
}

#[tokio::test]
async fn bounds_go_to_the_peer_as_they_are() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    peer.call("ch", "tx", &["First", "1"]).await;
    let request = peer.expect(Type::GetStateByRange).await;
    let bounds = GetStateByRange::decode(request.payload.clone()).unwrap();
    assert_eq!((bounds.start_key.as_str(), bounds.end_key.as_str()), ("a", "b"));
    // An empty page that promises more would be asked for again without end.
    let endless = QueryResponse { has_more: true, id: "r".into(), ..Default::default() };
    peer.answer(&request, endless.encode_to_vec()).await;
    let failed = Response::decode(peer.expect(Type::Completed).await.payload).unwrap();
    assert!(failed.message.contains("a page without results"), "{}", failed.message);
}

#[tokio::test]
async fn requests_made_at_the_same_time_go_one_after_the_other() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    peer.call("ch", "tx", &["Both", "one", "two"]).await;
    let first = peer.expect(Type::GetState).await;
    // Whatever was sent with the first request would arrive before this echo.
    peer.send(message(Type::Keepalive, "", "", Bytes::new())).await;
    peer.expect(Type::Keepalive).await;
    peer.answer(&first, "1").await;
    let second = peer.expect(Type::GetState).await;
    peer.answer(&second, "2").await;
    assert_eq!(payload(&peer.expect(Type::Completed).await), r#"Some("1") Some("2")"#);
}

#[tokio::test]
async fn the_answer_to_a_dropped_request_is_thrown_away() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    peer.call("ch", "tx", &["Impatient", "dropped", "wanted"]).await;
    let dropped = peer.expect(Type::GetState).await;
    assert_eq!(dropped.payload, &b"\x0a\x07dropped"[..]);
    peer.answer(&dropped, "of the dropped request").await;
    let wanted = peer.expect(Type::GetState).await;
    peer.answer(&wanted, "of the wanted request").await;
    assert_eq!(payload(&peer.expect(Type::Completed).await), "of the wanted request");
}
