//! A Merkle summary of a range's rows, built level by level from all rows at once.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::kvrwset::{KvRead, QueryReads, QueryReadsMerkleSummary};
use sha2::{Digest, Sha256};

/// The summary; `None` when the rows are too few for one, or the degree too low.
pub(crate) fn summary(max_degree: u32, rows: &[KvRead]) -> Option<QueryReadsMerkleSummary> {
    let degree = max_degree as usize;
    if degree < 2 || rows.len() <= degree {
        return None;
    }
    let leaf = |rows: &[KvRead]| hash(&QueryReads { kv_reads: rows.to_vec() }.encode_to_vec());
    let leaves = rows.chunks(degree + 1).map(leaf).collect();
    let (max_level, max_level_hashes) = top(degree, 1, leaves, None);
    Some(QueryReadsMerkleSummary { max_degree, max_level, max_level_hashes })
}

/// The highest level and its hashes, from the hashes of a level and one that is left over
/// from the level below.
fn top(degree: usize, level: u32, hashes: Vec<Bytes>, left_over: Option<Bytes>) -> (u32, Vec<Bytes>) {
    let groups = hashes.chunks_exact(degree + 1);
    let rest: Vec<Bytes> = groups.remainder().iter().cloned().chain(left_over).collect();
    let next: Vec<Bytes> = groups.map(together).collect();
    if !next.is_empty() {
        let left_over = match &rest[..] {
            [] => None,
            [one] => Some(one.clone()),
            several => Some(together(several)),
        };
        return top(degree, level + 1, next, left_over);
    }
    match rest.len() > degree {
        true => (level + 1, vec![together(&rest)]),
        false => (level, rest),
    }
}

fn together(hashes: &[Bytes]) -> Bytes {
    hash(&hashes.concat())
}

fn hash(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&Sha256::digest(bytes))
}
