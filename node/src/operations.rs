//! Operations HTTP: health, version, metrics and the log filter, on a plain listener that
//! is meant for the machine or network the operators sit in.
//!
//! | path | answer |
//! |---|---|
//! | `GET /healthz` | 200 `{"status":"OK","time":…}`; 503 with `failed_checks` |
//! | `GET /version` | `{"CommitSHA":…,"Version":…}` |
//! | `GET /metrics` | Prometheus text |
//! | `GET /logspec`, `PUT /logspec` | `{"spec":"info"}`; PUT answers 204 or 400 `{"error":…}` |
//!
//! Paths and answers are Fabric's. Metrics come from the process's `metrics` recorder:
//! whoever counts something uses that crate's macros and knows nothing of this module.

mod http;
mod metrics;
mod rfc3339;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::logging::LogSpec;
pub use metrics::Metrics;

/// How often the recorder folds what histograms collected, so that it does not grow
/// while nobody asks for `/metrics`.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Why operations HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OperationsError {
    /// The address cannot be bound.
    #[error("cannot listen on {address} for operations: {cause}; change operations-listen or stop what uses it")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        cause: std::io::Error,
    },
}

/// What operations HTTP allows its clients.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at one time; further ones wait in the operating system's queue.
    pub connections_max: usize,
    /// How long a connection may last: each carries one request.
    pub request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: 64, request_timeout: Duration::from_secs(20) }
    }
}

/// What `/version` says.
#[derive(Debug, Clone, Serialize)]
pub struct Version {
    /// The commit the program was built from; `unknown` outside a checkout.
    #[serde(rename = "CommitSHA")]
    pub commit: String,
    /// The program's version.
    #[serde(rename = "Version")]
    pub version: String,
}

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Health checks by component; clones share them.
#[derive(Clone, Default)]
pub struct HealthChecks(Arc<Mutex<Vec<(String, Check)>>>);

impl HealthChecks {
    /// Adds a check that says why `component` is not well, if so. It is called for each
    /// request and must not wait.
    pub fn register(&self, component: &str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        let mut checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        checks.push((component.to_owned(), Box::new(check)));
    }

    fn failed(&self) -> Vec<FailedCheck> {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |(component, check): &(String, Check)| {
            let reason = check().err()?;
            Some(FailedCheck { component: component.clone(), reason })
        };
        checks.iter().filter_map(failed).collect()
    }
}

/// Everything operations HTTP tells.
#[derive(Clone)]
pub struct Operations {
    /// The process's metrics.
    pub metrics: Metrics,
    /// What the program is.
    pub version: Version,
    /// Checks behind `/healthz`.
    pub health: HealthChecks,
    /// The process's log filter.
    pub log_spec: LogSpec,
}

#[derive(Serialize)]
struct FailedCheck {
    component: String,
    reason: String,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    time: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed_checks: Vec<FailedCheck>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    spec: String,
}

/// Binds the operations listener; port 0 takes a free one.
///
/// # Errors
/// When the address is taken or not ours.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, OperationsError> {
    TcpListener::bind(address).await.map_err(|cause| OperationsError::Bind { address, cause })
}

/// Serves operations HTTP until `shutdown` is cancelled.
pub async fn serve(listener: TcpListener, operations: Operations, limits: Limits, shutdown: CancellationToken) {
    let metrics = operations.metrics.clone();
    metrics.say_version(&operations.version.version);
    let upkeep = async {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            ticks.tick().await;
            metrics.fold();
        }
    };
    tokio::select! {
        () = http::serve(listener, router(operations), limits, shutdown) => {}
        () = upkeep => {}
    }
}

fn router(operations: Operations) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/version", get(version))
        .route("/metrics", get(prometheus))
        .route("/logspec", any(logspec))
        .with_state(operations)
}

async fn healthz(State(operations): State<Operations>) -> Response {
    let failed_checks = operations.health.failed();
    let (code, status) = if failed_checks.is_empty() {
        (StatusCode::OK, "OK")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
    };
    let time = rfc3339::text(SystemTime::now());
    (code, Json(Health { status, time, failed_checks })).into_response()
}

async fn version(State(operations): State<Operations>) -> Json<Version> {
    Json(operations.version)
}

async fn prometheus(State(operations): State<Operations>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (headers, operations.metrics.text()).into_response()
}

async fn logspec(State(operations): State<Operations>, method: Method, body: String) -> Response {
    match method {
        Method::GET => Json(Spec { spec: operations.log_spec.get() }).into_response(),
        Method::PUT => {
            let set = serde_json::from_str::<Spec>(&body)
                .map_err(|error| format!(r#"the body must be {{"spec":"info"}}: {error}"#))
                .and_then(|wanted| operations.log_spec.set(&wanted.spec).map_err(|error| error.to_string()));
            match set {
                Ok(()) => StatusCode::NO_CONTENT.into_response(),
                Err(reason) => refused(&reason),
            }
        }
        other => refused(&format!("invalid request method: {other}")),
    }
}

fn refused(reason: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(serde_json::json!({ "error": reason }))).into_response()
}
