//! `ripstop why` names what a transaction lost by, or who did not endorse it.

use ripstop_client::{CommitStatus, Contract, Transaction, TxValidationCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::contract;
use crate::network::{Network, text};
use crate::same_on_every_peer::gateway;

/// More rounds than this without two transactions in one block are a fault.
const ROUNDS_MAX: usize = 20;

/// Endorses a call on the state of now.
async fn endorse(contract: &Contract, function: &str, arguments: [&str; 2]) -> Transaction {
    contract.new_proposal(function).arguments(arguments).build().unwrap().endorse().await.unwrap()
}

async fn commit(transaction: &Transaction) -> CommitStatus {
    transaction.submit().await.unwrap().status().await.unwrap()
}

async fn expect(transaction: &Transaction, code: TxValidationCode) -> String {
    let status = commit(transaction).await;
    assert_eq!(status.code, code);
    status.transaction_id
}

fn why(network: &Network, tx_id: &str) -> Value {
    network.json(&["why", tx_id, "--json"])
}

/// The loser's only conflict names a valid transaction, and where it stands is what was found.
fn require_true(network: &Network, loser: &Value) {
    let conflict = &loser["conflicts"][0];
    assert_eq!(loser["conflicts"].as_array().unwrap().len(), 1, "{loser}");
    let winner = why(network, conflict["winner_tx_id"].as_str().unwrap());
    assert_eq!(winner["code"], "VALID", "{loser}");
    assert_eq!(conflict["found_version"], json!([winner["block"], winner["tx_index"]]), "{loser}");
    assert_eq!(conflict["within_block"], json!(winner["block"] == loser["block"]), "{loser}");
    let place = |of: &Value| (of["block"].as_u64().unwrap(), of["tx_index"].as_u64().unwrap());
    assert!(place(&winner) < place(loser), "{winner} did not come before {loser}");
}

/// What the loser on the key `hot` is told, which it had read as transaction `before` wrote it.
fn told_of_hot(network: &Network, before: &Value, loser: &str) -> Value {
    let loser = why(network, loser);
    let conflict = &loser["conflicts"][0];
    assert_eq!((&conflict["namespace"], &conflict["key"]), (&json!("conflicting"), &json!("hot")));
    assert_eq!(conflict["kind"], "mvcc");
    assert_eq!(conflict["read_version"], json!([before["block"], before["tx_index"]]));
    require_true(network, &loser);
    loser
}

/// Transactions on one key, endorsed on one state and submitted at once, until one lost
/// against another one of its block.
async fn lose_within_a_block(network: &Network, contract: &Contract) -> Value {
    for round in 0..ROUNDS_MAX {
        let before = endorse(contract, "ReadThenWrite", ["hot", "before"]).await;
        let before = why(network, &expect(&before, TxValidationCode::Valid).await);
        let mut endorsed = Vec::new();
        for index in 0..12 {
            endorsed.push(endorse(contract, "ReadThenWrite", ["hot", &format!("{round}-{index}")]).await);
        }
        let mut racing = JoinSet::new();
        for transaction in endorsed {
            racing.spawn(async move { commit(&transaction).await });
        }
        let statuses = racing.join_all().await;
        let losers = statuses.iter().filter(|status| status.code == TxValidationCode::MvccReadConflict);
        assert_eq!(losers.clone().count(), 11, "{statuses:?}");
        for loser in losers {
            let loser = told_of_hot(network, &before, &loser.transaction_id);
            if loser["conflicts"][0]["within_block"] == true {
                return loser;
            }
        }
    }
    panic!("no conflict within a block in {ROUNDS_MAX} rounds");
}

/// Two transactions endorsed on one state, of which one is committed before the other is
/// submitted.
async fn lose_between_blocks(network: &Network, contract: &Contract) -> Value {
    let before = endorse(contract, "ReadThenWrite", ["hot", "before"]).await;
    let before = why(network, &expect(&before, TxValidationCode::Valid).await);
    let late = endorse(contract, "ReadThenWrite", ["hot", "late"]).await;
    let winner = endorse(contract, "ReadThenWrite", ["hot", "early"]).await;
    let winner = expect(&winner, TxValidationCode::Valid).await;
    let loser = expect(&late, TxValidationCode::MvccReadConflict).await;
    let loser = told_of_hot(network, &before, &loser);
    let conflict = &loser["conflicts"][0];
    assert_eq!((&conflict["winner_tx_id"], &conflict["within_block"]), (&json!(winner), &json!(false)));
    loser
}

/// A range that gets a row between endorsement and commit.
async fn phantom(network: &Network, contract: &Contract) -> Value {
    let counting = endorse(contract, "CountThenWrite", ["row", "count"]).await;
    expect(&endorse(contract, "ReadThenWrite", ["row 1", "x"]).await, TxValidationCode::Valid).await;
    let loser = why(network, &expect(&counting, TxValidationCode::PhantomReadConflict).await);
    let conflict = &loser["conflicts"][0];
    assert_eq!((&conflict["kind"], &conflict["key"]), (&json!("phantom"), &json!("row 1")));
    assert_eq!((&conflict["read_version"], &conflict["within_block"]), (&Value::Null, &json!(false)));
    assert_eq!((&conflict["range"]["start"], &conflict["range"]["end"]), (&json!("row"), &json!("row~")));
    require_true(network, &loser);
    loser
}

/// A transaction that only one of two organizations endorsed.
async fn too_few_endorsements(network: &Network, contract: &Contract) -> Value {
    let proposal = contract.new_proposal("ReadThenWrite").arguments(["cold", "x"]);
    let proposal = proposal.endorsing_organizations(["Org1MSP"]).build().unwrap();
    let transaction = proposal.endorse().await.unwrap();
    let refused = why(network, &expect(&transaction, TxValidationCode::EndorsementPolicyFailure).await);
    let policy = &refused["policy"];
    assert_eq!((&policy["namespace"], &policy["key"]), (&json!("conflicting"), &json!("cold")));
    assert_eq!(policy["rule"], "/Channel/Application/Endorsement");
    assert_eq!((&policy["signed_by"], &policy["missing"]), (&json!(["Org1MSP"]), &json!(["Org2MSP"])));
    assert_eq!(refused["conflicts"], json!([]));
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn why_names_key_versions_and_winner_or_policy_and_missing_organizations_also_after_a_restart() {
    let network = Network::up(&[]);
    let _served = contract::serve(&network).await;
    let gateway = gateway(&network).await;
    let contract = gateway.network("mychannel").contract("conflicting");
    let within = lose_within_a_block(&network, &contract).await;
    let between = lose_between_blocks(&network, &contract).await;
    let phantom = phantom(&network, &contract).await;
    let refused = too_few_endorsements(&network, &contract).await;
    let told = [&within, &between, &phantom, &refused];

    // People are told the same.
    let words = told.map(|told| network.ok(&["why", told["tx_id"].as_str().unwrap()]));
    for (told, words) in told.iter().zip(&words) {
        let code = format!("{} ({})  block {}", told["code"].as_str().unwrap(), told["code_number"], told["block"]);
        assert!(words.starts_with(&code) && words.contains(told["what_to_do"].as_str().unwrap()), "{words}");
        if let Some(winner) = told["conflicts"][0]["winner_tx_id"].as_str() {
            assert!(words.contains(winner), "{words}");
        }
    }
    assert!(words[0].contains("\"hot\" of conflicting") && words[0].contains("in the same block"), "{}", words[0]);
    assert!(words[1].contains("\"hot\" of conflicting") && !words[1].contains("same block"), "{}", words[1]);
    assert!(words[2].contains("from \"row\" to \"row~\"") && words[2].contains("\"row 1\""), "{}", words[2]);
    assert!(words[3].contains("Have a peer of Org2MSP endorse"), "{}", words[3]);

    // The other organization's peer says the same, and both do after a restart.
    let ask_both = || {
        for told in told {
            let tx_id = told["tx_id"].as_str().unwrap();
            for peer in ["peer0.org1.example.com", "peer0.org2.example.com"] {
                assert_eq!(network.json(&["why", tx_id, "--json", "--peer", peer]), *told, "{peer}");
            }
        }
    };
    ask_both();
    network.ok(&["network", "down"]);
    network.ok(&["network", "up"]);
    ask_both();
}

#[test]
fn what_cannot_be_explained_is_said_with_what_to_do() {
    let network = Network::up(&[]);
    let created = network.json(&["submit", "--json", "basic", "CreateAsset", "asset80", "blue", "5", "Ada", "7"]);
    let tx_id = created["tx_id"].as_str().unwrap();
    let valid = why(&network, tx_id);
    assert_eq!((&valid["code"], &valid["block"], &valid["tx_index"]), (&json!("VALID"), &created["block"], &json!(0)));
    assert_eq!((&valid["conflicts"], &valid["explained"]), (&json!([]), &json!(true)));
    assert!(network.ok(&["why", tx_id]).contains("It is valid"));

    let unknown = network.refused(&["why", "0123"]);
    assert!(unknown.contains("peer0.org1.example.com does not know transaction 0123"), "{unknown}");
    let denied = network.refused(&["why", tx_id, "--channel", "elsewhere", "--as", "User1@org2"]);
    for part in ["peer0.org2.example.com refuses", "channel elsewhere to User1@org2.example.com", "denied"] {
        assert!(denied.contains(part), "{denied}");
    }
    network.ok(&["network", "down"]);
    let down = network.refused(&["why", tx_id]);
    assert!(down.contains("is the network up?"), "{down}");
    let usage = network.run(&["why"]);
    assert_eq!(usage.status.code(), Some(2), "{}", text(&usage.stderr));
}
