//! A contract that provokes both kinds of read conflict, served by the test itself.

use std::net::SocketAddr;

use ripstop_chaincode_sdk::{Answer, Contract, Failure, Response, Server, ServerSettings, Stub};
use tokio::sync::oneshot;

use crate::network::Network;

/// `ReadThenWrite key value` reads a key and writes it; `CountThenWrite prefix key` counts the
/// keys with a prefix and writes the count.
struct Conflicting;

impl Contract for Conflicting {
    async fn invoke(&self, stub: &Stub) -> Result<Response, Failure> {
        match stub.function() {
            "ReadThenWrite" => read_then_write(stub, stub.parameters()?).await.answer(),
            "CountThenWrite" => count_then_write(stub, stub.parameters()?).await.answer(),
            _ => Err(Failure::unknown_function(stub)),
        }
    }
}

async fn read_then_write(stub: &Stub, (key, value): (String, String)) -> Result<(), Failure> {
    stub.get_state(&key).await?;
    stub.put_state(&key, value).await?;
    Ok(())
}

async fn count_then_write(stub: &Stub, (prefix, key): (String, String)) -> Result<u64, Failure> {
    let rows = stub.get_state_by_range(&prefix, &format!("{prefix}~")).await?.all().await?;
    let count = rows.len() as u64;
    stub.put_state(&key, count.to_string()).await?;
    Ok(count)
}

/// The contract's service, which ends with this value.
pub(crate) struct Served {
    _stop: oneshot::Sender<()>,
}

/// Deploys the contract as `conflicting` and serves it.
pub(crate) async fn serve(network: &Network) -> Served {
    let address = free_address();
    let source = ["--name", "conflicting", "--version", "1.0", "--address", &address.to_string()].map(str::to_owned);
    let source: Vec<&str> = source.iter().map(String::as_str).collect();
    let deployed = network.json(&[&["chaincode", "deploy", "--json"], source.as_slice()].concat());
    let package_id = deployed["package_id"].as_str().unwrap().to_owned();
    let settings = ServerSettings { address: address.to_string(), package_id, tls: None };
    let server = Server::new(settings, Conflicting).bind().await.unwrap();
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Served { _stop: stop }
}

/// An address nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
