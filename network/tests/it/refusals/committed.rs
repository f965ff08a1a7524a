//! Transactions that an orderer takes, since it does not look into them, and that every peer
//! finds malformed.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common::SignatureHeader;
use ripstop_proto::protos::TxValidationCode::{self as Code, *};
use ripstop_proto::protos::{ChaincodeHeaderExtension, ChaincodeId};

use super::proposal::{Draft, GARBAGE, Layer};
use super::stage::Stage;
use super::table::Table;
use super::transaction::{Endorsed, Outcome, writing};

pub(super) async fn run(stage: &Stage, table: &mut Table<'_>) {
    headers(stage, table).await;
    form(stage, table).await;
    invocation(stage, table).await;
}

/// A change of a correct outcome before it is endorsed by both organizations.
pub(super) type Change = fn(&mut Outcome);

pub(super) async fn outcome(stage: &Stage, table: &mut Table<'_>, name: &str, change: Change, code: Code, text: &str) {
    let actors = &stage.actors;
    let outcome = Outcome::new(&actors.user, "basic").change(change);
    let envelope = outcome.endorse(&[&actors.peer, &actors.other_peer]).sign(&actors.user);
    table.committed(&format!("transaction: {name}"), envelope, code, text).await;
}

/// A change of a correct transaction after it was endorsed.
pub(super) async fn endorsed(
    stage: &Stage,
    table: &mut Table<'_>,
    name: &str,
    change: impl FnOnce(&mut Endorsed),
    code: Code,
    text: &str,
) {
    let actors = &stage.actors;
    let endorsed = Outcome::new(&actors.user, "basic").endorse(&[&actors.peer, &actors.other_peer]).change(change);
    table.committed(&format!("transaction: {name}"), endorsed.sign(&actors.user), code, text).await;
}

async fn headers(stage: &Stage, table: &mut Table<'_>) {
    outcome(stage, table, "as it should be", |_| {}, Valid, "").await;
    let cases: [(_, Change, _, _); 5] = [
        (
            "header type MESSAGE",
            |outcome| outcome.draft.channel_header.r#type = 0,
            BadCommonHeader,
            "header type 0 does not belong into a block",
        ),
        (
            "header type 77",
            |outcome| outcome.draft.channel_header.r#type = 77,
            BadCommonHeader,
            "header type 77 does not belong into a block",
        ),
        ("epoch 1", |outcome| outcome.draft.channel_header.epoch = 1, BadCommonHeader, "the epoch is 1, it must be 0"),
        (
            "no nonce",
            |outcome| outcome.draft.signature_header.nonce.clear(),
            BadCommonHeader,
            "the signature header has no nonce",
        ),
        (
            "another transaction id",
            |outcome| outcome.draft.channel_header.tx_id = "ab".repeat(32),
            BadProposalTxid,
            "the transaction names id \"abab…",
        ),
    ];
    for (name, change, code, text) in cases {
        outcome(stage, table, name, change, code, text).await;
    }
}

async fn form(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    let no_nonce = SignatureHeader { creator: user.serialized().clone(), nonce: Bytes::new() }.encode_to_vec();
    let no_creator = SignatureHeader { creator: Bytes::new(), nonce: "nonce".into() }.encode_to_vec();
    let other_payload = Draft::read_asset(user).payload(false);
    let hash = "the endorsed proposal hash is not that of the proposal in the transaction";
    type Alteration = Box<dyn FnOnce(&mut Endorsed)>;
    let cases: [(_, Alteration, _); 13] = [
        ("nothing in it", Box::new(|endorsed| endorsed.data = Some(Bytes::new())), "the payload holds no transaction"),
        ("garbage in it", Box::new(|endorsed| endorsed.data = Some(GARBAGE.into())), "Transaction does not decode: …"),
        (
            "two actions",
            Box::new(|endorsed| endorsed.action_count = 2),
            "a transaction holds exactly one action, this one 2",
        ),
        ("no action", Box::new(|endorsed| endorsed.action_count = 0), "the payload holds no transaction"),
        (
            "an action header that is garbage",
            Box::new(|endorsed| endorsed.action_header = GARBAGE.into()),
            "SignatureHeader does not decode: …",
        ),
        (
            "no nonce in the action",
            Box::new(move |endorsed| endorsed.action_header = no_nonce.into()),
            "the header of the action has no nonce",
        ),
        (
            "no creator in the action",
            Box::new(move |endorsed| endorsed.action_header = no_creator.into()),
            "the header of the action has no creator",
        ),
        (
            "an action that is garbage",
            Box::new(|endorsed| endorsed.action_payload = Some(GARBAGE.into())),
            "ChaincodeActionPayload does not decode: …",
        ),
        (
            "no endorsed action",
            Box::new(|endorsed| endorsed.action = None),
            "the action payload holds no endorsed action",
        ),
        (
            "an endorsed answer that is garbage",
            Box::new(|endorsed| endorsed.action.as_mut().unwrap().proposal_response_payload = GARBAGE.into()),
            "ProposalResponsePayload does not decode: …",
        ),
        (
            "no proposal",
            Box::new(|endorsed| endorsed.proposal_payload.clear()),
            "a part of the proposal hash is missing",
        ),
        ("another proposal", Box::new(move |endorsed| endorsed.proposal_payload = other_payload), hash),
        (
            "an empty endorsed answer",
            Box::new(|endorsed| endorsed.action.as_mut().unwrap().proposal_response_payload.clear()),
            hash,
        ),
    ];
    for (name, change, text) in cases {
        endorsed(stage, table, name, change, InvalidEndorserTransaction, text).await;
    }
    let other_hash: Change = |outcome| outcome.proposal_hash = Some(vec![7; 32].into());
    outcome(stage, table, "another proposal hash", other_hash, InvalidEndorserTransaction, hash).await;
}

