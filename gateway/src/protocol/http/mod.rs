//! HTTP/1.1 and HTTP/2 for callers.
//!
//! Owns the session loop, the strict reading of a request's head, and the form of answers and
//! refusals. Refuses what two readers could understand differently, hosts that nobody configured, and
//! upgrades. The handler only starts the call and pumps what comes out. Called by `app`.

mod guard;
mod own;
mod reply;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderName, HeaderValue};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use wire::http::{CheckedHead, Framer, HEAD_BYTES_MAX, HEADERS_MAX, RequestLine, Target, Version};

pub use guard::{BODY_STILL_MAX, HEAD_READ_MAX, IDLE_MAX};
pub use reply::{CALL, OutBody, RECEIPT};

use crate::call::CallId;
use crate::gate::{Code, Executed, Refusal};
use crate::listener::{Conn, Drain, Peer};
use crate::pipeline::{Arrival, Pipeline, RefusalReply, Reply};
use guard::{Busy, Guard};

/// Concurrent streams of one HTTP/2 connection.
pub const H2_STREAMS_MAX: u32 = 100;
/// HTTP/2 flow-control window of one stream, in bytes.
pub const H2_STREAM_WINDOW: u32 = 64 * 1024;
/// HTTP/2 flow-control window of a connection, in bytes.
pub const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Streams that were reset before they were served; more closes the connection (rapid reset).
pub const H2_RESETS_MAX: usize = 20;
/// Resets that the caller's own protocol errors cause; more closes the connection.
pub const H2_LOCAL_RESETS_MAX: usize = 100;
/// Bytes of an HTTP/1 read buffer; a head has to fit.
const BUFFER_BYTES: usize = 64 * 1024;

/// The callers' side of the gateway in HTTP.
#[derive(Debug, Clone)]
pub struct Http {
    pipeline: Arc<Pipeline>,
}

impl Http {
    /// Over one pipeline.
    pub const fn new(pipeline: Arc<Pipeline>) -> Self {
        Self { pipeline }
    }

    /// Serve one connection until it ends or the drain asks for its end.
    pub async fn serve(self, conn: Conn, drain: Drain) {
        let metrics = &self.pipeline.parts().metrics;
        metrics.connections.inc();
        let peer = conn.peer;
        let busy = Busy::default();
        let framer = match (peer.tls, peer.http2, peer.address.ip().is_loopback()) {
            (true, true, _) | (false, _, true) => Framer::http1_or_2(),
            (true, false, _) | (false, _, false) => Framer::http1(),
        };
        let io = TokioIo::new(Guard::new(conn.io, framer, busy.clone()));
        let service = service_fn(|request| {
            let (this, busy) = (self.clone(), busy.clone());
            async move { Ok::<_, Infallible>(this.answer(request, peer, &busy).await) }
        });
        let builder = builder(peer);
        let connection = builder.serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = drain.begun() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %peer.address, %error, "a client connection ended");
        }
        metrics.connections.dec();
    }

    async fn answer(
        &self,
        request: http::Request<Incoming>,
        peer: Peer,
        busy: &Busy,
    ) -> http::Response<OutBody> {
        let place = busy.place();
        let head_only = request.method() == http::Method::HEAD;
        let mut response = self.route(request, peer).await;
        if head_only && !response.headers().contains_key(header::CONTENT_LENGTH) {
            // HEAD has the headers of the answer and no body.
            let body = std::mem::replace(response.body_mut(), OutBody::empty());
            if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
                response
                    .headers_mut()
                    .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        response.map(|body| body.busy(place))
    }

    async fn route(&self, request: http::Request<Incoming>, peer: Peer) -> http::Response<OutBody> {
        let arrival = match self.arrive(request, peer) {
            Ok(arrival) => arrival,
            Err(refusal) => return self.refused(refusal),
        };
        if let Some(rest) = own::path(&arrival.target) {
            let rest = rest.to_owned();
            return own::answer(&self.pipeline, arrival, &rest).await;
        }
        start(&self.pipeline, arrival).await
    }

    /// A refusal before a call began.
    fn refused(&self, refusal: Refusal) -> http::Response<OutBody> {
        let parts = self.pipeline.parts();
        parts
            .record
            .refused_before_authentication(refusal.code.as_str());
        parts.metrics.refusal(refusal.code.as_str());
        let call = CallId::new(parts.clock.now());
        reply::refusal(&RefusalReply {
            call,
            receipt: None,
            refusal,
            status: None,
        })
    }

    /// Hold the head to the rules; what comes out is what everything later reads.
    fn arrive(&self, request: http::Request<Incoming>, peer: Peer) -> Result<Arrival, Refusal> {
        let (mut parts, body) = request.into_parts();
        if parts.version == http::Version::HTTP_2 {
            join_cookies(&mut parts.headers)?;
        }
        let head = check(&parts)?;
        // Only a whole offer of `h2c` gets this far; it was not made (docs/adr/0004).
        parts.headers.remove(header::UPGRADE);
        parts.headers.remove(HTTP2_SETTINGS);
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let target = Target::parse(target).map_err(|error| bad(&error.to_string()))?;
        let snapshot = self.pipeline.snapshot();
        let authority = head.authority.to_string();
        if !snapshot.hosts.contains(&authority) {
            return Err(bad(
                "this gateway does not answer for that host (`hosts` in the listener's config)",
            ));
        }
        let respond_async = parts
            .headers
            .get_all(PREFER)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"));
        Ok(Arrival {
            received: self.pipeline.parts().clock.now(),
            peer,
            protocol: if parts.version == http::Version::HTTP_2 {
                "h2"
            } else {
                "http/1.1"
            },
            method: parts.method,
            host: head.authority.host().to_owned(),
            target,
            headers: parts.headers,
            length: head.body,
            body: body.map_err(Into::into).boxed_unsync(),
            respond_async,
            approval: None,
        })
    }
}

