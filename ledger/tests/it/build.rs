//! Blocks, transactions and read/write sets for tests.

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{CheckedBlock, CommittedBlock, Ledger, Options, Verdict};
use ripstop_proto::block::{data_hash, header_hash};
use ripstop_proto::common::{
    Block, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader,
};
use ripstop_proto::hash::sha256;
use ripstop_proto::kvrwset::{
    KvMetadataEntry, KvMetadataWrite, KvMetadataWriteHash, KvRead, KvReadHash, KvWrite, KvWriteHash, RangeQueryInfo,
    Version,
};
use ripstop_proto::protos::{
    ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction, ProposalResponsePayload, Transaction,
    TransactionAction, TxValidationCode,
};
use ripstop_proto::read_write_set::{CollectionSet, NamespaceSet, ReadWriteSet};

pub(crate) const CHANNEL: &str = "mychannel";

/// A read/write set under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sets(pub(crate) ReadWriteSet);

pub(crate) fn sets() -> Sets {
    Sets::default()
}

pub(crate) fn version(block_number: u64, tx_index: u64) -> Option<Version> {
    Some(Version { block_num: block_number, tx_num: tx_index })
}

impl Sets {
    pub(crate) fn namespace(&mut self, name: &str) -> &mut NamespaceSet {
        let position = self.0.namespaces.iter().position(|set| set.namespace == name);
        let position = position.unwrap_or_else(|| {
            self.0.namespaces.push(NamespaceSet { namespace: name.to_owned(), ..NamespaceSet::default() });
            self.0.namespaces.len() - 1
        });
        &mut self.0.namespaces[position]
    }

    fn collection(&mut self, name: &str) -> &mut CollectionSet {
        let namespace = self.namespace("cc");
        let position = namespace.collections.iter().position(|set| set.name == name);
        let position = position.unwrap_or_else(|| {
            namespace.collections.push(CollectionSet { name: name.to_owned(), ..CollectionSet::default() });
            namespace.collections.len() - 1
        });
        &mut namespace.collections[position]
    }

    pub(crate) fn read(mut self, key: &str, version: Option<Version>) -> Self {
        self.namespace("cc").public.reads.push(KvRead { key: key.to_owned(), version });
        self
    }

    pub(crate) fn range(mut self, range: RangeQueryInfo) -> Self {
        self.namespace("cc").public.range_queries_info.push(range);
        self
    }

    pub(crate) fn write(mut self, key: &str, value: &str) -> Self {
        let write = KvWrite { key: key.to_owned(), is_delete: false, value: value.to_owned().into() };
        self.namespace("cc").public.writes.push(write);
        self
    }

    pub(crate) fn delete(mut self, key: &str) -> Self {
        let write = KvWrite { key: key.to_owned(), is_delete: true, value: Bytes::new() };
        self.namespace("cc").public.writes.push(write);
        self
    }

    /// Sets the metadata entry "m"; without a value a write with zero entries.
    pub(crate) fn metadata(mut self, key: &str, value: Option<&str>) -> Self {
        let write = KvMetadataWrite { key: key.to_owned(), entries: entries(value) };
        self.namespace("cc").public.metadata_writes.push(write);
        self
    }

    pub(crate) fn hashed_read(mut self, collection: &str, key: &str, version: Option<Version>) -> Self {
        let read = KvReadHash { key_hash: hash(key), version };
        self.collection(collection).hashed.hashed_reads.push(read);
        self
    }

    pub(crate) fn hashed_write(mut self, collection: &str, write: KvWriteHash) -> Self {
        self.collection(collection).hashed.hashed_writes.push(write);
        self
    }

    pub(crate) fn private_write(self, collection: &str, key: &str, value: &str) -> Self {
        let value_hash = hash(value);
        self.hashed_write(collection, KvWriteHash { key_hash: hash(key), value_hash, ..KvWriteHash::default() })
    }

    pub(crate) fn private_delete(self, collection: &str, key: &str) -> Self {
        self.hashed_write(collection, KvWriteHash { key_hash: hash(key), is_delete: true, ..KvWriteHash::default() })
    }

    pub(crate) fn hashed_metadata(mut self, collection: &str, key: &str, value: Option<&str>) -> Self {
        let write = KvMetadataWriteHash { key_hash: hash(key), entries: entries(value) };
        self.collection(collection).hashed.metadata_writes.push(write);
        self
    }
}

