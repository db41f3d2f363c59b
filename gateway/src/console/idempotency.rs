//! `Idempotency-Key`: a request that changes something, sent again with the same key, is not done again.
//!
//! After the IETF draft (draft-ietf-httpapi-idempotency-key-header): the same key with the same request is
//! answered as the first one was; with another request 422; while the first is still under way 409. Keys are
//! each person's own. Owns the answers that are kept for that, bounded in number, size and time, in this
//! process only: a restart forgets them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use serde_json::{Value, json};

use super::api::{Asker, Problem};
use super::{BODY_BYTES_MAX, Parts};
use crate::clock::Timestamp;

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
/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Keys at one time; the oldest that is answered makes room.
const KEYS_MAX: usize = 10_000;
/// Keys of one person; the oldest that is answered makes room.
const PERSON_MAX: usize = 200;
/// Largest answer that is kept, in bytes; such requests answer with little.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// Whose key.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Place {
    who: String,
    key: String,
}

/// An answer as it was given.
#[derive(Clone, Debug)]
struct Kept {
    status: StatusCode,
    kind: Option<HeaderValue>,
    body: Bytes,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Hash of the request.
    request: [u8; 32],
    at: Timestamp,
    /// Absent while it is under way.
    answer: Option<Kept>,
}

/// The keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    held: Mutex<HashMap<Place, Entry>>,
}

/// What a key means for a request.
#[derive(Debug)]
enum Begun {
    /// It is new: do it.
    New,
    /// It was done: this was the answer.
    Done(Kept),
}

impl Keys {
    fn held(&self) -> MutexGuard<'_, HashMap<Place, Entry>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, place: &Place, request: [u8; 32], now: Timestamp) -> Result<Begun, Problem> {
        let mut held = self.held();
        if let Some(entry) = held.get(place).filter(|entry| !entry.is_old(now)) {
            if entry.request != request {
                let text = "this `Idempotency-Key` was used for another request: nothing was done; a new \
                    request needs a new key";
                return Err(Problem::new(422, "idempotency_key_reused", text));
            }
            let answer = entry.answer.clone().ok_or_else(|| {
                let text = "the first request with this `Idempotency-Key` is still under way: wait for \
                    its answer, or ask again in a moment";
                Problem::new(409, "conflict", text)
            })?;
            return Ok(Begun::Done(answer));
        }
        held.retain(|_, entry| !entry.is_old(now));
        let room = make_room(&mut held, PERSON_MAX, |other| other.who == place.who)
            && make_room(&mut held, KEYS_MAX, |_| true);
        if !room {
            let text = "too many requests with an `Idempotency-Key` are under way: nothing was done; try again";
            return Err(Problem::new(503, "busy", text));
        }
        let entry = Entry {
            request,
            at: now,
            answer: None,
        };
        held.insert(place.clone(), entry);
        Ok(Begun::New)
    }

    /// Keep what was answered, or forget the key: then the request may be tried again.
    fn end(&self, place: &Place, answer: Option<Kept>) {
        let mut held = self.held();
        match (answer, held.get_mut(place)) {
            (Some(answer), Some(entry)) => entry.answer = Some(answer),
            (None, Some(_)) => {
                held.remove(place);
            }
            (_, None) => {}
        }
    }
}

impl Entry {
    fn is_old(&self, now: Timestamp) -> bool {
        // What is under way is not forgotten: its end does that.
        self.answer.is_some() && now.since(self.at) >= KEPT
    }
}

/// Let at most `most - 1` of those that `counts` names be left; whether that is so.
fn make_room(
    held: &mut HashMap<Place, Entry>,
    most: usize,
    counts: impl Fn(&Place) -> bool,
) -> bool {
    loop {
        let found = held.iter().filter(|(place, _)| counts(place));
        if found.clone().count() < most {
            return true;
        }
        let answered = found.filter(|(_, entry)| entry.answer.is_some());
        let oldest = answered.min_by_key(|(_, entry)| entry.at);
        let Some(oldest) = oldest.map(|(place, _)| place.clone()) else {
            return false;
        };
        held.remove(&oldest);
    }
}

/// A key's place while its request is under way: given back also when the work panics.
struct Under {
    parts: Arc<Parts>,
    place: Place,
    answer: Option<Kept>,
}

