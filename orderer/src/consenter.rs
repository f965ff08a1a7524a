//! The consenter: one orderer's part in agreeing on the order of a channel's envelopes.
//!
//! A core without I/O, clock or threads. Inputs are ticks, messages of other consenters,
//! envelopes, and what the disk has finished; outputs are messages to send, records to make
//! durable, and batches to apply. It works the same with one consenter and with many.
//!
//! ```text
//! envelopes ─▶ block cutter ─▶ batches ─▶ raft log ─▶ committed ─▶ Apply, in the order of the log
//! ```
//! Batches are cut before consensus; blocks are numbered when their batch is applied, so a
//! change of leader renumbers nothing. A receipt `R` travels with each envelope and comes
//! back with its batch, or with the reason why the envelope was dropped.
//!
//! Knows nothing of signatures, blocks or channels. Who runs it: `chain.rs`.

mod input;
mod output;

use std::collections::VecDeque;
use std::time::Instant;

use prost::Message as _;
use raft::eraftpb::{Entry, Message, MessageType};
use ripstop_proto::ripstop::v1::Batch;

use crate::block_cutter::{BatchLimits, BlockCutter, Cut, Cutting};
use crate::raft_log::Recovered;
use crate::raft_message::{self, NotABatch, OwnLog};
use crate::raft_node::{RaftNode, RaftOutput};
pub use crate::raft_node::{RaftSettings, StartError};
use crate::raft_record::{Position, entry_bytes};
use crate::raft_storage::Blocks;
use crate::raft_wire;
pub use input::{Input, Submission};
pub use output::{Committed, Output, Refusal};

/// A message between consenters.
pub type ConsenterMessage = Message;

/// How a consenter orders.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The algorithm's part.
    pub raft: RaftSettings,
    /// When a batch is full.
    pub limits: BatchLimits,
    /// Whether an idle log shortens the wait.
    pub cutting: Cutting,
    /// Proposed and unapplied batches beyond which no more are proposed; at least 1.
    pub in_flight_max: usize,
}

/// Why a consenter cannot go on. The node must stop.
#[derive(Debug, thiserror::Error)]
pub enum ConsenterError {
    /// A committed entry is not what consenters propose.
    #[error("committed entry {index} cannot be applied: {source}")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        source: NotABatch,
    },
}

/// One consenter of one channel.
pub struct Consenter<R> {
    raft: RaftNode,
    cutter: BlockCutter<Submission<R>>,
    config_sequence: u64,
    /// Batches that wait for room in the log.
    cut: VecDeque<Vec<Submission<R>>>,
    /// Batches in the log that are not committed yet.
    proposed: VecDeque<Proposed<R>>,
    /// Indexes of the batches that are handed out and not applied yet.
    applying: VecDeque<u64>,
    /// Index of the last entry that came out as committed.
    committed_index: u64,
    in_flight_max: usize,
    leader: (u64, bool),
    /// Where the log goes on as soon as the blocks up to there are stored.
    snapshot: Option<(u64, Message)>,
    /// Number of the record with which the log begins to follow blocks that were fetched.
    restoring: Option<u64>,
    bytes_since_compaction: u64,
    kept_bytes: u64,
    outputs: Vec<Output<R>>,
}

struct Proposed<R> {
    place: Position,
    receipts: Vec<R>,
}

impl<R> Consenter<R> {
    /// A consenter that goes on where the log and the block store stopped. A sole consenter
    /// leads at once.
    ///
    /// # Errors
    /// When the log and the blocks contradict each other or the settings are impossible.
    pub fn new(settings: Settings, recovered: Recovered) -> Result<Self, StartError> {
        let Settings { raft, limits, cutting, in_flight_max } = settings;
        let catching_up = raft.catching_up;
        let bytes_since_compaction = recovered.entries.iter().map(|entry| entry_bytes(entry) as u64).sum();
        let mut consenter = Self {
            cutter: BlockCutter::new(limits, cutting),
            config_sequence: 0,
            cut: VecDeque::new(),
            proposed: VecDeque::new(),
            applying: VecDeque::new(),
            committed_index: 0,
            in_flight_max,
            leader: (0, false),
            snapshot: None,
            restoring: catching_up.then_some(0),
            bytes_since_compaction,
            kept_bytes: raft.kept_bytes,
            outputs: Vec::new(),
            raft: RaftNode::new(&raft, recovered)?,
        };
        consenter.committed_index = consenter.raft.applied_index();
        if consenter.raft.members().len() == 1 {
            consenter.raft.campaign();
        }
        Ok(consenter)
    }

