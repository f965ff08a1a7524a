//! The Raft algorithm with its outputs in the order in which they are safe.
//!
//! What has to happen around the algorithm, and when: its messages go out at once, entries
//! and hard state go to the disk, and the messages that promise something about them leave
//! only after [`RaftNode::persisted`]. Nothing here waits: the disk answers in its own time,
//! in the order of the numbers. Also a sole consenter commits only what its disk has.
//!
//! Time is counted in ticks, chance comes from a seed. Read next: [`crate::consenter`].

use std::collections::VecDeque;

use raft::eraftpb::{Entry, Message, MessageType};
use raft::{Config, RawNode, SnapshotStatus, StateRole};
use slog::{Discard, Logger, o};

use crate::raft_log::Recovered;
use crate::raft_message::{self, MessageRefused, OwnLog};
use crate::raft_record::{Position, Record};
use crate::raft_storage::{Blocks, RaftStorage};
use crate::raft_wire;

/// Bytes of entries in one message to a follower; a larger entry travels alone.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Messages under way to one follower.
const MESSAGES_IN_FLIGHT_MAX: usize = 256;
/// Bytes of committed entries handed out at once.
const COMMITTED_BYTES_MAX: u64 = 16 << 20;

/// What a consenter needs to know of its channel's Raft settings.
#[derive(Debug, Clone)]
pub struct RaftSettings {
    /// This consenter; ids begin with 1.
    pub id: u64,
    /// Ticks without a word from the leader after which a follower may ask for votes; the
    /// actual number is chosen between this and its double.
    pub election_ticks: usize,
    /// Ticks between the heartbeats of a leader.
    pub heartbeat_ticks: usize,
    /// Bytes of entries that may be under way before proposals are put off; at least 1 MiB.
    pub uncommitted_bytes_max: u64,
    /// Bytes of applied entries that are kept for slow followers.
    pub kept_bytes: u64,
    /// Index of the last entry that is already in the block store.
    pub applied_index: u64,
    /// How many blocks there are.
    pub height: u64,
    /// Whether the blocks may be ahead of the log: some were fetched from another consenter,
    /// and the log did not get to follow.
    pub catching_up: bool,
    /// Where the choices of election timeouts begin.
    pub seed: u64,
}

/// Why a consenter cannot start with what it finds.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The block store is ahead of the log.
    #[error(
        "the blocks go up to raft index {applied}, the Raft log only from {first} to {last}: the log was lost or is an old copy. \
         This consenter must not vote any more: remove the node's channel folder and join it anew as another consenter"
    )]
    LogLost {
        /// From the metadata of the last block.
        applied: u64,
        /// First entry of the log.
        first: u64,
        /// Last entry of the log.
        last: u64,
    },
    /// This node is not one of the channel's consenters.
    #[error("consenter {id} is not among the channel's consenters {members:?}")]
    NotAMember {
        /// This consenter.
        id: u64,
        /// Those of the log.
        members: Vec<u64>,
    },
    /// The settings contradict each other.
    #[error("the channel's Raft settings cannot be used: {0}")]
    Settings(#[from] raft::Error),
}

/// What has to be done for the algorithm.
#[derive(Debug)]
pub(crate) enum RaftOutput {
    /// Send to other consenters; any of them may be lost.
    Send(Vec<Message>),
    /// Make durable, in the order of the numbers, then call [`RaftNode::persisted`].
    Persist { number: u64, record: Record },
    /// The log was given up; it goes on after this place, up to which blocks are stored.
    Restored(Position),
    /// These entries are committed: apply them in order.
    Committed(Vec<Entry>),
}

/// One consenter's part of the algorithm.
pub(crate) struct RaftNode {
    node: RawNode<RaftStorage>,
    /// Messages of the steps whose records are not durable yet.
    held: VecDeque<(u64, Vec<Message>)>,
    seen: (u64, StateRole),
    election_ticks: usize,
    election_timeout: usize,
    kept_bytes: u64,
    chance: u64,
}

