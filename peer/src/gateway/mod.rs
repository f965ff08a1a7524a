//! The Gateway service: evaluate, endorse, submit and follow a transaction for
//! a client that speaks to this one peer.
//!
//! It plans which peers must endorse and collects their answers; it does not
//! judge a transaction. Read `endorser` for what happens at one peer.
