//! The catalogue: what can be called, what it does, and who was seen calling it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::Parts;
use super::api::{Asker, Problem};
use super::evidence::{May, Wanted};
use crate::policy::PersonAction;
use crate::record::{CallSummary, Filter, Reading};

/// The newest calls that are looked at.
const CALLS_MAX: usize = 5_000;
/// Unknown functions that are told.
const UNKNOWN_MAX: usize = 100;
/// Callers that are named for one function.
const CALLERS_MAX: usize = 20;

/// One function.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct FunctionView {
    /// `connection/name`.
    pub(super) id: String,
    /// The connection.
    pub(super) connection: String,
    /// `read`, `write` or `destructive`.
    pub(super) effect: String,
    /// One line about it.
    pub(super) summary: Option<String>,
    /// `on`, `observe` or `off`.
    pub(super) mask: String,
    /// Data classes that are found in its answers.
    pub(super) classes: Vec<String>,
    /// What the newest calls tell of it.
    pub(super) seen: Seen,
}

/// What the newest calls tell of a function.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(super) struct Seen {
    /// How many they are.
    pub(super) calls: u64,
    /// When the last one was, RFC 3339.
    pub(super) last_at: Option<String>,
    /// How many ended in each way.
    pub(super) outcomes: BTreeMap<String, u64>,
    /// Masked values by data class.
    pub(super) masked: BTreeMap<String, u64>,
    /// Who called, at most 20.
    pub(super) callers: Vec<String>,
    /// Half of the calls that ended took at most so many milliseconds.
    pub(super) median_ms: Option<u64>,
}

/// Something that was called and that nobody declared.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct UnknownView {
    /// What was tried: method and target.
    pub(super) tried: Value,
    /// How often.
    pub(super) calls: u64,
    /// When last, RFC 3339.
    pub(super) last_at: String,
}

/// The catalogue.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct FunctionsView {
    /// Functions in the config's order.
    pub(super) functions: Vec<FunctionView>,
    /// What was called and refused because nobody declared it, newest first.
    pub(super) unknown: Vec<UnknownView>,
    /// How many of the newest calls were looked at.
    pub(super) looked_at: u64,
}

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new().route("/api/v1/functions", get(list))
}

async fn list(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
) -> Result<axum::Json<FunctionsView>, Problem> {
    let may = May::of(&parts, &asker, PersonAction::AuditRead);
    if !may.anything() {
        let text = "policy does not permit you `audit.read` on any function or on the gateway";
        return Err(Problem::new(403, "denied", text));
    }
    let content = json!({ "catalogue": true });
    parts
        .evidence
        .on_record(&parts, &asker, Reading::List, None, content)
        .await?;
    let wanted = Wanted {
        filter: Filter::default(),
        cursor: None,
        limit: CALLS_MAX,
    };
    let page = parts.evidence.list(&parts, wanted, may.clone()).await?;
    let looked_at = page.calls.len() as u64;
    let (mut seen, unknown) = gather(&page.calls);
    let snapshot = parts.pipeline.snapshot();
    let mut functions = Vec::new();
    for connection in snapshot.connections.values() {
        for function in connection.catalogue.functions() {
            let id = function.id.to_string();
            if !may.read(Some(&id)) {
                continue;
            }
            let settings = connection.upstream.mask(&function.id);
            let classes = settings.map_or(&[][..], |settings| settings.classes());
            let mask = settings.map_or("off", |settings| settings.mode().as_str());
            functions.push(FunctionView {
                connection: connection.name.as_str().to_owned(),
                effect: function.effect.as_str().to_owned(),
                summary: function.summary.clone(),
                mask: mask.to_owned(),
                classes: classes
                    .iter()
                    .map(|class| class.as_str().to_owned())
                    .collect(),
                seen: seen.remove(&id).unwrap_or_default(),
                id,
            });
        }
    }
    Ok(axum::Json(FunctionsView {
        functions,
        unknown,
        looked_at,
    }))
}

/// Calls, newest first, by function; and those of none.
fn gather(calls: &[CallSummary]) -> (BTreeMap<String, Seen>, Vec<UnknownView>) {
    let mut all: BTreeMap<String, (Seen, BTreeSet<String>, Vec<u64>)> = BTreeMap::new();
    let mut unknown: Vec<UnknownView> = Vec::new();
    for call in calls {
        let Some(function) = &call.function else {
            let Some(tried) = &call.tried else { continue };
            let known = unknown.iter_mut().find(|known| known.tried == *tried);
            if let Some(known) = known {
                known.calls += 1;
            } else if unknown.len() < UNKNOWN_MAX {
                unknown.push(UnknownView {
                    tried: tried.clone(),
                    calls: 1,
                    last_at: call.at.to_string(),
                });
            }
            continue;
        };
        let (seen, callers, took) = all.entry(function.clone()).or_default();
        seen.calls += 1;
        seen.last_at.get_or_insert_with(|| call.at.to_string());
        *seen.outcomes.entry(call.outcome.clone()).or_default() += 1;
        for (class, count) in &call.masked {
            *seen.masked.entry(class.clone()).or_default() += count;
        }
        let subject = call.subject.as_deref().unwrap_or(&call.subject_ref);
        if callers.len() < CALLERS_MAX {
            callers.insert(format!("{}/{subject}", call.issuer));
        }
        took.extend(call.total_ms);
    }
    let all = all
        .into_iter()
        .map(|(function, (mut seen, callers, mut took))| {
            seen.callers = callers.into_iter().collect();
            took.sort_unstable();
            seen.median_ms = took.get(took.len() / 2).copied();
            (function, seen)
        });
    (all.collect(), unknown)
}