impl RaftNode {
    pub(crate) fn new(settings: &RaftSettings, mut recovered: Recovered) -> Result<Self, StartError> {
        let blocks = Blocks { index: settings.applied_index, height: settings.height };
        if !recovered.members.contains(&settings.id) {
            return Err(StartError::NotAMember { id: settings.id, members: recovered.members });
        }
        let (first, last) = (recovered.compacted.index + 1, recovered.compacted.index + recovered.entries.len() as u64);
        if (blocks.index > last && !settings.catching_up) || blocks.index + 1 < first {
            return Err(StartError::LogLost { applied: blocks.index, first, last });
        }
        // What was fetched says nothing about the entries of this log: only those that it
        // knows to be committed count, and of them only what stands in blocks.
        let applied = match settings.catching_up {
            true => recovered.hard_state.commit.min(blocks.index).clamp(first - 1, last),
            false => blocks.index,
        };
        // Whatever is in the block store was committed; the log may not have had the time to say so.
        recovered.hard_state.commit = recovered.hard_state.commit.max(applied);
        let election_ticks = settings.election_ticks;
        let config = Config {
            id: settings.id,
            election_tick: election_ticks,
            heartbeat_tick: settings.heartbeat_ticks,
            applied,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: MESSAGES_IN_FLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            min_election_tick: election_ticks,
            max_election_tick: 2 * election_ticks,
            batch_append: true,
            max_uncommitted_size: settings.uncommitted_bytes_max.max(MESSAGE_BYTES_MAX),
            max_committed_size_per_ready: COMMITTED_BYTES_MAX,
            ..Config::default()
        };
        let node = RawNode::new(&config, RaftStorage::new(recovered, blocks), &Logger::root(Discard, o!()))?;
        let seen = (node.raft.term, node.raft.state);
        let (held, kept_bytes, chance) = (VecDeque::new(), settings.kept_bytes, settings.seed);
        let mut node = Self { node, held, seen, election_ticks, election_timeout: election_ticks, kept_bytes, chance };
        node.choose_election_timeout();
        node.after_input();
        Ok(node)
    }

    /// Asks for votes at once instead of after the election timeout.
    pub(crate) fn campaign(&mut self) {
        // Refused only while a membership change is pending, and there are none.
        let _refused = self.node.campaign();
        self.after_input();
    }

    pub(crate) fn tick(&mut self) {
        self.node.tick();
        self.after_input();
    }

    /// Whether a message may be stepped.
    pub(crate) fn check(&self, sender: u64, message: &Message) -> Result<(), MessageRefused> {
        raft_message::check(message, sender, self)
    }

    pub(crate) fn step(&mut self, sender: u64, mut message: Message) -> Result<(), MessageRefused> {
        self.check(sender, &message)?;
        if message.msg_type == MessageType::MsgSnapshot {
            let (place, height) = raft_wire::snapshot_place(message.get_snapshot());
            message.set_snapshot(raft_wire::snapshot(place, height, self.members()));
        }
        // What the algorithm then says of a message (an old term, an unknown peer) changes nothing.
        let _ignored = self.node.step(message);
        self.after_input();
        Ok(())
    }

    /// Adds an entry to the log; its place, or `None` when it has to wait or this is not the leader.
    pub(crate) fn propose(&mut self, data: Vec<u8>) -> Option<Position> {
        if !self.is_leader() {
            return None;
        }
        self.node.propose(Vec::new(), data).ok()?;
        Some(Position { index: self.last_index(), term: self.node.raft.term })
    }

    /// The records up to this number are durable. Returns the messages that waited for it.
    pub(crate) fn persisted(&mut self, number: u64) -> Vec<Message> {
        self.node.on_persist_ready(number);
        let count = self.held.iter().take_while(|(held, _)| *held <= number).count();
        self.held.drain(..count).flat_map(|(_, messages)| messages).collect()
    }

    /// The entries up to this index are in the block store.
    pub(crate) fn applied(&mut self, index: u64) {
        // While the log is being given up for fetched blocks, its end is not durable yet.
        self.node.advance_apply_to(index.min(self.node.raft.raft_log.persisted));
    }

    /// What stands in the block store now.
    pub(crate) fn stored(&mut self, blocks: Blocks) {
        self.node.mut_store().set_blocks(blocks);
    }

    pub(crate) fn blocks(&self) -> Blocks {
        self.node.store().blocks()
    }

    /// Index of the last entry that is both durable here and known to be committed: beyond
    /// it, the log may hold entries that were never agreed on.
    pub(crate) fn agreed_index(&self) -> u64 {
        let log = &self.node.raft.raft_log;
        log.persisted.min(log.committed)
    }

