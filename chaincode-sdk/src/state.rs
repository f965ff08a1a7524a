//! Reads of public state: single keys, several at once, ranges, pages, histories.

use bytes::Bytes;
use ripstop_proto::composite_key;
use ripstop_proto::protos::{
    GetHistoryForKey, GetQueryResult, GetState, GetStateByRange, GetStateMultiple, GetStateMultipleResult,
};

use crate::range::{History, Range};
use crate::{Page, PageRequest, Request, StubError, View};

/// Takes the place of an empty start of a range, so that composite keys (which begin with
/// U+0000) are not met. Source: fabric-chaincode-go `shim/stub.go`.
const FIRST_SIMPLE_KEY: &str = "\u{1}";

/// The collection of public state.
pub(crate) const PUBLIC: &str = "";

impl View {
    /// The value of `key`, `None` when there is none. Becomes part of the read set.
    ///
    /// # Errors
    /// When the peer refuses or is gone.
    pub async fn get_state(&self, key: &str) -> Result<Option<Bytes>, StubError> {
        self.value(PUBLIC, key).await
    }

    /// The values of several keys, in their order, in as few requests as the peer allows.
    /// All keys become part of the read set.
    ///
    /// # Errors
    /// As [`View::get_state`].
    pub async fn get_states(&self, keys: &[impl AsRef<str> + Sync]) -> Result<Vec<Option<Bytes>>, StubError> {
        self.values(PUBLIC, keys).await
    }

