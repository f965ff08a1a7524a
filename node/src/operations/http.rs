//! HTTP/1.1 for operators: one request a connection, and bounds for everything that a
//! client could draw out or pile up.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Limits;
use crate::logging::Seldom;

/// How long open requests may keep the listener after shutdown began.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Serves `router` until `shutdown` is cancelled and the open requests have ended or their
/// grace is over.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let (failed, mut open) = (Seldom::default(), JoinSet::new());
    let accept_all = async {
        // Nobody closes the semaphore.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let answered = answer(stream, router.clone(), limits.clone(), shutdown.clone());
                    open.spawn(async move {
                        answered.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    if failed.note(std::time::Instant::now()).is_some() {
                        tracing::warn!(%error, "cannot accept a connection for operations");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
            while open.try_join_next().is_some() {}
        }
    };
    shutdown.run_until_cancelled(accept_all).await;
    drop(listener);
    // What is open after that is aborted.
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, async { while open.join_next().await.is_some() {} }).await;
}

/// Answers the one request of a connection, unless the client takes too long over it.
fn answer(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    async move {
        let mut serving = pin!(serving);
        let to_its_end = async {
            tokio::select! {
                ended = serving.as_mut() => return ended,
                () = shutdown.cancelled() => serving.as_mut().graceful_shutdown(),
            }
            serving.await
        };
        match tokio::time::timeout(limits.request_timeout, to_its_end).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a request to operations was broken off"),
            Err(_) => tracing::debug!("a request to operations took longer than {:?}", limits.request_timeout),
        }
    }
}
