//! What all endpoints share: who asks, whether they may, and how a refusal looks.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::header;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Parts;
use super::cookie::{self, Cookie};
use super::refused::{Code, Known};
use super::session::{Deed, Session};
use crate::identity::{Plane, Principal, Rejection};
use crate::listener::Peer;
use crate::policy::{self, PersonAction, PersonFacts, PersonResource, Subject};

/// RFC 9457 problem details.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Problem {
    /// The status.
    pub(super) status: u16,
    /// A stable code.
    pub(super) code: String,
    /// One sentence.
    pub(super) detail: String,
}

impl Problem {
    pub(super) fn new(status: u16, code: &str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            detail: detail.into(),
        }
    }

    pub(super) fn internal(error: &impl std::fmt::Display) -> Self {
        tracing::error!(%error, "a console request failed");
        Self::new(
            500,
            "internal",
            "the gateway could not do this now; its log says why",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = http::StatusCode::from_u16(self.status)
            .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self)).into_response();
        response.extensions_mut().insert(Code(self.code.clone()));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/problem+json"),
        );
        if status == http::StatusCode::UNAUTHORIZED {
            // RFC 9470 names the one refusal that signing in again mends.
            let challenge = if self.code == "insufficient_user_authentication" {
                "Bearer realm=\"callgate-console\", error=\"insufficient_user_authentication\""
            } else {
                "Bearer realm=\"callgate-console\""
            };
            headers.insert(
                header::WWW_AUTHENTICATE,
                http::HeaderValue::from_static(challenge),
            );
        }
        response
    }
}

/// The header in which the console's pages show that a request is theirs.
pub(super) const CSRF: &str = "callgate-csrf";

/// The header by which the console's pages say that a person did something since they asked last.
const DEED: &str = "callgate-deed";

/// Who asks: verified for the console's audience by a token, or signed in with a session.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) who: Arc<Principal>,
    /// The session, of somebody who signed in.
    pub(super) session: Option<Session>,
    facts: PersonFacts,
}

/// A person with a session, for pages that bring the proof of an unsafe request in their form.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) asker: Asker,
    pub(super) session: Session,
}

impl FromRequestParts<Arc<Parts>> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(
        request: &mut http::request::Parts,
        parts: &Arc<Parts>,
    ) -> Result<Self, Problem> {
        let headers = &request.headers;
        let unsafe_method = !request.method.is_safe();
        if unsafe_method
            && headers.contains_key(header::ORIGIN)
            && !parts.site.is_from_here(headers)
        {
            return Err(elsewhere());
        }
        let facts = facts(request, parts)?;
        let (who, session) = if let Some(token) = bearer(headers) {
            let snapshot = parts.pipeline.snapshot();
            let verified = snapshot.identity.verify(token, Plane::Console).await;
            (
                verified.map_err(|rejection| unknown(parts, &rejection))?,
                None,
            )
        } else {
            let session = signed_in(headers, parts, deed(&request.method, headers))?;
            let shown = headers.get(CSRF).and_then(|shown| shown.to_str().ok());
            let shown = shown.is_some_and(|shown| session.is_shown(shown));
            if unsafe_method && !(shown && parts.site.is_from_here(headers)) {
                return Err(elsewhere());
            }
            (Arc::clone(&session.who), Some(session))
        };
        known(request, &who);
        Ok(Self {
            who,
            session,
            facts,
        })
    }
}

impl FromRequestParts<Arc<Parts>> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(
        request: &mut http::request::Parts,
        parts: &Arc<Parts>,
    ) -> Result<Self, Problem> {
        // Pages without a script ask for nothing by themselves.
        let session = signed_in(&request.headers, parts, Deed::Person)?;
        known(request, &session.who);
        if !request.method.is_safe() && !parts.site.is_from_here(&request.headers) {
            return Err(elsewhere());
        }
        let asker = Asker {
            who: Arc::clone(&session.who),
            session: Some(session.clone()),
            facts: facts(request, parts)?,
        };
        Ok(Self { asker, session })
    }
}

fn known(request: &http::request::Parts, who: &Arc<Principal>) {
    if let Some(known) = request.extensions.get::<Known>() {
        known.is(who);
    }
}

/// Unsafe requests are what people do, and so are those that a page says somebody caused; the rest a page
/// asks for by itself, and would do so all night.
fn deed(method: &http::Method, headers: &http::HeaderMap) -> Deed {
    if !method.is_safe() || headers.contains_key(DEED) {
        Deed::Person
    } else {
        Deed::Page
    }
}

fn bearer(headers: &http::HeaderMap) -> Option<&str> {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
}

/// The session of a request's cookie, as long as what it was opened with counts.
fn signed_in(headers: &http::HeaderMap, parts: &Parts, deed: Deed) -> Result<Session, Problem> {
    let Some(id) = cookie::read(headers, &parts.site, Cookie::Session) else {
        return Err(unknown(parts, &Rejection::Missing));
    };
    let over = || Problem::new(401, "session_over", "the session is over: sign in again");
    let session = parts.sessions.find(&id, deed).ok_or_else(over)?;
    let snapshot = parts.pipeline.snapshot();
    if let Err(rejection) = snapshot.identity.still_counts(&session.who) {
        parts.sessions.close(&id);
        return Err(unknown(parts, &rejection));
    }
    Ok(session)
}