async fn invocation(stage: &Stage, table: &mut Table<'_>) {
    let cases: [(_, Change, _, _); 13] = [
        (
            "a header extension that is garbage",
            |outcome| outcome.draft.broken = Some(Layer::Extension),
            BadHeaderExtension,
            "the header extension does not decode: …",
        ),
        (
            "no chaincode action",
            |outcome| outcome.extension = Some(Bytes::new()),
            BadResponsePayload,
            "the endorsed answer holds no chaincode action",
        ),
        (
            "a chaincode action that is garbage",
            |outcome| outcome.extension = Some(GARBAGE.into()),
            BadResponsePayload,
            "ChaincodeAction does not decode: …",
        ),
        (
            "read and write sets that are garbage",
            |outcome| outcome.results = Some(GARBAGE.into()),
            BadRwset,
            "the read and write sets do not decode: …",
        ),
        (
            "no chaincode in the header",
            |outcome| outcome.draft.extension.chaincode_id = None,
            InvalidOtherReason,
            "the header extension names no chaincode",
        ),
        (
            "no chaincode in the action",
            |outcome| outcome.action.chaincode_id = None,
            InvalidOtherReason,
            "the chaincode action names no chaincode",
        ),
        (
            "no chaincode name",
            |outcome| outcome.draft.extension = ChaincodeHeaderExtension { chaincode_id: Some(ChaincodeId::default()) },
            InvalidChaincode,
            "the chaincode name in the header extension is empty",
        ),
        (
            "another chaincode answered",
            |outcome| outcome.action.chaincode_id.as_mut().unwrap().name = "other".to_owned(),
            InvalidChaincode,
            "chaincode \"basic\" was asked for, \"other\" answered",
        ),
        (
            "no version of the chaincode",
            |outcome| outcome.action.chaincode_id.as_mut().unwrap().version.clear(),
            InvalidChaincode,
            "the chaincode action names no version of \"basic\"",
        ),
        (
            "an event that is garbage",
            |outcome| outcome.action.events = GARBAGE.into(),
            InvalidOtherReason,
            "the chaincode event does not decode: …",
        ),
        (
            "an event of another chaincode",
            |outcome| outcome.action.events = b"\x0a\x05other".as_slice().into(),
            InvalidOtherReason,
            "the event is of chaincode \"other\", the transaction of \"basic\"",
        ),
        (
            "a namespace twice",
            |outcome| outcome.read_write_set.namespaces.push(writing("basic", "again")),
            IllegalWriteset,
            "namespace \"basic\" stands twice in the read and write sets",
        ),
        (
            "an inner set that is garbage",
            |outcome| {
                outcome.results = Some(b"\x12\x10\x0a\x05basic\x12\x07\xff\xff\xff\xff\xff\xff\xff".as_slice().into())
            },
            BadRwset,
            "the read and write sets do not decode: …",
        ),
    ];
    for (name, change, code, text) in cases {
        outcome(stage, table, name, change, code, text).await;
    }
}
