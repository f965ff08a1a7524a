//! What is on disk: the chain of blocks, and index and state derived from it.
//!
//! A block enters by one door, [`Ledger::commit`], which gives every transaction its final
//! code, chains Fabric's commit hash, and makes one durable record. Everything else is
//! derived from such records and can be built again from them. Chaincode runs over a
//! [`Simulator`], which notes what it reads and writes on the state of one height.
//!
//! This crate never sees a signature, a policy or the network: blocks come in verified,
//! with a verdict for each transaction.
//!
//! Read next: `commit.rs` for the path of a block, `mvcc.rs` for what makes a read stale,
//! `recovery.rs` for what happens after a crash, and docs/formats.md for the bytes.

pub mod files;

pub mod block_store;
mod fabric_block_files;

mod derived;
mod state;
pub mod store;
mod version;

mod history;
mod simulator;

mod committed;
mod contents;
mod decision;
mod explanation;
mod mvcc;
mod range_read;
mod updates;

mod divergence;
mod roots;
mod state_proof;
mod trie_records;

mod commit;
mod error;
mod judgement;
mod ledger;
mod recovery;
mod verification;

#[doc(hidden)]
pub mod parts;

pub use block_store::{BlockStore, BlockStoreError};
pub use commit::{CheckedBlock, CommittedBlock, Verdict};
pub use error::{CommitError, LedgerError};
pub use explanation::EXPLAINED_BLOCKS;
pub use fabric_block_files::FabricBlockFiles;
pub use history::History;
pub use judgement::{Difference, Judgement};
pub use ledger::{Ledger, Options, TransactionPosition, TrieSettings};
pub use ripstop_proto::ripstop::v1::{BlockRecord, Explanation, PrivateWrite, ReadConflict, Refusal};
pub use ripstop_trie::{Error as TrieError, Node};
pub use simulator::{Page, RangeId, SimulationResult, Simulator, SimulatorError, WrittenKey};
pub use state::{Metadata, StateRange, StateView};
pub use state_proof::{ProofError, ProvedContent, StateProof};
pub use verification::{DerivedFinding, Verification};
pub use version::{Version, VersionedValue};
