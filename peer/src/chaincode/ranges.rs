//! Range queries of one transaction, handed out in pages.
//!
//! A page ends one item early: the next item is read before the page goes out, so that
//! `has_more` is known. That item is part of what the transaction read even if the
//! chaincode closes the range now.
//! Source: Fabric `core/chaincode/query_response_generator.go`.

use std::collections::HashMap;

use prost::Message;
use ripstop_ledger::{RangeId, Simulator};
use ripstop_proto::protos::{QueryResponse, QueryResultBytes};
use ripstop_proto::queryresult::Kv;

/// Results per answer.
const PAGE_RESULTS: usize = 100;
/// Results per range in all; beyond it the range ends as if there were no more.
const RANGE_RESULTS_MAX: u32 = 100_000;
/// Open ranges per transaction.
const OPEN_RANGES_MAX: usize = 1_000;

/// The open ranges of one transaction, by the id that the chaincode was given.
#[derive(Default)]
pub(crate) struct Ranges {
    open: HashMap<String, Range>,
}

struct Range {
    id: RangeId,
    pending: Vec<QueryResultBytes>,
    results: u32,
}

impl Ranges {
    /// Opens a range and gives its first page.
    pub(crate) fn open(
        &mut self,
        simulator: &mut Simulator,
        namespace: &str,
        start: &str,
        end: &str,
    ) -> Result<QueryResponse, String> {
        if self.open.len() >= OPEN_RANGES_MAX {
            return Err(format!("{OPEN_RANGES_MAX} range queries are open in this transaction: close some"));
        }
        let id = simulator.open_range(namespace, start, end);
        let name = uuid::Uuid::new_v4().to_string();
        self.open.insert(name.clone(), Range { id, pending: Vec::new(), results: 0 });
        self.next(simulator, namespace, name)
    }

    /// The next page of an open range.
    pub(crate) fn next(
        &mut self,
        simulator: &mut Simulator,
        namespace: &str,
        name: String,
    ) -> Result<QueryResponse, String> {
        let range = self.open.get_mut(&name).ok_or("query iterator not found")?;
        let page = range.page(simulator, namespace);
        if !matches!(page, Ok((_, true))) {
            self.close(simulator, &name);
        }
        let (results, has_more) = page?;
        Ok(QueryResponse { results, has_more, id: name, ..QueryResponse::default() })
    }

    /// Closes a range; one that is not open is fine too.
    pub(crate) fn close(&mut self, simulator: &mut Simulator, name: &str) {
        if let Some(range) = self.open.remove(name) {
            simulator.close_range(range.id);
        }
    }
}

impl Range {
    fn page(&mut self, simulator: &mut Simulator, namespace: &str) -> Result<(Vec<QueryResultBytes>, bool), String> {
        while self.results < RANGE_RESULTS_MAX {
            let Some((key, value)) = simulator.next(self.id).map_err(|cause| cause.to_string())? else { break };
            let entry = Kv { namespace: namespace.to_owned(), key, value };
            let result = QueryResultBytes { result_bytes: entry.encode_to_vec().into() };
            self.results += 1;
            if self.pending.len() == PAGE_RESULTS {
                return Ok((std::mem::replace(&mut self.pending, vec![result]), true));
            }
            self.pending.push(result);
        }
        Ok((std::mem::take(&mut self.pending), false))
    }
}
