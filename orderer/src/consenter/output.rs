//! What a consenter wants done.

use raft::eraftpb::Message;
use ripstop_proto::ripstop::v1::Batch;

use crate::raft_record::{Position, Record};

/// What a consenter wants done.
#[derive(Debug)]
pub enum Output<R> {
    /// Send each to the consenter in its `to` field. Any of them may be lost.
    Send(Vec<Message>),
    /// Make the record durable, in the order of the numbers, then say [`super::Input::Persisted`].
    Persist {
        /// Its number.
        number: u64,
        /// What to remember.
        record: Record,
    },
    /// Write a block of this batch, in the order of the indexes, then say [`super::Input::Applied`].
    Apply(Committed<R>),
    /// These envelopes are not ordered, as far as is known here.
    Refuse {
        /// Their receipts.
        receipts: Vec<R>,
        /// Why.
        refusal: Refusal,
    },
    /// Another consenter leads now, or none.
    Leader {
        /// Its id.
        leader: Option<u64>,
        /// Whether it is this one.
        is_self: bool,
    },
    /// Entries up to here are no longer needed on disk.
    Compact(Position),
    /// The log is too far behind: fetch blocks from another consenter until there are
    /// `height`, then say [`super::Input::Applied`].
    FetchBlocks {
        /// How many there have to be.
        height: u64,
    },
    /// The log has followed the first `height` blocks, and is durable.
    CaughtUp {
        /// How many it has followed.
        height: u64,
    },
    /// A batch was cut; for the measurements.
    Filled(std::time::Duration),
}

/// A batch that the consenters have agreed on.
#[derive(Debug)]
pub struct Committed<R> {
    /// Index of its entry in the log.
    pub index: u64,
    /// The envelopes of the block.
    pub batch: Batch,
    /// The receipts of the envelopes, in their order, if this consenter proposed the batch.
    pub receipts: Vec<R>,
}

/// Why an envelope was not ordered. Sending it again is always right: peers mark the
/// second of two equal transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No leader at the moment.
    #[error("no Raft leader")]
    NoLeader,
    /// Another consenter leads.
    #[error("this orderer is not the Raft leader, consenter {leader} is: send the envelope to that orderer")]
    NotLeader {
        /// Which one.
        leader: u64,
    },
    /// This consenter led when it took the envelope and does not any more.
    #[error("this orderer lost the Raft leadership before the envelope was committed: send the same envelope again")]
    LeadershipLost,
}
