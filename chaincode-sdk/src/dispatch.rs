//! What the dispatch that `#[contract]` writes calls. Not for authors.

use bytes::Bytes;
use ripstop_proto::protos::Response;

use crate::parameters::check_count;
use crate::{Answer, Failure, Stub, View};

/// The status of a call that a guard turns away.
const FORBIDDEN: i32 = 403;

/// The arguments after the function name, which have to be `count`.
pub fn arguments(stub: &Stub, count: usize) -> Result<&[Bytes], Failure> {
    let arguments = stub.args().get(1..).unwrap_or_default();
    check_count(count, arguments)?;
    Ok(arguments)
}

/// What a contract of Fabric's contract API answers to a call of nothing.
pub fn nothing_called() -> Result<Response, Failure> {
    Ok::<_, Failure>("Default initiator successful.").answer()
}

/// Turns callers of other organizations away.
pub fn require_organization(view: &View, function: &str, organizations: &[&str]) -> Result<(), Failure> {
    let caller = view.caller().msp_id();
    if organizations.contains(&caller) {
        return Ok(());
    }
    let organizations = organizations.join(" or ");
    Err(forbidden(format!("{function} is for callers of {organizations}, not of {caller}")))
}

/// Turns callers without the attribute, or with another value of it, away.
pub fn require_attribute(view: &View, function: &str, name: &str, value: Option<&str>) -> Result<(), Failure> {
    let found = view.caller().attribute(name).map_err(|cause| forbidden(cause.to_string()))?;
    match (found, value) {
        (Some(found), Some(value)) if found != value => Err(forbidden(format!(
            "{function} is for callers whose certificate has the attribute {name} = {value}, not {found}"
        ))),
        (Some(_), _) => Ok(()),
        (None, _) => Err(forbidden(format!("{function} is for callers whose certificate has the attribute {name}"))),
    }
}

fn forbidden(message: String) -> Failure {
    Failure::with_code(FORBIDDEN, "Forbidden", message)
}
