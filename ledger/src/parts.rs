//! Single steps of a commit, for the benchmarks of this crate: not part of its public face.

use ripstop_proto::common::Block;
use ripstop_proto::protos::TxValidationCode;

use crate::committed::Committed;
use crate::contents::{self, Entry};
use crate::decision;
use crate::state::StateView;
use crate::store::StoreError;

/// The opened entries of a block.
pub struct Opened(Vec<Entry>);

/// What an opened block needs of the committed state.
pub struct Prefetched<'a>(Committed<'a>);

/// Opens the entries of a block, all of which passed stage one.
pub fn open(block: &Block) -> Opened {
    let count = block.data.as_ref().map_or(0, |data| data.data.len());
    Opened(contents::open_entries(block, &vec![TxValidationCode::Valid; count]))
}

/// Reads the versions of the block's keys, and which of its ids are known.
///
/// # Errors
/// When the state cannot be read.
pub fn prefetch<'a>(view: &'a StateView, opened: &Opened) -> Result<Prefetched<'a>, StoreError> {
    Committed::load(view, &opened.0).map(Prefetched)
}

/// The final codes of the block.
///
/// # Errors
/// When the state cannot be read.
pub fn judge(number: u64, opened: &Opened, prefetched: &Prefetched<'_>) -> Result<Vec<TxValidationCode>, StoreError> {
    let mut codes = vec![TxValidationCode::Valid; opened.0.len()];
    decision::decide(number, &opened.0, &mut codes, &prefetched.0)?;
    Ok(codes)
}
