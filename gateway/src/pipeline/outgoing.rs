//! What must not be sent: a request that holds it is refused, or it is replaced before the request is decoded.

use http::header::{self, HeaderMap};

use super::edit::{Edit, Undecoded, edited};
use super::snapshot::Connection;
use crate::call::{Found, RequestBody};
use crate::gate::{Code, Refusal};
use crate::identity::Principal;
use crate::mask::{RequestFacts, RequestFault, RequestGuard, Rewriter};
use crate::telemetry::Metrics;

/// Put something else in place of what must not be sent. Cookies pass only where the config asks for it, and
/// are not searched.
pub(super) fn replace(
    (connection, who): (&Connection, &Principal),
    guards: &[&RequestGuard],
    mut request: Undecoded,
    mut found: Found,
    metrics: Option<&Metrics>,
) -> Result<(Undecoded, Found), Refusal> {
    for guard in guards.iter().filter(|guard| guard.rewrites()) {
        let mut rewriter = Rewriter::new(guard, &who.key().issuer, &who.key().subject);
        (request, found) = edited(connection, &mut rewriter, request, found)?;
        let counts = rewriter.finish();
        if let Some(metrics) = metrics {
            for (class, count) in &counts {
                metrics.replaced(connection.name.as_str(), class.as_str(), *count);
            }
        }
    }
    Ok((request, found))
}

/// Nothing that must not be sent stands in what is forwarded.
pub(super) fn searched(guard: &RequestGuard, request: &Undecoded) -> Result<(), Refusal> {
    let body = match &request.body {
        RequestBody::Bytes(bytes) => bytes.as_ref(),
        RequestBody::Empty => &[],
        // INVARIANT: what is to be searched is read whole.
        RequestBody::Stream(_) => {
            return Err(Refusal::new(
                Code::Internal,
                "NOT executed: the body was not held in memory",
            ));
        }
    };
    let values = request
        .headers
        .iter()
        .filter(|(name, _)| **name != header::COOKIE)
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let codings = codings(&request.headers)?;
    let facts = facts(request.target.as_str(), &request.headers, &codings, body);
    guard.check(&facts, values).map_err(|fault| told(&fault))
}

impl Edit for Rewriter<'_> {
    fn target(&mut self, target: &str) -> Result<Option<String>, Refusal> {
        Rewriter::target(self, target).map_err(|fault| told(&fault))
    }

    fn header(&mut self, name: &str, value: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        if name == header::COOKIE || name == header::CONTENT_LENGTH {
            return Ok(None);
        }
        Rewriter::header(self, name, value).map_err(|fault| told(&fault))
    }

    fn body(&mut self, headers: &HeaderMap, body: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let codings = codings(headers)?;
        let facts = facts("", headers, &codings, body);
        Rewriter::body(self, &facts).map_err(|fault| told(&fault))
    }

    fn unfit(&self, why: &str) -> Refusal {
        Refusal::new(
            Code::DataNotAllowed,
            format!("NOT executed: the request holds data that cannot be replaced there: {why}"),
        )
    }
}

fn facts<'a>(
    target: &'a str,
    headers: &'a HeaderMap,
    codings: &'a Option<String>,
    body: &'a [u8],
) -> RequestFacts<'a> {
    let content_type = headers.get(header::CONTENT_TYPE);
    RequestFacts {
        target,
        content_type: content_type.and_then(|value| value.to_str().ok()),
        content_encoding: codings.as_deref(),
        body,
    }
}

fn told(fault: &RequestFault) -> Refusal {
    Refusal::new(Code::DataNotAllowed, format!("NOT executed: {fault}"))
}

/// All codings of a body, in the order in which they were applied. A receiver joins the lines of a header
/// (RFC 9110 section 5.3), so a search must read them all.
fn codings(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut all: Option<String> = None;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let value = value.to_str().map_err(|_| {
            Refusal::new(
                Code::BadRequest,
                "NOT executed: the header `content-encoding` is not text",
            )
        })?;
        match &mut all {
            Some(all) => {
                all.push(',');
                all.push_str(value);
            }
            None => all = Some(value.to_owned()),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CONTENT_ENCODING;

    use super::*;

    #[test]
    fn a_body_is_searched_by_all_its_codings_not_by_the_first_line() {
        let mut headers = HeaderMap::new();
        assert_eq!(codings(&headers).unwrap(), None);
        headers.append(CONTENT_ENCODING, HeaderValue::from_static("identity"));
        headers.append(CONTENT_ENCODING, HeaderValue::from_static("deflate"));
        assert_eq!(
            codings(&headers).unwrap().as_deref(),
            Some("identity,deflate")
        );
        let strange = HeaderValue::from_bytes(b"gzip\xff").unwrap();
        headers.append(CONTENT_ENCODING, strange);
        assert_eq!(codings(&headers).unwrap_err().code, Code::BadRequest);
    }
}
