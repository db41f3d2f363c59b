//! What a known person was refused stands on the audit record: votes, revocations, looks at what is not theirs.
//! Whoever tries doors leaves a trace, as callers do.

use std::sync::{Arc, OnceLock};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode};

use super::Parts;
use crate::identity::Principal;
use crate::record::{Event, Who};

/// How much of a path is recorded, in bytes: ids are shorter.
const PATH_BYTES_MAX: usize = 512;

/// Who asks, once that is known; put into a request, filled by whoever verifies them.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<OnceLock<Arc<Principal>>>);

impl Known {
    /// It is them.
    pub(super) fn is(&self, who: &Arc<Principal>) {
        // A request is verified twice when it bears an idempotency key, as the same person.
        let _already = self.0.set(Arc::clone(who));
    }
}

/// The code of a refusal, for whoever records the answer.
#[derive(Clone, Debug)]
pub(super) struct Code(pub(super) String);

/// Record what was refused to somebody who is known.
pub(super) async fn recorded(
    State(parts): State<Arc<Parts>>,
    mut request: Request,
    next: Next,
) -> Response {
    let known = Known::default();
    request.extensions_mut().insert(known.clone());
    let method = request.method().clone();
    let path = start(request.uri().path()).to_owned();
    let response = next.run(request).await;
    let status = response.status();
    if let Some(who) = known.0.get().filter(|_| counts(&method, status)) {
        let code = response.extensions().get::<Code>();
        let code = code.map_or("refused", |code| &code.0);
        let content = serde_json::json!({ "method": method.as_str(), "path": path });
        note(&parts, who, (status.as_u16(), code), content);
    }
    response
}

/// Record that this was refused to somebody who is known.
pub(super) fn note(
    parts: &Parts,
    who: &Principal,
    (status, code): (u16, &str),
    content: serde_json::Value,
) {
    parts.pipeline.parts().record.note_lazily(Event::Refused {
        who: Who::from(who),
        reason: code.to_owned(),
        status,
        content,
    });
}

/// Every refusal to do something; of a look, the ones that tell of trying: not allowed, and no such thing.
fn counts(method: &Method, status: StatusCode) -> bool {
    match method.is_safe() {
        false => status.is_client_error(),
        true => status == StatusCode::FORBIDDEN || status == StatusCode::NOT_FOUND,
    }
}

fn start(path: &str) -> &str {
    &path[..path.floor_char_boundary(PATH_BYTES_MAX)]
}
