//! What a key says about itself beside its value: in Fabric, who has to endorse changes.

use std::collections::BTreeMap;

use bytes::Bytes;
use ripstop_proto::protos::{GetStateMetadata, StateMetadata, StateMetadataResult};

use crate::state::PUBLIC;
use crate::write_buffer::metadata;
use crate::{KeyPolicy, Request, Stub, StubError, View};

/// The one entry that peers act on: who has to endorse a change of the key.
const VALIDATION_PARAMETER: &str = "VALIDATION_PARAMETER";

impl View {
    /// The metadata of `key` by its names; empty when there is none. Records a read of
    /// the key.
    ///
    /// # Errors
    /// When the peer refuses or is gone.
    pub async fn get_state_metadata(&self, key: &str) -> Result<BTreeMap<String, Bytes>, StubError> {
        self.metadata(PUBLIC, key).await
    }

    /// Who has to endorse changes of `key`, `None` when the chaincode's policy rules.
    /// Records a read of the key.
    ///
    /// # Errors
    /// When the stored policy is none, or as [`View::get_state_metadata`].
    pub async fn get_key_policy(&self, key: &str) -> Result<Option<KeyPolicy>, StubError> {
        self.key_policy(PUBLIC, key).await
    }

    pub(crate) async fn metadata(&self, collection: &str, key: &str) -> Result<BTreeMap<String, Bytes>, StubError> {
        let get = GetStateMetadata { key: key.to_owned(), collection: collection.to_owned() };
        let result: StateMetadataResult = self.ask_for(Request::GetMetadata(get)).await?;
        Ok(result.entries.into_iter().map(|entry| (entry.metakey, entry.value)).collect())
    }

    pub(crate) async fn key_policy(&self, collection: &str, key: &str) -> Result<Option<KeyPolicy>, StubError> {
        let stored = self.metadata(collection, key).await?.remove(VALIDATION_PARAMETER);
        let malformed = |cause: prost::DecodeError| StubError::Malformed {
            request: "GET_STATE_METADATA",
            cause: format!("the policy of key {key:?} does not decode: {cause}"),
        };
        stored.filter(|policy| !policy.is_empty()).map(KeyPolicy::decode).transpose().map_err(malformed)
    }
}

impl Stub {
    /// From the next block on, changes of `key` need the endorsements of `policy` instead
    /// of those of the chaincode's policy. Replaces all metadata of the key; records a
    /// write and no read. This change itself is judged by the policy before.
    ///
    /// # Errors
    /// When `key` is empty, or the peer refuses or is gone.
    pub async fn set_key_policy(&self, key: &str, policy: &KeyPolicy) -> Result<(), StubError> {
        self.set_validation_parameter(PUBLIC, key, policy.encode()).await
    }

    /// As [`Stub::set_key_policy`], with the bytes of any `SignaturePolicyEnvelope`; no
    /// bytes give the key back to the chaincode's policy.
    ///
    /// # Errors
    /// As [`Stub::set_key_policy`].
    pub async fn set_state_validation_parameter(&self, key: &str, policy: Bytes) -> Result<(), StubError> {
        self.set_validation_parameter(PUBLIC, key, policy).await
    }

    pub(crate) async fn set_validation_parameter(
        &self,
        collection: &str,
        key: &str,
        value: Bytes,
    ) -> Result<(), StubError> {
        if key.is_empty() {
            return Err(StubError::EmptyKey);
        }
        let entry = StateMetadata { metakey: VALIDATION_PARAMETER.to_owned(), value };
        self.write(metadata(collection, key, entry)).await
    }
}
