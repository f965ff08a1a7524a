//! A thousand transactions on one stream, and bytes that no peer would send.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::{ChaincodeMessage, PutState, Response};

use crate::probe::service;
use crate::scripted_peer::{ScriptedPeer, message};

/// A xorshift step: the order of answers and the garbage, from a seed that a failure names.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[tokio::test]
async fn a_thousand_transactions_at_once_each_get_their_own_answers_in_any_order() {
    const COUNT: usize = 1000;
    let mut seed = 0x5eed;
    let mut peer = ScriptedPeer::registered(service().await).await;
    for number in 0..COUNT {
        peer.call("ch", &format!("tx{number}"), &["Copy", "from", "to"]).await;
    }
    let mut asked = Vec::new();
    for _ in 0..COUNT {
        asked.push(peer.expect(Type::GetState).await);
    }
    let mut ended = BTreeMap::new();
    while ended.len() < COUNT {
        if !asked.is_empty() {
            let request: ChaincodeMessage = asked.swap_remove((next(&mut seed) % asked.len() as u64) as usize);
            peer.answer(&request, format!("value of {}", request.txid)).await;
        }
        let message = peer.next().await.unwrap();
        match message.r#type() {
            Type::PutState => {
                let put = PutState::decode(message.payload.clone()).unwrap();
                assert_eq!(put.value, format!("value of {}", message.txid), "seed 0x5eed");
                asked.push(message);
            }
            Type::Completed => {
                assert_eq!(Response::decode(message.payload).unwrap().status, 200);
                ended.insert(message.txid, ());
            }
            other => panic!("the chaincode sent {other:?}"),
        }
    }
}

#[tokio::test]
async fn garbage_fails_at_most_its_own_transaction() {
    let mut seed = 0x6a5b;
    let mut peer = ScriptedPeer::registered(service().await).await;
    for number in 0..200 {
        let garbage: Bytes = (0..next(&mut seed) % 40).map(|_| next(&mut seed) as u8).collect();
        let kind = [Type::Transaction, Type::Response, Type::Error, Type::Completed, Type::Ready, Type::Registered];
        let kind = kind[number % kind.len()];
        peer.send(message(kind, "ch", &format!("garbage{number}"), garbage)).await;
    }
    peer.call("ch", "tx", &["GetMany", "a", "b"]).await;
    let request = loop {
        let message = peer.next().await.expect("the stream lives");
        if message.txid == "tx" {
            break message;
        }
        assert_ne!(message.r#type(), Type::GetState, "seed 0x6a5b");
    };
    peer.answer(&request, Bytes::from_static(b"\xff\xff\xff")).await;
    let failed = loop {
        let message = peer.next().await.expect("the stream lives");
        if message.txid == "tx" {
            break Response::decode(message.payload).unwrap();
        }
    };
    assert!(failed.message.contains("GET_STATE_MULTIPLE is not what the protocol says"), "{}", failed.message);
}
