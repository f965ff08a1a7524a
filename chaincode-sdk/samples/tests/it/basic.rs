//! `basic` answers and stores what the TypeScript sample does.

use ripstop_chaincode_sdk::{Server, ServerSettings};
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_samples::Basic;

use crate::scripted_peer::{Ended, LedgerPeer, ScriptedPeer};

const ASSET1: &str =
    r#"{"AppraisedValue":300,"Color":"blue","ID":"asset1","Owner":"Tomoko","Size":5,"docType":"asset"}"#;

async fn peer() -> LedgerPeer {
    let settings = ServerSettings { address: "127.0.0.1:0".into(), package_id: "basic_1.0:ab12".into(), tls: None };
    let server = Server::new(settings, Basic).bind().await.unwrap();
    let address = server.address();
    tokio::spawn(server.run(std::future::pending()));
    LedgerPeer::new(ScriptedPeer::registered(address).await)
}

async fn filled_peer() -> LedgerPeer {
    let mut peer = peer().await;
    assert_eq!(peer.invoke(&["InitLedger"]).await.text(), "");
    peer
}

fn event(ended: &Ended) -> (&str, &str) {
    let event = ended.event.as_ref().expect("the transaction set an event");
    (&event.event_name, std::str::from_utf8(&event.payload).unwrap())
}

#[tokio::test]
async fn init_ledger_stores_six_assets_with_sorted_keys() {
    let peer = filled_peer().await;
    assert_eq!(peer.state.keys().collect::<Vec<_>>(), ["asset1", "asset2", "asset3", "asset4", "asset5", "asset6"]);
    assert_eq!(peer.state["asset1"], ASSET1);
    assert_eq!(
        peer.state["asset3"],
        r#"{"AppraisedValue":500,"Color":"green","ID":"asset3","Owner":"Jin Soo","Size":10,"docType":"asset"}"#
    );
}

#[tokio::test]
async fn create_asset_stores_numbers_and_sets_an_event() {
    let mut peer = peer().await;
    let created = peer.invoke(&["CreateAsset", "asset7", "yellow", "5.50", "Tom", "1e3"]).await;
    assert_eq!(created.text(), "");
    let stored = r#"{"AppraisedValue":1000,"Color":"yellow","ID":"asset7","Owner":"Tom","Size":5.5}"#;
    assert_eq!(peer.state["asset7"], stored);
    assert_eq!(event(&created), ("CreateAsset", stored));
    assert_eq!(created.asked, [Type::GetState, Type::PutState]);
}

#[tokio::test]
async fn create_asset_refuses_an_asset_that_exists() {
    let mut peer = filled_peer().await;
    let refused = peer.invoke(&["CreateAsset", "asset1", "blue", "5", "Tom", "100"]).await;
    assert_eq!(refused.failure(), "The asset asset1 already exists");
    assert_eq!(refused.event, None);
    assert_eq!(peer.state["asset1"], ASSET1);
}

#[tokio::test]
async fn parameters_are_counted_and_numbers_are_checked_before_anything_is_read() {
    let mut peer = filled_peer().await;
    let refused = peer.invoke(&["CreateAsset", "asset9", "blue"]).await;
    assert_eq!(refused.failure(), "Expected 5 parameters, but 2 have been supplied");
    let refused = peer.invoke(&["CreateAsset", "asset9", "blue", "many", "Tom", "100"]).await;
    assert_eq!(refused.failure(), "fromBuffer could not convert data to number");
    assert_eq!(refused.asked, []);
    let refused = peer.invoke(&["GetAllAssets", "asset1"]).await;
    assert_eq!(refused.failure(), "Expected 0 parameters, but 1 have been supplied");
}

#[tokio::test]
async fn read_asset_returns_the_stored_text() {
    let mut peer = filled_peer().await;
    assert_eq!(peer.invoke(&["ReadAsset", "asset1"]).await.text(), ASSET1);
    assert_eq!(peer.invoke(&["ReadAsset", "asset9"]).await.failure(), "The asset asset9 does not exist");
}

