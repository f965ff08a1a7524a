//! Requests that the gateway refuses.

use bytes::Bytes;
use prost::Message;
use ripstop_msp::SigningIdentity;
use ripstop_proto::common::Envelope;
use ripstop_proto::gateway::gateway_client::GatewayClient;
use ripstop_proto::gateway::{
    ChaincodeEventsRequest, CommitStatusRequest, EndorseRequest, ErrorDetail, EvaluateRequest,
    SignedChaincodeEventsRequest, SignedCommitStatusRequest, SubmitRequest,
};
use ripstop_proto::google::rpc;
use ripstop_proto::orderer::{SeekNewest, SeekOldest, SeekPosition, seek_position};
use ripstop_proto::protos::SignedProposal;
use tonic::Status;
use tonic::transport::Channel;

use super::proposal::{Draft, GARBAGE, Layer, high_s};
use super::stage::{CHANNEL, Stage, patiently, said};
use super::table::Table;
use super::transaction::Outcome;

pub(super) async fn run(stage: &Stage, table: &mut Table<'_>) {
    evaluate(stage, table).await;
    endorse(stage, table).await;
    submit(stage, table).await;
    commit_status(stage, table).await;
    events(stage, table).await;
}

fn client(stage: &Stage) -> GatewayClient<Channel> {
    GatewayClient::new(stage.peer.clone())
}

/// What a status says, with the details of a gateway.
fn explained(status: &Status) -> String {
    let details = rpc::Status::decode(status.details()).unwrap_or_default().details;
    let details: Vec<String> = details
        .iter()
        .map(|detail| ErrorDetail::decode(&detail.value[..]).unwrap())
        .map(|detail| format!(" [{} {}]", detail.msp_id, detail.message))
        .collect();
    format!("{}{}", said(status), details.concat())
}

async fn answer<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> String {
    match patiently("the gateway", call).await {
        Ok(_) => "OK".to_owned(),
        Err(status) => explained(&status),
    }
}

async fn evaluate(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    let call = async |proposal: Option<SignedProposal>, targets: &[&str]| {
        let request = EvaluateRequest {
            proposed_transaction: proposal,
            target_organizations: targets.iter().map(|target| (*target).to_owned()).collect(),
            ..EvaluateRequest::default()
        };
        answer(client(stage).evaluate(request)).await
    };
    let missing = "InvalidArgument: the proposed transaction must contain a signed proposal";
    table.case("evaluate: no proposal", call(None, &[]).await, missing).await;
    table.case("evaluate: an empty proposal", call(Some(SignedProposal::default()), &[]).await, missing).await;
    let got = call(Some(Draft::read_asset(user).broken(Layer::Header).sign(user)), &[]).await;
    let wanted = "InvalidArgument: failed to unpack transaction proposal: error unmarshalling Header: …";
    table.case("evaluate: a header that is garbage", got, wanted).await;
    let mut draft = Draft::read_asset(user);
    draft.channel_header.channel_id.clear();
    let got = call(Some(draft.sign(user)), &[]).await;
    let wanted = "InvalidArgument: failed to unpack transaction proposal: no channel id provided";
    table.case("evaluate: no channel", got, wanted).await;
    let mut draft = Draft::read_asset(user);
    draft.channel_header.channel_id = "elsewhere".to_owned();
    let got = call(Some(draft.sign(user)), &[]).await;
    table
        .case("evaluate: a channel that is not here", got, "FailedPrecondition: channel 'elsewhere' not found: …")
        .await;
    let got = call(Some(Draft::read_asset(user).sign(user)), &["Org9MSP"]).await;
    let wanted = "Unavailable: failed to find any endorsing peers for org(s): Org9MSP";
    table.case("evaluate: an organization that is not here", got, wanted).await;
    let got = call(Some(Draft::new(user, "basic", &[b"ReadAsset", b"nothing"]).sign(user)), &[]).await;
    let wanted = "Unknown: evaluate call to endorser returned error: chaincode response 500, The asset nothing does not \
                  exist [Org1MSP chaincode response 500, The asset nothing does not exist]";
    table.case("evaluate: the contract says no", got, wanted).await;
    let forged = &stage.actors.forged;
    let got = call(Some(Draft::read_asset(forged).sign(forged)), &[]).await;
    let denied =
        "error validating proposal: access denied: channel [mychannel] creator org unknown, creator is malformed";
    let wanted = format!("FailedPrecondition: evaluate call to endorser returned error: {denied} [Org1MSP {denied}]");
    table.case("evaluate: a false certificate", got, &wanted).await;
    let got = call(Some(Draft::read_asset(forged).sign(forged)), &["Org2MSP"]).await;
    let wanted = format!(
        "Unavailable: failed to evaluate transaction, see attached details for more info [Org2MSP rpc error: code = \
         Unknown desc = {denied}]"
    );
    table.case("evaluate: a false certificate at another peer", got, &wanted).await;
    let expired = &stage.actors.expired;
    let got = call(Some(Draft::read_asset(expired).sign(expired)), &["Org1MSP"]).await;
    let wanted = "Unavailable: failed to evaluate transaction, see attached details for more info [Org1MSP rpc error: \
                  code = Unknown desc = proposal client identity expired]";
    table.case("evaluate: an expired certificate", got, wanted).await;
}

