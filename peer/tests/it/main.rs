//! The peer's parts, put together from real ones: identities of test authorities, a
//! ledger, blocks with real signatures.

mod blocks;
mod organizations;
mod transactions;

mod validator;
