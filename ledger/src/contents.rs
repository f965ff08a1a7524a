//! What the entries of a block ask of the ledger: a transaction id to remember and writes
//! to apply. Signatures and policies were judged before; nothing is verified here.

use bytes::Bytes;
use prost::Message;
use rayon::prelude::*;
use ripstop_proto::block::{self, TRANSACTIONS_FILTER};
use ripstop_proto::common::{Block, ChannelHeader, Envelope, HeaderType, Payload};
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::hash::{Hash, sha256};
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::read_write_set::ReadWriteSet;
use ripstop_proto::transaction::OpenTransaction;

/// One entry of a block, opened as far as its code asks for.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The id to index; `None` when the entry has none that can be read.
    pub(crate) tx_id: Option<String>,
    pub(crate) contents: Contents,
    /// SHA-256 of the chaincode event's bytes, where there is one.
    pub(crate) event_hash: Option<Hash>,
}

/// What an entry does if it stays valid.
#[derive(Debug)]
pub(crate) enum Contents {
    /// An endorsed transaction.
    Endorsed(ReadWriteSet),
    /// A channel configuration: the marshalled `ConfigEnvelope`.
    Config(Bytes),
    /// Nothing: judged invalid before, or of a type without writes.
    Nothing,
    /// Judged valid before, but unreadable here, with the code that Fabric gives then.
    Unreadable(TxValidationCode),
}

/// The codes that are stored with a block; `None` when they are not one for each entry.
pub(crate) fn codes(block: &Block) -> Option<Vec<TxValidationCode>> {
    let filter = block::metadata_slot(block, TRANSACTIONS_FILTER);
    let entries = block.data.as_ref().map_or(0, |data| data.data.len());
    let codes = filter.iter().map(|code| TxValidationCode::try_from(i32::from(*code)).ok());
    codes.collect::<Option<Vec<_>>>().filter(|codes| codes.len() == entries)
}

/// Opens all entries of a block in parallel. Of those that `codes` calls invalid only the
/// id is read.
pub(crate) fn open_entries(block: &Block, codes: &[TxValidationCode]) -> Vec<Entry> {
    open_all(block, codes, |code| code)
}

/// Like [`open_entries`], but those that lost against another transaction are opened, too.
pub(crate) fn open_entries_with_losers(block: &Block, codes: &[TxValidationCode]) -> Vec<Entry> {
    open_all(block, codes, |code| match code {
        TxValidationCode::MvccReadConflict | TxValidationCode::PhantomReadConflict => TxValidationCode::Valid,
        other => other,
    })
}

/// Opens all entries as if each were valid.
pub(crate) fn open_all_entries(block: &Block) -> Vec<Entry> {
    let count = block.data.as_ref().map_or(0, |data| data.data.len());
    open_entries(block, &vec![TxValidationCode::Valid; count])
}

fn open_all(
    block: &Block,
    codes: &[TxValidationCode],
    as_if: impl Fn(TxValidationCode) -> TxValidationCode + Sync,
) -> Vec<Entry> {
    let entries = block.data.as_ref().map_or(&[][..], |data| &data.data);
    entries.par_iter().zip(codes).with_min_len(8).map(|(entry, code)| open(entry, as_if(*code))).collect()
}

fn open(entry: &Bytes, code: TxValidationCode) -> Entry {
    let opened = Envelope::decode(entry.clone()).ok().and_then(|envelope| OpenEnvelope::from_envelope(envelope).ok());
    let Some(envelope) = opened else {
        let contents = match code {
            TxValidationCode::Valid => Contents::Unreadable(TxValidationCode::InvalidOtherReason),
            _ => Contents::Nothing,
        };
        return Entry { tx_id: tx_id_of_broken(entry), contents, event_hash: None };
    };
    let tx_id = Some(envelope.index_tx_id());
    let (contents, event_hash) = match (code, envelope.header_type()) {
        (TxValidationCode::Valid, Some(HeaderType::EndorserTransaction)) => endorsed(envelope.payload.data),
        (TxValidationCode::Valid, Some(HeaderType::Config)) => match envelope.payload.data.is_empty() {
            true => (Contents::Unreadable(TxValidationCode::InvalidConfigTransaction), None),
            false => (Contents::Config(envelope.payload.data), None),
        },
        _ => (Contents::Nothing, None),
    };
    Entry { tx_id, contents, event_hash }
}

fn endorsed(payload_data: Bytes) -> (Contents, Option<Hash>) {
    let Ok(action) = OpenTransaction::open(payload_data).and_then(|transaction| transaction.chaincode_action()) else {
        return (Contents::Unreadable(TxValidationCode::NilTxaction), None);
    };
    let event_hash = (!action.events.is_empty()).then(|| sha256(&[&action.events]));
    match ReadWriteSet::decode(action.results) {
        Ok(read_write_set) => (Contents::Endorsed(read_write_set), event_hash),
        Err(_) => (Contents::Unreadable(TxValidationCode::InvalidOtherReason), None),
    }
}

/// The id in the channel header of an entry whose other parts do not decode: such a
/// transaction burns its id, too.
fn tx_id_of_broken(entry: &Bytes) -> Option<String> {
    let envelope = Envelope::decode(entry.clone()).ok()?;
    let header = Payload::decode(envelope.payload).ok()?.header?;
    let tx_id = ChannelHeader::decode(header.channel_header).ok()?.tx_id;
    (!tx_id.is_empty()).then_some(tx_id)
}