async fn endorse(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    let call = async |proposal: Option<SignedProposal>, organizations: &[&str]| {
        let request = EndorseRequest {
            proposed_transaction: proposal,
            endorsing_organizations: organizations.iter().map(|organization| (*organization).to_owned()).collect(),
            ..EndorseRequest::default()
        };
        answer(client(stage).endorse(request)).await
    };
    let missing = "InvalidArgument: the proposed transaction must contain a signed proposal";
    table.case("endorse: no proposal", call(None, &[]).await, missing).await;
    let got = call(Some(Draft::read_asset(user).broken(Layer::Input).sign(user)), &[]).await;
    let wanted = "InvalidArgument: error unmarshalling ChaincodeInvocationSpec: …";
    table.case("endorse: an input that is garbage", got, wanted).await;
    let got = call(Some(Draft::read_asset(user).sign(user)), &["Org2MSP", "Org9MSP"]).await;
    let wanted = "Unavailable: failed to find any endorsing peers for org(s): Org9MSP";
    table.case("endorse: an organization that is not here", got, wanted).await;
    let got = call(Some(Draft::new(user, "basic", &[b"ReadAsset", b"nothing"]).sign(user)), &[]).await;
    let wanted = "Aborted: failed to endorse transaction, see attached details for more info [Org1MSP chaincode response \
                  500, The asset nothing does not exist]";
    table.case("endorse: the contract says no", got, wanted).await;
    let got = call(Some(Draft::new(user, "missing", &[b"f"]).sign(user)), &[]).await;
    let wanted = "Aborted: failed to endorse transaction, see attached details for more info [Org1MSP make sure the \
                  chaincode missing has been successfully defined on channel mychannel and try again: …";
    table.case("endorse: a chaincode that is not defined", got, wanted).await;
    let mut signed = Draft::read_asset(user).sign(user);
    signed.signature = high_s(&signed.signature);
    let wanted = "Aborted: failed to endorse transaction, see attached details for more info [Org1MSP error validating \
                  proposal: access denied: channel [mychannel] creator org [Org1MSP]]";
    table.case("endorse: a signature with a high s", call(Some(signed), &[]).await, wanted).await;
    let draft = Draft::read_asset(user).change(|draft| draft.transient = true);
    let wanted = "FailedPrecondition: requires endorsement from organisation(s) that are not in the distribution policy of \
                  the private data collection(s): …";
    table.case("endorse: transient data of nobody's", call(Some(draft.sign(user)), &[]).await, wanted).await;
}

async fn submit(stage: &Stage, table: &mut Table<'_>) {
    let actors = &stage.actors;
    let call = async |channel_id: &str, envelope: Option<Envelope>| {
        let request = SubmitRequest {
            channel_id: channel_id.to_owned(),
            prepared_transaction: envelope,
            ..SubmitRequest::default()
        };
        answer(client(stage).submit(request)).await
    };
    let good = || Outcome::new(&actors.user, "basic").endorse(&[&actors.peer, &actors.other_peer]).sign(&actors.user);
    let got = call(CHANNEL, None).await;
    table.case("submit: no transaction", got, "InvalidArgument: a prepared transaction is required").await;
    let unsigned = Envelope { signature: Bytes::new(), ..good() };
    let got = call(CHANNEL, Some(unsigned)).await;
    table.case("submit: not signed", got, "InvalidArgument: prepared transaction must be signed").await;
    let got = call("elsewhere", Some(good())).await;
    table.case("submit: a channel that is not here", got, "FailedPrecondition: channel 'elsewhere' not found: …").await;
    let got = call(CHANNEL, Some(Envelope { payload: GARBAGE.into(), ..good() })).await;
    let wanted = "Aborted: received unsuccessful response from orderer: status=BAD_REQUEST, info=could not determine \
                  channel ID: bad payload: …";
    table.case("submit: a payload that is garbage", got, wanted).await;
    let got = call(CHANNEL, Some(Envelope { signature: "signature".into(), ..good() })).await;
    let wanted = "Aborted: received unsuccessful response from orderer: status=FORBIDDEN, info=…";
    table.case("submit: a signature that is none", got, wanted).await;
}

