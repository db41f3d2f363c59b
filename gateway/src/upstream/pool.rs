//! Upstream connections, kept apart by credential.
//!
//! HTTP/1 connections are lent to one call at a time and come back only after a complete, unambiguous
//! exchange; an HTTP/2 connection is shared. A connection that was opened under one credential never
//! carries another.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::endpoint::{ConnectError, Endpoint, Socket};

/// Idle HTTP/1 connections kept per credential.
pub(super) const IDLE_PER_KEY_MAX: usize = 64;
/// How long an idle connection is kept; shorter than common servers' own limits.
pub(super) const IDLE_FOR_MAX: Duration = Duration::from_secs(45);
/// Largest response head, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most response headers.
const HEADERS_MAX: usize = 128;
/// HTTP/2 flow-control windows, in bytes.
const H2_STREAM_WINDOW: u32 = 256 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// A request body as it goes up.
pub(super) type Body = UnsyncBoxBody<bytes::Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Which credential (id and version) a connection was opened under.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PoolKey(pub(crate) String);

/// A connection's idle upstream connections.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<HashMap<PoolKey, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    http1: Vec<(http1::SendRequest<Body>, Instant)>,
    http2: Option<http2::SendRequest<Body>>,
}

/// A connection lent to one call.
#[derive(Debug)]
pub(super) enum Lent {
    Http1 {
        sender: http1::SendRequest<Body>,
        reused: bool,
    },
    Http2 {
        sender: http2::SendRequest<Body>,
        reused: bool,
    },
}

/// What became of sending.
pub(super) enum Sent {
    /// The head of the answer; the lent connection goes back when the body has ended.
    Answer(Box<http::Response<Incoming>>),
    /// Zero bytes were written; the request is here again.
    Unsent(Box<http::Request<Body>>),
    /// Some bytes may have been written.
    Broken(hyper::Error),
}

impl Pool {
    pub(super) fn new() -> Self {
        Self {
            idle: Mutex::new(HashMap::new()),
        }
    }

    /// An idle connection, if one is there.
    pub(super) fn idle(&self, key: &PoolKey) -> Option<Lent> {
        let mut idle = self
            .idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let entry = idle.get_mut(key)?;
        if let Some(sender) = &entry.http2 {
            if sender.is_ready() {
                return Some(Lent::Http2 {
                    sender: sender.clone(),
                    reused: true,
                });
            }
            entry.http2 = None;
        }
        while let Some((sender, since)) = entry.http1.pop() {
            if sender.is_ready() && since.elapsed() < IDLE_FOR_MAX {
                return Some(Lent::Http1 {
                    sender,
                    reused: true,
                });
            }
        }
        None
    }

    /// A new connection.
    pub(super) async fn connect(
        &self,
        endpoint: &Endpoint,
        key: &PoolKey,
    ) -> Result<Lent, ConnectError> {
        let failed = |source| ConnectError::Handshake {
            host: endpoint.authority(),
            source,
        };
        let (socket, http2) = endpoint.connect().await?;
        if http2 || endpoint.prior_knowledge() {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(H2_STREAM_WINDOW)
                .initial_connection_window_size(H2_CONNECTION_WINDOW)
                .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
                .keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(Duration::from_secs(10))
                .handshake(TokioIo::new(socket))
                .await
                .map_err(failed)?;
            drive(connection);
            let mut idle = self
                .idle
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            idle.entry(key.clone()).or_default().http2 = Some(sender.clone());
            return Ok(Lent::Http2 {
                sender,
                reused: false,
            });
        }
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(failed)?;
        drive(connection);
        Ok(Lent::Http1 {
            sender,
            reused: false,
        })
    }

    /// Take an HTTP/1 connection back after a complete exchange; HTTP/2 ones never left.
    pub(super) fn give_back(self: &Arc<Self>, key: PoolKey, lent: Lent) {
        let Lent::Http1 { mut sender, .. } = lent else {
            return;
        };
        if sender.is_ready() {
            self.keep(key, sender);
            return;
        }
        // The connection's own task may need one more turn before it says that it is ready.
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            let ready = tokio::time::timeout(Duration::from_secs(1), sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                pool.keep(key, sender);
            }
        });
    }

    fn keep(&self, key: PoolKey, sender: http1::SendRequest<Body>) {
        let mut idle = self
            .idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let entry = idle.entry(key).or_default();
        if entry.http1.len() < IDLE_PER_KEY_MAX {
            entry.http1.push((sender, Instant::now()));
        }
    }

    /// Drop what has been idle too long, and credentials that nothing is kept for.
    pub(super) fn sweep(&self) {
        let mut idle = self
            .idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        idle.retain(|_, entry| {
            entry
                .http1
                .retain(|(sender, since)| sender.is_ready() && since.elapsed() < IDLE_FOR_MAX);
            entry.http2 = entry.http2.take().filter(http2::SendRequest::is_ready);
            !entry.http1.is_empty() || entry.http2.is_some()
        });
    }
}

impl Lent {
    pub(super) const fn is_http2(&self) -> bool {
        matches!(self, Self::Http2 { .. })
    }

    pub(super) const fn reused(&self) -> bool {
        match self {
            Self::Http1 { reused, .. } | Self::Http2 { reused, .. } => *reused,
        }
    }

    /// Send one request and wait for the head of its answer.
    pub(super) async fn send(&mut self, request: http::Request<Body>) -> Sent {
        let outcome = match self {
            Self::Http1 { sender, .. } => sender.try_send_request(request).await,
            Self::Http2 { sender, .. } => sender.try_send_request(request).await,
        };
        match outcome {
            Ok(answer) => Sent::Answer(Box::new(answer)),
            Err(mut error) => match error.take_message() {
                Some(request) => Sent::Unsent(Box::new(request)),
                None => Sent::Broken(error.into_error()),
            },
        }
    }
}

fn drive<C>(connection: C)
where
    C: Future<Output = Result<(), hyper::Error>> + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an upstream connection ended");
        }
    });
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
