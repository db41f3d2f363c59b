//! What all endpoints share: who asks, whether they may, and how a refusal looks.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::header;
use schemars::JsonSchema;
use serde::Serialize;

use super::Parts;
use crate::identity::{Plane, Principal, Rejection};
use crate::listener::Peer;
use crate::policy::{PersonAction, PersonFacts, PersonResource, Subject};

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

/// Who asks: verified for the console's audience.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) who: Arc<Principal>,
    facts: PersonFacts,
}

impl FromRequestParts<Arc<Parts>> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(
        request: &mut http::request::Parts,
        parts: &Arc<Parts>,
    ) -> Result<Self, Problem> {
        let token = request
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let snapshot = parts.pipeline.snapshot();
        let verified = match token {
            Some(token) => snapshot.identity.verify(token, Plane::Console).await,
            None => Err(Rejection::Missing),
        };
        let who = verified.map_err(|rejection| {
            parts
                .pipeline
                .parts()
                .record
                .refused_before_authentication(rejection.code());
            let status = if rejection.code() == "issuer_unavailable" {
                503
            } else {
                401
            };
            Problem::new(status, rejection.code(), rejection.public())
        })?;
        let source = request.extensions.get::<Peer>().map(Peer::ip);
        let source = source.ok_or_else(|| Problem::new(500, "internal", "the peer is unknown"))?;
        let at = parts.pipeline.parts().clock.now();
        Ok(Self {
            who,
            facts: PersonFacts { at, source },
        })
    }
}

impl Asker {
    pub(super) const fn facts(&self) -> PersonFacts {
        self.facts
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
