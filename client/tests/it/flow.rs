//! The steps of a transaction, their errors, and events.

use std::time::Duration;

use prost::Message;
use ripstop_client::{
    Bytes, ChaincodeEvent, Error, ErrorDetail, Gateway, SigningIdentity, Step, Timeouts, TxValidationCode,
};
use ripstop_msp::KeyKind;
use ripstop_msp::authority::{AuthorityKind, CertificateAuthority};
use ripstop_msp::{Certificate, Role};
use ripstop_proto::gateway::{
    ChaincodeEventsRequest, ChaincodeEventsResponse, CommitStatusRequest, CommitStatusResponse, EndorseResponse,
    EvaluateRequest, EvaluateResponse, SignedChaincodeEventsRequest, SignedCommitStatusRequest, SubmitRequest,
};
use ripstop_proto::google::rpc;
use ripstop_proto::orderer::seek_position::Type;
use ripstop_proto::proposal::OpenProposal;
use ripstop_proto::protos;
use tonic::{Code, Status};

use crate::fake_gateway::{Answers, FakeGateway};
use crate::vectors::Vectors;

/// A gateway whose proposals are those of the recording, so that the recorded prepared
/// transaction answers them.
async fn start(answers: Answers) -> (FakeGateway, Gateway) {
    let vectors = Vectors::load();
    let fake = FakeGateway::start(answers).await;
    let gateway = Gateway::connect(fake.channel.clone(), vectors.identity());
    (fake, gateway.with_freshness(vectors.freshness(0)))
}

fn endorsed() -> Result<EndorseResponse, Status> {
    Ok(EndorseResponse { prepared_transaction: Some(Vectors::load().prepared_transaction()) })
}

fn refused(code: Code, message: &str, details: &[(&str, &str, &str)]) -> Status {
    let details = details.iter().map(|(address, msp_id, message)| {
        let (address, msp_id, message) = ((*address).into(), (*msp_id).into(), (*message).into());
        let detail = ErrorDetail { address, msp_id, message };
        prost_types::Any { type_url: "type.googleapis.com/gateway.ErrorDetail".into(), value: detail.encode_to_vec() }
    });
    let foreign = prost_types::Any { type_url: "type.googleapis.com/other.Detail".into(), value: vec![0x0a, 0] };
    let status = rpc::Status { details: details.chain([foreign]).collect(), ..Default::default() };
    Status::with_details(code, message, status.encode_to_vec().into())
}

#[tokio::test]
async fn each_step_can_be_made_by_itself() {
    let commit_status = Some(Ok(CommitStatusResponse { result: 0, block_number: 7 }));
    let (fake, gateway) = start(Answers { endorse: endorsed(), commit_status, ..Default::default() }).await;
    let proposal = gateway.network("mychannel").contract("basic").new_proposal("CreateAsset").build().unwrap();
    let transaction = proposal.endorse().await.unwrap();
    assert_eq!(transaction.result(), "result");
    assert_eq!(transaction.transaction_id(), proposal.transaction_id());
    let commit = transaction.submit().await.unwrap();
    assert_eq!(fake.request::<SubmitRequest>().transaction_id, proposal.transaction_id());
    let status = commit.status().await.unwrap();
    assert_eq!((status.code, status.block_number), (TxValidationCode::Valid, 7));
    assert!(status.is_successful());
    let asked: SignedCommitStatusRequest = fake.request();
    let asked = CommitStatusRequest::decode(asked.request).unwrap();
    assert_eq!((asked.transaction_id.as_str(), asked.channel_id.as_str()), (proposal.transaction_id(), "mychannel"));
}

#[tokio::test]
async fn an_endorsement_error_names_every_node_that_refused() {
    let status = refused(
        Code::Aborted,
        "failed to endorse transaction, see attached details for more info",
        &[
            ("peer0.org1.example.com:7051", "Org1MSP", "chaincode response 500, The asset asset1 already exists"),
            ("peer0.org2.example.com:9051", "Org2MSP", "connection refused"),
        ],
    );
    let (_fake, gateway) = start(Answers { endorse: Err(status), ..Default::default() }).await;
    let error = gateway.network("mychannel").contract("basic").submit("CreateAsset", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Aborted));
    assert_eq!(error.transaction_id(), Some(Vectors::load().transaction_id()));
    assert_eq!(error.details().len(), 2);
    assert_eq!(error.details()[1].msp_id, "Org2MSP");
    assert_eq!(
        error.to_string(),
        format!(
            "endorse of transaction {} failed: Aborted: failed to endorse transaction, see attached details for more \
             info; peer0.org1.example.com:7051 (Org1MSP): chaincode response 500, The asset asset1 already exists; \
             peer0.org2.example.com:9051 (Org2MSP): connection refused",
            Vectors::load().transaction_id()
        )
    );
}

