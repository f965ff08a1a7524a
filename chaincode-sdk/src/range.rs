//! A walk over keys in their order, page by page.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::protos::{QueryResponse, QueryResultBytes, QueryStateClose, QueryStateNext};
use ripstop_proto::queryresult;

use crate::stub::decode;
use crate::{Request, Stub, StubError};

/// A key of a range with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// Never empty.
    pub value: Bytes,
}

/// An open range. The next page is fetched when the last one is used up.
///
/// Other requests of the transaction may be made in between. A range that is dropped
/// before its end stays open at the peer until the transaction ends; [`Range::close`]
/// gives it up earlier.
pub struct Range<'stub> {
    stub: &'stub Stub,
    page: std::vec::IntoIter<QueryResultBytes>,
    id: String,
    has_more: bool,
}

impl<'stub> Range<'stub> {
    pub(crate) async fn open(stub: &'stub Stub, request: Request) -> Result<Self, StubError> {
        let mut range = Self { stub, page: Vec::new().into_iter(), id: String::new(), has_more: false };
        range.fetch(request).await?;
        Ok(range)
    }

    /// The next key, `None` at the end.
    ///
    /// # Errors
    /// When the peer refuses, is gone, or breaks the protocol.
    pub async fn next(&mut self) -> Result<Option<KeyValue>, StubError> {
        if self.page.len() == 0 && self.has_more {
            let id = self.id.clone();
            self.fetch(Request::NextPage(QueryStateNext { id })).await?;
        }
        self.page.next().map(key_value).transpose()
    }

    /// All that is left of the range.
    ///
    /// # Errors
    /// As [`Range::next`].
    pub async fn all(mut self) -> Result<Vec<KeyValue>, StubError> {
        let mut all = Vec::new();
        while let Some(entry) = self.next().await? {
            all.push(entry);
        }
        Ok(all)
    }

    /// Gives the range up before its end. What was fetched of it, and one key more, stays
    /// in the read set.
    ///
    /// # Errors
    /// When the peer refuses or is gone.
    pub async fn close(self) -> Result<(), StubError> {
        // A peer closes a range by itself with its last page.
        if self.has_more {
            self.stub.ask(Request::CloseRange(QueryStateClose { id: self.id })).await?;
        }
        Ok(())
    }

    async fn fetch(&mut self, request: Request) -> Result<(), StubError> {
        let kind = request.kind().as_str_name();
        let page: QueryResponse = decode(kind, self.stub.ask(request).await?)?;
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

fn key_value(result: QueryResultBytes) -> Result<KeyValue, StubError> {
    let entry = queryresult::Kv::decode(result.result_bytes)
        .map_err(|cause| StubError::Malformed { request: "GET_STATE_BY_RANGE", cause: cause.to_string() })?;
    Ok(KeyValue { key: entry.key, value: entry.value })
}
