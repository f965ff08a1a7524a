//! Which messages of another consenter may reach the Raft algorithm.
//!
//! The algorithm trusts its peers: some messages that no correct consenter sends make it
//! panic, or let it believe in entries that are not there. Everything from outside passes
//! [`check`] first. What is let through is at worst a lie that Raft's own rules bear.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use ripstop_proto::ripstop::v1::Batch;

use crate::raft_record::Position;
use crate::raft_wire;

/// Terms beyond this are refused: a correct cluster never gets there, and one more than the
/// greatest number would be zero.
const TERM_MAX: u64 = u64::MAX / 2;

/// What of this consenter's own log decides over a message.
pub(crate) trait OwnLog {
    /// This consenter's id.
    fn id(&self) -> u64;
    /// Whether the id is that of a voting consenter.
    fn is_member(&self, id: u64) -> bool;
    /// The leader, or 0.
    fn leader_id(&self) -> u64;
    /// Index of the last entry.
    fn last_index(&self) -> u64;
    /// Index up to which entries are committed.
    fn committed_index(&self) -> u64;
    /// Term of an entry, if it is known.
    fn term_of(&self, index: u64) -> Option<u64>;
}

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageRefused {
    /// The sender is not who the message says, or not a consenter of the channel.
    #[error(
        "it says it comes from consenter {stated}, the sender is {sender}, which must be another consenter of the channel"
    )]
    Sender {
        /// The `from` field.
        stated: u64,
        /// Whom the transport has authenticated.
        sender: u64,
    },
    /// The message is for somebody else.
    #[error("it is for consenter {0}")]
    Recipient(u64),
    /// Kinds that a consenter never sends to another here.
    #[error("messages of kind {0:?} are not accepted from other consenters")]
    Kind(MessageType),
    /// No term, or one that cannot be.
    #[error("term {0} is impossible")]
    Term(u64),
    /// An index that lies beyond the log it speaks of.
    #[error("index {index} lies beyond the last entry {last}")]
    Index {
        /// The index in the message.
        index: u64,
        /// The last one there is.
        last: u64,
    },
    /// Entries that do not follow each other, or contradict what is committed.
    #[error("entry {0} does not fit: entries follow each other and never change what is committed")]
    Entry(u64),
    /// A place that cannot be, or more blocks than entries.
    #[error("no log has {height} blocks at index {index}")]
    Snapshot {
        /// The place.
        index: u64,
        /// The number of blocks there.
        height: u64,
    },
    /// An entry that is not a batch of envelopes.
    #[error("entry {0} is not a batch of envelopes")]
    Content(u64),
}

/// Whether `message`, which the authenticated consenter `sender` sent, may be stepped.
///
/// # Errors
/// Says what no correct consenter would send.
pub(crate) fn check(message: &Message, sender: u64, own: &impl OwnLog) -> Result<(), MessageRefused> {
    let stated = message.from;
    if stated != sender || sender == own.id() || !own.is_member(sender) {
        return Err(MessageRefused::Sender { stated, sender });
    }
    if message.to != own.id() {
        return Err(MessageRefused::Recipient(message.to));
    }
    if message.term == 0 || message.term > TERM_MAX {
        return Err(MessageRefused::Term(message.term));
    }
    check_kind(message, own)
}

fn check_kind(message: &Message, own: &impl OwnLog) -> Result<(), MessageRefused> {
    use MessageType::*;
    match message.msg_type {
        MsgAppend => check_entries(message, own),
        MsgHeartbeat => within(message.commit, own.last_index()),
        MsgSnapshot => check_snapshot(message, own),
        // Answers speak of our own log.
        MsgAppendResponse if !message.reject => within(message.index, own.last_index()),
        MsgAppendResponse | MsgHeartbeatResponse => Ok(()),
        MsgRequestVote | MsgRequestVoteResponse | MsgRequestPreVote | MsgRequestPreVoteResponse => Ok(()),
        MsgTimeoutNow if own.leader_id() == message.from => Ok(()),
        kind => Err(MessageRefused::Kind(kind)),
    }
}

fn within(index: u64, last: u64) -> Result<(), MessageRefused> {
    match index <= last {
        true => Ok(()),
        false => Err(MessageRefused::Index { index, last }),
    }
}

