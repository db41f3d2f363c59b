//! A streamed request body on its way up: every byte is committed to, trailers are refused.

use std::pin::Pin;
use std::task::{Context, Poll};

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
}

/// Trailers come after everything that was judged: nothing may hide there.
#[derive(Debug, thiserror::Error)]
#[error("trailers are not accepted in a request")]
struct Trailers;

impl Tapped {
    pub(super) const fn new(body: UnsyncBoxBody<Bytes, Error>, tap: RequestTap) -> Self {
        Self { body, tap }
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
                Some(data) => self.tap.push(data),
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
