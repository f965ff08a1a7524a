//! What a contract function returns, as the bytes that a client gets.

use bytes::Bytes;
use ripstop_proto::protos::Response;
use serde::Serialize;

use crate::Failure;

/// The status of an answer that endorsers sign.
const OK: i32 = 200;

/// Bytes as they are: as an argument, or as a result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Raw(pub Bytes);

impl From<&str> for Raw {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

/// A result with a form on the wire.
///
/// Implemented for whatever serializes: text goes as it is, numbers and booleans as their
/// text, `()` and `None` as no bytes, all else as JSON. These are the forms of Fabric's
/// contract API. [`Raw`] goes as its bytes.
///
/// Serialize types whose fields always come in the same order (structs, `BTreeMap`), since
/// endorsers have to produce the same bytes; a `HashMap` does not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a contract function",
    label = "has no form on the wire",
    note = "derive `serde::Serialize` for it, or return `Raw` for bytes"
)]
pub trait IntoPayload {
    /// The bytes for the client.
    ///
    /// # Errors
    /// When the value has no form, e.g. JSON with keys that are not text.
    fn into_payload(self) -> Result<Bytes, Failure>;
}

impl<T: Serialize> IntoPayload for T {
    fn into_payload(self) -> Result<Bytes, Failure> {
        let mut json = serde_json::to_vec(&self)?;
        match json.first() {
            Some(b'"') => return Ok(serde_json::from_slice::<String>(&json)?.into()),
            Some(b'n') => json.clear(),
            // A whole number is written without a fraction, whatever its type.
            Some(b'0'..=b'9' | b'-') if json.ends_with(b".0") => json.truncate(json.len() - 2),
            _ => {}
        }
        Ok(json.into())
    }
}

impl IntoPayload for Raw {
    fn into_payload(self) -> Result<Bytes, Failure> {
        Ok(self.0)
    }
}

/// Turns the result of a contract function into the answer of the contract.
pub trait Answer {
    /// Status 200 with the value's bytes, or the failure.
    ///
    /// # Errors
    /// The failure.
    fn answer(self) -> Result<Response, Failure>;
}

impl<T: IntoPayload, E: Into<Failure>> Answer for Result<T, E> {
    fn answer(self) -> Result<Response, Failure> {
        let payload = self.map_err(Into::into)?.into_payload()?;
        Ok(Response { status: OK, message: String::new(), payload })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sent(result: Result<impl IntoPayload, Failure>) -> Bytes {
        result.answer().unwrap().payload
    }

    #[test]
    fn results_take_the_forms_of_the_contract_api() {
        assert_eq!(sent(Ok("as it is")), "as it is");
        assert_eq!(sent(Ok(false)), "false");
        assert_eq!(sent(Ok(-7i64)), "-7");
        assert_eq!(sent(Ok(())), "");
        assert_eq!(sent(Ok(2.0)), "2");
        assert_eq!(sent(Ok(None::<u8>)), "");
        assert_eq!(sent(Ok("say \"hi\"\n")), "say \"hi\"\n");
        assert_eq!(sent(Ok(BTreeMap::from([("b", 2), ("a", 1)]))), r#"{"a":1,"b":2}"#);
        assert_eq!(sent(Ok(Raw(Bytes::from_static(b"\xff")))), Bytes::from_static(b"\xff"));
    }

    #[test]
    fn a_failed_function_answers_with_its_failure() {
        let result: Result<(), _> = Err(Failure::new("no").with_status(403));
        assert_eq!(result.answer(), Err(Failure::new("no").with_status(403)));
    }
}
