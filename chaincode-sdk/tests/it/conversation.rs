//! Registration, many transactions on one stream, and what a peer may do wrong.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::{ChaincodeMessage, Response};

use crate::probe::service;
use crate::scripted_peer::{ScriptedPeer, message, multi_get, transaction};

/// Bytes of fabric-protos' own encoder.
const REGISTER: &[u8] = b"\x08\x01\x1a\x10\x12\x0ebasic_1.0:abcd";

fn response(completed: &ChaincodeMessage) -> Response {
    Response::decode(completed.payload.clone()).unwrap()
}

fn id(message: &ChaincodeMessage) -> (&str, &str) {
    (&message.channel_id, &message.txid)
}

#[tokio::test]
async fn the_chaincode_speaks_first_and_registers_as_its_package() {
    let mut peer = ScriptedPeer::connect(service().await).await;
    assert_eq!(peer.expect(Type::Register).await.encode_to_vec(), REGISTER);
}

#[tokio::test]
async fn every_message_of_a_transaction_carries_its_channel_and_id() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    peer.call("ch", "tx", &["Copy", "from", "to"]).await;
    let get = peer.expect(Type::GetState).await;
    peer.answer(&get, "value").await;
    let put = peer.expect(Type::PutState).await;
    peer.answer(&put, "").await;
    let completed = peer.expect(Type::Completed).await;
    for sent in [&get, &put, &completed] {
        assert_eq!(id(sent), ("ch", "tx"));
    }
    assert_eq!(get.payload, &b"\x0a\x04from"[..]);
    assert_eq!(put.payload, &b"\x0a\x02to\x12\x05value"[..]);
    assert_eq!(response(&completed).status, 200);
    let event = completed.chaincode_event.unwrap();
    assert_eq!((event.event_name.as_str(), &event.payload[..]), ("Copied", &b"value"[..]));
}

#[tokio::test]
async fn a_contract_sees_its_proposal() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    peer.call("ch", "tx", &["About"]).await;
    let about = response(&peer.expect(Type::Completed).await).payload;
    assert_eq!(about, "ch tx Org1MSP b\"user1\" 1700000000.5 {\"secret\": b\"whisper\"} false");
    let init = ChaincodeMessage { r#type: Type::Init.into(), ..transaction("ch", "tx", &["About"]) };
    peer.send(init).await;
    assert!(response(&peer.expect(Type::Completed).await).payload.ends_with(b" true"));
}

#[tokio::test]
async fn answers_reach_the_transaction_they_belong_to_in_whatever_order_they_come() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    // The same id on two channels is two transactions.
    let calls = [("ch1", "tx1"), ("ch1", "tx2"), ("ch2", "tx1")];
    let mut requests = Vec::new();
    for (channel, tx) in calls {
        peer.call(channel, tx, &["Copy", "from", "to"]).await;
        requests.push(peer.expect(Type::GetState).await);
    }
    for request in requests.iter().rev() {
        let value = format!("{}/{}", request.channel_id, request.txid);
        peer.answer(request, value.clone()).await;
        let put = peer.expect(Type::PutState).await;
        assert_eq!(id(&put), id(request));
        assert!(put.payload.ends_with(value.as_bytes()));
    }
    for request in &requests {
        peer.answer(request, "").await;
        assert_eq!(id(&peer.expect(Type::Completed).await), id(request));
    }
}

#[tokio::test]
async fn a_transaction_that_runs_already_is_refused_and_may_run_again_later() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    for _ in 0..2 {
        peer.call("ch", "tx", &["Delete", "key"]).await;
        let request = peer.expect(Type::DelState).await;
        peer.call("ch", "tx", &["Delete", "key"]).await;
        let refused = peer.expect(Type::Error).await;
        assert_eq!(id(&refused), ("ch", "tx"));
        assert!(String::from_utf8_lossy(&refused.payload).contains("transaction tx of channel ch is running already"));
        peer.answer(&request, "").await;
        peer.expect(Type::Completed).await;
    }
}

#[tokio::test]
async fn keepalive_is_echoed_whenever_it_comes() {
    let mut peer = ScriptedPeer::connect(service().await).await;
    peer.expect(Type::Register).await;
    peer.send(message(Type::Keepalive, "", "", Bytes::new())).await;
    peer.expect(Type::Keepalive).await;
    peer.admit(None).await;
    let keepalive = message(Type::Keepalive, "", "", "as it came".into());
    peer.send(keepalive.clone()).await;
    assert_eq!(peer.expect(Type::Keepalive).await, keepalive);
}

