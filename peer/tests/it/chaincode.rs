//! Conversations with a contract server, over real connections.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use prost::Message;
use ripstop_msp::authority::{AuthorityKind, CertificateAuthority};
use ripstop_peer::chaincode::host::HostSettings;
use ripstop_proto::kvrwset::range_query_info::ReadsInfo;
use ripstop_proto::kvrwset::{KvrwSet, RangeQueryInfo};
use ripstop_proto::protos::{ChaincodeInput, SignedProposal, TxValidationCode};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::contract_server::{self, ContractServer};
use crate::endorser::sets;
use crate::peers::{Call, TestNetwork};

/// A call's answer, its own sets, and the key of a range where there is one.
async fn run(network: &TestNetwork, args: &[&str]) -> (String, KvrwSet) {
    let answer = network.peers[0].propose(&Call::new("basic", args), network.client()).await;
    let response = answer.response.clone().unwrap();
    assert_eq!(response.status, 200, "{}", response.message);
    let own = sets(&answer).namespaces.into_iter().find(|set| set.namespace == "basic");
    (String::from_utf8(response.payload.to_vec()).unwrap(), own.unwrap_or_default().public)
}

async fn submit(network: &TestNetwork, args: &[&str]) {
    let [one, two] = &network.peers;
    network.submit(&Call::new("basic", args), network.client(), &[one, two]).await;
}

