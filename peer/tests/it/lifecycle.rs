//! Two organizations come to a definition, and what they are told on the way.

use std::collections::BTreeMap;

use prost::Message;
use ripstop_peer::lifecycle::invocable::NotInvocable;
use ripstop_proto::lifecycle::chaincode_source::Type as SourceType;
use ripstop_proto::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, ChaincodeSource, CheckCommitReadinessArgs, CheckCommitReadinessResult,
    CommitChaincodeDefinitionArgs, GetInstalledChaincodePackageArgs, GetInstalledChaincodePackageResult,
    QueryApprovedChaincodeDefinitionArgs, QueryApprovedChaincodeDefinitionResult,
    QueryApprovedChaincodeDefinitionsArgs, QueryApprovedChaincodeDefinitionsResult, QueryChaincodeDefinitionArgs,
    QueryChaincodeDefinitionResult, QueryChaincodeDefinitionsArgs, QueryChaincodeDefinitionsResult,
    QueryInstalledChaincodeArgs, QueryInstalledChaincodeResult, QueryInstalledChaincodesArgs,
    QueryInstalledChaincodesResult,
};
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::read_write_set::ReadWriteSet;

use crate::contract_server;
use crate::organizations::CHANNEL;
use crate::peers::{Call, TestNetwork, TestPeer, approval};

const CONNECTION: &str = r#"{"address":"127.0.0.1:1"}"#;

fn approve(args: ApproveChaincodeDefinitionForMyOrgArgs) -> Call {
    Call::lifecycle("ApproveChaincodeDefinitionForMyOrg", args)
}

fn commit_args(sequence: i64, version: &str) -> CommitChaincodeDefinitionArgs {
    let (name, version) = ("basic".to_owned(), version.to_owned());
    CommitChaincodeDefinitionArgs { sequence, name, version, ..Default::default() }
}

async fn readiness(peer: &TestPeer, sequence: i64, version: &str) -> CheckCommitReadinessResult {
    let (name, version) = ("basic".to_owned(), version.to_owned());
    peer.lifecycle("CheckCommitReadiness", CheckCommitReadinessArgs { sequence, name, version, ..Default::default() })
        .await
}

async fn definition(peer: &TestPeer) -> QueryChaincodeDefinitionResult {
    peer.lifecycle("QueryChaincodeDefinition", QueryChaincodeDefinitionArgs { name: "basic".into() }).await
}

fn approvals(one: bool, two: bool) -> BTreeMap<String, bool> {
    BTreeMap::from([("Org1MSP".to_owned(), one), ("Org2MSP".to_owned(), two)])
}

