//! Recorded calls: list, one with its whole story, played back, and its proof.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Parts;
use super::api::{Asker, Params, Problem};
use super::evidence::{May, Wanted, signed_at};
use crate::call::CallId;
use crate::clock::Timestamp;
use crate::evidence::Bundle;
use crate::policy::{PersonAction, PersonResource};
use crate::record::{
    CallSummary, Cursor, Disclose, Entry, Filter, Group, Reading, Replayed, ReplayedPart,
};

/// Calls on one page unless fewer are asked for.
const PAGE_DEFAULT: usize = 50;
/// Most calls on one page.
const PAGE_MAX: usize = 200;
/// Longest filter, in bytes.
pub(super) const FILTER_BYTES_MAX: usize = 512;
/// Farthest back, in seconds: a century.
pub(super) const SECONDS_MAX: u64 = 100 * 366 * 24 * 60 * 60;

/// Which calls.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CallsQuery {
    /// Only this function.
    pub(super) function: Option<String>,
    /// Only functions of this connection.
    pub(super) connection: Option<String>,
    /// Only this caller: `alias/subject`.
    pub(super) principal: Option<String>,
    /// Only this outcome.
    pub(super) outcome: Option<String>,
    /// Only of the last so many seconds.
    pub(super) last_s: Option<u64>,
    /// Only calls of functions that nobody declared.
    #[serde(default)]
    pub(super) unknown: bool,
    /// Only calls that ran because their caller broke the glass.
    #[serde(default)]
    pub(super) break_glass: bool,
    /// Where the page begins: `next` of the page before.
    pub(super) cursor: Option<String>,
    /// Calls on the page.
    pub(super) limit: Option<usize>,
}

/// One call in a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct CallView {
    /// Its id.
    pub(super) call: String,
    /// When it was first recorded, RFC 3339.
    pub(super) at: String,
    /// The function; absent when nobody declared it.
    pub(super) function: Option<String>,
    /// Issuer alias of the caller.
    pub(super) issuer: String,
    /// The caller; absent when the keys to know it are gone.
    pub(super) subject: Option<String>,
    /// The caller's pseudonym in the log.
    pub(super) subject_ref: String,
    /// `human`, `workload` or `agent`.
    pub(super) principal_kind: String,
    /// How it ended: `ok`, `denied`, `pending`, `open`, ….
    pub(super) outcome: String,
    /// The refusal's code.
    pub(super) reason: Option<String>,
    /// Status released to the caller.
    pub(super) status: Option<u64>,
    /// The approval that it waited for.
    pub(super) approval: Option<String>,
    /// Whether it ran because its caller broke the glass.
    pub(super) break_glass: bool,
    /// Masked values by data class.
    pub(super) masked: BTreeMap<String, u64>,
    /// Milliseconds from receipt to the end.
    pub(super) total_ms: Option<u64>,
    /// What was tried, of a function that nobody declared.
    pub(super) tried: Option<Value>,
}

/// A page of calls, newest first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct CallsPage {
    /// The calls.
    pub(super) calls: Vec<CallView>,
    /// Give this as `cursor` for the next page; absent on the last one.
    pub(super) next: Option<String>,
}

/// One record of a call.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct RecordView {
    /// Its index in the log.
    pub(super) index: u64,
    /// Its kind (`call.begin`, `approval.vote`, …).
    pub(super) kind: String,
    /// Its fields.
    pub(super) fields: Value,
    /// Its exact text, which the log commits to.
    pub(super) text: String,
    /// What is sealed with it; absent without the right to replay, or without the keys.
    pub(super) content: Option<Value>,
}

/// Whether the log's signed head covers a call.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Covered {
    /// Whether the newest signed head covers all its records.
    pub(super) covered: bool,
    /// Records under that head.
    pub(super) head_size: Option<u64>,
    /// When it was signed, RFC 3339.
    pub(super) head_at: Option<String>,
}

