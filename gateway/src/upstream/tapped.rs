//! A streamed request body on its way up: every byte is committed to, trailers are refused.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use crate::record::RequestTap;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A body with a tap.
#[derive(Debug)]
pub(super) struct Tapped {
    body: UnsyncBoxBody<Bytes, Error>,
    tap: RequestTap,
    progress: Progress,
}

/// Trailers come after everything that was judged: nothing may hide there.
#[derive(Debug, thiserror::Error)]
#[error("trailers are not accepted in a request")]
struct Trailers;

impl Tapped {
    pub(super) const fn new(
        body: UnsyncBoxBody<Bytes, Error>,
        tap: RequestTap,
        progress: Progress,
    ) -> Self {
        Self {
            body,
            tap,
            progress,
        }
    }
}

impl Body for Tapped {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            match frame.data_ref() {
                Some(data) => {
                    self.progress.moved();
                    self.tap.push(data);
                }
                None => return Poll::Ready(Some(Err(Trailers.into()))),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// When something of the request was last taken: the function has its time from then on, so that a
/// long upload is not taken for a slow function.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn moved(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `sending` gives, or `None` when `limit` has passed without it and without progress.
    pub(super) async fn answer_within<T>(
        &self,
        limit: Duration,
        sending: impl Future<Output = T> + Send,
    ) -> Option<T> {
        let mut sending = std::pin::pin!(sending);
        self.moved();
        loop {
            let due = self.last() + limit;
            if let Ok(sent) = tokio::time::timeout_at(due.into(), sending.as_mut()).await {
                return Some(sent);
            }
            if self.last() + limit <= due {
                return None;
            }
        }
    }
}