async fn failure(network: &TestNetwork, args: &[&str]) -> String {
    let (status, message) = network.peers[0].ask(&Call::new("basic", args), network.client()).await;
    assert_eq!(status, 500);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_see_committed_state_and_leave_their_versions() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    submit(&network, &["batch"]).await;
    let (value, own) = run(&network, &["get many", "b", "missing", "a"]).await;
    assert_eq!(value, "2,,1");
    let reads =
        own.reads.iter().map(|read| (read.key.as_str(), read.version.as_ref().map(|version| version.block_num)));
    assert_eq!(reads.collect::<Vec<_>>(), [("a", Some(4)), ("b", Some(4)), ("missing", None)]);

    let (value, own) = run(&network, &["put then get", "a", "new"]).await;
    assert_eq!(value, "1", "a transaction does not read its own writes");
    assert_eq!((own.writes[0].key.as_str(), &own.writes[0].value[..]), ("a", &b"new"[..]));
    let (_, own) = run(&network, &["delete", "nowhere"]).await;
    assert!(own.writes[0].is_delete && own.reads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_writes_is_applied_in_its_order() {
    let (network, server) = TestNetwork::new().with_contract().await;
    let (_, own) = run(&network, &["batch"]).await;
    let writes = own.writes.iter().map(|write| (write.key.as_str(), write.is_delete));
    assert_eq!(writes.collect::<Vec<_>>(), [("a", false), ("b", false), ("c", true)]);
    assert_eq!(server.seen.ready.lock().unwrap()[..], [0x08, 0x01, 0x10, 0xe8, 0x07, 0x18, 0x01, 0x20, 0xe8, 0x07]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_come_in_batches_of_a_hundred_with_one_item_read_ahead() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    submit(&network, &["fill", "250"]).await;
    let range = |own: KvrwSet| -> RangeQueryInfo { own.range_queries_info.into_iter().next().unwrap() };

    let (pages, own) = run(&network, &["range", "k", ""]).await;
    assert_eq!(pages, "100,100,50");
    let whole = range(own);
    assert!(whole.itr_exhausted && whole.end_key.is_empty());

    let (pages, own) = run(&network, &["first page", "k", ""]).await;
    assert_eq!(pages, "100");
    let early = range(own);
    assert!(!early.itr_exhausted);
    assert_eq!(early.end_key, "k00100", "the item that was read ahead");
    assert!(matches!(early.reads_info, Some(ReadsInfo::ReadsMerkleHashes(_))));

    // Exactly a page: the end is found before the page goes out.
    let (pages, own) = run(&network, &["range", "k00000", "k00100"]).await;
    assert_eq!(pages, "100");
    assert!(range(own).itr_exhausted);
    let (pages, own) = run(&network, &["range", "k00010", "k00013"]).await;
    assert_eq!(pages, "3");
    let few = range(own);
    assert_eq!((few.start_key.as_str(), few.end_key.as_str()), ("k00010", "k00013"));
    assert!(matches!(few.reads_info, Some(ReadsInfo::RawReads(reads)) if reads.kv_reads.len() == 3));
    let (pages, own) = run(&network, &["range", "x", "y"]).await;
    assert_eq!(pages, "0");
    assert_eq!(range(own).reads_info, None);
    run(&network, &["close twice"]).await;
    assert!(failure(&network, &["next of nothing"]).await.ends_with("query iterator not found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_peer_has_not_is_refused_in_words() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    let not_yet = "private data collections are not supported yet";
    for (args, words) in [
        (vec!["private", "secrets"], not_yet),
        (vec!["request", "GET_PRIVATE_DATA_HASH"], not_yet),
        (vec!["purge", "secrets"], not_yet),
        (vec!["purge", ""], "only applicable for private data"),
        (vec!["purge in a batch", "secrets"], not_yet),
        (vec!["request", "INVOKE_CHAINCODE"], "the request names no chaincode"),
    ] {
        let message = failure(&network, &args).await;
        assert!(message.ends_with(&format!(": {words}")), "{message}");
    }
    let message = failure(&network, &["request", "GET_QUERY_RESULT"]).await;
    assert!(message.starts_with("GET_QUERY_RESULT failed: transaction ID: "), "{message}");
    assert!(message.ends_with("ExecuteQuery not supported for leveldb"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_its_rows_and_the_bookmark_of_the_next_one() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    submit(&network, &["fill", "250"]).await;
    let (page, own) = run(&network, &["page", "k00010", "k00013", "2", ""]).await;
    assert_eq!(page, r#"2 "k00012" k00010,k00011"#);
    let range = &own.range_queries_info[0];
    assert_eq!((range.start_key.as_str(), range.end_key.as_str()), ("k00010", "k00011"));
    assert!(!range.itr_exhausted, "a full page is not the end");
    assert!(matches!(&range.reads_info, Some(ReadsInfo::RawReads(reads)) if reads.kv_reads.len() == 2));

    let (page, own) = run(&network, &["page", "k00010", "k00013", "2", "k00012"]).await;
    assert_eq!(page, r#"1 "" k00012"#);
    let range = &own.range_queries_info[0];
    assert_eq!((range.start_key.as_str(), range.end_key.as_str()), ("k00012", "k00013"));
    assert!(range.itr_exhausted);

    let (page, _) = run(&network, &["page", "k", "", "200", ""]).await;
    assert!(page.starts_with(r#"200 "k00200" k00000,"#), "a page is not cut into batches: {page}");
    for size in ["0", "-1"] {
        let (page, _) = run(&network, &["page", "k", "", size, "k00248"]).await;
        assert_eq!(page, r#"2 "" k00248,k00249"#);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_writes_exclude_each_other() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    let call = Call::new("basic", &["page then put"]);
    let (_, message) = network.peers[0].ask(&call, network.client()).await;
    let tx_id = call.tx_id(network.client());
    let cause = "unsuppored transaction. Transaction has already performed a paginated query. Writes are not allowed";
    assert_eq!(message, format!("PUT_STATE failed: transaction ID: {tx_id}: txid [{tx_id}]: {cause}"));
    let message = failure(&network, &["put then page"]).await;
    assert!(message.starts_with("GET_STATE_BY_RANGE failed: transaction ID: "), "{message}");
    let cause = "unsuppored transaction. Paginated queries are supported only in a read-only transaction";
    assert!(message.ends_with(&format!("]: {cause}")), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_a_key_comes_newest_first_in_batches_and_is_not_noted() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    let call = |args: &[&str]| Call::new("basic", args);
    let [one, two] = &network.peers;
    let mut expected = Vec::new();
    for count in 0..103 {
        let value = count.to_string();
        let call = match count {
            50 => call(&["delete", "k"]),
            _ => call(&["put", "k", &value]),
        };
        network.submit(&call, network.client(), &[one, two]).await;
        let value = if count == 50 { "" } else { &value };
        expected.push(format!("{} {value} {}", call.tx_id(network.client()), count == 50));
    }
    expected.reverse();
    let (history, own) = run(&network, &["history", "k"]).await;
    assert_eq!(history.lines().collect::<Vec<_>>(), expected);
    assert_eq!(own, KvrwSet::default());
    assert_eq!(run(&network, &["history", "never written"]).await.0, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_a_key_is_read_with_the_key_and_written_without_it() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    let (metadata, own) = run(&network, &["get metadata", "k"]).await;
    assert_eq!(metadata, "");
    assert_eq!((own.reads.len(), own.reads[0].key.as_str()), (1, "k"));

    let policy = "OR('Org1MSP.peer')";
    let (_, own) = run(&network, &["set policy", "k", policy]).await;
    assert!(own.reads.is_empty() && own.writes.is_empty());
    let write = &own.metadata_writes[0];
    assert_eq!((write.key.as_str(), write.entries.len()), ("k", 1));
    submit(&network, &["put with policy", "k", policy]).await;
    let (metadata, _) = run(&network, &["get metadata", "k"]).await;
    let expected = ripstop_msp::policy_text::parse(policy).unwrap().encode_to_vec();
    assert_eq!(metadata, format!("VALIDATION_PARAMETER={}", hex::encode(expected)));
    let message = failure(&network, &["request", "PUT_STATE_METADATA"]).await;
    assert!(message.ends_with("the request holds no metadata entry"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_a_policy_needs_that_one_and_its_interest_says_so() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    let [one, two] = &network.peers;
    submit(&network, &["put with policy", "k", "OR('Org1MSP.peer')"]).await;
    let put = |key: &str| Call::new("basic", &["put", key, "v"]);

    let (mine, other) = (put("k"), put("other"));
    let answer = one.propose(&mine, network.client()).await;
    let call = &answer.interest.as_ref().unwrap().chaincodes[0];
    assert_eq!((call.name.as_str(), call.key_policies.len()), ("basic", 1));
    assert!(call.disregard_namespace_policy);
    let code = network.commit(mine.envelope(network.client(), &[answer])).await;
    assert_eq!(code, TxValidationCode::Valid);

    let answer = one.propose(&other, network.client()).await;
    let code = network.commit(other.envelope(network.client(), &[answer])).await;
    assert_eq!(code, TxValidationCode::EndorsementPolicyFailure, "the chaincode needs both");
    let stolen = put("k");
    let answer = two.propose(&stolen, network.client()).await;
    let code = network.commit(stolen.envelope(network.client(), &[answer])).await;
    assert_eq!(code, TxValidationCode::EndorsementPolicyFailure, "the key needs the first one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_ends_with_error_gives_no_result() {
    let (network, _server) = TestNetwork::new().with_contract().await;
    let message = failure(&network, &["error", "it broke"]).await;
    assert_eq!(message, "error in simulation: transaction returned with failure: it broke");
    // More requests than it may have open: it gets one answer at a time, and an end.
    run(&network, &["flood"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_takes_too_long_is_given_up() {
    let settings = HostSettings { execute_timeout: Duration::from_secs(1), ..HostSettings::default() };
    let (network, _server) = TestNetwork::with_settings(settings).with_contract().await;
    let message = failure(&network, &["silent"]).await;
    assert!(message.starts_with("error in simulation: failed to execute transaction "), "{message}");
    assert!(message.ends_with(": error sending: timeout expired while executing transaction"), "{message}");
    run(&network, &["nothing"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_runs_once_at_a_time() {
    let settings = HostSettings { execute_timeout: Duration::from_secs(1), ..HostSettings::default() };
    let (network, _server) = TestNetwork::with_settings(settings).with_contract().await;
    run(&network, &["nothing"]).await;
    let call = Call::new("basic", &["silent"]);
    let [first, second] = [0, 1].map(|_| network.peers[0].ask(&call, network.client()));
    let (first, second) = tokio::join!(first, second);
    let exists = format!("error sending: txid: {}(mychannel) exists", call.tx_id(network.client()));
    let messages = [first.1, second.1];
    assert_eq!(messages.iter().filter(|message| message.ends_with(&exists)).count(), 1, "{messages:?}");
    assert_eq!(messages.iter().filter(|message| message.contains("timeout expired")).count(), 1, "{messages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn first_callers_share_one_dial_and_a_lost_stream_is_dialed_again() {
    let (network, server) = TestNetwork::new().with_contract().await;
    let calls = (0..20).map(|_| run(&network, &["nothing"]));
    join_all(calls).await;
    assert_eq!(server.seen.streams.load(Ordering::SeqCst), 1);

    let message = failure(&network, &["die"]).await;
    assert!(message.ends_with("error sending: chaincode stream terminated"), "{message}");
    run(&network, &["nothing"]).await;
    assert_eq!(server.seen.streams.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_gets_the_signed_proposal_and_its_own_arguments() {
    let (network, server) = TestNetwork::new().with_contract().await;
    let mut call = Call::new("basic", &["nothing"]);
    call.input.decorations.insert("forged".into(), "x".into());
    let (client, signed) = (network.client(), call.signed(network.client()));
    network.peers[0].endorser.process(signed.clone()).await;
    let start = server.seen.start.lock().unwrap().clone().unwrap();
    assert_eq!((start.txid, start.channel_id.as_str()), (call.tx_id(client), "mychannel"));
    assert_eq!(start.proposal, Some(SignedProposal { ..signed }));
    let input = ChaincodeInput::decode(start.payload).unwrap();
    assert_eq!(input.args, ["nothing"]);
    assert!(input.decorations.is_empty(), "decorations are the peer's to make");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_or_runs_something_else_is_named() {
    let settings = HostSettings { dial_timeout: Duration::from_secs(1), ..HostSettings::default() };
    let (network, server) = TestNetwork::with_settings(settings).with_contract().await;
    server.register_as("other:00");
    let message = failure(&network, &["nothing"]).await;
    assert!(message.contains(": could not launch chaincode basic_1.0:"), "{message}");
    assert!(message.contains("the server runs 'other:00'"), "{message}");
    let address = server.address.to_string();
    drop(server);
    let message = loop {
        let message = failure(&network, &["nothing"]).await;
        if !message.contains("other:00") {
            break message;
        }
    };
    assert!(message.contains(&address), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn contract_servers_may_ask_for_tls_and_for_the_peers_certificate() {
    let authority = CertificateAuthority::new("example.com", AuthorityKind::Tls).unwrap();
    let issued = |name: &str| authority.issue_tls(name, &["localhost", "127.0.0.1"]).unwrap();
    let (server_pair, client_pair) = (issued("contract"), issued("peer"));
    let root = authority.certificate_pem();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(&server_pair.certificate_pem, &server_pair.key_pem))
        .client_ca_root(Certificate::from_pem(&root));
    let server = ContractServer::start(Some(tls)).await;
    let connection = serde_json::json!({
        "address": format!("localhost:{}", server.address.port()),
        "tls_required": true,
        "client_auth_required": true,
        "root_cert": root,
        "client_cert": client_pair.certificate_pem,
        "client_key": client_pair.key_pem,
    });
    let network = TestNetwork::new();
    let package = contract_server::package("basic_1.0", &connection.to_string());
    server.register_as(&network.deploy("basic", &package, false).await);
    run(&network, &["nothing"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_of_source_code_says_what_to_do_instead() {
    let network = TestNetwork::new();
    let metadata = br#"{"type":"golang","label":"basic_1.0"}"#;
    let package = contract_server::archive(&[("metadata.json", metadata), ("code.tar.gz", b"code")]);
    network.deploy("basic", &package, false).await;
    let message = failure(&network, &["nothing"]).await;
    assert!(message.contains("'golang'") && message.contains("'ccaas'"), "{message}");
}
