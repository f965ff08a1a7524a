//! Typed values by typed keys, under composite keys.

use std::marker::PhantomData;

use ripstop_proto::composite_key;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::key::{from_parts, parts};
use crate::stored::{decode, encode};
use crate::{History, Key, KeyValue, PageRequest, Range, StateError, Stub, View};

/// A table: values of one type, each under a key of its own.
///
/// The key of an entry is Fabric's composite key of the map's name and the parts of `K`,
/// the value JSON, so that contracts in other languages find both.
///
/// ```
/// use ripstop_chaincode_sdk::{Failure, Key, Map, Stub, View};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Asset {
///     owner: String,
/// }
///
/// #[derive(Key)]
/// struct Place {
///     color: String,
///     id: u64,
/// }
///
/// const ASSETS: Map<Place, Asset> = Map::new("asset");
///
/// async fn create(stub: &Stub, place: Place, owner: String) -> Result<(), Failure> {
///     ASSETS.insert_new(stub, &place, &Asset { owner }).await?;
///     Ok(())
/// }
///
/// async fn give(stub: &Stub, place: Place, owner: String) -> Result<(), Failure> {
///     ASSETS.update(stub, &place, |asset| { asset.owner = owner; Ok::<_, Failure>(()) }).await?;
///     Ok(())
/// }
///
/// async fn blue_owners(view: &View) -> Result<Vec<String>, Failure> {
///     let mut blue = ASSETS.scan(view, &"blue".to_owned()).await?;
///     let mut owners = Vec::new();
///     while let Some((_, asset)) = blue.next().await? {
///         owners.push(asset.owner);
///     }
///     Ok(owners)
/// }
/// ```
pub struct Map<K, V> {
    name: &'static str,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: Serialize + DeserializeOwned> Map<K, V> {
    /// The map of this name, the object type of its composite keys. No other map of the
    /// contract may have it.
    pub const fn new(name: &'static str) -> Self {
        Self { name, entry: PhantomData }
    }

    /// The value of `key`, `None` when there is none. Records one read.
    ///
    /// # Errors
    /// When a part cannot stand in a composite key, the stored bytes are not a `V`, or the
    /// peer refuses.
    pub async fn get(&self, view: &View, key: &K) -> Result<Option<V>, StateError> {
        let stored = view.get_state(&self.key(key)?).await?;
        stored.map(|stored| decode(|| self.shown(key), &stored)).transpose()
    }

    /// Writes the value of `key`, whether there is one or not. Records one write and no
    /// read, so that it meets no conflict.
    ///
    /// # Errors
    /// As [`Map::get`], or when the value has no JSON.
    pub async fn put(&self, stub: &Stub, key: &K, value: &V) -> Result<(), StateError> {
        Ok(stub.put_state(&self.key(key)?, encode(|| self.shown(key), value)?).await?)
    }

    /// Writes the value of a `key` that has none yet. Records one read, of nothing, and one
    /// write: of two transactions that insert the same key one is valid.
    ///
    /// # Errors
    /// [`StateError::Exists`], or as [`Map::put`].
    pub async fn insert_new(&self, stub: &Stub, key: &K, value: &V) -> Result<(), StateError> {
        if stub.get_state(&self.key(key)?).await?.is_some() {
            return Err(StateError::Exists(self.shown(key)));
        }
        self.put(stub, key, value).await
    }

    /// Changes the value of `key`, and returns it as it is then. Records one read and one
    /// write: of two transactions that do so at the same time one is valid.
    ///
    /// # Errors
    /// [`StateError::Absent`], the change's own error, or as [`Map::put`].
    pub async fn update<E: From<StateError>>(
        &self,
        stub: &Stub,
        key: &K,
        change: impl FnOnce(&mut V) -> Result<(), E>,
    ) -> Result<V, E> {
        let mut value = self.get(stub, key).await?.ok_or_else(|| StateError::Absent(self.shown(key)))?;
        change(&mut value)?;
        self.put(stub, key, &value).await?;
        Ok(value)
    }

