//! What goes on, as it goes on: server-sent events that say that something changed, never what. Pages
//! ask the API then, which judges each of them anew.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Parts;
use super::api::{Asker, Problem};
use super::cookie::{self, Cookie};
use crate::listener::Drain;
use crate::policy::{PersonAction, PersonResource};

/// Streams at one time; more are refused.
const STREAMS_MAX: usize = 256;
/// How often each of them looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A stream on which nothing happens says so this often: proxies and browsers see that it lives.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// How often it is judged anew whether policy still lets the person see anything.
const JUDGED_EVERY: Duration = Duration::from_secs(15);
/// After that a stream ends; browsers open the next one by themselves.
const LIFE_MAX: Duration = Duration::from_secs(15 * 60);

/// Places for streams.
pub(super) type Places = Arc<Semaphore>;

pub(super) fn places() -> Places {
    Arc::new(Semaphore::new(STREAMS_MAX))
}

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new().route("/api/v1/live", get(live))
}

/// That something happened is told to those who may see something: who may read records of the gateway,
/// or read or decide calls of one function at least.
fn may_follow(asker: &Asker, parts: &Parts) -> bool {
    let may = |action, resource| asker.is_allowed(parts, action, resource);
    if may(PersonAction::AuditRead, PersonResource::Gateway) {
        return true;
    }
    let snapshot = parts.pipeline.snapshot();
    let mut functions = snapshot
        .connections
        .values()
        .flat_map(|connection| connection.catalogue.functions());
    functions.any(|function| {
        let resource = PersonResource::Function(&function.id);
        may(PersonAction::Approve, resource) || may(PersonAction::AuditRead, resource)
    })
}

/// One stream.
struct Stream {
    parts: Arc<Parts>,
    asker: Asker,
    /// The session's id, of somebody who signed in: the stream ends with it.
    session: Option<String>,
    /// Records when it last spoke.
    said: Option<u64>,
    begun: tokio::time::Instant,
    spoke: tokio::time::Instant,
    judged: tokio::time::Instant,
    drain: Drain,
    _place: OwnedSemaphorePermit,
}

async fn live(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Extension(drain): Extension<Drain>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !may_follow(&asker, &parts) {
        let text = "policy permits you nothing here that could be followed: neither `audit.read` nor `approve`";
        return Err(Problem::new(403, "denied", text));
    }
    let place = Arc::clone(&parts.live).try_acquire_owned().map_err(|_| {
        let text = "too many pages follow the gateway live: try again, or look without";
        Problem::new(503, "busy", text)
    })?;
    let said = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .and_then(|id| id.parse().ok());
    let session = asker
        .session
        .is_some()
        .then(|| cookie::read(&headers, &parts.site, Cookie::Session))
        .flatten();
    let now = tokio::time::Instant::now();
    let stream = Stream {
        parts,
        asker,
        session,
        said,
        begun: now,
        spoke: now,
        judged: now,
        drain,
        _place: place,
    };
    let body = Body::from_stream(stream::unfold(stream, |stream| stream.next()));
    let kind = HeaderValue::from_static("text/event-stream");
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

impl Stream {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            // Everything that happens is on the record: its length tells whether something did.
            let records = self.parts.pipeline.parts().record.health().records;
            if self.said != Some(records) {
                self.said = Some(records);
                return self.say(format!(
                    "id: {records}\nevent: change\ndata: {{\"records\":{records}}}\n\n"
                ));
            }
            if self.spoke.elapsed() >= HEARTBEAT_EVERY {
                return self.say(": still here\n\n".to_owned());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                // A stream must not hold up the end of the process.
                () = self.drain.begun() => return None,
            }
            if self.begun.elapsed() >= LIFE_MAX || !self.goes_on() {
                return None;
            }
            if self.judged.elapsed() >= JUDGED_EVERY {
                self.judged = tokio::time::Instant::now();
                if !may_follow(&self.asker, &self.parts) {
                    return None;
                }
            }
        }
    }

    fn say(mut self, text: String) -> Option<(Result<Bytes, Infallible>, Self)> {
        self.spoke = tokio::time::Instant::now();
        Some((Ok(Bytes::from(text)), self))
    }

    /// Whether the person still counts.
    fn goes_on(&self) -> bool {
        let now = self.parts.pipeline.parts().clock.now();
        let snapshot = self.parts.pipeline.snapshot();
        let counts = snapshot.identity.still_counts(&self.asker.who).is_ok();
        let open = match &self.session {
            Some(id) => self.parts.sessions.goes_on(id),
            None => self.asker.who.token().expires > now,
        };
        counts && open
    }
}
