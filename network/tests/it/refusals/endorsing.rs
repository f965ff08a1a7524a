//! Proposals that the endorser of a peer refuses.

use ripstop_proto::common::HeaderType;
use ripstop_proto::protos::SignedProposal;
use ripstop_proto::tx_id;

use super::proposal::{Draft, Layer, high_s};
use super::stage::{CHANNEL, Stage};
use super::table::Table;

pub(super) async fn run(stage: &Stage, table: &mut Table<'_>) {
    layers(stage, table).await;
    headers(stage, table).await;
    creators(stage, table).await;
    signatures(stage, table).await;
    calls(stage, table).await;
}

async fn layers(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    for (layer, message) in [
        (Layer::Proposal, "Proposal"),
        (Layer::Header, "Header"),
        (Layer::ChannelHeader, "ChannelHeader"),
        (Layer::SignatureHeader, "SignatureHeader"),
        (Layer::Extension, "ChaincodeHeaderExtension"),
        (Layer::Payload, "ChaincodeProposalPayload"),
        (Layer::Input, "ChaincodeInvocationSpec"),
    ] {
        let got = stage.propose(Draft::read_asset(user).broken(layer).sign(user)).await;
        let wanted = format!("Unknown: error unmarshalling {message}: failed to decode Protobuf message: …");
        table.case(&format!("proposal: {message} is garbage"), got, &wanted).await;
    }
    let got = stage.propose(SignedProposal::default()).await;
    table.case("proposal: nothing at all", got, "Unknown: ChaincodeHeaderExtension.ChaincodeId is nil").await;
    let missing: [(_, fn(&mut Draft), _); 4] = [
        ("no chaincode id", |draft| draft.extension.chaincode_id = None, "ChaincodeHeaderExtension.ChaincodeId is nil"),
        (
            "no chaincode name",
            |draft| draft.extension.chaincode_id = Some(Default::default()),
            "ChaincodeHeaderExtension.ChaincodeId.Name is empty",
        ),
        ("no chaincode spec", |draft| draft.spec = None, "chaincode invocation spec did not contain chaincode spec"),
        (
            "no chaincode input",
            |draft| draft.spec.as_mut().unwrap().input = None,
            "chaincode input did not contain any input",
        ),
    ];
    for (name, change, wanted) in missing {
        let got = stage.propose(Draft::read_asset(user).change(change).sign(user)).await;
        table.case(&format!("proposal: {name}"), got, &format!("Unknown: {wanted}")).await;
    }
}

