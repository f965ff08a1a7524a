//! What a range read leaves in the read set: its rows, or a Merkle summary of them when
//! they are many.
//!
//! Rows are gathered into leaves of 51; a leaf's hash is that of its `QueryReads`. A level
//! that holds more than 50 hashes folds into one hash of the next level. At the end what
//! is left moves upwards, a single hash as it is. Up to 50 rows no summary is made.
//! Source: Fabric `core/ledger/kvledger/txmgmt/rwsetutil/query_results_helper.go`.

use bytes::Bytes;
use prost::Message;

use crate::hash::sha256;
use crate::kvrwset::range_query_info::ReadsInfo;
use crate::kvrwset::{KvRead, QueryReads, QueryReadsMerkleSummary};

/// The degree that endorsers use.
pub const MAX_DEGREE: u32 = 50;

/// Collects the rows of one range read.
#[derive(Debug, Clone)]
pub struct ReadsSummary {
    max_degree: usize,
    pending: Vec<KvRead>,
    /// Hashes by level; index 0 is level 1.
    levels: Vec<Vec<Bytes>>,
}

impl Default for ReadsSummary {
    fn default() -> Self {
        Self::new(MAX_DEGREE)
    }
}

impl ReadsSummary {
    /// An empty collection. `max_degree` is [`MAX_DEGREE`], or at validation the one of
    /// the read set; below 2 a tree has no shape, so validators refuse such a summary.
    pub fn new(max_degree: u32) -> Self {
        Self { max_degree: max_degree as usize, pending: Vec::new(), levels: Vec::new() }
    }

    /// Adds the next row. Its version should be present.
    pub fn push(&mut self, read: KvRead) {
        self.pending.push(read);
        if self.pending.len() > self.max_degree {
            self.close_leaf();
        }
    }

    /// The form that goes into the read set: nothing without rows, the rows themselves up
    /// to `max_degree`, else the summary.
    pub fn finish(mut self) -> Option<ReadsInfo> {
        if self.levels.is_empty() {
            let kv_reads = self.pending;
            return (!kv_reads.is_empty()).then_some(ReadsInfo::RawReads(QueryReads { kv_reads }));
        }
        if !self.pending.is_empty() {
            self.close_leaf();
        }
        Some(ReadsInfo::ReadsMerkleHashes(self.fold()))
    }

    fn close_leaf(&mut self) {
        let leaf = QueryReads { kv_reads: std::mem::take(&mut self.pending) };
        self.add_hash(0, Bytes::copy_from_slice(&sha256(&[&leaf.encode_to_vec()])));
    }

    fn add_hash(&mut self, level: usize, hash: Bytes) {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(hash);
        if self.levels[level].len() > self.max_degree {
            let full = std::mem::take(&mut self.levels[level]);
            self.add_hash(level + 1, combined(&full));
        }
    }

    fn fold(mut self) -> QueryReadsMerkleSummary {
        for level in 0..self.levels.len() - 1 {
            let mut hashes = std::mem::take(&mut self.levels[level]);
            match hashes.len() {
                0 => {}
                1 => self.levels[level + 1].push(hashes.remove(0)),
                _ => self.levels[level + 1].push(combined(&hashes)),
            }
        }
        let mut top = self.levels.pop().unwrap_or_default();
        let mut max_level = self.levels.len() as u32 + 1;
        if top.len() > self.max_degree {
            top = vec![combined(&top)];
            max_level += 1;
        }
        QueryReadsMerkleSummary { max_degree: self.max_degree as u32, max_level, max_level_hashes: top }
    }
}

fn combined(hashes: &[Bytes]) -> Bytes {
    let parts: Vec<&[u8]> = hashes.iter().map(AsRef::as_ref).collect();
    Bytes::copy_from_slice(&sha256(&parts))
}
