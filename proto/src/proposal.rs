//! A proposal as a client signs it, the hash that ties an endorsement to it, and what an
//! endorser signs.

use bytes::Bytes;
use prost::Message;

use crate::common::{ChannelHeader, Header, SignatureHeader};
use crate::hash::{Hash, sha256};
use crate::protos::{
    ChaincodeHeaderExtension, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload, Proposal,
};

/// Which layer of a proposal is missing or does not decode.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposalError {
    /// A layer is not the message it should be.
    #[error("error unmarshalling {layer}: {cause}")]
    Undecodable {
        /// The message that was expected.
        layer: &'static str,
        /// What the decoder says.
        cause: prost::DecodeError,
    },
    /// A part that has to be there is not.
    #[error("{0}")]
    Missing(&'static str),
}

/// A proposal with every layer read. Bytes that are hashed stand verbatim in
/// `proposal` and `header`.
#[derive(Debug, Clone)]
pub struct OpenProposal {
    /// Header, payload and extension as bytes.
    pub proposal: Proposal,
    /// The two inner headers as bytes.
    pub header: Header,
    /// Type, channel, transaction id.
    pub channel_header: ChannelHeader,
    /// Creator and nonce.
    pub signature_header: SignatureHeader,
    /// The chaincode that is asked for. This name decides, not the one in the input.
    pub chaincode_name: String,
    /// The chaincode name inside the invocation spec, which only a gateway's plan uses.
    pub spec_chaincode_name: String,
    /// Input as bytes, and the transient map.
    pub payload: ChaincodeProposalPayload,
    /// Function and arguments.
    pub input: ChaincodeInput,
}

impl OpenProposal {
    /// Reads the layers of the bytes that a `SignedProposal` carries.
    ///
    /// Source of what has to be present: Fabric `core/endorser/msgvalidation.go`.
    ///
    /// # Errors
    /// Names the layer.
    pub fn open(proposal_bytes: Bytes) -> Result<Self, ProposalError> {
        let proposal: Proposal = decode("Proposal", proposal_bytes)?;
        let header: Header = decode("Header", proposal.header.clone())?;
        let channel_header: ChannelHeader = decode("ChannelHeader", header.channel_header.clone())?;
        let signature_header: SignatureHeader = decode("SignatureHeader", header.signature_header.clone())?;
        let extension: ChaincodeHeaderExtension = decode("ChaincodeHeaderExtension", channel_header.extension.clone())?;
        let chaincode_name =
            extension.chaincode_id.ok_or(ProposalError::Missing("ChaincodeHeaderExtension.ChaincodeId is nil"))?.name;
        if chaincode_name.is_empty() {
            return Err(ProposalError::Missing("ChaincodeHeaderExtension.ChaincodeId.Name is empty"));
        }
        let payload: ChaincodeProposalPayload = decode("ChaincodeProposalPayload", proposal.payload.clone())?;
        let invocation: ChaincodeInvocationSpec = decode("ChaincodeInvocationSpec", payload.input.clone())?;
        let spec = invocation
            .chaincode_spec
            .ok_or(ProposalError::Missing("chaincode invocation spec did not contain chaincode spec"))?;
        let input = spec.input.ok_or(ProposalError::Missing("chaincode input did not contain any input"))?;
        let spec_chaincode_name = spec.chaincode_id.map(|id| id.name).unwrap_or_default();
        Ok(Self {
            proposal,
            header,
            channel_header,
            signature_header,
            chaincode_name,
            spec_chaincode_name,
            payload,
            input,
        })
    }

    /// The proposal hash an endorser writes into its answer.
    pub fn hash(&self) -> Hash {
        let payload = without_transient(&self.payload);
        hash_at_validation(&self.header.channel_header, &self.header.signature_header, &payload)
    }
}

fn decode<M: Message + Default>(layer: &'static str, bytes: Bytes) -> Result<M, ProposalError> {
    M::decode(bytes).map_err(|cause| ProposalError::Undecodable { layer, cause })
}

fn without_transient(payload: &ChaincodeProposalPayload) -> Vec<u8> {
    ChaincodeProposalPayload { input: payload.input.clone(), transient_map: Default::default() }.encode_to_vec()
}

/// The payload as it enters a transaction: only the input, re-encoded.
///
/// # Errors
/// When `payload` is not a `ChaincodeProposalPayload`.
pub fn payload_without_transient(payload: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    Ok(without_transient(&ChaincodeProposalPayload::decode(payload)?))
}

/// `SHA-256(channel header ++ signature header ++ payload without transient data)`, as an
/// endorser computes it from the proposal it got.
///
/// Source: Fabric `protoutil/txutils.go`, first form.
///
/// # Errors
/// When `payload` is not a `ChaincodeProposalPayload`.
pub fn hash_at_endorsement(header: &Header, payload: &[u8]) -> Result<Hash, prost::DecodeError> {
    let payload = payload_without_transient(payload)?;
    Ok(hash_at_validation(&header.channel_header, &header.signature_header, &payload))
}

/// The same hash as a validator computes it from a transaction: nothing is re-encoded.
///
/// `signature_header` is the header of the action, `payload` the
/// `chaincode_proposal_payload` bytes as they stand in the transaction.
/// Source: Fabric `protoutil/txutils.go`, second form.
pub fn hash_at_validation(channel_header: &[u8], signature_header: &[u8], payload: &[u8]) -> Hash {
    sha256(&[channel_header, signature_header, payload])
}

/// What an endorser signs: the payload of its answer, then its own serialized identity.
pub fn endorsement_signing_input(response_payload: &[u8], endorser: &[u8]) -> Vec<u8> {
    [response_payload, endorser].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transient_data_does_not_change_the_hash() {
        let header = Header { channel_header: Bytes::from_static(b"c"), signature_header: Bytes::from_static(b"s") };
        let mut payload =
            ChaincodeProposalPayload { input: Bytes::from_static(b"input"), transient_map: Default::default() };
        let plain = hash_at_endorsement(&header, &payload.encode_to_vec()).unwrap();
        payload.transient_map.insert("secret".into(), Bytes::from_static(b"value"));
        assert_eq!(hash_at_endorsement(&header, &payload.encode_to_vec()).unwrap(), plain);
        assert_eq!(plain, hash_at_validation(b"c", b"s", b"\x0a\x05input"));
    }

    #[test]
    fn a_proposal_without_a_chaincode_name_is_refused() {
        let channel_header = ChannelHeader {
            extension: ChaincodeHeaderExtension { chaincode_id: Some(Default::default()) }.encode_to_vec().into(),
            ..Default::default()
        };
        let header = Header { channel_header: channel_header.encode_to_vec().into(), ..Default::default() };
        let proposal = Proposal { header: header.encode_to_vec().into(), ..Default::default() };
        let refused = OpenProposal::open(proposal.encode_to_vec().into()).unwrap_err();
        assert!(refused.to_string().contains("Name is empty"), "{refused}");
    }
}
