//! One page of a range that a client walks over several queries.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::protos::{QueryMetadata, QueryResponse, QueryResponseMetadata};

use crate::range::read;
use crate::{KeyValue, StubError};

/// Which page of a range, and how large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Entries at most, 1 or more. A peer may have a lower limit.
    pub size: usize,
    /// Empty for the first page; then [`Page::bookmark`] of the page before.
    pub bookmark: String,
}

impl PageRequest {
    /// The first page.
    pub fn first(size: usize) -> Self {
        Self { size, bookmark: String::new() }
    }

    pub(crate) fn encode(&self) -> Result<Bytes, StubError> {
        let page_size = i32::try_from(self.size).ok().filter(|size| *size > 0);
        let page_size = page_size.ok_or(StubError::PageSize(self.size))?;
        Ok(QueryMetadata { page_size, bookmark: self.bookmark.clone() }.encode_to_vec().into())
    }
}

/// One page of a range.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The entries, in the order of their keys.
    pub entries: Vec<KeyValue>,
    /// What the next [`PageRequest`] carries; empty when this is the last page (on peers
    /// with LevelDB: CouchDB says so by a page without entries).
    pub bookmark: String,
}

impl Page {
    pub(crate) fn read(request: &'static str, response: QueryResponse) -> Result<Self, StubError> {
        let metadata = QueryResponseMetadata::decode(response.metadata)
            .map_err(|cause| StubError::Malformed { request, cause: cause.to_string() })?;
        let entries: Result<_, _> = response.results.into_iter().map(|result| read(request, result)).collect();
        Ok(Self { entries: entries?, bookmark: metadata.bookmark })
    }
}
