//! Requests for blocks that the orderer refuses. Fabric sends a status and no text.

use bytes::Bytes;
use prost::Message;
use ripstop_msp::SigningIdentity;
use ripstop_proto::common::{Envelope, Header, Payload};
use ripstop_proto::orderer::seek_info::SeekBehavior;
use ripstop_proto::orderer::seek_position::Type;
use ripstop_proto::orderer::{SeekInfo, SeekNewest, SeekNextCommit, SeekOldest, SeekPosition, SeekSpecified};

use super::proposal::{Draft, GARBAGE, Layer, high_s};
use super::stage::Stage;
use super::table::Table;
use super::transaction::signed;

pub(super) async fn run(stage: &Stage, table: &mut Table<'_>) {
    form(stage, table).await;
    readers(stage, table).await;
    positions(stage, table).await;
}

fn at(position: Type) -> Option<SeekPosition> {
    Some(SeekPosition { r#type: Some(position) })
}

fn number(number: u64) -> Option<SeekPosition> {
    at(Type::Specified(SeekSpecified { number }))
}

fn first_block() -> SeekInfo {
    SeekInfo { start: number(0), stop: number(0), ..SeekInfo::default() }
}

fn request(draft: &Draft, seek: &SeekInfo, signer: &SigningIdentity) -> Envelope {
    signed(&Payload { header: Some(draft.header()), data: seek.encode_to_vec().into() }, signer)
}

async fn form(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    let got = stage.deliver(request(&Draft::read_asset(user), &first_block(), user)).await;
    table.case("deliver: as it should be", got, "0 SUCCESS").await;
    let no_nonce = Draft::read_asset(user).change(|draft| draft.signature_header.nonce.clear());
    let got = stage.deliver(request(&no_nonce, &first_block(), user)).await;
    table.case("deliver: no nonce, as SDKs send it", got, "0 SUCCESS").await;
    let garbage = Envelope { payload: GARBAGE.into(), signature: user.sign(GARBAGE).unwrap().into() };
    table.case("deliver: a payload that is garbage", stage.deliver(garbage).await, "BAD_REQUEST").await;
    table.case("deliver: nothing at all", stage.deliver(Envelope::default()).await, "BAD_REQUEST").await;
    let headless = signed(&Payload { header: None, data: first_block().encode_to_vec().into() }, user);
    table.case("deliver: no header", stage.deliver(headless).await, "BAD_REQUEST").await;
    for layer in [Layer::ChannelHeader, Layer::SignatureHeader] {
        let got = stage.deliver(request(&Draft::read_asset(user).broken(layer), &first_block(), user)).await;
        table.case(&format!("deliver: {layer:?} is garbage"), got, "BAD_REQUEST").await;
    }
    let header = Header { channel_header: Bytes::new(), ..Draft::read_asset(user).header() };
    let empty = signed(&Payload { header: Some(header), data: first_block().encode_to_vec().into() }, user);
    table.case("deliver: an empty channel header", stage.deliver(empty).await, "BAD_REQUEST").await;
    let not_now: [(_, fn(&mut Draft)); 4] = [
        ("no timestamp", |draft| draft.channel_header.timestamp = None),
        ("16 minutes ago", |draft| draft.channel_header.timestamp.as_mut().unwrap().seconds -= 16 * 60),
        ("in 16 minutes", |draft| draft.channel_header.timestamp.as_mut().unwrap().seconds += 16 * 60),
        ("at the end of time", |draft| draft.channel_header.timestamp.as_mut().unwrap().seconds = i64::MAX),
    ];
    for (name, change) in not_now {
        let got = stage.deliver(request(&Draft::read_asset(user).change(change), &first_block(), user)).await;
        table.case(&format!("deliver: {name}"), got, "BAD_REQUEST").await;
    }
    let elsewhere = Draft::read_asset(user).change(|draft| draft.channel_header.channel_id = "elsewhere".to_owned());
    let got = stage.deliver(request(&elsewhere, &first_block(), user)).await;
    table.case("deliver: a channel that is not here", got, "NOT_FOUND").await;
    let payload = Payload { header: Some(Draft::read_asset(user).header()), data: GARBAGE.into() };
    table.case("deliver: a seek that is garbage", stage.deliver(signed(&payload, user)).await, "BAD_REQUEST").await;
}

async fn readers(stage: &Stage, table: &mut Table<'_>) {
    let actors = &stage.actors;
    for (name, signer) in [
        ("an unknown organization", &actors.stranger),
        ("a false certificate", &actors.forged),
        ("a client of Org2 who says Org1", &actors.defector),
        ("an expired certificate", &actors.expired),
    ] {
        let got = stage.deliver(request(&Draft::read_asset(signer), &first_block(), signer)).await;
        table.case(&format!("deliver: {name}"), got, "FORBIDDEN").await;
    }
    let got = stage.deliver(request(&Draft::read_asset(&actors.user), &first_block(), &actors.other_user)).await;
    table.case("deliver: signed by somebody else", got, "FORBIDDEN").await;
    let good = || request(&Draft::read_asset(&actors.user), &first_block(), &actors.user);
    let unsigned = Envelope { signature: Bytes::new(), ..good() };
    table.case("deliver: no signature", stage.deliver(unsigned).await, "FORBIDDEN").await;
    let high = Envelope { signature: high_s(&good().signature), ..good() };
    table.case("deliver: the signature of another request", stage.deliver(high).await, "FORBIDDEN").await;
    let envelope = good();
    let high = Envelope { signature: high_s(&envelope.signature), ..envelope };
    table.case("deliver: a signature with a high s", stage.deliver(high).await, "FORBIDDEN").await;
    let no_creator = Draft::read_asset(&actors.user).change(|draft| draft.signature_header.creator.clear());
    let got = stage.deliver(request(&no_creator, &first_block(), &actors.user)).await;
    table.case("deliver: no creator", got, "FORBIDDEN").await;
}

async fn positions(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    let unset = Some(SeekPosition { r#type: None });
    let far = number(1_000_000);
    for (name, start, stop, wanted) in [
        ("no start", None, number(0), "BAD_REQUEST"),
        ("no stop", number(0), None, "BAD_REQUEST"),
        ("neither start nor stop", None, None, "BAD_REQUEST"),
        ("a start that says nothing", unset, number(0), "NOT_FOUND"),
        ("a start beyond the chain", far, far, "NOT_FOUND"),
        ("a start at the end of numbers", number(u64::MAX), number(u64::MAX), "NOT_FOUND"),
        ("a stop before the start", number(2), number(1), "BAD_REQUEST"),
        ("a stop before the newest block", at(Type::Newest(SeekNewest {})), number(0), "BAD_REQUEST"),
        ("a range that is there", at(Type::Oldest(SeekOldest {})), number(2), "0 1 2 SUCCESS"),
        (
            "from the oldest to the oldest",
            at(Type::Oldest(SeekOldest {})),
            at(Type::Oldest(SeekOldest {})),
            "0 SUCCESS",
        ),
    ] {
        let seek = SeekInfo { start, stop, ..SeekInfo::default() };
        let got = stage.deliver(request(&Draft::read_asset(user), &seek, user)).await;
        table.case(&format!("deliver: {name}"), got, wanted).await;
    }
    for (name, start, wanted) in [
        ("the next block, which is not ready", at(Type::NextCommit(SeekNextCommit {})), "NOT_FOUND"),
        ("blocks until they are not ready", number(0), "0 1 2 3 …"),
    ] {
        let stop = number(u64::MAX);
        let seek = SeekInfo { start, stop, behavior: SeekBehavior::FailIfNotReady.into(), ..SeekInfo::default() };
        let got = stage.deliver(request(&Draft::read_asset(user), &seek, user)).await;
        assert!(got.ends_with("NOT_FOUND"), "{name}: {got}");
        table.case(&format!("deliver: {name}"), got, wanted).await;
    }
}
