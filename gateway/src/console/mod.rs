//! People's side: sign-in, the API under `/api/v1`, the pages that use it, metrics, liveness.
//!
//! Every request is authenticated by a session or by a token for the console's audience, and authorised
//! by a policy action; nothing is implicit. Refuses hosts that nobody configured, and unsafe requests
//! that other sites make. Called by `app`.

mod api;
mod approvals;
mod approve;
mod calls;
mod chart;
mod cookie;
mod deliveries;
mod discovery;
mod etag;
mod evidence;
mod functions;
mod grants;
mod idempotency;
mod live;
mod login;
mod me;
mod openapi;
mod pages;
mod pending;
mod plain;
mod policies;
mod quiet;
mod refused;
mod revocations;
mod session;
mod simulate;
mod slack;
mod status;
mod turns;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tlog::note::VerifierKey;

pub use cookie::Site;
pub use login::{Client, LoginConfig};
pub use openapi::document;

use crate::export::Board;
use crate::listener::{Conn, Drain, Peer};
use crate::notify::Notifier;
use crate::pipeline::Pipeline;
use crate::record::SharedTrail;
use crate::store::Store;
use api::Problem;
use evidence::Evidence;
use pending::Logins;
use quiet::Quiet;
use session::Sessions;

/// Largest request body, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a request head may take.
const HEAD_READ_MAX: std::time::Duration = std::time::Duration::from_secs(10);
/// How long a request body may take, all of it.
const BODY_READ_MAX: std::time::Duration = std::time::Duration::from_secs(10);
/// Requests at one time on one HTTP/2 connection.
const H2_STREAMS_MAX: u32 = 64;
/// How often an HTTP/2 connection is asked whether somebody is there, and how long the answer may take.
const PING_EVERY: std::time::Duration = std::time::Duration::from_secs(60);
const PONG_WITHIN_MAX: std::time::Duration = std::time::Duration::from_secs(20);
/// What answers may do in a browser: nothing.
const CLOSED: &str = "default-src 'none'; frame-ancestors 'none'";
/// What pages may do: load what the console itself serves, and talk to it.
const PAGES: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the console works with.
#[derive(Debug)]
pub struct Parts {
    pipeline: Arc<Pipeline>,
    store: Arc<dyn Store>,
    notifier: Notifier,
    site: Site,
    login: Option<Client>,
    sessions: Sessions,
    logins: Logins,
    evidence: Evidence,
    simulations: turns::Turns,
    exports: Board,
    witnesses: Vec<VerifierKey>,
    live: live::Places,
}

impl Parts {
    /// The parts: calls and approvals, where revocations are written, messages that could not be
    /// delivered, where people reach the console and sign in, the audit log to read, and how its sinks
    /// stand.
    pub fn new(
        pipeline: Arc<Pipeline>,
        store: Arc<dyn Store>,
        notifier: Notifier,
        site: Site,
        login: Option<Client>,
        trail: SharedTrail,
        exports: Board,
    ) -> Self {
        let clock = &pipeline.parts().clock;
        let sessions = Sessions::new(Arc::clone(clock));
        let logins = Logins::new(Arc::clone(clock));
        Self {
            pipeline,
            store,
            notifier,
            site,
            login,
            sessions,
            logins,
            evidence: Evidence::new(trail),
            simulations: turns::Turns::default(),
            exports,
            witnesses: Vec::new(),
            live: live::places(),
        }
    }

    /// The same, which also tells how these witnesses of the log stand.
    #[must_use]
    pub fn watching(mut self, witnesses: Vec<VerifierKey>) -> Self {
        self.witnesses = witnesses;
        self
    }
}

/// The console.
#[derive(Clone, Debug)]
pub struct Console {
    router: Router,
}

