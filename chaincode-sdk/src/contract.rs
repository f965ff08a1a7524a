//! The one trait a contract implements, by `#[contract]` or by hand.
//!
//! By hand, functions are dispatched by a `match` on `Stub::function`: each arm names a
//! function whose parameter tuple types the arguments. Knows nothing of streams or peers.

use std::future::Future;

use ripstop_proto::protos::Response;

use crate::{Failure, Stub};

/// A contract: what it does when a transaction calls it.
///
/// One value serves all transactions, many of them at the same time; what a transaction
/// changes goes through its [`Stub`], never into the contract itself, because endorsers
/// have to come to the same result.
///
/// Functions are asynchronous and write to the ledger one request after the other; two
/// requests that a contract makes at the same time (with `join!`) are correct too, they
/// are put in a row.
///
/// ```
/// use ripstop_chaincode_sdk::{Answer, Contract, Failure, Response, Stub};
///
/// struct Counter;
///
/// impl Contract for Counter {
///     async fn invoke(&self, stub: &Stub) -> Result<Response, Failure> {
///         match stub.function() {
///             "Add" => add(stub, stub.parameters()?).await.answer(),
///             _ => Err(Failure::unknown_function(stub)),
///         }
///     }
/// }
///
/// async fn add(stub: &Stub, (name, amount): (String, u64)) -> Result<u64, Failure> {
///     let before = match stub.get_state(&name).await? {
///         Some(value) => std::str::from_utf8(&value)?.parse()?,
///         None => 0,
///     };
///     let after = u64::checked_add(before, amount).ok_or_else(|| Failure::new("counter is full"))?;
///     stub.put_state(&name, after.to_string()).await?;
///     Ok(after)
/// }
/// ```
pub trait Contract: Send + Sync + 'static {
    /// The name that callers may put before a function ("Name:Function"). With the
    /// default, the empty text, any name is accepted.
    fn name(&self) -> &str {
        ""
    }

    /// The contract's description in the JSON of Fabric's contract API, which answers
    /// `org.hyperledger.fabric:GetMetadata`. `None`, the default: that is a call like any
    /// other.
    fn metadata(&self) -> Option<&str> {
        None
    }

    /// Answers one transaction.
    ///
    /// Called for initialization too (a definition with `init_required`); then
    /// [`crate::View::is_init`] is true.
    ///
    /// # Errors
    /// A [`Failure`] is an answer, not trouble: its status and message go to the client,
    /// and the transaction is not endorsed.
    fn invoke(&self, stub: &Stub) -> impl Future<Output = Result<Response, Failure>> + Send;
}