/// The refusal's words after those that every refusal begins with.
async fn refusal(peer: &TestPeer, call: &Call) -> String {
    let (status, message) = peer.ask(call, &peer.admin).await;
    assert_eq!(status, 500, "{message}");
    message.split_once("': ").map(|(_, rest)| rest.to_owned()).unwrap_or(message)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_organizations_approve_and_commit_and_both_ledgers_say_the_same() {
    let network = TestNetwork::new();
    let [one, two] = &network.peers;
    let package_id = one.install(&contract_server::package("basic_1.0", CONNECTION)).await;

    network.submit(&approve(approval("basic", &package_id, false)), &one.admin, &[one]).await;
    for peer in [one, two] {
        let ready = readiness(peer, 1, "1.0").await;
        assert_eq!(ready.approvals, approvals(true, false));
        assert_eq!(ready.mismatches.keys().collect::<Vec<_>>(), ["Org2MSP"]);
        assert_eq!(ready.mismatches["Org2MSP"].items, ["ChaincodeParameters"]);
        let other = readiness(peer, 1, "1.1").await;
        assert_eq!(other.approvals, approvals(false, false));
        assert_eq!(other.mismatches["Org1MSP"].items, ["EndorsementInfo"]);
    }
    let early = Call::lifecycle("CommitChaincodeDefinition", commit_args(1, "1.0"));
    assert_eq!(refusal(two, &early).await, "chaincode definition not agreed to by this org (Org2MSP)");

    let unavailable = ApproveChaincodeDefinitionForMyOrgArgs { source: None, ..approval("basic", "", false) };
    network.submit(&approve(unavailable), &two.admin, &[two]).await;
    let commit = Call::lifecycle("CommitChaincodeDefinition", commit_args(1, "1.0"));
    network.submit(&commit, &one.admin, &[one, two]).await;

    let [first, second] = [definition(one).await, definition(two).await];
    assert_eq!(first, second);
    assert_eq!((first.sequence, first.version.as_str()), (1, "1.0"));
    assert_eq!((first.endorsement_plugin.as_str(), first.validation_plugin.as_str()), ("escc", "vscc"));
    assert_eq!(first.approvals, approvals(true, true));
    let all: QueryChaincodeDefinitionsResult =
        two.lifecycle("QueryChaincodeDefinitions", QueryChaincodeDefinitionsArgs {}).await;
    assert_eq!(all.chaincode_definitions.len(), 1);
    assert_eq!(all.chaincode_definitions[0].name, "basic");

    // The first organization's peer has the package, the second's chose to have none.
    let find =
        |peer: &TestPeer| peer.endorser.invocables().find(CHANNEL, "basic", &mut peer.channel.ledger().simulator());
    assert_eq!(find(one).unwrap().package_id, package_id);
    assert_eq!(find(two), Err(NotInvocable::NotInstalled("basic".into())));
    let installed: QueryInstalledChaincodesResult =
        one.lifecycle("QueryInstalledChaincodes", QueryInstalledChaincodesArgs {}).await;
    let references = &installed.installed_chaincodes[0].references[CHANNEL].chaincodes;
    assert_eq!((references[0].name.as_str(), references[0].version.as_str()), ("basic", "1.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn own_approvals_can_be_read_in_clear_on_every_peer_of_the_organization() {
    let network = TestNetwork::new();
    let [one, two] = &network.peers;
    let same_organization = TestPeer::new(&network.organizations, &network.organizations.org1, Default::default());
    let package_id = one.install(&contract_server::package("basic_1.0", CONNECTION)).await;
    let call = approve(approval("basic", &package_id, false));
    let answer = one.propose(&call, &one.admin).await;
    let envelope = call.envelope(&one.admin, &[answer]);
    assert_eq!(network.commit(envelope.clone()).await, TxValidationCode::Valid);
    same_organization.commit(vec![envelope]).await;

    for peer in [one, &same_organization] {
        let args = QueryApprovedChaincodeDefinitionArgs { name: "basic".into(), sequence: 0 };
        let approved: QueryApprovedChaincodeDefinitionResult =
            peer.lifecycle("QueryApprovedChaincodeDefinition", args).await;
        assert_eq!((approved.sequence, approved.version.as_str()), (1, "1.0"));
        let source = approved.source.and_then(|source| source.r#type).unwrap();
        assert!(matches!(source, SourceType::LocalPackage(local) if local.package_id == package_id));
        let all: QueryApprovedChaincodeDefinitionsResult =
            peer.lifecycle("QueryApprovedChaincodeDefinitions", QueryApprovedChaincodeDefinitionsArgs {}).await;
        assert_eq!(all.approved_chaincode_definitions.len(), 1);
    }
    let args = QueryApprovedChaincodeDefinitionArgs { name: "basic".into(), sequence: 1 };
    let refused = refusal(two, &Call::lifecycle("QueryApprovedChaincodeDefinition", args)).await;
    assert!(refused.starts_with("could not fetch approved chaincode definition (name: 'basic', sequence: '1')"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_changes_nothing_is_refused_and_a_new_package_is_enough() {
    let network = TestNetwork::new();
    let [one, two] = &network.peers;
    let first = approval("basic", "basic:00", false);
    network.submit(&approve(first.clone()), &one.admin, &[one]).await;
    assert_eq!(
        refusal(one, &approve(first.clone())).await,
        "attempted to redefine uncommitted sequence (1) for namespace basic with unchanged content"
    );

    let call = approve(approval("basic", "basic:01", false));
    let answer = one.propose(&call, &one.admin).await;
    let action = ripstop_proto::protos::ProposalResponsePayload::decode(answer.payload.clone()).unwrap();
    let action = ripstop_proto::protos::ChaincodeAction::decode(action.extension).unwrap();
    let sets = ReadWriteSet::decode(action.results).unwrap();
    let lifecycle = sets.namespaces.iter().find(|set| set.namespace == "_lifecycle").unwrap();
    assert_eq!(lifecycle.collections[0].hashed.hashed_writes.len(), 1, "only the package id changes");
    network.commit(call.envelope(&one.admin, &[answer])).await;

    network.submit(&approve(first.clone()), &two.admin, &[two]).await;
    let commit = Call::lifecycle("CommitChaincodeDefinition", commit_args(1, "1.0"));
    network.submit(&commit, &one.admin, &[one, two]).await;
    let repeated = approval("basic", "basic:01", false);
    assert_eq!(
        refusal(one, &approve(repeated.clone())).await,
        "attempted to redefine the current committed sequence (1) for namespace basic"
    );
    let other_version = ApproveChaincodeDefinitionForMyOrgArgs { version: "2.0".into(), ..repeated };
    assert_eq!(
        refusal(one, &approve(other_version)).await,
        "attempted to redefine the current committed sequence (1) for namespace basic with different parameters: \
         expected Version '1.0' does not match passed Version '2.0'"
    );
    // Committed, and now another package: peers of this organization shall run that one.
    network.submit(&approve(first), &one.admin, &[one]).await;
    let again = Call::lifecycle("CommitChaincodeDefinition", commit_args(1, "1.0"));
    assert_eq!(refusal(one, &again).await, "requested sequence is 1, but new definition must be sequence 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_install_and_approve_and_packages_come_back_as_they_were() {
    let network = TestNetwork::new();
    let [one, two] = &network.peers;
    let package = contract_server::package("basic_1.0", CONNECTION);
    let package_id = one.install(&package).await;
    let args = GetInstalledChaincodePackageArgs { package_id: package_id.clone() };
    let got: GetInstalledChaincodePackageResult = one.lifecycle("GetInstalledChaincodePackage", args).await;
    assert_eq!(got.chaincode_install_package, package);
    let args = QueryInstalledChaincodeArgs { package_id: package_id.clone() };
    let found: QueryInstalledChaincodeResult = one.lifecycle("QueryInstalledChaincode", args).await;
    assert_eq!((found.package_id, found.label.as_str()), (package_id.clone(), "basic_1.0"));
    assert!(found.references.is_empty());
    let args = QueryInstalledChaincodeArgs { package_id: package_id.clone() };
    let missing = refusal(two, &Call::lifecycle("QueryInstalledChaincode", args)).await;
    assert_eq!(missing, format!("could not find chaincode with package id '{package_id}'"));

    let forbidden = "Failed to authorize invocation due to failed ACL check: ";
    let list = Call::lifecycle("QueryInstalledChaincodes", QueryInstalledChaincodesArgs {});
    for creator in [network.client(), &two.admin] {
        for call in [&list, &approve(approval("basic", "", false))] {
            let (status, message) = one.ask(&Call { nonce: rand_nonce(), ..call.clone() }, creator).await;
            assert_eq!(status, 500);
            assert!(message.starts_with(forbidden), "{message}");
        }
    }
    let unknown = Call::lifecycle("Forget", QueryInstalledChaincodesArgs {});
    let (_, message) = one.ask(&unknown, &one.admin).await;
    assert!(message.starts_with(&format!("{forbidden}Unmapped policy for _lifecycle/Forget")), "{message}");
}

fn rand_nonce() -> Vec<u8> {
    rand::random::<[u8; 24]>().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_defined_is_404_and_odd_definitions_are_refused() {
    let network = TestNetwork::new();
    let [one, _] = &network.peers;
    let call = Call::lifecycle("QueryChaincodeDefinition", QueryChaincodeDefinitionArgs { name: "basic".into() });
    assert_eq!(one.ask(&call, &one.admin).await, (404, "namespace basic is not defined".to_owned()));
    let jump = ApproveChaincodeDefinitionForMyOrgArgs { sequence: 3, ..approval("basic", "", false) };
    assert_eq!(
        refusal(one, &approve(jump)).await,
        "requested sequence 3 is larger than the next available sequence number 1"
    );
    let named = refusal(one, &approve(approval("qscc", "", false))).await;
    assert!(named.starts_with("error validating chaincode definition: chaincode name 'qscc'"), "{named}");
    let (_, message) = one.ask(&Call::new("_lifecycle", &["QueryChaincodeDefinitions"]), &one.admin).await;
    assert_eq!(message, "lifecycle scc operations require exactly two arguments but received 1");
    let channelless = Call { channel_id: String::new(), ..approve(approval("basic", "", false)) };
    assert!(refusal(one, &channelless).await.contains("could not get channelconfig"));
    let source = ApproveChaincodeDefinitionForMyOrgArgs {
        source: Some(ChaincodeSource { r#type: None }),
        ..approval("basic", "", false)
    };
    assert_eq!(one.propose(&approve(source), &one.admin).await.response.unwrap().status, 200);
}
