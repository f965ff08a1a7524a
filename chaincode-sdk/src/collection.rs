//! Private data: values that only some organizations hold, and whose hashes all do.

use bytes::Bytes;
use ripstop_proto::composite_key;
use ripstop_proto::protos::GetState;
use ripstop_proto::protos::write_record::Type;

use crate::state::{json_query, present, simple_start};
use crate::{KeyPolicy, Range, Request, Stub, StubError, View};

/// A collection of private data, for reading.
///
/// Peers answer only where their organization holds the collection. Reads record the hash
/// of the key and its version; ranges and queries record nothing, and peers refuse writes
/// beside them.
pub struct CollectionView<'view> {
    view: &'view View,
    name: String,
}

/// A collection of private data, for reading and writing.
///
/// Only hashes of keys and values enter the transaction; the values go to the members.
/// Take values from [`View::transient`]: arguments are public.
pub struct Collection<'stub> {
    stub: &'stub Stub,
    name: String,
}

impl View {
    /// The collection of this name.
    pub fn collection(&self, name: &str) -> CollectionView<'_> {
        CollectionView { view: self, name: name.to_owned() }
    }
}

impl Stub {
    /// The collection of this name.
    pub fn collection(&self, name: &str) -> Collection<'_> {
        Collection { stub: self, name: name.to_owned() }
    }
}

impl<'view> CollectionView<'view> {
    /// The value of `key`, `None` when there is none.
    ///
    /// # Errors
    /// When the peer refuses or is gone, or the collection has no name.
    pub async fn get_state(&self, key: &str) -> Result<Option<Bytes>, StubError> {
        self.view.value(self.named()?, key).await
    }

    /// The values of several keys, in their order.
    ///
    /// # Errors
    /// As [`CollectionView::get_state`].
    pub async fn get_states(&self, keys: &[impl AsRef<str> + Sync]) -> Result<Vec<Option<Bytes>>, StubError> {
        self.view.values(self.named()?, keys).await
    }

    /// The SHA-256 of the value of `key`, which all organizations' peers know.
    ///
    /// # Errors
    /// As [`CollectionView::get_state`].
    pub async fn get_hash(&self, key: &str) -> Result<Option<Bytes>, StubError> {
        let get = GetState { key: key.to_owned(), collection: self.named()?.to_owned() };
        Ok(present(self.view.ask(Request::GetPrivateDataHash(get)).await?))
    }

    /// As [`View::get_state_by_range`], but recorded nowhere.
    ///
    /// # Errors
    /// As [`View::get_state_by_range`].
    pub async fn get_state_by_range(&self, start: &str, end: &str) -> Result<Range<'view>, StubError> {
        let start = simple_start(start, end)?;
        self.view.open_range(self.named()?, start, end).await
    }

    /// As [`View::get_state_by_partial_composite_key`], but recorded nowhere.
    ///
    /// # Errors
    /// As [`View::get_state_by_partial_composite_key`].
    pub async fn get_state_by_partial_composite_key(
        &self,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<Range<'view>, StubError> {
        let (start, end) = composite_key::partial_range(object_type, attributes)?;
        self.view.open_range(self.named()?, &start, &end).await
    }

    /// As [`View::get_query_result`], but recorded nowhere.
    ///
    /// # Errors
    /// As [`View::get_query_result`].
    pub async fn get_query_result(&self, query: &str) -> Result<Range<'view>, StubError> {
        Range::open(self.view, json_query(self.named()?, query, Bytes::new())).await
    }

    /// As [`View::get_key_policy`].
    ///
    /// # Errors
    /// As [`View::get_key_policy`].
    pub async fn get_key_policy(&self, key: &str) -> Result<Option<KeyPolicy>, StubError> {
        self.view.key_policy(self.named()?, key).await
    }

    fn named(&self) -> Result<&str, StubError> {
        if self.name.is_empty() { Err(StubError::EmptyCollection) } else { Ok(&self.name) }
    }
}

impl Collection<'_> {
    /// The value of `key`, `None` when there is none.
    ///
    /// # Errors
    /// When the peer refuses or is gone, or the collection has no name.
    pub async fn get_state(&self, key: &str) -> Result<Option<Bytes>, StubError> {
        self.view().get_state(key).await
    }

    /// Everything that reads.
    pub fn view(&self) -> CollectionView<'_> {
        self.stub.view().collection(&self.name)
    }

    /// Writes `value` when the transaction commits. Records the hashes of key and value.
    ///
    /// # Errors
    /// When key or value is empty, or as [`Collection::get_state`].
    pub async fn put_state(&self, key: &str, value: impl Into<Bytes>) -> Result<(), StubError> {
        self.view().named()?;
        self.stub.put(&self.name, key, value.into()).await
    }

    /// Deletes `key` when the transaction commits.
    ///
    /// # Errors
    /// As [`Collection::put_state`].
    pub async fn delete_state(&self, key: &str) -> Result<(), StubError> {
        self.view().named()?;
        self.stub.remove(Type::DelState, &self.name, key).await
    }

    /// Deletes `key` and every earlier value of it from all members' peers.
    ///
    /// # Errors
    /// As [`Collection::put_state`].
    pub async fn purge_state(&self, key: &str) -> Result<(), StubError> {
        self.view().named()?;
        self.stub.remove(Type::PurgePrivateData, &self.name, key).await
    }

    /// As [`Stub::set_key_policy`].
    ///
    /// # Errors
    /// As [`Stub::set_key_policy`].
    pub async fn set_key_policy(&self, key: &str, policy: &KeyPolicy) -> Result<(), StubError> {
        self.view().named()?;
        self.stub.set_validation_parameter(&self.name, key, policy.encode()).await
    }
}