    /// Deletes `key`, whether there is a value or not. Records one write and no read.
    ///
    /// # Errors
    /// As [`Map::get`].
    pub async fn remove(&self, stub: &Stub, key: &K) -> Result<(), StateError> {
        Ok(stub.delete_state(&self.key(key)?).await?)
    }

    /// The entries whose keys begin with the parts of `prefix`, in the order of their
    /// keys; `()` for all. Records the range that was walked: an entry that appears in it
    /// before the transaction commits makes the transaction invalid.
    ///
    /// # Errors
    /// As [`Map::get`].
    pub async fn scan<'view>(&self, view: &'view View, prefix: &impl Key) -> Result<Entries<'view, K, V>, StateError> {
        let parts = parts(prefix);
        let range = view.get_state_by_partial_composite_key(self.name, &texts(&parts)).await?;
        Ok(Entries { range, entry: PhantomData })
    }

    /// One page of [`Map::scan`], and the bookmark of the next one, empty at the end.
    /// Peers refuse writes in a transaction that asks for pages.
    ///
    /// # Errors
    /// As [`Map::get`].
    pub async fn page(
        &self,
        view: &View,
        prefix: &impl Key,
        page: &PageRequest,
    ) -> Result<(Vec<(K, V)>, String), StateError> {
        let parts = parts(prefix);
        let page = view.get_page_by_partial_composite_key(self.name, &texts(&parts), page).await?;
        let entries: Result<_, _> = page.entries.into_iter().map(entry).collect();
        Ok((entries?, page.bookmark))
    }

    /// Every committed change of `key`, the newest first; [`Map::decode`] reads the values.
    /// Records nothing.
    ///
    /// # Errors
    /// As [`Map::get`].
    pub async fn history<'view>(&self, view: &'view View, key: &K) -> Result<History<'view>, StateError> {
        Ok(view.get_history_for_key(&self.key(key)?).await?)
    }

    /// A value as it is stored.
    ///
    /// # Errors
    /// When the bytes are not a `V`.
    pub fn decode(&self, stored: &[u8]) -> Result<V, StateError> {
        decode(|| self.name.to_owned(), stored)
    }

    fn key(&self, key: &K) -> Result<String, StateError> {
        let parts = parts(key);
        Ok(composite_key::create(self.name, &texts(&parts))?)
    }

    /// For messages.
    fn shown(&self, key: &K) -> String {
        format!("{} {}", self.name, parts(key).join(" "))
    }
}

/// An open scan of a map.
pub struct Entries<'view, K, V> {
    range: Range<'view>,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: DeserializeOwned> Entries<'_, K, V> {
    /// The next entry, `None` at the end.
    ///
    /// # Errors
    /// When a stored entry is not of the map's types, or the peer refuses.
    pub async fn next(&mut self) -> Result<Option<(K, V)>, StateError> {
        self.range.next().await?.map(entry).transpose()
    }

    /// All that is left.
    ///
    /// # Errors
    /// As [`Entries::next`].
    pub async fn all(mut self) -> Result<Vec<(K, V)>, StateError> {
        let mut all = Vec::new();
        while let Some(entry) = self.next().await? {
            all.push(entry);
        }
        Ok(all)
    }

    /// Gives the scan up before its end. What was fetched, and one entry more, stays in
    /// the read set.
    ///
    /// # Errors
    /// When the peer refuses.
    pub async fn close(self) -> Result<(), StateError> {
        Ok(self.range.close().await?)
    }
}

fn entry<K: Key, V: DeserializeOwned>(stored: KeyValue) -> Result<(K, V), StateError> {
    let (_, parts) = composite_key::split(&stored.key)?;
    let key = from_parts(parts).map_err(|cause| StateError::Key { key: stored.key.clone(), cause })?;
    Ok((key, decode(|| stored.key.clone(), &stored.value)?))
}

pub(crate) fn texts(parts: &[String]) -> Vec<&str> {
    parts.iter().map(String::as_str).collect()
}