impl Drop for Under {
    fn drop(&mut self) {
        self.parts.keys.end(&self.place, self.answer.take());
    }
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
    if !changes || ASKING.contains(&path) || !request.headers().contains_key(HEADER) {
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
    let place = Place {
        who: asker.who.key().to_string(),
        key,
    };
    let now = parts.pipeline.parts().clock.now();
    match parts.keys.begin(&place, hash(&head, &body), now)? {
        Begun::Done(kept) => Ok(kept.again()),
        Begun::New => {
            let under = Under {
                parts,
                place,
                answer: None,
            };
            let request = Request::from_parts(head, Body::from(body));
            // Done to its end also when the client hangs up: sent again, it learns what came of it.
            let work = tokio::spawn(work(under, request, next));
            work.await.map_err(|error| Problem::internal(&error))
        }
    }
}

async fn work(mut under: Under, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let length = response.body().size_hint().exact();
    let small = length.is_some_and(|length| length <= ANSWER_BYTES_MAX);
    // What was refused was not done: the key stays free for another try.
    if !response.status().is_success() || !small {
        return response;
    }
    let (head, body) = response.into_parts();
    let most = usize::try_from(ANSWER_BYTES_MAX).unwrap_or(usize::MAX);
    let body = match axum::body::to_bytes(body, most).await {
        Ok(body) => body,
        Err(error) => return Problem::internal(&error).into_response(),
    };
    under.answer = Some(Kept {
        status: head.status,
        kind: head.headers.get(header::CONTENT_TYPE).cloned(),
        body: body.clone(),
    });
    Response::from_parts(head, Body::from(body))
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
        "description": "Names this request, for 24 hours and as long as the process runs: sent again with the same key \
            it is not done again, and answered as the first time, with `Idempotent-Replayed: true`. \
            What was refused may be tried again with its key.",
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

    fn place(who: &str, key: &str) -> Place {
        Place {
            who: who.to_owned(),
            key: key.to_owned(),
        }
    }

    fn kept() -> Kept {
        Kept {
            status: StatusCode::OK,
            kind: None,
            body: Bytes::from_static(b"{}"),
        }
    }

    fn at(s: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + s)
    }

    #[test]
    fn a_key_is_one_request_of_one_person_for_a_day() {
        let keys = Keys::default();
        let (mine, yours) = (place("corp/ann", "k"), place("corp/ben", "k"));
        assert!(matches!(keys.begin(&mine, [1; 32], at(0)), Ok(Begun::New)));
        let under_way = keys.begin(&mine, [1; 32], at(1)).unwrap_err();
        assert_eq!(under_way.status, 409);
        assert!(matches!(keys.begin(&yours, [2; 32], at(1)), Ok(Begun::New)));
        keys.end(&mine, Some(kept()));
        assert!(matches!(
            keys.begin(&mine, [1; 32], at(2)),
            Ok(Begun::Done(_))
        ));
        let other = keys.begin(&mine, [2; 32], at(2)).unwrap_err();
        assert_eq!(
            (other.status, other.code.as_str()),
            (422, "idempotency_key_reused")
        );
        let later = at(KEPT.as_secs());
        assert!(matches!(keys.begin(&mine, [2; 32], later), Ok(Begun::New)));
    }

    #[test]
    fn what_was_refused_may_be_tried_again() {
        let (keys, mine) = (Keys::default(), place("corp/ann", "k"));
        keys.begin(&mine, [1; 32], at(0)).unwrap();
        keys.end(&mine, None);
        assert!(matches!(keys.begin(&mine, [2; 32], at(0)), Ok(Begun::New)));
    }

    #[test]
    fn keys_are_bounded_and_what_is_under_way_stays() {
        let keys = Keys::default();
        keys.begin(&place("corp/ann", "first"), [0; 32], at(0))
            .unwrap();
        for n in 1..PERSON_MAX as u64 + 10 {
            let one = place("corp/ann", &n.to_string());
            keys.begin(&one, [1; 32], at(n)).unwrap();
            keys.end(&one, Some(kept()));
        }
        assert_eq!(keys.held().len(), PERSON_MAX);
        assert!(keys.held().contains_key(&place("corp/ann", "first")));
        assert!(!keys.held().contains_key(&place("corp/ann", "1")));
        let all_under_way = Keys::default();
        for n in 0..PERSON_MAX {
            let one = place("corp/ann", &n.to_string());
            all_under_way.begin(&one, [1; 32], at(0)).unwrap();
        }
        let full = all_under_way.begin(&place("corp/ann", "more"), [1; 32], at(0));
        assert_eq!(full.unwrap_err().status, 503);
        let other = all_under_way.begin(&place("corp/ben", "more"), [1; 32], at(0));
        assert!(other.is_ok(), "another person has room");
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