#[tokio::test]
async fn unknown_types_and_answers_to_nothing_are_ignored() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    peer.send(ChaincodeMessage { r#type: 99, ..message(Type::Undefined, "ch", "tx", Bytes::new()) }).await;
    peer.send(message(Type::Completed, "ch", "tx", Bytes::new())).await;
    peer.send(message(Type::Response, "ch", "unknown", Bytes::new())).await;
    peer.call("ch", "tx", &["Copy", "from", "to"]).await;
    let get = peer.expect(Type::GetState).await;
    peer.answer(&get, "value").await;
    peer.expect(Type::PutState).await;
    peer.send(message(Type::Error, "ch", "tx", "refused".into())).await;
    let completed = peer.expect(Type::Completed).await;
    assert_eq!(response(&completed).message, "refused");
}

#[tokio::test]
async fn what_does_not_follow_registration_ends_the_conversation() {
    for early in [Type::Ready, Type::Transaction] {
        let mut peer = ScriptedPeer::connect(service().await).await;
        peer.expect(Type::Register).await;
        peer.send(message(early, "ch", "tx", Bytes::new())).await;
        let refused = peer.expect(Type::Error).await;
        let text = String::from_utf8_lossy(&refused.payload).into_owned();
        assert!(text.contains(early.as_str_name()) && text.contains("Created"), "{text}");
        assert_eq!(peer.next().await, None);
    }
}

#[tokio::test]
async fn a_failure_carries_status_message_and_payload() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    peer.call("ch", "tx", &["Decline"]).await;
    let declined = response(&peer.expect(Type::Completed).await);
    assert_eq!((declined.status, declined.message.as_str()), (403, "declined"));
    assert_eq!(declined.payload, "because");
}

#[tokio::test]
async fn an_error_of_the_peer_is_the_message_of_the_failed_transaction() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    peer.call("ch", "tx", &["Copy", "from", "to"]).await;
    peer.expect(Type::GetState).await;
    let text = "GET_STATE failed: transaction ID: tx: no ledger context";
    peer.send(message(Type::Error, "ch", "tx", text.into())).await;
    let failed = response(&peer.expect(Type::Completed).await);
    assert_eq!((failed.status, failed.message.as_str()), (500, text));
}

#[tokio::test]
async fn a_contract_may_go_on_after_an_error_of_the_peer() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    peer.call("ch", "tx", &["CopyIfThere", "from", "to"]).await;
    peer.expect(Type::GetState).await;
    peer.send(message(Type::Error, "ch", "tx", "no".into())).await;
    assert_eq!(response(&peer.expect(Type::Completed).await).payload, "false");
}

#[tokio::test]
async fn a_panic_is_the_error_of_its_transaction_and_of_no_other() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    peer.call("ch", "other", &["Copy", "from", "to"]).await;
    let other = peer.expect(Type::GetState).await;
    peer.call("ch", "tx", &["Panic"]).await;
    let error = peer.expect(Type::Error).await;
    assert_eq!(id(&error), ("ch", "tx"));
    let text = String::from_utf8_lossy(&error.payload).into_owned();
    let place = text.strip_prefix("the contract panicked at ").and_then(|text| text.strip_suffix(": tx went wrong"));
    assert!(place.is_some_and(|place| place.contains("tests/it/probe.rs:")), "{text}");
    peer.answer(&other, "value").await;
    let put = peer.expect(Type::PutState).await;
    peer.answer(&put, "").await;
    assert_eq!(response(&peer.expect(Type::Completed).await).status, 200);
}

#[tokio::test]
async fn a_call_without_input_or_proposal_is_answered_by_an_error() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    let call = transaction("ch", "tx", &["About"]);
    peer.send(ChaincodeMessage { payload: Bytes::from_static(b"\xff"), ..call.clone() }).await;
    let refused = peer.expect(Type::Error).await;
    assert!(refused.payload.starts_with(b"failed to unmarshal input: "), "{refused:?}");
    peer.send(ChaincodeMessage { proposal: None, ..call }).await;
    let refused = peer.expect(Type::Error).await;
    assert_eq!(refused.payload, "the call carries no signed proposal, so its creator is unknown");
}

#[tokio::test]
async fn peers_are_served_side_by_side() {
    let address = service().await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = ScriptedPeer::registered_with(address, Some(multi_get(10))).await;
        peer.call("ch", "tx", &["Delete", "key"]).await;
        let request = peer.expect(Type::DelState).await;
        peers.push((peer, request));
    }
    for (peer, request) in &mut peers {
        peer.answer(request, "").await;
        peer.expect(Type::Completed).await;
    }
}
