//! Runs a contract for one invocation, whatever side asks.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use ripstop_proto::protos::{ChaincodeEvent, Response};

use crate::{Contract, Failure, Invocation, Peer, Stub};

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The contract answered, with a result or a failure.
    Completed {
        /// Status, message and payload.
        response: Response,
        /// The event it set last.
        event: Option<ChaincodeEvent>,
    },
    /// The contract panicked. Nothing of the transaction may be used.
    Panicked {
        /// What the panic said.
        message: String,
    },
}

/// Runs `contract` for `invocation`; its requests go to `peer`.
///
/// A panic in the contract ends only this run. (Programs built with `panic = "abort"`
/// end, as they asked for.)
pub async fn execute<C: Contract>(contract: &C, invocation: Invocation, peer: Box<dyn Peer>) -> Outcome {
    let stub = Stub::new(invocation, peer);
    // The stub is dropped after a panic, and a contract that shares state between
    // transactions has to expect one in the middle of another anyway.
    let run = AssertUnwindSafe(answer(contract, &stub)).catch_unwind().await;
    match run {
        Ok(response) => Outcome::Completed { response, event: stub.into_event() },
        Err(panic) => Outcome::Panicked { message: panic_text(panic.as_ref()).to_owned() },
    }
}

async fn answer<C: Contract>(contract: &C, stub: &Stub) -> Response {
    let asked = stub.contract_name();
    if !asked.is_empty() && !contract.name().is_empty() && asked != contract.name() {
        return Failure::new(format!("Contract name is not known: {asked}")).into();
    }
    contract.invoke(stub).await.unwrap_or_else(Response::from)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is not text")
}
