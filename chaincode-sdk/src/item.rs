//! One typed value under one key.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::stored::{decode, encode};
use crate::{StateError, Stub, View};

/// A value of its own, such as a contract's settings, under a simple key.
///
/// Stored as JSON. Absent is `None`; an empty text or list is a value.
///
/// ```
/// use ripstop_chaincode_sdk::{Failure, Item, Stub};
///
/// const MOTTO: Item<String> = Item::new("motto");
///
/// async fn proclaim(stub: &Stub, motto: String) -> Result<Option<String>, Failure> {
///     let before = MOTTO.get(stub).await?;
///     MOTTO.put(stub, &motto).await?;
///     Ok(before)
/// }
/// ```
pub struct Item<T> {
    key: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Item<T> {
    /// The value under `key`, which no other item of the contract may have.
    pub const fn new(key: &'static str) -> Self {
        Self { key, value: PhantomData }
    }

    /// The value, `None` when there is none. Records one read.
    ///
    /// # Errors
    /// When the stored bytes are not a `T`, or the peer refuses.
    pub async fn get(&self, view: &View) -> Result<Option<T>, StateError> {
        let stored = view.get_state(self.key).await?;
        stored.map(|stored| decode(|| self.key.to_owned(), &stored)).transpose()
    }

    /// Writes the value. Records one write and no read, so that of two transactions that
    /// put at the same time both are valid and the later one counts.
    ///
    /// # Errors
    /// When the value has no JSON, or the peer refuses.
    pub async fn put(&self, stub: &Stub, value: &T) -> Result<(), StateError> {
        Ok(stub.put_state(self.key, encode(|| self.key.to_owned(), value)?).await?)
    }

    /// Changes the value, and returns it as it is then. Records one read and one write: of
    /// two transactions that do so at the same time one is valid.
    ///
    /// # Errors
    /// [`StateError::Absent`] when there is none, the change's own error, or as
    /// [`Item::get`].
    pub async fn update<E: From<StateError>>(
        &self,
        stub: &Stub,
        change: impl FnOnce(&mut T) -> Result<(), E>,
    ) -> Result<T, E> {
        let mut value = self.get(stub).await?.ok_or_else(|| StateError::Absent(self.key.to_owned()))?;
        change(&mut value)?;
        self.put(stub, &value).await?;
        Ok(value)
    }

    /// Deletes the value. Records one write and no read.
    ///
    /// # Errors
    /// When the peer refuses.
    pub async fn remove(&self, stub: &Stub) -> Result<(), StateError> {
        Ok(stub.delete_state(self.key).await?)
    }
}
