//! The same nonce, time and identity give the same bytes as the official Node SDK. Only
//! signatures are left out of the comparison: the recording's key is not known to `msp`.

use prost::Message;
use ripstop_client::{Bytes, Gateway};
use ripstop_proto::gateway::{
    EndorseRequest, EndorseResponse, EvaluateRequest, SignedChaincodeEventsRequest, SignedCommitStatusRequest,
    SubmitRequest,
};

use crate::fake_gateway::{Answers, FakeGateway};
use crate::vectors::{SIGNATURE, Vectors};

async fn recording_gateway(vectors: &Vectors, first_nonce: u8) -> (FakeGateway, Gateway) {
    let endorse = Ok(EndorseResponse { prepared_transaction: Some(vectors.prepared_transaction()) });
    let fake = FakeGateway::start(Answers { endorse, ..Default::default() }).await;
    let gateway = Gateway::connect(fake.channel.clone(), vectors.identity());
    (fake, gateway.with_freshness(vectors.freshness(first_nonce)))
}

/// The recorded request with the signature of this test.
fn expected<M: Message + Default>(recorded: Bytes, sign: impl Fn(&mut M)) -> Bytes {
    let mut message = M::decode(recorded.clone()).unwrap();
    assert_eq!(message.encode_to_vec(), recorded, "the recording has fields that the messages lack");
    sign(&mut message);
    message.encode_to_vec().into()
}

#[tokio::test]
async fn a_submitted_transaction_sends_the_recorded_requests() {
    let vectors = Vectors::load();
    let (fake, gateway) = recording_gateway(&vectors, 0).await;
    let result = gateway.network("mychannel").contract("basic").submit("CreateAsset", &["asset1", "blue"]).await;
    assert_eq!(result.unwrap(), "result");
    let endorse = expected(vectors.request(0, "Endorse"), |request: &mut EndorseRequest| {
        request.proposed_transaction.as_mut().unwrap().signature = Bytes::from_static(SIGNATURE);
    });
    let submit = expected(vectors.request(1, "Submit"), |request: &mut SubmitRequest| {
        request.prepared_transaction.as_mut().unwrap().signature = Bytes::from_static(SIGNATURE);
    });
    let commit_status = expected(vectors.request(2, "CommitStatus"), |request: &mut SignedCommitStatusRequest| {
        request.signature = Bytes::from_static(SIGNATURE);
    });
    assert_eq!(fake.requests(), [endorse, submit, commit_status]);
}

fn evaluated(recorded: Bytes) -> Bytes {
    expected(recorded, |request: &mut EvaluateRequest| {
        request.proposed_transaction.as_mut().unwrap().signature = Bytes::from_static(SIGNATURE);
    })
}

#[tokio::test]
async fn queries_send_the_recorded_requests() {
    let vectors = Vectors::load();
    let (fake, gateway) = recording_gateway(&vectors, 1).await;
    let contract = gateway.network("mychannel").contract("basic");
    contract.evaluate("ReadAsset", &["asset1"]).await.unwrap();
    let proposal = contract.new_proposal("WithTransient").transient("k", "secret");
    proposal.endorsing_organizations(["Org1MSP", "Org2MSP"]).build().unwrap().evaluate().await.unwrap();
    let recorded = [evaluated(vectors.request(3, "Evaluate")), evaluated(vectors.request(4, "Evaluate"))];
    assert_eq!(fake.requests(), recorded);
}

#[tokio::test]
async fn event_streams_send_the_recorded_requests() {
    let vectors = Vectors::load();
    let (fake, gateway) = recording_gateway(&vectors, 0).await;
    let events = gateway.network("mychannel").chaincode_events("basic");
    events.open().await.unwrap();
    events.start_block(5).open().await.unwrap();
    let recorded = [5, 6].map(|position| {
        expected(vectors.request(position, "ChaincodeEvents"), |request: &mut SignedChaincodeEventsRequest| {
            request.signature = Bytes::from_static(SIGNATURE);
        })
    });
    assert_eq!(fake.requests(), recorded);
}

#[tokio::test]
async fn the_transaction_id_is_known_before_anything_is_sent() {
    let vectors = Vectors::load();
    let (fake, gateway) = recording_gateway(&vectors, 0).await;
    let proposal = gateway.network("mychannel").contract("basic").new_proposal("CreateAsset").build().unwrap();
    assert_eq!(proposal.transaction_id(), vectors.transaction_id());
    assert!(fake.requests().is_empty());
}
