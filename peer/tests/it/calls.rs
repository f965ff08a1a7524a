//! Chaincode that calls chaincode: two contract servers, on one channel and on two.

use std::time::{Duration, UNIX_EPOCH};

use prost::Message;
use ripstop_channel::genesis;
use ripstop_proto::common::Block;
use ripstop_proto::protos::{ChaincodeEvent, TxValidationCode};
use ripstop_proto::read_write_set::ReadWriteSet;

use crate::contract_server::ContractServer;
use crate::endorser::{action, sets};
use crate::organizations::Organizations;
use crate::peers::{Call, TestNetwork};

const OTHER_CHANNEL: &str = "otherchannel";

async fn two_contracts() -> (TestNetwork, [ContractServer; 2]) {
    let (network, basic) = TestNetwork::new().with_contract().await;
    let other = network.serve_contract("other", false).await;
    (network, [basic, other])
}

async fn ask(network: &TestNetwork, args: &[&str]) -> (i32, String) {
    network.peers[0].ask(&Call::new("basic", args), network.client()).await
}

/// What stands after `INVOKE_CHAINCODE failed: transaction ID: ID: `.
async fn refusal(network: &TestNetwork, args: &[&str]) -> String {
    let call = Call::new("basic", args);
    let (status, message) = network.peers[0].ask(&call, network.client()).await;
    assert_eq!(status, 500, "{message}");
    let before = format!("INVOKE_CHAINCODE failed: transaction ID: {}: ", call.tx_id(network.client()));
    message.strip_prefix(&before).unwrap_or_else(|| panic!("{message}")).to_owned()
}

