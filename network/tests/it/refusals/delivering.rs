//! Requests for blocks that orderers and peers refuse. Fabric sends a status and no text.

use bytes::Bytes;
use prost::Message;
use ripstop_msp::SigningIdentity;
use ripstop_proto::common::{Envelope, Header, Payload};
use ripstop_proto::orderer::seek_info::SeekBehavior;
use ripstop_proto::orderer::seek_position::Type;
use ripstop_proto::orderer::{SeekInfo, SeekNewest, SeekNextCommit, SeekOldest, SeekPosition, SeekSpecified};

use super::proposal::{Draft, GARBAGE, Layer, high_s};
use super::stage::{Deliverer, Stage};
use super::table::Table;
use super::transaction::signed;

pub(super) async fn run(stage: &Stage, table: &mut Table<'_>) {
    for from in [Deliverer::Orderer, Deliverer::Peer, Deliverer::PeerFiltered] {
        let mut asked = Asked { stage, table: &mut *table, from };
        form(&mut asked).await;
        readers(&mut asked).await;
        positions(&mut asked).await;
    }
    let orderer = &stage.actors.orderer;
    let got = stage.deliver(Deliverer::Peer, request(&Draft::read_asset(orderer), &first_block(), orderer)).await;
    table.case("deliver from Peer: an orderer", got, "FORBIDDEN").await;
}

/// One of the services.
struct Asked<'a, 'b> {
    stage: &'a Stage,
    table: &'a mut Table<'b>,
    from: Deliverer,
}

impl Asked<'_, '_> {
    async fn case(&mut self, name: &str, envelope: Envelope, wanted: &str) {
        let got = self.stage.deliver(self.from, envelope).await;
        self.table.case(&format!("deliver from {:?}: {name}", self.from), got, wanted).await;
    }
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

async fn form(asked: &mut Asked<'_, '_>) {
    let stage = asked.stage;
    let user = &stage.actors.user;
    asked.case("as it should be", request(&Draft::read_asset(user), &first_block(), user), "0 SUCCESS").await;
    let no_nonce = Draft::read_asset(user).change(|draft| draft.signature_header.nonce.clear());
    asked.case("no nonce, as SDKs send it", request(&no_nonce, &first_block(), user), "0 SUCCESS").await;
    let garbage = Envelope { payload: GARBAGE.into(), signature: user.sign(GARBAGE).unwrap().into() };
    asked.case("a payload that is garbage", garbage, "BAD_REQUEST").await;
    asked.case("nothing at all", Envelope::default(), "BAD_REQUEST").await;
    let headless = signed(&Payload { header: None, data: first_block().encode_to_vec().into() }, user);
    asked.case("no header", headless, "BAD_REQUEST").await;
    for layer in [Layer::ChannelHeader, Layer::SignatureHeader] {
        let broken = request(&Draft::read_asset(user).broken(layer), &first_block(), user);
        asked.case(&format!("{layer:?} is garbage"), broken, "BAD_REQUEST").await;
    }
    let header = Header { channel_header: Bytes::new(), ..Draft::read_asset(user).header() };
    let empty = signed(&Payload { header: Some(header), data: first_block().encode_to_vec().into() }, user);
    asked.case("an empty channel header", empty, "BAD_REQUEST").await;
    let not_now: [(_, fn(&mut Draft)); 4] = [
        ("no timestamp", |draft| draft.channel_header.timestamp = None),
        ("16 minutes ago", |draft| draft.channel_header.timestamp.as_mut().unwrap().seconds -= 16 * 60),
        ("in 16 minutes", |draft| draft.channel_header.timestamp.as_mut().unwrap().seconds += 16 * 60),
        ("at the end of time", |draft| draft.channel_header.timestamp.as_mut().unwrap().seconds = i64::MAX),
    ];
    for (name, change) in not_now {
        asked.case(name, request(&Draft::read_asset(user).change(change), &first_block(), user), "BAD_REQUEST").await;
    }
    let elsewhere = Draft::read_asset(user).change(|draft| draft.channel_header.channel_id = "elsewhere".to_owned());
    asked.case("a channel that is not here", request(&elsewhere, &first_block(), user), "NOT_FOUND").await;
    let payload = Payload { header: Some(Draft::read_asset(user).header()), data: GARBAGE.into() };
    asked.case("a seek that is garbage", signed(&payload, user), "BAD_REQUEST").await;
}

async fn readers(asked: &mut Asked<'_, '_>) {
    let stage = asked.stage;
    let actors = &stage.actors;
    for (name, signer) in [
        ("an unknown organization", &actors.stranger),
        ("a false certificate", &actors.forged),
        ("a client of Org2 who says Org1", &actors.defector),
        ("an expired certificate", &actors.expired),
    ] {
        asked.case(name, request(&Draft::read_asset(signer), &first_block(), signer), "FORBIDDEN").await;
    }
    let others = request(&Draft::read_asset(&actors.user), &first_block(), &actors.other_user);
    asked.case("signed by somebody else", others, "FORBIDDEN").await;
    let good = || request(&Draft::read_asset(&actors.user), &first_block(), &actors.user);
    let unsigned = Envelope { signature: Bytes::new(), ..good() };
    asked.case("no signature", unsigned, "FORBIDDEN").await;
    let mut altered = good();
    altered.payload = request(&Draft::read_asset(&actors.user), &SeekInfo::default(), &actors.user).payload;
    asked.case("altered after it was signed", altered, "FORBIDDEN").await;
    let envelope = good();
    let high = Envelope { signature: high_s(&envelope.signature), ..envelope };
    asked.case("a signature with a high s", high, "FORBIDDEN").await;
    let no_creator = Draft::read_asset(&actors.user).change(|draft| draft.signature_header.creator.clear());
    asked.case("no creator", request(&no_creator, &first_block(), &actors.user), "FORBIDDEN").await;
}

async fn positions(asked: &mut Asked<'_, '_>) {
    let stage = asked.stage;
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
        asked.case(name, request(&Draft::read_asset(user), &seek, user), wanted).await;
    }
    for (name, start, wanted) in [
        ("the next block, which is not ready", at(Type::NextCommit(SeekNextCommit {})), "NOT_FOUND"),
        ("blocks until they are not ready", number(0), "0 1 2 3 … NOT_FOUND"),
    ] {
        let stop = number(u64::MAX);
        let seek = SeekInfo { start, stop, behavior: SeekBehavior::FailIfNotReady.into(), ..SeekInfo::default() };
        asked.case(name, request(&Draft::read_asset(user), &seek, user), wanted).await;
    }
}
