//! Counts and times of calls, under Fabric's metric names.
//!
//! Labels come from the services that this program knows ([`METHODS`]), never from what a
//! client writes into a path. Source: Fabric `common/grpcmetrics`.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::{Request, Response};
use metrics::{Counter, Label, counter, histogram};
use ripstop_proto::METHODS;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::messages::Messages;

/// The health service, whose definition is not ours.
const HEALTH_METHODS: [(&str, bool); 2] =
    [("/grpc.health.v1.Health/Check", false), ("/grpc.health.v1.Health/Watch", true)];

/// Counts every call of a known method.
#[derive(Clone)]
pub(super) struct CallsLayer(Arc<HashMap<&'static str, Method>>);

/// A method whose calls are counted.
struct Method {
    labels: Vec<Label>,
    is_stream: bool,
}

impl CallsLayer {
    pub(super) fn new() -> Self {
        let known = METHODS.iter().chain(&HEALTH_METHODS);
        Self(Arc::new(known.map(|(path, is_stream)| (*path, Method::new(path, *is_stream))).collect()))
    }
}

impl Method {
    fn new(path: &str, is_stream: bool) -> Self {
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
        let labels = vec![Label::new("service", service.replace('.', "_")), Label::new("method", method.to_owned())];
        Self { labels, is_stream }
    }
}

impl<S> Layer<S> for CallsLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, methods: Arc::clone(&self.0) }
    }
}

#[derive(Clone)]
pub(super) struct Calls<S> {
    inner: S,
    methods: Arc<HashMap<&'static str, Method>>,
}

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(method) = self.methods.get(request.uri().path()) else { return Box::pin(self.inner.call(request)) };
        let Method { labels, is_stream } = method;
        let call = Call::begin(labels.clone(), *is_stream);
        let counter_of = |metric| is_stream.then(|| counter!(metric, labels.clone()));
        let (received, sent) =
            (counter_of("grpc_server_stream_messages_received"), counter_of("grpc_server_stream_messages_sent"));
        let answer = self.inner.call(request.map(|body| Passing::wrap(body, received, None)));
        Box::pin(async move {
            let mut call = call;
            let answered = answer.await?;
            if let Some(status) = Status::from_header_map(answered.headers()) {
                call.code = status.code();
            }
            Ok(answered.map(|body| Passing::wrap(body, sent, Some(call))))
        })
    }
}

/// A call under way; counted as completed when it is dropped.
struct Call {
    labels: Vec<Label>,
    is_stream: bool,
    started: Instant,
    /// Cancelled unless something else is said before the end.
    code: Code,
}

impl Call {
    fn begin(labels: Vec<Label>, is_stream: bool) -> Self {
        let metric =
            if is_stream { "grpc_server_stream_requests_received" } else { "grpc_server_unary_requests_received" };
        counter!(metric, labels.clone()).increment(1);
        Self { labels, is_stream, started: Instant::now(), code: Code::Cancelled }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut labels = std::mem::take(&mut self.labels);
        labels.push(Label::new("code", code_text(self.code)));
        let (completed, duration) = match self.is_stream {
            true => ("grpc_server_stream_requests_completed", "grpc_server_stream_request_duration"),
            false => ("grpc_server_unary_requests_completed", "grpc_server_unary_request_duration"),
        };
        counter!(completed, labels.clone()).increment(1);
        histogram!(duration, labels).record(self.started.elapsed().as_secs_f64());
    }
}

/// As gRPC for Go spells it.
fn code_text(code: Code) -> String {
    match code {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A body on its way, of a request or of an answer.
struct Passing {
    inner: Body,
    messages: Messages,
    /// None where messages are not counted.
    count: Option<Counter>,
    /// Of an answer.
    call: Option<Call>,
}

impl Passing {
    fn wrap(inner: Body, count: Option<Counter>, call: Option<Call>) -> Body {
        match (&count, &call) {
            (None, None) => inner,
            _ => Body::new(Self { inner, messages: Messages::default(), count, call }),
        }
    }

    fn look_at(&mut self, frame: &Frame<Bytes>) {
        if let (Some(piece), Some(count)) = (frame.data_ref(), &self.count) {
            count.increment(self.messages.pass(piece));
        }
        let status = frame.trailers_ref().and_then(Status::from_header_map);
        if let (Some(status), Some(call)) = (status, &mut self.call) {
            call.code = status.code();
        }
    }
}

impl HttpBody for Passing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.look_at(frame);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
