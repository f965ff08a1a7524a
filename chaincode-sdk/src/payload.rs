//! What a contract function returns, as the bytes that a client gets.

use bytes::Bytes;
use ripstop_proto::protos::Response;
use serde::Serialize;

use crate::Failure;

/// The status of an answer that endorsers sign.
const OK: i32 = 200;

/// A value that travels as JSON: as a parameter, a result, or a stored value.
///
/// Serialize types whose fields always come in the same order (structs, `BTreeMap`), since
/// endorsers have to produce the same bytes; a `HashMap` does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// A result with a form on the wire.
///
/// Text goes as it is, numbers and booleans as their text, `()` as no bytes, [`Json`] as
/// JSON: the forms of Fabric's contract API.
pub trait IntoPayload {
    /// The bytes for the client.
    ///
    /// # Errors
    /// When the value has no form, e.g. JSON with keys that are not text.
    fn into_payload(self) -> Result<Bytes, Failure>;
}

macro_rules! bytes_payloads {
    ($($type:ty),+) => {$(
        impl IntoPayload for $type {
            fn into_payload(self) -> Result<Bytes, Failure> {
                Ok(Bytes::from(self))
            }
        }
    )+};
}
bytes_payloads!(Bytes, Vec<u8>, String, &'static str);

macro_rules! text_payloads {
    ($($type:ty),+) => {$(
        impl IntoPayload for $type {
            fn into_payload(self) -> Result<Bytes, Failure> {
                Ok(Bytes::from(self.to_string()))
            }
        }
    )+};
}
text_payloads!(bool, u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f64);

impl IntoPayload for () {
    fn into_payload(self) -> Result<Bytes, Failure> {
        Ok(Bytes::new())
    }
}

impl<T: Serialize> IntoPayload for Json<T> {
    fn into_payload(self) -> Result<Bytes, Failure> {
        Ok(serde_json::to_vec(&self.0)?.into())
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
        assert_eq!(sent(Ok(Json(BTreeMap::from([("b", 2), ("a", 1)])))), r#"{"a":1,"b":2}"#);
    }

    #[test]
    fn a_failed_function_answers_with_its_failure() {
        let result: Result<(), _> = Err(Failure::new("no").with_status(403));
        assert_eq!(result.answer(), Err(Failure::new("no").with_status(403)));
    }
}