async fn commit_status(stage: &Stage, table: &mut Table<'_>) {
    let actors = &stage.actors;
    let tx_id = "ab".repeat(32);
    let request = |identity: &SigningIdentity, channel_id: &str, transaction_id: &str| CommitStatusRequest {
        identity: identity.serialized().clone(),
        channel_id: channel_id.to_owned(),
        transaction_id: transaction_id.to_owned(),
    };
    let call = async |request: Bytes, signature: Bytes| {
        answer(client(stage).commit_status(SignedCommitStatusRequest { request, signature })).await
    };
    let signed = async |request: CommitStatusRequest, signer: &SigningIdentity| {
        let request: Bytes = request.encode_to_vec().into();
        let signature = signer.sign(&request).unwrap().into();
        call(request, signature).await
    };
    let got = call(Bytes::new(), Bytes::new()).await;
    table.case("commit status: no request", got, "InvalidArgument: a commit status request is required").await;
    let got = call(GARBAGE.into(), Bytes::new()).await;
    table.case("commit status: garbage", got, "InvalidArgument: invalid status request: …").await;
    let nobody = CommitStatusRequest { identity: Bytes::new(), ..request(&actors.user, CHANNEL, &tx_id) };
    let got = signed(nobody, &actors.user).await;
    table.case("commit status: no identity", got, "InvalidArgument: no identity provided").await;
    let got = signed(request(&actors.user, "", &tx_id), &actors.user).await;
    table.case("commit status: no channel", got, "InvalidArgument: no channel ID provided").await;
    let got = signed(request(&actors.user, CHANNEL, ""), &actors.user).await;
    table.case("commit status: no transaction", got, "InvalidArgument: transaction ID should not be empty").await;
    let got = signed(request(&actors.user, "elsewhere", &tx_id), &actors.user).await;
    let wanted = "PermissionDenied: access to gateway/CommitStatus on channel elsewhere is denied";
    table.case("commit status: a channel that is not here", got, wanted).await;
    for (name, claimed, signer) in [
        ("an unknown organization", &actors.stranger, &actors.stranger),
        ("a false certificate", &actors.forged, &actors.forged),
        ("an orderer", &actors.orderer, &actors.orderer),
        ("a signature of somebody else", &actors.user, &actors.other_user),
    ] {
        let got = signed(request(claimed, CHANNEL, &tx_id), signer).await;
        let wanted = "PermissionDenied: failed evaluating policy on signed data: access to gateway/CommitStatus needs \
                      /Channel/Application/Readers: …";
        table.case(&format!("commit status: {name}"), got, wanted).await;
    }
}

async fn events(stage: &Stage, table: &mut Table<'_>) {
    let actors = &stage.actors;
    let call = async |request: Bytes, signer: &SigningIdentity| {
        let signature = signer.sign(&request).unwrap().into();
        answer(client(stage).chaincode_events(SignedChaincodeEventsRequest { request, signature })).await
    };
    let request = |identity: &SigningIdentity, channel_id: &str, start: Option<seek_position::Type>| -> Bytes {
        let request = ChaincodeEventsRequest {
            identity: identity.serialized().clone(),
            channel_id: channel_id.to_owned(),
            chaincode_id: "basic".to_owned(),
            start_position: start.map(|start| SeekPosition { r#type: Some(start) }),
            ..ChaincodeEventsRequest::default()
        };
        request.encode_to_vec().into()
    };
    let user = &actors.user;
    let got = call(Bytes::new(), user).await;
    table.case("events: no request", got, "InvalidArgument: a chaincode events request is required").await;
    let got = call(GARBAGE.into(), user).await;
    table.case("events: garbage", got, "InvalidArgument: invalid chaincode events request: …").await;
    let got = call(request(user, "elsewhere", None), user).await;
    let wanted = "PermissionDenied: access to gateway/ChaincodeEvents on channel elsewhere is denied";
    table.case("events: a channel that is not here", got, wanted).await;
    let denied = "PermissionDenied: failed evaluating policy on signed data: access to gateway/ChaincodeEvents needs \
                  /Channel/Application/Readers: …";
    let got = call(request(&actors.stranger, CHANNEL, None), &actors.stranger).await;
    table.case("events: an unknown organization", got, denied).await;
    let got = call(request(user, CHANNEL, None), &actors.forged).await;
    table.case("events: a signature of somebody else", got, denied).await;
    for (name, start) in
        [("oldest", seek_position::Type::Oldest(SeekOldest {})), ("newest", seek_position::Type::Newest(SeekNewest {}))]
    {
        let got = call(request(user, CHANNEL, Some(start)), user).await;
        table.case(&format!("events: from {name}"), got, "InvalidArgument: invalid start position type: …").await;
    }
}