fn facts(request: &http::request::Parts, parts: &Parts) -> Result<PersonFacts, Problem> {
    let source = request.extensions.get::<Peer>().map(Peer::ip);
    let source = source.ok_or_else(|| Problem::new(500, "internal", "the peer is unknown"))?;
    let at = parts.pipeline.parts().clock.now();
    Ok(PersonFacts { at, source })
}

fn elsewhere() -> Problem {
    let text = "this does not come from the console's own pages: nothing was done";
    Problem::new(403, "denied", text)
}

fn unknown(parts: &Parts, rejection: &Rejection) -> Problem {
    let record = &parts.pipeline.parts().record;
    record.refused_before_authentication(rejection.code());
    let status = if matches!(rejection.code(), "issuer_unavailable" | "state_unavailable") {
        503
    } else {
        401
    };
    let text = match rejection.code() {
        "unauthenticated" => "sign in, or send a bearer token for the console's audience",
        _ => rejection.public(),
    };
    Problem::new(status, rejection.code(), text)
}

impl Asker {
    /// Somebody who was proven by other means than a token or a session.
    pub(super) const fn proven(who: Arc<Principal>, facts: PersonFacts) -> Self {
        Self {
            who,
            session: None,
            facts,
        }
    }

    pub(super) const fn facts(&self) -> PersonFacts {
        self.facts
    }

    /// Whether policy permits this person to do this, for lists and buttons; an error is a no.
    pub(super) fn is_allowed(
        &self,
        parts: &Parts,
        action: PersonAction,
        resource: PersonResource<'_>,
    ) -> bool {
        let snapshot = parts.pipeline.snapshot();
        let subject = Subject::from(self.who.as_ref());
        let policies = &snapshot.policies;
        match policies.permits_person(&subject, action, resource, self.facts) {
            Ok(allowed) => allowed,
            // The action is none of this resource's: nobody has that right.
            Err(policy::Error::Request) => false,
            Err(error) => {
                tracing::error!(%error, action = action.as_str(), "a right could not be judged: no");
                false
            }
        }
    }

    /// Whether policy permits this person to do this.
    pub(super) fn may(
        &self,
        parts: &Parts,
        action: PersonAction,
        resource: PersonResource<'_>,
    ) -> Result<(), Problem> {
        let snapshot = parts.pipeline.snapshot();
        let subject = Subject::from(self.who.as_ref());
        match snapshot
            .policies
            .permits_person(&subject, action, resource, self.facts)
        {
            Ok(true) => Ok(()),
            Ok(false) => {
                let text = format!("policy does not permit you `{}` here", action.as_str());
                Err(Problem::new(403, "denied", text))
            }
            Err(error) => Err(Problem::internal(&error)),
        }
    }
}

/// A JSON body, or a problem that says what is wrong with it.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Parts>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, parts: &Arc<Parts>) -> Result<Self, Problem> {
        let read = axum::Json::<T>::from_request(request, parts).await;
        read.map(|body| Self(body.0)).map_err(|rejection| {
            let code = match rejection.status().as_u16() {
                413 => "too_large",
                415 => "unsupported_media_type",
                _ => "bad_request",
            };
            let status = if code == "bad_request" {
                400
            } else {
                rejection.status().as_u16()
            };
            Problem::new(status, code, rejection.body_text())
        })
    }
}

/// A query's parameters, or a problem that says what is wrong with them.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Parts>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(
        request: &mut http::request::Parts,
        _: &Arc<Parts>,
    ) -> Result<Self, Problem> {
        let read = Query::<T>::try_from_uri(&request.uri);
        read.map(|query| Self(query.0))
            .map_err(|rejection| Problem::new(400, "bad_request", rejection.body_text()))
    }
}

/// Whether calls are admitted.
pub(super) async fn ready(State(parts): State<Arc<Parts>>) -> Response {
    let admits = parts.pipeline.parts().record.health().blocked.is_none();
    let issuers = parts.pipeline.snapshot().identity.status();
    let issuers: Vec<_> = issuers
        .iter()
        .map(|issuer| serde_json::json!({ "alias": issuer.alias, "usable": issuer.usable }))
        .collect();
    let body = serde_json::json!({ "status": if admits { "ready" } else { "not_admitting" }, "issuers": issuers });
    let status = if admits {
        http::StatusCode::OK
    } else {
        http::StatusCode::SERVICE_UNAVAILABLE
    };
    (status, axum::Json(body)).into_response()
}

/// OpenMetrics text. Names from the config and numbers only.
pub(super) async fn metrics(State(parts): State<Arc<Parts>>) -> Response {
    let text = parts.pipeline.parts().metrics.encode();
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::{DEED, Deed, deed};

    #[test]
    fn what_a_page_asks_by_itself_is_no_deed_of_a_person() {
        let (none, mut some) = (HeaderMap::new(), HeaderMap::new());
        some.insert(DEED, HeaderValue::from_static("1"));
        assert_eq!(deed(&Method::GET, &none), Deed::Page);
        assert_eq!(deed(&Method::GET, &some), Deed::Person);
        assert_eq!(deed(&Method::POST, &none), Deed::Person);
    }
}