#[tokio::test]
async fn update_asset_replaces_the_whole_asset() {
    let mut peer = filled_peer().await;
    let updated = peer.invoke(&["UpdateAsset", "asset1", "red", "6", "Tom", "350"]).await;
    let stored = r#"{"AppraisedValue":350,"Color":"red","ID":"asset1","Owner":"Tom","Size":6}"#;
    assert_eq!(updated.text(), "");
    assert_eq!(peer.state["asset1"], stored);
    assert_eq!(event(&updated), ("UpdateAsset", stored));
    let refused = peer.invoke(&["UpdateAsset", "asset9", "red", "6", "Tom", "350"]).await;
    assert_eq!(refused.failure(), "The asset asset9 does not exist");
}

#[tokio::test]
async fn delete_asset_publishes_what_was_deleted() {
    let mut peer = filled_peer().await;
    let deleted = peer.invoke(&["DeleteAsset", "asset1"]).await;
    assert_eq!(deleted.text(), "");
    assert_eq!(event(&deleted), ("DeleteAsset", ASSET1));
    assert!(!peer.state.contains_key("asset1"));
    assert_eq!(peer.invoke(&["DeleteAsset", "asset1"]).await.failure(), "The asset asset1 does not exist");
}

#[tokio::test]
async fn asset_exists_answers_true_or_false() {
    let mut peer = filled_peer().await;
    assert_eq!(peer.invoke(&["AssetExists", "asset1"]).await.text(), "true");
    assert_eq!(peer.invoke(&["AssetExists", "asset9"]).await.text(), "false");
}

#[tokio::test]
async fn transfer_asset_returns_the_old_owner_and_keeps_the_other_fields() {
    let mut peer = filled_peer().await;
    let transferred = peer.invoke(&["TransferAsset", "asset1", "Saptha"]).await;
    assert_eq!(transferred.text(), "Tomoko");
    let stored = ASSET1.replace("Tomoko", "Saptha");
    assert_eq!(peer.state["asset1"], stored);
    assert_eq!(event(&transferred), ("TransferAsset", stored.as_str()));
    let refused = peer.invoke(&["TransferAsset", "asset9", "Saptha"]).await;
    assert_eq!(refused.failure(), "The asset asset9 does not exist");
}

#[tokio::test]
async fn get_all_assets_returns_every_page_in_the_order_of_keys() {
    let mut peer = peer().await;
    for number in 0..250 {
        peer.state.insert(format!("asset{number:03}"), format!(r#"{{"ID":"asset{number:03}"}}"#).into());
    }
    peer.state.insert("\u{0}index\u{0}a\u{0}".into(), "composite keys are no assets".into());
    let all = peer.invoke(&["GetAllAssets"]).await;
    let expected: Vec<String> = (0..250).map(|number| format!(r#"{{"ID":"asset{number:03}"}}"#)).collect();
    assert_eq!(all.text(), format!("[{}]", expected.join(",")));
    assert_eq!(all.asked, [Type::GetStateByRange, Type::QueryStateNext, Type::QueryStateNext]);
}

#[tokio::test]
async fn an_empty_ledger_has_an_empty_list() {
    assert_eq!(peer().await.invoke(&["GetAllAssets"]).await.text(), "[]");
}

#[tokio::test]
async fn functions_may_be_called_by_the_contracts_name_and_others_do_not_exist() {
    let mut peer = filled_peer().await;
    assert_eq!(peer.invoke(&["AssetTransferContract:AssetExists", "asset1"]).await.text(), "true");
    assert_eq!(peer.invoke(&["Other:AssetExists", "asset1"]).await.failure(), "Contract name is not known: Other");
    assert_eq!(
        peer.invoke(&["Steal", "asset1"]).await.failure(),
        "You've asked to invoke a function that does not exist: Steal"
    );
    assert_eq!(peer.invoke(&[]).await.text(), "Default initiator successful.");
}
