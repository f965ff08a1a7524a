//! The signed outer layer of everything that is ordered or asked of Deliver.

use bytes::Bytes;
use prost::Message;

use crate::common::{ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader};

/// Which layer of an envelope could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EnvelopeError {
    /// The outermost bytes are not an `Envelope`.
    #[error("envelope does not decode: {0}")]
    Envelope(prost::DecodeError),
    /// The payload is empty or not a `Payload`.
    #[error("payload does not decode: {0}")]
    Payload(prost::DecodeError),
    /// The payload has no header.
    #[error("payload has no header")]
    NoHeader,
    /// The channel header does not decode.
    #[error("channel header does not decode: {0}")]
    ChannelHeader(prost::DecodeError),
    /// The signature header does not decode.
    #[error("signature header does not decode: {0}")]
    SignatureHeader(prost::DecodeError),
}

/// Why an entry of a block makes a receiver refuse the whole block.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotCanonical {
    /// The entry is not an `Envelope`.
    #[error("entry does not decode as an envelope: {0}")]
    Undecodable(#[from] prost::DecodeError),
    /// No payload.
    #[error("envelope has no payload")]
    NoPayload,
    /// No signature.
    #[error("envelope has no signature")]
    NoSignature,
    /// Unknown fields, another field order, or trailing bytes.
    #[error("envelope bytes differ from their re-encoding")]
    OtherBytes,
}

/// An envelope with its two headers read. The payload bytes that were signed stand in
/// `envelope.payload`.
#[derive(Debug, Clone)]
pub struct OpenEnvelope {
    /// Payload and signature as received.
    pub envelope: Envelope,
    /// The payload; its `data` depends on the header type.
    pub payload: Payload,
    /// The header as it stands in the payload: the two inner headers verbatim.
    pub header: Header,
    /// Type, channel and transaction id.
    pub channel_header: ChannelHeader,
    /// Creator and nonce.
    pub signature_header: SignatureHeader,
}

impl OpenEnvelope {
    /// Reads the layers of `bytes`; does not check any signature.
    ///
    /// # Errors
    /// Names the layer that does not decode.
    pub fn open(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        Self::from_envelope(Envelope::decode(bytes).map_err(EnvelopeError::Envelope)?)
    }

    /// Like [`OpenEnvelope::open`], from a decoded envelope.
    ///
    /// # Errors
    /// Names the layer that does not decode.
    pub fn from_envelope(envelope: Envelope) -> Result<Self, EnvelopeError> {
        // A shared buffer makes the inner byte fields slices of it instead of copies.
        let payload = Payload::decode(envelope.payload.clone()).map_err(EnvelopeError::Payload)?;
        let header = payload.header.clone().ok_or(EnvelopeError::NoHeader)?;
        let channel_header =
            ChannelHeader::decode(header.channel_header.clone()).map_err(EnvelopeError::ChannelHeader)?;
        let signature_header =
            SignatureHeader::decode(header.signature_header.clone()).map_err(EnvelopeError::SignatureHeader)?;
        Ok(Self { envelope, payload, header, channel_header, signature_header })
    }

    /// The header type, if it is a known one.
    pub fn header_type(&self) -> Option<HeaderType> {
        HeaderType::try_from(self.channel_header.r#type).ok()
    }

    /// The id under which the transaction is indexed: the one in the channel header, or
    /// the computed one when that is empty (configuration transactions).
    pub fn index_tx_id(&self) -> String {
        if self.channel_header.tx_id.is_empty() {
            crate::tx_id::compute(&self.signature_header.nonce, &self.signature_header.creator)
        } else {
            self.channel_header.tx_id.clone()
        }
    }
}

/// The check that every receiver of a block makes on each entry of a block that is not a
/// configuration block: lengths are not part of the data hash, so an entry has to be the
/// one possible encoding of a signed envelope.
///
/// Source: Fabric `protoutil/blockutils.go`.
///
/// # Errors
/// Says what is missing or different.
pub fn canonical(bytes: &[u8]) -> Result<Envelope, NotCanonical> {
    let envelope = Envelope::decode(bytes)?;
    if envelope.payload.is_empty() {
        return Err(NotCanonical::NoPayload);
    }
    if envelope.signature.is_empty() {
        return Err(NotCanonical::NoSignature);
    }
    if envelope.encoded_len() != bytes.len() || envelope.encode_to_vec() != bytes {
        return Err(NotCanonical::OtherBytes);
    }
    Ok(envelope)
}

/// The size in bytes that limits and the block cutter count: payload plus signature.
pub fn size(envelope: &Envelope) -> usize {
    envelope.payload.len() + envelope.signature.len()
}

/// An envelope around a payload that its creator signed (the signature is over `payload`).
pub fn signed(payload: Bytes, signature: Bytes) -> Envelope {
    Envelope { payload, signature }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(payload: &'static [u8], signature: &'static [u8]) -> Vec<u8> {
        signed(Bytes::from_static(payload), Bytes::from_static(signature)).encode_to_vec()
    }

    #[test]
    fn the_one_encoding_of_a_signed_envelope_is_canonical() {
        assert_eq!(canonical(&encoded(b"p", b"s")).unwrap().payload, Bytes::from_static(b"p"));
    }

    #[test]
    fn an_envelope_without_signature_or_payload_is_not_canonical() {
        assert!(matches!(canonical(&encoded(b"p", b"")), Err(NotCanonical::NoSignature)));
        assert!(matches!(canonical(&encoded(b"", b"s")), Err(NotCanonical::NoPayload)));
    }

    #[test]
    fn other_field_order_or_unknown_fields_are_not_canonical() {
        let swapped = [b"\x12\x01s".as_slice(), b"\x0a\x01p"].concat();
        assert!(matches!(canonical(&swapped), Err(NotCanonical::OtherBytes)));
        let unknown = [encoded(b"p", b"s").as_slice(), b"\x1a\x01x"].concat();
        assert!(matches!(canonical(&unknown), Err(NotCanonical::OtherBytes)));
    }
}
