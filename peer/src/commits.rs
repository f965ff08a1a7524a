//! Who waits for which transaction of one channel to be committed.
//!
//! A waiter registers before it looks into the ledger's index, so that no
//! commit can slip between. The committer fires a waiter only after the block's
//! state can be read. It knows nothing of blocks on disk: `committer` tells it.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use ripstop_proto::protos::TxValidationCode;
use tokio::sync::oneshot;

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Number of the block that holds the transaction.
    pub block_number: u64,
    /// Position in the block, from 0, counting every envelope.
    pub tx_index: u64,
    /// The final validation code.
    pub code: TxValidationCode,
}

/// The channel went away before the transaction was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer stopped serving the channel before the transaction was committed; ask again, or ask another peer")]
pub struct Closed;

/// The waiters of one channel. Cheap to clone; all clones share the waiters.
#[derive(Clone, Debug, Default)]
pub struct Commits {
    waiters: Arc<Mutex<Waiters>>,
}

#[derive(Debug, Default)]
struct Waiters {
    next_ticket: u64,
    closed: bool,
    by_tx_id: HashMap<String, Vec<(u64, oneshot::Sender<Committed>)>>,
}

impl Commits {
    /// Nobody waits yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for `tx_id` to be committed from now on; earlier commits are found
    /// in the ledger's index. Dropping the answer ends the wait and frees its place.
    pub fn wait(&self, tx_id: &str) -> Waiting {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = self.waiters.lock();
        let ticket = waiters.next_ticket;
        waiters.next_ticket += 1;
        if !waiters.closed {
            waiters.by_tx_id.entry(tx_id.to_owned()).or_default().push((ticket, sender));
        }
        Waiting { commits: self.clone(), tx_id: tx_id.to_owned(), ticket, receiver }
    }

    /// Tells everyone who waits for `tx_id`. The first copy of an id in a block
    /// decides, since its waiters are gone when a later copy comes.
    pub fn fire(&self, tx_id: &str, committed: Committed) {
        let waiting = self.waiters.lock().by_tx_id.remove(tx_id).unwrap_or_default();
        for (_, sender) in waiting {
            // A receiver that is gone no longer wants the answer.
            let _ = sender.send(committed);
        }
    }

    /// Ends every wait, now and later, with [`Closed`].
    pub fn close(&self) {
        let mut waiters = self.waiters.lock();
        waiters.closed = true;
        waiters.by_tx_id.clear();
    }

    /// How many waits are open.
    pub fn waiting_count(&self) -> usize {
        self.waiters.lock().by_tx_id.values().map(Vec::len).sum()
    }

    fn forget(&self, tx_id: &str, ticket: u64) {
        let mut waiters = self.waiters.lock();
        if let Some(senders) = waiters.by_tx_id.get_mut(tx_id) {
            senders.retain(|(other, _)| *other != ticket);
            if senders.is_empty() {
                waiters.by_tx_id.remove(tx_id);
            }
        }
    }
}

/// One wait, a future; ends when the transaction is committed.
#[derive(Debug)]
pub struct Waiting {
    commits: Commits,
    tx_id: String,
    ticket: u64,
    receiver: oneshot::Receiver<Committed>,
}

impl Future for Waiting {
    type Output = Result<Committed, Closed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context).map_err(|_| Closed)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.commits.forget(&self.tx_id, self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: Committed = Committed { block_number: 7, tx_index: 2, code: TxValidationCode::MvccReadConflict };

    #[tokio::test]
    async fn every_waiter_of_a_tx_id_hears_of_its_commit() {
        let commits = Commits::new();
        let (first, second) = (commits.wait("a"), commits.wait("a"));
        let other = commits.wait("b");
        commits.fire("a", COMMITTED);
        assert_eq!(first.await, Ok(COMMITTED));
        assert_eq!(second.await, Ok(COMMITTED));
        assert_eq!(commits.waiting_count(), 1);
        drop(other);
        assert_eq!(commits.waiting_count(), 0);
    }

    #[tokio::test]
    async fn the_first_copy_of_a_tx_id_decides() {
        let commits = Commits::new();
        let waiting = commits.wait("a");
        commits.fire("a", COMMITTED);
        commits.fire("a", Committed { code: TxValidationCode::DuplicateTxid, ..COMMITTED });
        assert_eq!(waiting.await, Ok(COMMITTED));
    }

    #[test]
    fn a_cancelled_wait_leaves_nothing_behind() {
        let commits = Commits::new();
        let kept = commits.wait("a");
        drop(commits.wait("a"));
        assert_eq!(commits.waiting_count(), 1);
        drop(kept);
        assert!(commits.waiters.lock().by_tx_id.is_empty());
    }

    #[tokio::test]
    async fn a_closed_channel_ends_every_wait() {
        let commits = Commits::new();
        let before = commits.wait("a");
        commits.close();
        assert_eq!(before.await, Err(Closed));
        assert_eq!(commits.wait("a").await, Err(Closed));
    }
}
