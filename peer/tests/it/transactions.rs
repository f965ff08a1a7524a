//! Endorsed transactions, whole or broken at one chosen layer.

use bytes::Bytes;
use prost::Message;
use ripstop_msp::SigningIdentity;
use ripstop_proto::common::{ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader};
use ripstop_proto::kvrwset::{KvWrite, KvWriteHash};
use ripstop_proto::proposal::{endorsement_signing_input, hash_at_validation};
use ripstop_proto::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction, ChaincodeHeaderExtension, ChaincodeId,
    ChaincodeProposalPayload, Endorsement, ProposalResponsePayload, Response, Transaction, TransactionAction,
};
use ripstop_proto::read_write_set::{CollectionSet, NamespaceSet, ReadWriteSet};
use ripstop_proto::tx_id;

/// Changes one layer before the layers around it are made (hashes, signatures).
pub(crate) type Change<T> = Box<dyn Fn(&mut T)>;

/// A transaction before it is put together.
pub(crate) struct Draft<'a> {
    pub(crate) channel_id: String,
    pub(crate) creator: &'a SigningIdentity,
    pub(crate) endorsers: Vec<&'a SigningIdentity>,
    pub(crate) chaincode: String,
    pub(crate) nonce: Vec<u8>,
    pub(crate) proposal_payload: Bytes,
    pub(crate) sets: ReadWriteSet,
    pub(crate) changes: Changes,
}

/// From the innermost layer to the outermost.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) channel_header: Vec<Change<ChannelHeader>>,
    pub(crate) action: Vec<Change<ChaincodeAction>>,
    pub(crate) response_payload: Vec<Change<ProposalResponsePayload>>,
    pub(crate) endorsements: Vec<Change<Vec<Endorsement>>>,
    pub(crate) transaction: Vec<Change<Transaction>>,
    pub(crate) payload: Vec<Change<Payload>>,
    pub(crate) envelope: Vec<Change<Envelope>>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(creator: &'a SigningIdentity, endorsers: &[&'a SigningIdentity], nonce: u64) -> Self {
        let input = ChaincodeProposalPayload { input: Bytes::from_static(b"input"), ..Default::default() };
        Self {
            channel_id: super::organizations::CHANNEL.to_owned(),
            creator,
            endorsers: endorsers.to_vec(),
            chaincode: "basic".to_owned(),
            nonce: nonce.to_be_bytes().repeat(3),
            proposal_payload: input.encode_to_vec().into(),
            sets: ReadWriteSet::default(),
            changes: Changes::default(),
        }
    }

    pub(crate) fn sets(mut self, namespaces: impl IntoIterator<Item = NamespaceSet>) -> Self {
        self.sets.namespaces = namespaces.into_iter().collect();
        self
    }

    pub(crate) fn tx_id(&self) -> String {
        tx_id::compute(&self.nonce, self.creator.serialized())
    }

    /// The transaction's bytes in a block.
    pub(crate) fn entry(&self) -> Bytes {
        let channel_header = self.channel_header();
        let signature_header = self.signature_header();
        let action = self.action();
        let hash = hash_at_validation(&channel_header, &signature_header, &self.proposal_payload);
        let mut response_payload = ProposalResponsePayload { proposal_hash: hash.to_vec().into(), extension: action };
        apply(&self.changes.response_payload, &mut response_payload);
        let response_payload: Bytes = response_payload.encode_to_vec().into();
        let endorsed = ChaincodeEndorsedAction {
            endorsements: self.endorse(&response_payload),
            proposal_response_payload: response_payload,
        };
        let action_payload = ChaincodeActionPayload {
            chaincode_proposal_payload: self.proposal_payload.clone(),
            action: Some(endorsed),
        };
        let action =
            TransactionAction { header: signature_header.clone(), payload: action_payload.encode_to_vec().into() };
        let mut transaction = Transaction { actions: vec![action] };
        apply(&self.changes.transaction, &mut transaction);
        let mut payload = Payload {
            header: Some(Header { channel_header, signature_header }),
            data: transaction.encode_to_vec().into(),
        };
        apply(&self.changes.payload, &mut payload);
        let payload: Bytes = payload.encode_to_vec().into();
        let signature = self.creator.sign(&payload).unwrap().into();
        let mut envelope = Envelope { payload, signature };
        apply(&self.changes.envelope, &mut envelope);
        envelope.encode_to_vec().into()
    }

    fn channel_header(&self) -> Bytes {
        let chaincode_id = Some(ChaincodeId { name: self.chaincode.clone(), ..Default::default() });
        let mut header = ChannelHeader {
            r#type: HeaderType::EndorserTransaction as i32,
            channel_id: self.channel_id.clone(),
            tx_id: self.tx_id(),
            extension: ChaincodeHeaderExtension { chaincode_id }.encode_to_vec().into(),
            ..Default::default()
        };
        apply(&self.changes.channel_header, &mut header);
        header.encode_to_vec().into()
    }

    fn signature_header(&self) -> Bytes {
        let header = SignatureHeader { creator: self.creator.serialized().clone(), nonce: self.nonce.clone().into() };
        header.encode_to_vec().into()
    }

    fn action(&self) -> Bytes {
        let mut action = ChaincodeAction {
            results: self.sets.encode(),
            response: Some(Response { status: 200, ..Default::default() }),
            chaincode_id: Some(ChaincodeId {
                name: self.chaincode.clone(),
                version: "1.0".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        apply(&self.changes.action, &mut action);
        action.encode_to_vec().into()
    }

    fn endorse(&self, response_payload: &Bytes) -> Vec<Endorsement> {
        let endorse = |endorser: &&SigningIdentity| Endorsement {
            endorser: endorser.serialized().clone(),
            signature: endorser
                .sign(&endorsement_signing_input(response_payload, endorser.serialized()))
                .unwrap()
                .into(),
        };
        let mut endorsements = self.endorsers.iter().map(endorse).collect();
        apply(&self.changes.endorsements, &mut endorsements);
        endorsements
    }
}

fn apply<T>(changes: &[Change<T>], layer: &mut T) {
    changes.iter().for_each(|change| change(layer));
}

/// A namespace that `keys` are written to.
pub(crate) fn writes(namespace: &str, keys: &[(&str, &str)]) -> NamespaceSet {
    let mut set = NamespaceSet { namespace: namespace.to_owned(), ..Default::default() };
    set.public.writes = keys
        .iter()
        .map(|(key, value)| KvWrite {
            key: (*key).to_owned(),
            value: Bytes::copy_from_slice(value.as_bytes()),
            ..Default::default()
        })
        .collect();
    set
}

/// A namespace with hashed writes to one collection.
pub(crate) fn hashed_writes(namespace: &str, collection: &str, hashes: &[([u8; 32], [u8; 32])]) -> NamespaceSet {
    let mut hashed = CollectionSet { name: collection.to_owned(), ..Default::default() };
    hashed.hashed.hashed_writes = hashes
        .iter()
        .map(|(key_hash, value_hash)| KvWriteHash {
            key_hash: key_hash.to_vec().into(),
            value_hash: value_hash.to_vec().into(),
            ..Default::default()
        })
        .collect();
    NamespaceSet { namespace: namespace.to_owned(), collections: vec![hashed], ..Default::default() }
}
