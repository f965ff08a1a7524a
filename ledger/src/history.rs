//! Which transactions wrote a key, newest first.
//!
//! ```text
//! key    'w' OPV(bytes of namespace) namespace OPV(bytes of key) key ¬OPV(block number) ¬OPV(tx index)
//! value  empty
//! ```
//! OPV is the order-preserving varint; ¬ complements each of its bytes, so that the newest
//! write of a key comes first. There is one entry for each public value that a valid
//! transaction sets or deletes; writes of metadata and of collections have none. What was
//! written is read from the block.
//! Source of the meaning: Fabric `core/ledger/kvledger/history/{db,query_executer}.go`.

use std::sync::Arc;

use bytes::Bytes;
use ripstop_proto::common::Block;
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::queryresult::KeyModification;
use ripstop_proto::read_write_set::ReadWriteSet;
use ripstop_proto::transaction::OpenTransaction;
use ripstop_proto::varint::{read_order_preserving, write_order_preserving};

use crate::block_store::BlockStore;
use crate::contents::{Contents, Entry};
use crate::error::LedgerError;
use crate::store::{Cursor, Snapshot, StoreError};
use crate::version::Version;

pub(crate) const PREFIX: u8 = b'w';

/// A walk over the writes of one key, newest first.
pub struct History {
    entries: Box<dyn Cursor>,
    position_offset: usize,
    blocks: Arc<BlockStore>,
    namespace: String,
    key: String,
    /// The block read last: a key may be written several times in it.
    block: Option<(u64, Block)>,
}

impl History {
    pub(crate) fn of(snapshot: &dyn Snapshot, blocks: Arc<BlockStore>, namespace: &str, key: &str) -> Self {
        let prefix = prefix_of(namespace, key);
        Self {
            entries: snapshot.range(&prefix, &end_of(&prefix)),
            position_offset: prefix.len(),
            blocks,
            namespace: namespace.to_owned(),
            key: key.to_owned(),
            block: None,
        }
    }

    fn next_modification(&mut self) -> Result<Option<KeyModification>, LedgerError> {
        let Some((entry, _)) = self.entries.next()? else { return Ok(None) };
        self.modification_of(&entry)
    }

    fn modification_of(&mut self, entry: &Bytes) -> Result<Option<KeyModification>, LedgerError> {
        let position = read_position(&entry[self.position_offset..]);
        let Version { block_number, tx_index } = position.ok_or_else(|| self.damaged("an entry has no position"))?;
        if self.block.as_ref().is_none_or(|(number, _)| *number != block_number) {
            let block = self.blocks.block(block_number)?;
            self.block = Some((block_number, block.unwrap_or_default()));
        }
        let entries = self.block.iter().flat_map(|(_, block)| &block.data).flat_map(|data| &data.data);
        let entry = usize::try_from(tx_index).ok().and_then(|index| entries.into_iter().nth(index));
        let modification = entry.and_then(|entry| modification(entry, &self.namespace, &self.key));
        let absent = || self.damaged(&format!("transaction {tx_index} of block {block_number} does not write it"));
        modification.ok_or_else(absent).map(Some)
    }

    /// The value that the key had after transaction `at` had written it or its metadata.
    pub(crate) fn value_at(mut self, at: Version) -> Result<Option<Bytes>, LedgerError> {
        while let Some((entry, _)) = self.entries.next()? {
            let position = read_position(&entry[self.position_offset..]);
            if position.ok_or_else(|| self.damaged("an entry has no position"))? <= at {
                return Ok(self.modification_of(&entry)?.map(|modification| modification.value));
            }
        }
        Ok(None)
    }

    fn damaged(&self, reason: &str) -> LedgerError {
        let Self { namespace, key, .. } = self;
        StoreError::Damaged(format!("the history of key {key:?} of {namespace:?}: {reason}")).into()
    }
}

impl Iterator for History {
    type Item = Result<KeyModification, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_modification().transpose()
    }
}