    /// The keys from `start` (inclusive) to `end` (exclusive) in the order of their UTF-8
    /// bytes, fetched page by page. Empty bounds are open; composite keys are never met.
    ///
    /// The whole range that was walked becomes part of the read set: a key that appears
    /// in it before the transaction commits makes the transaction invalid.
    ///
    /// # Errors
    /// When a bound begins with U+0000, or as [`View::get_state`].
    pub async fn get_state_by_range(&self, start: &str, end: &str) -> Result<Range<'_>, StubError> {
        let start = simple_start(start, end)?;
        self.open_range(PUBLIC, start, end).await
    }

    /// The composite keys that begin with these parts, as [`View::get_state_by_range`].
    ///
    /// # Errors
    /// When a part cannot stand in a composite key, or as [`View::get_state`].
    pub async fn get_state_by_partial_composite_key(
        &self,
        object_type: &str,
        attributes: &[&str],
    ) -> Result<Range<'_>, StubError> {
        let (start, end) = composite_key::partial_range(object_type, attributes)?;
        self.open_range(PUBLIC, &start, &end).await
    }

    /// One page of [`View::get_state_by_range`]. Peers refuse a transaction that asks for
    /// pages and writes: pages are for queries.
    ///
    /// # Errors
    /// As [`View::get_state_by_range`].
    pub async fn get_page_by_range(&self, start: &str, end: &str, page: &PageRequest) -> Result<Page, StubError> {
        let start = simple_start(start, end)?;
        self.page(Request::OpenRange(bounds(PUBLIC, start, end, page.encode()?))).await
    }

    /// One page of [`View::get_state_by_partial_composite_key`]; no writes, as with
    /// [`View::get_page_by_range`].
    ///
    /// # Errors
    /// As [`View::get_state_by_partial_composite_key`].
    pub async fn get_page_by_partial_composite_key(
        &self,
        object_type: &str,
        attributes: &[&str],
        page: &PageRequest,
    ) -> Result<Page, StubError> {
        let (start, end) = composite_key::partial_range(object_type, attributes)?;
        self.page(Request::OpenRange(bounds(PUBLIC, &start, &end, page.encode()?))).await
    }

    /// The entries that match a JSON query of CouchDB. Peers with LevelDB refuse it.
    ///
    /// The keys found become part of the read set, but not the question: an entry that
    /// begins to match before the transaction commits goes unnoticed. Do not decide
    /// writes by it.
    ///
    /// # Errors
    /// As [`View::get_state`].
    pub async fn get_query_result(&self, query: &str) -> Result<Range<'_>, StubError> {
        Range::open(self, json_query(PUBLIC, query, Bytes::new())).await
    }

    /// One page of [`View::get_query_result`]; no writes, as with
    /// [`View::get_page_by_range`].
    ///
    /// # Errors
    /// As [`View::get_state`].
    pub async fn get_query_result_page(&self, query: &str, page: &PageRequest) -> Result<Page, StubError> {
        self.page(json_query(PUBLIC, query, page.encode()?)).await
    }

    /// Every committed change of `key`, the newest first. Records no read: a change that
    /// commits before this transaction does goes unnoticed.
    ///
    /// # Errors
    /// When the peer keeps no histories, or as [`View::get_state`].
    pub async fn get_history_for_key(&self, key: &str) -> Result<History<'_>, StubError> {
        if key.is_empty() {
            return Err(StubError::EmptyKey);
        }
        History::open(self, Request::History(GetHistoryForKey { key: key.to_owned() })).await
    }

    pub(crate) async fn value(&self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        if let Some(written) = self.writes.lock().await.seen(collection, key) {
            return Ok(written);
        }
        let get = GetState { key: key.to_owned(), collection: collection.to_owned() };
        Ok(present(self.ask(Request::GetState(get)).await?))
    }

    pub(crate) async fn values(
        &self,
        collection: &str,
        keys: &[impl AsRef<str> + Sync],
    ) -> Result<Vec<Option<Bytes>>, StubError> {
        let most = self.peer().keys_per_request_max();
        let mut values = Vec::with_capacity(keys.len());
        if most <= 1 || self.writes.lock().await.is_visible() {
            for key in keys {
                values.push(self.value(collection, key.as_ref()).await?);
            }
            return Ok(values);
        }
        for keys in keys.chunks(most) {
            values.extend(self.values_at_once(collection, keys).await?);
        }
        Ok(values)
    }

    async fn values_at_once(
        &self,
        collection: &str,
        keys: &[impl AsRef<str> + Sync],
    ) -> Result<Vec<Option<Bytes>>, StubError> {
        let asked = keys.iter().map(|key| key.as_ref().to_owned()).collect();
        let request = Request::GetStates(GetStateMultiple { keys: asked, collection: collection.to_owned() });
        let kind = request.kind().as_str_name();
        let result: GetStateMultipleResult = self.ask_for(request).await?;
        if result.values.len() != keys.len() {
            let cause = format!("{} values for {} keys", result.values.len(), keys.len());
            return Err(StubError::Malformed { request: kind, cause });
        }
        Ok(result.values.into_iter().map(present).collect())
    }

    pub(crate) async fn open_range(&self, collection: &str, start: &str, end: &str) -> Result<Range<'_>, StubError> {
        Range::open(self, Request::OpenRange(bounds(collection, start, end, Bytes::new()))).await
    }

    async fn page(&self, request: Request) -> Result<Page, StubError> {
        let kind = request.kind().as_str_name();
        Page::read(kind, self.ask_for(request).await?)
    }
}

/// The start that is sent for a range of simple keys.
pub(crate) fn simple_start<'key>(start: &'key str, end: &str) -> Result<&'key str, StubError> {
    if let Some(bound) = [start, end].into_iter().find(|bound| bound.starts_with('\u{0}')) {
        return Err(StubError::CompositeBound(bound.to_owned()));
    }
    Ok(if start.is_empty() { FIRST_SIMPLE_KEY } else { start })
}

pub(crate) fn json_query(collection: &str, query: &str, metadata: Bytes) -> Request {
    Request::Query(GetQueryResult { query: query.to_owned(), collection: collection.to_owned(), metadata })
}

fn bounds(collection: &str, start: &str, end: &str, metadata: Bytes) -> GetStateByRange {
    GetStateByRange {
        start_key: start.to_owned(),
        end_key: end.to_owned(),
        collection: collection.to_owned(),
        metadata,
    }
}

/// The protocol does not tell "absent" from "empty"; nothing empty can be stored.
pub(crate) fn present(value: Bytes) -> Option<Bytes> {
    (!value.is_empty()).then_some(value)
}
