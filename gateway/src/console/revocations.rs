//! Revocations: shut out a principal, issuer, token, connection or approval, and let in again.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{delete, get};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Parts;
use super::api::{Asker, Body, Problem};
use crate::policy::{PersonAction, PersonResource};
use crate::record::{Event, Who};
use crate::store::{self, REVOCATION_TEXT_BYTES_MAX, Reach, Revocation, Revoked};

/// Whom or what to shut out.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub(super) enum Target {
    /// A principal.
    Principal {
        /// Issuer alias.
        #[schemars(length(min = 1, max = 1024))]
        issuer: String,
        /// Subject.
        #[schemars(length(min = 1, max = 1024))]
        subject: String,
    },
    /// Everybody of an issuer.
    Issuer {
        /// Issuer alias.
        #[schemars(length(min = 1, max = 1024))]
        issuer: String,
    },
    /// One token.
    Token {
        /// Issuer alias.
        #[schemars(length(min = 1, max = 1024))]
        issuer: String,
        /// `jti`.
        #[schemars(length(min = 1, max = 1024))]
        id: String,
    },
    /// One token, by the SHA-256 of its text, hexadecimal.
    TokenHash {
        /// The hash.
        #[schemars(length(min = 1, max = 1024))]
        sha256: String,
    },
    /// A connection, for everybody.
    Connection {
        /// Its name.
        #[schemars(length(min = 1, max = 1024))]
        name: String,
    },
    /// One approval.
    Approval {
        /// Its id.
        #[schemars(length(min = 1, max = 1024))]
        id: String,
    },
}

/// A new revocation.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRevocation {
    /// Whom or what.
    pub(super) target: Target,
    /// Why, for the record; at most 1024 bytes.
    #[schemars(length(min = 1, max = 1024))]
    pub(super) reason: String,
    /// For how many seconds; absent: until it is lifted.
    #[serde(default)]
    pub(super) for_s: Option<u64>,
}

/// A revocation in force.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct RevocationView {
    /// Its id, for lifting it.
    pub(super) id: String,
    /// Whom or what.
    pub(super) target: Target,
    /// Why.
    pub(super) reason: String,
    /// Who revoked.
    pub(super) by: String,
    /// Since when.
    pub(super) at: String,
    /// Until when; absent: until it is lifted.
    pub(super) until: Option<String>,
}

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new()
        .route("/api/v1/revocations", get(list).post(revoke))
        .route("/api/v1/revocations/{id}", delete(lift))
}

async fn list(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
) -> Result<axum::Json<Vec<RevocationView>>, Problem> {
    asker.may(&parts, PersonAction::Revoke, PersonResource::Gateway)?;
    let now = parts.pipeline.parts().clock.now();
    let (_, rows) = parts
        .store
        .revocations(now)
        .await
        .map_err(|error| Problem::internal(&error))?;
    Ok(axum::Json(rows.into_iter().map(view).collect()))
}

async fn revoke(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Body(body): Body<NewRevocation>,
) -> Result<axum::Json<RevocationView>, Problem> {
    asker.may(&parts, PersonAction::Revoke, PersonResource::Gateway)?;
    let house = parts.pipeline.parts();
    let at = house.clock.now();
    let what = revoked(&body.target);
    // Before it is on the record: what cannot be kept must not stand there as done.
    let (_, issuer, value) = what.parts();
    for (name, text) in [
        ("reason", Some(body.reason.as_str())),
        ("target.issuer", issuer),
        ("target", Some(value)),
    ] {
        fits(name, text)?;
    }
    let event = Event::Revoked {
        who: Who::from(asker.who.as_ref()),
        target: what.parts().0,
        content: serde_json::json!({ "target": body.target, "reason": body.reason }),
    };
    house
        .record
        .note(event)
        .await
        .map_err(|error| Problem::new(503, "audit_unavailable", error.to_string()))?;
    let row = Revocation {
        id: crate::call::CallId::new(at).to_string(),
        what: what.clone(),
        reach: Reach::Lock,
        reason: body.reason,
        by: asker.who.key().to_string(),
        at,
        until: body
            .for_s
            .map(|seconds| at.plus(std::time::Duration::from_secs(seconds))),
    };
    let kept = parts.store.revoke(row.clone()).await;
    kept.map_err(|error| failed(&error))?;
    // In force in this process at once; the store's view follows within a second.
    house
        .approvals
        .revoked(&what)
        .await
        .map_err(|error| Problem::internal(&error))?;
    Ok(axum::Json(view(row)))
}

fn fits(name: &str, text: Option<&str>) -> Result<(), Problem> {
    let length = text.map_or(1, str::len);
    if (1..=REVOCATION_TEXT_BYTES_MAX).contains(&length) {
        return Ok(());
    }
    let text = format!(
        "`{name}` is needed, and at most {REVOCATION_TEXT_BYTES_MAX} bytes long: nothing was revoked"
    );
    Err(Problem::new(400, "bad_request", text))
}

fn failed(error: &store::Error) -> Problem {
    if matches!(error, store::Error::Full(_)) {
        let text = "the list of revocations is full, and nothing was revoked: lift those that are not \
            needed any more";
        return Problem::new(409, "conflict", text);
    }
    Problem::internal(error)
}

async fn lift(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<http::StatusCode, Problem> {
    asker.may(&parts, PersonAction::Revoke, PersonResource::Gateway)?;
    let house = parts.pipeline.parts();
    let now = house.clock.now();
    let (_, rows) = parts
        .store
        .revocations(now)
        .await
        .map_err(|error| Problem::internal(&error))?;
    let row = rows.into_iter().find(|row| row.id == id);
    let row = row.ok_or_else(|| Problem::new(404, "not_found", "no such revocation"))?;
    let event = Event::Lifted {
        who: Who::from(asker.who.as_ref()),
        target: row.what.parts().0,
        content: serde_json::json!({ "revocation": id }),
    };
    house
        .record
        .note(event)
        .await
        .map_err(|error| Problem::new(503, "audit_unavailable", error.to_string()))?;
    parts
        .store
        .lift(&id, now)
        .await
        .map_err(|error| Problem::internal(&error))?;
    Ok(http::StatusCode::NO_CONTENT)
}

fn revoked(target: &Target) -> Revoked {
    match target.clone() {
        Target::Principal { issuer, subject } => Revoked::Principal { issuer, subject },
        Target::Issuer { issuer } => Revoked::Issuer(issuer),
        Target::Token { issuer, id } => Revoked::Token { issuer, id },
        Target::TokenHash { sha256 } => Revoked::TokenHash(sha256),
        Target::Connection { name } => Revoked::Connection(name),
        Target::Approval { id } => Revoked::Approval(id),
    }
}

fn view(row: Revocation) -> RevocationView {
    let target = match row.what {
        Revoked::Principal { issuer, subject } => Target::Principal { issuer, subject },
        Revoked::Issuer(issuer) => Target::Issuer { issuer },
        Revoked::Token { issuer, id } => Target::Token { issuer, id },
        Revoked::TokenHash(sha256) => Target::TokenHash { sha256 },
        Revoked::Connection(name) => Target::Connection { name },
        Revoked::Approval(id) => Target::Approval { id },
    };
    RevocationView {
        id: row.id,
        target,
        reason: row.reason,
        by: row.by,
        at: row.at.to_string(),
        until: row.until.map(|until| until.to_string()),
    }
}
