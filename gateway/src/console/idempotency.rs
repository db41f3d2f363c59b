//! `Idempotency-Key`: a request that changes something, sent again with the same key, is not done again.
//!
//! After the IETF draft (draft-ietf-httpapi-idempotency-key-header): the same key with the same request is
//! answered as the first one was; with another request 422; while the first is still under way 409. Keys are
//! each person's own. They are in the state that decisions are in, bounded in number and time: so they hold
//! on every instance and after a restart. A request whose doer is gone in the middle is not done again
//! either: nobody knows how far it got, and that is what is answered (409 `indeterminate`).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use aws_lc_rs::digest;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use serde_json::{Value, json};

use super::api::{Asker, Problem};
use super::{BODY_BYTES_MAX, Parts};
use crate::approval::{Begun, Ended};

/// The header that names a request.
const HEADER: &str = "idempotency-key";
/// What shows that an answer is the first one's.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Requests that only ask: a key makes no difference there.
const ASKING: [&str; 3] = [
    "/api/v1/policies/explain",
    "/api/v1/policies/simulate",
    "/api/v1/audit/verify",
];
/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// Largest answer that is kept, in bytes; such requests answer with little.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// An answer as it was given.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Kept {
    status: StatusCode,
    kind: Option<HeaderValue>,
    body: Bytes,
}