/// Everything about one call.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct CallDetail {
    /// In short.
    pub(super) summary: CallView,
    /// Its records, in order.
    pub(super) records: Vec<RecordView>,
    /// Whether a proof can be had.
    pub(super) proof: Covered,
    /// Whether you may see what was sent and released.
    pub(super) may_replay: bool,
}

/// Something that was committed to, played back.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct PartView {
    /// The kept bytes as text, where they are UTF-8.
    pub(super) text: Option<String>,
    /// The kept bytes in base64, where they are not.
    pub(super) base64: Option<String>,
    /// How many were kept.
    pub(super) kept_bytes: u64,
    /// How many there were; absent when the record does not say.
    pub(super) total_bytes: Option<u64>,
    /// Why not all were kept.
    pub(super) cut: Option<String>,
    /// Whether they match the record's commitment; absent when that cannot be told.
    pub(super) verified: Option<bool>,
}

/// What went up and what was released.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct ReplayView {
    /// Whether everything that can be checked matches its commitment.
    pub(super) verified: bool,
    /// Whether content is missing.
    pub(super) truncated: bool,
    /// Method, target and headers as they went up, JSON.
    pub(super) request_head: PartView,
    /// The request's body.
    pub(super) request_body: PartView,
    /// The policy request, JSON.
    pub(super) context: PartView,
    /// Status and headers as released, JSON.
    pub(super) released_head: PartView,
    /// The body as released.
    pub(super) released_body: PartView,
    /// Trailers as released, JSON.
    pub(super) trailers: PartView,
    /// When parts of the released body were released; empty for an answer in one go.
    pub(super) times: Vec<TimeView>,
}

/// A part of a body that was released at one time.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct TimeView {
    /// Milliseconds from the call's begin.
    pub(super) at_ms: u64,
    /// Bytes of the captured body.
    pub(super) bytes: u64,
}

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new()
        .route("/api/v1/calls", get(list))
        .route("/api/v1/calls/{id}", get(show))
        .route("/api/v1/calls/{id}/replay", get(replay))
        .route("/api/v1/calls/{id}/proof", get(prove))
        .route("/api/v1/calls/{id}/evidence", get(bundle))
}

async fn list(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Params(query): Params<CallsQuery>,
) -> Result<axum::Json<CallsPage>, Problem> {
    let may = May::of(&parts, &asker, PersonAction::AuditRead);
    if !may.anything() {
        let text = "policy does not permit you `audit.read` on any function or on the gateway";
        return Err(Problem::new(403, "denied", text));
    }
    let wanted = wanted(&query, parts.pipeline.parts().clock.now())?;
    let content = json!({
        "function": query.function, "connection": query.connection, "principal": query.principal,
        "outcome": query.outcome, "unknown": query.unknown, "break_glass": query.break_glass,
    });
    let evidence = &parts.evidence;
    evidence
        .on_record(&parts, &asker, Reading::List, None, content)
        .await?;
    let page = evidence.list(&parts, wanted, may).await?;
    Ok(axum::Json(CallsPage {
        calls: page.calls.into_iter().map(view).collect(),
        next: page.next.map(|next| next.to_string()),
    }))
}

