//! What the ledger derives from its blocks: the index and the savepoint, beside the state.
//!
//! ```text
//! 'f'                  format mark: the text of FORMAT
//! 's'                  savepoint: height u64 | hash of the last applied block (32 bytes)
//! 'n' block number u64 hash of the block: present for every applied block
//! 'h' block hash       block number u64
//! 'x' 32 bytes         OPV block number | OPV tx index | code (1 byte), of the earliest
//!                      transaction whose id is these bytes in hexadecimal, as ids usually are
//! 't' tx id            the same, for other ids
//! 'u' SHA-256(tx id)   the same, for ids of more than 64 bytes
//! 'w' …                an entry for each write of a public key, see `history`
//! 'e' block number u64 marshalled ripstop.v1.BlockExplanations; only of blocks with invalid
//!                      transactions, and only of the newest blocks
//! 'k' namespace        empty: some key of the namespace, hashed ones included, has had metadata
//! 'd' …                state, see `state`
//! 'v'                  see `divergence`
//! ```
//! Plain integers are big-endian, OPV is the order-preserving varint. Everything of one
//! block, its savepoint included, is one batch. Batches are not synced one by one, and a
//! power failure may lose one of them and keep a later one (LevelDB's logs are separate
//! files); the gap then shows in the numbers.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::hash::{Hash, sha256};
use ripstop_proto::protos::TxValidationCode;
use ripstop_proto::ripstop::v1::BlockExplanations;
use ripstop_proto::varint::{read_order_preserving, write_order_preserving};

use crate::state::{self, Space};
use crate::store::{Batch, Snapshot, StoreError};
use crate::updates::Updates;
use crate::version::Version;
use crate::{PrivateWrite, TransactionPosition};

/// The mark of the format that this version writes and reads. A store with another one is
/// built again from the blocks.
pub(crate) const FORMAT: &[u8] = b"ripstop derived 4";

const FORMAT_KEY: &[u8] = b"f";
const SAVEPOINT_KEY: &[u8] = b"s";
const TX_ID_BYTES_MAX: usize = 64;

/// Up to where a store has applied the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Savepoint {
    /// Number of applied blocks.
    pub(crate) height: u64,
    /// Hash of the last one.
    pub(crate) block_hash: Hash,
}

/// What of one block goes into the derived store.
pub(crate) struct Applied<'a> {
    pub(crate) number: u64,
    pub(crate) block_hash: Hash,
    pub(crate) updates: &'a Updates,
    pub(crate) private_writes: &'a [PrivateWrite],
    /// Ids that no earlier transaction has, with index in the block and code.
    pub(crate) new_tx_ids: Vec<(&'a str, u32, TxValidationCode)>,
    /// The entries of the history.
    pub(crate) history_keys: Vec<Vec<u8>>,
    pub(crate) explanations: BlockExplanations,
    /// For how many blocks explanations are kept.
    pub(crate) explained_blocks: u64,
}

/// The batch of one block.
pub(crate) fn batch(applied: Applied<'_>) -> Batch {
    let mut batch = Batch::default();
    let mut with_metadata = BTreeSet::new();
    for (space, key, update) in applied.updates.iter() {
        let key = state::store_key(space, key);
        if update.metadata.is_some() {
            with_metadata.insert(space.namespace());
        }
        match &update.value {
            Some(value) => batch.put(key, state::encode_entry(value, update.metadata.as_deref(), update.version)),
            None => batch.delete(key),
        }
    }
    with_metadata.into_iter().for_each(|namespace| batch.put(metadata_key(namespace), Vec::new()));
    for write in applied.private_writes {
        let key = state::store_key(Space::Private(&write.namespace, &write.collection), write.key.as_bytes());
        let version = Version::new(applied.number, u64::from(write.tx_index));
        match &write.value {
            Some(value) => batch.put(key, state::encode_entry(value, None, version)),
            None => batch.delete(key),
        }
    }
    for (tx_id, tx_index, code) in &applied.new_tx_ids {
        batch.put(tx_key(tx_id), position_bytes(applied.number, *tx_index, *code));
    }
    for key in applied.history_keys {
        batch.put(key, Vec::new());
    }
    if !applied.explanations.explanations.is_empty() {
        batch.put(explanations_key(applied.number), applied.explanations.encode_to_vec());
    }
    if let Some(outdated) = applied.number.checked_sub(applied.explained_blocks) {
        batch.delete(explanations_key(outdated));
    }
    batch.put(number_key(applied.number), applied.block_hash.to_vec());
    batch.put(block_hash_key(&applied.block_hash), applied.number.to_be_bytes().to_vec());
    let savepoint = [&(applied.number + 1).to_be_bytes()[..], &applied.block_hash].concat();
    batch.put(SAVEPOINT_KEY.to_vec(), savepoint);
    batch
}

/// The batch that begins an empty store.
pub(crate) fn first_batch() -> Batch {
    let mut batch = Batch::default();
    batch.put(FORMAT_KEY.to_vec(), FORMAT.to_vec());
    batch
}

/// The format mark; `None` in a store that was never begun.
pub(crate) fn format(snapshot: &dyn Snapshot) -> Result<Option<Bytes>, StoreError> {
    snapshot.get(FORMAT_KEY)
}