#[tokio::test]
async fn the_step_that_failed_is_known() {
    let unavailable = || Err(refused(Code::Unavailable, "no orderers", &[]));
    let answers = Answers { endorse: endorsed(), submit: unavailable(), ..Default::default() };
    let (_fake, gateway) = start(answers).await;
    let failed = gateway.network("mychannel").contract("basic").submit("CreateAsset", &[]).await;
    assert!(
        matches!(failed, Err(Error::Gateway(error)) if error.step == Step::Submit && error.code == Code::Unavailable)
    );

    let status = refused(Code::Unknown, "evaluate call to endorser returned error: chaincode response 500, no", &[]);
    let (_fake, gateway) = start(Answers { evaluate: Err(status), ..Default::default() }).await;
    let failed = gateway.network("mychannel").contract("basic").evaluate("ReadAsset", &[]).await;
    assert!(
        matches!(failed, Err(Error::Gateway(error)) if error.step == Step::Evaluate && error.code == Code::Unknown)
    );
}

#[tokio::test]
async fn an_invalid_transaction_is_a_commit_error_with_its_code_and_block() {
    let commit_status = Some(Ok(CommitStatusResponse { result: 11, block_number: 41 }));
    let (_fake, gateway) = start(Answers { endorse: endorsed(), commit_status, ..Default::default() }).await;
    let error = gateway.network("mychannel").contract("basic").submit("CreateAsset", &[]).await.unwrap_err();
    let Error::Commit(commit) = &error else { panic!("{error:?}") };
    assert_eq!((commit.code, commit.block_number), (TxValidationCode::MvccReadConflict, 41));
    let text = error.to_string();
    assert!(text.ends_with("failed to commit with status code 11 (MVCC_READ_CONFLICT) in block 41"), "{text}");
}

#[tokio::test]
async fn a_code_that_is_not_known_is_not_valid() {
    let commit_status = Some(Ok(CommitStatusResponse { result: 77, block_number: 1 }));
    let (_fake, gateway) = start(Answers { endorse: endorsed(), commit_status, ..Default::default() }).await;
    let proposal = gateway.network("mychannel").contract("basic").new_proposal("CreateAsset").build().unwrap();
    let status = proposal.endorse().await.unwrap().commit().status().await.unwrap();
    assert!(!status.is_successful());
}

#[tokio::test]
async fn a_gateway_that_does_not_answer_in_time_is_a_missed_deadline() {
    let (_fake, gateway) = start(Answers { endorse: endorsed(), commit_status: None, ..Default::default() }).await;
    let gateway = gateway.with_timeouts(Timeouts { commit_status: Duration::from_millis(20), ..Timeouts::default() });
    let error = gateway.network("mychannel").contract("basic").submit("CreateAsset", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::DeadlineExceeded), "{error}");
    assert_eq!(error.transaction_id(), Some(Vectors::load().transaction_id()));
}

