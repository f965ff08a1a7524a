//! Who waits for which transaction to be committed.
