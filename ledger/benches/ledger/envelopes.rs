//! Envelopes as large and as compressible as real ones.
//!
//! Each is one of a real Fabric network with everything replaced that differs between two
//! transactions of a client: transaction id, nonce, time, arguments, value, write, proposal
//! hash, signatures. What repeats in reality (certificates, names) repeats here, what is
//! random there (nonces, signatures, hashes) is random here, and values are random text.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common::{ChannelHeader, Envelope, Payload, SignatureHeader};
use ripstop_proto::hash::sha256;
use ripstop_proto::kvrwset::{KvRead, KvWrite, Version};
use ripstop_proto::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeInvocationSpec, ChaincodeProposalPayload, Endorsement,
    ProposalResponsePayload, Transaction,
};
use ripstop_proto::read_write_set::{NamespaceSet, ReadWriteSet};

/// Namespace, key, version.
pub(crate) type Read<'a> = (&'a str, &'a str, Option<Version>);
/// Namespace, key, value; an empty value deletes.
pub(crate) type Write<'a> = (&'a str, &'a str, &'a [u8]);

pub(crate) const NAMESPACE: &str = "bench";
const REAL: &[u8] = include_bytes!("../../testdata/envelope/fabric.bin");
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A stream of numbers from a seed (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Text of 6 random bits per character.
    pub(crate) fn text(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| BASE64[self.next() as usize % 64]).collect()
    }

    /// A P-256 signature in DER.
    fn signature(&mut self) -> Bytes {
        let mut number = || {
            let bytes = self.bytes(32);
            let zero = vec![0; usize::from(bytes[0] >= 0x80)];
            [&[2, (bytes.len() + zero.len()) as u8], &zero[..], &bytes].concat()
        };
        let numbers = [number(), number()].concat();
        [&[0x30, numbers.len() as u8], &numbers[..]].concat().into()
    }
}

/// A client: its certificate, and the layers of the real envelope.
pub(crate) struct Client {
    envelope: Envelope,
    payload: Payload,
    channel_header: ChannelHeader,
    creator: Bytes,
    transaction: Transaction,
    action: ChaincodeActionPayload,
    proposal: ChaincodeProposalPayload,
    invocation: ChaincodeInvocationSpec,
    response: ProposalResponsePayload,
    chaincode_action: ChaincodeAction,
    endorsement: Endorsement,
}

impl Client {
    /// The client of the real envelope.
    pub(crate) fn real() -> Self {
        let envelope = Envelope::decode(REAL).unwrap();
        let payload = Payload::decode(envelope.payload.clone()).unwrap();
        let header = payload.header.clone().unwrap();
        let transaction = Transaction::decode(payload.data.clone()).unwrap();
        let action = ChaincodeActionPayload::decode(transaction.actions[0].payload.clone()).unwrap();
        let endorsed = action.action.clone().unwrap();
        let proposal = ChaincodeProposalPayload::decode(action.chaincode_proposal_payload.clone()).unwrap();
        let response = ProposalResponsePayload::decode(endorsed.proposal_response_payload).unwrap();
        Self {
            channel_header: ChannelHeader::decode(header.channel_header).unwrap(),
            creator: SignatureHeader::decode(header.signature_header).unwrap().creator,
            invocation: ChaincodeInvocationSpec::decode(proposal.input.clone()).unwrap(),
            chaincode_action: ChaincodeAction::decode(response.extension.clone()).unwrap(),
            endorsement: endorsed.endorsements[0].clone(),
            envelope,
            payload,
            transaction,
            action,
            proposal,
            response,
        }
    }

    /// Another client of the same organization: serial number, key and signature of its
    /// certificate differ, about 200 characters.
    pub(crate) fn other(random: &mut Random) -> Self {
        let mut client = Self::real();
        let mut creator = client.creator.to_vec();
        let place = |text: &[u8]| creator.windows(text.len()).position(|window| window == text).unwrap();
        let (begin, key, end) = (place(b"MIIC"), place(b"NCAAR"), place(b"-----END"));
        for (from, count) in [(begin + 20, 22), (key + 5, 86), (end - 95, 94)] {
            creator[from..from + count].copy_from_slice(&random.text(count));
        }
        client.creator = creator.into();
        client
    }

    /// An envelope of this client with these reads, each at a version, and these writes, of
    /// which the first is also in the arguments.
    pub(crate) fn envelope(&mut self, random: &mut Random, reads: &[Read<'_>], writes: &[Write<'_>]) -> Bytes {
        let nonce = Bytes::from(random.bytes(24));
        let signature_header: Bytes =
            SignatureHeader { creator: self.creator.clone(), nonce: nonce.clone() }.encode_to_vec().into();
        self.channel_header.tx_id = hex::encode(sha256(&[&nonce, &self.creator]));
        if let Some(time) = &mut self.channel_header.timestamp {
            time.seconds += 1;
            time.nanos = (random.next() % 1_000_000_000) as i32;
        }
        if let Some(input) = self.invocation.chaincode_spec.as_mut().and_then(|spec| spec.input.as_mut()) {
            input.args[1] = Bytes::copy_from_slice(writes[0].1.as_bytes());
            input.args[2] = Bytes::copy_from_slice(writes[0].2);
        }
        self.proposal.input = self.invocation.encode_to_vec().into();
        self.chaincode_action.results = read_write_set(reads, writes).encode();
        self.response.extension = self.chaincode_action.encode_to_vec().into();
        self.response.proposal_hash = random.bytes(32).into();
        self.endorsement.signature = random.signature();
        self.action.chaincode_proposal_payload = self.proposal.encode_to_vec().into();
        if let Some(endorsed) = &mut self.action.action {
            endorsed.proposal_response_payload = self.response.encode_to_vec().into();
            endorsed.endorsements = vec![self.endorsement.clone()];
        }
        self.transaction.actions[0].header = signature_header.clone();
        self.transaction.actions[0].payload = self.action.encode_to_vec().into();
        self.payload.data = self.transaction.encode_to_vec().into();
        if let Some(header) = &mut self.payload.header {
            header.channel_header = self.channel_header.encode_to_vec().into();
            header.signature_header = signature_header;
        }
        self.envelope.payload = self.payload.encode_to_vec().into();
        self.envelope.signature = random.signature();
        self.envelope.encode_to_vec().into()
    }
}

fn read_write_set(reads: &[Read<'_>], writes: &[Write<'_>]) -> ReadWriteSet {
    let mut set = ReadWriteSet::default();
    for (namespace, key, version) in reads {
        let read = KvRead { key: (*key).to_owned(), version: *version };
        namespace_set(&mut set, namespace).public.reads.push(read);
    }
    for (namespace, key, value) in writes {
        let write =
            KvWrite { key: (*key).to_owned(), is_delete: value.is_empty(), value: Bytes::copy_from_slice(value) };
        namespace_set(&mut set, namespace).public.writes.push(write);
    }
    set
}

fn namespace_set<'a>(set: &'a mut ReadWriteSet, name: &str) -> &'a mut NamespaceSet {
    let position = set.namespaces.iter().position(|set| set.namespace == name);
    let position = position.unwrap_or_else(|| {
        set.namespaces.push(NamespaceSet { namespace: name.to_owned(), ..NamespaceSet::default() });
        set.namespaces.len() - 1
    });
    &mut set.namespaces[position]
}
