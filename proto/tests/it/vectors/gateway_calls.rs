//! What the SDK sends: decoded, checked and encoded again.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::envelope::{self, OpenEnvelope};
use ripstop_proto::gateway::{
    ChaincodeEventsRequest, CommitStatusRequest, EndorseRequest, EvaluateRequest, SignedChaincodeEventsRequest,
    SignedCommitStatusRequest, SubmitRequest,
};
use ripstop_proto::orderer::{SeekInfo, SeekPosition, seek_position};
use ripstop_proto::proposal::{self, OpenProposal};
use ripstop_proto::protos::SignedProposal;
use ripstop_proto::{common, msp, tx_id};
use serde_json::Value;

use super::{assert_signed, bytes, golden, items, text};

/// The stop position of an endless block stream in the Node SDK.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// The recorded request with this index: decoded, and equal when encoded again.
fn request<M: Message + Default>(index: usize, method: &str) -> M {
    let call = &golden()["calls"][index];
    assert_eq!(text(&call["method"]), method);
    let recorded = bytes(&call["request"]);
    let request = M::decode(recorded.clone()).unwrap();
    assert_eq!(hex::encode(request.encode_to_vec()), hex::encode(&recorded), "call {index}");
    request
}

fn creator() -> Vec<u8> {
    let meta: Value = golden()["meta"].clone();
    let identity = msp::SerializedIdentity {
        mspid: text(&meta["mspId"]).into(),
        id_bytes: Bytes::copy_from_slice(text(&meta["credentialsUtf8"]).as_bytes()),
    };
    identity.encode_to_vec()
}

/// The nonce of the n-th transaction that the recorder made.
fn nonce(n: u8) -> Vec<u8> {
    (0..24).map(|index| n * 16 + index).collect()
}

fn seek(position: Option<SeekPosition>) -> seek_position::Type {
    position.unwrap().r#type.unwrap()
}

