//! Calls of the chaincodes that every peer has, by people who may not make them, or with
//! arguments that mean nothing.

use prost::Message;
use ripstop_proto::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, CommitChaincodeDefinitionArgs, InstallChaincodeArgs,
};

use super::proposal::GARBAGE;
use super::stage::{CHANNEL, Stage};
use super::table::Table;

pub(super) async fn run(stage: &Stage, table: &mut Table<'_>) {
    configuration(stage, table).await;
    queries(stage, table).await;
    lifecycle(stage, table).await;
}

async fn configuration(stage: &Stage, table: &mut Table<'_>) {
    let actors = &stage.actors;
    let genesis = std::fs::read(stage.network.dir().join("channel-artifacts/mychannel.block")).unwrap();
    let join = [b"JoinChain".as_slice(), &genesis];
    for (name, signer, wanted) in [
        (
            "a client",
            &actors.user,
            "500: access denied for [JoinChain]: [this needs the role admin of organization Org1MSP: …",
        ),
        (
            "another organization's admin",
            &actors.other_admin,
            "Unknown: error validating proposal: access denied: channel [] creator org unknown, creator is malformed",
        ),
    ] {
        table.case(&format!("cscc: JoinChain by {name}"), stage.call(signer, "", "cscc", &join).await, wanted).await;
    }
    let admin = &actors.admin;
    for (name, args, wanted) in [
        ("no function", &[][..], "500: Incorrect number of arguments, 0"),
        ("no argument", &[b"JoinChain".as_slice()], "500: Incorrect number of arguments, 1"),
        ("JoinChain of garbage", &[b"JoinChain", GARBAGE], "500: Failed to reconstruct the genesis block, …"),
        ("JoinChain of nothing", &[b"JoinChain", b""], "500: cannot create ledger from a block without header"),
        (
            "JoinChain of a channel that is here",
            &join,
            "500: cannot create ledger from genesis block: ledger [mychannel] already exists with state [ACTIVE]",
        ),
        ("another function", &[b"LeaveChain", b"mychannel"], "500: Requested function LeaveChain not found."),
        (
            "GetConfigBlock of a channel that is not here",
            &[b"GetConfigBlock", b"elsewhere"],
            "500: access denied for [GetConfigBlock][elsewhere]: …",
        ),
        ("GetChannelConfig of no channel", &[b"GetChannelConfig", b""], "500: empty channel name provided"),
    ] {
        table.case(&format!("cscc: {name}"), stage.call(admin, "", "cscc", args).await, wanted).await;
    }
}

async fn queries(stage: &Stage, table: &mut Table<'_>) {
    let user = &stage.actors.user;
    for (name, args, wanted) in [
        ("no function", &[][..], "500: Incorrect number of arguments, 0"),
        (
            "no argument",
            &[b"GetBlockByNumber".as_slice(), b"mychannel"],
            "500: missing 3rd argument for GetBlockByNumber",
        ),
        ("a channel that is not here", &[b"GetChainInfo", b"elsewhere"], "500: Invalid chain ID, elsewhere"),
        (
            "a block that is not there",
            &[b"GetBlockByNumber", b"mychannel", b"4711"],
            "500: Failed to get block number 4711, error no such block number [4711] in index, …",
        ),
        (
            "a number that is none",
            &[b"GetBlockByNumber", b"mychannel", b"-1"],
            "500: Failed to parse block number with error …",
        ),
        (
            "a hash that is none",
            &[b"GetBlockByHash", b"mychannel", b"ab"],
            "500: Failed to get block hash 6162, error a block hash has 32 bytes, not 2",
        ),
        (
            "a transaction that is not there",
            &[b"GetTransactionByID", b"mychannel", b"ab"],
            "500: Failed to get transaction with id ab, error no such transaction ID [ab] in index",
        ),
        (
            "another function",
            &[b"Drop", b"mychannel", b"x"],
            "500: access denied for [Drop][mychannel]: [Unmapped policy for qscc/Drop: this version has no such function]",
        ),
    ] {
        table.case(&format!("qscc: {name}"), stage.call(user, CHANNEL, "qscc", args).await, wanted).await;
    }
    let got = stage.call(user, CHANNEL, "lscc", &[b"deploy"]).await;
    table.case("lscc", got, "500: chaincode lscc is not supported by this version").await;
}

