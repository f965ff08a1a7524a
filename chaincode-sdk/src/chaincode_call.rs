//! Calls of other chaincodes in the same transaction.

use bytes::Bytes;
use ripstop_proto::protos::chaincode_message::Type;
use ripstop_proto::protos::{ChaincodeId, ChaincodeInput, ChaincodeMessage, ChaincodeSpec, Response};

use crate::view::decode;
use crate::{PeerError, Request, Stub, StubError};

impl Stub {
    /// Calls another chaincode; `channel` empty or this one's: its reads and writes become
    /// part of this transaction, and its endorsement policy has to be met too. On another
    /// channel it only answers: its reads and writes are thrown away.
    ///
    /// `args` are the function name and its arguments. A status of 400 or more is the
    /// callee's "no" and not an error here.
    ///
    /// # Errors
    /// When the chaincode cannot be called, or the peer refuses or is gone.
    pub async fn invoke_chaincode(&self, name: &str, args: Vec<Bytes>, channel: &str) -> Result<Response, StubError> {
        let name = if channel.is_empty() { name.to_owned() } else { format!("{name}/{channel}") };
        let spec = ChaincodeSpec {
            chaincode_id: Some(ChaincodeId { name, ..Default::default() }),
            input: Some(ChaincodeInput { args, ..Default::default() }),
            ..Default::default()
        };
        let request = Request::InvokeChaincode(spec);
        let kind = request.kind().as_str_name();
        let answer: ChaincodeMessage = self.ask_for(request).await?;
        match answer.r#type() {
            Type::Completed => decode(kind, answer.payload),
            Type::Error => Err(PeerError::Refused(String::from_utf8_lossy(&answer.payload).into_owned()).into()),
            other => {
                let cause = format!("a message of type {} instead of COMPLETED", other.as_str_name());
                Err(StubError::Malformed { request: kind, cause })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{BoxFuture, FutureExt, ready};
    use prost::Message;

    use super::*;
    use crate::{Invocation, Peer, PeerAnswer};

    struct Callee(ChaincodeMessage);

    impl Peer for Callee {
        fn ask(&self, request: Request) -> BoxFuture<'_, PeerAnswer> {
            assert_eq!(&request.payload()[..], b"\x12\x0b\x12\x09other/ch2\x1a\x06\x0a\x04Read");
            ready(Ok(self.0.encode_to_vec().into())).boxed()
        }
    }

    async fn called(kind: Type, payload: Vec<u8>) -> Result<Response, StubError> {
        let answer = ChaincodeMessage { r#type: kind.into(), payload: payload.into(), ..Default::default() };
        let stub = Stub::new(Invocation::default(), Box::new(Callee(answer)));
        stub.invoke_chaincode("other", vec![Bytes::from_static(b"Read")], "ch2").await
    }

    #[tokio::test]
    async fn the_callees_answer_comes_whatever_its_status() {
        let response = Response { status: 404, message: "none".to_owned(), ..Default::default() };
        assert_eq!(called(Type::Completed, response.encode_to_vec()).await.unwrap(), response);
    }

    #[tokio::test]
    async fn a_callee_that_did_not_answer_is_an_error() {
        let failed = called(Type::Error, b"no such chaincode".to_vec()).await.unwrap_err();
        assert_eq!(failed.to_string(), "no such chaincode");
        let failed = called(Type::Keepalive, Vec::new()).await.unwrap_err();
        assert!(failed.to_string().contains("KEEPALIVE instead of COMPLETED"), "{failed}");
        assert!(matches!(called(Type::Completed, vec![0xff]).await, Err(StubError::Malformed { .. })));
    }
}
