//! The functions of `counter` and what they leave in the state.

use ripstop_chaincode_sdk::{Server, ServerSettings};
use ripstop_samples::HighThroughput;

use crate::scripted_peer::{LedgerPeer, ScriptedPeer};

async fn peer() -> LedgerPeer {
    let settings = ServerSettings { address: "127.0.0.1:0".into(), package_id: "counter_1.0:ab12".into(), tls: None };
    let server = Server::new(settings, HighThroughput).bind().await.unwrap();
    let address = server.address();
    tokio::spawn(server.run(std::future::pending()));
    LedgerPeer::new(ScriptedPeer::registered(address).await)
}

async fn updated(updates: &[(&str, &str)]) -> LedgerPeer {
    let mut peer = peer().await;
    for (op, delta) in updates {
        let told = peer.invoke(&["Update", "visits", delta, op]).await;
        assert_eq!(told.text(), format!("Successfully added {op}{delta} to visits"));
    }
    peer
}

#[tokio::test]
async fn updates_leave_rows_of_fabrics_sample_and_their_sum_is_got() {
    let mut peer = updated(&[("+", "100"), ("-", "1.5"), ("+", "100")]).await;
    let row = "\u{0}varName~op~value~txID\u{0}visits\u{0}+\u{0}100\u{0}tx1\u{0}";
    assert_eq!(peer.state[row], &[0][..]);
    assert_eq!(peer.state.len(), 3);
    assert_eq!(peer.invoke(&["Get", "visits"]).await.text(), "198.5");
    assert_eq!(peer.invoke(&["Get", "other"]).await.failure(), "no variable by the name other exists");
    let refused = peer.invoke(&["Update", "visits", "many", "+"]).await;
    assert_eq!(refused.failure(), "provided value was not a number: many");
    assert_eq!(peer.invoke(&["Update", "visits", "1", "*"]).await.failure(), "operator * is unrecognized");
}

#[tokio::test]
async fn prune_folds_all_rows_and_prune_rows_those_that_are_listed() {
    let mut peer = updated(&[("+", "1"), ("+", "2"), ("+", "4"), ("-", "8")]).await;
    let listed = peer.invoke(&["Rows", "visits", "2"]).await.text().to_owned();
    let told = peer.invoke(&["PruneRows", "visits", &listed]).await;
    assert_eq!(told.text(), "Successfully pruned variable visits, final value is 3.000000, 2 rows pruned");
    assert_eq!((peer.state.len(), peer.invoke(&["Get", "visits"]).await.text()), (3, "-1"));
    let told = peer.invoke(&["Prune", "visits"]).await;
    assert_eq!(told.text(), "Successfully pruned variable visits, final value is -1.000000, 3 rows pruned");
    assert_eq!((peer.state.len(), peer.invoke(&["Get", "visits"]).await.text()), (1, "-1"));
    assert_eq!(peer.invoke(&["Delete", "visits"]).await.text(), "Deleted visits, 1 rows removed");
    for function in ["Prune", "Delete"] {
        assert_eq!(peer.invoke(&[function, "visits"]).await.failure(), "no variable by the name visits exists");
    }
}

#[tokio::test]
async fn the_standard_functions_keep_the_sum_under_one_key() {
    let mut peer = peer().await;
    assert_eq!(peer.invoke(&["UpdateStandard", "sum", "5.5", "+"]).await.text(), "5.5");
    assert_eq!(peer.invoke(&["UpdateStandard", "sum", "0.5", "-"]).await.text(), "5");
    assert_eq!(peer.state["sum"], "5");
    assert_eq!(peer.invoke(&["GetStandard", "sum"]).await.text(), "5");
    assert_eq!(peer.invoke(&["DelStandard", "sum"]).await.text(), "");
    assert!(peer.state.is_empty());
}
