//! Standing yeses: list, and end before their time.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{delete, get};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Parts;
use super::api::{Asker, Params, Problem};
use crate::approval::GrantView;
use crate::call::FunctionId;
use crate::policy::{PersonAction, PersonResource};
use crate::record::{Event, Who};

/// What to list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantsQuery {
    /// Also those that are used up, ended or past their time.
    #[serde(default)]
    pub(super) all: bool,
}

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new()
        .route("/api/v1/grants", get(list))
        .route("/api/v1/grants/{id}", delete(end))
}

async fn list(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Params(query): Params<GrantsQuery>,
) -> Result<axum::Json<Vec<GrantView>>, Problem> {
    Ok(axum::Json(visible(&parts, &asker, !query.all).await?))
}

async fn end(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<http::StatusCode, Problem> {
    let grants = visible(&parts, &asker, true).await?;
    let none = || {
        Problem::new(
            404,
            "not_found",
            "no such grant that stands and that you may see",
        )
    };
    let grant = grants.into_iter().find(|grant| grant.id == id);
    let grant = grant.ok_or_else(none)?;
    if !is_own(&asker, &grant) {
        asker.may(&parts, PersonAction::Revoke, PersonResource::Gateway)?;
    }
    let house = parts.pipeline.parts();
    let event = Event::Revoked {
        who: Who::from(asker.who.as_ref()),
        target: "grant",
        content: serde_json::json!({ "grant": grant.id, "function": grant.function, "caller": grant.caller }),
    };
    let noted = house.record.note(event).await;
    noted.map_err(|error| Problem::new(503, "audit_unavailable", error.to_string()))?;
    let ended = house.approvals.end_grant(&id, &asker.who).await;
    match ended.map_err(|error| Problem::internal(&error))? {
        true => Ok(http::StatusCode::NO_CONTENT),
        false => Err(none()),
    }
}

/// Grants of one's own, of functions whose records one may read, and all for who may revoke.
async fn visible(parts: &Parts, asker: &Asker, standing: bool) -> Result<Vec<GrantView>, Problem> {
    let grants = parts.pipeline.parts().approvals.grants(standing).await;
    let mut grants = grants.map_err(|error| Problem::internal(&error))?;
    let revokes = asker.may(parts, PersonAction::Revoke, PersonResource::Gateway);
    grants.retain(|grant| {
        let reads = |function: FunctionId| {
            let resource = PersonResource::Function(&function);
            asker.may(parts, PersonAction::AuditRead, resource).is_ok()
        };
        revokes.is_ok() || is_own(asker, grant) || grant.function.parse().is_ok_and(reads)
    });
    Ok(grants)
}

fn is_own(asker: &Asker, grant: &GrantView) -> bool {
    grant.granter == asker.who.key().to_string()
}
