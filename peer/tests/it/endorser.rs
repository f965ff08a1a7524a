//! What a client gets for a proposal: refused, answered, or endorsed.

use std::time::{Duration, SystemTime};

use prost::Message;
use ripstop_msp::authority::{AuthorityKind, CertificateAuthority};
use ripstop_msp::{KeyKind, Role, SigningIdentity};
use ripstop_peer::endorser::Endorsement;
use ripstop_proto::common::{Block, BlockchainInfo};
use ripstop_proto::kvrwset::KvRead;
use ripstop_proto::proposal::{OpenProposal, endorsement_signing_input};
use ripstop_proto::protos::endorser_server::Endorser as _;
use ripstop_proto::protos::{
    ChaincodeAction, ChaincodeEvent, ChannelQueryResponse, ProcessedTransaction, ProposalResponse,
    ProposalResponsePayload, SignedProposal, TxValidationCode,
};
use ripstop_proto::read_write_set::ReadWriteSet;

use crate::blocks::{self, Definition};
use crate::organizations::CHANNEL;
use crate::peers::{Call, TestNetwork, TestPeer};

pub(crate) fn action(answer: &ProposalResponse) -> ChaincodeAction {
    let payload = ProposalResponsePayload::decode(answer.payload.clone()).unwrap();
    ChaincodeAction::decode(payload.extension).unwrap()
}

pub(crate) fn sets(answer: &ProposalResponse) -> ReadWriteSet {
    ReadWriteSet::decode(action(answer).results).unwrap()
}