async fn headers(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    let not_now: [(_, fn(&mut Draft), _); 4] = [
        (
            "no timestamp",
            |draft| draft.channel_header.timestamp = None,
            "request unauthorized: the channel header has no usable timestamp",
        ),
        (
            "a timestamp at the end of time",
            |draft| draft.channel_header.timestamp.as_mut().unwrap().seconds = i64::MAX,
            "request unauthorized…",
        ),
        (
            "a timestamp of 16 minutes ago",
            |draft| draft.channel_header.timestamp.as_mut().unwrap().seconds -= 16 * 60,
            "request unauthorized due to incorrect timestamp: it is 960 s off this peer's clock, at most 900 s are \
             allowed; set the clocks",
        ),
        (
            "a timestamp in 16 minutes",
            |draft| draft.channel_header.timestamp.as_mut().unwrap().seconds += 16 * 60,
            "request unauthorized due to incorrect timestamp: it is 9…",
        ),
    ];
    for (name, change, wanted) in not_now {
        let got = stage.propose(Draft::read_asset(user).change(change).sign(user)).await;
        table.case(&format!("proposal: {name}"), got, &format!("Unknown: {wanted}")).await;
    }
    let mut draft = Draft::read_asset(user);
    draft.channel_header.channel_id = "elsewhere".to_owned();
    let got = stage.propose(draft.sign(user)).await;
    table.case("proposal: a channel that is not here", got, "500: channel 'elsewhere' not found").await;
    let wrong: [(_, fn(&mut Draft), _); 5] = [
        (
            "header type CONFIG_UPDATE",
            |draft| draft.channel_header.r#type = HeaderType::ConfigUpdate.into(),
            "invalid header type CONFIG_UPDATE",
        ),
        ("header type 77", |draft| draft.channel_header.r#type = 77, "invalid header type 77"),
        ("epoch 1", |draft| draft.channel_header.epoch = 1, "epoch is non-zero"),
        ("no nonce", |draft| draft.signature_header.nonce.clear(), "nonce is empty"),
        ("no creator", |draft| draft.signature_header.creator.clear(), "creator is empty"),
    ];
    for (name, change, wanted) in wrong {
        let got = stage.propose(Draft::read_asset(user).change(change).sign(user)).await;
        table.case(&format!("proposal: {name}"), got, &format!("Unknown: error validating proposal: {wanted}")).await;
    }
    let draft = Draft::read_asset(user);
    let other = draft.clone().change(|draft| draft.channel_header.tx_id = "ab".repeat(32));
    let wanted = format!(
        "Unknown: error validating proposal: incorrectly computed txid '{}' -- expected '{}'",
        other.tx_id(),
        draft.tx_id()
    );
    table.case("proposal: another transaction id", stage.propose(other.sign(user)).await, &wanted).await;
}

async fn creators(stage: &Stage, table: &mut Table<'_>) {
    let actors = &stage.actors;
    let unknown = format!("access denied: channel [{CHANNEL}] creator org unknown, creator is malformed");
    let unknown = format!("Unknown: error validating proposal: {unknown}");
    for (name, signer) in [
        ("of an unknown organization", &actors.stranger),
        ("certified by a false authority", &actors.forged),
        ("of Org2 who says Org1", &actors.defector),
    ] {
        let got = stage.propose(Draft::read_asset(signer).sign(signer)).await;
        table.case(&format!("proposal: a client {name}"), got, &unknown).await;
    }
    let mut draft = Draft::read_asset(&actors.user);
    draft.signature_header.creator = "no identity".into();
    draft.channel_header.tx_id = tx_id::compute(&draft.signature_header.nonce, &draft.signature_header.creator);
    let got = stage.propose(draft.sign(&actors.user)).await;
    table.case("proposal: a creator that is no identity", got, &unknown).await;
    let got = stage.propose(Draft::read_asset(&actors.expired).sign(&actors.expired)).await;
    table.case("proposal: an expired certificate", got, "Unknown: proposal client identity expired").await;
    for (name, signer) in [("a peer", &actors.peer), ("an orderer", &actors.orderer)] {
        let got = stage.propose(Draft::read_asset(signer).sign(signer)).await;
        let wanted =
            "Unknown: failed evaluating policy on signed data during check policy [/Channel/Application/Writers]: […";
        table.case(&format!("proposal: {name} instead of a client"), got, wanted).await;
    }
}

async fn signatures(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    let denied =
        format!("Unknown: error validating proposal: access denied: channel [{CHANNEL}] creator org [Org1MSP]");
    type Forgery<'a> = (&'static str, fn(&mut SignedProposal), &'a str);
    let changes: [Forgery<'_>; 4] = [
        (
            "no signature",
            |signed| signed.signature.clear(),
            "Unknown: error validating proposal: empty signature bytes",
        ),
        ("a signature that is none", |signed| signed.signature = "signature".into(), &denied),
        ("a signature with a high s", |signed| signed.signature = high_s(&signed.signature), &denied),
        (
            "a signature with a byte behind it",
            |signed| signed.signature = [&signed.signature[..], b"\0"].concat().into(),
            &denied,
        ),
    ];
    for (name, change, wanted) in changes {
        let mut signed = Draft::read_asset(user).sign(user);
        change(&mut signed);
        table.case(&format!("proposal: {name}"), stage.propose(signed).await, wanted).await;
    }
    let got = stage.propose(Draft::read_asset(user).sign(&stage.actors.other_user)).await;
    table.case("proposal: signed by somebody else", got, &denied).await;
    let draft = Draft::read_asset(user);
    let mut signed = draft.sign(user);
    let altered = draft.change(|draft| {
        draft.spec.as_mut().unwrap().input.as_mut().unwrap().args[1] = "asset2".into();
    });
    signed.proposal_bytes = altered.bytes();
    table.case("proposal: altered after it was signed", stage.propose(signed).await, &denied).await;
}

async fn calls(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    let got = stage.propose(Draft::new(user, "missing", &[b"f"]).sign(user)).await;
    let wanted =
        "500: make sure the chaincode missing has been successfully defined on channel mychannel and try again: …";
    table.case("proposal: a chaincode that is not defined", got, wanted).await;
    let draft =
        Draft::read_asset(user).change(|draft| draft.spec.as_mut().unwrap().input.as_mut().unwrap().is_init = true);
    let wanted = format!(
        "500: error in simulation: failed to execute transaction {}: invalid invocation: chaincode 'basic' does not \
         require initialization but called as init",
        draft.tx_id()
    );
    table.case("proposal: init of a chaincode without init", stage.propose(draft.sign(user)).await, &wanted).await;
    let got = stage.propose(Draft::new(user, "basic", &[b"ReadAsset", b"nothing"]).sign(user)).await;
    table.case("proposal: the contract says no", got, "500: The asset nothing does not exist").await;
    let got = stage.propose(Draft::new(user, "basic", &[b"\xff\xfe"]).sign(user)).await;
    table
        .case(
            "proposal: a function that is no text",
            got,
            "500: You've asked to invoke a function that does not exist: …",
        )
        .await;
    let mut draft = Draft::read_asset(user);
    draft.channel_header.channel_id.clear();
    let got = stage.propose(draft.sign(user)).await;
    let wanted = "500: make sure the chaincode basic has been successfully defined on channel  and try again: could not \
                  get channel config for channel ''";
    table.case("proposal: a contract without a channel", got, wanted).await;
}
