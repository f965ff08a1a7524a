//! What a running network refuses, and that it goes on.
//!
//! ```text
//! actors, proposal, transaction   who sends, and messages with any part wrong
//! grpc, http                      requests that are written by hand
//! stage, table                    the network under test, the cases and their outcomes
//! endorsing … sockets             the cases, by who refuses
//! ```
//! Every case is sent to one network of real processes by its real protocols; the answer is
//! compared word by word, and then an honest transaction has to commit.

mod actors;
mod grpc;
mod http;
mod proposal;
mod stage;
mod table;
mod transaction;

mod clustering;
mod committed;
mod delivering;
mod endorsing;
mod gateway_calls;
mod judged;
mod ordering;
mod participating;
mod sockets;
mod system_chaincodes;

use stage::Stage;
use table::Table;

#[tokio::test(flavor = "multi_thread")]
async fn everything_wrong_is_refused_and_the_network_goes_on() {
    let stage = Stage::set().await;
    let mut table = Table::new(&stage);
    endorsing::run(&stage, &mut table).await;
    system_chaincodes::run(&stage, &mut table).await;
    gateway_calls::run(&stage, &mut table).await;
    ordering::run(&stage, &mut table).await;
    clustering::run(&stage, &mut table).await;
    delivering::run(&stage, &mut table).await;
    participating::run(&stage, &mut table).await;
    sockets::run(&stage, &mut table).await;
    committed::run(&stage, &mut table).await;
    judged::run(&stage, &mut table).await;
    stage.clear().await;
    let count = table.close();
    assert!(count >= 60, "only {count} cases were tried");
}
