//! How writes reach a peer that takes batches and one that does not.

use prost::Message;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::{ChaincodeAdditionalParams, ChaincodeMessage, Response, WriteBatchState};

use crate::probe::service;
use crate::scripted_peer::{LedgerPeer, ScriptedPeer, message, multi_get};

fn batches_of(max: u32) -> ChaincodeAdditionalParams {
    ChaincodeAdditionalParams { max_size_write_batch: max, ..multi_get(1000) }
}

async fn batch(peer: &mut ScriptedPeer) -> (ChaincodeMessage, Vec<String>) {
    let message = peer.expect(Type::WriteBatchState).await;
    let records = WriteBatchState::decode(message.payload.clone()).unwrap().rec;
    (message, records.into_iter().map(|record| record.key).collect())
}

fn response(completed: &ChaincodeMessage) -> Response {
    Response::decode(completed.payload.clone()).unwrap()
}

#[tokio::test]
async fn writes_go_in_batches_of_the_size_the_peer_allows_before_the_answer() {
    let mut peer = ScriptedPeer::registered_with(service().await, Some(batches_of(3))).await;
    peer.call("ch", "tx", &["PutMany", "8", "1"]).await;
    let mut keys = Vec::new();
    for size in [3, 3, 2] {
        let (request, some) = batch(&mut peer).await;
        assert_eq!(some.len(), size);
        keys.extend(some);
        peer.answer(&request, "").await;
    }
    assert_eq!(keys, (0..8).map(|number| format!("key{number}")).collect::<Vec<_>>());
    assert_eq!(response(&peer.expect(Type::Completed).await).status, 200);
}

#[tokio::test]
async fn batches_stay_far_below_what_a_message_may_hold() {
    let mut peer = ScriptedPeer::registered_with(service().await, Some(batches_of(1000))).await;
    peer.call("ch", "tx", &["PutMany", "5", "2000000"]).await;
    // The third write makes more than 4 MiB, so the two before it go, and then it.
    let (request, keys) = batch(&mut peer).await;
    assert_eq!(keys, ["key0", "key1"]);
    peer.answer(&request, "").await;
    let third = peer.expect(Type::PutState).await;
    peer.answer(&third, "").await;
    let (request, keys) = batch(&mut peer).await;
    assert_eq!(keys, ["key3", "key4"]);
    peer.answer(&request, "").await;
    peer.expect(Type::Completed).await;
}

#[tokio::test]
async fn a_peer_without_batches_gets_every_write_by_itself_and_at_once() {
    let off = ChaincodeAdditionalParams { use_write_batch: false, ..batches_of(3) };
    for parameters in [None, Some(off), Some(batches_of(0))] {
        let mut peer = ScriptedPeer::registered_with(service().await, parameters).await;
        peer.call("ch", "tx", &["PutMany", "3", "1"]).await;
        for _ in 0..3 {
            let request = peer.expect(Type::PutState).await;
            peer.answer(&request, "").await;
        }
        peer.expect(Type::Completed).await;
    }
}

#[tokio::test]
async fn a_refused_batch_fails_the_transaction_even_when_the_contract_goes_on() {
    let mut peer = ScriptedPeer::registered_with(service().await, Some(batches_of(2))).await;
    peer.call("ch", "tx", &["PutMany", "2", "1"]).await;
    let (request, _) = batch(&mut peer).await;
    peer.send(message(Type::Error, &request.channel_id, &request.txid, "no space".into())).await;
    let failed = response(&peer.expect(Type::Completed).await);
    assert_eq!((failed.status, failed.message.as_str()), (500, "no space"));

    peer.call("ch", "tx2", &["PutOrNot"]).await;
    let request = peer.expect(Type::PutState).await;
    peer.send(message(Type::Error, &request.channel_id, &request.txid, "no space".into())).await;
    assert_eq!(response(&peer.expect(Type::Completed).await).message, "no space");
}

#[tokio::test]
async fn a_refused_single_write_is_the_contracts_to_judge() {
    let mut peer = ScriptedPeer::registered_with(service().await, None).await;
    peer.call("ch", "tx", &["PutOrNot"]).await;
    let request = peer.expect(Type::PutState).await;
    peer.send(message(Type::Error, &request.channel_id, &request.txid, "no space".into())).await;
    assert_eq!(response(&peer.expect(Type::Completed).await).payload, "false");
}

#[tokio::test]
async fn a_contract_that_declines_sends_no_writes() {
    let mut peer = ScriptedPeer::registered(service().await).await;
    peer.call("ch", "tx", &["PutThenDecline"]).await;
    assert_eq!(response(&peer.expect(Type::Completed).await).message, "declined");
}

#[tokio::test]
async fn a_part_that_fails_writes_nothing_and_later_parts_see_earlier_ones() {
    for parameters in [None, Some(batches_of(1000)), Some(batches_of(2))] {
        let mut peer = LedgerPeer::new(ScriptedPeer::registered_with(service().await, parameters).await);
        peer.state.insert("sum".into(), "10".into());
        let ended = peer.invoke(&["Attempts", "1", "x", "2", "y"]).await;
        let failed = "invalid digit found in string";
        assert_eq!(ended.text(), format!("11, {failed}, 13, {failed}"));
        assert_eq!((&peer.state["sum"][..], &peer.state["last"][..]), (&b"13"[..], &b"2"[..]));
        assert_eq!(ended.event.unwrap().payload, "2");
        // The first part's read is the only one: later ones see its write.
        assert_eq!(ended.asked.iter().filter(|asked| **asked == Type::GetState).count(), 1);
    }
}