/// The entries of a block.
pub(crate) fn keys(number: u64, entries: &[Entry], codes: &[TxValidationCode]) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    for (tx_index, (entry, code)) in (0..).zip(entries.iter().zip(codes)) {
        let (TxValidationCode::Valid, Contents::Endorsed(read_write_set)) = (*code, &entry.contents) else { continue };
        for set in &read_write_set.namespaces {
            let written = set.public.writes.iter();
            keys.extend(written.map(|write| entry_key(&set.namespace, &write.key, Version::new(number, tx_index))));
        }
    }
    keys
}

pub(crate) fn entry_key(namespace: &str, key: &str, position: Version) -> Vec<u8> {
    let mut bytes = prefix_of(namespace, key);
    let ascending = bytes.len();
    write_order_preserving(&mut bytes, position.block_number);
    write_order_preserving(&mut bytes, position.tx_index);
    bytes[ascending..].iter_mut().for_each(|byte| *byte = !*byte);
    bytes
}

/// What the entries of a key begin with, and no other entry.
fn prefix_of(namespace: &str, key: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(24 + namespace.len() + key.len());
    bytes.push(PREFIX);
    for part in [namespace, key] {
        write_order_preserving(&mut bytes, part.len() as u64);
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

/// The first bytes above all that begin with `prefix`, which begins with a letter.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let kept = prefix.iter().rposition(|byte| *byte < u8::MAX).unwrap_or_default();
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    end
}

fn read_position(descending: &[u8]) -> Option<Version> {
    let bytes: Vec<u8> = descending.iter().map(|byte| !byte).collect();
    let (block_number, first) = read_order_preserving(&bytes).ok()?;
    let (tx_index, second) = read_order_preserving(&bytes[first..]).ok()?;
    (first + second == bytes.len()).then_some(Version { block_number, tx_index })
}

/// What a transaction made of a key: the first write of it counts.
fn modification(entry: &Bytes, namespace: &str, key: &str) -> Option<KeyModification> {
    let envelope = OpenEnvelope::open(entry).ok()?;
    let action = OpenTransaction::open(envelope.payload.data).ok()?.chaincode_action().ok()?;
    let sets = ReadWriteSet::decode(action.results).ok()?.namespaces;
    let writes = sets.into_iter().filter(|set| set.namespace == namespace).flat_map(|set| set.public.writes);
    let write = writes.into_iter().find(|write| write.key == key)?;
    Some(KeyModification {
        tx_id: envelope.channel_header.tx_id,
        is_delete: write.is_delete || write.value.is_empty(),
        value: write.value,
        timestamp: envelope.channel_header.timestamp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_the_documented_bytes() {
        let key = entry_key("cc", "key", Version::new(256, 0));
        assert_eq!(hex::encode(&key), "770102636301036b6579fdfeffff");
        let offset = prefix_of("cc", "key").len();
        assert_eq!(read_position(&key[offset..]), Some(Version::new(256, 0)));
    }

    #[test]
    fn entries_of_a_key_stand_newest_first_and_alone_in_its_range() {
        let positions = [(u64::MAX, 0), (256, 0), (255, 300), (255, 1), (255, 0), (1, 0), (0, 0)];
        let keys = positions.map(|(number, index)| entry_key("cc", "k", Version::new(number, index)));
        assert!(keys.is_sorted());
        let (start, end) = (prefix_of("cc", "k"), end_of(&prefix_of("cc", "k")));
        assert!(keys.iter().all(|key| *key >= start && *key < end));
        let others = [("cc", ""), ("cc", "ka"), ("cc", "l"), ("c", "ck"), ("cck", ""), ("cc\0", "k")];
        for (namespace, key) in others {
            let other = entry_key(namespace, key, Version::new(1, 1));
            assert!(other < start || other >= end, "{namespace:?} {key:?}");
        }
    }

    #[test]
    fn the_end_of_a_range_carries_over_the_highest_bytes() {
        assert_eq!(end_of(b"wa"), b"wb");
        assert_eq!(end_of(&[b'w', 0xfe, 0xff, 0xff]), [b'w', 0xff]);
    }
}
