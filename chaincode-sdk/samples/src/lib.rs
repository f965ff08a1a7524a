//! Sample contracts.
