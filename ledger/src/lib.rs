//! What is on disk: blocks, versioned state, MVCC, commit, recovery.
