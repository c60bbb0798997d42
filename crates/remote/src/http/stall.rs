//! [`Unstalled`]: a body whose bytes keep coming.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpErrorKind, HttpResponseBody};
use tokio::time::Sleep;

/// No byte came for too long.
#[derive(Debug, thiserror::Error)]
#[error("nothing came for {} seconds", .0.as_secs_f64())]
struct Stalled(Duration);

/// The error for an answer of which nothing came for so long. It may pass.
pub(super) fn stalled(wait: Duration) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, Stalled(wait))
}

/// An answer's body, which fails when nothing of it comes for too long.
pub(super) struct Unstalled {
    inner: HttpResponseBody,
    wait: Duration,
    /// Runs while somebody waits for bytes: who takes none for a while has no stalled answer.
    clock: Option<Pin<Box<Sleep>>>,
}

impl Unstalled {
    pub(super) fn new(inner: HttpResponseBody, wait: Duration) -> Unstalled {
        Unstalled { inner, wait, clock: None }
    }
}

impl Body for Unstalled {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            self.clock = None;
            return Poll::Ready(frame);
        }
        let wait = self.wait;
        let clock = self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
        match clock.as_mut().poll(context) {
            Poll::Ready(()) => {
                self.clock = None;
                Poll::Ready(Some(Err(stalled(wait))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
