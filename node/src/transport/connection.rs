//! One accepted connection: bytes of a TLS stream until the listener's patience ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo, TlsConnectInfo};

/// The least that every client sends at once: the preface of HTTP/2 and the head of its
/// SETTINGS frame (RFC 9113, sections 3.4 and 4.1).
const OPENING_BYTES: usize = 24 + 9;

/// A connection that counts among its listener's while it lives, and that reports an
/// error once it is cut: HTTP/2 then drops every stream on it. Until a client has begun to
/// speak HTTP/2 nobody asks whether it is still there, so it has a deadline for that.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    opening: Option<Opening>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _counted: OwnedSemaphorePermit,
}

/// A connection whose client still has to begin.
struct Opening {
    missing_bytes: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Connection {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        opening_timeout: Duration,
        cut: CancellationToken,
        counted: OwnedSemaphorePermit,
    ) -> Self {
        metrics::counter!("grpc_comm_conn_opened").increment(1);
        let deadline = Box::pin(tokio::time::sleep(opening_timeout));
        let opening = Some(Opening { missing_bytes: OPENING_BYTES, deadline });
        Self { stream, opening, cut: Box::pin(cut.cancelled_owned()), _counted: counted }
    }

    /// Counts what a read brought while the client still has to begin.
    fn poll_opening(&mut self, cx: &mut Context<'_>, read_bytes: usize) -> io::Result<()> {
        let Some(opening) = &mut self.opening else { return Ok(()) };
        opening.missing_bytes = opening.missing_bytes.saturating_sub(read_bytes);
        if opening.missing_bytes == 0 {
            self.opening = None;
        } else if opening.deadline.as_mut().poll(cx).is_ready() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not begin to speak HTTP/2"));
        }
        Ok(())
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the node is shutting down")),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        metrics::counter!("grpc_comm_conn_closed").increment(1);
    }
}

impl Connected for Connection {
    type ConnectInfo = TlsConnectInfo<TcpConnectInfo>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.poll_opening(cx, buffer.filled().len() - before)?;
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
