//! One block record: how it looks in a segment.
//!
//! ```text
//! offset  bytes
//!      0      4  magic "RSBK"
//!      4      1  format version, 1
//!      5      1  encoding of the body: 0 plain, 1 zstd
//!      6      2  place among the records that were synced with it, from 0
//!      8      8  block number
//!     16      4  length of the body
//!     20      4  length of the decoded body
//!     24      4  CRC-32C of the body
//!     28      4  CRC-32C of bytes 0 to 27
//!     32      …  body: a marshalled ripstop.v1.BlockRecord, encoded
//! ```
//! Integers are little-endian. The header has a checksum of its own, so that a scan can
//! trust the length before it reads the body.

use prost::Message;
use ripstop_proto::ripstop::v1::BlockRecord;

/// Bytes of a record before its body.
pub(super) const HEADER_BYTES: usize = 32;
/// The largest body, encoded or decoded. Blocks are bounded by the channel's
/// `absolute_max_bytes`; this bounds what a damaged length can make us allocate.
pub(super) const BODY_BYTES_MAX: usize = 1 << 30;

pub(super) const MAGIC: [u8; 4] = *b"RSBK";
const FORMAT_VERSION: u8 = 1;
const ZSTD_LEVEL: i32 = 1;

/// How bodies are written. Both are read whatever is set here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Plain,
    /// Compressed with zstd.
    Zstd,
}

/// A record's header, after its checksum was found right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) encoding: Encoding,
    pub(super) number: u64,
    place: u16,
    pub(super) body_bytes: usize,
    pub(super) decoded_bytes: usize,
    body_checksum: u32,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub(super) enum RecordError {
    #[error("no record begins here")]
    NoMagic,
    #[error("the header's checksum differs")]
    HeaderChecksum,
    #[error("block {0} stands here")]
    Number(u64),
    #[error("record format {0} is not known to this version (1 is)")]
    Format(u8),
    #[error("body encoding {0} is not known to this version (0 plain and 1 zstd are)")]
    Encoding(u8),
    #[error("a body of {0} bytes is over the limit of {BODY_BYTES_MAX}")]
    TooLarge(usize),
    #[error("the body's checksum differs")]
    BodyChecksum,
    #[error("the body does not decode: {0}")]
    Body(String),
}

impl RecordError {
    /// Whether a crash in the middle of an append can leave this. Bytes with a right
    /// header checksum but other contents than expected were written on purpose.
    pub(super) fn may_be_torn(&self) -> bool {
        matches!(self, Self::NoMagic | Self::HeaderChecksum | Self::BodyChecksum)
    }
}

/// The bytes of a record, ready to be appended. `place` counts the records before it that
/// are synced together with it.
pub(super) fn encode(
    number: u64,
    place: u16,
    record: &BlockRecord,
    encoding: Encoding,
) -> Result<Vec<u8>, RecordError> {
    let plain_bytes = record.encoded_len();
    if plain_bytes > BODY_BYTES_MAX {
        return Err(RecordError::TooLarge(plain_bytes));
    }
    let mut bytes = vec![0; HEADER_BYTES];
    match encoding {
        Encoding::Plain => {
            bytes.reserve_exact(plain_bytes);
            record.encode_raw(&mut bytes);
        }
        Encoding::Zstd => {
            let body = zstd::bulk::compress(&record.encode_to_vec(), ZSTD_LEVEL);
            bytes.extend_from_slice(&body.map_err(|error| RecordError::Body(error.to_string()))?);
        }
    }
    let (head, body) = bytes.split_at_mut(HEADER_BYTES);
    head[..4].copy_from_slice(&MAGIC);
    head[4] = FORMAT_VERSION;
    head[5] = encoding as u8;
    head[6..8].copy_from_slice(&place.to_le_bytes());
    head[8..16].copy_from_slice(&number.to_le_bytes());
    head[16..20].copy_from_slice(&(body.len() as u32).to_le_bytes());
    head[20..24].copy_from_slice(&(plain_bytes as u32).to_le_bytes());
    head[24..28].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    let checksum = crc32c::crc32c(&head[..28]);
    head[28..].copy_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

impl Header {
    /// Reads a header from the first [`HEADER_BYTES`] of `bytes`.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        let head: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(RecordError::NoMagic)?;
        if head[..4] != MAGIC {
            return Err(RecordError::NoMagic);
        }
        if crc32c::crc32c(&head[..28]) != number_at(head, 28) {
            return Err(RecordError::HeaderChecksum);
        }
        if head[4] != FORMAT_VERSION {
            return Err(RecordError::Format(head[4]));
        }
        let encoding = match head[5] {
            0 => Encoding::Plain,
            1 => Encoding::Zstd,
            other => return Err(RecordError::Encoding(other)),
        };
        let header = Self {
            encoding,
            number: u64::from(number_at(head, 8)) | u64::from(number_at(head, 12)) << 32,
            place: u16::from_le_bytes([head[6], head[7]]),
            body_bytes: number_at(head, 16) as usize,
            decoded_bytes: number_at(head, 20) as usize,
            body_checksum: number_at(head, 24),
        };
        match header.body_bytes.max(header.decoded_bytes) {
            large if large > BODY_BYTES_MAX => Err(RecordError::TooLarge(large)),
            _ => Ok(header),
        }
    }

    /// The first of the blocks that were synced together with this one. Those before it were
    /// durable when this record was written.
    pub(super) fn first_synced_with(&self) -> u64 {
        self.number.saturating_sub(u64::from(self.place))
    }

    /// Whether `body` is the body that this header was written for.
    pub(super) fn check(&self, body: &[u8]) -> Result<(), RecordError> {
        match body.len() == self.body_bytes && crc32c::crc32c(body) == self.body_checksum {
            true => Ok(()),
            false => Err(RecordError::BodyChecksum),
        }
    }

    /// Checks and decodes a body.
    pub(super) fn decode(&self, body: bytes::Bytes) -> Result<BlockRecord, RecordError> {
        self.check(&body)?;
        let plain = match self.encoding {
            Encoding::Plain => body,
            Encoding::Zstd => zstd::bulk::decompress(&body, self.decoded_bytes)
                .map_err(|error| RecordError::Body(error.to_string()))?
                .into(),
        };
        BlockRecord::decode(plain).map_err(|error| RecordError::Body(error.to_string()))
    }
}

fn number_at(head: &[u8; HEADER_BYTES], offset: usize) -> u32 {
    let bytes = head[offset..offset + 4].try_into().expect("offsets lie within the header");
    u32::from_le_bytes(bytes)
}
