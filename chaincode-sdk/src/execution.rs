//! Runs a contract for one invocation, whatever side asks.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use futures::FutureExt;
use ripstop_proto::protos::{ChaincodeEvent, Response};

use crate::{Answer, Contract, Failure, Invocation, Peer, Raw, Stub};

/// Endorsers do not sign answers from this status on.
const STATUS_DECLINED: i32 = 400;

/// The contract that Fabric's contract API adds to every chaincode.
const SYSTEM_CONTRACT: &str = "org.hyperledger.fabric";

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
        /// File, line and column, "src/bank.rs:12:9".
        location: String,
    },
}

thread_local! {
    /// Where the last panic of this thread began.
    static PANICKED_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From the first run on, every panic of the process notes its place before the hook that
/// was there reports it.
static NOTE_PLACES: Once = Once::new();

/// Runs `contract` for `invocation`; its requests go to `peer`.
///
/// What it wrote is sent before this returns, unless it declined. A panic in the contract
/// ends only this run. (Programs built with `panic = "abort"`
/// end, as they asked for.)
pub async fn execute<C: Contract>(contract: &C, invocation: Invocation, peer: Box<dyn Peer>) -> Outcome {
    NOTE_PLACES.call_once(note_places);
    let stub = Stub::new(invocation, peer);
    // The stub is dropped after a panic, and a contract that shares state between
    // transactions has to expect one in the middle of another anyway.
    let run = AssertUnwindSafe(answer(contract, &stub)).catch_unwind().await;
    match run {
        Ok(response) => Outcome::Completed { response, event: stub.into_event() },
        Err(panic) => Outcome::Panicked { message: panic_text(panic.as_ref()).to_owned(), location: panic_place() },
    }
}

async fn answer<C: Contract>(contract: &C, stub: &Stub) -> Response {
    let asked = stub.contract_name();
    if let (SYSTEM_CONTRACT, "GetMetadata", Some(metadata)) = (asked, stub.function(), contract.metadata()) {
        return Ok::<_, Failure>(Raw::from(metadata)).answer().unwrap_or_else(Response::from);
    }
    if !asked.is_empty() && !contract.name().is_empty() && asked != contract.name() {
        return Failure::new(format!("Contract name is not known: {asked}")).into();
    }
    let response = contract.invoke(stub).await.unwrap_or_else(Response::from);
    if response.status >= STATUS_DECLINED {
        return response;
    }
    match stub.flush_writes().await {
        Ok(()) => response,
        Err(cause) => Failure::from(cause).into(),
    }
}

fn note_places() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string);
        // A thread that ends may have lost its place already.
        let _ = PANICKED_AT.try_with(|noted| *noted.borrow_mut() = place);
        report(panic);
    }));
}

/// Of the panic that was just caught: a future is polled by the thread that catches it.
fn panic_place() -> String {
    PANICKED_AT.with(RefCell::take).unwrap_or_else(|| "an unknown place".to_owned())
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is not text")
}
