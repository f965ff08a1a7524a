//! From a simulation's outcome to the envelope that the client signs, built from values:
//! every layer has to come out with the recorded bytes.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common::{Envelope, Payload};
use ripstop_proto::kvrwset::{KvRead, KvWrite, KvrwSet, Version};
use ripstop_proto::proposal::{OpenProposal, endorsement_signing_input};
use ripstop_proto::protos::{
    ChaincodeAction, ChaincodeEvent, ChaincodeId, Endorsement, ProposalResponsePayload, Response,
};
use ripstop_proto::read_write_set::{NamespaceSet, ReadWriteSet};
use ripstop_proto::transaction::{self, OpenTransaction};
use serde_json::Value;

use super::{bytes, golden, text};

fn vectors() -> Value {
    golden()["endorse"].clone()
}

fn proposal() -> OpenProposal {
    OpenProposal::open(bytes(&vectors()["proposalBytes"])).unwrap()
}

fn read(key: &str, version: Option<(u64, u64)>) -> KvRead {
    let version = version.map(|(block_num, tx_num)| Version { block_num, tx_num });
    KvRead { key: key.into(), version }
}

/// asset1 was read at {5, 0}, asset2 did not exist; asset1 is written, asset3 deleted.
fn public_set() -> KvrwSet {
    KvrwSet {
        reads: vec![read("asset1", Some((5, 0))), read("asset2", None)],
        writes: vec![
            KvWrite { key: "asset1".into(), is_delete: false, value: Bytes::from_static(b"v1") },
            KvWrite { key: "asset3".into(), is_delete: true, value: Bytes::new() },
        ],
        ..Default::default()
    }
}

fn read_write_set() -> ReadWriteSet {
    let definition = read("namespaces/fields/basic/Sequence", Some((4, 0)));
    let lifecycle = KvrwSet { reads: vec![definition], ..Default::default() };
    let namespaces = [("_lifecycle", lifecycle), ("basic", public_set())];
    let namespaces = namespaces.map(|(namespace, public)| NamespaceSet {
        namespace: namespace.into(),
        public,
        collections: Vec::new(),
    });
    ReadWriteSet { namespaces: namespaces.into() }
}

fn chaincode_action() -> ChaincodeAction {
    let event = ChaincodeEvent {
        chaincode_id: "basic".into(),
        tx_id: text(&vectors()["transactionId"]).into(),
        event_name: "evt".into(),
        payload: Bytes::from_static(b"p"),
    };
    ChaincodeAction {
        results: read_write_set().encode(),
        events: event.encode_to_vec().into(),
        response: Some(Response { status: 200, message: String::new(), payload: Bytes::from_static(b"result") }),
        chaincode_id: Some(ChaincodeId { path: String::new(), name: "basic".into(), version: "1.0".into() }),
    }
}

fn response_payload() -> Bytes {
    let payload = ProposalResponsePayload {
        proposal_hash: Bytes::copy_from_slice(&proposal().hash()),
        extension: chaincode_action().encode_to_vec().into(),
    };
    payload.encode_to_vec().into()
}

fn endorsement() -> Endorsement {
    Endorsement { endorser: Bytes::from_static(b"endorser"), signature: Bytes::from_static(b"sig") }
}

#[test]
fn read_and_write_sets_have_the_recorded_bytes() {
    assert_eq!(hex::encode(public_set().encode_to_vec()), text(&vectors()["kvrwset"]));
    assert_eq!(hex::encode(read_write_set().encode()), text(&vectors()["txReadWriteSet"]));
}

#[test]
fn decoded_read_and_write_sets_hold_the_values() {
    assert_eq!(ReadWriteSet::decode(bytes(&vectors()["txReadWriteSet"])).unwrap(), read_write_set());
}

#[test]
fn a_proposal_response_payload_has_the_recorded_bytes() {
    assert_eq!(hex::encode(proposal().hash()), text(&vectors()["proposalHash"]));
    assert_eq!(hex::encode(chaincode_action().encode_to_vec()), text(&vectors()["chaincodeAction"]));
    assert_eq!(hex::encode(response_payload()), text(&vectors()["proposalResponsePayload"]));
}

#[test]
fn an_endorser_signs_the_payload_and_its_own_identity() {
    let input = endorsement_signing_input(&response_payload(), &endorsement().endorser);
    assert_eq!(hex::encode(input), text(&vectors()["endorsementSignedInput"]));
}

#[test]
fn an_assembled_envelope_has_the_recorded_bytes() {
    let envelope = transaction::assemble(&proposal().proposal, response_payload(), vec![endorsement()]).unwrap();
    assert_eq!(hex::encode(envelope.encode_to_vec()), text(&vectors()["preparedEnvelope"]));
}

#[test]
fn an_assembled_envelope_opens_into_its_parts() {
    let envelope = Envelope::decode(bytes(&vectors()["preparedEnvelope"])).unwrap();
    let payload = Payload::decode(envelope.payload).unwrap();
    let open = OpenTransaction::open(payload.data).unwrap();
    assert_eq!(open.response_payload_bytes, response_payload());
    assert_eq!(open.endorsements, [endorsement()]);
    assert_eq!(open.action_header, proposal().signature_header);
    assert_eq!(open.chaincode_action().unwrap(), chaincode_action());
    let hash = ripstop_proto::proposal::hash_at_validation(
        &payload.header.unwrap().channel_header,
        &open.action_header_bytes,
        &open.proposal_payload_bytes,
    );
    assert_eq!(open.response_payload.proposal_hash, hash[..]);
}
