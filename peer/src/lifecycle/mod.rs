//! `_lifecycle`: chaincode definitions of a channel, their approvals, and the
//! packages installed here.
//!
//! It decides which definition is in force, never whether a transaction meets
//! its policy: that is `validator`.
