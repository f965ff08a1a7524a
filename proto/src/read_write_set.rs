//! A transaction's read and write sets, with the inner sets decoded.
//!
//! On the wire the inner sets are bytes inside `rwset.TxReadWriteSet`; here they are
//! values, in the same order.

use bytes::Bytes;
use prost::Message;

use crate::kvrwset::{HashedRwSet, KvrwSet};
use crate::rwset::{CollectionHashedReadWriteSet, NsReadWriteSet, TxReadWriteSet};

/// What a transaction read and wrote.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadWriteSet {
    /// In the order of the wire; endorsers write them ascending.
    pub namespaces: Vec<NamespaceSet>,
}

/// The part of one namespace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NamespaceSet {
    /// The chaincode name.
    pub namespace: String,
    /// Reads, ranges, writes and metadata writes in clear.
    pub public: KvrwSet,
    /// Hashed parts, one per collection.
    pub collections: Vec<CollectionSet>,
}

/// The hashed part of one private data collection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CollectionSet {
    /// The collection's name.
    pub name: String,
    /// Hashed reads and writes.
    pub hashed: HashedRwSet,
    /// SHA-256 of the marshalled private write set; empty without private writes.
    pub pvt_rwset_hash: Bytes,
}

impl ReadWriteSet {
    /// Reads `ChaincodeAction.results`.
    ///
    /// # Errors
    /// When the outer or any inner set does not decode.
    pub fn decode(results: Bytes) -> Result<Self, prost::DecodeError> {
        let outer = TxReadWriteSet::decode(results)?;
        let namespaces = outer.ns_rwset.into_iter().map(NamespaceSet::decode).collect::<Result<_, _>>()?;
        Ok(Self { namespaces })
    }

    /// The message of the wire.
    pub fn to_message(&self) -> TxReadWriteSet {
        TxReadWriteSet { data_model: 0, ns_rwset: self.namespaces.iter().map(NamespaceSet::to_message).collect() }
    }

    /// The bytes that go into `ChaincodeAction.results`.
    pub fn encode(&self) -> Bytes {
        self.to_message().encode_to_vec().into()
    }
}

impl NamespaceSet {
    fn decode(outer: NsReadWriteSet) -> Result<Self, prost::DecodeError> {
        let collections =
            outer.collection_hashed_rwset.into_iter().map(CollectionSet::decode).collect::<Result<_, _>>()?;
        Ok(Self { namespace: outer.namespace, public: KvrwSet::decode(outer.rwset)?, collections })
    }

    fn to_message(&self) -> NsReadWriteSet {
        NsReadWriteSet {
            namespace: self.namespace.clone(),
            rwset: self.public.encode_to_vec().into(),
            collection_hashed_rwset: self.collections.iter().map(CollectionSet::to_message).collect(),
        }
    }

    /// Whether anything is written here: values, metadata, in clear or hashed. Only such
    /// namespaces (and the invoked one) are asked for their endorsement policy.
    pub fn writes_anything(&self) -> bool {
        !self.public.writes.is_empty()
            || !self.public.metadata_writes.is_empty()
            || self.collections.iter().any(CollectionSet::writes_anything)
    }
}

impl CollectionSet {
    fn decode(outer: CollectionHashedReadWriteSet) -> Result<Self, prost::DecodeError> {
        Ok(Self {
            name: outer.collection_name,
            hashed: HashedRwSet::decode(outer.hashed_rwset)?,
            pvt_rwset_hash: outer.pvt_rwset_hash,
        })
    }

    fn to_message(&self) -> CollectionHashedReadWriteSet {
        CollectionHashedReadWriteSet {
            collection_name: self.name.clone(),
            hashed_rwset: self.hashed.encode_to_vec().into(),
            pvt_rwset_hash: self.pvt_rwset_hash.clone(),
        }
    }

    /// Whether a value or metadata of this collection is written.
    pub fn writes_anything(&self) -> bool {
        !self.hashed.hashed_writes.is_empty() || !self.hashed.metadata_writes.is_empty()
    }
}
