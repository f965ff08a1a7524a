//! The Endorser service: checks a signed proposal, runs its chaincode on one
//! height of the ledger and signs the result.
//!
//! It does not know who else endorses. Read `chaincode` for the conversation
//! with the contract, `access` for who may ask.
