//! Messages that could not be delivered: list, try again, take off the list. Whoever does the latter two
//! stands on the audit record before it happens.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use schemars::JsonSchema;
use serde::Serialize;

use super::Parts;
use super::api::{Asker, Problem};
use crate::policy::{PersonAction, PersonResource};
use crate::record::{Event, Who};
use crate::store::Delivery;

/// A message that nobody tries to deliver any more.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct DeadView {
    /// Its id.
    pub(super) id: String,
    /// The channel.
    pub(super) channel: String,
    /// The approval that it is about.
    pub(super) approval: String,
    /// `approval.asked` or `approval.ended`.
    pub(super) event: String,
    /// When that happened, RFC 3339.
    pub(super) at: String,
    /// How often it was tried.
    pub(super) attempts: u32,
    /// Since when nobody tries, RFC 3339.
    pub(super) dead_since: String,
    /// What went wrong the last time.
    pub(super) failure: String,
}

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new()
        .route("/api/v1/deliveries/dead", get(list))
        .route("/api/v1/deliveries/dead/{id}", delete(discard))
        .route("/api/v1/deliveries/dead/{id}/retry", post(retry))
}

async fn list(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
) -> Result<axum::Json<Vec<DeadView>>, Problem> {
    asker.may(&parts, PersonAction::AuditRead, PersonResource::Gateway)?;
    let dead = parts.notifier.dead().await;
    let dead = dead.map_err(|error| Problem::internal(&error))?;
    Ok(axum::Json(dead.into_iter().map(view).collect()))
}

async fn retry(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<http::StatusCode, Problem> {
    on_record(&parts, &asker, "retry", &id).await?;
    found(parts.notifier.revive(&id).await)
}

async fn discard(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<http::StatusCode, Problem> {
    on_record(&parts, &asker, "discard", &id).await?;
    found(parts.notifier.discard(&id).await)
}

/// Whether this person may do this to that message, and on the record that they do.
async fn on_record(
    parts: &Parts,
    asker: &Asker,
    what: &'static str,
    id: &str,
) -> Result<(), Problem> {
    // Whoever gives a message up keeps people from learning of a call: reading is no right to that.
    asker.may(parts, PersonAction::Revoke, PersonResource::Gateway)?;
    let dead = parts.notifier.dead().await;
    let dead = dead.map_err(|error| Problem::internal(&error))?;
    let message = dead.into_iter().find(|delivery| delivery.id == id);
    let message = message.ok_or_else(none)?;
    let event = Event::Undelivered {
        who: Who::from(asker.who.as_ref()),
        what,
        approval: message.approval,
        content: serde_json::json!({ "message": message.id, "channel": message.channel }),
    };
    let noted = parts.pipeline.parts().record.note(event).await;
    noted.map_err(|error| Problem::new(503, "audit_unavailable", error.to_string()))?;
    Ok(())
}

fn none() -> Problem {
    Problem::new(404, "not_found", "no such undelivered message")
}

fn found(found: Result<bool, crate::store::Error>) -> Result<http::StatusCode, Problem> {
    match found {
        Ok(true) => Ok(http::StatusCode::NO_CONTENT),
        Ok(false) => Err(none()),
        Err(error) => Err(Problem::internal(&error)),
    }
}

fn view(delivery: Delivery) -> DeadView {
    DeadView {
        id: delivery.id,
        channel: delivery.channel,
        approval: delivery.approval,
        event: delivery.event,
        at: delivery.created.to_string(),
        attempts: delivery.attempts,
        dead_since: delivery.dead.map(|at| at.to_string()).unwrap_or_default(),
        failure: delivery.failure,
    }
}
