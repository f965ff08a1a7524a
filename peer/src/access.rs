//! Who may ask this peer for what.
