//! gRPC calls whose bytes are written by hand.

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::{HeaderMap, Request};
use tokio_stream::StreamExt;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::Channel;

use super::stage::{patiently, said};

/// gRPC's prefix of a message, and nothing behind it.
pub(super) fn framed(flag: u8, length: u32) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(flag);
    bytes.put_u32(length);
    bytes.freeze()
}

/// Calls `path` with these bytes as the whole request.
pub(super) async fn call(channel: &Channel, path: &str, bytes: Bytes) -> String {
    call_with(channel, path, &[], bytes).await
}

/// Likewise with other headers.
pub(super) async fn call_with(channel: &Channel, path: &str, headers: &[(&str, &str)], bytes: Bytes) -> String {
    patiently("gRPC", send(channel, path, headers, Body::new(Full::new(bytes)))).await
}

/// Announces a message of `length` bytes and never sends any.
pub(super) async fn announced(channel: &Channel, path: &str, length: u32) -> String {
    let first = Ok::<_, Status>(Frame::data(framed(0, length)));
    let frames = tokio_stream::once(first).chain(tokio_stream::pending());
    send(channel, path, &[], Body::new(StreamBody::new(frames))).await
}

async fn send(channel: &Channel, path: &str, headers: &[(&str, &str)], body: Body) -> String {
    let mut channel = channel.clone();
    let mut request = Request::post(path).header("te", "trailers").header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    std::future::poll_fn(|context| channel.poll_ready(context)).await.unwrap();
    let response = match channel.call(request.body(body).unwrap()).await {
        Ok(response) => response,
        Err(error) => return format!("cut: {error}"),
    };
    let code = response.status();
    let (head, body) = response.into_parts();
    if let Some(text) = status(&head.headers) {
        return text;
    }
    match body.collect().await {
        Err(status) => said(&status),
        Ok(body) => body.trailers().and_then(status).unwrap_or_else(|| format!("HTTP {code}")),
    }
}

fn status(headers: &HeaderMap) -> Option<String> {
    Status::from_header_map(headers).map(|status| said(&status))
}
