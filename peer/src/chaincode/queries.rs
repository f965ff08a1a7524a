//! Queries of one transaction with many results: ranges of keys, and the history of a key.
//!
//! Results go out in batches. A batch ends one result early: the next one is read before
//! the batch goes out, so that `has_more` is known. That result is part of what the
//! transaction read even if the chaincode closes the query now. A page that a chaincode
//! asks for goes out whole, and is closed at once.
//! Source: Fabric `core/chaincode/query_response_generator.go`.

use std::collections::HashMap;

use prost::Message;
use ripstop_ledger::{History, RangeId, Simulator};
use ripstop_proto::protos::{QueryMetadata, QueryResponse, QueryResponseMetadata, QueryResultBytes};
use ripstop_proto::queryresult::Kv;

use super::requests::cause_of;

/// Results per answer.
const BATCH_RESULTS: usize = 100;
/// Results per query in all; beyond it a query ends as if there were no more.
const QUERY_RESULTS_MAX: u32 = 100_000;
/// Open queries per transaction.
const OPEN_QUERIES_MAX: usize = 1_000;

/// The open queries of one transaction, by the id that the chaincode was given.
#[derive(Default)]
pub(crate) struct Queries {
    open: HashMap<String, Query>,
}

struct Query {
    source: Source,
    pending: Vec<QueryResultBytes>,
    results: u32,
}

enum Source {
    Range(RangeId),
    History(History),
}

/// The chaincode's namespace, and what its queries are answered from.
pub(crate) struct Reader<'a> {
    pub(crate) simulator: &'a mut Simulator,
    pub(crate) namespace: &'a str,
    pub(crate) tx_id: &'a str,
}

impl Queries {
    /// Opens a range and gives its first batch.
    pub(crate) fn open_range(&mut self, reader: Reader<'_>, start: &str, end: &str) -> Result<QueryResponse, String> {
        self.require_room()?;
        let source = Source::Range(reader.simulator.open_range(reader.namespace, start, end));
        self.open(reader, source)
    }

    /// Opens the history of a key and gives its first batch.
    pub(crate) fn open_history(&mut self, reader: Reader<'_>, key: &str) -> Result<QueryResponse, String> {
        self.require_room()?;
        let source = Source::History(reader.simulator.history(reader.namespace, key));
        self.open(reader, source)
    }

    /// The next batch of an open query.
    pub(crate) fn next(&mut self, reader: Reader<'_>, id: String) -> Result<QueryResponse, String> {
        let query = self.open.get_mut(&id).ok_or("query iterator not found")?;
        let batch = query.batch(&mut *reader.simulator, reader.namespace);
        if !matches!(batch, Ok((_, true))) {
            self.close(reader.simulator, &id);
        }
        let (results, has_more) = batch?;
        Ok(QueryResponse { results, has_more, id, ..QueryResponse::default() })
    }

    /// Closes a query; one that is not open is fine too.
    pub(crate) fn close(&mut self, simulator: &mut Simulator, id: &str) {
        if let Some(Query { source: Source::Range(range), .. }) = self.open.remove(id) {
            simulator.close_range(range);
        }
    }

    fn open(&mut self, reader: Reader<'_>, source: Source) -> Result<QueryResponse, String> {
        let id = new_id();
        self.open.insert(id.clone(), Query { source, pending: Vec::new(), results: 0 });
        self.next(reader, id)
    }

    fn require_room(&self) -> Result<(), String> {
        match self.open.len() < OPEN_QUERIES_MAX {
            true => Ok(()),
            false => Err(format!("{OPEN_QUERIES_MAX} queries are open in this transaction: close some")),
        }
    }
}

impl Query {
    fn batch(&mut self, simulator: &mut Simulator, namespace: &str) -> Result<(Vec<QueryResultBytes>, bool), String> {
        while self.results < QUERY_RESULTS_MAX {
            let Some(result) = self.source.next(simulator, namespace)? else { break };
            self.results += 1;
            if self.pending.len() == BATCH_RESULTS {
                return Ok((std::mem::replace(&mut self.pending, vec![result]), true));
            }
            self.pending.push(result);
        }
        Ok((std::mem::take(&mut self.pending), false))
    }
}

impl Source {
    fn next(&mut self, simulator: &mut Simulator, namespace: &str) -> Result<Option<QueryResultBytes>, String> {
        match self {
            Self::Range(range) => {
                let row = simulator.next(*range).map_err(|cause| cause.to_string())?;
                Ok(row.map(|(key, value)| result(&Kv { namespace: namespace.to_owned(), key, value })))
            }
            Self::History(history) => {
                let modification = history.next().transpose().map_err(|cause| cause.to_string())?;
                Ok(modification.as_ref().map(result))
            }
        }
    }
}

/// Whether a range is asked for in pages.
pub(crate) fn is_paged(metadata: &QueryMetadata) -> bool {
    metadata.page_size != 0 || !metadata.bookmark.is_empty()
}

/// One page of a range, and where the next one begins. A bookmark takes the place of `start`;
/// without a page size the page is as large as a query may be.
pub(crate) fn page(
    reader: Reader<'_>,
    start: &str,
    end: &str,
    metadata: &QueryMetadata,
) -> Result<QueryResponse, String> {
    let start = if metadata.bookmark.is_empty() { start } else { &metadata.bookmark };
    let page_size = u32::try_from(metadata.page_size).ok().filter(|size| *size > 0);
    let rows_max = page_size.unwrap_or(QUERY_RESULTS_MAX).min(QUERY_RESULTS_MAX);
    let page = reader.simulator.read_page(reader.namespace, start, end, rows_max as usize);
    let page = page.map_err(|cause| cause_of(&cause, reader.tx_id))?;
    let metadata = QueryResponseMetadata { fetched_records_count: page.rows.len() as i32, bookmark: page.bookmark };
    let row = |(key, value)| result(&Kv { namespace: reader.namespace.to_owned(), key, value });
    Ok(QueryResponse {
        results: page.rows.into_iter().map(row).collect(),
        has_more: false,
        id: new_id(),
        metadata: metadata.encode_to_vec().into(),
    })
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn result(message: &impl Message) -> QueryResultBytes {
    QueryResultBytes { result_bytes: message.encode_to_vec().into() }
}
