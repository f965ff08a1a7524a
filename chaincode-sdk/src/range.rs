//! A walk over keys in their order, or over a key's changes, fetched page by page.

use std::marker::PhantomData;

use bytes::Bytes;
use prost::Message;
use prost_types::Timestamp;
use ripstop_proto::protos::{QueryResponse, QueryResultBytes, QueryStateClose, QueryStateNext};
use ripstop_proto::queryresult;

use crate::{Request, StubError, View};

/// A key of a range with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// Never empty.
    pub value: Bytes,
}

/// One committed change of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Modification {
    /// The transaction that made it.
    pub tx_id: String,
    /// The value from then on, `None` when the key was deleted.
    pub value: Option<Bytes>,
    /// When the client proposed the transaction, by the client's clock.
    pub timestamp: Timestamp,
}

/// An open range of keys.
pub type Range<'view> = Results<'view, KeyValue>;

/// The open history of a key.
pub type History<'view> = Results<'view, Modification>;

/// What one element of an open query is read as.
pub trait QueryElement: Sized {
    /// Reads the bytes of one result.
    ///
    /// # Errors
    /// When they are not such an element.
    fn read(result: Bytes) -> Result<Self, prost::DecodeError>;
}

/// An open query. The next page is fetched when the last one is used up.
///
/// Other requests of the transaction may be made in between. A query that is dropped
/// before its end stays open at the peer until the transaction ends; [`Results::close`]
/// gives it up earlier.
pub struct Results<'view, E> {
    view: &'view View,
    page: std::vec::IntoIter<QueryResultBytes>,
    id: String,
    has_more: bool,
    request: &'static str,
    element: PhantomData<fn() -> E>,
}

impl<'view, E: QueryElement> Results<'view, E> {
    pub(crate) async fn open(view: &'view View, request: Request) -> Result<Self, StubError> {
        let kind = request.kind().as_str_name();
        let page = Vec::new().into_iter();
        let mut results = Self { view, page, id: String::new(), has_more: false, request: kind, element: PhantomData };
        results.fetch(request).await?;
        Ok(results)
    }

    /// The next element, `None` at the end.
    ///
    /// # Errors
    /// When the peer refuses, is gone, or breaks the protocol.
    pub async fn next(&mut self) -> Result<Option<E>, StubError> {
        if self.page.len() == 0 && self.has_more {
            let id = self.id.clone();
            self.fetch(Request::NextPage(QueryStateNext { id })).await?;
        }
        self.page.next().map(|result| read(self.request, result)).transpose()
    }

    /// All that is left.
    ///
    /// # Errors
    /// As [`Results::next`].
    pub async fn all(mut self) -> Result<Vec<E>, StubError> {
        let mut all = Vec::new();
        while let Some(element) = self.next().await? {
            all.push(element);
        }
        Ok(all)
    }

    /// Gives the query up before its end. What was fetched of a range, and one key more,
    /// stays in the read set.
    ///
    /// # Errors
    /// When the peer refuses or is gone.
    pub async fn close(self) -> Result<(), StubError> {
        // A peer closes a query by itself with its last page.
        if self.has_more {
            self.view.ask(Request::CloseRange(QueryStateClose { id: self.id })).await?;
        }
        Ok(())
    }

    async fn fetch(&mut self, request: Request) -> Result<(), StubError> {
        let kind = request.kind().as_str_name();
        let page: QueryResponse = self.view.ask_for(request).await?;
        if page.results.is_empty() && page.has_more {
            let cause = "a page without results says that more follow".to_owned();
            return Err(StubError::Malformed { request: kind, cause });
        }
        self.page = page.results.into_iter();
        self.id = page.id;
        self.has_more = page.has_more;
        Ok(())
    }
}

pub(crate) fn read<E: QueryElement>(request: &'static str, result: QueryResultBytes) -> Result<E, StubError> {
    E::read(result.result_bytes).map_err(|cause| StubError::Malformed { request, cause: cause.to_string() })
}

impl QueryElement for KeyValue {
    fn read(result: Bytes) -> Result<Self, prost::DecodeError> {
        let entry = queryresult::Kv::decode(result)?;
        Ok(Self { key: entry.key, value: entry.value })
    }
}

impl QueryElement for Modification {
    fn read(result: Bytes) -> Result<Self, prost::DecodeError> {
        let change = queryresult::KeyModification::decode(result)?;
        let value = (!change.is_delete).then_some(change.value);
        Ok(Self { tx_id: change.tx_id, value, timestamp: change.timestamp.unwrap_or_default() })
    }
}
