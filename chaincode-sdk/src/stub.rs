//! One transaction as its contract sees it: a view, and what it changes.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ripstop_proto::protos::write_record::Type;
use ripstop_proto::protos::{ChaincodeEvent, WriteRecord};

use crate::state::PUBLIC;
use crate::write_buffer::{put, record};
use crate::{Failure, Invocation, Peer, StubError, View};

/// One transaction: what it was called with, the ledger at one height, and its writes.
///
/// Dereferences to [`View`], which has everything that reads. A read never sees the
/// transaction's own writes.
///
/// A peer that offers it gets many writes in one message, sent when there are enough of
/// them and when the contract has answered. What such a peer has against a write is
/// therefore told later, and fails the whole transaction.
pub struct Stub {
    view: View,
    event: Mutex<Option<ChaincodeEvent>>,
    /// Rows of this transaction that need a key of their own.
    rows: AtomicU32,
}

impl Deref for Stub {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

impl Stub {
    /// A stub for `invocation` whose requests go to `peer`. Contracts get theirs; this is
    /// for whoever runs contracts.
    pub fn new(invocation: Invocation, peer: Box<dyn Peer>) -> Self {
        let view = View::new(invocation, peer);
        Self { view, event: Mutex::default(), rows: AtomicU32::new(0) }
    }

    /// The same transaction without the means to write.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Sets the event that is published when the transaction commits. A transaction has
    /// one; the last one set counts, and of chaincodes that call each other only that of
    /// the first.
    ///
    /// # Errors
    /// When `name` is empty.
    pub fn set_event(&self, name: &str, payload: impl Into<Bytes>) -> Result<(), StubError> {
        if name.is_empty() {
            return Err(StubError::EmptyEventName);
        }
        // Chaincode id and tx id are the peer's to fill in.
        let event = ChaincodeEvent { event_name: name.to_owned(), payload: payload.into(), ..Default::default() };
        *locked(&self.event) = Some(event);
        Ok(())
    }