async fn rejection(peer: &TestPeer, signed: SignedProposal) -> (Option<String>, Option<String>) {
    let Endorsement { response, error } = peer.endorser.process(signed).await;
    let message = response.map(|response| {
        assert!(response.payload.is_empty() && response.endorsement.is_none());
        let response = response.response.unwrap();
        assert_eq!(response.status, 500);
        response.message
    });
    (message, error.map(|status| status.message().to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endorsement_is_signed_over_the_payload_and_the_endorser() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    let [one, _] = &network.peers;
    let call = Call { transient: vec![("secret", "x")], ..Call::new("basic", &["put", "k", "v"]) };
    let answer = one.propose(&call, network.client()).await;
    assert_eq!((answer.version, answer.timestamp), (1, None));
    let endorsement = answer.endorsement.as_ref().unwrap();
    let endorser = network.organizations.org1.msp.identity(&endorsement.endorser).unwrap();
    let signed = endorsement_signing_input(&answer.payload, &endorsement.endorser);
    endorser.verify(&signed, &endorsement.signature).unwrap();

    let payload = ProposalResponsePayload::decode(answer.payload.clone()).unwrap();
    let plain = Call { transient: Vec::new(), ..call.clone() }.signed(network.client());
    assert_eq!(payload.proposal_hash, OpenProposal::open(plain.proposal_bytes).unwrap().hash()[..]);
    let action = action(&answer);
    let id = action.chaincode_id.clone().unwrap();
    assert_eq!((id.name.as_str(), id.version.as_str(), id.path.as_str()), ("basic", "1.0", ""));
    assert_eq!(action.response, answer.response);
    let event = ChaincodeEvent::decode(action.events).unwrap();
    assert_eq!((event.chaincode_id, event.tx_id), ("basic".to_owned(), call.tx_id(network.client())));
    let interest = answer.interest.as_ref().unwrap();
    assert_eq!(interest.chaincodes.iter().map(|call| call.name.as_str()).collect::<Vec<_>>(), ["basic"]);

    let sets = sets(&answer);
    assert_eq!(sets.namespaces.iter().map(|set| set.namespace.as_str()).collect::<Vec<_>>(), ["_lifecycle", "basic"]);
    let [KvRead { key, version }] = &sets.namespaces[0].public.reads[..] else { panic!("{sets:?}") };
    assert_eq!(key, "namespaces/fields/basic/Sequence");
    assert_eq!(version.as_ref().unwrap().block_num, 3, "where the definition was committed");
    assert_eq!(sets.namespaces[1].public.writes[0].value, "v");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_decides_what_stands_in_the_answer() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    let [one, _] = &network.peers;
    for (status, has_payload, is_endorsed, has_event) in [
        ("200", true, true, true),
        ("0", true, true, true),
        ("399", true, true, true),
        ("400", false, false, false),
        ("499", false, false, false),
        ("500", true, false, false),
        ("777", true, false, false),
    ] {
        let answer = one.propose(&Call::new("basic", &["status", status]), network.client()).await;
        let response = answer.response.as_ref().unwrap();
        assert_eq!((response.status.to_string().as_str(), &response.payload[..]), (status, &b"said"[..]));
        assert_eq!(!answer.payload.is_empty(), has_payload, "{status}");
        assert_eq!(answer.endorsement.is_some(), is_endorsed, "{status}");
        assert_eq!(answer.version, i32::from(is_endorsed), "{status}");
        assert_eq!(answer.interest.is_some(), has_payload, "{status}");
        if has_payload {
            assert_eq!(!action(&answer).events.is_empty(), has_event, "{status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_proposal_are_errors_with_fabrics_words() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    let ([one, _], client) = (&network.peers, network.client());
    let invalid = "error validating proposal: ";

    let mut unsigned = Call::new("basic", &["nothing"]).signed(client);
    unsigned.signature = Default::default();
    let mut forged = Call::new("basic", &["nothing"]).signed(client);
    forged.signature = client.sign(b"something else").unwrap().into();
    let folder = network.organizations.org1.peer_folder.msp();
    let stranger = SigningIdentity::from_msp_folder("OtherMSP", folder).unwrap();
    let strange = Call::new("basic", &["nothing"]).signed(&stranger);
    for (signed, text) in [
        (unsigned, "empty signature bytes".to_owned()),
        (forged, format!("access denied: channel [{CHANNEL}] creator org [Org1MSP]")),
        (strange, format!("access denied: channel [{CHANNEL}] creator org unknown, creator is malformed")),
    ] {
        let text = format!("{invalid}{text}");
        assert_eq!(rejection(one, signed).await, (Some(text.clone()), Some(text)));
    }

    let nameless = Call::new("", &["nothing"]).signed(client);
    let text = "ChaincodeHeaderExtension.ChaincodeId.Name is empty".to_owned();
    assert_eq!(rejection(one, nameless).await, (Some(text.clone()), Some(text)));
    let (message, error) =
        rejection(one, SignedProposal { proposal_bytes: "\u{1}".into(), ..Default::default() }).await;
    assert!(message.is_some() && error.is_some());

    // A peer may not write; the channel's policy says so.
    let reader = &network.organizations.org1.peer;
    let (message, error) = rejection(one, Call::new("basic", &["nothing"]).signed(reader)).await;
    assert!(message.unwrap().contains("failed evaluating policy"));
    assert!(error.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_gets_an_error_and_no_answer() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    let [one, _] = &network.peers;
    let hour = Duration::from_secs(3600);
    for timestamp in [SystemTime::now() - hour, SystemTime::now() + hour] {
        let call = Call { timestamp, ..Call::new("basic", &["nothing"]) };
        let (message, error) = rejection(one, call.signed(network.client())).await;
        assert_eq!(message, None);
        assert!(error.unwrap().contains("incorrect timestamp"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_client_learns_just_that_whatever_it_asks_for() {
    let network = TestNetwork::new();
    let authority = CertificateAuthority::new("org1.example.com", AuthorityKind::Identity).unwrap();
    let begin = authority.certificate().valid_from().unwrap();
    let validity = begin..begin + Duration::from_secs(60);
    let issued = authority.issue_identity_for("User7", Role::Client, KeyKind::P256, validity).unwrap();
    let timestamp = SystemTime::now() - Duration::from_secs(3600);
    // No MSP here knows the authority, and one id is of no MSP at all.
    for msp_id in ["Org1MSP", "Org9MSP"] {
        let (certificate, key) = (issued.certificate_pem.clone(), issued.key_pem.clone());
        let expired = SigningIdentity::from_pem(msp_id, certificate, key).unwrap();
        for channel_id in [CHANNEL, "elsewhere", ""] {
            let call = Call { timestamp, channel_id: channel_id.to_owned(), ..Call::new("basic", &["nothing"]) };
            let (message, error) = rejection(&network.peers[0], call.signed(&expired)).await;
            assert_eq!((message, error.as_deref()), (None, Some("proposal client identity expired")), "{channel_id:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_in_the_ledger_is_not_endorsed_again() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    let ([one, two], client) = (&network.peers, network.client());
    let call = Call::new("basic", &["put", "k", "v"]);
    network.submit(&call, client, &[one, two]).await;
    let text =
        format!("duplicate transaction found [{}]. Creator [{}]", call.tx_id(client), hex::encode(client.serialized()));
    assert_eq!(rejection(one, call.signed(client)).await, (Some(text.clone()), Some(text.clone())));
    // Over gRPC only the error is left.
    let status = one.endorser.process_proposal(tonic::Request::new(call.signed(client))).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (tonic::Code::Unknown, text.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_channels_and_chaincodes_are_answers_not_errors() {
    let network = TestNetwork::new();
    let ([one, _], client) = (&network.peers, network.client());
    let elsewhere = Call { channel_id: "elsewhere".into(), ..Call::new("basic", &["nothing"]) };
    assert_eq!(rejection(one, elsewhere.signed(client)).await, (Some("channel 'elsewhere' not found".into()), None));

    let not_defined = |cause: &str| {
        let text = "make sure the chaincode basic has been successfully defined on channel mychannel and try again: ";
        (Some(format!("{text}{cause}")), None)
    };
    let call = || Call::new("basic", &["nothing"]).signed(client);
    assert_eq!(rejection(one, call()).await, not_defined("chaincode basic not found"));

    let policy = Definition::new("basic", "OR('Org1MSP.peer')");
    blocks::define(one.channel.ledger(), &network.organizations, &[policy]);
    assert_eq!(
        rejection(one, call()).await,
        not_defined(
            "chaincode definition for 'basic' at sequence 1 on channel 'mychannel' has not yet been approved by this org"
        )
    );

    let channelless = Call { channel_id: String::new(), ..Call::new("basic", &["nothing"]) };
    let (message, error) = rejection(one, channelless.signed(client)).await;
    assert!(message.unwrap().ends_with("could not get channel config for channel ''"));
    assert_eq!(error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_of_the_definition_invalidates_what_was_endorsed_before() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    let ([one, two], client) = (&network.peers, network.client());
    let call = Call::new("basic", &["put", "k", "v"]);
    let answers = [one.propose(&call, client).await, two.propose(&call, client).await];
    let upgrade = Definition::new("basic", "OR('Org1MSP.peer')");
    for peer in [one, two] {
        blocks::define(peer.channel.ledger(), &network.organizations, std::slice::from_ref(&upgrade));
    }
    assert_eq!(network.commit(call.envelope(client, &answers)).await, TxValidationCode::MvccReadConflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chaincode_that_must_be_initialized_is_so_once_per_version() {
    let network = TestNetwork::new();
    let server = crate::contract_server::ContractServer::start(None).await;
    let connection = format!(r#"{{"address":"{}"}}"#, server.address);
    let package = crate::contract_server::package("basic_1.0", &connection);
    server.register_as(&network.deploy("basic", &package, true).await);
    let ([one, two], client) = (&network.peers, network.client());
    let refusal = |cause: &str, call: &Call| {
        let tx_id = call.tx_id(client);
        let text = format!("error in simulation: failed to execute transaction {tx_id}: invalid invocation: {cause}");
        (Some(text), None)
    };

    let call = Call::new("basic", &["nothing"]);
    let cause = "chaincode 'basic' has not been initialized for this version, must call as init first";
    assert_eq!(rejection(one, call.signed(client)).await, refusal(cause, &call));
    let init = Call::new("basic", &["put", "k", "v"]).init();
    network.submit(&init, client, &[one, two]).await;
    let start = server.seen.start.lock().unwrap().clone().unwrap();
    assert_eq!(start.r#type(), ripstop_proto::protos::chaincode_message::Type::Init);
    let again = Call::new("basic", &["nothing"]).init();
    let cause = "chaincode 'basic' is already initialized but called as init";
    assert_eq!(rejection(one, again.signed(client)).await, refusal(cause, &again));

    let answer = one.propose(&Call::new("basic", &["nothing"]), client).await;
    let sets = sets(&answer);
    assert_eq!(sets.namespaces[1].public.reads[0].key, "\u{0}\u{10ffff}initialized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chaincode_without_init_refuses_an_init_call() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    let call = Call::new("basic", &["nothing"]).init();
    let (message, _) = rejection(&network.peers[0], call.signed(network.client())).await;
    let text = "invalid invocation: chaincode 'basic' does not require initialization but called as init";
    assert!(message.unwrap().ends_with(text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_says_which_channels_it_is_in_and_joins_each_once() {
    let network = TestNetwork::new();
    let ([one, _], client) = (&network.peers, network.client());
    let channelless = |args: &[&str]| Call { channel_id: String::new(), ..Call::new("cscc", args) };
    let answer = one.propose(&channelless(&["GetChannels"]), client).await;
    assert!(answer.endorsement.is_none() && answer.payload.is_empty());
    let list = ChannelQueryResponse::decode(answer.response.unwrap().payload).unwrap();
    assert_eq!(list.channels.iter().map(|channel| channel.channel_id.as_str()).collect::<Vec<_>>(), [CHANNEL]);

    let genesis = network.organizations.genesis.encode_to_vec();
    let join = |creator| {
        let mut call = channelless(&["JoinChain"]);
        call.input.args.push(genesis.clone().into());
        one.ask_owned(call, creator)
    };
    let (status, message) = join(&one.admin).await;
    assert_eq!(status, 500);
    assert_eq!(
        message,
        "cannot create ledger from genesis block: ledger [mychannel] already exists with state [ACTIVE]"
    );
    let (_, message) = join(client).await;
    assert!(message.starts_with("access denied for [JoinChain]"), "{message}");
    let (_, message) = one.ask(&channelless(&["UpdateConfigBlock", "x"]), &one.admin).await;
    assert_eq!(message, "Requested function UpdateConfigBlock not found.");
    let (status, message) = one.ask(&channelless(&["JoinBySnapshotStatus", "x"]), &one.admin).await;
    assert!(status == 500 && message.contains("not supported"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_and_configuration_are_read_by_the_channels_members() {
    let network = TestNetwork::new();
    let ([one, two], client) = (&network.peers, network.client());
    let approve = Call::lifecycle("ApproveChaincodeDefinitionForMyOrg", crate::peers::approval("basic", "", false));
    network.submit(&approve, &one.admin, &[one]).await;
    let tx_id = approve.tx_id(&one.admin);

    let answer = one.propose(&Call::new("qscc", &["GetChainInfo", CHANNEL]), client).await;
    assert!(answer.endorsement.is_some() && answer.interest.is_none());
    assert!(action(&answer).results.is_empty());
    assert_eq!(action(&answer).chaincode_id.unwrap().version, "syscc");
    let info = BlockchainInfo::decode(answer.response.unwrap().payload).unwrap();
    assert_eq!(info.height, 2);

    let asked = |args: Vec<&str>| one.propose_owned(Call::new("qscc", &args), client);
    let payload = |answer: ProposalResponse| answer.response.unwrap().payload;
    let newest = asked(vec!["GetBlockByNumber", CHANNEL, "18446744073709551615"]).await;
    let newest = Block::decode(payload(newest)).unwrap();
    assert_eq!(newest.header.as_ref().unwrap().number, 1);
    let by_tx = asked(vec!["GetBlockByTxID", CHANNEL, &tx_id]).await;
    assert_eq!(Block::decode(payload(by_tx)).unwrap(), newest);
    let mut by_hash = Call::new("qscc", &["GetBlockByHash", CHANNEL]);
    by_hash.input.args.push(info.current_block_hash);
    assert_eq!(Block::decode(payload(one.propose(&by_hash, client).await)).unwrap(), newest);
    let transaction = asked(vec!["GetTransactionByID", CHANNEL, &tx_id]).await;
    let transaction = ProcessedTransaction::decode(payload(transaction)).unwrap();
    assert_eq!(transaction.validation_code, 0);
    let config = one.propose(&Call::new("cscc", &["GetConfigBlock", CHANNEL]), client).await;
    assert_eq!(Block::decode(payload(config)).unwrap().header.unwrap().number, 0);

    for (args, text) in [
        (vec!["GetChainInfo", "elsewhere"], "Invalid chain ID, elsewhere"),
        (vec!["GetBlockByNumber", CHANNEL], "missing 3rd argument for GetBlockByNumber"),
        (vec!["GetChainInfo"], "Incorrect number of arguments, 1"),
    ] {
        assert_eq!(asked(args).await.response.unwrap().message, text);
    }
    let (status, message) = two.ask(&Call::new("lscc", &["getchaincodes"]), client).await;
    assert!(status == 500 && message.contains("lscc"), "{message}");
}
