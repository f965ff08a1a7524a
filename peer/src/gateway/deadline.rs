//! The client's own deadline, kept by us: the transport would answer CANCELLED when it
//! passes, clients of Fabric expect DEADLINE_EXCEEDED and a text that says what took long.

use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

/// Our answer has to leave before the transport gives up.
const MARGIN: Duration = Duration::from_millis(10);

/// Runs `call`, and answers `timed_out` when the deadline of `request` comes first.
pub(super) async fn within<Q, A, F>(
    request: Request<Q>,
    timed_out: &'static str,
    call: impl FnOnce(Q) -> F,
) -> Result<Response<A>, Status>
where
    F: Future<Output = Result<A, Status>>,
{
    let limit = timeout(request.metadata());
    let answer = call(request.into_inner());
    match limit {
        None => answer.await,
        Some(limit) => tokio::time::timeout(limit.saturating_sub(MARGIN), answer)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded(timed_out))),
    }
    .map(Response::new)
}

/// The value of the header `grpc-timeout`: up to eight digits and a unit.
fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Duration> {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", text.parse().unwrap());
        timeout(&metadata)
    }

    #[test]
    fn the_units_of_the_header_are_read() {
        assert_eq!(parsed("15S"), Some(Duration::from_secs(15)));
        assert_eq!(parsed("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parsed("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parsed("99999999n"), Some(Duration::from_nanos(99_999_999)));
    }

    #[test]
    fn a_malformed_header_sets_no_deadline() {
        for text in ["", "S", "15", "15X", "-1S", "123456789S"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_past_its_deadline_answers_deadline_exceeded() {
        let mut request = Request::new(());
        request.metadata_mut().insert("grpc-timeout", "100m".parse().unwrap());
        let answer = within::<(), (), _>(request, "too late", |()| std::future::pending()).await.unwrap_err();
        assert_eq!(answer.code(), tonic::Code::DeadlineExceeded);
        assert_eq!(answer.message(), "too late");
    }
}
