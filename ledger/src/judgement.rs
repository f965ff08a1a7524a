//! What the peer that a block comes from made of it: the codes and the commit hash that it
//! stored with the block. A chain that is taken over from a Fabric peer is compared with it.

use ripstop_proto::block;
use ripstop_proto::common::Block;
use ripstop_proto::hash::Hash;
use ripstop_proto::protos::TxValidationCode;

use crate::commit::Verdict;
use crate::contents;

/// What stands in the metadata slots 2 and 4 of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// One per transaction; `None` when that is not what the slot holds, as in blocks of
    /// orderers.
    pub codes: Option<Vec<TxValidationCode>>,
    /// Fabric's commit hash up to this block; blocks of orderers and genesis have none.
    pub commit_hash: Option<Hash>,
}

/// A thing in which two judgements of a block differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The code of a transaction.
    Code {
        /// Index in the block from 0.
        tx_index: usize,
        /// What the one says.
        ours: TxValidationCode,
        /// What the other says.
        theirs: TxValidationCode,
    },
    /// The commit hash.
    CommitHash {
        /// What the one comes to.
        ours: Hash,
        /// What the other comes to.
        theirs: Hash,
    },
}

impl Judgement {
    /// Reads what is stored with a block.
    pub fn of(block: &Block) -> Self {
        Self { codes: contents::codes(block), commit_hash: block::commit_hash(block) }
    }

    /// The verdicts of stage one that the codes imply: who lost against another transaction
    /// was valid until then.
    pub fn verdicts(&self) -> Option<Vec<Verdict>> {
        let stage_one = |code: &TxValidationCode| match code {
            TxValidationCode::MvccReadConflict | TxValidationCode::PhantomReadConflict => TxValidationCode::Valid,
            other => *other,
        };
        let codes = self.codes.as_ref()?.iter();
        Some(codes.map(|code| Verdict { code: stage_one(code), reason: None }).collect())
    }

    /// In what this differs from another judgement of the same block: codes in block order,
    /// then the commit hash. What one of them lacks does not differ.
    pub fn differences(&self, theirs: &Self) -> Vec<Difference> {
        let pairs = self.codes.iter().flatten().zip(theirs.codes.iter().flatten()).enumerate();
        let codes = pairs.filter(|(_, (ours, theirs))| ours != theirs);
        let codes = codes.map(|(tx_index, (ours, theirs))| Difference::Code { tx_index, ours: *ours, theirs: *theirs });
        let commit_hash = match (self.commit_hash, theirs.commit_hash) {
            (Some(ours), Some(theirs)) if ours != theirs => Some(Difference::CommitHash { ours, theirs }),
            _ => None,
        };
        codes.chain(commit_hash).collect()
    }
}
