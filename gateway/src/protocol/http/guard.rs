//! A caller's raw bytes, held to the strict rules before the HTTP library reads them, and to
//! deadlines by phase.
//!
//! The library forgives what a gateway must not (bare line feeds, two framings); the framer follows
//! the same bytes and refuses first. A refusal is answered when no other answer is under way, and the
//! connection is closed either way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use wire::http::{Framer, Phase};

use crate::listener::Io;

/// How long a request head may take from its first byte.
pub const HEAD_READ_MAX: Duration = Duration::from_secs(10);
/// How long a connection without a request is kept.
pub const IDLE_MAX: Duration = Duration::from_secs(300);
/// How long a body may stand still.
pub const BODY_STILL_MAX: Duration = Duration::from_secs(60);
/// Bytes of a refusal that wait to be written.
const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n\
    cache-control: no-store\r\nconnection: close\r\n";

/// Requests under way on one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Busy(Arc<AtomicUsize>);

/// Held while a request is under way.
#[derive(Debug)]
pub(super) struct BusyPlace(Busy);

impl Busy {
    pub(super) fn place(&self) -> BusyPlace {
        self.0.fetch_add(1, Ordering::AcqRel);
        BusyPlace(self.clone())
    }

    fn is_busy(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

impl Drop for BusyPlace {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The guarded bytes of one connection.
#[derive(Debug)]
pub(super) struct Guard {
    io: Io,
    framer: Framer,
    busy: Busy,
    phase: Phase,
    deadline: Pin<Box<Sleep>>,
    refusal: Option<Vec<u8>>,
}

impl Guard {
    pub(super) fn new(io: Io, framer: Framer, busy: Busy) -> Self {
        let deadline = Box::pin(tokio::time::sleep(HEAD_READ_MAX));
        Self {
            io,
            framer,
            busy,
            phase: Phase::Idle,
            deadline,
            refusal: None,
        }
    }

    /// The deadline moves with the phase: from a head's first byte it stands, in a body each byte
    /// moves it.
    fn moved(&mut self) {
        let phase = self.framer.phase();
        let limit = match phase {
            Phase::Head if self.phase == Phase::Head => None,
            Phase::Head => Some(HEAD_READ_MAX),
            Phase::Body => Some(BODY_STILL_MAX),
            Phase::Idle | Phase::Http2 => Some(IDLE_MAX),
        };
        self.phase = phase;
        if let Some(limit) = limit {
            self.deadline.as_mut().reset(Instant::now() + limit);
        }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        // HTTP/2 has pings for this; a caller that waits for an answer is not late.
        let waits =
            self.phase == Phase::Http2 || (self.phase == Phase::Idle && self.busy.is_busy());
        if self.deadline.as_mut().poll(cx).is_pending() {
            return false;
        }
        if waits {
            self.deadline.as_mut().reset(Instant::now() + IDLE_MAX);
            // Polled again at once so that the new time is armed.
            return self.deadline.as_mut().poll(cx).is_ready();
        }
        true
    }

    fn refuse(&mut self, why: &str) {
        if self.busy.is_busy() {
            return;
        }
        let body = serde_json::json!({
            "type": "urn:callgate:error:bad_request",
            "title": "Bad request",
            "status": 400,
            "code": "bad_request",
            "detail": format!("NOT executed: {why}"),
            "executed": "no",
        });
        let body = body.to_string();
        self.refusal =
            Some(format!("{REFUSAL}content-length: {}\r\n\r\n{body}", body.len()).into_bytes());
    }

    fn write_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.refusal.take() {
            match Pin::new(&mut self.io).poll_write(cx, &bytes) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(written)) if written < bytes.len() => {
                    self.refusal = bytes.get(written..).map(<[u8]>::to_vec);
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    self.refusal = Some(bytes);
                    return Poll::Pending;
                }
            }
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl AsyncRead for Guard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.refusal.is_some() {
            ready!(this.write_refusal(cx))?;
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let new = buf.filled().get(before..).unwrap_or_default();
                if let Err(error) = this.framer.push(new) {
                    tracing::debug!(%error, "a caller's bytes were refused");
                    // What was refused must not be seen by the next reader.
                    buf.set_filled(before);
                    this.refuse(&error.to_string());
                    ready!(this.write_refusal(cx))?;
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
                this.moved();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if this.is_late(cx) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Guard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
