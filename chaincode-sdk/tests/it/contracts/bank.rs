//! A contract with one function of each kind, and a peer with a map for a ledger.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ripstop_chaincode_sdk::{
    Bytes, Contract, ContractError, Failure, Invocation, Outcome, Peer, PeerAnswer, Request, Response,
    SerializedIdentity, Stub, View, contract, execute,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) owner: String,
    pub(crate) cents: u64,
}

#[derive(Debug, ContractError)]
pub(crate) enum Fail {
    #[failure(404, "there is no account {0}, {{really}}")]
    NoAccount(String),
    #[failure(422, "{id} is short of {missing} cents")]
    Short { id: String, missing: u64 },
    #[failure(409, "it exists")]
    Exists,
    #[failure(transparent)]
    Other(Failure),
}

pub(crate) struct Bank {
    pub(crate) fee: u64,
}

#[contract(name = "bank", version = "2.1", rename_all = "PascalCase")]
impl Bank {
    #[submit]
    async fn open_account(&self, stub: &Stub, id: String, account: Account) -> Result<(), Fail> {
        if stub.get_state(&id).await?.is_some() {
            return Err(Fail::Exists);
        }
        stub.put_state(&id, serde_json::to_vec(&account)?).await?;
        Ok(())
    }

    #[submit(name = "take")]
    async fn withdraw(&self, stub: &Stub, id: String, cents: u64) -> Result<Account, Fail> {
        let mut account = read(stub, &id).await?;
        let cents = cents + self.fee;
        let left = account.cents.checked_sub(cents);
        account.cents = left.ok_or_else(|| Fail::Short { id: id.clone(), missing: cents - account.cents })?;
        stub.put_state(&id, serde_json::to_vec(&account)?).await?;
        Ok(account)
    }

    #[query]
    async fn balance(&self, view: &View, id: String) -> Result<u64, Fail> {
        Ok(read(view, &id).await?.cents)
    }

    /// Not asynchronous, and with another kind of error.
    #[query]
    fn join(&self, _: &View, texts: Vec<String>, separator: Option<char>) -> Result<String, Failure> {
        Ok(texts.join(&separator.map(String::from).unwrap_or_default()))
    }

    #[submit]
    #[require(org = ["Org1MSP", "Org3MSP"])]
    #[require(attr = "role:auditor", attr = "level")]
    async fn audit(&self, _: &Stub) -> Result<bool, Failure> {
        Ok(true)
    }

    #[query]
    fn divide(&self, _: &View, by: u64) -> Result<u64, Failure> {
        Ok(self.fee / by)
    }
}

async fn read(view: &View, id: &str) -> Result<Account, Fail> {
    let stored = view.get_state(id).await?.ok_or_else(|| Fail::NoAccount(id.to_owned()))?;
    Ok(serde_json::from_slice(&stored)?)
}

/// A ledger whose transactions run one after the other.
#[derive(Clone, Default)]
pub(crate) struct Map(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl Peer for Map {
    fn ask(&self, request: Request) -> std::pin::Pin<Box<dyn Future<Output = PeerAnswer> + Send + '_>> {
        let mut map = self.0.lock().unwrap();
        let answer = match request {
            Request::GetState(get) => map.get(&get.key).cloned().unwrap_or_default(),
            Request::PutState(put) => {
                map.insert(put.key, put.value);
                Bytes::new()
            }
            other => panic!("this map has no {other:?}"),
        };
        Box::pin(std::future::ready(Ok(answer)))
    }
}

pub(crate) async fn outcome(map: &Map, contract: &impl Contract, args: &[&str]) -> Outcome {
    let args = args.iter().map(|argument| Bytes::copy_from_slice(argument.as_bytes())).collect();
    let creator = SerializedIdentity { mspid: "Org1MSP".to_owned(), id_bytes: Bytes::new() };
    let invocation = Invocation { args, creator, ..Default::default() };
    execute(contract, invocation, Box::new(map.clone())).await
}

pub(crate) async fn call(map: &Map, args: &[&str]) -> Response {
    match outcome(map, &Bank { fee: 1 }, args).await {
        Outcome::Completed { response, .. } => response,
        panicked => panic!("{panicked:?}"),
    }
}
