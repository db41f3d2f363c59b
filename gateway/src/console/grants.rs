//! Standing yeses: list, and end before their time.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{delete, get};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Parts;
use super::api::{Asker, Params, Problem};
use crate::approval::GrantView;
use crate::call::FunctionId;
use crate::policy::{PersonAction, PersonResource};
use crate::record::{Event, Who};
use crate::store::{GRANTS_LIST_MAX, GrantFilter};

/// What to list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantsQuery {
    /// Also those that are used up, ended or past their time.
    #[serde(default)]
    pub(super) all: bool,
    /// Only older than this grant.
    #[serde(default)]
    pub(super) before: Option<String>,
}

/// A page of grants, newest first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct GrantsPage {
    /// Those that you may see.
    pub(super) grants: Vec<GrantView>,
    /// Give this as `before` for the next page; absent on the last one.
    pub(super) next: Option<String>,
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
) -> Result<axum::Json<GrantsPage>, Problem> {
    let filter = GrantFilter {
        standing: !query.all,
        before: query.before,
        ..GrantFilter::default()
    };
    let mut grants = found(&parts, filter).await?;
    let full = grants.len() == GRANTS_LIST_MAX as usize;
    let next = grants.last().filter(|_| full).map(|last| last.id.clone());
    grants.retain(|grant| sees(&parts, &asker, grant));
    Ok(axum::Json(GrantsPage { grants, next }))
}

async fn end(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<http::StatusCode, Problem> {
    let filter = GrantFilter {
        id: Some(id.clone()),
        standing: true,
        ..GrantFilter::default()
    };
    let grant = found(&parts, filter).await?.pop();
    let none = || {
        Problem::new(
            404,
            "not_found",
            "no such grant that stands and that you may see",
        )
    };
    let grant = grant.filter(|grant| sees(&parts, &asker, grant));
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

async fn found(parts: &Parts, filter: GrantFilter) -> Result<Vec<GrantView>, Problem> {
    let grants = parts.pipeline.parts().approvals.grants(filter).await;
    grants.map_err(|error| Problem::internal(&error))
}

/// Grants of one's own, of functions whose records one may read, and all for who may revoke.
fn sees(parts: &Parts, asker: &Asker, grant: &GrantView) -> bool {
    let reads = |function: FunctionId| {
        let resource = PersonResource::Function(&function);
        asker.may(parts, PersonAction::AuditRead, resource).is_ok()
    };
    let revokes = || asker.may(parts, PersonAction::Revoke, PersonResource::Gateway);
    is_own(asker, grant) || grant.function.parse().is_ok_and(reads) || revokes().is_ok()
}

fn is_own(asker: &Asker, grant: &GrantView) -> bool {
    grant.granter == asker.who.key().to_string()
}
