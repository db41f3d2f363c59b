//! The witness over HTTP: `POST /add-checkpoint`, and what an operator looks at.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tlog::proof::PROOF_FILE_BYTES_MAX;

use super::{Answer, Witness};
use crate::listener::{Conn, Drain};

/// How long a request's head may take.
const HEAD_READ_MAX: Duration = Duration::from_secs(10);
/// How long a connection may live: logs ask every few seconds and connect again.
const CONNECTION_MAX: Duration = Duration::from_secs(60);

/// A witness that answers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    router: Router,
}

impl Service {
    /// The service of a witness.
    pub fn new(witness: Arc<Witness>) -> Self {
        let router = Router::new()
            .route("/add-checkpoint", post(add_checkpoint))
            .route("/health", get(|| async { "ok\n" }))
            .route("/key", get(key))
            .with_state(witness)
            .layer(DefaultBodyLimit::max(PROOF_FILE_BYTES_MAX));
        Self { router }
    }

    /// Serve one connection until it ends, its time is over, or the drain asks for its end.
    pub async fn serve(self, conn: Conn, drain: Drain) {
        let peer = conn.peer;
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_READ_MAX);
        let service = TowerToHyperService::new(self.router);
        let connection = builder.serve_connection(TokioIo::new(conn.io), service);
        let mut connection = std::pin::pin!(connection);
        let serving = async {
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = drain.begun() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        match tokio::time::timeout(CONNECTION_MAX, serving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(peer = %peer.address, %error, "a connection ended"),
            Err(_) => tracing::debug!(peer = %peer.address, "a connection's time was over"),
        }
    }
}

async fn key(State(witness): State<Arc<Witness>>) -> String {
    format!("{}\n", witness.key())
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Bytes) -> Response {
    // Its file is synced before it answers, which may take a while.
    let asked = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body)).await;
    let answer = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::error!(%error, "a checkpoint could not be cosigned");
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                "the state cannot be stored\n",
            )
                .into_response();
        }
        Err(error) => {
            tracing::error!(%error, "a request failed");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    match answer {
        Answer::Cosigned(line) => (StatusCode::OK, line).into_response(),
        Answer::Malformed(why) => (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
        Answer::UnknownLog => (StatusCode::NOT_FOUND, "unknown log\n").into_response(),
        Answer::BadSignature => {
            let text = "no good signature of the log's key\n";
            (StatusCode::FORBIDDEN, text).into_response()
        }
        Answer::Conflict(size) => {
            let kind = [(header::CONTENT_TYPE, "text/x.tlog.size")];
            (StatusCode::CONFLICT, kind, format!("{size}\n")).into_response()
        }
        Answer::Inconsistent => {
            let text = "the proof does not lead to this head\n";
            (StatusCode::UNPROCESSABLE_ENTITY, text).into_response()
        }
    }
}
