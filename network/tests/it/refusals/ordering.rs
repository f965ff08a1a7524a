//! Envelopes that the orderer refuses, over Broadcast and over Ordering.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common::{ChannelHeader, Envelope, Header, HeaderType, Payload};
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::ripstop::v1::SubmitItem;

use super::proposal::{Draft, GARBAGE, high_s};
use super::stage::{CHANNEL, Stage};
use super::table::Table;
use super::transaction::{Endorsed, Outcome, signed};

/// More than the channel allows.
const OVERSIZE: usize = 11 << 20;

pub(super) async fn run(stage: &Stage, table: &mut Table<'_>) {
    form(stage, table).await;
    kinds(stage, table).await;
    writers(stage, table).await;
    size(stage, table).await;
    items(stage, table).await;
    encodings(stage, table).await;
}

/// Both services are asked, and have to say the same.
async fn both(stage: &Stage, table: &mut Table<'_>, name: &str, envelope: Envelope, wanted: &str) {
    let got = stage.order(&[envelope.encode_to_vec()]).await.concat();
    table.case(&format!("ordering: {name}"), got, wanted).await;
    table.case(&format!("broadcast: {name}"), stage.broadcast(envelope).await, wanted).await;
}

fn endorsed(stage: &Stage) -> Endorsed {
    let actors = &stage.actors;
    Outcome::new(&actors.user, "basic").endorse(&[&actors.peer, &actors.other_peer])
}

async fn form(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    let garbage = Envelope { payload: GARBAGE.into(), signature: user.sign(GARBAGE).unwrap().into() };
    let wanted = "BAD_REQUEST could not determine channel ID: bad payload: …";
    both(stage, table, "a payload that is garbage", garbage, wanted).await;
    let wanted = "BAD_REQUEST could not determine channel ID: payload has no header";
    both(stage, table, "nothing at all", Envelope::default(), wanted).await;
    let headless = signed(&Payload { header: None, data: "data".into() }, user);
    both(stage, table, "no header", headless, wanted).await;
    let with_header = |header: Header| signed(&Payload { header: Some(header), data: Bytes::new() }, user);
    let header = Header { channel_header: GARBAGE.into(), ..Header::default() };
    let wanted = "BAD_REQUEST could not determine channel ID: bad channel header: …";
    both(stage, table, "a channel header that is garbage", with_header(header), wanted).await;
    let header = Header { signature_header: GARBAGE.into(), ..Draft::read_asset(user).header() };
    let wanted = "BAD_REQUEST could not convert message to signedData: …";
    both(stage, table, "a signature header that is garbage", with_header(header), wanted).await;
    let no_channel = Header { channel_header: Bytes::new(), ..Draft::read_asset(user).header() };
    both(stage, table, "no channel", with_header(no_channel), "BAD_REQUEST channel does not exist").await;
}

