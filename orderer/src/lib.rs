//! Broadcast, block cutter, Raft consenter, deliver.