/// A signed proposal of the SDK: its signature, its transaction id and its layers.
fn checked_proposal(signed: SignedProposal, n: u8, expected_tx_id: &str) -> OpenProposal {
    assert_signed(&signed.proposal_bytes, &signed.signature);
    let open = OpenProposal::open(signed.proposal_bytes).unwrap();
    assert_eq!(open.signature_header.creator, creator());
    assert_eq!(open.signature_header.nonce, nonce(n));
    assert_eq!(tx_id::compute(&nonce(n), &creator()), expected_tx_id);
    assert_eq!(open.channel_header.tx_id, expected_tx_id);
    assert_eq!(open.channel_header.channel_id, "mychannel");
    assert_eq!(open.channel_header.r#type, common::HeaderType::EndorserTransaction as i32);
    let timestamp = open.channel_header.timestamp.unwrap();
    let milliseconds = timestamp.seconds * 1000 + i64::from(timestamp.nanos) / 1_000_000;
    assert_eq!(Some(milliseconds), golden()["meta"]["fixedTimeMs"].as_i64());
    assert_eq!((open.chaincode_name.as_str(), open.spec_chaincode_name.as_str()), ("basic", "basic"));
    open
}

#[test]
fn every_recorded_call_is_tested() {
    let golden = golden();
    let methods: Vec<_> = items(&golden["calls"]).iter().map(|call| text(&call["method"])).collect();
    let tested = [
        "/gateway.Gateway/Endorse",
        "/gateway.Gateway/Submit",
        "/gateway.Gateway/CommitStatus",
        "/gateway.Gateway/Evaluate",
        "/gateway.Gateway/Evaluate",
        "/gateway.Gateway/ChaincodeEvents",
        "/gateway.Gateway/ChaincodeEvents",
        "/protos.Deliver/Deliver",
        "/protos.Deliver/DeliverFiltered",
    ];
    assert_eq!(methods, tested);
}

#[test]
fn an_endorse_request_carries_a_signed_proposal_under_its_transaction_id() {
    let golden = golden();
    let request: EndorseRequest = request(0, "/gateway.Gateway/Endorse");
    let signed = request.proposed_transaction.unwrap();
    assert_eq!(signed.proposal_bytes, bytes(&golden["endorse"]["proposalBytes"]));
    assert_eq!(signed.signature, bytes(&golden["endorse"]["proposalSignature"]));
    assert_eq!(request.channel_id, "mychannel");
    assert_eq!(request.transaction_id, text(&golden["endorse"]["transactionId"]));
    let open = checked_proposal(signed, 0, &request.transaction_id);
    assert_eq!(open.input.args, [&b"CreateAsset"[..], b"asset1", b"blue"]);
    assert_eq!(hex::encode(open.hash()), text(&golden["endorse"]["proposalHash"]));
}

#[test]
fn a_submitted_envelope_is_the_prepared_one_with_a_signature() {
    let request: SubmitRequest = request(1, "/gateway.Gateway/Submit");
    let submitted = request.prepared_transaction.unwrap();
    let prepared = common::Envelope::decode(bytes(&golden()["endorse"]["preparedEnvelope"])).unwrap();
    assert!(prepared.signature.is_empty());
    assert_eq!(submitted.payload, prepared.payload);
    assert_signed(&submitted.payload, &submitted.signature);
    let signed = envelope::signed(prepared.payload, submitted.signature.clone());
    assert_eq!(envelope::canonical(&signed.encode_to_vec()).unwrap(), submitted);
    let open = OpenEnvelope::from_envelope(submitted).unwrap();
    assert_eq!(open.header_type(), Some(common::HeaderType::EndorserTransaction));
    assert_eq!(open.index_tx_id(), request.transaction_id);
}

#[test]
fn a_commit_status_request_is_signed_over_its_inner_bytes() {
    let signed: SignedCommitStatusRequest = request(2, "/gateway.Gateway/CommitStatus");
    assert_signed(&signed.request, &signed.signature);
    let inner = CommitStatusRequest::decode(signed.request.clone()).unwrap();
    assert_eq!(inner.encode_to_vec(), signed.request);
    assert_eq!(inner.transaction_id, text(&golden()["endorse"]["transactionId"]));
    assert_eq!((&inner.channel_id[..], &inner.identity[..]), ("mychannel", &creator()[..]));
}

#[test]
fn an_evaluate_request_carries_a_signed_proposal() {
    let request: EvaluateRequest = request(3, "/gateway.Gateway/Evaluate");
    assert!(request.target_organizations.is_empty());
    let open = checked_proposal(request.proposed_transaction.unwrap(), 1, &request.transaction_id);
    assert_eq!(open.input.args, [&b"ReadAsset"[..], b"asset1"]);
}

#[test]
fn transient_data_travels_in_the_proposal_and_stays_out_of_the_hash() {
    let request: EvaluateRequest = request(4, "/gateway.Gateway/Evaluate");
    assert_eq!(request.target_organizations, ["Org1MSP", "Org2MSP"]);
    let open = checked_proposal(request.proposed_transaction.unwrap(), 2, &request.transaction_id);
    assert_eq!(open.payload.transient_map["k"], "secret");

    let stripped = proposal::payload_without_transient(&open.proposal.payload).unwrap();
    assert!(!stripped.windows(6).any(|window| window == b"secret"));
    let channel_header = &open.header.channel_header;
    let at_validation = proposal::hash_at_validation(channel_header, &open.header.signature_header, &stripped);
    assert_eq!(open.hash(), at_validation);
    assert_eq!(proposal::hash_at_endorsement(&open.header, &open.proposal.payload).unwrap(), at_validation);
}

#[test]
fn chaincode_events_start_at_the_next_commit_or_at_a_block() {
    let inner = [5, 6].map(|index| {
        let signed: SignedChaincodeEventsRequest = request(index, "/gateway.Gateway/ChaincodeEvents");
        assert_signed(&signed.request, &signed.signature);
        let inner = ChaincodeEventsRequest::decode(signed.request.clone()).unwrap();
        assert_eq!(inner.encode_to_vec(), signed.request);
        assert_eq!((&inner.channel_id[..], &inner.chaincode_id[..]), ("mychannel", "basic"));
        assert_eq!(inner.identity, creator());
        assert_eq!(inner.after_transaction_id, "");
        inner
    });
    let [live, from_block] = inner.map(|inner| seek(inner.start_position));
    assert!(matches!(live, seek_position::Type::NextCommit(_)), "{live:?}");
    assert!(
        matches!(&from_block, seek_position::Type::Specified(specified) if specified.number == 5),
        "{from_block:?}"
    );
}

#[test]
fn block_streams_are_asked_for_without_a_nonce() {
    let positions = [(7, "/protos.Deliver/Deliver"), (8, "/protos.Deliver/DeliverFiltered")].map(|(index, method)| {
        let envelope: common::Envelope = request(index, method);
        assert_signed(&envelope.payload, &envelope.signature);
        let open = OpenEnvelope::from_envelope(envelope).unwrap();
        assert_eq!(open.header_type(), Some(common::HeaderType::DeliverSeekInfo));
        assert_eq!(open.channel_header.channel_id, "mychannel");
        assert_eq!(open.signature_header.creator, creator());
        assert!(open.signature_header.nonce.is_empty());
        let seek_info = SeekInfo::decode(open.payload.data.clone()).unwrap();
        assert_eq!(seek_info.encode_to_vec(), open.payload.data);
        (seek(seek_info.start), seek(seek_info.stop))
    });
    let [(from_zero, stop), (live, live_stop)] = positions;
    assert!(matches!(&from_zero, seek_position::Type::Specified(specified) if specified.number == 0), "{from_zero:?}");
    assert!(matches!(live, seek_position::Type::NextCommit(_)), "{live:?}");
    for stop in [stop, live_stop] {
        assert!(matches!(&stop, seek_position::Type::Specified(specified) if specified.number == SAFE_INTEGER_MAX));
    }
}