async fn lifecycle(stage: &Stage, table: &mut Table<'_>) {
    let (user, admin) = (&stage.actors.user, &stage.actors.admin);
    let install = InstallChaincodeArgs { chaincode_install_package: "no package".into() }.encode_to_vec();
    let install = [b"InstallChaincode".as_slice(), &install];
    let got = stage.call(user, "", "_lifecycle", &install).await;
    let wanted = "500: Failed to authorize invocation due to failed ACL check: this needs the role admin of organization Org1MSP: …";
    table.case("_lifecycle: installing by a client", got, wanted).await;
    let got = stage.call(admin, "", "_lifecycle", &install).await;
    let wanted = "500: failed to invoke backing implementation of 'InstallChaincode': could not parse as a chaincode install package: …";
    table.case("_lifecycle: installing what is no package", got, wanted).await;
    let got = stage.call(admin, "", "_lifecycle", &[b"InstallChaincode", GARBAGE]).await;
    let wanted = "500: failed to invoke backing implementation of 'InstallChaincode': could not decode input arg for *lifecycle.Invocation.InstallChaincode: …";
    table.case("_lifecycle: installing garbage", got, wanted).await;

    let approve = ApproveChaincodeDefinitionForMyOrgArgs {
        name: "basic".to_owned(),
        version: "2.0".to_owned(),
        sequence: 7,
        ..ApproveChaincodeDefinitionForMyOrgArgs::default()
    };
    let approve = [b"ApproveChaincodeDefinitionForMyOrg".as_slice(), &approve.encode_to_vec()].map(<[u8]>::to_vec);
    let approve = [&approve[0][..], &approve[1]];
    let got = stage.call(user, CHANNEL, "_lifecycle", &approve).await;
    let wanted = "500: Failed to authorize invocation due to failed ACL check: this needs the role admin of organization Org1MSP: …";
    table.case("_lifecycle: approving by a client", got, wanted).await;
    let got = stage.call(admin, CHANNEL, "_lifecycle", &approve).await;
    let wanted = "500: failed to invoke backing implementation of 'ApproveChaincodeDefinitionForMyOrg': requested sequence 7 is larger than the next available sequence number 2";
    table.case("_lifecycle: approving a sequence out of order", got, wanted).await;
    let commit = CommitChaincodeDefinitionArgs {
        name: "basic".to_owned(),
        version: "2.0".to_owned(),
        sequence: 2,
        ..CommitChaincodeDefinitionArgs::default()
    };
    let commit = commit.encode_to_vec();
    let got = stage.call(admin, CHANNEL, "_lifecycle", &[b"CommitChaincodeDefinition", &commit]).await;
    let wanted = "500: failed to invoke backing implementation of 'CommitChaincodeDefinition': chaincode definition not agreed to by this org (Org1MSP)";
    table.case("_lifecycle: committing what nobody approved", got, wanted).await;
    let got = stage.call(admin, CHANNEL, "_lifecycle", &[b"CommitChaincodeDefinition", GARBAGE]).await;
    let wanted = "500: failed to invoke backing implementation of 'CommitChaincodeDefinition': could not decode input arg for *lifecycle.Invocation.CommitChaincodeDefinition: …";
    table.case("_lifecycle: committing garbage", got, wanted).await;
    let got = stage.call(admin, CHANNEL, "_lifecycle", &[b"Approve", b""]).await;
    let wanted =
        "500: Failed to authorize invocation due to failed ACL check: Unmapped policy for _lifecycle/Approve: …";
    table.case("_lifecycle: another function", got, wanted).await;
    let got = stage.call(admin, CHANNEL, "_lifecycle", &[]).await;
    let wanted = "500: lifecycle scc must be invoked with arguments";
    table.case("_lifecycle: no function", got, wanted).await;
}