    /// Takes one input; what is wanted then, in order.
    ///
    /// # Errors
    /// When the log holds what no consenter can have put there.
    pub fn step(&mut self, now: Instant, input: Input<R>) -> Result<Vec<Output<R>>, ConsenterError> {
        match input {
            Input::Tick => self.raft.tick(),
            Input::Wake => {}
            Input::Message { sender, message } => self.take_message(sender, *message),
            Input::Envelopes(submissions) => self.take_envelopes(submissions, now),
            Input::Persisted(number) => {
                let messages = self.raft.persisted(number);
                self.outputs.push(Output::Send(messages));
                let (blocks, agreed) = (self.raft.blocks(), self.raft.agreed_index());
                let is_followed = |restoring: &mut u64| *restoring <= number && blocks.index <= agreed;
                if self.restoring.take_if(is_followed).is_some() {
                    self.tell_applied();
                    self.outputs.push(Output::CaughtUp { height: blocks.height });
                }
            }
            Input::Applied { index, height } => self.note_applied(index, height),
        }
        self.settle(now)?;
        Ok(std::mem::take(&mut self.outputs))
    }

    /// When [`Input::Wake`] is due, if nothing else comes before.
    pub fn deadline(&self) -> Option<Instant> {
        self.cutter.deadline(self.is_idle()).filter(|_| self.cut.is_empty())
    }

    /// The ids of the channel's consenters.
    pub fn members(&self) -> &[u64] {
        self.raft.members()
    }

    fn is_idle(&self) -> bool {
        self.cut.is_empty() && self.in_flight() == 0
    }

    fn in_flight(&self) -> usize {
        self.proposed.len() + self.applying.len()
    }

    fn take_message(&mut self, sender: u64, message: Message) {
        if message.msg_type == MessageType::MsgSnapshot {
            return self.take_snapshot(sender, message);
        }
        self.step_message(sender, message);
    }

    /// The algorithm sees a snapshot once the blocks are there, so that nothing is ever
    /// promised that could not be applied. The leader repeats it meanwhile.
    fn take_snapshot(&mut self, sender: u64, message: Message) {
        let (place, height) = raft_wire::snapshot_place(message.get_snapshot());
        if place.index <= self.raft.blocks().index {
            return self.step_message(sender, message);
        }
        if let Err(refused) = self.raft.check(sender, &message) {
            return tracing::warn!(sender, %refused, "a message of another consenter was refused");
        }
        self.snapshot = Some((sender, message));
        self.outputs.push(Output::FetchBlocks { height });
    }

    fn step_message(&mut self, sender: u64, message: Message) {
        if let Err(refused) = self.raft.step(sender, message) {
            tracing::warn!(sender, %refused, "a message of another consenter was refused");
        }
    }

    fn take_envelopes(&mut self, submissions: Vec<Submission<R>>, now: Instant) {
        if let Some(refusal) = self.refusal() {
            let receipts = submissions.into_iter().map(|submission| submission.receipt).collect();
            return self.outputs.push(Output::Refuse { receipts, refusal });
        }
        for submission in submissions {
            // A batch states one sequence: what was checked under another one is not mixed in.
            if submission.config_sequence != self.config_sequence {
                let before = self.cutter.cut(now);
                self.take_cuts(before);
                self.config_sequence = submission.config_sequence;
            }
            let size = submission.size;
            let cuts = self.cutter.push(submission, size, now);
            self.take_cuts(cuts);
        }
    }

    fn refusal(&self) -> Option<Refusal> {
        match self.raft.leader_id() {
            _ if self.raft.is_leader() => None,
            0 => Some(Refusal::NoLeader),
            leader => Some(Refusal::NotLeader { leader }),
        }
    }

    fn take_cuts(&mut self, cuts: impl IntoIterator<Item = Cut<Submission<R>>>) {
        for Cut { messages, fill_duration } in cuts {
            self.outputs.push(Output::Filled(fill_duration));
            self.cut.push_back(messages);
        }
    }

    fn note_applied(&mut self, index: u64, height: u64) {
        self.raft.stored(Blocks { index, height });
        let is_there =
            |(_, message): &mut (u64, Message)| raft_wire::snapshot_place(message.get_snapshot()).0.index <= index;
        if let Some((sender, message)) = self.snapshot.take_if(is_there) {
            self.step_message(sender, message);
        }
        let applied = self.applying.iter().take_while(|applying| **applying <= index).count();
        self.applying.drain(..applied);
        self.tell_applied();
    }

