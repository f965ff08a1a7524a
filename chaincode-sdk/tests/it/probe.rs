//! A contract whose functions each show one thing that a contract may do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use ripstop_chaincode_sdk::{Answer, Bytes, Contract, Failure, Response, Server, ServerSettings, Stub};
use tokio::sync::oneshot;

/// Calls of "Hang" hold this until their future is dropped.
pub(crate) type Hanging = Arc<Mutex<Option<oneshot::Sender<()>>>>;

#[derive(Default)]
pub(crate) struct Probe {
    pub(crate) hanging: Hanging,
}

impl Contract for Probe {
    async fn invoke(&self, stub: &Stub) -> Result<Response, Failure> {
        match stub.function() {
            "About" => Ok::<_, Failure>(about(stub)).answer(),
            "Copy" => copy(stub, stub.parameters()?).await.answer(),
            "CopyIfThere" => copy_if_there(stub, stub.parameters()?).await.answer(),
            "GetMany" => get_many(stub, stub.parameters()?).await.answer(),
            "First" => first(stub, stub.parameters()?).await.answer(),
            "Mark" => mark(stub, stub.parameters()?).await.answer(),
            "Colors" => colors(stub, stub.parameters()?).await.answer(),
            "Both" => both(stub, stub.parameters()?).await.answer(),
            "Impatient" => impatient(stub, stub.parameters()?).await.answer(),
            "Delete" => delete(stub, stub.parameters()?).await.answer(),
            "Decline" => Err(Failure::new("declined").with_status(403).with_payload("because")),
            "Call" => crate::calls::call(stub, stub.parameters()?).await.answer(),
            "PutMany" => put_many(stub, stub.parameters()?).await.answer(),
            "PutOrNot" => put_or_not(stub, stub.parameters()?).await.answer(),
            "PutThenDecline" => put_then_decline(stub, stub.parameters()?).await.answer(),
            "Attempts" => attempts(stub, stub.parameters()?).await.answer(),
            "Panic" => panic!("{} went wrong", stub.tx_id()),
            "Hang" => self.hang(stub).await.answer(),
            _ => Err(Failure::unknown_function(stub)),
        }
    }
}

fn about(stub: &Stub) -> String {
    let (creator, time) = (stub.creator(), stub.timestamp());
    format!(
        "{} {} {} {:?} {}.{} {:?} {}",
        stub.channel_id(),
        stub.tx_id(),
        creator.mspid,
        creator.id_bytes,
        time.seconds,
        time.nanos,
        stub.transient(),
        stub.is_init(),
    )
}

async fn copy(stub: &Stub, (from, to): (String, String)) -> Result<(), Failure> {
    let value = stub.get_state(&from).await?.ok_or_else(|| Failure::new(format!("nothing at {from}")))?;
    stub.put_state(&to, value.clone()).await?;
    stub.set_event("Copied", value)?;
    Ok(())
}

async fn copy_if_there(stub: &Stub, (from, to): (String, String)) -> Result<bool, Failure> {
    let copied = copy(stub, (from, to)).await;
    Ok(copied.is_ok())
}

async fn delete(stub: &Stub, key: String) -> Result<(), Failure> {
    Ok(stub.delete_state(&key).await?)
}

async fn get_many(stub: &Stub, keys: Vec<Bytes>) -> Result<String, Failure> {
    let keys: Vec<_> = keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
    let values = stub.get_states(&keys).await?;
    Ok(values.iter().map(|value| value.as_ref().map_or("-".into(), |value| String::from_utf8_lossy(value))).collect())
}

/// The first `count` keys, then the range is given up.
async fn first(stub: &Stub, count: u32) -> Result<String, Failure> {
    let mut range = stub.get_state_by_range("a", "b").await?;
    let mut keys = String::new();
    for _ in 0..count {
        match range.next().await? {
            Some(entry) => keys.push_str(&format!("{} ", entry.key)),
            None => break,
        }
    }
    range.close().await?;
    Ok(keys)
}