fn check_entries(message: &Message, own: &impl OwnLog) -> Result<(), MessageRefused> {
    let mut before = (message.index, message.log_term);
    if before.0 > u64::MAX / 2 {
        return Err(MessageRefused::Index { index: before.0, last: own.last_index() });
    }
    for entry in message.entries.iter() {
        let follows = entry.index == before.0 + 1 && entry.term >= before.1 && entry.term <= message.term;
        let contradicts =
            entry.index <= own.committed_index() && own.term_of(entry.index).is_some_and(|term| term != entry.term);
        if !follows || contradicts {
            return Err(MessageRefused::Entry(entry.index));
        }
        batch(entry).map_err(|_| MessageRefused::Content(entry.index))?;
        before = (entry.index, entry.term);
    }
    Ok(())
}

fn check_snapshot(message: &Message, own: &impl OwnLog) -> Result<(), MessageRefused> {
    let (Position { index, term }, height) = raft_wire::snapshot_place(message.get_snapshot());
    if term == 0 || term > message.term {
        return Err(MessageRefused::Term(term));
    }
    if index == 0 || index > u64::MAX / 2 || height == 0 || height > index + 1 {
        return Err(MessageRefused::Snapshot { index, height });
    }
    match index <= own.committed_index() && own.term_of(index).is_some_and(|own_term| own_term != term) {
        true => Err(MessageRefused::Entry(index)),
        false => Ok(()),
    }
}

/// An entry that is not what consenters put into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the entry is not a batch of envelopes")]
pub struct NotABatch;

