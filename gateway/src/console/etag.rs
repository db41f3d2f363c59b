//! Entity tags: a strong one on every read whose answer has an end, `304` for who has it already, and what a
//! change on condition (`If-Match`) is held against.
//!
//! The tag is a hash over the answer's bytes, so it needs no versions: what reads the same is the same. The
//! answer is made all the same, judged and on record; only its transfer is spared.

use aws_lc_rs::digest;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::api::Problem;

/// Where reads have tags.
const UNDER: &str = "/api/v1/";

/// The tag of an answer's bytes.
fn of(bytes: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, bytes);
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash.as_ref()))
}

/// Whether a header's list of tags has this one, or is `*`. A weak tag counts for a read only (RFC 9110 section 13.1).
fn has(headers: &HeaderMap, name: HeaderName, tag: &str, weak: bool) -> bool {
    let lists = headers.get_all(name);
    lists
        .iter()
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|one| {
            let one = match one.strip_prefix("W/") {
                Some(one) if weak => one,
                Some(_) => return false,
                None => one,
            };
            one == "*" || one == tag
        })
}

/// Give reads their tag, and answer `304` to who has what would be answered.
pub(super) async fn conditional(request: Request, next: Next) -> Response {
    let reads = request.method() == Method::GET && request.uri().path().starts_with(UNDER);
    let wanted = request.headers().clone();
    let response = next.run(request).await;
    // What has no end has no tag: a live stream.
    let length = response.body().size_hint().exact();
    let (true, StatusCode::OK, Some(length)) = (reads, response.status(), length) else {
        return response;
    };
    let (mut head, body) = response.into_parts();
    let most = usize::try_from(length).unwrap_or(usize::MAX);
    let bytes = match axum::body::to_bytes(body, most).await {
        Ok(bytes) => bytes,
        Err(error) => return Problem::internal(&error).into_response(),
    };
    let tag = of(&bytes);
    let Ok(value) = HeaderValue::try_from(tag.as_str()) else {
        return Response::from_parts(head, Body::from(bytes));
    };
    if has(&wanted, header::IF_NONE_MATCH, &tag, true) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, value)]).into_response();
    }
    head.headers.insert(header::ETAG, value);
    Response::from_parts(head, Body::from(bytes))
}

/// Refuse a change whose `If-Match` names something else than what would be read now.
///
/// # Errors
/// `412` when it does.
pub(super) fn unchanged(headers: &HeaderMap, now: &impl Serialize) -> Result<(), Problem> {
    let bytes = serde_json::to_vec(now).map_err(|error| Problem::internal(&error))?;
    if has(headers, header::IF_MATCH, &of(&bytes), false) {
        return Ok(());
    }
    let text = "it is not what your `If-Match` names any more, and nothing was done: read it again, \
        then decide on what it is now";
    Err(Problem::new(412, "changed", text))
}

/// Whether a change is on condition.
pub(super) fn is_conditional(headers: &HeaderMap) -> bool {
    headers.contains_key(header::IF_MATCH)
}

/// Tell of it in the API's description.
pub(super) fn describe(operation: &mut Value) {
    let Some(good) = operation.pointer_mut("/responses/200") else {
        return;
    };
    if good.pointer("/content/text~1event-stream").is_some() {
        return;
    }
    if let Some(good) = good.as_object_mut() {
        let tag =
            json!({ "description": "A strong tag of this answer", "schema": { "type": "string" } });
        good.insert("headers".to_owned(), json!({ "ETag": tag }));
    }
    let same = json!({ "description": "It is what `If-None-Match` names" });
    if let Some(responses) = operation
        .get_mut("responses")
        .and_then(Value::as_object_mut)
    {
        responses.insert("304".to_owned(), same);
    }
    let name = json!({
        "name": "If-None-Match", "in": "header", "required": false, "schema": { "type": "string" },
        "description": "Tags of answers that you have: one of them again is answered 304, without the answer",
    });
    if let Some(parameters) = operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut)
    {
        parameters.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::IF_MATCH, line.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_change_on_condition_is_held_against_what_is_read_now() {
        let tag = of(b"{\"a\":1}");
        let now = json!({ "a": 1 });
        let listed = format!("\"x\", {tag}");
        for good in [&[tag.as_str()][..], &["\"x\"", &tag], &[&listed], &["*"]] {
            unchanged(&headers(good), &now).unwrap();
        }
        let weak = format!("W/{tag}");
        let bare = tag.trim_matches('"').to_owned();
        for bad in ["\"x\"", &weak, &bare, ""] {
            let refused = unchanged(&headers(&[bad]), &now).unwrap_err();
            assert_eq!((refused.status, refused.code.as_str()), (412, "changed"));
        }
        assert!(unchanged(&headers(&[&tag]), &json!({ "a": 2 })).is_err());
    }

    #[test]
    fn a_weak_tag_spares_a_read() {
        let tag = of(b"x");
        let weak = headers(&[&format!("W/{tag}")]);
        assert!(has(&weak, header::IF_MATCH, &tag, true));
    }
}