async fn kinds(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    for (kind, wanted) in [
        (HeaderType::Config, "BAD_REQUEST message is of type that cannot be processed directly"),
        (HeaderType::OrdererTransaction, "BAD_REQUEST message is of type that is no longer supported"),
        (
            HeaderType::ConfigUpdate,
            "NOT_IMPLEMENTED CONFIG_UPDATE: this orderer does not implement updates of a channel's configuration yet",
        ),
    ] {
        let draft = Draft::read_asset(user).change(|draft| draft.channel_header.r#type = kind.into());
        let envelope = signed(&Payload { header: Some(draft.header()), data: "data".into() }, user);
        both(stage, table, kind.as_str_name(), envelope, wanted).await;
    }
    let elsewhere = Draft::read_asset(user).change(|draft| draft.channel_header.channel_id = "elsewhere".into());
    let envelope = signed(&Payload { header: Some(elsewhere.header()), data: "data".into() }, user);
    table
        .case(
            "broadcast: a channel that is not here",
            stage.broadcast(envelope).await,
            "BAD_REQUEST channel does not exist",
        )
        .await;
}

/// What Fabric says of an implicit policy, and who signed as far as that could be told.
fn denied(signed: &str) -> String {
    format!(
        "FORBIDDEN policy /Channel/Writers: implicit policy evaluation failed - 0 sub-policies were satisfied, but this \
         policy requires 1 of the 'Writers' sub-policies to be satisfied; signed: [{signed}]: permission denied"
    )
}

async fn writers(stage: &Stage, table: &mut Table<'_>) {
    let actors = &stage.actors;
    let denied = &denied("");
    let peer = &self::denied("Org1MSP (peer0.org1.example.com)");
    for (name, signer, wanted) in [
        ("a client of an unknown organization", &actors.stranger, denied),
        ("a false certificate", &actors.forged, denied),
        ("a client of Org2 who says Org1", &actors.defector, denied),
        ("a peer", &actors.peer, peer),
        ("an expired certificate", &actors.expired, &"BAD_REQUEST broadcast client identity expired".to_owned()),
    ] {
        let envelope = Outcome::new(signer, "basic").endorse(&[&actors.peer, &actors.other_peer]).sign(signer);
        both(stage, table, name, envelope, wanted).await;
    }
    let unsigned = Envelope { signature: Bytes::new(), ..endorsed(stage).sign(&actors.user) };
    let wanted = "FORBIDDEN the envelope is not signed: permission denied";
    both(stage, table, "no signature", unsigned, wanted).await;
    let envelope = endorsed(stage).sign(&actors.user);
    let high = Envelope { signature: high_s(&envelope.signature), ..envelope };
    both(stage, table, "a signature with a high s", high, denied).await;
    both(stage, table, "signed by somebody else", endorsed(stage).sign(&actors.other_user), denied).await;
    let mut altered = endorsed(stage).sign(&actors.user);
    altered.payload = endorsed(stage).payload().encode_to_vec().into();
    both(stage, table, "altered after it was signed", altered, denied).await;
}

async fn size(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    let header = Some(Draft::read_asset(user).header());
    let large = signed(&Payload { header, data: vec![7; OVERSIZE].into() }, user);
    let size = large.payload.len() + large.signature.len();
    let wanted = format!("BAD_REQUEST message payload is {size} bytes and exceeds maximum allowed 10485760 bytes");
    both(stage, table, "more bytes than the channel allows", large, &wanted).await;
}

async fn items(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    let got = stage.order(&[GARBAGE.to_vec()]).await.concat();
    table.case("ordering: an item that is garbage", got, "BAD_REQUEST envelope does not decode: …").await;
    let envelope = Bytes::from(endorsed(stage).sign(user).encode_to_vec());
    let item = SubmitItem { correlation_id: 1, channel_id: "elsewhere".to_owned(), envelope };
    let got = stage.submit(vec![item]).await.concat();
    let wanted = "BAD_REQUEST the item is for channel elsewhere, its envelope for channel mychannel";
    table.case("ordering: an item for another channel", got, wanted).await;
    let got = stage.submit(vec![SubmitItem::default(); 4097]).await.concat();
    let wanted = "InvalidArgument: a request of 4097 items; at most 4096 are taken at once";
    table.case("ordering: too many items", got, wanted).await;
    let good = endorsed(stage).sign(user).encode_to_vec();
    let got = stage.order(&[GARBAGE.to_vec(), good, Vec::new()]).await.join("; ");
    let wanted = "BAD_REQUEST envelope does not decode: …";
    assert!(got.contains("; SUCCESS; BAD_REQUEST"), "bad neighbours harmed an envelope: {got}");
    table.case("ordering: good among bad", got, wanted).await;
    let wrong_channel = ChannelHeader { channel_id: "../../etc".to_owned(), ..ChannelHeader::default() };
    let header = Header { channel_header: wrong_channel.encode_to_vec().into(), ..Draft::read_asset(user).header() };
    let envelope = signed(&Payload { header: Some(header), data: Bytes::new() }, user);
    table
        .case(
            "ordering: a channel that is a path",
            stage.order(&[envelope.encode_to_vec()]).await.concat(),
            "BAD_REQUEST channel does not exist",
        )
        .await;
    let draft = Draft::read_asset(user).change(|draft| draft.channel_header.channel_id = CHANNEL.to_uppercase());
    let envelope = signed(&Payload { header: Some(draft.header()), data: Bytes::new() }, user);
    table
        .case(
            "ordering: a channel in capitals",
            stage.order(&[envelope.encode_to_vec()]).await.concat(),
            "BAD_REQUEST channel does not exist",
        )
        .await;
}

/// Receivers refuse a block with an entry that is encoded in any but the one way, so the
/// orderer must never let one in: it orders the one encoding.
async fn encodings(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    let envelope = endorsed(stage).sign(user);
    let bytes = [&envelope.encode_to_vec()[..], b"\x1a\x07unknown"].concat();
    table.ordered("envelope: an unknown field", &envelope, bytes, TxValidationCode::Valid, "").await;
    let envelope = endorsed(stage).sign(user);
    let payload = Envelope { payload: envelope.payload.clone(), signature: Bytes::new() }.encode_to_vec();
    let signature = Envelope { payload: Bytes::new(), signature: envelope.signature.clone() }.encode_to_vec();
    let bytes = [&signature[..], &payload].concat();
    table.ordered("envelope: its fields in another order", &envelope, bytes, TxValidationCode::Valid, "").await;
    let envelope = endorsed(stage).sign(user);
    let other = Envelope { payload: "other".into(), signature: "other".into() }.encode_to_vec();
    let bytes = [&other[..], &envelope.encode_to_vec()].concat();
    table.ordered("envelope: its fields twice", &envelope, bytes, TxValidationCode::Valid, "").await;
}