    /// The event that was set last.
    pub fn into_event(self) -> Option<ChaincodeEvent> {
        self.event.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes `value` when the transaction commits; the last write of a key counts.
    /// Records a write and no read.
    ///
    /// # Errors
    /// When `key` or `value` is empty (Fabric would delete the key without a word), or
    /// the peer refuses or is gone.
    pub async fn put_state(&self, key: &str, value: impl Into<Bytes>) -> Result<(), StubError> {
        self.put(PUBLIC, key, value.into()).await
    }

    /// Deletes `key` when the transaction commits. A key that is not there may be deleted.
    /// Records a write and no read.
    ///
    /// # Errors
    /// When `key` is empty, or the peer refuses or is gone.
    pub async fn delete_state(&self, key: &str) -> Result<(), StubError> {
        self.remove(Type::DelState, PUBLIC, key).await
    }

    /// Sends all writes that wait for more to go with them. Whoever runs contracts calls
    /// this after the contract has answered; contracts have no need to.
    ///
    /// # Errors
    /// When the peer refuses one of them or is gone.
    pub async fn flush_writes(&self) -> Result<(), StubError> {
        while self.send_writes().await? {}
        Ok(())
    }

    pub(crate) async fn put(&self, collection: &str, key: &str, value: Bytes) -> Result<(), StubError> {
        if key.is_empty() {
            return Err(StubError::EmptyKey);
        }
        if value.is_empty() {
            return Err(StubError::EmptyValue(key.to_owned()));
        }
        self.write(put(collection, key, value)).await
    }

    pub(crate) async fn remove(&self, kind: Type, collection: &str, key: &str) -> Result<(), StubError> {
        if key.is_empty() {
            return Err(StubError::EmptyKey);
        }
        self.write(record(kind, collection, key)).await
    }

    pub(crate) async fn write(&self, record: WriteRecord) -> Result<(), StubError> {
        let due = {
            let mut writes = self.view.writes.lock().await;
            if let Some(cause) = writes.refused() {
                return Err(cause);
            }
            writes.push(record);
            !writes.is_held() && writes.is_due(self.peer().writes_per_request_max())
        };
        if due { self.flush_writes().await } else { Ok(()) }
    }

    /// Sends what goes into one request; whether there was anything.
    ///
    /// Writes leave the buffer only when they are answered: should this future be dropped
    /// on its way, they are sent again, in the same order.
    async fn send_writes(&self) -> Result<bool, StubError> {
        let most = self.peer().writes_per_request_max().max(1);
        let mut writes = self.view.writes.lock().await;
        if let Some(cause) = writes.refused() {
            return Err(cause);
        }
        let Some((request, count)) = writes.next_request(most) else { return Ok(false) };
        let answer = self.ask(request).await;
        writes.sent(count);
        if let Err(cause) = answer {
            // A single write that was refused is simply not made.
            if most > 1 {
                writes.refuse(cause.clone());
            }
            return Err(cause);
        }
        Ok(true)
    }

    /// A text for the key of a row that nothing else may have, new with every call: the
    /// transaction's id, then `id:1`, `id:2`, …
    ///
    /// Begins again when another chaincode calls this one twice in one transaction.
    pub fn row_id(&self) -> String {
        match self.rows.fetch_add(1, Ordering::Relaxed) {
            0 => self.tx_id().to_owned(),
            number => format!("{}:{number}", self.tx_id()),
        }
    }

    /// Runs `part` of a transaction so that it writes wholly or, when it fails, not at
    /// all; what it read stays in the read set.
    ///
    /// From the first such part on, reads of single keys (not of ranges) see what the
    /// transaction has written; without that, a later part would undo an earlier one.
    /// Parts run one after the other, never side by side.
    ///
    /// # Errors
    /// The outer one when the peer refuses writes of earlier parts or is gone; the inner
    /// one is the part's own.
    pub async fn attempt<T>(
        &self,
        part: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Result<T, Failure>, StubError> {
        let event = locked(&self.event).clone();
        let savepoint = self.view.writes.lock().await.hold();
        let result = part.await;
        let due = {
            let mut writes = self.view.writes.lock().await;
            if result.is_err() {
                writes.take_back(savepoint);
                *locked(&self.event) = event;
            }
            writes.release();
            writes.is_due(self.peer().writes_per_request_max())
        };
        if due {
            self.flush_writes().await?;
        }
        Ok(result)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;

    use super::*;
    use crate::{PeerAnswer, Request};

    struct Nobody;

    impl Peer for Nobody {
        fn ask(&self, request: Request) -> BoxFuture<'_, PeerAnswer> {
            panic!("asked {request:?}, though the request is wrong");
        }
    }

    fn called(args: &[&'static str]) -> Stub {
        let args = args.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
        Stub::new(Invocation { args, ..Default::default() }, Box::new(Nobody))
    }

    #[test]
    fn a_contract_name_before_the_function_is_taken_off() {
        let of = |name| {
            let stub = called(&[name]);
            (stub.contract_name().to_owned(), stub.function().to_owned())
        };
        assert_eq!(of("Read"), (String::new(), "Read".to_owned()));
        assert_eq!(of("Bank:Read"), ("Bank".to_owned(), "Read".to_owned()));
        assert_eq!(of("Bank:Read:more"), ("Bank".to_owned(), "Read:more".to_owned()));
        assert_eq!(of(":Read"), (String::new(), "Read".to_owned()));
        assert_eq!(called(&[]).function(), "");
    }

    #[test]
    fn the_last_event_counts_and_an_event_needs_a_name() {
        let stub = called(&[]);
        assert!(matches!(stub.set_event("", "x"), Err(StubError::EmptyEventName)));
        stub.set_event("first", "1").unwrap();
        stub.set_event("second", "2").unwrap();
        let event = stub.into_event().unwrap();
        assert_eq!((event.event_name.as_str(), &event.payload[..]), ("second", &b"2"[..]));
    }

    #[tokio::test]
    async fn requests_that_would_surprise_are_refused_without_asking_the_peer() {
        let stub = called(&[]);
        assert!(matches!(stub.put_state("", "x").await, Err(StubError::EmptyKey)));
        assert!(matches!(stub.put_state("key", "").await, Err(StubError::EmptyValue(key)) if key == "key"));
        assert!(matches!(stub.delete_state("").await, Err(StubError::EmptyKey)));
        let range = stub.get_state_by_range("a", "\u{0}b").await;
        assert!(matches!(range.err(), Some(StubError::CompositeBound(_))));
        assert!(matches!(stub.get_history_for_key("").await.err(), Some(StubError::EmptyKey)));
        assert!(matches!(stub.collection("").get_state("key").await, Err(StubError::EmptyCollection)));
        let page = crate::PageRequest::first(0);
        assert!(matches!(stub.get_page_by_range("", "", &page).await, Err(StubError::PageSize(0))));
    }
}
