//! A streamed request body on its way up: every byte is committed to; trailers are refused, and a marker of masked
//! data breaks it off.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use crate::mask::MarkerGuard;
use crate::record::RequestTap;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A body with a tap.
#[derive(Debug)]
pub(super) struct Tapped {
    body: UnsyncBoxBody<Bytes, Error>,
    tap: RequestTap,
    progress: Progress,
    markers: MarkerGuard,
}

/// Trailers come after everything that was judged: nothing may hide there.
#[derive(Debug, thiserror::Error)]
#[error("trailers are not accepted in a request")]
struct Trailers;

/// It would be stored in place of the real value.
#[derive(Debug, thiserror::Error)]
#[error("the request contains a masked value")]
struct Marked;

impl Tapped {
    pub(super) fn new(
        body: UnsyncBoxBody<Bytes, Error>,
        tap: RequestTap,
        progress: Progress,
    ) -> Self {
        Self {
            body,
            tap,
            progress,
            markers: MarkerGuard::new(),
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
                // INVARIANT: looked at before any of it goes on, so that no marker goes up whole.
                Some(data) if self.markers.push(data) => {
                    self.progress.broken_off();
                    return Poll::Ready(Some(Err(Marked.into())));
                }
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
/// long upload is not taken for a slow function. Also whether it was broken off because of a marker.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    last: Arc<Mutex<Instant>>,
    marked: Arc<AtomicBool>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            last: Arc::new(Mutex::new(Instant::now())),
            marked: Arc::default(),
        }
    }

    fn broken_off(&self) {
        self.marked.store(true, Ordering::Release);
    }

    /// Whether the request held a marker, and did not go up whole because of it.
    pub(super) fn is_marked(&self) -> bool {
        self.marked.load(Ordering::Acquire)
    }

    fn moved(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
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
