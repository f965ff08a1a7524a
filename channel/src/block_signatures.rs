//! Whether the ordering service stands behind a block.

use prost::Message;
use ripstop_msp::SignedBytes;
use ripstop_proto::block::{SIGNATURES, metadata_slot, signing_input};
use ripstop_proto::common::{Block, Metadata, SignatureHeader};

use crate::channel_config::ChannelConfig;
use crate::policy::PolicyError;

const POLICY: &str = "/Channel/Orderer/BlockValidation";

/// Why a block's signatures are not enough.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockSignatureError {
    /// The block has no header.
    #[error("the block has no header")]
    NoHeader,
    /// The metadata slot of signatures does not decode.
    #[error("the signatures of block {number} do not decode: {cause}")]
    Undecodable {
        /// The block.
        number: u64,
        /// What the decoder says.
        cause: prost::DecodeError,
    },
    /// The policy for blocks is not satisfied.
    #[error("block {number} is not signed as the channel demands: {cause}")]
    Policy {
        /// The block.
        number: u64,
        /// What the policy says.
        cause: PolicyError,
    },
}

impl ChannelConfig {
    /// Checks the orderers' signatures over a block against the policy BlockValidation of
    /// this configuration: the one that was in force before the block.
    ///
    /// Each signature is over the signed metadata's value, the signature's own header and
    /// the block header. Source: Fabric `protoutil/blockutils.go`.
    ///
    /// # Errors
    /// Says what is needed and who signed.
    pub fn check_block_signatures(&self, block: &Block) -> Result<(), BlockSignatureError> {
        let header = block.header.as_ref().ok_or(BlockSignatureError::NoHeader)?;
        let undecodable = |cause| BlockSignatureError::Undecodable { number: header.number, cause };
        let metadata = Metadata::decode(metadata_slot(block, SIGNATURES)).map_err(undecodable)?;
        let mut creators = Vec::with_capacity(metadata.signatures.len());
        for signature in &metadata.signatures {
            let signer = SignatureHeader::decode(signature.signature_header.clone()).map_err(undecodable)?;
            creators.push(signer.creator);
        }
        let signed: Vec<SignedBytes<'_>> = metadata
            .signatures
            .iter()
            .zip(&creators)
            .map(|(signature, creator)| SignedBytes {
                identity: creator,
                message: signing_input(&metadata.value, &signature.signature_header, header).into(),
                signature: &signature.signature,
            })
            .collect();
        self.check(POLICY, &signed).map_err(|cause| BlockSignatureError::Policy { number: header.number, cause })
    }
}