const PREFER: HeaderName = HeaderName::from_static("prefer");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Start a call and wait for its reply.
async fn start(pipeline: &Arc<Pipeline>, arrival: Arrival) -> http::Response<OutBody> {
    let (call, reply) = pipeline.start(arrival);
    let reply = reply.await.unwrap_or_else(|_| {
        // The task is gone without an answer: it panicked, and its record says so.
        let text = "the gateway failed while it handled the call: it may have been executed";
        let refusal = Refusal::new(Code::Internal, text).executed(Executed::Unknown);
        Reply::Refusal(Box::new(RefusalReply {
            call,
            receipt: None,
            refusal,
            status: None,
        }))
    });
    reply::render(reply)
}

/// HTTP/2 lets a caller send each of its cookies in a line of its own, and has whoever leaves HTTP/2 join
/// them (RFC 9113 section 8.2.3). Joined before anything is judged: the line that was judged is the one
/// that is sent. In HTTP/1 two `Cookie` lines stay what they are, a fault.
fn join_cookies(headers: &mut http::HeaderMap) -> Result<(), Refusal> {
    let mut lines = headers.get_all(header::COOKIE).iter();
    if lines.by_ref().take(2).count() < 2 {
        return Ok(());
    }
    let lines: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let joined = HeaderValue::from_bytes(&lines.join(b"; ".as_slice()))
        .map_err(|_| bad("the `cookie` lines of the request cannot be joined to one"))?;
    headers.insert(header::COOKIE, joined);
    Ok(())
}

fn check(parts: &http::request::Parts) -> Result<CheckedHead, Refusal> {
    let version = match parts.version {
        http::Version::HTTP_10 => Version::Http10,
        http::Version::HTTP_11 => Version::Http11,
        http::Version::HTTP_2 => Version::Http2,
        _ => return Err(bad("this HTTP version is not spoken here")),
    };
    let line = RequestLine {
        method: parts.method.as_str(),
        version,
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
    };
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    wire::http::check(&line, headers).map_err(|error| bad(&error.to_string()))
}

fn bad(text: &str) -> Refusal {
    Refusal::new(Code::BadRequest, format!("NOT executed: {text}"))
}

fn builder(peer: Peer) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The guard has the deadlines; the library's would also end idle connections.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX + 1)
        .max_buf_size(BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(H2_RESETS_MAX)
        .max_local_error_reset_streams(H2_LOCAL_RESETS_MAX)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20));
    match (peer.tls, peer.http2, peer.address.ip().is_loopback()) {
        (true, true, _) => builder.http2_only(),
        // Prior knowledge (RFC 9113 section 3.3) on loopback; elsewhere HTTP/2 needs TLS.
        (false, _, true) => builder,
        (true, false, _) | (false, _, false) => builder.http1_only(),
    }
}
