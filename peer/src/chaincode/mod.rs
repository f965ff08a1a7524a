//! Chaincode as this peer sees it: packages, connections and the conversation
//! of one transaction with a contract process.
//!
//! It does not know who asked or what is signed. Read `endorser` for the caller.
