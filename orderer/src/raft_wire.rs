//! Raft messages as they travel between consenters.
//!
//! What comes from outside is decoded as our own messages and then converted: the decoder of
//! the `raft` crate must never see bytes of another node. What is decoded may still be a lie;
//! [`crate::raft_message`] looks at that.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::{ConfState, Entry, Message, MessageType, Snapshot};
use ripstop_proto::ripstop::v1::{RaftEntry, RaftMessage, RaftMessageKind as Kind, RaftSnapshot};

use crate::raft_record::Position;

/// Why bytes are no Raft message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAMessage {
    /// They do not decode.
    #[error("it does not decode: {0}")]
    Undecodable(#[from] prost::DecodeError),
    /// A kind that consenters do not send to each other.
    #[error("messages of kind {0} are not known")]
    Kind(i32),
}

/// The kinds that travel.
const KINDS: [(MessageType, Kind); 10] = [
    (MessageType::MsgAppend, Kind::Append),
    (MessageType::MsgAppendResponse, Kind::AppendResponse),
    (MessageType::MsgHeartbeat, Kind::Heartbeat),
    (MessageType::MsgHeartbeatResponse, Kind::HeartbeatResponse),
    (MessageType::MsgRequestVote, Kind::RequestVote),
    (MessageType::MsgRequestVoteResponse, Kind::RequestVoteResponse),
    (MessageType::MsgRequestPreVote, Kind::RequestPreVote),
    (MessageType::MsgRequestPreVoteResponse, Kind::RequestPreVoteResponse),
    (MessageType::MsgSnapshot, Kind::Snapshot),
    (MessageType::MsgTimeoutNow, Kind::TimeoutNow),
];

/// The bytes of a message; none for a kind that stays within a node.
pub(crate) fn encode(message: Message) -> Option<Bytes> {
    let (_, kind) = KINDS.iter().find(|(own, _)| *own == message.msg_type)?;
    let snapshot = message.snapshot.as_ref().map(|snapshot| {
        let (Position { index, term }, height) = snapshot_place(snapshot);
        RaftSnapshot { index, term, height }
    });
    let entries = message.entries.iter().map(|entry| {
        let Entry { term, index, data, .. } = entry;
        RaftEntry { term: *term, index: *index, data: data.clone() }
    });
    let wire = RaftMessage {
        kind: (*kind).into(),
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: entries.collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context.clone(),
        snapshot,
    };
    Some(wire.encode_to_vec().into())
}

/// Reads a message that another consenter sent.
///
/// # Errors
/// When it is none.
pub(crate) fn decode(bytes: Bytes) -> Result<Message, NotAMessage> {
    let wire = RaftMessage::decode(bytes)?;
    let kind = KINDS.iter().find(|(_, kind)| *kind as i32 == wire.kind).ok_or(NotAMessage::Kind(wire.kind))?.0;
    let entries: Vec<Entry> = wire
        .entries
        .into_iter()
        .map(|RaftEntry { term, index, data }| Entry { term, index, data, ..Entry::default() })
        .collect();
    let mut message = Message {
        to: wire.to,
        from: wire.from,
        term: wire.term,
        log_term: wire.log_term,
        index: wire.index,
        entries: entries.into(),
        commit: wire.commit,
        commit_term: wire.commit_term,
        reject: wire.reject,
        reject_hint: wire.reject_hint,
        context: wire.context,
        ..Message::default()
    };
    message.set_msg_type(kind);
    if let Some(RaftSnapshot { index, term, height }) = wire.snapshot {
        message.set_snapshot(snapshot(Position { index, term }, height, &[]));
    }
    Ok(message)
}

/// A snapshot: a place in the log, and how many blocks there are up to it. The blocks
/// themselves are fetched by Deliver.
pub(crate) fn snapshot(place: Position, height: u64, members: &[u64]) -> Snapshot {
    let mut snapshot = Snapshot { data: height.to_le_bytes().to_vec().into(), ..Snapshot::default() };
    let metadata = snapshot.mut_metadata();
    (metadata.index, metadata.term) = (place.index, place.term);
    metadata.set_conf_state(ConfState::from((members.to_vec(), Vec::new())));
    snapshot
}

/// What [`snapshot`] has put together.
pub(crate) fn snapshot_place(snapshot: &Snapshot) -> (Position, u64) {
    let metadata = snapshot.get_metadata();
    let height = snapshot.data.as_ref().try_into().map_or(0, u64::from_le_bytes);
    (Position { index: metadata.index, term: metadata.term }, height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft_record::tests::entry;

    #[test]
    fn every_kind_comes_back_as_it_was_sent() {
        for (kind, _) in KINDS {
            let mut message = Message {
                to: 1,
                from: 2,
                term: 3,
                log_term: 4,
                index: 5,
                entries: vec![entry(3, 6, b"six"), entry(3, 7, b"")].into(),
                commit: 8,
                commit_term: 9,
                reject: true,
                reject_hint: 10,
                context: Bytes::from_static(b"context"),
                ..Message::default()
            };
            message.set_msg_type(kind);
            if kind == MessageType::MsgSnapshot {
                message.set_snapshot(snapshot(Position { index: 11, term: 12 }, 13, &[]));
            }
            assert_eq!(decode(encode(message.clone()).unwrap()), Ok(message));
        }
    }

    #[test]
    fn kinds_that_stay_within_a_node_do_not_travel() {
        for kind in [MessageType::MsgHup, MessageType::MsgPropose, MessageType::MsgReadIndex, MessageType::MsgBeat] {
            let mut message = Message::default();
            message.set_msg_type(kind);
            assert_eq!(encode(message), None);
        }
        for kind in [0, 11, -1] {
            let bytes = RaftMessage { kind, ..RaftMessage::default() }.encode_to_vec();
            assert_eq!(decode(bytes.into()), Err(NotAMessage::Kind(kind)));
        }
        assert!(matches!(decode(Bytes::from_static(b"\xff")), Err(NotAMessage::Undecodable(_))));
    }

    #[test]
    fn a_snapshot_is_a_place_and_a_height() {
        let made = snapshot(Position { index: 7, term: 2 }, 5, &[1, 2, 3]);
        assert_eq!(snapshot_place(&made), (Position { index: 7, term: 2 }, 5));
        assert_eq!(snapshot_place(&Snapshot::default()), (Position::default(), 0));
    }
}
