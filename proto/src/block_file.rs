//! Fabric's own block files (`blockfile_000000` …): how a chain comes from a Fabric peer, and
//! how it goes to one.
//!
//! ```text
//! record  uvarint(length) and that many bytes:
//!         uvarint(number), bytes(data hash), bytes(previous hash),
//!         uvarint(count) and bytes of each envelope, uvarint(count) and bytes of each metadata slot
//! bytes   uvarint(length) and that many bytes
//! ```
//! Reading believes nothing: every length is compared with what is there and with a limit
//! before anything is allocated. Source: Fabric `common/ledger/blkstorage/block_serialization.go`.

use std::io::{BufRead, Read};

use bytes::{Buf, Bytes};
use prost::encoding::encode_varint;

use crate::block::METADATA_SLOTS;
use crate::common::{Block, BlockData, BlockHeader, BlockMetadata};

/// Messages are at most 100 MiB, so no block is larger than this.
const RECORD_BYTES_MAX: u64 = 128 << 20;
/// No orderer cuts a block of more transactions.
const ENTRIES_MAX: u64 = 1 << 20;
const SLOTS_MAX: u64 = 64;
const VARINT_BYTES_MAX: usize = 10;

/// Why a block file cannot be read (on). Offsets are those of the record's first byte.
#[derive(Debug, thiserror::Error)]
pub enum BlockFileError {
    /// The last record is cut off, as after a crash.
    #[error("the record at offset {offset} is cut off: {missing} of its {length} bytes are missing")]
    Torn {
        /// Where it begins.
        offset: u64,
        /// What the record's length says; 0 when the length itself is cut off.
        length: u64,
        /// How much of that is not there.
        missing: u64,
    },
    /// A length that no block has.
    #[error("at offset {offset} a record of {length} bytes is announced, more than any block has ({RECORD_BYTES_MAX})")]
    TooLong {
        /// Where it begins.
        offset: u64,
        /// What the record's length says.
        length: u64,
    },
    /// The record is not of the form that the module draws.
    #[error("the record at offset {offset} is no block: {reason}")]
    Form {
        /// Where it begins.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file cannot be read.
    #[error("reading failed in the record at offset {offset}: {cause}")]
    Io {
        /// Where the record begins.
        offset: u64,
        /// What the system says.
        cause: std::io::Error,
    },
}

/// The blocks of a file, from its beginning.
#[derive(Debug)]
pub struct BlockFile<R> {
    reader: R,
    /// Where the next record begins.
    offset: u64,
}

impl<R: BufRead> BlockFile<R> {
    /// Reads records from `reader`, which stands at the beginning of a file.
    pub fn new(reader: R) -> Self {
        Self { reader, offset: 0 }
    }

    /// Where the next record begins, in bytes from the file's beginning.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next block; `None` at the end of the file.
    ///
    /// # Errors
    /// When the file ends within a record or a record is no block.
    pub fn next_block(&mut self) -> Result<Option<Block>, BlockFileError> {
        let offset = self.offset;
        let Some((length, length_bytes)) = self.length()? else { return Ok(None) };
        if length > RECORD_BYTES_MAX {
            return Err(BlockFileError::TooLong { offset, length });
        }
        // Grows with what is there, not with what the length promises.
        let mut record = Vec::new();
        let read = self.reader.by_ref().take(length).read_to_end(&mut record);
        read.map_err(|cause| BlockFileError::Io { offset, cause })?;
        if (record.len() as u64) < length {
            return Err(BlockFileError::Torn { offset, length, missing: length - record.len() as u64 });
        }
        let block = block(record.into()).map_err(|reason| BlockFileError::Form { offset, reason })?;
        self.offset += length_bytes as u64 + length;
        Ok(Some(block))
    }

    /// A record's length, and how many bytes it takes itself.
    fn length(&mut self) -> Result<Option<(u64, usize)>, BlockFileError> {
        let offset = self.offset;
        let mut bytes = Vec::with_capacity(VARINT_BYTES_MAX);
        for byte in self.reader.by_ref().bytes().take(VARINT_BYTES_MAX) {
            bytes.push(byte.map_err(|cause| BlockFileError::Io { offset, cause })?);
            if bytes.last().is_some_and(|last| last & 0x80 == 0) {
                let count = bytes.len();
                let length = varint(&mut Bytes::from(bytes));
                return length
                    .map(|length| Some((length, count)))
                    .map_err(|reason| BlockFileError::Form { offset, reason });
            }
        }
        match bytes.len() {
            0 => Ok(None),
            VARINT_BYTES_MAX => Err(BlockFileError::Form { offset, reason: "its length is no number" }),
            _ => Err(BlockFileError::Torn { offset, length: 0, missing: 1 }),
        }
    }
}

impl<R: BufRead> Iterator for BlockFile<R> {
    type Item = Result<Block, BlockFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_block().transpose()
    }
}

fn block(mut record: Bytes) -> Result<Block, &'static str> {
    let number = varint(&mut record)?;
    let data_hash = bytes(&mut record)?;
    let previous_hash = bytes(&mut record)?;
    let data = list(&mut record, ENTRIES_MAX)?;
    let metadata = list(&mut record, SLOTS_MAX)?;
    if record.has_remaining() {
        return Err("bytes follow its metadata");
    }
    Ok(Block {
        header: Some(BlockHeader { number, previous_hash, data_hash }),
        data: Some(BlockData { data }),
        metadata: Some(BlockMetadata { metadata }),
    })
}

