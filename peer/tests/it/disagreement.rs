//! Endorsers that come to different results: peers commit a block moments apart, so the
//! gateway asks again; what stays different is told to the client.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common::Payload;
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::transaction::OpenTransaction;
use tonic::Code;

use crate::blocks::commit_unjudged;
use crate::gateway::{PORTS, TestGateway, advertised, details};
use crate::peers::Call;

/// How often the gateway asks, and the least that it waits meanwhile.
const ATTEMPTS: usize = 4;
const PAUSES: Duration = Duration::from_millis(20 + 40 + 60);

/// A write of `key` that Org1's peer has committed and those of Org2 have not.
async fn write_ahead(test: &TestGateway) -> Bytes {
    let [one, two] = &test.network.peers;
    let (call, client) = (Call::new("basic", &["put", "key", "new"]), test.network.client());
    let answers = [one.propose(&call, client).await, two.propose(&call, client).await];
    let entry = call.envelope(client, &answers);
    assert_eq!(one.commit(vec![entry.clone()]).await, [TxValidationCode::Valid]);
    entry
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_are_a_block_behind_are_asked_again_until_they_have_it() {
    for attempt in 2..=ATTEMPTS {
        let test = TestGateway::start().await;
        let entry = write_ahead(&test).await;
        // Whoever is asked first in that attempt has just got the block.
        let ledger = Arc::clone(test.network.peers[1].channel.ledger());
        let before = PORTS.len() * (attempt - 1);
        *test.later.lock() = Some((before, Box::new(move || _ = commit_unjudged(&ledger, vec![entry]))));
        let prepared = test.endorse_call(&Call::new("basic", &["get", "key"])).await.unwrap();
        let payload = Payload::decode(prepared.payload).unwrap();
        let endorsements = OpenTransaction::open(payload.data).unwrap().endorsements;
        assert_eq!(endorsements.len(), 2, "one of each organization");
        assert_eq!(test.calls().iter().sum::<usize>(), before + 1, "attempt {attempt}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_stay_different_end_in_fabrics_error_that_names_each() {
    let test = TestGateway::start().await;
    write_ahead(&test).await;
    let began = Instant::now();
    let refused = test.endorse_call(&Call::new("basic", &["get", "key"])).await.unwrap_err();
    assert!(began.elapsed() >= PAUSES, "{:?}", began.elapsed());
    assert_eq!(refused.code(), Code::Aborted);
    let text = "failed to collect enough transaction endorsements, see attached details for more info";
    assert_eq!(refused.message(), text);
    let details = details(&refused);
    let named: BTreeSet<_> = details.iter().map(|detail| detail.address.clone()).collect();
    assert_eq!((details.len(), named), (PORTS.len(), PORTS.into_iter().map(advertised).collect()));
    for detail in details {
        assert_eq!((&*detail.msp_id, &*detail.message), ("Org2MSP", "ProposalResponsePayloads do not match"));
    }
    assert_eq!(test.calls(), [ATTEMPTS; PORTS.len()], "each is asked in each attempt");
    // Where all agree, nobody is asked twice.
    test.endorse_call(&Call::new("basic", &["nothing"])).await.unwrap();
    assert_eq!(test.calls().iter().sum::<usize>(), 1);
}
