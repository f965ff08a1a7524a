//! One range read of a simulation, and what it leaves in the read set.

use bytes::Bytes;
use ripstop_proto::kvrwset::{KvRead, RangeQueryInfo};
use ripstop_proto::range_query::ReadsSummary;

use super::SimulatorError;
use crate::state::{StateRange, StateView};

/// Names an open range of one simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RangeId(usize);

impl RangeId {
    pub(super) fn new(index: usize) -> Self {
        Self(index)
    }

    pub(super) fn index(self) -> usize {
        self.0
    }
}

/// One page of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Keys and values, ascending.
    pub rows: Vec<(String, Bytes)>,
    /// The first key of the next page; empty when there is none.
    pub bookmark: String,
}

pub(super) struct Range {
    /// `None` once closed.
    rows: Option<StateRange>,
    /// `None` for a private range, of which nothing is noted.
    noted: Option<Noted>,
}

struct Noted {
    namespace: String,
    start: String,
    end: String,
    /// The key fetched last; the original end once that is reached.
    last_key: String,
    exhausted: bool,
    reads: ReadsSummary,
}

impl Range {
    pub(super) fn public(state: &StateView, namespace: &str, start: &str, end: &str) -> Self {
        let noted = Noted {
            namespace: namespace.to_owned(),
            start: start.to_owned(),
            end: end.to_owned(),
            last_key: String::new(),
            exhausted: false,
            reads: ReadsSummary::default(),
        };
        Self { rows: Some(state.range(namespace, start, end)), noted: Some(noted) }
    }

    pub(super) fn private(state: &StateView, namespace: &str, collection: &str, start: &str, end: &str) -> Self {
        Self { rows: Some(state.private_range(namespace, collection, start, end)), noted: None }
    }

    pub(super) fn next(&mut self) -> Result<Option<(String, Bytes)>, SimulatorError> {
        let rows = self.rows.as_mut().ok_or(SimulatorError::UnknownRange)?;
        let row = rows.next().transpose()?;
        if let Some(noted) = &mut self.noted {
            match &row {
                Some((key, entry)) => {
                    noted.reads.push(KvRead { key: key.clone(), version: Some(entry.version.into()) });
                    noted.last_key.clone_from(key);
                }
                None => {
                    noted.exhausted = true;
                    noted.last_key.clone_from(&noted.end);
                }
            }
        }
        Ok(row.map(|(key, entry)| (key, entry.value)))
    }

    /// The next `rows_max` rows, and where they would go on. Closes the range. A full page
    /// does not ask whether there is more, so the end of the range is not noted then.
    pub(super) fn page(&mut self, rows_max: usize) -> Result<Page, SimulatorError> {
        let mut rows = Vec::new();
        while rows.len() < rows_max
            && let Some(row) = self.next()?
        {
            rows.push(row);
        }
        let following = self.rows.take().and_then(|mut following| following.next()).transpose()?;
        Ok(Page { rows, bookmark: following.map_or(String::new(), |(key, _)| key) })
    }

    pub(super) fn close(&mut self) {
        self.rows = None;
    }

    /// What is noted of the range, and in which namespace.
    pub(super) fn into_info(self) -> Option<(String, RangeQueryInfo)> {
        let noted = self.noted?;
        let info = RangeQueryInfo {
            start_key: noted.start,
            end_key: noted.last_key,
            itr_exhausted: noted.exhausted,
            reads_info: noted.reads.finish(),
        };
        Some((noted.namespace, info))
    }
}