    /// Entries without a batch count as applied once all before them are.
    fn tell_applied(&mut self) {
        let applied = self.applying.front().map_or(self.committed_index, |next| next - 1);
        self.raft.applied(applied);
        if self.bytes_since_compaction > 2 * self.kept_bytes
            && let Some(position) = self.raft.compact()
        {
            self.bytes_since_compaction = self.kept_bytes;
            self.outputs.push(Output::Compact(position));
        }
    }

    /// Does whatever the state now calls for, until nothing is left to do.
    fn settle(&mut self, now: Instant) -> Result<(), ConsenterError> {
        loop {
            self.note_leader(now);
            let due = self.cutter.cut_if_due(now, self.is_idle());
            self.take_cuts(due);
            self.propose();
            let wanted = self.raft.outputs();
            if wanted.is_empty() {
                return Ok(());
            }
            for output in wanted {
                match output {
                    RaftOutput::Send(messages) => self.outputs.push(Output::Send(messages)),
                    RaftOutput::Persist { number, record } => {
                        if record.emptied {
                            self.restoring = Some(number);
                        }
                        self.outputs.push(Output::Persist { number, record });
                    }
                    RaftOutput::Restored(place) => {
                        self.committed_index = place.index;
                        self.bytes_since_compaction = 0;
                    }
                    RaftOutput::Committed(entries) => self.take_committed(entries)?,
                }
            }
        }
    }

    fn propose(&mut self) {
        while self.in_flight() < self.in_flight_max
            && let Some(submissions) = self.cut.pop_front()
        {
            let config_sequence = submissions.first().map_or(0, |submission| submission.config_sequence);
            let envelopes = submissions.iter().map(|submission| submission.envelope.clone()).collect();
            let data = Batch { config_sequence, envelopes }.encode_to_vec();
            let Some(place) = self.raft.propose(data) else {
                return self.cut.push_front(submissions);
            };
            let receipts = submissions.into_iter().map(|submission| submission.receipt).collect();
            self.proposed.push_back(Proposed { place, receipts });
        }
    }

    fn take_committed(&mut self, entries: Vec<Entry>) -> Result<(), ConsenterError> {
        for entry in entries {
            let index = entry.index;
            self.bytes_since_compaction += entry_bytes(&entry) as u64;
            self.committed_index = index;
            let receipts = self.take_receipts(&entry);
            let batch = raft_message::batch(&entry).map_err(|source| ConsenterError::Entry { index, source })?;
            if let Some(batch) = batch {
                self.applying.push_back(index);
                self.outputs.push(Output::Apply(Committed { index, batch, receipts }));
            }
        }
        self.tell_applied();
        Ok(())
    }

    /// The receipts of the batch in an entry, if it is the one proposed here for this place.
    fn take_receipts(&mut self, entry: &Entry) -> Vec<R> {
        let place = Position { index: entry.index, term: entry.term };
        let mut receipts = Vec::new();
        while let Some(front) = self.proposed.front()
            && front.place.index <= place.index
        {
            let Some(proposed) = self.proposed.pop_front() else { break };
            match proposed.place == place {
                true => receipts = proposed.receipts,
                false => self.refuse(proposed.receipts, Refusal::LeadershipLost),
            }
        }
        receipts
    }

    fn refuse(&mut self, receipts: Vec<R>, refusal: Refusal) {
        if !receipts.is_empty() {
            self.outputs.push(Output::Refuse { receipts, refusal });
        }
    }

    fn note_leader(&mut self, now: Instant) {
        let leader = (self.raft.leader_id(), self.raft.is_leader());
        if leader == self.leader {
            return;
        }
        let led = std::mem::replace(&mut self.leader, leader).1;
        self.outputs.push(Output::Leader { leader: Some(leader.0).filter(|id| *id > 0), is_self: leader.1 });
        if led && !leader.1 {
            self.drop_own(now);
        }
    }

    /// What a former leader has taken and cannot vouch for any more. Batches that are in the
    /// log may still be committed; whoever sent them sends them again, which does no harm.
    fn drop_own(&mut self, now: Instant) {
        let pending = self.cutter.cut(now).map(|cut| cut.messages);
        let unproposed = pending.into_iter().chain(self.cut.drain(..)).flatten().map(|submission| submission.receipt);
        let receipts = unproposed.chain(self.proposed.drain(..).flat_map(|proposed| proposed.receipts)).collect();
        self.refuse(receipts, Refusal::LeadershipLost);
    }
}
