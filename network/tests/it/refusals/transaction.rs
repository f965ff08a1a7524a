//! Transactions with any part changed before or after endorsers signed it.

use bytes::Bytes;
use prost::Message;
use ripstop_msp::SigningIdentity;
use ripstop_proto::common::{Envelope, Header, Payload};
use ripstop_proto::kvrwset::{KvRead, KvWrite, KvrwSet, Version};
use ripstop_proto::proposal::{endorsement_signing_input, hash_at_validation};
use ripstop_proto::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction, ChaincodeId, Endorsement,
    ProposalResponsePayload, Response, Transaction, TransactionAction,
};
use ripstop_proto::read_write_set::{NamespaceSet, ReadWriteSet};

use super::proposal::Draft;

/// What endorsers say that a proposal did.
pub(super) struct Outcome {
    pub(super) draft: Draft,
    pub(super) read_write_set: ReadWriteSet,
    pub(super) action: ChaincodeAction,
    /// Replaces the read and write sets.
    pub(super) results: Option<Bytes>,
    /// Replaces the action.
    pub(super) extension: Option<Bytes>,
    /// Replaces the proposal's hash.
    pub(super) proposal_hash: Option<Bytes>,
}

impl Outcome {
    /// A correct outcome: a call of `chaincode` that writes one key.
    pub(super) fn new(creator: &SigningIdentity, chaincode: &str) -> Self {
        let draft = Draft::new(creator, chaincode, &[b"Put"]);
        let key = format!("refusals-{}", draft.tx_id());
        Self {
            read_write_set: ReadWriteSet { namespaces: vec![writing(chaincode, &key)] },
            action: ChaincodeAction {
                response: Some(Response { status: 200, ..Response::default() }),
                chaincode_id: Some(ChaincodeId {
                    name: chaincode.to_owned(),
                    version: "1.0".to_owned(),
                    ..ChaincodeId::default()
                }),
                ..ChaincodeAction::default()
            },
            draft,
            results: None,
            extension: None,
            proposal_hash: None,
        }
    }

    pub(super) fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The transaction with the endorsements of these.
    pub(super) fn endorse(self, endorsers: &[&SigningIdentity]) -> Endorsed {
        let header = self.draft.header();
        let proposal_payload = self.draft.payload(false);
        let hash = hash_at_validation(&header.channel_header, &header.signature_header, &proposal_payload);
        let mut action = self.action;
        action.results = self.results.unwrap_or_else(|| self.read_write_set.encode());
        let payload = ProposalResponsePayload {
            proposal_hash: self.proposal_hash.unwrap_or_else(|| Bytes::copy_from_slice(&hash)),
            extension: self.extension.unwrap_or_else(|| action.encode_to_vec().into()),
        };
        let payload: Bytes = payload.encode_to_vec().into();
        let endorsements = endorsers.iter().map(|endorser| endorse(endorser, &payload)).collect();
        Endorsed {
            action_header: header.signature_header.clone(),
            header,
            proposal_payload,
            action: Some(ChaincodeEndorsedAction { proposal_response_payload: payload, endorsements }),
            action_payload: None,
            action_count: 1,
            data: None,
        }
    }
}

fn endorse(endorser: &SigningIdentity, payload: &[u8]) -> Endorsement {
    let signed = endorsement_signing_input(payload, endorser.serialized());
    Endorsement { endorser: endorser.serialized().clone(), signature: endorser.sign(&signed).unwrap().into() }
}

/// A namespace in which one key is written.
pub(super) fn writing(namespace: &str, key: &str) -> NamespaceSet {
    let write = KvWrite { key: key.to_owned(), is_delete: false, value: Bytes::from_static(b"value") };
    NamespaceSet {
        namespace: namespace.to_owned(),
        public: KvrwSet { writes: vec![write], ..KvrwSet::default() },
        collections: Vec::new(),
    }
}

/// A read of a key as it stood at `version`.
pub(super) fn read(key: &str, version: Option<(u64, u64)>) -> KvRead {
    let version = version.map(|(block_num, tx_num)| Version { block_num, tx_num });
    KvRead { key: key.to_owned(), version }
}

/// An endorsed transaction, in parts.
pub(super) struct Endorsed {
    pub(super) header: Header,
    pub(super) action_header: Bytes,
    pub(super) proposal_payload: Bytes,
    pub(super) action: Option<ChaincodeEndorsedAction>,
    /// Replaces the payload of the action.
    pub(super) action_payload: Option<Bytes>,
    pub(super) action_count: usize,
    /// Replaces the transaction.
    pub(super) data: Option<Bytes>,
}

impl Endorsed {
    pub(super) fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(super) fn endorsements(&mut self) -> &mut Vec<Endorsement> {
        &mut self.action.as_mut().unwrap().endorsements
    }

    pub(super) fn payload(self) -> Payload {
        let action_payload =
            ChaincodeActionPayload { chaincode_proposal_payload: self.proposal_payload, action: self.action };
        let action = TransactionAction {
            header: self.action_header,
            payload: self.action_payload.unwrap_or_else(|| action_payload.encode_to_vec().into()),
        };
        let transaction = Transaction { actions: vec![action; self.action_count] };
        let data = self.data.unwrap_or_else(|| transaction.encode_to_vec().into());
        Payload { header: Some(self.header), data }
    }

    pub(super) fn sign(self, signer: &SigningIdentity) -> Envelope {
        signed(&self.payload(), signer)
    }
}

/// Signs any payload.
pub(super) fn signed(payload: &Payload, signer: &SigningIdentity) -> Envelope {
    let payload: Bytes = payload.encode_to_vec().into();
    let signature = signer.sign(&payload).unwrap().into();
    Envelope { payload, signature }
}