impl Console {
    /// Over the house's parts.
    pub fn new(parts: Parts) -> Self {
        let hosts = Arc::new(parts.site.hosts.clone());
        let parts = Arc::new(parts);
        let router = Router::new()
            .route("/health", get(|| async { "ok\n" }))
            .route("/ready", get(api::ready))
            .route("/metrics", get(api::metrics))
            .route(
                "/api/v1/openapi.json",
                get(|| async { axum::Json(document()) }),
            )
            .merge(approvals::routes())
            .merge(deliveries::routes())
            .merge(grants::routes())
            .merge(revocations::routes())
            .merge(calls::routes())
            .merge(chart::routes())
            .merge(functions::routes())
            .merge(policies::routes())
            .merge(simulate::routes())
            .merge(status::routes())
            .merge(live::routes())
            .merge(me::routes())
            .merge(approve::routes())
            .merge(slack::routes())
            .merge(login::routes())
            .merge(pages::routes())
            .fallback(|| async { Problem::new(404, "not_found", "the console has no such path") })
            .method_not_allowed_fallback(|| async {
                Problem::new(405, "bad_request", "the path does not take this method")
            })
            .with_state(Arc::clone(&parts))
            .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(axum::middleware::from_fn(etag::conditional))
            .layer(axum::middleware::from_fn_with_state(
                Arc::clone(&parts),
                idempotency::once,
            ))
            .layer(axum::middleware::from_fn_with_state(
                parts,
                refused::recorded,
            ))
            .layer(axum::middleware::from_fn(
                move |request: Request, next: Next| {
                    let hosts = Arc::clone(&hosts);
                    async move { guard(&hosts, request, next).await }
                },
            ));
        Self { router }
    }

    /// Serve one connection until it ends or the drain asks for its end.
    pub async fn serve(self, conn: Conn, drain: Drain) {
        let peer: Peer = conn.peer;
        let quiet = Quiet::new();
        let counted = quiet.clone();
        let router = self
            .router
            .layer(axum::middleware::from_fn(move |request, next| {
                counted.clone().count(request, next)
            }))
            .layer(axum::Extension(peer))
            .layer(axum::Extension(drain.clone()));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_READ_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN_MAX);
        let service = TowerToHyperService::new(router);
        let connection = builder.serve_connection(TokioIo::new(conn.io), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = drain.begun() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = quiet.too_long() => Ok(()),
                }
            }
            () = quiet.too_long() => Ok(()),
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %peer.address, %error, "a console connection ended");
        }
    }
}

/// A request that changes something is done to its end, also when its sender hangs up: what it puts on record
/// first would otherwise stand there and not have been done.
async fn to_its_end(work: impl Future<Output = Response> + Send + 'static) -> Response {
    match tokio::spawn(work).await {
        Ok(response) => response,
        Err(error) => Problem::internal(&error).into_response(),
    }
}

/// A body that came too slowly.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body took longer than {} s to arrive", BODY_READ_MAX.as_secs())]
struct TooSlow;

/// The same body, which fails when it has not arrived in time: whoever sends a byte now and then holds
/// nothing for long.
fn in_time(body: Body) -> Body {
    let deadline = tokio::time::Instant::now() + BODY_READ_MAX;
    let frames = stream::try_unfold(body.into_data_stream(), move |mut body| async move {
        match tokio::time::timeout_at(deadline, body.next()).await {
            Ok(Some(data)) => Ok(Some((data?, body))),
            Ok(None) => Ok(None),
            Err(_) => Err(axum::Error::new(TooSlow)),
        }
    });
    Body::from_stream(frames)
}

/// The host must be ours (a page elsewhere could otherwise reach the console through a name of its
/// own), and every answer is closed to frames, caches and guesses.
async fn guard(hosts: &[String], request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(http::header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri().authority().map(http::uri::Authority::as_str))
        .map(str::to_ascii_lowercase);
    let known = host.is_some_and(|host| hosts.contains(&host));
    let mut response = if known {
        let request = request.map(in_time);
        match request.method().is_safe() || idempotency::only_asks(request.uri().path()) {
            true => next.run(request).await,
            false => to_its_end(next.run(request)).await,
        }
    } else {
        Problem::new(
            400,
            "bad_request",
            "the console does not answer for that host",
        )
        .into_response()
    };
    let headers = response.headers_mut();
    let kind = headers.get(http::header::CONTENT_TYPE);
    let html = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", if html { PAGES } else { CLOSED }),
        // Not `no-referrer`: browsers would then hide where the console's own forms come from.
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(), microphone=(), geolocation=()",
        ),
    ] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    headers
        .entry(http::header::CACHE_CONTROL)
        .or_insert(http::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_changes_something_is_done_to_its_end_although_its_sender_hung_up() {
        let (go, goes) = tokio::sync::oneshot::channel::<()>();
        let (done, is_done) = tokio::sync::oneshot::channel::<()>();
        let work = to_its_end(async move {
            goes.await.expect("the word");
            done.send(()).expect("the test waits");
            Response::new(Body::empty())
        });
        let hung_up = tokio::time::timeout(Duration::from_millis(20), work).await;
        assert!(hung_up.is_err());
        go.send(()).expect("it is still there");
        is_done.await.expect("done");
    }
}
