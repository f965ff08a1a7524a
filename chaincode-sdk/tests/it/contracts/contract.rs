//! Dispatch, arguments, results, errors, guards and metadata of a contract.

use ripstop_chaincode_sdk::{Contract, Outcome};

use super::bank::{Bank, Map, call, outcome};

const ACCOUNT: &str = r#"{"owner":"Max","cents":10}"#;

#[tokio::test]
async fn arguments_and_results_have_the_forms_of_the_contract_api() {
    let map = Map::default();
    assert_eq!(call(&map, &["OpenAccount", "a", ACCOUNT]).await.payload, "");
    assert_eq!(call(&map, &["take", "a", "3"]).await.payload, r#"{"owner":"Max","cents":6}"#);
    assert_eq!(call(&map, &["Balance", "a"]).await.payload, "6");
    assert_eq!(call(&map, &["Join", r#"["a","b"]"#, "-"]).await.payload, "a-b");
    assert_eq!(call(&map, &["Join", r#"["a","b"]"#, ""]).await.payload, "ab");
    assert_eq!(call(&map, &["bank:Balance", "a"]).await.payload, "6");
    assert_eq!(call(&map, &[]).await.payload, "Default initiator successful.");
}

#[tokio::test]
async fn what_cannot_be_called_is_named() {
    let map = Map::default();
    let message = async |args: &[&str]| call(&map, args).await.message;
    assert_eq!(message(&["balance", "a"]).await, "You've asked to invoke a function that does not exist: balance");
    assert_eq!(message(&["other:Balance", "a"]).await, "Contract name is not known: other");
    assert_eq!(message(&["Balance"]).await, "Expected 1 parameters, but 0 have been supplied");
    let refused = message(&["take", "a", "-3"]).await;
    assert!(refused.starts_with("Parameter 2 is not a u64: \"-3\""), "{refused}");
    let refused = message(&["OpenAccount", "a", "{}"]).await;
    assert!(refused.starts_with("Parameter 2 is not the expected JSON: missing field `owner`"), "{refused}");
}

#[tokio::test]
async fn errors_have_status_code_and_message() {
    let map = Map::default();
    let refused = call(&map, &["Balance", "a"]).await;
    assert_eq!((refused.status, refused.message.as_str()), (404, "there is no account a, {really}"));
    assert_eq!(refused.payload, r#"{"code":"NoAccount","message":"there is no account a, {really}"}"#);
    call(&map, &["OpenAccount", "a", ACCOUNT]).await;
    let refused = call(&map, &["take", "a", "30"]).await;
    assert_eq!((refused.status, refused.message.as_str()), (422, "a is short of 21 cents"));
    let refused = call(&map, &["OpenAccount", "a", ACCOUNT]).await;
    assert_eq!((refused.status, refused.message.as_str()), (409, "it exists"));
    // An error of another kind comes through `?`.
    let refused = call(&map, &["OpenAccount", "", ACCOUNT]).await;
    assert_eq!((refused.status, refused.message.as_str()), (500, "key must not be an empty string"));
}

#[tokio::test]
async fn guards_turn_callers_away() {
    let refused = call(&Map::default(), &["Audit"]).await;
    // The caller is of Org1MSP, but its certificate is none.
    assert_eq!(refused.status, 403);
    assert!(refused.message.contains("certificate"), "{}", refused.message);
}

#[tokio::test]
async fn a_panic_is_told_with_its_place() {
    match outcome(&Map::default(), &Bank { fee: 1 }, &["Divide", "0"]).await {
        Outcome::Panicked { message, location } => {
            assert_eq!(message, "attempt to divide by zero");
            assert!(location.contains("contracts/bank.rs:"), "{location}");
        }
        completed => panic!("{completed:?}"),
    }
}

#[tokio::test]
async fn the_metadata_describes_functions_and_parameters() {
    let payload = call(&Map::default(), &["org.hyperledger.fabric:GetMetadata"]).await.payload;
    assert_eq!(payload, Bank { fee: 1 }.metadata().unwrap());
    let metadata: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    let bank = &metadata["contracts"]["bank"];
    assert_eq!(bank["info"], serde_json::json!({ "title": "bank", "version": "2.1" }));
    let names: Vec<_> = bank["transactions"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["OpenAccount", "take", "Balance", "Join", "Audit", "Divide"]);
    let expected = serde_json::json!({
        "name": "take",
        "tag": ["SUBMIT", "submitTx"],
        "parameters": [
            { "name": "id", "schema": { "type": "string" } },
            { "name": "cents", "schema": { "type": "integer", "minimum": 0 } },
        ],
        "returns": { "title": "Account" },
    });
    assert_eq!(bank["transactions"][1], expected);
    assert_eq!(bank["transactions"][2]["tag"], serde_json::json!(["EVALUATE"]));
    assert_eq!(bank["transactions"][0].get("returns"), None);
}
