//! Standing yeses: list, and end before their time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{delete, get};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Parts;
use super::api::{Asker, Params, Problem};
use crate::approval::{GrantPage, GrantView};
use crate::call::FunctionId;
use crate::clock::Timestamp;
use crate::policy::{PersonAction, PersonResource};
use crate::record::{Event, Who};
use crate::store::GrantFilter;

/// Longest id in a place of the list.
const PLACE_BYTES_MAX: usize = 64;

/// What to list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantsQuery {
    /// Also those that are used up, ended or past their time.
    #[serde(default)]
    pub(super) all: bool,
    /// Only what comes behind: `next` of the page before.
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
        before: query.before.as_deref().map(place).transpose()?,
        ..GrantFilter::default()
    };
    let GrantPage { grants, next } = seen(&parts, &asker, filter).await?;
    let next = next.map(|(at, id)| format!("{}.{id}", at.millis()));
    Ok(axum::Json(GrantsPage { grants, next }))
}

/// Where a page begins: a time in milliseconds, a point, and the id of a grant, which may be gone.
fn place(text: &str) -> Result<(Timestamp, String), Problem> {
    let parts = text.split_once('.').filter(|(_, id)| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        id.len() <= PLACE_BYTES_MAX && id.bytes().all(plain)
    });
    let place = parts.and_then(|(ms, id)| {
        let nanos = ms.parse::<u64>().ok()?.checked_mul(1_000_000)?;
        Some((Timestamp::from_nanos(nanos), id.to_owned()))
    });
    place.ok_or_else(|| {
        let text = "`before` is not the `next` of a page: leave it away to begin with the newest";
        Problem::new(400, "bad_request", text)
    })
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
    let grant = seen(&parts, &asker, filter).await?.grants.pop();
    let none = || {
        Problem::new(
            404,
            "not_found",
            "no such grant that stands and that you may see",
        )
    };
    let grant = grant.ok_or_else(none)?;
    if !is_own(&asker, &grant.granter) {
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

/// Grants that this person may see: of one's own, of functions whose records one may read, and all for who may
/// revoke.
async fn seen(parts: &Parts, asker: &Asker, filter: GrantFilter) -> Result<GrantPage, Problem> {
    let revokes = asker.is_allowed(parts, PersonAction::Revoke, PersonResource::Gateway);
    let reads = |function: FunctionId| {
        let resource = PersonResource::Function(&function);
        asker.is_allowed(parts, PersonAction::AuditRead, resource)
    };
    // Many grants are of few functions: policy is asked once about each.
    let judged = Mutex::new(HashMap::<String, bool>::new());
    let reads = |function: &str| {
        let mut judged = judged.lock().unwrap_or_else(PoisonError::into_inner);
        let known = judged.get(function).copied();
        known.unwrap_or_else(|| {
            let may = function.parse().is_ok_and(reads);
            judged.insert(function.to_owned(), may);
            may
        })
    };
    let sees = |granter: &str, function: &str| revokes || is_own(asker, granter) || reads(function);
    let grants = parts.pipeline.parts().approvals.grants(filter, &sees).await;
    grants.map_err(|error| Problem::internal(&error))
}

fn is_own(asker: &Asker, granter: &str) -> bool {
    granter == asker.who.key().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_back_and_anything_else_is_told() {
        let at = Timestamp::from_nanos(1_700_000_000_123 * 1_000_000);
        let id = "grt_0a1b".to_owned();
        assert_eq!(place("1700000000123.grt_0a1b").unwrap(), (at, id));
        assert_eq!(place("1700000000123.").unwrap(), (at, String::new()));
        for wrong in [
            "",
            ".",
            "grt_0a1b",
            "1.a'b",
            "-1.a",
            "99999999999999999999.a",
            "18446744073709551.a",
        ] {
            assert_eq!(place(wrong).unwrap_err().status, 400, "{wrong}");
        }
    }
}
