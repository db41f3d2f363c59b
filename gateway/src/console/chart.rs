//! How calls went over time, as numbers to draw: by outcome, and how long they took.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Parts;
use super::api::{Asker, Params, Problem};
use super::calls::{CallsQuery, wanted};
use super::evidence::{May, Wanted};
use crate::clock::Timestamp;
use crate::policy::PersonAction;
use crate::record::{CallSummary, Reading};

/// Columns of a chart.
const COLUMNS: u64 = 48;
/// The newest calls that are looked at.
const CALLS_MAX: usize = 5_000;
/// How far back unless said otherwise, in seconds: a day.
const SPAN_S_DEFAULT: u64 = 24 * 60 * 60;
/// Farthest back, in seconds: 30 days.
pub(super) const SPAN_S_MAX: u64 = 30 * 24 * 60 * 60;

/// Which calls.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChartQuery {
    /// Only this function.
    pub(super) function: Option<String>,
    /// How far back, in seconds: a day unless said otherwise, at most 30 days.
    pub(super) last_s: Option<u64>,
}

/// Calls of one stretch of time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub(super) struct ColumnView {
    /// How many ended in each way.
    pub(super) outcomes: BTreeMap<String, u64>,
    /// Half of those that ended without waiting for people took at most so many milliseconds.
    pub(super) p50_ms: Option<u64>,
    /// 95 of 100 of them took at most so many.
    pub(super) p95_ms: Option<u64>,
}

/// Calls over time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub(super) struct ChartView {
    /// When the first column begins, RFC 3339.
    pub(super) from: String,
    /// How long a column is, in seconds.
    pub(super) step_s: u64,
    /// Columns, oldest first.
    pub(super) columns: Vec<ColumnView>,
    /// How many calls were looked at: the newest, at most 5000.
    pub(super) looked_at: u64,
    /// Whether they are all calls of that time; if not, the oldest columns say too little.
    pub(super) complete: bool,
}

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new().route("/api/v1/calls/chart", get(chart))
}

async fn chart(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Params(query): Params<ChartQuery>,
) -> Result<axum::Json<ChartView>, Problem> {
    let may = May::of(&parts, &asker, PersonAction::AuditRead);
    if !may.anything() {
        let text = "policy does not permit you `audit.read` on any function or on the gateway";
        return Err(Problem::new(403, "denied", text));
    }
    let span_s = query.last_s.unwrap_or(SPAN_S_DEFAULT);
    if !(COLUMNS..=SPAN_S_MAX).contains(&span_s) {
        let text = "`last_s` is between 48 and 2592000: 30 days";
        return Err(Problem::new(400, "bad_request", text));
    }
    let step_s = span_s / COLUMNS;
    let now = parts.pipeline.parts().clock.now();
    // Columns begin at whole steps, so that they stay where they are while time goes on.
    let end_s = (now.secs() / step_s + 1) * step_s;
    let from_s = end_s.saturating_sub(step_s * COLUMNS);
    let calls = CallsQuery {
        function: query.function.clone(),
        last_s: Some(now.secs().saturating_sub(from_s)),
        ..CallsQuery::default()
    };
    let wanted = Wanted {
        limit: CALLS_MAX,
        ..wanted(&calls, now)?
    };
    let content = json!({ "chart": true, "function": query.function });
    parts
        .evidence
        .on_record(&parts, &asker, Reading::List, None, content)
        .await?;
    let page = parts.evidence.list(&parts, wanted, may).await?;
    Ok(axum::Json(ChartView {
        from: Timestamp::from_secs(from_s).to_string(),
        step_s,
        columns: columns(&page.calls, from_s, step_s),
        looked_at: page.calls.len() as u64,
        complete: page.next.is_none(),
    }))
}

fn columns(calls: &[CallSummary], from_s: u64, step_s: u64) -> Vec<ColumnView> {
    let mut all: Vec<(ColumnView, Vec<u64>)> = Vec::new();
    all.resize_with(usize::try_from(COLUMNS).unwrap_or(0), Default::default);
    for call in calls {
        let at = call.at.secs().checked_sub(from_s).map(|s| s / step_s);
        let at = at.and_then(|at| usize::try_from(at).ok());
        let Some((column, took)) = at.and_then(|at| all.get_mut(at)) else {
            continue;
        };
        *column.outcomes.entry(call.outcome.clone()).or_default() += 1;
        // What waited for people says nothing of how quick the gateway and the function are.
        if call.approval.is_none() {
            took.extend(call.total_ms);
        }
    }
    let each = all.into_iter().map(|(mut column, mut took)| {
        took.sort_unstable();
        column.p50_ms = at_rank(&took, 50);
        column.p95_ms = at_rank(&took, 95);
        column
    });
    each.collect()
}

/// The value that so many of a hundred are not above.
fn at_rank(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::at_rank;

    #[test]
    fn ranks_are_of_values_that_were_measured() {
        assert_eq!(at_rank(&[], 50), None);
        assert_eq!(at_rank(&[7], 95), Some(7));
        assert_eq!(at_rank(&[1, 2, 3, 4], 50), Some(2));
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(
            (at_rank(&hundred, 50), at_rank(&hundred, 95)),
            (Some(50), Some(95))
        );
    }
}