#[tokio::test]
async fn a_prepared_transaction_that_is_not_the_proposed_one_is_not_signed() {
    let (fake, gateway) = start(Answers { endorse: endorsed(), ..Default::default() }).await;
    // Another nonce makes another proposal; the recorded transaction does not belong to it.
    let gateway = gateway.with_freshness(Vectors::load().freshness(9));
    let error = gateway.network("mychannel").contract("basic").submit("CreateAsset", &[]).await.unwrap_err();
    assert!(error.to_string().contains("not the proposed one"), "{error}");
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_without_a_transaction_is_an_error() {
    let (_fake, gateway) = start(Answers::default()).await;
    let error = gateway.network("mychannel").contract("basic").submit("CreateAsset", &[]).await.unwrap_err();
    assert!(matches!(&error, Error::Answer { step: Step::Endorse, .. }), "{error:?}");
}

#[tokio::test]
async fn a_contract_of_several_is_called_by_its_name() {
    let evaluate =
        Ok(EvaluateResponse { result: Some(protos::Response { payload: "five".into(), ..Default::default() }) });
    let (fake, gateway) = start(Answers { evaluate, ..Default::default() }).await;
    let contract = gateway.network("mychannel").contract_named("bank", "Accounts");
    let proposal = contract.new_proposal("Read").arguments([&b"\xff\x00"[..]]).build().unwrap();
    assert_eq!(proposal.evaluate().await.unwrap(), "five");
    let sent = fake.request::<EvaluateRequest>().proposed_transaction.unwrap();
    let open = OpenProposal::open(sent.proposal_bytes).unwrap();
    assert_eq!(open.chaincode_name, "bank");
    assert_eq!(open.input.args, [Bytes::from_static(b"Accounts:Read"), Bytes::from_static(b"\xff\x00")]);
}

#[tokio::test]
async fn proposals_are_signed_by_the_identity_and_never_the_same() {
    let authority = CertificateAuthority::new("org1.example.com", AuthorityKind::Identity).unwrap();
    for kind in [KeyKind::P256, KeyKind::Ed25519] {
        let issued = authority.issue_identity("User1@org1.example.com", Role::Client, kind).unwrap();
        let identity = SigningIdentity::from_pem("Org1MSP", &issued.certificate_pem, &issued.key_pem).unwrap();
        let fake = FakeGateway::start(Answers::default()).await;
        let contract = Gateway::connect(fake.channel.clone(), identity).network("mychannel").contract("basic");
        contract.evaluate("ReadAsset", &["asset1"]).await.unwrap();
        let first: EvaluateRequest = fake.request();
        contract.evaluate("ReadAsset", &["asset1"]).await.unwrap();
        let second: EvaluateRequest = fake.request();
        assert_ne!(first.transaction_id, second.transaction_id);
        let certificate = Certificate::from_pem(issued.certificate_pem.as_bytes()).unwrap();
        for signed in [first, second].map(|request| request.proposed_transaction.unwrap()) {
            certificate.public_key().verify(&signed.proposal_bytes, &signed.signature).unwrap();
        }
    }
}

fn block(number: u64, transactions: &[&str]) -> Result<ChaincodeEventsResponse, Status> {
    let event = |tx_id: &&str| protos::ChaincodeEvent {
        chaincode_id: "basic".into(),
        tx_id: (*tx_id).into(),
        event_name: "CreateAsset".into(),
        payload: Bytes::from(format!("asset of {tx_id}")),
    };
    Ok(ChaincodeEventsResponse { events: transactions.iter().map(event).collect(), block_number: number })
}

#[tokio::test]
async fn events_come_one_by_one_with_their_blocks_until_the_stream_ends() {
    let chaincode_events = vec![block(3, &["tx1", "tx2"]), block(4, &[]), block(5, &["tx3"])];
    let (_fake, gateway) = start(Answers { chaincode_events, ..Default::default() }).await;
    let mut events = gateway.network("mychannel").chaincode_events("basic").open().await.unwrap();
    let mut seen = Vec::new();
    while let Some(event) = events.next().await.unwrap() {
        seen.push((event.block_number, event.transaction_id));
    }
    assert_eq!(seen, [(3, "tx1".to_owned()), (3, "tx2".to_owned()), (5, "tx3".to_owned())]);
}

#[tokio::test]
async fn a_broken_stream_is_an_error_and_can_be_taken_up_after_the_last_event() {
    let chaincode_events = vec![block(3, &["tx1"]), Err(refused(Code::Aborted, "ledger closed", &[]))];
    let (fake, gateway) = start(Answers { chaincode_events, ..Default::default() }).await;
    let request = gateway.network("mychannel").chaincode_events("basic");
    let mut events = request.open().await.unwrap();
    let last: ChaincodeEvent = events.next().await.unwrap().unwrap();
    assert_eq!((last.event_name.as_str(), &last.payload[..]), ("CreateAsset", &b"asset of tx1"[..]));
    assert_eq!(events.next().await.unwrap_err().code(), Some(Code::Aborted));
    request.after(&last).open().await.unwrap();
    let signed: SignedChaincodeEventsRequest = fake.request();
    let asked = ChaincodeEventsRequest::decode(signed.request).unwrap();
    assert_eq!(asked.after_transaction_id, "tx1");
    assert!(matches!(asked.start_position.unwrap().r#type, Some(Type::Specified(block)) if block.number == 3));
}
