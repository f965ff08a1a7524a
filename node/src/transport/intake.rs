//! How many request bytes a listener holds at one time.
//!
//! A call holds the bytes of its newest message, from their arrival until the next message
//! begins, the body ends and the call is answered, or the call is dropped. So the budget
//! bounds both half-sent messages and the ones being worked on, and says nothing about
//! the number of calls.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::messages::Messages;

/// The bytes in flight of one listener.
pub(super) struct Budget {
    held: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(super) fn new(max: usize) -> Self {
        Self { held: AtomicUsize::new(0), max }
    }

    fn take(&self, bytes: usize) -> bool {
        let taken = self.held.try_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            held.checked_add(bytes).filter(|sum| *sum <= self.max)
        });
        taken.is_ok()
    }

    fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The share of one call; released when the body and the call are both gone.
struct Share {
    budget: Arc<Budget>,
    held: AtomicUsize,
}

impl Share {
    fn take(&self, bytes: usize) -> bool {
        let taken = self.budget.take(bytes);
        if taken {
            self.held.fetch_add(bytes, Ordering::Relaxed);
        }
        taken
    }

    fn release(&self) {
        self.budget.release(self.held.swap(0, Ordering::Relaxed));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

/// Puts every request's body under the budget.
#[derive(Clone)]
pub(super) struct IntakeLayer(Arc<Budget>);

impl IntakeLayer {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self(budget)
    }
}

impl<S> Layer<S> for IntakeLayer {
    type Service = Intake<S>;

    fn layer(&self, inner: S) -> Intake<S> {
        Intake { inner, budget: self.0.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Intake<S> {
    inner: S,
    budget: Arc<Budget>,
}

impl<S, B> Service<Request<Body>> for Intake<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let share = Arc::new(Share { budget: self.budget.clone(), held: AtomicUsize::new(0) });
        let request =
            request.map(|inner| Body::new(Counted { inner, share: share.clone(), messages: Messages::default() }));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answered = answer.await;
            drop(share);
            answered
        })
    }
}

/// A request body that takes from the budget before it hands bytes on.
struct Counted {
    inner: Body,
    share: Arc<Share>,
    messages: Messages,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else { return Poll::Pending };
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        if let Some(piece) = frame.data_ref() {
            if self.messages.at_end() {
                self.share.release();
            }
            if !self.share.take(piece.len()) {
                return Poll::Ready(Some(Err(exhausted(self.share.budget.max))));
            }
            self.messages.pass(piece);
            // A stream that was answered and has a whole message holds nothing more.
            if self.messages.at_end() && Arc::strong_count(&self.share) == 1 {
                self.share.release();
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn exhausted(max: usize) -> tonic::Status {
    tonic::Status::resource_exhausted(format!(
        "this node holds {max} bytes of unanswered requests, its limit; try again later, or raise the node's request-bytes limit"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_gives_what_it_has_and_takes_back() {
        let budget = Arc::new(Budget::new(10));
        let first = Share { budget: budget.clone(), held: AtomicUsize::new(0) };
        let second = Share { budget: budget.clone(), held: AtomicUsize::new(0) };
        assert!(first.take(6) && !second.take(5) && second.take(4) && !first.take(1));
        drop(first);
        assert!(second.take(6));
        second.release();
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