/// Writes while a range is open.
async fn mark(stub: &Stub, (): ()) -> Result<u32, Failure> {
    let mut range = stub.get_state_by_range("a", "b").await?;
    let mut marked = 0;
    while let Some(entry) = range.next().await? {
        stub.put_state(&format!("marked-{}", entry.key), entry.value).await?;
        marked += 1;
    }
    Ok(marked)
}

/// Writes `count` keys with values of `bytes` bytes.
async fn put_many(stub: &Stub, (count, bytes): (u32, u32)) -> Result<(), Failure> {
    for number in 0..count {
        stub.put_state(&format!("key{number}"), vec![b'v'; bytes as usize]).await?;
    }
    Ok(())
}

/// Goes on when a write is refused.
async fn put_or_not(stub: &Stub, (): ()) -> Result<bool, Failure> {
    Ok(stub.put_state("key", "value").await.is_ok())
}

async fn put_then_decline(stub: &Stub, (): ()) -> Result<(), Failure> {
    stub.put_state("key", "value").await?;
    Err(Failure::new("declined"))
}

/// Each argument is a part that adds it to `sum`; one that is no number fails after it
/// has written.
async fn attempts(stub: &Stub, parts: Vec<Bytes>) -> Result<String, Failure> {
    let mut outcomes = Vec::new();
    for part in &parts {
        let outcome = stub.attempt(add(stub, std::str::from_utf8(part)?)).await?;
        outcomes.push(outcome.map_or_else(|failure| failure.message().to_owned(), |sum| sum.to_string()));
    }
    Ok(outcomes.join(", "))
}

async fn add(stub: &Stub, text: &str) -> Result<u64, Failure> {
    let before = stub.get_state("sum").await?;
    let before = before.map_or(Ok(0), |sum| std::str::from_utf8(&sum).unwrap().parse::<u64>())?;
    stub.put_state("last", text.to_owned()).await?;
    stub.set_event("Added", text.to_owned())?;
    let sum = before + text.parse::<u64>()?;
    stub.put_state("sum", sum.to_string()).await?;
    Ok(sum)
}

async fn colors(stub: &Stub, color: String) -> Result<String, Failure> {
    let entries = stub.get_state_by_partial_composite_key("color~name", &[&color]).await?.all().await?;
    let mut names = Vec::new();
    for entry in entries {
        let (_, attributes) = stub.split_composite_key(&entry.key)?;
        names.push(attributes[1].clone());
    }
    Ok(names.join(" "))
}

/// Two requests at the same time.
async fn both(stub: &Stub, (one, two): (String, String)) -> Result<String, Failure> {
    let (one, two) = tokio::try_join!(stub.get_state(&one), stub.get_state(&two))?;
    let text = |value: Option<Bytes>| value.map(|value| String::from_utf8_lossy(&value).into_owned());
    Ok(format!("{:?} {:?}", text(one), text(two)))
}

/// Drops a request after it was sent, then makes another.
async fn impatient(stub: &Stub, (dropped, wanted): (String, String)) -> Result<String, Failure> {
    // The first poll sends the request.
    assert!(stub.get_state(&dropped).now_or_never().is_none());
    Ok(String::from_utf8_lossy(&stub.get_state(&wanted).await?.unwrap_or_default()).into_owned())
}

impl Probe {
    async fn hang(&self, stub: &Stub) -> Result<(), Failure> {
        let _held = self.hanging.lock().unwrap().take();
        stub.get_state("never answered").await?;
        Ok(())
    }
}

pub(crate) fn settings() -> ServerSettings {
    ServerSettings { address: "127.0.0.1:0".into(), package_id: "basic_1.0:abcd".into(), tls: None }
}

/// A running service that never stops.
pub(crate) async fn service() -> SocketAddr {
    let server = Server::new(settings(), Probe::default()).bind().await.unwrap();
    let address = server.address();
    tokio::spawn(server.run(std::future::pending()));
    address
}
