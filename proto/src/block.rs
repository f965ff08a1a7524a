//! Block hashes, metadata slots, and what an orderer signs.
//!
//! ```text
//! header DER   SEQUENCE { INTEGER number, OCTET STRING previous_hash, OCTET STRING data_hash }
//! block hash   SHA-256(header DER)
//! data hash    SHA-256(entry 0 ++ entry 1 ++ …)
//! ```
//! The metadata is outside the hash: orderers and peers fill it each for themselves.
//! Source: Fabric `protoutil/blockutils.go`.

use bytes::Bytes;
use prost::Message;

use crate::common::{Block, BlockHeader, BlockMetadata, HeaderType, LastConfig, Metadata, OrdererBlockMetadata};
use crate::envelope::OpenEnvelope;
use crate::hash::{Hash, sha256};
use crate::ripstop::v1::BlockRoots;

/// Slots that a block carries from the orderer on.
pub const METADATA_SLOTS: usize = 5;
/// Slot of the orderer's signatures over the block.
pub const SIGNATURES: usize = 0;
/// Slot of the newest configuration block's number; kept for old readers.
pub const LAST_CONFIG: usize = 1;
/// Slot of the validation codes, one byte per transaction; a peer writes it.
pub const TRANSACTIONS_FILTER: usize = 2;
/// An unused slot.
pub const ORDERER: usize = 3;
/// Slot of the commit hash; a peer writes it.
pub const COMMIT_HASH: usize = 4;
/// Slot of a marshalled `ripstop.v1.BlockRoots`; peers of ours add it, Fabric's know no such slot.
pub const ROOTS: usize = 5;

/// The bytes whose SHA-256 is the block hash.
pub fn header_der(header: &BlockHeader) -> Vec<u8> {
    let mut content = Vec::with_capacity(80);
    write_der(&mut content, 0x02, &unsigned_integer(header.number));
    write_der(&mut content, 0x04, &header.previous_hash);
    write_der(&mut content, 0x04, &header.data_hash);
    let mut der = Vec::with_capacity(content.len() + 2);
    write_der(&mut der, 0x30, &content);
    der
}

fn unsigned_integer(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(7);
    let mut integer = Vec::with_capacity(9);
    if bytes[first] >= 0x80 {
        integer.push(0);
    }
    integer.extend_from_slice(&bytes[first..]);
    integer
}

fn write_der(der: &mut Vec<u8>, tag: u8, content: &[u8]) {
    der.push(tag);
    let length = content.len();
    if length < 0x80 {
        der.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
        der.push(0x80 | (bytes.len() - first) as u8);
        der.extend_from_slice(&bytes[first..]);
    }
    der.extend_from_slice(content);
}

/// The block hash, which the next block names as its previous hash.
pub fn header_hash(header: &BlockHeader) -> Hash {
    sha256(&[&header_der(header)])
}

/// The hash over a block's entries as they stand.
pub fn data_hash(entries: &[Bytes]) -> Hash {
    let parts: Vec<&[u8]> = entries.iter().map(AsRef::as_ref).collect();
    sha256(&parts)
}

/// What an orderer signs for slot 0: `metadata value ++ signature header ++ header DER`.
pub fn signing_input(metadata_value: &[u8], signature_header: &[u8], header: &BlockHeader) -> Vec<u8> {
    [metadata_value, signature_header, &header_der(header)].concat()
}

/// The bytes of a metadata slot; empty when the block has no such slot.
pub fn metadata_slot(block: &Block, slot: usize) -> &[u8] {
    block.metadata.as_ref().and_then(|metadata| metadata.metadata.get(slot)).map_or(&[], AsRef::as_ref)
}

/// Replaces the bytes of a metadata slot, adding empty slots up to [`METADATA_SLOTS`].
pub fn set_metadata_slot(block: &mut Block, slot: usize, bytes: Bytes) {
    let slots = &mut block.metadata.get_or_insert_with(BlockMetadata::default).metadata;
    if slots.len() < METADATA_SLOTS.max(slot + 1) {
        slots.resize(METADATA_SLOTS.max(slot + 1), Bytes::new());
    }
    slots[slot] = bytes;
}

/// The number of the newest configuration block, as slot 0 states it.
///
/// # Errors
/// When the slot does not decode.
pub fn last_config_index(block: &Block) -> Result<u64, prost::DecodeError> {
    let metadata = Metadata::decode(metadata_slot(block, SIGNATURES))?;
    let value = OrdererBlockMetadata::decode(metadata.value)?;
    Ok(value.last_config.map_or(0, |LastConfig { index }| index))
}

/// The commit hash a peer stored in slot 4, if there is one.
pub fn commit_hash(block: &Block) -> Option<Hash> {
    let metadata = Metadata::decode(metadata_slot(block, COMMIT_HASH)).ok()?;
    metadata.value.as_ref().try_into().ok()
}

/// The roots a peer stored in slot 5, if there are any.
pub fn block_roots(block: &Block) -> Option<BlockRoots> {
    let bytes = metadata_slot(block, ROOTS);
    BlockRoots::decode(bytes).ok().filter(|_| !bytes.is_empty())
}

/// Whether the block carries a channel configuration: a single entry of type CONFIG.
pub fn is_config(block: &Block) -> bool {
    let entries = block.data.as_ref().map_or(&[][..], |data| &data.data);
    let [entry] = entries else { return false };
    OpenEnvelope::open(entry).is_ok_and(|envelope| envelope.header_type() == Some(HeaderType::Config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_a_slot_fills_the_ones_before_it() {
        let mut block = Block::default();
        set_metadata_slot(&mut block, COMMIT_HASH, Bytes::from_static(b"hash"));
        assert_eq!(block.metadata.as_ref().unwrap().metadata.len(), METADATA_SLOTS);
        assert_eq!(metadata_slot(&block, COMMIT_HASH), b"hash");
        assert_eq!(metadata_slot(&block, SIGNATURES), b"");
    }

    #[test]
    fn a_long_header_uses_long_der_lengths() {
        let header = BlockHeader { number: 1, previous_hash: vec![7; 200].into(), data_hash: vec![8; 300].into() };
        let der = header_der(&header);
        assert_eq!(&der[..4], [0x30, 0x82, 0x01, 0xfe]);
        assert_eq!(&der[4..10], [0x02, 0x01, 0x01, 0x04, 0x81, 200]);
        assert_eq!(der.len(), 4 + 3 + 203 + 304);
    }
}
