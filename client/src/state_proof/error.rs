//! What is wrong with a proof.

use std::num::NonZeroUsize;

use super::{NotCounted, Voucher};

/// Why a proof shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateProofError {
    /// The file is not one.
    #[error("the file is no state proof: {0}")]
    File(String),
    /// An attestation names no identity.
    #[error("the identity of attestation {index} does not decode: {cause}")]
    Identity {
        /// Counted from 0.
        index: usize,
        /// What the decoder says.
        cause: String,
    },
    /// A trusted peer did not sign this.
    #[error("the signature of {subject} is wrong: {cause}; roots, identity or signature were altered")]
    Signature {
        /// Subject of the peer's certificate.
        subject: String,
        /// What the check says.
        cause: String,
    },
    /// Not enough organizations vouch for the roots.
    #[error(
        "peers of {counted} of the {trusted} trusted organizations signed the roots, {needed} are needed{not_counted}"
    )]
    TooFew {
        /// Organizations that signed.
        counted: usize,
        /// Organizations whose signatures would count.
        trusted: usize,
        /// How many have to.
        needed: NonZeroUsize,
        /// The signatures that do not count and why, each after "; ".
        not_counted: String,
    },
    /// The roots are not what they should be.
    #[error("the block's roots are none: {cause}")]
    Roots {
        /// What is wrong.
        cause: String,
    },
    /// A field does not say what was signed.
    #[error("the field {field:?} says {found}, what was signed says {signed}: the proof was altered")]
    Field {
        /// Its name in the file.
        field: &'static str,
        /// What it says.
        found: String,
        /// What it has to say.
        signed: String,
    },
    /// The name of the namespace cannot be one.
    #[error("the name of a namespace has no zero byte")]
    Namespace,
    /// The nodes do not lead from the root to the key.
    #[error("namespace, key or nodes do not fit the state root: {0}")]
    Nodes(#[from] ripstop_trie::ProofError),
    /// The nodes lead to something that is no leaf of a state.
    #[error("the nodes lead to a leaf that does not decode")]
    Leaf,
    /// The content is not what the leaf has the hash of.
    #[error("the {0} is not the one whose hash stands in the state trie: the proof was altered")]
    Content(&'static str),
    /// A value, where there is none.
    #[error("the nodes show that the key was not there, and the proof brings a value")]
    Absent,
    /// No value, where there is one.
    #[error("the nodes show that the key had a value, and the proof brings none")]
    Present,
}

impl StateProofError {
    pub(super) fn too_few(
        counted: &[Voucher],
        not_counted: &[NotCounted],
        needed: NonZeroUsize,
        trusted: usize,
    ) -> Self {
        let reasons = not_counted.iter().map(|it| format!("; that of {} does not count: {}", it.msp_id, it.reason));
        Self::TooFew { counted: counted.len(), trusted, needed, not_counted: reasons.collect() }
    }
}
