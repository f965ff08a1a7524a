//! Merkle Patricia trie: one hash over a ledger's whole state, and proofs against it.
//!
//! The trie is Ethereum's (yellow paper, appendix D), so its proofs can be checked by anyone's
//! tools. [`StateTrie`] holds the state and takes a block's writes at once; [`PlainTrie`] makes
//! the small tries of one block's transactions and results; [`verify`] checks a proof with nothing
//! but a root. The crate does no I/O, reads no clock and starts no threads: records go to a
//! [`NodeStore`], parallel work to the rayon pool the caller is in.
//!
//! ```
//! use ripstop_trie::{StateTrie, Write, WriteSet, state_leaf, state_path, verify};
//!
//! let mut trie = StateTrie::in_memory();
//! let path = state_path("basic", b"asset1");
//! let leaf = state_leaf(1, 0, b"{\"owner\":\"ann\"}", None);
//! let root = trie.apply(1, &WriteSet::new([Write { path, value: Some(&leaf) }]))?;
//! let proof = trie.prove(&path)?;
//! assert_eq!(verify(&root, &path, &proof), Ok(Some(&leaf[..])));
//! # Ok::<(), ripstop_trie::Error>(())
//! ```
//!
//! Where to read: `state.rs` says what stands in the trie, `node.rs` what is hashed,
//! `state_trie.rs` how a block is applied, `subtrie.rs` how nodes change.

mod state;
mod write_set;

mod checkpoint;
mod commit;
mod memory;
mod prove;
mod recent;
mod state_trie;
mod subtrie;
mod walk;

mod plain;
mod proof;

mod arena;
mod error;
pub mod keccak;
mod nibbles;
mod node;
mod record;
mod rlp;
mod slab;
mod store;

pub use checkpoint::{Checkpoint, WrittenCheckpoint};
pub use error::Error;
pub use keccak::{Hash, Kernel, keccak256};
pub use nibbles::Path;
pub use node::EMPTY_ROOT;
pub use plain::{PlainTrie, list_key};
pub use proof::{Proof, ProofError, verify};
pub use state::{StateLeaf, result_leaf, state_leaf, state_path};
pub use state_trie::{KEPT_ROOTS, StateTrie};
pub use store::{MemoryStore, NodeStore, RecordKey, StoreBatch, StoreError};
pub use walk::Node;
pub use write_set::{Write, WriteSet};
