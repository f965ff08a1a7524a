//! The attributes and derives of `ripstop-chaincode-sdk`, which exports them: a contract's
//! dispatch from a plain `impl` block, error codes, keys.
//!
//! Knows only names of the SDK, nothing of what they do. Whatever is wrong is said at the
//! place where the author wrote it. Read next: `contract.rs`, then `function.rs`.

mod contract;
mod contract_error;
mod function;
mod guard;
mod key;
mod schema;

#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

/// Makes a contract of an `impl` block.
///
/// Functions marked `#[submit]` get a `&Stub`, functions marked `#[query]` a `&View`, which
/// cannot write. Both return a `Result` and may be `async`; what they take after the
/// context are the call's arguments. Functions without a mark are the block's own affair.
///
/// | on the block | |
/// |---|---|
/// | `name = "bank"` | the contract's name; without it the type's name |
/// | `version = "1.0"` | for the metadata; without it "1.0.0" |
/// | `rename_all = "PascalCase"` | or `"camelCase"`: how callers write the functions' names |
///
/// | on a function | |
/// |---|---|
/// | `#[submit(name = "Open")]` | how callers write this function's name |
/// | `#[require(org = "Org1MSP")]`, `#[require(org = ["Org1MSP", "Org2MSP"])]` | callers are of one of these organizations |
/// | `#[require(attr = "role:auditor")]` | the caller's certificate carries the attribute with this value |
/// | `#[require(attr = "role")]` | the certificate carries the attribute, whatever its value |
///
/// Several requirements all have to be met. The contract also answers
/// `org.hyperledger.fabric:GetMetadata`.
#[proc_macro_attribute]
pub fn contract(arguments: TokenStream, block: TokenStream) -> TokenStream {
    contract::expand(arguments.into(), block.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a contract's error of an enum: each variant `#[failure(STATUS, "message")]`.
///
/// The message may use the variant's fields: `{0}` by position, `{cents}` by name. A client
/// gets status and message, and as payload the JSON `{"code":"Variant","message":"…"}`. A
/// variant `#[failure(transparent)]` with one field of the type `Failure` takes every other
/// error in, so that `?` works.
#[proc_macro_derive(ContractError, attributes(failure))]
pub fn contract_error(item: TokenStream) -> TokenStream {
    contract_error::expand(item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes the parts of a composite key of a struct's fields, in their order. Each field is a
/// key of one or more parts itself.
#[proc_macro_derive(Key)]
pub fn key(item: TokenStream) -> TokenStream {
    key::expand(item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
