//! People's side: the API under `/api/v1`, metrics, liveness. Pages come later; until then `/` says
//! where the API is.
//!
//! Every request is authenticated with a token for the console's audience and authorised by a policy
//! action; nothing is implicit. Refuses hosts that nobody configured. Called by `app`.

mod api;
mod approvals;
mod deliveries;
mod openapi;
mod revocations;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;

pub use openapi::document;

use crate::listener::{Conn, Drain, Peer};
use crate::notify::Notifier;
use crate::pipeline::Pipeline;
use crate::store::Store;
use api::Problem;

/// Largest request body, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a request head may take.
const HEAD_READ_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// What the console works with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The pipeline: snapshot, record, approvals.
    pub pipeline: Arc<Pipeline>,
    /// Revocations are written here.
    pub store: Arc<dyn Store>,
    /// Messages that could not be delivered.
    pub notifier: Notifier,
    /// Where the console listens.
    pub local: SocketAddr,
}

/// The console.
#[derive(Clone, Debug)]
pub struct Console {
    router: Router,
}

impl Console {
    /// Over the house's parts.
    pub fn new(parts: Parts) -> Self {
        let parts = Arc::new(parts);
        let hosts = Arc::new(vec![
            parts.local.to_string(),
            format!("localhost:{}", parts.local.port()),
        ]);
        let router = Router::new()
            .route("/", get(root))
            .route("/health", get(|| async { "ok\n" }))
            .route("/ready", get(api::ready))
            .route("/metrics", get(api::metrics))
            .route(
                "/api/v1/openapi.json",
                get(|| async { axum::Json(document()) }),
            )
            .merge(approvals::routes())
            .merge(deliveries::routes())
            .merge(revocations::routes())
            .fallback(|| async { Problem::new(404, "not_found", "the console has no such path") })
            .with_state(parts)
            .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
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
        let router = self.router.layer(axum::Extension(peer));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_READ_MAX);
        let service = TowerToHyperService::new(router);
        let connection = builder.serve_connection(TokioIo::new(conn.io), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = drain.begun() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %peer.address, %error, "a console connection ended");
        }
    }
}

async fn root() -> &'static str {
    "Callgate console. The API is under /api/v1, described by /api/v1/openapi.json.\n"
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
        next.run(request).await
    } else {
        Problem::new(
            400,
            "bad_request",
            "the console does not answer for that host",
        )
        .into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ),
        ("referrer-policy", "no-referrer"),
    ] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    response
}
