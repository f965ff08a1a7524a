//! Block files as a Fabric peer writes them (`blockfile_000000`).
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

use crate::common::{Block, BlockData, BlockHeader, BlockMetadata};

/// Messages are at most 100 MiB, so no block is larger than this.
const RECORD_BYTES_MAX: u64 = 128 << 20;
/// No orderer cuts a block of more transactions.
const ENTRIES_MAX: u64 = 1 << 20;
const SLOTS_MAX: u64 = 64;
const VARINT_BYTES_MAX: usize = 10;

/// Why a block file cannot be read (on).
#[derive(Debug, thiserror::Error)]
pub enum BlockFileError {
    /// The last record is cut off, as after a crash.
    #[error("the last record is cut off: {missing} of its {length} bytes are missing")]
    Torn {
        /// What the record's length says.
        length: u64,
        /// How much of that is not there.
        missing: u64,
    },
    /// A length that no block has.
    #[error("a record of {0} bytes is larger than any block ({RECORD_BYTES_MAX} bytes)")]
    TooLong(u64),
    /// The record is not of the form above.
    #[error("a record is no block: {0}")]
    Form(&'static str),
    /// The file cannot be read.
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
}

/// The blocks of a file, from its beginning.
#[derive(Debug)]
pub struct BlockFile<R> {
    reader: R,
}

impl<R: BufRead> BlockFile<R> {
    /// Reads records from `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader }
    }

    /// The next block; `None` at the end of the file.
    ///
    /// # Errors
    /// When the file ends within a record or a record is no block.
    pub fn next_block(&mut self) -> Result<Option<Block>, BlockFileError> {
        let Some(length) = self.length()? else { return Ok(None) };
        if length > RECORD_BYTES_MAX {
            return Err(BlockFileError::TooLong(length));
        }
        // Grows with what is there, not with what the length promises.
        let mut record = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut record)?;
        if (record.len() as u64) < length {
            return Err(BlockFileError::Torn { length, missing: length - record.len() as u64 });
        }
        block(record.into()).map(Some)
    }

    fn length(&mut self) -> Result<Option<u64>, BlockFileError> {
        let mut bytes = Vec::with_capacity(VARINT_BYTES_MAX);
        for byte in self.reader.by_ref().bytes().take(VARINT_BYTES_MAX) {
            bytes.push(byte?);
            if bytes.last().is_some_and(|last| last & 0x80 == 0) {
                let mut bytes = Bytes::from(bytes);
                return varint(&mut bytes).map(Some);
            }
        }
        match bytes.len() {
            0 => Ok(None),
            VARINT_BYTES_MAX => Err(BlockFileError::Form("its length is no number")),
            _ => Err(BlockFileError::Torn { length: 0, missing: 1 }),
        }
    }
}

impl<R: BufRead> Iterator for BlockFile<R> {
    type Item = Result<Block, BlockFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_block().transpose()
    }
}

fn block(mut record: Bytes) -> Result<Block, BlockFileError> {
    let number = varint(&mut record)?;
    let data_hash = bytes(&mut record)?;
    let previous_hash = bytes(&mut record)?;
    let data = list(&mut record, ENTRIES_MAX)?;
    let metadata = list(&mut record, SLOTS_MAX)?;
    if record.has_remaining() {
        return Err(BlockFileError::Form("bytes follow its metadata"));
    }
    Ok(Block {
        header: Some(BlockHeader { number, previous_hash, data_hash }),
        data: Some(BlockData { data }),
        metadata: Some(BlockMetadata { metadata }),
    })
}

fn list(record: &mut Bytes, count_max: u64) -> Result<Vec<Bytes>, BlockFileError> {
    let count = varint(record)?;
    // Each element takes a byte at least.
    if count > count_max.min(record.len() as u64) {
        return Err(BlockFileError::Form("it counts more elements than it can hold"));
    }
    (0..count).map(|_| bytes(record)).collect()
}

fn bytes(record: &mut Bytes) -> Result<Bytes, BlockFileError> {
    let length = varint(record)?;
    if length > record.len() as u64 {
        return Err(BlockFileError::Form("an element reaches beyond its end"));
    }
    Ok(record.split_to(length as usize))
}

fn varint(record: &mut Bytes) -> Result<u64, BlockFileError> {
    prost::encoding::decode_varint(record).map_err(|_| BlockFileError::Form("a number in it does not end"))
}

#[cfg(test)]
mod tests {
    use prost::encoding::encode_varint;

    use super::*;

    fn written(block: &Block) -> Vec<u8> {
        let mut record = Vec::new();
        let put = |record: &mut Vec<u8>, bytes: &[u8]| {
            encode_varint(bytes.len() as u64, record);
            record.extend_from_slice(bytes);
        };
        let header = block.header.as_ref().unwrap();
        encode_varint(header.number, &mut record);
        put(&mut record, &header.data_hash);
        put(&mut record, &header.previous_hash);
        for list in [&block.data.as_ref().unwrap().data, &block.metadata.as_ref().unwrap().metadata] {
            encode_varint(list.len() as u64, &mut record);
            list.iter().for_each(|entry| put(&mut record, entry));
        }
        let mut file = Vec::new();
        put(&mut file, &record);
        file
    }

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
        let file = blocks.iter().flat_map(written).collect::<Vec<u8>>();
        let mut reader = BlockFile::new(&file[..]);
        for block in blocks {
            assert_eq!(reader.next_block().unwrap(), Some(block));
        }
        assert_eq!(reader.next_block().unwrap(), None);
    }

    #[test]
    fn a_file_cut_anywhere_is_torn_or_ends_between_blocks() {
        let file = written(&block_with(7, &[b"entry"]));
        for length in 1..file.len() {
            let error = BlockFile::new(&file[..length]).next_block().unwrap_err();
            assert!(matches!(error, BlockFileError::Torn { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn lengths_and_counts_that_nothing_stands_behind_are_refused() {
        let mut huge = Vec::new();
        encode_varint(RECORD_BYTES_MAX + 1, &mut huge);
        assert!(matches!(BlockFile::new(&huge[..]).next_block(), Err(BlockFileError::TooLong(_))));
        // number 0, empty hashes, and 100 entries in no bytes.
        let counted = [4, 0, 0, 0, 100];
        assert!(matches!(BlockFile::new(&counted[..]).next_block(), Err(BlockFileError::Form(_))));
        let reaching = [3, 0, 90, 0];
        assert!(matches!(BlockFile::new(&reaching[..]).next_block(), Err(BlockFileError::Form(_))));
        let endless = [0xff; 11];
        assert!(matches!(BlockFile::new(&endless[..]).next_block(), Err(BlockFileError::Form(_))));
    }
}
