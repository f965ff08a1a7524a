//! The block writer: from a batch that the consenters agreed on to a signed block.
//!
//! Number, previous hash and data hash are a pure function of the log, so every orderer
//! makes the same blocks and a change of leader renumbers nothing. Metadata is each
//! orderer's own: its signature, and the raft index of the batch, by which the writer knows
//! after a restart what it has already written.
//!
//! ```text
//! slot 0  Metadata{ value = OrdererBlockMetadata{ last_config, consenter_metadata = Metadata{ etcdraft.BlockMetadata } },
//!                   signatures = [ signature_header, signature over value ++ signature_header ++ header DER ] }
//! slot 1  Metadata{ value = LastConfig }, for old readers
//! ```
//! Slots 2 to 4 stay empty for peers. Source: Fabric `orderer/common/multichannel/blockwriter.go`.

use bytes::Bytes;
use prost::{DecodeError, Message};
use ripstop_msp::{SigningError, SigningIdentity};
use ripstop_proto::block;
use ripstop_proto::common::{
    Block, BlockData, BlockHeader, BlockMetadata, LastConfig, Metadata, MetadataSignature, OrdererBlockMetadata,
    SignatureHeader,
};
use ripstop_proto::etcdraft;

/// Random bytes in a signature header.
pub const NONCE_BYTES: usize = 24;

/// Why blocks cannot be written. The node must stop.
#[derive(Debug, thiserror::Error)]
pub enum BlockWriterError {
    /// The last block is not one that an orderer has written.
    #[error("block {number} of the store cannot be continued: {reason}")]
    LastBlock {
        /// Its number.
        number: u64,
        /// What is missing.
        reason: String,
    },
    /// The orderer's key does not sign.
    #[error("cannot sign a block: {0}")]
    Sign(#[from] SigningError),
}

/// Makes the blocks of one channel, one after the other.
#[derive(Debug)]
pub struct BlockWriter {
    number: u64,
    previous_hash: Bytes,
    last_config: u64,
    consenter_ids: Vec<u64>,
    raft_index: u64,
}

impl BlockWriter {
    /// Goes on after `last`, the newest block of the store. `consenter_ids` stand in the
    /// metadata of every block.
    ///
    /// # Errors
    /// When the block lacks what an orderer writes.
    pub fn after(last: &Block, consenter_ids: Vec<u64>) -> Result<Self, BlockWriterError> {
        let header = last.header.as_ref();
        let number = header.map_or(0, |header| header.number);
        let broken = |reason: &str| BlockWriterError::LastBlock { number, reason: reason.to_owned() };
        let header = header.ok_or_else(|| broken("it has no header"))?;
        let undecodable = |error: DecodeError| broken(&format!("its metadata does not decode: {error}"));
        Ok(Self {
            number: number.checked_add(1).ok_or_else(|| broken("there is no greater number"))?,
            previous_hash: Bytes::copy_from_slice(&block::header_hash(header)),
            last_config: block::last_config_index(last).map_err(undecodable)?,
            consenter_ids,
            raft_index: raft_index(last).map_err(undecodable)?,
        })
    }

    /// Raft index of the newest batch that is written; 0 before the first.
    pub fn raft_index(&self) -> u64 {
        self.raft_index
    }