/// The batch that an entry holds; `None` for the empty entry with which a term begins.
pub(crate) fn batch(entry: &Entry) -> Result<Option<Batch>, NotABatch> {
    if entry.entry_type != EntryType::EntryNormal {
        return Err(NotABatch);
    }
    if entry.data.is_empty() {
        return Ok(None);
    }
    let batch = Batch::decode(entry.data.clone()).map_err(|_| NotABatch)?;
    match batch.envelopes.is_empty() || batch.envelopes.iter().any(Bytes::is_empty) {
        true => Err(NotABatch),
        false => Ok(Some(batch)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft_record::tests::entry;

    /// Consenter 1 of 1, 2 and 3; five entries of term 2, three of them committed.
    struct Own;

    impl OwnLog for Own {
        fn id(&self) -> u64 {
            1
        }
        fn is_member(&self, id: u64) -> bool {
            (1..=3).contains(&id)
        }
        fn leader_id(&self) -> u64 {
            2
        }
        fn last_index(&self) -> u64 {
            5
        }
        fn committed_index(&self) -> u64 {
            3
        }
        fn term_of(&self, index: u64) -> Option<u64> {
            (index <= 5).then_some(2)
        }
    }

    fn message(kind: MessageType) -> Message {
        let mut message = Message::default();
        message.set_msg_type(kind);
        (message.from, message.to, message.term) = (2, 1, 3);
        message
    }

    fn append(index: u64, log_term: u64, entries: Vec<Entry>) -> Message {
        let mut message = message(MessageType::MsgAppend);
        (message.index, message.log_term) = (index, log_term);
        message.entries = entries.into();
        message
    }

    fn batch_entry(term: u64, index: u64) -> Entry {
        let batch = Batch { config_sequence: 0, envelopes: vec![Bytes::from_static(b"envelope")] };
        entry(term, index, &batch.encode_to_vec())
    }

    #[test]
    fn what_correct_consenters_send_passes() {
        use MessageType::*;
        let kinds = [
            MsgAppendResponse,
            MsgHeartbeat,
            MsgHeartbeatResponse,
            MsgRequestVote,
            MsgRequestVoteResponse,
            MsgRequestPreVote,
            MsgRequestPreVoteResponse,
            MsgTimeoutNow,
        ];
        for kind in kinds {
            assert_eq!(check(&message(kind), 2, &Own), Ok(()), "{kind:?}");
        }
        let appends = [
            append(5, 2, vec![batch_entry(3, 6), batch_entry(3, 7)]),
            append(3, 2, vec![batch_entry(3, 4)]),
            append(1, 2, vec![batch_entry(2, 2), batch_entry(2, 3), batch_entry(3, 4)]),
            append(9, 3, vec![batch_entry(3, 10)]),
            append(5, 2, vec![entry(3, 6, b"")]),
            append(5, 2, vec![]),
        ];
        for append in appends {
            assert_eq!(check(&append, 2, &Own), Ok(()), "{append:?}");
        }
    }

    #[test]
    fn kinds_that_would_reach_inside_are_refused() {
        use MessageType::*;
        let kinds = [
            MsgHup,
            MsgBeat,
            MsgPropose,
            MsgUnreachable,
            MsgSnapStatus,
            MsgCheckQuorum,
            MsgTransferLeader,
            MsgReadIndex,
            MsgReadIndexResp,
        ];
        for kind in kinds {
            assert_eq!(check(&message(kind), 2, &Own), Err(MessageRefused::Kind(kind)));
        }
        let mut not_the_leader = message(MsgTimeoutNow);
        not_the_leader.from = 3;
        assert_eq!(check(&not_the_leader, 3, &Own), Err(MessageRefused::Kind(MsgTimeoutNow)));
    }

    #[test]
    fn false_senders_recipients_and_terms_are_refused() {
        let beat = message(MessageType::MsgHeartbeat);
        assert_eq!(check(&beat, 3, &Own), Err(MessageRefused::Sender { stated: 2, sender: 3 }));
        let with = |change: fn(&mut Message)| {
            let mut message = message(MessageType::MsgHeartbeat);
            change(&mut message);
            check(&message, message.from, &Own)
        };
        assert_eq!(with(|message| message.from = 4), Err(MessageRefused::Sender { stated: 4, sender: 4 }));
        assert_eq!(with(|message| message.from = 1), Err(MessageRefused::Sender { stated: 1, sender: 1 }));
        assert_eq!(with(|message| message.to = 3), Err(MessageRefused::Recipient(3)));
        assert_eq!(with(|message| message.term = 0), Err(MessageRefused::Term(0)));
        assert_eq!(with(|message| message.term = u64::MAX), Err(MessageRefused::Term(u64::MAX)));
        assert_eq!(with(|message| message.commit = 6), Err(MessageRefused::Index { index: 6, last: 5 }));
    }

    #[test]
    fn snapshots_that_cannot_be_are_refused() {
        let snapshot = |index, term, height| {
            let mut message = message(MessageType::MsgSnapshot);
            message.set_snapshot(raft_wire::snapshot(Position { index, term }, height, &[]));
            check(&message, 2, &Own)
        };
        assert_eq!(snapshot(9, 3, 10), Ok(()));
        assert_eq!(snapshot(3, 2, 1), Ok(()));
        assert_eq!(snapshot(9, 0, 4), Err(MessageRefused::Term(0)));
        assert_eq!(snapshot(9, 4, 4), Err(MessageRefused::Term(4)), "later than the message");
        for (index, height) in [(0, 1), (9, 0), (9, 11), (u64::MAX, 5)] {
            assert_eq!(snapshot(index, 3, height), Err(MessageRefused::Snapshot { index, height }));
        }
        assert_eq!(snapshot(3, 3, 2), Err(MessageRefused::Entry(3)), "committed otherwise");
        assert_eq!(check(&message(MessageType::MsgSnapshot), 2, &Own), Err(MessageRefused::Term(0)));
    }

    #[test]
    fn entries_that_cannot_be_are_refused() {
        let refused = |append: Message| check(&append, 2, &Own);
        assert_eq!(refused(append(5, 2, vec![batch_entry(3, 7)])), Err(MessageRefused::Entry(7)), "gap");
        assert_eq!(refused(append(5, 2, vec![batch_entry(1, 6)])), Err(MessageRefused::Entry(6)), "term falls");
        assert_eq!(
            refused(append(5, 2, vec![batch_entry(4, 6)])),
            Err(MessageRefused::Entry(6)),
            "later than the message"
        );
        assert_eq!(
            refused(append(2, 2, vec![batch_entry(3, 3)])),
            Err(MessageRefused::Entry(3)),
            "committed otherwise"
        );
        assert_eq!(refused(append(5, 2, vec![entry(3, 6, b"\xff")])), Err(MessageRefused::Content(6)));
        let no_envelopes = Batch { config_sequence: 7, envelopes: vec![] }.encode_to_vec();
        assert_eq!(refused(append(5, 2, vec![entry(3, 6, &no_envelopes)])), Err(MessageRefused::Content(6)));
        let mut change = entry(3, 6, b"");
        change.set_entry_type(EntryType::EntryConfChangeV2);
        assert_eq!(refused(append(5, 2, vec![change])), Err(MessageRefused::Content(6)));
        let mut answer = message(MessageType::MsgAppendResponse);
        answer.index = 6;
        assert_eq!(refused(answer), Err(MessageRefused::Index { index: 6, last: 5 }));
    }
}
