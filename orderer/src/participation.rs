//! Channel participation: joining and listing channels by REST, as `osnadmin` does.
//!
//! | method and path (below `/participation/v1`) | answer |
//! |---|---|
//! | `GET /channels` | 200, all channels |
//! | `GET /channels/ID` | 200, or 404 |
//! | `POST /channels` (multipart, file `config-block`) | 201 and Location; 400, 405 if it exists |
//! | `GET /channels/ID/blocks/newest`, `oldest`, `config` or a number | 200, the block's bytes; 404 |
//! | `PUT /channels`, `DELETE /channels/ID` | 501: not implemented, the text says what |
//!
//! Paths, fields, statuses and texts are Fabric's (`orderer/common/channelparticipation`).

use std::sync::Arc;

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Path, Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use prost::Message;
use ripstop_proto::block;
use ripstop_proto::common::Block;
use serde::Serialize;

use crate::channel::Channel;
use crate::channels::{Channels, JoinError};

const BASE: &str = "/participation/v1/";
const CHANNELS: &str = "/participation/v1/channels";
const CONFIG_BLOCK: &str = "config-block";
/// Bytes of a request, as in Fabric.
const REQUEST_BYTES_MAX: usize = 1 << 20;
const CHANNEL_ID_BYTES_MAX: usize = 249;

type Served = State<Arc<Channels>>;
type Answer = Result<Response, Refused>;

/// The routes of the admin listener.
pub(crate) fn router(channels: Arc<Channels>) -> Router {
    let not_allowed = |allow: &'static str| move |method: Method| async move { method_not_allowed(&method, allow) };
    let channel: MethodRouter<Arc<Channels>> = get(show_one).delete(remove).fallback(not_allowed("GET, DELETE"));
    Router::new()
        .route(BASE, get(|| async { (StatusCode::FOUND, [(header::LOCATION, CHANNELS)]) }))
        .route(CHANNELS, get(show_all).post(join).put(update).fallback(not_allowed("GET, POST, PUT")))
        .route(&format!("{CHANNELS}/{{channel_id}}"), channel)
        .route(&format!("{CHANNELS}/{{channel_id}}/blocks/{{block_id}}"), get(show_block).fallback(not_allowed("GET")))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(channels)
}

/// An answer other than success.
struct Refused {
    status: StatusCode,
    error: String,
    allow: Option<&'static str>,
}

impl Refused {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), allow: None }
    }

    fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        tracing::debug!(status = %self.status, error = self.error, "channel participation request refused");
        let mut response = (self.status, Json(serde_json::json!({ "error": self.error }))).into_response();
        if let Some(allow) = self.allow {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

#[derive(Serialize)]
struct ChannelList {
    #[serde(rename = "systemChannel")]
    system_channel: Option<Listed>,
    channels: Option<Vec<Listed>>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    name: String,
    url: String,
    consensus_relation: &'static str,
    status: &'static str,
    height: u64,
}

impl Shown {
    fn new(channel_id: String, channel: &Channel) -> Self {
        let height = *channel.heights().borrow();
        Self { url: url(&channel_id), name: channel_id, consensus_relation: "consenter", status: "active", height }
    }
}

fn url(channel_id: &str) -> String {
    format!("{CHANNELS}/{channel_id}")
}

const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

async fn show_all(State(channels): Served, headers: HeaderMap) -> Answer {
    check_accept(&headers)?;
    let listed: Vec<Listed> = channels.ids().into_iter().map(|name| Listed { url: url(&name), name }).collect();
    let list = ChannelList { system_channel: None, channels: Some(listed).filter(|listed| !listed.is_empty()) };
    Ok(([NO_STORE], Json(list)).into_response())
}

async fn show_one(State(channels): Served, Path(channel_id): Path<String>, headers: HeaderMap) -> Answer {
    check_accept(&headers)?;
    let channel = find(&channels, &channel_id)?;
    Ok(([NO_STORE], Json(Shown::new(channel_id, &channel))).into_response())
}

async fn show_block(
    State(channels): Served,
    Path((channel_id, block_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    check_accept(&headers)?;
    let channel = find(&channels, &channel_id)?;
    let height = *channel.heights().borrow();
    let wanted = Wanted::parse(&block_id)?;
    let read = tokio::task::spawn_blocking(move || wanted.read(&channel, height)).await;
    let block = read.map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))??;
    let content_type = (header::CONTENT_TYPE, "application/octet-stream");
    Ok(([NO_STORE, content_type], block.encode_to_vec()).into_response())
}

async fn join(State(channels): Served, request: Request) -> Answer {
    check_accept(request.headers())?;
    check_multipart(request.headers())?;
    let form = Multipart::from_request(request, &()).await;
    let form = form.map_err(|error| Refused::bad_request(format!("cannot parse Mime media type: {error}")))?;
    let genesis = config_block(form).await?;
    let joined = tokio::task::spawn_blocking(move || channels.join(&genesis)).await;
    let joined = joined.map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let (channel_id, channel) = joined.map_err(join_refused)?;
    let shown = Shown::new(channel_id, &channel);
    let location = [(header::LOCATION, shown.url.clone())];
    Ok((StatusCode::CREATED, location, Json(shown)).into_response())
}

fn join_refused(error: JoinError) -> Refused {
    let text = error.to_string();
    match error {
        JoinError::Exists => {
            Refused { status: StatusCode::METHOD_NOT_ALLOWED, error: text, allow: Some("GET, DELETE") }
        }
        JoinError::Block(_) | JoinError::Config(_) | JoinError::Channel(_) => Refused::bad_request(text),
    }
}

async fn update(headers: HeaderMap) -> Answer {
    check_accept(&headers)?;
    check_multipart(&headers)?;
    let text = "cannot update: this orderer does not implement updates of a channel's configuration yet";
    Err(Refused::new(StatusCode::NOT_IMPLEMENTED, text))
}

async fn remove(State(channels): Served, Path(channel_id): Path<String>, headers: HeaderMap) -> Answer {
    check_accept(&headers)?;
    find(&channels, &channel_id)
        .map_err(|refused| Refused { error: format!("cannot remove: {}", refused.error), ..refused })?;
    let text = "cannot remove: this orderer does not implement leaving a channel yet";
    Err(Refused::new(StatusCode::NOT_IMPLEMENTED, text))
}

fn method_not_allowed(method: &Method, allow: &'static str) -> Refused {
    let error = format!("invalid request method: {method}");
    Refused { status: StatusCode::METHOD_NOT_ALLOWED, error, allow: Some(allow) }
}

/// Answers are JSON; whoever accepts nothing of that kind is refused.
fn check_accept(headers: &HeaderMap) -> Result<(), Refused> {
    let Some(accept) =
        headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).filter(|text| !text.is_empty())
    else {
        return Ok(());
    };
    let accepted = ["application/json", "application/*", "*/*"];
    match accepted.iter().any(|kind| accept.contains(kind)) {
        true => Ok(()),
        false => Err(Refused::new(StatusCode::NOT_ACCEPTABLE, "response Content-Type is application/json only")),
    }
}

