//! Blocks, as an orderer would make them.

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{CheckedBlock, CommittedBlock, Ledger, Verdict};
use ripstop_msp::SigningIdentity;
use ripstop_peer::deliver_client::Tip;
use ripstop_proto::block::{self, METADATA_SLOTS, SIGNATURES};
use ripstop_proto::common::{
    Block, BlockData, BlockHeader, BlockMetadata, LastConfig, Metadata, MetadataSignature, OrdererBlockMetadata,
    SignatureHeader,
};
use ripstop_proto::lifecycle::state_data::Type as Value;
use ripstop_proto::lifecycle::{ChaincodeEndorsementInfo, ChaincodeValidationInfo, StateData, StateMetadata};
use ripstop_proto::protos::{ApplicationPolicy, CollectionConfigPackage, application_policy};
use ripstop_proto::read_write_set::NamespaceSet;

use crate::organizations::{CHANNEL, Organizations};
use crate::transactions::{Draft, writes};

/// The block after `tip`, without signatures.
pub(crate) fn after(tip: &Tip, entries: Vec<Bytes>) -> Block {
    let header = BlockHeader {
        number: tip.next_number,
        previous_hash: tip.previous_hash.to_vec().into(),
        data_hash: block::data_hash(&entries).to_vec().into(),
    };
    Block {
        header: Some(header),
        data: Some(BlockData { data: entries }),
        metadata: Some(BlockMetadata { metadata: vec![Bytes::new(); METADATA_SLOTS] }),
    }
}

/// Signs as an orderer signs slot 0.
pub(crate) fn sign(block: &mut Block, orderer: &SigningIdentity) {
    let value =
        OrdererBlockMetadata { last_config: Some(LastConfig { index: 0 }), ..Default::default() }.encode_to_vec();
    let header = SignatureHeader { creator: orderer.serialized().clone(), nonce: Bytes::from_static(b"nonce") };
    let signature_header = header.encode_to_vec();
    let message = block::signing_input(&value, &signature_header, block.header.as_ref().unwrap());
    let signature = MetadataSignature {
        signature_header: signature_header.into(),
        signature: orderer.sign(&message).unwrap().into(),
        ..Default::default()
    };
    let metadata = Metadata { value: value.into(), signatures: vec![signature] };
    block::set_metadata_slot(block, SIGNATURES, metadata.encode_to_vec().into());
}

/// Commits entries that count as valid in stage one, whatever they are.
pub(crate) fn commit_unjudged(ledger: &Ledger, entries: Vec<Bytes>) -> std::sync::Arc<CommittedBlock> {
    let verdicts = entries.iter().map(|_| Verdict::valid()).collect();
    let block = after(&Tip::of(ledger).unwrap(), entries);
    ledger.commit(CheckedBlock { block, verdicts, private_writes: Vec::new() }).unwrap()
}

/// What a definition says, as far as these tests care.
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) plugin: &'static str,
    pub(crate) parameter: Vec<u8>,
    pub(crate) collections: CollectionConfigPackage,
}

impl Definition {
    pub(crate) fn new(name: &'static str, policy: &str) -> Self {
        Self {
            name,
            plugin: "vscc",
            parameter: signature_policy(policy).encode_to_vec(),
            collections: Default::default(),
        }
    }

    /// The writes that a commit of this definition leaves in public state.
    fn writes(&self) -> NamespaceSet {
        let metadata = StateMetadata {
            datatype: "ChaincodeDefinition".into(),
            fields: ["Sequence", "EndorsementInfo", "ValidationInfo", "Collections"].map(str::to_owned).into(),
        };
        let endorsement =
            ChaincodeEndorsementInfo { version: "1.0".into(), endorsement_plugin: "escc".into(), ..Default::default() };
        let validation = ChaincodeValidationInfo {
            validation_plugin: self.plugin.into(),
            validation_parameter: self.parameter.clone().into(),
        };
        let fields = [
            ("Sequence", Value::Int64(1)),
            ("EndorsementInfo", Value::Bytes(endorsement.encode_to_vec().into())),
            ("ValidationInfo", Value::Bytes(validation.encode_to_vec().into())),
            ("Collections", Value::Bytes(self.collections.encode_to_vec().into())),
        ];
        let mut set = writes("_lifecycle", &[]);
        let mut write = |key: String, value: Vec<u8>| {
            set.public.writes.push(ripstop_proto::kvrwset::KvWrite { key, value: value.into(), ..Default::default() });
        };
        write(format!("namespaces/metadata/{}", self.name), metadata.encode_to_vec());
        for (field, value) in fields {
            let data = StateData { r#type: Some(value) };
            write(format!("namespaces/fields/{}/{field}", self.name), data.encode_to_vec());
        }
        set
    }
}

/// Commits definitions as if they had been agreed on.
pub(crate) fn define(ledger: &Ledger, organizations: &Organizations, definitions: &[Definition]) {
    let client = &organizations.org1.client;
    let entries = definitions.iter().enumerate().map(|(index, definition)| {
        let mut draft = Draft::new(client, &[], 1_000_000 + ledger.height() * 1000 + index as u64);
        draft.channel_id = CHANNEL.to_owned();
        draft.chaincode = "_lifecycle".to_owned();
        draft.sets([definition.writes()]).entry()
    });
    let committed = commit_unjudged(ledger, entries.collect());
    assert!(committed.codes.iter().all(|code| *code == ripstop_proto::protos::TxValidationCode::Valid));
}

/// An inline policy from text.
pub(crate) fn signature_policy(text: &str) -> ApplicationPolicy {
    let policy = ripstop_msp::policy_text::parse(text).unwrap();
    ApplicationPolicy { r#type: Some(application_policy::Type::SignaturePolicy(policy)) }
}