fn entries(value: Option<&str>) -> Vec<KvMetadataEntry> {
    value.map(|value| KvMetadataEntry { name: "m".to_owned(), value: value.to_owned().into() }).into_iter().collect()
}

/// Metadata as the state holds it after [`Sets::metadata`].
pub(crate) fn stored_metadata(value: &str) -> Bytes {
    KvMetadataWrite { key: String::new(), entries: entries(Some(value)) }.encode_to_vec().into()
}

pub(crate) fn hash(text: &str) -> Bytes {
    Bytes::copy_from_slice(&sha256(&[text.as_bytes()]))
}

/// An envelope of an endorsed transaction; nothing in it is signed.
pub(crate) fn endorsed(tx_id: &str, sets: &Sets) -> Bytes {
    let action = ChaincodeAction { results: sets.0.encode(), ..ChaincodeAction::default() };
    let response = ProposalResponsePayload { proposal_hash: Bytes::new(), extension: action.encode_to_vec().into() };
    let endorsed = ChaincodeEndorsedAction {
        proposal_response_payload: response.encode_to_vec().into(),
        endorsements: Vec::new(),
    };
    let payload = ChaincodeActionPayload { chaincode_proposal_payload: Bytes::new(), action: Some(endorsed) };
    let header = signature_header().encode_to_vec().into();
    let action = TransactionAction { header, payload: payload.encode_to_vec().into() };
    envelope(HeaderType::EndorserTransaction, tx_id, Transaction { actions: vec![action] }.encode_to_vec())
}

pub(crate) fn envelope(header_type: HeaderType, tx_id: &str, data: Vec<u8>) -> Bytes {
    let channel_header = ChannelHeader {
        r#type: header_type as i32,
        channel_id: CHANNEL.to_owned(),
        tx_id: tx_id.to_owned(),
        ..ChannelHeader::default()
    };
    let header = Header {
        channel_header: channel_header.encode_to_vec().into(),
        signature_header: signature_header().encode_to_vec().into(),
    };
    let payload = Payload { header: Some(header), data: data.into() };
    Envelope { payload: payload.encode_to_vec().into(), signature: Bytes::from_static(b"s") }.encode_to_vec().into()
}

fn signature_header() -> SignatureHeader {
    SignatureHeader { creator: Bytes::from_static(b"creator"), nonce: Bytes::from_static(b"nonce") }
}

pub(crate) fn genesis() -> Block {
    block(0, Bytes::new(), vec![envelope(HeaderType::Config, "", b"config".to_vec())])
}

pub(crate) fn block(number: u64, previous_hash: Bytes, entries: Vec<Bytes>) -> Block {
    let data_hash = Bytes::copy_from_slice(&data_hash(&entries));
    Block {
        header: Some(BlockHeader { number, previous_hash, data_hash }),
        data: Some(BlockData { data: entries }),
        metadata: Some(BlockMetadata { metadata: vec![Bytes::new(); 5] }),
    }
}

/// The block that comes next in `ledger`.
pub(crate) fn next_block(ledger: &Ledger, entries: Vec<Bytes>) -> Block {
    let height = ledger.height();
    let last = ledger.block(height - 1).unwrap().unwrap();
    let previous_hash = Bytes::copy_from_slice(&header_hash(last.header.as_ref().unwrap()));
    block(height, previous_hash, entries)
}

pub(crate) fn checked(block: Block) -> CheckedBlock {
    let count = block.data.as_ref().unwrap().data.len();
    CheckedBlock { block, verdicts: vec![Verdict::valid(); count], private_writes: Vec::new() }
}

/// Commits a block of endorsed transactions that stage one found valid.
pub(crate) fn commit(ledger: &Ledger, transactions: &[Sets]) -> CommittedBlock {
    let number = ledger.height();
    let entries = transactions.iter().enumerate().map(|(index, sets)| endorsed(&format!("tx-{number}-{index}"), sets));
    let block = next_block(ledger, entries.collect());
    CommittedBlock::clone(&ledger.commit(checked(block)).unwrap())
}

pub(crate) fn codes(ledger: &Ledger, transactions: &[Sets]) -> Vec<TxValidationCode> {
    commit(ledger, transactions).codes
}

pub(crate) fn new_ledger() -> Ledger {
    Ledger::create("ledger", CHANNEL, genesis(), Options::in_memory()).unwrap()
}