fn check_multipart(headers: &HeaderMap) -> Result<(), Refused> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match content_type.contains("multipart/form-data") {
        true => Ok(()),
        false => Err(Refused::bad_request(format!("unsupported Content-Type: [{content_type}]"))),
    }
}

fn find(channels: &Channels, channel_id: &str) -> Result<Arc<Channel>, Refused> {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'.' || c == b'-';
    let first = channel_id.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
    if !first || channel_id.len() > CHANNEL_ID_BYTES_MAX || !channel_id.bytes().all(allowed) {
        let rule = format!(
            "invalid channel ID: '{channel_id}' is not [a-z][a-z0-9.-]* of at most {CHANNEL_ID_BYTES_MAX} characters"
        );
        return Err(Refused::bad_request(rule));
    }
    channels.get(channel_id).ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, "channel does not exist"))
}

/// The block in the one file of the form.
async fn config_block(mut form: Multipart) -> Result<Block, Refused> {
    let unreadable = |error: MultipartError| {
        Refused::bad_request(format!("cannot read form from request body: {}", error.body_text()))
    };
    let mut found = None;
    let mut others = false;
    while let Some(part) = form.next_field().await.map_err(unreadable)? {
        let is_file = |part: &Field<'_>| part.name() == Some(CONFIG_BLOCK) && part.file_name().is_some();
        match found.is_none() && is_file(&part) {
            true => found = Some(part.bytes().await.map_err(unreadable)?),
            false => others = true,
        }
    }
    let Some(bytes) = found else {
        return Err(Refused::bad_request(format!("form does not contains part key: {CONFIG_BLOCK}")));
    };
    if others {
        return Err(Refused::bad_request("form contains too many parts"));
    }
    Block::decode(bytes).map_err(|error| {
        Refused::bad_request(format!("cannot unmarshal file part {CONFIG_BLOCK} into a block: {error}"))
    })
}

/// Which block is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Newest,
    Oldest,
    Config,
    Number(u64),
}

impl Wanted {
    fn parse(block_id: &str) -> Result<Self, Refused> {
        match block_id {
            "newest" => Ok(Self::Newest),
            "oldest" => Ok(Self::Oldest),
            "config" => Ok(Self::Config),
            number => number.parse().map(Self::Number).map_err(|_| {
                Refused::bad_request(format!(
                    "invalid block ID: '{block_id}' not equal <newest|oldest|config|(number)>"
                ))
            }),
        }
    }

    fn read(self, channel: &Channel, height: u64) -> Result<Arc<Block>, Refused> {
        let newest = height.saturating_sub(1);
        match self {
            Self::Newest => read(channel, newest),
            Self::Oldest => read(channel, 0),
            Self::Number(number) => read(channel, number),
            Self::Config => {
                let undecodable = |error| Refused::new(StatusCode::NOT_FOUND, format!("block {newest}: {error}"));
                let number = block::last_config_index(&*read(channel, newest)?).map_err(undecodable)?;
                read(channel, number)
            }
        }
    }
}

fn read(channel: &Channel, number: u64) -> Result<Arc<Block>, Refused> {
    let not_found = |error: String| Refused::new(StatusCode::NOT_FOUND, error);
    let block = channel.block(number).map_err(|error| not_found(error.to_string()))?;
    block.ok_or_else(|| not_found(format!("block {number} is not here")))
}