fn list(record: &mut Bytes, count_max: u64) -> Result<Vec<Bytes>, &'static str> {
    let count = varint(record)?;
    // Each element takes a byte at least.
    if count > count_max.min(record.len() as u64) {
        return Err("it counts more elements than it can hold");
    }
    (0..count).map(|_| bytes(record)).collect()
}

fn bytes(record: &mut Bytes) -> Result<Bytes, &'static str> {
    let length = varint(record)?;
    if length > record.len() as u64 {
        return Err("an element reaches beyond its end");
    }
    Ok(record.split_to(length as usize))
}

fn varint(record: &mut Bytes) -> Result<u64, &'static str> {
    prost::encoding::decode_varint(record).map_err(|_| "a number in it does not end")
}

/// The record of a block. Metadata slots that Fabric does not know are left out.
pub fn encode(block: &Block) -> Vec<u8> {
    let mut record = Vec::new();
    let header = block.header.clone().unwrap_or_default();
    encode_varint(header.number, &mut record);
    put(&mut record, &header.data_hash);
    put(&mut record, &header.previous_hash);
    put_all(&mut record, block.data.as_ref().map_or(&[], |data| &data.data));
    let slots = block.metadata.as_ref().map_or(&[][..], |metadata| &metadata.metadata);
    put_all(&mut record, &slots[..slots.len().min(METADATA_SLOTS)]);
    let mut whole = Vec::with_capacity(record.len() + 10);
    put(&mut whole, &record);
    whole
}

fn put(bytes: &mut Vec<u8>, element: &[u8]) {
    encode_varint(element.len() as u64, bytes);
    bytes.extend_from_slice(element);
}

fn put_all(bytes: &mut Vec<u8>, elements: &[Bytes]) {
    encode_varint(elements.len() as u64, bytes);
    elements.iter().for_each(|element| put(bytes, element));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::set_metadata_slot;

    fn block_with(number: u64, entries: &[&'static [u8]]) -> Block {
        let header = BlockHeader {
            number,
            previous_hash: Bytes::from_static(&[1; 32]),
            data_hash: Bytes::from_static(&[2; 32]),
        };
        let data = entries.iter().map(|entry| Bytes::from_static(entry)).collect();
        let metadata = vec![Bytes::new(), Bytes::from_static(b"codes")];
        Block { header: Some(header), data: Some(BlockData { data }), metadata: Some(BlockMetadata { metadata }) }
    }

    #[test]
    fn blocks_are_read_as_they_were_written() {
        let blocks = [block_with(300, &[b"one", b""]), block_with(301, &[])];
        let records = blocks.each_ref().map(encode);
        let file = records.concat();
        let mut reader = BlockFile::new(&file[..]);
        for (block, record) in blocks.into_iter().zip(&records) {
            let before = reader.offset();
            assert_eq!(reader.next_block().unwrap(), Some(block));
            assert_eq!(reader.offset() - before, record.len() as u64);
        }
        assert_eq!(reader.next_block().unwrap(), None);
    }

    #[test]
    fn a_file_cut_anywhere_is_torn_or_ends_between_blocks() {
        let first = encode(&block_with(6, &[b"first"]));
        let file = [first.clone(), encode(&block_with(7, &[b"entry"]))].concat();
        for length in first.len() + 1..file.len() {
            let mut reader = BlockFile::new(&file[..length]);
            reader.next_block().unwrap().unwrap();
            let error = reader.next_block().unwrap_err();
            let begins = first.len() as u64;
            assert!(matches!(error, BlockFileError::Torn { offset, .. } if offset == begins), "{length}: {error}");
        }
    }

    #[test]
    fn lengths_and_counts_that_nothing_stands_behind_are_refused() {
        let refused = |file: &[u8]| BlockFile::new(file).next_block().unwrap_err();
        for length in [RECORD_BYTES_MAX + 1, u64::MAX] {
            let mut huge = Vec::new();
            encode_varint(length, &mut huge);
            assert!(matches!(refused(&huge), BlockFileError::TooLong { offset: 0, .. }));
        }
        // number 0, empty hashes, and 100 entries in no bytes.
        let counted = [4, 0, 0, 0, 100];
        let reaching = [3, 0, 90, 0];
        let endless = [0xff; 11];
        let nothing = [0];
        for file in [&counted[..], &reaching, &endless, &nothing] {
            assert!(matches!(refused(file), BlockFileError::Form { offset: 0, .. }), "{file:?}");
        }
    }

    #[test]
    fn any_flipped_bit_gives_a_block_or_an_error() {
        let file = encode(&block_with(7, &[b"entry", b"other"]));
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut reader = BlockFile::new(&flipped[..]);
            while let Ok(Some(_)) = reader.next_block() {}
        }
    }

    #[test]
    fn a_record_has_the_documented_bytes() {
        let mut block = block_with(300, &[b"tx"]);
        block.header.as_mut().unwrap().previous_hash.clear();
        let hash = "02".repeat(32);
        let expected = format!("30 ac02 20{hash} 00 01 02 7478 02 00 05 636f646573");
        assert_eq!(hex::encode(encode(&block)), expected.replace(' ', ""));
    }

    #[test]
    fn slots_that_fabric_does_not_know_are_left_out() {
        let mut block = block_with(1, &[]);
        set_metadata_slot(&mut block, METADATA_SLOTS - 1, b"hash".as_slice().into());
        let known = encode(&block);
        set_metadata_slot(&mut block, METADATA_SLOTS, b"roots".as_slice().into());
        assert_eq!(encode(&block), known);
    }
}