impl Kept {
    /// The status, the length of the kind and the kind, the body.
    fn to_bytes(&self) -> Vec<u8> {
        let kind = self.kind.as_ref().map_or(&[][..], HeaderValue::as_bytes);
        // No kind that the console answers with is longer.
        let kind = kind.get(..usize::from(u8::MAX)).unwrap_or(kind);
        let mut bytes = self.status.as_u16().to_be_bytes().to_vec();
        bytes.push(u8::try_from(kind.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(kind);
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (status, rest) = bytes.split_first_chunk::<2>()?;
        let (kind, rest) = rest.split_first()?;
        let (kind, body) = rest.split_at_checked(usize::from(*kind))?;
        let kind = match kind {
            [] => None,
            kind => Some(HeaderValue::from_bytes(kind).ok()?),
        };
        Some(Self {
            status: StatusCode::from_u16(u16::from_be_bytes(*status)).ok()?,
            kind,
            body: Bytes::copy_from_slice(body),
        })
    }
}

/// Whether a request to this path changes nothing, whatever its method.
pub(super) fn only_asks(path: &str) -> bool {
    ASKING.contains(&path)
}

/// The key of a request: a quoted string as in the draft, or the bare text that many clients send.
fn named(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let key = quoted.unwrap_or(text);
    let visible = key
        .bytes()
        .all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\');
    if values.next().is_some() || key.is_empty() || key.len() > KEY_BYTES_MAX || !visible {
        let text = "`Idempotency-Key` is one text of 1 to 255 visible ASCII characters without `\"` and `\\`, \
            such as a UUID";
        return Err(Problem::new(400, "bad_request", text));
    }
    Ok(Some(key.to_owned()))
}

/// Do a request that changes something once for its key.
pub(super) async fn once(
    State(parts): State<Arc<Parts>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let changes = request.method() == Method::POST && path.starts_with("/api/v1/");
    if !changes || only_asks(path) || !request.headers().contains_key(HEADER) {
        return next.run(request).await;
    }
    keyed(parts, request, next)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

async fn keyed(parts: Arc<Parts>, request: Request, next: Next) -> Result<Response, Problem> {
    let key = named(request.headers())?.unwrap_or_default();
    let (mut head, body) = request.into_parts();
    let asker = Asker::from_request_parts(&mut head, &parts).await?;
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await;
    let body = body.map_err(|_| {
        let text = "the body is larger than 64 KiB, or did not arrive whole: nothing was done";
        Problem::new(413, "too_large", text)
    })?;
    let approvals = parts.pipeline.parts().approvals.clone();
    let request = hash(&head, &body);
    let begun = approvals.begin_once(&asker.who, &key, &request).await;
    let key = match begun.map_err(|error| Problem::internal(&error))? {
        Begun::New(key) => key,
        other => return replayed(other),
    };
    let request = Request::from_parts(head, Body::from(body));
    // Done to its end also when the client hangs up: sent again, it learns what came of it.
    let work = tokio::spawn(async move {
        let done = AssertUnwindSafe(work(request, next)).catch_unwind().await;
        let (answer, ended) = done.unwrap_or_else(|_| {
            let problem = Problem::internal(&"a request with an idempotency key panicked");
            (problem.into_response(), Ended::Unknown)
        });
        if let Err(error) = approvals.end_once(key, ended).await {
            tracing::error!(%error, "how a request with an idempotency key ended could not be kept");
        }
        answer
    });
    work.await.map_err(|error| Problem::internal(&error))
}

/// What is answered in place of doing it.
fn replayed(begun: Begun) -> Result<Response, Problem> {
    Err(match begun {
        Begun::Done(kept) => match Kept::of_bytes(&kept) {
            Some(kept) => return Ok(kept.again()),
            None => Problem::internal(&"a kept answer is not what was kept"),
        },
        Begun::Other => Problem::new(
            422,
            "idempotency_key_reused",
            "this `Idempotency-Key` was used for another request: nothing was done; a new request needs a new key",
        ),
        Begun::New(_) | Begun::UnderWay => Problem::new(
            409,
            "conflict",
            "the first request with this `Idempotency-Key` is still under way: wait for its answer, or ask \
             again in a moment",
        ),
        Begun::Unknown => Problem::new(
            409,
            "indeterminate",
            "the gateway stopped or failed while it did the first request with this `Idempotency-Key`, so nobody knows \
             whether it was done: nothing was done now; look, and send it with a new key if it is still needed",
        ),
        Begun::Full => Problem::new(
            503,
            "busy",
            "too many requests with an `Idempotency-Key` are under way: nothing was done; try again",
        ),
    })
}

/// How a request ended that was not answered with success. What was refused was not done: the key stays free for
/// another try. After a fault of our own nobody knows how far it got.
fn unsuccessful(status: StatusCode) -> Ended {
    match status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        true => Ended::Unknown,
        false => Ended::Refused,
    }
}

/// Do it; how it ended.
async fn work(request: Request, next: Next) -> (Response, Ended) {
    let response = next.run(request).await;
    if !response.status().is_success() {
        let ended = unsuccessful(response.status());
        return (response, ended);
    }
    let length = response.body().size_hint().exact();
    if length.is_none_or(|length| length > ANSWER_BYTES_MAX) {
        // Done, and too large to be said again.
        return (response, Ended::Unknown);
    }
    let (head, body) = response.into_parts();
    let most = usize::try_from(ANSWER_BYTES_MAX).unwrap_or(usize::MAX);
    let body = match axum::body::to_bytes(body, most).await {
        Ok(body) => body,
        Err(error) => return (Problem::internal(&error).into_response(), Ended::Unknown),
    };
    let kept = Kept {
        status: head.status,
        kind: head.headers.get(header::CONTENT_TYPE).cloned(),
        body: body.clone(),
    };
    let answer = Response::from_parts(head, Body::from(body));
    (answer, Ended::Done(kept.to_bytes()))
}

impl Kept {
    fn again(self) -> Response {
        let mut response = (self.status, Body::from(self.body)).into_response();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        if let Some(kind) = self.kind {
            headers.insert(header::CONTENT_TYPE, kind);
        }
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

/// A hash over all of a request that says what is wanted.
fn hash(head: &http::request::Parts, body: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    let condition = head.headers.get(header::IF_MATCH);
    let target = head
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    for part in [
        target.as_bytes(),
        condition.map_or(&[][..], HeaderValue::as_bytes),
        body,
    ] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// Tell of it in the API's description.
pub(super) fn describe(path: &str, operation: &mut Value, refusal: impl Fn(&str) -> Value) {
    if ASKING.contains(&path) {
        return;
    }
    let key = json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "schema": { "type": "string", "minLength": 1, "maxLength": KEY_BYTES_MAX, "pattern": "^[!#-\\[\\]-~]+$" },
        "description": "Names this request, for 24 hours and on every instance: sent again with the same key it is not done \
            again, and answered as the first time, with `Idempotent-Replayed: true`. What was refused may be tried \
            again with its key. When the gateway stopped or failed in the middle: 409 `indeterminate`.",
    });
    if let Some(parameters) = operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut)
    {
        parameters.push(key);
    }
    let responses = operation.get_mut("responses");
    if let Some(responses) = responses.and_then(Value::as_object_mut) {
        let reused = refusal("The `Idempotency-Key` was used for another request");
        responses.insert("422".to_owned(), reused);
        let large = refusal("The body is too large");
        responses.entry("413").or_insert(large);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_as_it_was_given() {
        for kind in [None, Some(HeaderValue::from_static("application/json"))] {
            let kept = Kept {
                status: StatusCode::CREATED,
                kind,
                body: Bytes::from_static(b"{\"id\":\"x\"}"),
            };
            assert_eq!(Kept::of_bytes(&kept.to_bytes()), Some(kept));
        }
        for bytes in [&[][..], &[0, 200], &[0, 200, 4, b'a'], &[0, 1, 0]] {
            assert_eq!(Kept::of_bytes(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_fault_of_our_own_does_not_free_the_key() {
        let unknown = |status| matches!(unsuccessful(status), Ended::Unknown);
        assert!(unknown(StatusCode::INTERNAL_SERVER_ERROR));
        for refused in [StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE] {
            assert!(!unknown(refused), "{refused}");
        }
    }

    #[test]
    fn a_key_is_one_short_visible_text_quoted_or_not() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            named(&headers)
        };
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&["\"8e03978e\""]).unwrap().as_deref(), Some("8e03978e"));
        assert_eq!(of(&["8e03978e"]).unwrap().as_deref(), Some("8e03978e"));
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        for bad in [
            &[""][..],
            &["\"\""],
            &["a\"b"],
            &["ü"],
            &[&long],
            &["a", "b"],
        ] {
            assert_eq!(of(bad).unwrap_err().status, 400, "{bad:?}");
        }
    }
}