fn names(sets: &ReadWriteSet) -> Vec<&str> {
    sets.namespaces.iter().map(|set| set.namespace.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_notes_under_its_own_namespace_in_the_callers_transaction() {
    let (network, _servers) = two_contracts().await;
    let [one, two] = &network.peers;
    let call = Call::new("basic", &["put and call", "k", "other:9.9", "put", "k", "theirs"]);
    let answer = one.propose(&call, network.client()).await;
    let sets = sets(&answer);
    assert_eq!(names(&sets), ["_lifecycle", "basic", "other"]);
    let reads: Vec<_> = sets.namespaces[0].public.reads.iter().map(|read| read.key.as_str()).collect();
    assert_eq!(reads, ["namespaces/fields/basic/Sequence", "namespaces/fields/other/Sequence"]);
    let values = [1, 2].map(|index: usize| sets.namespaces[index].public.writes[0].value.clone());
    assert_eq!(values, ["mine", "theirs"]);
    let event = ChaincodeEvent::decode(action(&answer).events).unwrap();
    assert_eq!(event.chaincode_id, "basic", "only the outermost chaincode's event is kept");
    let interest = answer.interest.unwrap().chaincodes;
    assert_eq!(interest.iter().map(|call| call.name.as_str()).collect::<Vec<_>>(), ["basic", "other"]);

    network.submit(&call, network.client(), &[one, two]).await;
    assert_eq!(ask(&network, &["call", "other", "get", "k"]).await, (200, "theirs".to_owned()));
    assert_eq!(ask(&network, &["get", "k"]).await, (200, "mine".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callees_policy_has_to_be_met_too() {
    let (network, _servers) = two_contracts().await;
    let one = &network.peers[0];
    // The caller writes nothing but a key that the first organization alone may change.
    let policy = ["put with policy", "k", "OR('Org1MSP.peer')"];
    network.submit(&Call::new("basic", &policy), network.client(), &[one, &network.peers[1]]).await;
    for (args, expected) in [
        (vec!["put", "k", "v"], TxValidationCode::Valid),
        (vec!["put and call", "k", "other", "put", "k", "v"], TxValidationCode::EndorsementPolicyFailure),
    ] {
        let call = Call::new("basic", &args);
        let answer = one.propose(&call, network.client()).await;
        assert_eq!(network.commit(call.envelope(network.client(), &[answer])).await, expected, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_callee_ends_is_the_callers_to_judge() {
    let (network, _servers) = two_contracts().await;
    assert_eq!(
        ask(&network, &["call", "other", "error", "it broke"]).await,
        (500, "the callee said it broke".to_owned())
    );
    let (_, said) = ask(&network, &["call", "other", "status", "404"]).await;
    assert!(said.starts_with("the callee answered 404"), "{said}");
    let died = refusal(&network, &["call", "other", "die"]).await;
    assert_eq!(died, "execute failed: error sending: chaincode stream terminated");
    assert_eq!(ask(&network, &["call", "other", "nothing"]).await.0, 200, "it is dialed again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chaincode_that_comes_back_to_itself_is_refused() {
    let (network, _servers) = two_contracts().await;
    for args in [vec!["call", "basic", "nothing"], vec!["call", "other", "call", "basic", "nothing"]] {
        let call = Call::new("basic", &args);
        let (_, message) = network.peers[0].ask(&call, network.client()).await;
        let exists = format!("execute failed: error sending: txid: {}(mychannel) exists", call.tx_id(network.client()));
        assert!(message.ends_with(&exists), "{message}");
    }
    assert_eq!(ask(&network, &["nothing"]).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_within_calls_are_bounded() {
    let network = TestNetwork::new();
    let mut servers = Vec::new();
    let names: Vec<String> = (0..18).map(|number| format!("c{number}")).collect();
    for name in &names {
        servers.push(network.serve_contract(name, false).await);
    }
    let chain = |length: usize| {
        let calls = names[1..=length].iter().flat_map(|name| ["call", name.as_str()]);
        calls.chain(["nothing"]).collect::<Vec<_>>()
    };
    let client = network.client();
    let (status, _) = network.peers[0].ask(&Call::new("c0", &chain(16)), client).await;
    assert_eq!(status, 200);
    let (status, message) = network.peers[0].ask(&Call::new("c0", &chain(17)), client).await;
    assert_eq!(status, 500);
    assert!(message.contains("chaincode c17 is called 17 calls deep, at most 16 are allowed"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_is_initialized_first_and_has_to_be_defined() {
    let (network, _basic) = TestNetwork::new().with_contract().await;
    let _careful = network.serve_contract("careful", true).await;
    let refused = refusal(&network, &["call", "careful", "nothing"]).await;
    assert_eq!(
        refused,
        "execute failed: invalid invocation: chaincode 'careful' has not been initialized for this version, \
         must call as init first"
    );
    let [one, two] = &network.peers;
    network.submit(&Call::new("careful", &["nothing"]).init(), network.client(), &[one, two]).await;
    assert_eq!(ask(&network, &["call", "careful", "nothing"]).await.0, 200);
    let unknown = refusal(&network, &["call", "nowhere", "x"]).await;
    assert_eq!(
        unknown,
        "execute failed: invalid invocation: [channel mychannel] failed to get chaincode container info for nowhere: \
         chaincode nowhere not found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_peers_own_chaincodes_say_whether_they_may_be_called() {
    let (network, _basic) = TestNetwork::new().with_contract().await;
    let (_, qscc) = ask(&network, &["call", "qscc", "GetChainInfo", "mychannel"]).await;
    assert!(qscc.contains("Rejecting invoke of QSCC from another chaincode"), "{qscc}");
    let (_, cscc) = ask(&network, &["call", "cscc", "GetChannels"]).await;
    assert!(cscc.contains("Rejecting invoke of CSCC from another chaincode"), "{cscc}");
    let (status, definitions) = ask(&network, &["call", "_lifecycle", "QueryChaincodeDefinitions", ""]).await;
    assert!(status == 200 && definitions.contains("basic"), "{definitions}");
}

/// The genesis block of another channel of the same organizations.
fn other_channel(organizations: &Organizations, acl: Option<&str>) -> Block {
    let mut profile = organizations.profile.clone();
    OTHER_CHANNEL.clone_into(&mut profile.channel_id);
    profile.acls.extend(acl.map(|policy| ("peer/ChaincodeToChaincode".to_owned(), policy.to_owned())));
    genesis::block(&profile, [8; 24], UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_another_channel_a_callee_only_reads() {
    let (network, _basic) = TestNetwork::new().with_contract().await;
    let there = other_channel(&network.organizations, None);
    let network = network.join(there);
    let _distant = network.serve_contract("distant", false).await;
    let [one, two] = &network.peers;
    let put = Call::new("distant", &["put", "k", "far"]).on(OTHER_CHANNEL);
    network.submit(&put, network.client(), &[one, two]).await;

    let callee = format!("distant/{OTHER_CHANNEL}");
    assert_eq!(ask(&network, &["call", &callee, "get", "k"]).await, (200, "far".to_owned()));
    let write = Call::new("basic", &["put and call", "k", &callee, "put", "k", "near"]);
    let answer = one.propose(&write, network.client()).await;
    assert_eq!(names(&sets(&answer)), ["_lifecycle", "basic"]);
    let height = one.channel.ledger().height();
    assert_eq!(ask(&network, &["call", &callee, "get", "k"]).await.1, "far");
    assert_eq!(one.channel.ledger().height(), height);

    let here = refusal(&network, &["call", "distant", "get", "k"]).await;
    assert!(
        here.ends_with(
            "[channel mychannel] failed to get chaincode container info for distant: chaincode distant not found"
        ),
        "{here}"
    );
    let nowhere = refusal(&network, &["call", "distant/nowhere", "get", "k"]).await;
    assert!(nowhere.starts_with("failed to find ledger for channel: nowhere"), "{nowhere}");
    // The same process may run the same transaction once on each channel.
    let (status, said) = ask(&network, &["call", &callee, "call", "basic/mychannel", "nothing"]).await;
    assert!(status == 500 && said.ends_with("(mychannel) exists"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_call_on_the_other_channel_is_refused_there() {
    let (network, _basic) = TestNetwork::new().with_contract().await;
    let organization = &network.organizations.profile.organizations[0].name;
    let admins = format!("/Channel/Application/{organization}/Admins");
    let there = other_channel(&network.organizations, Some(&admins));
    let network = network.join(there);
    let _distant = network.serve_contract("distant", false).await;
    let callee = format!("distant/{OTHER_CHANNEL}");
    let denied = refusal(&network, &["call", &callee, "nothing"]).await;
    assert!(denied.contains("peer/ChaincodeToChaincode") && denied.contains("Admins"), "{denied}");
    let call = Call::new("basic", &["call", &callee, "nothing"]);
    assert_eq!(network.peers[0].ask(&call, &network.peers[0].admin).await.0, 200);
}