    /// Index of the last entry that was handed out as committed.
    pub(crate) fn applied_index(&self) -> u64 {
        self.node.raft.raft_log.applied
    }

    /// Gives up entries in memory when enough of them are applied; the disk may follow.
    pub(crate) fn compact(&mut self) -> Option<Position> {
        // The place of the newest block stays known, since it is what a snapshot says.
        let applied = self.node.raft.raft_log.applied.min(self.blocks().index);
        let position = self.node.store().compactable(applied, self.kept_bytes)?;
        self.node.mut_store().compact(position);
        Some(position)
    }

    /// Everything that the inputs so far call for.
    pub(crate) fn outputs(&mut self) -> Vec<RaftOutput> {
        let mut outputs = Vec::new();
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            let messages = ready.take_messages();
            let snapshots = messages.iter().filter(|message| message.msg_type == MessageType::MsgSnapshot);
            let told: Vec<u64> = snapshots.map(|message| message.to).collect();
            push_unless_empty(&mut outputs, messages, RaftOutput::Send);
            let committed = ready.take_committed_entries();
            let mut record =
                Record { hard_state: ready.hs().cloned(), entries: ready.take_entries(), ..Record::default() };
            let (restored, _) = raft_wire::snapshot_place(ready.snapshot());
            let store = self.node.mut_store();
            if restored.index > 0 {
                store.restore(restored);
                (record.compacted, record.emptied) = (Some(restored), true);
                outputs.push(RaftOutput::Restored(restored));
            }
            store.append(&record.entries);
            if let Some(state) = &record.hard_state {
                store.set_hard_state(state.clone());
            }
            let (number, after) = (ready.number(), ready.take_persisted_messages());
            self.node.advance_append_async(ready);
            match record.is_empty() && self.held.is_empty() {
                true => {
                    self.node.on_persist_ready(number);
                    push_unless_empty(&mut outputs, after, RaftOutput::Send);
                }
                false => {
                    self.held.push_back((number, after));
                    outputs.push(RaftOutput::Persist { number, record });
                }
            }
            push_unless_empty(&mut outputs, committed, RaftOutput::Committed);
            // Otherwise the algorithm would wait for its arrival, which nobody can promise:
            // after the next heartbeat it tries again.
            told.into_iter().for_each(|id| self.node.report_snapshot(id, SnapshotStatus::Finish));
        }
        outputs
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    pub(crate) fn members(&self) -> &[u64] {
        self.node.store().members()
    }

    /// After each input: the algorithm may have taken a timeout from its own source of
    /// chance; the one chosen from the seed takes its place, another one for each term and role.
    fn after_input(&mut self) {
        let now = (self.node.raft.term, self.node.raft.state);
        if now != self.seen {
            self.seen = now;
            self.choose_election_timeout();
        }
        self.node.raft.set_randomized_election_timeout(self.election_timeout);
    }

    /// Each consenter has a part of the range for itself, another one in each term, with room
    /// between the parts: two that ask for votes at once may each get half of them, and then
    /// nobody leads for another timeout.
    fn choose_election_timeout(&mut self) {
        let members = self.members();
        let own = members.iter().position(|member| *member == self.node.raft.id).unwrap_or_default();
        let count = members.len().max(1);
        let part = (own + self.node.raft.term as usize) % count;
        let width = (self.election_ticks / count).max(1);
        let choice = next_random(&mut self.chance) as usize % width.saturating_sub(1).max(1);
        self.election_timeout = self.election_ticks + part * width + choice;
    }
}

impl OwnLog for RaftNode {
    fn id(&self) -> u64 {
        self.node.raft.id
    }

    fn is_member(&self, id: u64) -> bool {
        self.members().contains(&id)
    }

    fn leader_id(&self) -> u64 {
        self.node.raft.leader_id
    }

    fn last_index(&self) -> u64 {
        self.node.raft.raft_log.last_index()
    }

    fn committed_index(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    fn term_of(&self, index: u64) -> Option<u64> {
        self.node.raft.raft_log.term(index).ok().filter(|term| *term > 0)
    }
}

fn push_unless_empty<T>(outputs: &mut Vec<RaftOutput>, goods: Vec<T>, output: impl FnOnce(Vec<T>) -> RaftOutput) {
    if !goods.is_empty() {
        outputs.push(output(goods));
    }
}

/// SplitMix64: enough for timeouts.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