/// The savepoint; `None` before the first block.
pub(crate) fn savepoint(snapshot: &dyn Snapshot) -> Result<Option<Savepoint>, StoreError> {
    let Some(bytes) = snapshot.get(SAVEPOINT_KEY)? else { return Ok(None) };
    let damaged = || StoreError::Damaged(format!("a savepoint of {} bytes", bytes.len()));
    let (height, hash) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let block_hash = hash.try_into().map_err(|_| damaged())?;
    Ok(Some(Savepoint { height: u64::from_be_bytes(*height), block_hash }))
}

/// The first block below `height` that was not applied although later ones may have been.
pub(crate) fn first_gap(snapshot: &dyn Snapshot, height: u64) -> Result<Option<u64>, StoreError> {
    let mut numbers = snapshot.range(&number_key(0), &number_key(height));
    for number in 0..height {
        match numbers.next()? {
            Some((key, _)) if *key == number_key(number) => {}
            _ => return Ok(Some(number)),
        }
    }
    Ok(None)
}

/// The number of the block with this hash.
pub(crate) fn block_number(snapshot: &dyn Snapshot, hash: &Hash) -> Result<Option<u64>, StoreError> {
    let Some(bytes) = snapshot.get(&block_hash_key(hash))? else { return Ok(None) };
    let number = bytes.as_ref().try_into().map_err(|_| StoreError::Damaged("a block number".to_owned()))?;
    Ok(Some(u64::from_be_bytes(number)))
}

/// Where the earliest transaction with this id stands.
pub(crate) fn position(snapshot: &dyn Snapshot, tx_id: &str) -> Result<Option<TransactionPosition>, StoreError> {
    let Some(bytes) = snapshot.get(&tx_key(tx_id))? else { return Ok(None) };
    let damaged = || StoreError::Damaged(format!("the index entry of transaction {tx_id:?}"));
    let (block_number, first) = read_order_preserving(&bytes).map_err(|_| damaged())?;
    let (tx_index, second) = read_order_preserving(&bytes[first..]).map_err(|_| damaged())?;
    let code = bytes.get(first + second).copied().ok_or_else(damaged)?;
    Ok(Some(TransactionPosition {
        block_number,
        tx_index: u32::try_from(tx_index).map_err(|_| damaged())?,
        code: TxValidationCode::try_from(i32::from(code)).map_err(|_| damaged())?,
    }))
}

/// Whether a key of this namespace may have metadata.
pub(crate) fn may_have_metadata(snapshot: &dyn Snapshot, namespace: &str) -> Result<bool, StoreError> {
    Ok(snapshot.get(&metadata_key(namespace))?.is_some())
}

/// The explanations of a block; none where nothing is kept.
pub(crate) fn explanations(snapshot: &dyn Snapshot, number: u64) -> Result<BlockExplanations, StoreError> {
    let Some(bytes) = snapshot.get(&explanations_key(number))? else { return Ok(BlockExplanations::default()) };
    let damaged = |error| StoreError::Damaged(format!("the explanations of block {number}: {error}"));
    BlockExplanations::decode(bytes).map_err(damaged)
}

/// The index key of a transaction id. Ids are usually 64 characters, but whoever signs an
/// envelope chooses them.
pub(crate) fn tx_key(tx_id: &str) -> Vec<u8> {
    let mut hash = [0; 32];
    let is_lower = !tx_id.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_lower && hex::decode_to_slice(tx_id, &mut hash).is_ok() {
        return [&b"x"[..], &hash].concat();
    }
    match tx_id.len() <= TX_ID_BYTES_MAX {
        true => [b"t", tx_id.as_bytes()].concat(),
        false => [&b"u"[..], &sha256(&[tx_id.as_bytes()])].concat(),
    }
}

/// Whether a key is that of the explanations of a block below `number`.
pub(crate) fn is_explanation_before(key: &[u8], number: u64) -> bool {
    key.first() == Some(&b'e') && key < &explanations_key(number)[..]
}

/// What an entry is, for whoever looks for it.
pub(crate) fn name_of(key: &[u8]) -> String {
    let (kind, rest) = key.split_at(key.len().min(1));
    match kind {
        b"d" => {
            let namespace_bytes = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
            let (namespace, key) = rest.split_at(namespace_bytes);
            let key = key.strip_prefix(&[0]).unwrap_or(key);
            let key = std::str::from_utf8(key).map_or_else(|_| hex::encode(key), |key| format!("{key:?}"));
            format!("the state of key {key} in namespace {:?}", String::from_utf8_lossy(namespace))
        }
        b"x" => format!("the place of transaction {}", hex::encode(rest)),
        b"t" => format!("the place of transaction {}", String::from_utf8_lossy(rest)),
        _ => format!("entry {} {}", String::from_utf8_lossy(kind), hex::encode(rest)),
    }
}

fn metadata_key(namespace: &str) -> Vec<u8> {
    [b"k", namespace.as_bytes()].concat()
}

fn number_key(number: u64) -> Vec<u8> {
    [&b"n"[..], &number.to_be_bytes()].concat()
}

fn explanations_key(number: u64) -> Vec<u8> {
    [&b"e"[..], &number.to_be_bytes()].concat()
}

fn block_hash_key(hash: &Hash) -> Vec<u8> {
    [&b"h"[..], hash].concat()
}

fn position_bytes(block_number: u64, tx_index: u32, code: TxValidationCode) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    write_order_preserving(&mut bytes, block_number);
    write_order_preserving(&mut bytes, u64::from(tx_index));
    bytes.push(code as i32 as u8);
    bytes
}