/// What of the list a query wants.
pub(super) fn wanted(query: &CallsQuery, now: Timestamp) -> Result<Wanted, Problem> {
    let bad = |text: &str| Problem::new(400, "bad_request", text);
    let texts = [
        &query.function,
        &query.connection,
        &query.principal,
        &query.outcome,
    ];
    if texts
        .into_iter()
        .flatten()
        .any(|text| text.len() > FILTER_BYTES_MAX)
    {
        return Err(bad("a filter is longer than 512 bytes"));
    }
    let principal = match query.principal.as_deref().map(|text| text.split_once('/')) {
        Some(Some((issuer, subject))) => Some((issuer.to_owned(), subject.to_owned())),
        Some(None) => return Err(bad("`principal` is written `alias/subject`")),
        None => None,
    };
    let cursor = match query.cursor.as_deref().map(str::parse::<Cursor>) {
        Some(Ok(cursor)) => Some(cursor),
        Some(Err(_)) => return Err(bad("`cursor` is the `next` of a page, unchanged")),
        None => None,
    };
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if limit == 0 || limit > PAGE_MAX {
        return Err(bad("`limit` is between 1 and 200"));
    }
    if query.last_s.is_some_and(|seconds| seconds > SECONDS_MAX) {
        return Err(bad(
            "`last_s` is at most a century: leave it out for all calls",
        ));
    }
    let since = query.last_s.map(|seconds| {
        let back = seconds.saturating_mul(1_000_000_000);
        Timestamp::from_nanos(now.nanos().saturating_sub(back))
    });
    Ok(Wanted {
        filter: Filter {
            function: query.function.clone(),
            connection: query.connection.clone(),
            principal,
            outcome: query.outcome.clone(),
            since,
            unknown: query.unknown,
            break_glass: query.break_glass,
            ..Filter::default()
        },
        cursor,
        limit,
    })
}

fn id(text: &str) -> Result<CallId, Problem> {
    text.parse().map_err(|_| nothing())
}

fn nothing() -> Problem {
    Problem::new(404, "not_found", "no such call that you may see")
}

/// A call's function, if this person may see it.
async fn look(
    parts: &Parts,
    asker: &Asker,
    call: CallId,
    action: PersonAction,
) -> Result<(), Problem> {
    let may = May::of(parts, asker, action);
    let reads = May::of(parts, asker, PersonAction::AuditRead);
    if !may.anything() && !reads.anything() {
        // The log is not opened for somebody who may see nothing of it.
        return Err(nothing());
    }
    let function = parts
        .evidence
        .read(parts, move |trail| Ok(trail.show(call)?.summary.function))
        .await?;
    if may.read(function.as_deref()) {
        return Ok(());
    }
    if action != PersonAction::AuditRead && reads.read(function.as_deref()) {
        let text = format!("policy does not permit you `{}` here", action.as_str());
        Err(Problem::new(403, "denied", text))
    } else {
        Err(nothing())
    }
}

async fn show(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Path(text): Path<String>,
) -> Result<axum::Json<CallDetail>, Problem> {
    let call = id(&text)?;
    look(&parts, &asker, call, PersonAction::AuditRead).await?;
    parts
        .evidence
        .on_record(&parts, &asker, Reading::Show, Some(call), Value::Null)
        .await?;
    let replays = look(&parts, &asker, call, PersonAction::AuditReplay)
        .await
        .is_ok();
    let (story, head) = parts
        .evidence
        .read(&parts, move |trail| Ok((trail.show(call)?, trail.head()?)))
        .await?;
    let last = story.entries.last().map_or(0, |entry| entry.index);
    Ok(axum::Json(CallDetail {
        summary: view(story.summary),
        records: story
            .entries
            .into_iter()
            .map(|entry| record(entry, replays))
            .collect(),
        proof: Covered {
            covered: head.as_ref().is_some_and(|head| head.size > last),
            head_size: head.as_ref().map(|head| head.size),
            head_at: head.and_then(|head| signed_at(&parts, head.size)),
        },
        may_replay: replays,
    }))
}

fn record(entry: Entry, replays: bool) -> RecordView {
    RecordView {
        index: entry.index,
        kind: entry.kind,
        fields: entry.fields,
        text: entry.text,
        content: entry.content.filter(|_| replays),
    }
}

async fn replay(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Path(text): Path<String>,
) -> Result<axum::Json<ReplayView>, Problem> {
    let call = id(&text)?;
    look(&parts, &asker, call, PersonAction::AuditReplay).await?;
    parts
        .evidence
        .on_record(&parts, &asker, Reading::Replay, Some(call), Value::Null)
        .await?;
    let replayed = parts
        .evidence
        .read(&parts, move |trail| trail.replay(call))
        .await?;
    Ok(axum::Json(replay_view(&replayed)))
}

