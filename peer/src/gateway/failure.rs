//! What a client is told when a node it did not call itself said no: a gRPC code, a text,
//! and one `gateway.ErrorDetail` for each attempt.
//!
//! Source of codes and texts: Fabric `internal/pkg/gateway/apiutils.go`, `endorse.go` and
//! `evaluate.go`. The table stands in [`judge`].

use bytes::Bytes;
use prost::Message;
use ripstop_proto::gateway::ErrorDetail;
use ripstop_proto::google::rpc;
use ripstop_proto::protos::ProposalResponse;
use tonic::{Code, Status};

/// All details of an answer travel in one HTTP/2 trailer, which clients bound.
const DETAIL_BYTES_MAX: usize = 3 * 1024;
const DETAIL_TYPE_URL: &str = "type.googleapis.com/gateway.ErrorDetail";

/// One attempt at one node that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The code `Evaluate` passes on.
    pub(super) code: Code,
    /// What went wrong, in the words of the node where it has any.
    pub(super) message: String,
    /// Whether asking another peer may help `Evaluate`.
    pub(super) retry: bool,
}

/// How an endorser answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Option<ProposalResponse>,
    pub(super) error: Option<Status>,
}

/// Sorts an endorser's answer: a usable response, or what failed.
pub(super) fn judge(answer: Answer) -> Result<ProposalResponse, Failure> {
    match (answer.response, answer.error) {
        (None, error) => Err(unreachable(error)),
        (Some(_), Some(error)) => {
            Err(Failure { code: Code::FailedPrecondition, message: error.message().to_owned(), retry: false })
        }
        (Some(response), None) => judge_status(response),
    }
}

fn unreachable(error: Option<Status>) -> Failure {
    let error = error.unwrap_or_else(|| Status::internal("the endorser gave no answer"));
    Failure {
        code: Code::Unavailable,
        message: format!("rpc error: code = {:?} desc = {}", error.code(), error.message()),
        retry: true,
    }
}

fn judge_status(response: ProposalResponse) -> Result<ProposalResponse, Failure> {
    let (status, message) =
        response.response.as_ref().map_or((0, ""), |response| (response.status, response.message.as_str()));
    if (200..400).contains(&status) {
        return Ok(response);
    }
    if status == 500 && response.payload.is_empty() {
        return Err(Failure { code: Code::Aborted, message: message.to_owned(), retry: true });
    }
    Err(Failure { code: Code::Unknown, message: format!("chaincode response {status}, {message}"), retry: false })
}

/// One entry of a status's details.
pub(super) fn detail(address: &str, msp_id: &str, message: &str) -> ErrorDetail {
    ErrorDetail { address: address.to_owned(), msp_id: msp_id.to_owned(), message: message.to_owned() }
}

/// A status that carries `details`. Texts are shortened, all alike, when together they
/// would not fit into a trailer.
pub(super) fn status(code: Code, message: impl Into<String>, details: &[ErrorDetail]) -> Status {
    let message = message.into();
    if details.is_empty() {
        return Status::new(code, message);
    }
    let message_bytes_max = DETAIL_BYTES_MAX / details.len();
    let rich = rpc::Status {
        code: code as i32,
        message: message.clone(),
        details: details.iter().map(|detail| any(detail, message_bytes_max)).collect(),
    };
    Status::with_details(code, message, Bytes::from(rich.encode_to_vec()))
}

fn any(detail: &ErrorDetail, message_bytes_max: usize) -> prost_types::Any {
    let mut detail = detail.clone();
    let end = detail.message.floor_char_boundary(message_bytes_max);
    detail.message.truncate(end);
    prost_types::Any { type_url: DETAIL_TYPE_URL.to_owned(), value: detail.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use ripstop_proto::protos::Response;

    use super::*;

    fn response(status: i32, message: &str, payload: &'static [u8]) -> Answer {
        let response = Response { status, message: message.into(), payload: Bytes::new() };
        let payload = Bytes::from_static(payload);
        Answer {
            response: Some(ProposalResponse { response: Some(response), payload, ..Default::default() }),
            error: None,
        }
    }

    fn failed(answer: Answer) -> (Code, String, bool) {
        let failure = judge(answer).unwrap_err();
        (failure.code, failure.message, failure.retry)
    }

    #[test]
    fn answers_are_sorted_as_clients_of_fabric_expect() {
        assert!(judge(response(200, "", b"p")).is_ok());
        assert!(judge(response(399, "", b"p")).is_ok());
        assert_eq!(
            failed(response(500, "no such asset", b"p")),
            (Code::Unknown, "chaincode response 500, no such asset".into(), false)
        );
        assert_eq!(failed(response(404, "gone", b"")), (Code::Unknown, "chaincode response 404, gone".into(), false));
        assert_eq!(failed(response(500, "no ledger", b"")), (Code::Aborted, "no ledger".into(), true));
        let ended = "error sending: chaincode stream terminated";
        assert_eq!(failed(response(500, ended, b"")), (Code::Aborted, ended.into(), true));
    }

    #[test]
    fn an_error_with_a_response_is_a_refusal_and_one_without_is_a_lost_peer() {
        let refused = Answer { error: Some(Status::unknown("access denied")), ..response(500, "access denied", b"") };
        assert_eq!(failed(refused), (Code::FailedPrecondition, "access denied".into(), false));
        let lost = Answer { response: None, error: Some(Status::unavailable("connection refused")) };
        let text = "rpc error: code = Unavailable desc = connection refused";
        assert_eq!(failed(lost), (Code::Unavailable, text.into(), true));
    }

    #[test]
    fn details_fit_into_a_trailer() {
        let long = "ä".repeat(10_000);
        let details: Vec<_> = (0..7).map(|peer| detail(&format!("peer{peer}:7051"), "Org1MSP", &long)).collect();
        let status = status(Code::Aborted, "failed", &details);
        assert!(status.details().len() < 4096);
        let rich = rpc::Status::decode(status.details()).unwrap();
        assert_eq!(rich.details.len(), 7);
        assert_eq!(rich.details[0].type_url, DETAIL_TYPE_URL);
        assert_eq!(ErrorDetail::decode(rich.details[6].value.as_slice()).unwrap().address, "peer6:7051");
    }
}
