//! Proofs of what a key holds, now or after one of the last blocks.

use bytes::Bytes;
use ripstop_proto::block;
use ripstop_proto::ripstop::v1::BlockRoots;
use ripstop_trie::{EMPTY_ROOT, Hash, Node, Path, Proof, StateLeaf, keccak256, state_path, verify};

use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::state::{PRIVATE_MARK, SEPARATOR, StateView};
use crate::version::Version;

/// What a key holds at a height, and the trie's nodes that show it.
#[derive(Debug, Clone, PartialEq)]
pub struct StateProof {
    /// The roots of the last block below the height.
    pub roots: BlockRoots,
    /// The nodes from the state root towards the key.
    pub proof: Proof,
    /// The key's content; `None` when the proof shows that there is none.
    pub content: Option<ProvedContent>,
}

/// The content that a leaf stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvedContent {
    /// The last write of the value or of its metadata.
    pub version: Version,
    /// The value, whose hash is the leaf's.
    pub value: Bytes,
    /// The marshalled metadata; `None` also where the leaf has a hash of metadata that is not
    /// held any more, which happens below the newest height only.
    pub metadata: Option<Bytes>,
}

/// Why nothing is proved.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// This ledger gives its blocks no roots.
    #[error("this ledger keeps no state trie")]
    NoTrie,
    /// The trie has no such namespace.
    #[error(
        "nothing of namespace {0:?} can be proved: the state trie holds public values and hashes of private ones, \
         never private values in clear, and names of namespaces have no zero byte"
    )]
    Namespace(String),
    /// There is no such height.
    #[error("height {height} cannot be proved: the ledger has {newest} blocks")]
    NotThere {
        /// What was asked for.
        height: u64,
        /// The newest height.
        newest: u64,
    },
    /// What this node holds is not what it committed.
    #[error(
        "key {key:?} of {namespace:?} at height {height} is not proved: {reason}; this node's state was altered or \
         its trie was, have them built again from the blocks with `ripstop ledger rebuild`"
    )]
    Altered {
        /// Namespace of the key.
        namespace: String,
        /// The key.
        key: String,
        /// The height.
        height: u64,
        /// What does not fit.
        reason: String,
    },
    /// The trie.
    #[error(transparent)]
    Trie(#[from] ripstop_trie::Error),
    /// Reading failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Ledger {
    /// Proves what a public key holds at `height`, the number of blocks that count; at the
    /// newest height when none is given. The last 128 heights since the ledger was opened can
    /// be proved.
    ///
    /// # Errors
    /// See [`ProofError`]. What is given was verified against the root in the block.
    pub fn prove(&self, namespace: &str, key: &str, height: Option<u64>) -> Result<StateProof, ProofError> {
        if namespace.contains(PRIVATE_MARK) || namespace.as_bytes().contains(&SEPARATOR) {
            return Err(ProofError::Namespace(namespace.to_owned()));
        }
        let trie = self.roots.as_ref().ok_or(ProofError::NoTrie)?;
        let view = self.state();
        let newest = view.height();
        let height = height.unwrap_or(newest);
        let number = height.checked_sub(1).filter(|_| height <= newest);
        let number = number.ok_or(ProofError::NotThere { height, newest })?;
        let path = state_path(namespace, key.as_bytes());
        let proof = trie.lock().trie().prove_at(number, &path)?;

        let altered = |reason: &str| ProofError::Altered {
            namespace: namespace.to_owned(),
            key: key.to_owned(),
            height,
            reason: reason.to_owned(),
        };
        let block = self.block(number)?;
        let roots = block.as_deref().and_then(block::block_roots).ok_or_else(|| altered("the block has no roots"))?;
        let root = Hash::try_from(&roots.state_root[..]).map_err(|_| altered("the block's state root is no hash"))?;
        let leaf = verify(&root, &path, &proof).map_err(|error| altered(&error.to_string()))?;
        let content = match leaf {
            None if height == newest && view.get(namespace, key).map_err(LedgerError::from)?.is_some() => {
                return Err(altered("the state holds a value, the trie none"));
            }
            None => None,
            Some(leaf) => {
                let leaf = StateLeaf::read(leaf).ok_or_else(|| altered("the leaf does not decode"))?;
                let content = self.content_of(&leaf, &view, namespace, key)?;
                Some(content.ok_or_else(|| altered("the value's version or hash is not the leaf's"))?)
            }
        };
        Ok(StateProof { roots, proof, content })
    }

    /// What stands at `prefix`, one nibble per byte, in the state trie as it was after block
    /// `number`: one of the newest 129.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub fn trie_node(&self, number: u64, prefix: &[u8]) -> Result<Node, ProofError> {
        let newest = self.height();
        if number >= newest {
            return Err(ProofError::NotThere { height: number.saturating_add(1), newest });
        }
        Ok(self.roots.as_ref().ok_or(ProofError::NoTrie)?.lock().trie().branch_at(number, prefix)?)
    }

    /// The root that this ledger's state trie has after block `number`, one of the newest 129.
    /// The block's own differs where the state was altered since, or built again.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub fn state_root(&self, number: u64) -> Result<Hash, ProofError> {
        let trie = self.roots.as_ref().ok_or(ProofError::NoTrie)?;
        let proof = trie.lock().trie().prove_at(number, &Path::default())?;
        Ok(proof.nodes.first().map_or(EMPTY_ROOT, |root| keccak256(root)))
    }

    /// The content with the version and the hashes of `leaf`.
    fn content_of(
        &self,
        leaf: &StateLeaf,
        view: &StateView,
        namespace: &str,
        key: &str,
    ) -> Result<Option<ProvedContent>, LedgerError> {
        let version = Version::new(leaf.block_number, leaf.tx_index);
        let current = view.get(namespace, key)?;
        if let Some(entry) = &current
            && entry.version == version
        {
            let is_same = keccak256(&entry.value) == leaf.value_hash
                && entry.metadata.as_deref().map(keccak256) == leaf.metadata_hash;
            let content = ProvedContent { version, value: entry.value.clone(), metadata: entry.metadata.clone() };
            return Ok(is_same.then_some(content));
        }
        let value = self.history(namespace, key).value_at(version)?;
        let metadata = current.and_then(|entry| entry.metadata).filter(|it| Some(keccak256(it)) == leaf.metadata_hash);
        let value = value.filter(|value| keccak256(value) == leaf.value_hash);
        Ok(value.map(|value| ProvedContent { version, value, metadata }))
    }
}
