//! A contract's "no": what the client is told instead of a result.

use std::fmt;

use bytes::Bytes;
use ripstop_proto::protos::Response;

use crate::View;

/// Status and message of a transaction that the contract declines.
///
/// Any error converts into one with `?` (status 500, the error's text), as Fabric's shims
/// do. It is deliberately not a `std::error::Error` itself, which is what makes that
/// conversion possible.
///
/// ```
/// use ripstop_chaincode_sdk::Failure;
///
/// fn parse(text: &str) -> Result<u64, Failure> {
///     Ok(text.parse::<u64>()?)
/// }
/// assert_eq!(parse("x").unwrap_err().status(), 500);
/// assert_eq!(Failure::new("no such account").with_status(404).status(), 404);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    status: i32,
    message: String,
    payload: Bytes,
}

impl Failure {
    /// The status of failures that name no other.
    pub const STATUS: i32 = 500;

    /// A failure with status 500.
    pub fn new(message: impl Into<String>) -> Self {
        Self { status: Self::STATUS, message: message.into(), payload: Bytes::new() }
    }

    /// A failure with a code for programs: its payload is the JSON
    /// `{"code":…,"message":…}`. What `#[derive(ContractError)]` makes.
    pub fn with_code(status: i32, code: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let payload = serde_json::json!({ "code": code, "message": message }).to_string();
        Self::new(message).with_status(status).with_payload(payload)
    }

    /// The failure that answers a call of a function the contract does not have.
    pub fn unknown_function(view: &View) -> Self {
        let name = view.args().first().map(|name| String::from_utf8_lossy(name)).unwrap_or_default();
        Self::new(format!("You've asked to invoke a function that does not exist: {name}"))
    }

    /// The same failure with another status. Below 400 an endorser would sign the
    /// answer, so such a status becomes 500.
    ///
    /// 400 to 499: the client sees status and message only. 500 and more: the endorser
    /// also returns the read and write set, without a signature.
    pub fn with_status(self, status: i32) -> Self {
        Self { status: if status < 400 { Self::STATUS } else { status }, ..self }
    }

    /// The same failure with bytes for the client.
    pub fn with_payload(self, payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..self }
    }

    /// 400 or more.
    pub fn status(&self) -> i32 {
        self.status
    }

    /// Bytes for the client.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// What the client reads.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (status {})", self.message, self.status)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}

impl From<Failure> for Response {
    fn from(failure: Failure) -> Self {
        Self { status: failure.status, message: failure.message, payload: failure.payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_never_has_a_status_that_would_be_endorsed() {
        assert_eq!(Failure::new("no").with_status(200).status(), 500);
        assert_eq!(Failure::new("no").with_status(399).status(), 500);
        assert_eq!(Failure::new("no").with_status(400).status(), 400);
    }

    #[test]
    fn a_failure_becomes_a_response_with_its_payload() {
        let response = Response::from(Failure::new("short").with_status(422).with_payload("{}"));
        assert_eq!((response.status, response.message.as_str(), &response.payload[..]), (422, "short", &b"{}"[..]));
    }
}
