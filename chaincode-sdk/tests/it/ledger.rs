//! A ledger in memory with Fabric's rules for conflicts: a read key has to have the version
//! it was read at, a read range the same keys and versions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::future::{BoxFuture, FutureExt, ready};
use prost::Message;
use ripstop_chaincode_sdk::{Bytes, Invocation, Peer, PeerAnswer, Request, Stub};
use ripstop_proto::protos::{GetStateMultipleResult, QueryResponse, QueryResultBytes};
use ripstop_proto::queryresult::Kv;

type State = BTreeMap<String, (Bytes, u64)>;

#[derive(Default)]
pub(crate) struct Ledger {
    state: State,
    commits: u64,
    transactions: u64,
}

/// What a transaction did, against the state when it began.
#[derive(Default)]
pub(crate) struct ReadWriteSet {
    pub(crate) reads: BTreeMap<String, Option<u64>>,
    pub(crate) ranges: Vec<ReadRange>,
    pub(crate) writes: BTreeMap<String, Option<Bytes>>,
}

pub(crate) struct ReadRange {
    start: String,
    end: String,
    /// Keys and their versions.
    seen: Vec<(String, u64)>,
}

struct Simulator {
    state: State,
    done: Arc<Mutex<ReadWriteSet>>,
}

/// A transaction that runs on the state as it is now.
pub(crate) struct Transaction {
    pub(crate) stub: Stub,
    done: Arc<Mutex<ReadWriteSet>>,
}

impl Ledger {
    pub(crate) fn begin(&mut self) -> Transaction {
        self.transactions += 1;
        let done = Arc::new(Mutex::new(ReadWriteSet::default()));
        let simulator = Simulator { state: self.state.clone(), done: Arc::clone(&done) };
        let invocation = Invocation { tx_id: format!("tx{}", self.transactions), ..Default::default() };
        Transaction { stub: Stub::new(invocation, Box::new(simulator)), done }
    }

    /// Whether the transaction is valid; then its writes are made.
    pub(crate) fn commit(&mut self, done: ReadWriteSet) -> bool {
        let version = |key: &String| self.state.get(key).map(|(_, version)| *version);
        let valid = done.reads.iter().all(|(key, read)| version(key) == *read)
            && done.ranges.iter().all(|range| versions(&self.state, &range.start, &range.end) == range.seen);
        if valid {
            self.commits += 1;
            for (key, value) in done.writes {
                match value {
                    Some(value) => self.state.insert(key, (value, self.commits)),
                    None => self.state.remove(&key),
                };
            }
        }
        valid
    }

    pub(crate) fn put(&mut self, key: &str, value: &[u8]) {
        self.state.insert(key.to_owned(), (Bytes::copy_from_slice(value), self.commits));
    }

    pub(crate) fn keys(&self) -> Vec<&str> {
        self.state.keys().map(String::as_str).collect()
    }

    pub(crate) fn value(&self, key: &str) -> Option<&[u8]> {
        self.state.get(key).map(|(value, _)| &value[..])
    }
}

impl Transaction {
    /// What was done, all writes sent.
    pub(crate) async fn end(self) -> ReadWriteSet {
        self.stub.flush_writes().await.unwrap();
        std::mem::take(&mut self.done.lock().unwrap())
    }
}

fn versions(state: &State, start: &str, end: &str) -> Vec<(String, u64)> {
    let keys = state.range(start.to_owned()..end.to_owned());
    keys.map(|(key, (_, version))| (key.clone(), *version)).collect()
}

impl Simulator {
    fn read(&self, key: &str) -> Bytes {
        let found = self.state.get(key);
        let version = found.map(|(_, version)| *version);
        self.done.lock().unwrap().reads.insert(key.to_owned(), version);
        found.map(|(value, _)| value.clone()).unwrap_or_default()
    }

    fn write(&self, key: String, value: Option<Bytes>) -> Bytes {
        self.done.lock().unwrap().writes.insert(key, value);
        Bytes::new()
    }

    fn answer(&self, request: Request) -> Bytes {
        match request {
            Request::GetState(get) => self.read(&get.key),
            Request::GetStates(get) => {
                let values = get.keys.iter().map(|key| self.read(key)).collect();
                GetStateMultipleResult { values }.encode_to_vec().into()
            }
            Request::PutState(put) => self.write(put.key, Some(put.value)),
            Request::DeleteState(delete) => self.write(delete.key, None),
            // In one page: given up early, the whole range counts as read.
            Request::OpenRange(bounds) => {
                let seen = versions(&self.state, &bounds.start_key, &bounds.end_key);
                let result = |(key, _): &(String, u64)| {
                    let entry = Kv { key: key.clone(), value: self.state[key].0.clone(), ..Default::default() };
                    QueryResultBytes { result_bytes: entry.encode_to_vec().into() }
                };
                let results = seen.iter().map(result).collect();
                self.done.lock().unwrap().ranges.push(ReadRange { start: bounds.start_key, end: bounds.end_key, seen });
                QueryResponse { results, ..Default::default() }.encode_to_vec().into()
            }
            other => panic!("this ledger has no {other:?}"),
        }
    }
}

impl Peer for Simulator {
    fn ask(&self, request: Request) -> BoxFuture<'_, PeerAnswer> {
        ready(Ok(self.answer(request))).boxed()
    }

    fn keys_per_request_max(&self) -> usize {
        10
    }
}