    /// The block of the batch at `raft_index`, signed; `None` when it is already written.
    ///
    /// # Errors
    /// When signing fails.
    pub fn write(
        &mut self,
        raft_index: u64,
        envelopes: Vec<Bytes>,
        signer: &SigningIdentity,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<Option<Block>, BlockWriterError> {
        if raft_index <= self.raft_index {
            return Ok(None);
        }
        let header = BlockHeader {
            number: self.number,
            previous_hash: self.previous_hash.clone(),
            data_hash: Bytes::copy_from_slice(&block::data_hash(&envelopes)),
        };
        let mut written =
            Block { header: Some(header.clone()), data: Some(BlockData { data: envelopes }), metadata: None };
        let last_config = if block::is_config(&written) { header.number } else { self.last_config };
        written.metadata = Some(self.metadata(&header, last_config, raft_index, signer, nonce)?);
        self.previous_hash = Bytes::copy_from_slice(&block::header_hash(&header));
        self.number += 1;
        self.last_config = last_config;
        self.raft_index = raft_index;
        Ok(Some(written))
    }

    /// Takes over a block that another orderer has written, if it is the next one.
    ///
    /// # Errors
    /// When it lacks what an orderer writes.
    pub fn adopt(&mut self, block: &Block) -> Result<bool, BlockWriterError> {
        let next = Self::after(block, Vec::new())?;
        let header = block.header.as_ref();
        let follows =
            header.is_some_and(|header| header.number == self.number && header.previous_hash == self.previous_hash);
        if !follows || next.raft_index <= self.raft_index {
            return Ok(false);
        }
        *self = Self { consenter_ids: std::mem::take(&mut self.consenter_ids), ..next };
        Ok(true)
    }

    /// Number of the next block, which is how many there are.
    pub fn height(&self) -> u64 {
        self.number
    }

    fn metadata(
        &self,
        header: &BlockHeader,
        last_config: u64,
        raft_index: u64,
        signer: &SigningIdentity,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<BlockMetadata, BlockWriterError> {
        let next_consenter_id = self.consenter_ids.iter().max().map_or(1, |id| id + 1);
        let raft = etcdraft::BlockMetadata { consenter_ids: self.consenter_ids.clone(), next_consenter_id, raft_index };
        let last_config = LastConfig { index: last_config };
        let value = OrdererBlockMetadata {
            last_config: Some(last_config),
            consenter_metadata: unsigned(&raft).encode_to_vec().into(),
        };
        let value = value.encode_to_vec();
        let creator = signer.serialized().clone();
        let signature_header = SignatureHeader { creator, nonce: Bytes::copy_from_slice(&nonce) }.encode_to_vec();
        let signature = signer.sign(&block::signing_input(&value, &signature_header, header))?;
        let signature = MetadataSignature {
            signature_header: signature_header.into(),
            signature: signature.into(),
            ..MetadataSignature::default()
        };
        let mut slots = vec![Bytes::new(); block::METADATA_SLOTS];
        slots[block::SIGNATURES] = Metadata { value: value.into(), signatures: vec![signature] }.encode_to_vec().into();
        slots[block::LAST_CONFIG] = unsigned(&last_config).encode_to_vec().into();
        Ok(BlockMetadata { metadata: slots })
    }
}

fn unsigned(value: &impl Message) -> Metadata {
    Metadata { value: value.encode_to_vec().into(), signatures: Vec::new() }
}

/// Raft index of the batch in a block; 0 for a genesis block, which no consenter made.
fn raft_index(block: &Block) -> Result<u64, DecodeError> {
    if block.header.as_ref().is_some_and(|header| header.number == 0) {
        return Ok(0);
    }
    let metadata = Metadata::decode(block::metadata_slot(block, block::SIGNATURES))?;
    let value = OrdererBlockMetadata::decode(metadata.value)?;
    let consenter_metadata = Metadata::decode(value.consenter_metadata)?;
    Ok(etcdraft::BlockMetadata::decode(consenter_metadata.value)?.raft_index)
}

#[cfg(test)]
mod tests {
    use ripstop_msp::authority::{AuthorityKind, CertificateAuthority};
    use ripstop_msp::{KeyKind, Role};
    use ripstop_proto::common::{ChannelHeader, Envelope, Header, HeaderType, Payload};

    use super::*;

    const NONCE: [u8; NONCE_BYTES] = [5; NONCE_BYTES];

    fn signer() -> SigningIdentity {
        let authority = CertificateAuthority::new("example.com", AuthorityKind::Identity).unwrap();
        let issued = authority.issue_identity("orderer", Role::Orderer, KeyKind::Ed25519).unwrap();
        SigningIdentity::from_pem("OrdererMSP", issued.certificate_pem, issued.key_pem).unwrap()
    }

    fn genesis() -> Block {
        Block { header: Some(BlockHeader::default()), ..Block::default() }
    }

    fn envelopes(text: &str) -> Vec<Bytes> {
        vec![Bytes::copy_from_slice(text.as_bytes())]
    }

    fn config_envelope() -> Vec<Bytes> {
        let channel_header = ChannelHeader { r#type: HeaderType::Config.into(), ..ChannelHeader::default() };
        let header = Header { channel_header: channel_header.encode_to_vec().into(), ..Header::default() };
        let payload = Payload { header: Some(header), data: Bytes::new() };
        vec![Envelope { payload: payload.encode_to_vec().into(), signature: Bytes::new() }.encode_to_vec().into()]
    }

    #[test]
    fn numbers_and_hashes_follow_from_the_batches_alone() {
        let (one, other) = (signer(), signer());
        let chain = |signer: &SigningIdentity, nonce| {
            let mut writer = BlockWriter::after(&genesis(), vec![1, 2, 3]).unwrap();
            let batches = [(2, "a"), (5, "b"), (6, "c")];
            batches.map(|(index, text)| writer.write(index, envelopes(text), signer, nonce).unwrap().unwrap().header)
        };
        let headers = chain(&one, NONCE);
        assert_eq!(headers, chain(&other, [6; NONCE_BYTES]));
        assert_eq!(headers.map(|header| header.unwrap().number), [1, 2, 3]);
    }

    #[test]
    fn a_batch_that_is_in_the_last_block_is_not_written_again() {
        let signer = signer();
        let mut writer = BlockWriter::after(&genesis(), vec![1]).unwrap();
        let first = writer.write(7, envelopes("a"), &signer, NONCE).unwrap().unwrap();
        let mut writer = BlockWriter::after(&first, vec![1]).unwrap();
        assert_eq!(writer.raft_index(), 7);
        assert_eq!(writer.write(7, envelopes("a"), &signer, NONCE).unwrap(), None);
        let second = writer.write(9, envelopes("b"), &signer, NONCE).unwrap().unwrap();
        let header = second.header.unwrap();
        assert_eq!(
            (header.number, header.previous_hash),
            (2, block::header_hash(&first.header.unwrap()).to_vec().into())
        );
    }

    #[test]
    fn the_metadata_has_fabric_bytes() {
        let signer = signer();
        let mut writer = BlockWriter::after(&genesis(), vec![1, 2, 3]).unwrap();
        let written = writer.write(300, envelopes("a"), &signer, NONCE).unwrap().unwrap();
        let metadata = Metadata::decode(block::metadata_slot(&written, block::SIGNATURES)).unwrap();
        // last_config {} | consenter_metadata: Metadata{ value: ids 1 2 3, next 4, raft index 300 }
        assert_eq!(hex::encode(&metadata.value), "0a00120c0a0a0a03010203100418ac02");
        assert_eq!(block::metadata_slot(&written, block::LAST_CONFIG), b"");
        let [signature] = metadata.signatures.as_slice() else { panic!("one signature") };
        let header = SignatureHeader::decode(signature.signature_header.clone()).unwrap();
        assert_eq!((&header.creator, header.nonce.as_ref()), (signer.serialized(), NONCE.as_slice()));
        let signed =
            block::signing_input(&metadata.value, &signature.signature_header, written.header.as_ref().unwrap());
        let certificate = ripstop_msp::Certificate::from_pem(signer.certificate_pem().as_bytes()).unwrap();
        certificate.public_key().verify(&signed, &signature.signature).unwrap();
    }

    #[test]
    fn a_config_block_names_itself_and_the_blocks_after_it_name_it() {
        let signer = signer();
        let mut writer = BlockWriter::after(&genesis(), vec![1]).unwrap();
        let batches = [envelopes("a"), config_envelope(), envelopes("b")];
        let blocks = [1, 2, 3]
            .map(|index| writer.write(index, batches[index as usize - 1].clone(), &signer, NONCE).unwrap().unwrap());
        assert_eq!(blocks.each_ref().map(|block| block::last_config_index(block).unwrap()), [0, 2, 2]);
        assert_eq!(block::metadata_slot(&blocks[2], block::LAST_CONFIG), b"\x0a\x02\x08\x02");
    }
}