async fn prove(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Path(text): Path<String>,
) -> Result<Response, Problem> {
    let call = id(&text)?;
    look(&parts, &asker, call, PersonAction::AuditRead).await?;
    parts
        .evidence
        .on_record(&parts, &asker, Reading::Prove, Some(call), Value::Null)
        .await?;
    let proof = parts
        .evidence
        .read(&parts, move |trail| trail.prove(call))
        .await?;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(CONTENT_TYPE, plain)], proof).into_response())
}

/// What of the evidence is wanted.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EvidenceQuery {
    /// With what was sent and released, and who it was.
    #[serde(default)]
    pub(super) content: bool,
}

/// The evidence of a call as an archive that verifies offline. Content needs the right to replay, the
/// policies in force that to read policies.
async fn bundle(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Path(text): Path<String>,
    Params(query): Params<EvidenceQuery>,
) -> Result<Response, Problem> {
    let call = id(&text)?;
    let (action, disclose) = if query.content {
        (PersonAction::AuditReplay, Disclose::Content)
    } else {
        (PersonAction::AuditRead, Disclose::Nothing)
    };
    look(&parts, &asker, call, action).await?;
    let about = json!({ "format": "evidence", "content": query.content });
    parts
        .evidence
        .on_record(&parts, &asker, Reading::Export, Some(call), about)
        .await?;
    let policies = asker.is_allowed(&parts, PersonAction::PolicyRead, PersonResource::Gateway);
    let made = parts
        .evidence
        .read(&parts, move |trail| {
            let mut gathered = trail.gather(call, disclose)?;
            gathered.policies = gathered.policies.filter(|_| policies);
            Ok(Bundle::make(&gathered))
        })
        .await?;
    let archive = made
        .map_err(|fault| Problem::internal(&fault))?
        .to_archive();
    let name = format!("attachment; filename=\"evidence-{call}.tar\"");
    let name = HeaderValue::try_from(name).map_err(|error| Problem::internal(&error))?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/x-tar")),
        (CONTENT_DISPOSITION, name),
    ];
    Ok((headers, archive).into_response())
}

pub(super) fn view(summary: CallSummary) -> CallView {
    CallView {
        call: summary.call.to_string(),
        at: summary.at.to_string(),
        function: summary.function,
        issuer: summary.issuer,
        subject: summary.subject,
        subject_ref: summary.subject_ref,
        principal_kind: summary.principal_kind,
        outcome: summary.outcome,
        reason: summary.reason,
        status: summary.status,
        approval: summary.approval,
        break_glass: summary.break_glass,
        masked: summary.masked,
        total_ms: summary.total_ms,
        tried: summary.tried,
    }
}

fn replay_view(replayed: &Replayed) -> ReplayView {
    ReplayView {
        verified: replayed.verified(),
        truncated: replayed.truncated(),
        request_head: part(&replayed.request_head),
        request_body: part(&replayed.request_body),
        context: part(&replayed.context),
        released_head: part(&replayed.released_head),
        released_body: part(&replayed.released_body),
        trailers: part(&replayed.trailers),
        times: replayed.times.iter().map(time).collect(),
    }
}

const fn time(group: &Group) -> TimeView {
    TimeView {
        at_ms: group.at_ms,
        bytes: group.bytes,
    }
}

fn part(part: &ReplayedPart) -> PartView {
    let text = std::str::from_utf8(&part.bytes).ok().map(str::to_owned);
    let base64 = text.is_none().then(|| STANDARD.encode(&part.bytes));
    PartView {
        text,
        base64,
        kept_bytes: part.bytes.len() as u64,
        total_bytes: part.total,
        cut: part.cut.clone(),
        verified: part.verified,
    }
}
