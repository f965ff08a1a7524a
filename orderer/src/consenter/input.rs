//! What a consenter is told.

use bytes::Bytes;
use raft::eraftpb::Message;

/// What a consenter is told.
#[derive(Debug)]
pub enum Input<R> {
    /// One tick of time has passed. Late ticks are left out, never made up for.
    Tick,
    /// Nothing but time: a deadline may have come.
    Wake,
    /// A message that the consenter `sender` sent; the transport vouches for that.
    Message {
        /// Who sent it.
        sender: u64,
        /// What was sent.
        message: Box<Message>,
    },
    /// Envelopes to order.
    Envelopes(Vec<Submission<R>>),
    /// The records up to this number are durable.
    Persisted(u64),
    /// The blocks of all batches up to this index of the log are in the block store.
    Applied {
        /// The newest block's batch.
        index: u64,
        /// How many blocks there are.
        height: u64,
    },
}

/// An envelope that passed all checks, on its way into the log.
#[derive(Debug)]
pub struct Submission<R> {
    /// The canonical bytes of the envelope.
    pub envelope: Bytes,
    /// Payload and signature together: what the block cutter counts.
    pub size: usize,
    /// The sequence of the channel configuration it was checked under.
    pub config_sequence: u64,
    /// Whatever the sender wants back with the outcome.
    pub receipt: R,
}
