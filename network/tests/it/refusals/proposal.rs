//! Proposals with any part changed, left out or broken before they are signed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use prost::Message;
use ripstop_msp::SigningIdentity;
use ripstop_proto::common::{ChannelHeader, Header, HeaderType, SignatureHeader};
use ripstop_proto::protos::{
    ChaincodeHeaderExtension, ChaincodeId, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload,
    ChaincodeSpec, Proposal, SignedProposal,
};
use ripstop_proto::tx_id;

use super::stage::CHANNEL;

/// No message decodes from these bytes.
pub(super) const GARBAGE: &[u8] = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";

/// A layer whose bytes can be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    Proposal,
    Header,
    ChannelHeader,
    SignatureHeader,
    Extension,
    Payload,
    Input,
}

/// A proposal of a call, in parts.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) channel_header: ChannelHeader,
    pub(super) signature_header: SignatureHeader,
    pub(super) extension: ChaincodeHeaderExtension,
    pub(super) spec: Option<ChaincodeSpec>,
    pub(super) transient: bool,
    /// The layer that is garbage.
    pub(super) broken: Option<Layer>,
}

impl Draft {
    /// A correct proposal.
    pub(super) fn new(creator: &SigningIdentity, chaincode: &str, args: &[&[u8]]) -> Self {
        let signature_header = SignatureHeader { creator: creator.serialized().clone(), nonce: nonce() };
        let chaincode_id = Some(ChaincodeId { name: chaincode.to_owned(), ..ChaincodeId::default() });
        let args = args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
        let input = Some(ChaincodeInput { args, ..ChaincodeInput::default() });
        Self {
            channel_header: ChannelHeader {
                r#type: HeaderType::EndorserTransaction.into(),
                timestamp: Some(SystemTime::now().into()),
                channel_id: CHANNEL.to_owned(),
                tx_id: tx_id::compute(&signature_header.nonce, &signature_header.creator),
                ..ChannelHeader::default()
            },
            signature_header,
            extension: ChaincodeHeaderExtension { chaincode_id: chaincode_id.clone() },
            spec: Some(ChaincodeSpec { chaincode_id, input, ..ChaincodeSpec::default() }),
            transient: false,
            broken: None,
        }
    }

    /// A call of the sample contract.
    pub(super) fn read_asset(creator: &SigningIdentity) -> Self {
        Self::new(creator, "basic", &[b"AssetExists", b"asset1"])
    }

    pub(super) fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(super) fn broken(self, layer: Layer) -> Self {
        self.change(|draft| draft.broken = Some(layer))
    }

    pub(super) fn tx_id(&self) -> &str {
        &self.channel_header.tx_id
    }

    /// The two inner headers, encoded.
    pub(super) fn header(&self) -> Header {
        let mut channel_header = self.channel_header.clone();
        channel_header.extension = self.layer(Layer::Extension, &self.extension);
        Header {
            channel_header: self.layer(Layer::ChannelHeader, &channel_header),
            signature_header: self.layer(Layer::SignatureHeader, &self.signature_header),
        }
    }

    /// The payload, with or without its transient part.
    pub(super) fn payload(&self, transient: bool) -> Bytes {
        let input = self.layer(Layer::Input, &ChaincodeInvocationSpec { chaincode_spec: self.spec.clone() });
        let mut payload = ChaincodeProposalPayload { input, ..ChaincodeProposalPayload::default() };
        if transient {
            payload.transient_map.insert("secret".to_owned(), Bytes::from_static(b"value"));
        }
        self.layer(Layer::Payload, &payload)
    }

    pub(super) fn bytes(&self) -> Bytes {
        let header = self.layer(Layer::Header, &self.header());
        let proposal = Proposal { header, payload: self.payload(self.transient), ..Proposal::default() };
        self.layer(Layer::Proposal, &proposal)
    }

    pub(super) fn sign(&self, signer: &SigningIdentity) -> SignedProposal {
        let proposal_bytes = self.bytes();
        let signature = signer.sign(&proposal_bytes).unwrap().into();
        SignedProposal { proposal_bytes, signature }
    }

    fn layer(&self, layer: Layer, message: &impl Message) -> Bytes {
        if self.broken == Some(layer) { Bytes::from_static(GARBAGE) } else { message.encode_to_vec().into() }
    }
}

/// 24 bytes that were not used before in this process.
pub(super) fn nonce() -> Bytes {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    [count, count, count].concat().into()
}

/// The other signature that the same key and message have, which nobody may use.
pub(super) fn high_s(signature: &[u8]) -> Bytes {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let r_end = 4 + usize::from(signature[3]);
    let s = &signature[r_end + 2..];
    let mut low = [0; 32];
    let s = &s[s.len().saturating_sub(32)..];
    low[32 - s.len()..].copy_from_slice(s);
    let mut high = [0; 33];
    let mut borrow = 0;
    for index in (0..32).rev() {
        let difference = i16::from(ORDER[index]) - i16::from(low[index]) - borrow;
        borrow = i16::from(difference < 0);
        high[index + 1] = difference.rem_euclid(256) as u8;
    }
    // N - s is above N / 2, so its first bit is set and a zero byte stands before it.
    let integer = [&[2, 33], &high[..]].concat();
    let body = [&signature[2..r_end], &integer].concat();
    [&[0x30, body.len() as u8], &body[..]].concat().into()
}
