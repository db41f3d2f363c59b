//! Approvals for people: list, look, vote.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Parts;
use super::api::{Asker, Body, Params, Problem};
use super::etag;
use crate::approval::{
    self, ApprovalHead, ApprovalId, ApprovalView, Ballot, FunctionFigures, GrantNote, InClear,
    RuleView, Verdict, VoteError, VoteNote, Widening,
};
use crate::call::FunctionId;
use crate::identity::Method;
use crate::policy::{
    BreakGlass, GroupExpr, PersonAction, PersonResource, RuleHash, RuleTerms, StepUp, Subject,
};
use crate::record::{Event, Reading, Vote, Who};
use crate::store::{Filter, State as ApprovalState};

/// RFC 9470: the token is good, the sign-in behind it is not enough for this rule.
const INSUFFICIENT: &str = "insufficient_user_authentication";
/// Codes of refusals that another sign-in mends.
pub(super) const SIGN_IN_AGAIN: [&str; 2] = ["sign_in_again", INSUFFICIENT];
/// Most approvals on one page.
const PAGE_MAX: u32 = 100;

/// What to list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only this state, such as `pending`.
    #[serde(default)]
    pub(super) state: Option<String>,
    /// Only older than this approval.
    #[serde(default)]
    pub(super) before: Option<String>,
}

/// A page of approvals, newest first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Page {
    /// The approvals.
    pub(super) approvals: Vec<ApprovalHead>,
    /// Give this as `before` for the next page; absent on the last one.
    pub(super) next: Option<String>,
}

/// One person's answer to one approval rule.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VoteBody {
    /// The approval rule's hash, from the approval.
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    pub(super) rule: String,
    /// `yes` opens the rule; `no` is final; `break-glass` opens the rule for a call of your own, where the rule
    /// offers it, with a `reason`.
    pub(super) verdict: Verdict,
    /// Why, for the record and, on a no, for the caller; at most 2000 bytes.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    pub(super) reason: String,
    /// The digest that was shown: the vote counts for exactly that call.
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    pub(super) digest: String,
    /// Let the yes stand for later calls of the same caller to the same function as well, where the rule
    /// offers it.
    #[serde(default)]
    pub(super) grant: Option<GrantBody>,
}

/// For which later calls a yes stands: those with the same arguments, but for what is named here, by the
/// names in `shown.input`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantBody {
    /// For how many calls, at most the rule's `grant_uses_max`.
    pub(super) uses: u32,
    /// For how many seconds, at most the rule's `grant_within_max_s`.
    pub(super) within_s: u64,
    /// Arguments that may be anything, or missing.
    #[serde(default)]
    pub(super) any: Vec<String>,
    /// Arguments that are numbers, with the greatest value that they may have, as decimal text.
    #[serde(default)]
    pub(super) at_most: BTreeMap<String, String>,
}

/// One approval, and what whoever asks may do about it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct ApprovalPage {
    /// The approval.
    #[serde(flatten)]
    pub(super) approval: ApprovalView,
    /// Hashes of the rules that you may answer, as far as policy says; of the others you may see only.
    pub(super) may_decide: Vec<String>,
    /// Hashes of the rules whose glass you may break, because the call is your own.
    pub(super) may_break_glass: Vec<String>,
}

/// Which arguments of later calls may be otherwise.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PatternBody {
    /// Arguments that may be anything, or missing.
    #[serde(default)]
    pub(super) any: Vec<String>,
    /// Arguments that are numbers, with the greatest value that they may have, as decimal text.
    #[serde(default)]
    pub(super) at_most: BTreeMap<String, String>,
}

/// What a grant would cover.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct PatternView {
    /// The arguments in words, a line each, safe to show.
    pub(super) pattern: Vec<String>,
}

/// What a vote led to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Voted {
    /// The approval's state now.
    pub(super) state: String,
    /// The grant that the yes gave.
    pub(super) grant: Option<String>,
}

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new()
        .route("/api/v1/approvals", get(list))
        .route("/api/v1/approvals/figures", get(figures))
        .route("/api/v1/approvals/{id}", get(show))
        .route("/api/v1/approvals/{id}/votes", post(vote))
        .route("/api/v1/approvals/{id}/pattern", post(pattern))
}

async fn list(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Params(query): Params<ListQuery>,
) -> Result<axum::Json<Page>, Problem> {
    let states = match &query.state {
        Some(word) => {
            let state = ApprovalState::ALL
                .into_iter()
                .find(|state| state.as_str() == word);
            vec![state.ok_or_else(|| {
                Problem::new(400, "bad_request", "`state` is not a state of an approval")
            })?]
        }
        None => Vec::new(),
    };
    let filter = Filter {
        states,
        before: query.before,
        limit: PAGE_MAX,
        ..Filter::default()
    };
    let found = parts
        .pipeline
        .parts()
        .approvals
        .list(filter)
        .await
        .map_err(|error| failed(&error))?;
    let next = (found.len() == PAGE_MAX as usize)
        .then(|| found.last().map(|last| last.head.id.clone()))
        .flatten();
    let mut approvals = Vec::new();
    for one in found {
        if is_seen(&parts, &asker, &one).await {
            approvals.push(one.head);
        }
    }
    Ok(axum::Json(Page { approvals, next }))
}

async fn figures(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
) -> Result<axum::Json<Vec<FunctionFigures>>, Problem> {
    asker.may(&parts, PersonAction::AuditRead, PersonResource::Gateway)?;
    let figures = parts.pipeline.parts().approvals.figures().await;
    Ok(axum::Json(figures.map_err(|error| failed(&error))?))
}

async fn show(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<axum::Json<ApprovalPage>, Problem> {
    page(&parts, &asker, &id).await.map(axum::Json)
}

/// An approval as this person sees it; on the record first, where it must be.
async fn page(parts: &Parts, asker: &Asker, id: &str) -> Result<ApprovalPage, Problem> {
    let (id, view, function) = look(parts, asker, id).await?;
    seen(parts, asker, &view, &function).await?;
    let approvals = &parts.pipeline.parts().approvals;
    let approval = approvals.show_to_decide(&id).await;
    let approval = approval.map_err(|error| failed(&error))?;
    let rules = approval.rules.iter();
    let may_decide = rules
        .filter(|rule| may_decide(asker, parts, rule, &function))
        .map(|rule| rule.hash.clone())
        .collect();
    let rules = approval.rules.iter();
    let may_break_glass = rules
        .filter(|rule| may_break_glass(asker, parts, (&approval, rule), &function))
        .map(|rule| rule.hash.clone())
        .collect();
    Ok(ApprovalPage {
        approval,
        may_decide,
        may_break_glass,
    })
}

/// Nothing changes: what is shown here can be given with a vote.
async fn pattern(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Path(id): Path<String>,
    Body(body): Body<PatternBody>,
) -> Result<axum::Json<PatternView>, Problem> {
    let (id, view, function) = look(&parts, &asker, &id).await?;
    if !decides(&asker, &parts, &view, &function) {
        let text = "only who may answer one of its rules can widen a yes";
        return Err(Problem::new(403, "denied", text));
    }
    let approvals = &parts.pipeline.parts().approvals;
    let pattern = approvals.widened(&id, &body.any, &body.at_most).await;
    let pattern = pattern.map_err(|error| refused(&error))?;
    Ok(axum::Json(PatternView { pattern }))
}

async fn vote(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Path(id): Path<String>,
    headers: http::HeaderMap,
    Body(body): Body<VoteBody>,
) -> Result<axum::Json<Voted>, Problem> {
    if etag::is_conditional(&headers) {
        etag::unchanged(&headers, &page(&parts, &asker, &id).await?)?;
    }
    let (state, grant) = cast(&parts, &asker, &id, &body).await?;
    Ok(axum::Json(Voted {
        state: state.as_str().to_owned(),
        grant,
    }))
}

/// Cast a vote: on the record first, then counted.
pub(super) async fn cast(
    parts: &Parts,
    asker: &Asker,
    id: &str,
    body: &VoteBody,
) -> Result<(ApprovalState, Option<String>), Problem> {
    let (id, view, function) = look(parts, asker, id).await?;
    let widening = body.grant.clone().map(|grant| {
        let within = Duration::from_secs(grant.within_s);
        Widening::new(grant.any, grant.at_most, grant.uses, within)
    });
    let widening = widening.transpose().map_err(|error| failed(&error))?;
    let rule = view
        .rules
        .iter()
        .find(|rule| rule.hash == body.rule)
        .and_then(|rule| hash(&rule.hash));
    let rule =
        rule.ok_or_else(|| Problem::new(404, "not_found", "the approval has no such rule"))?;
    let call = view
        .call
        .parse()
        .map_err(|_| Problem::new(500, "internal", "the approval names no call"))?;
    let ballot = Ballot {
        approval: &id,
        rule: &rule,
        voter: &asker.who,
        verdict: body.verdict,
        reason: &body.reason,
        seen: Some(&body.digest),
        facts: asker.facts(),
        widen: widening.as_ref(),
    };
    let allowed = |rule: &RuleTerms| match body.verdict {
        Verdict::Yes | Verdict::No => allowed(asker, parts, rule, &function),
        Verdict::BreakGlass => may_break(asker, parts, rule, &function),
    };
    let record = &parts.pipeline.parts().record;
    let who = Who::from(asker.who.as_ref());
    let by = match asker.who.method() {
        Method::Jwt { .. } => None,
        Method::Slack { team, user, .. } => Some(format!("slack {team}/{user}")),
    };
    let on_record = |note: VoteNote| async move {
        let event = Event::ApprovalVoted {
            approval: note.approval.to_string(),
            call,
            rule: note.rule,
            who,
            vote: match note.verdict {
                Verdict::Yes => Vote::Allow,
                Verdict::No => Vote::Deny,
                Verdict::BreakGlass => Vote::BreakGlass,
            },
            binding: note.digest,
            grant: note.grant.as_ref().map(|grant| grant.id.clone()),
            content: serde_json::json!({ "reason": note.reason, "vote": note.vote,
                "grant": note.grant.as_ref().map(GrantNote::json), "by": by }),
        };
        record.note(event).await.map(|_| ())
    };
    let state = parts
        .pipeline
        .parts()
        .approvals
        .vote(ballot, allowed, on_record)
        .await;
    let state = state.map_err(|error| refused(&error))?;
    Ok((state, widening.map(|widening| widening.id().to_owned())))
}

/// Whether an approval is one that this person may decide, or may read in the audit log. Who may not causes
/// nothing to be opened, however long the list is.
pub(super) async fn is_seen(parts: &Parts, asker: &Asker, one: &InClear) -> bool {
    let function = one.head.function.parse();
    function.is_ok_and(|function| in_clear(asker, parts, one, &function))
        && look(parts, asker, &one.head.id).await.is_ok()
}

/// An approval that this person may see.
pub(super) async fn look(
    parts: &Parts,
    asker: &Asker,
    id: &str,
) -> Result<(ApprovalId, ApprovalView, FunctionId), Problem> {
    let none = || Problem::new(404, "not_found", "no such approval that you may see");
    let id: ApprovalId = id.parse().map_err(|_| none())?;
    let approvals = &parts.pipeline.parts().approvals;
    let clear = approvals.in_clear(&id).await;
    let clear = clear.map_err(|error| failed(&error))?;
    let function: FunctionId = clear.head.function.parse().map_err(|_| none())?;
    if !in_clear(asker, parts, &clear, &function) {
        return Err(none());
    }
    let view = approvals.show(&id).await;
    let view = view.map_err(|error| failed(&error))?;
    // INVARIANT: what stood in clear counts for nothing until it was checked against the approval's binding.
    let function: FunctionId = view.head.function.parse().map_err(|_| none())?;
    let breaks = |rule| may_break_glass(asker, parts, (&view, rule), &function);
    let acts = decides(asker, parts, &view, &function) || view.rules.iter().any(breaks);
    if !acts && !replays(asker, parts, &function) {
        return Err(none());
    }
    Ok((id, view, function))
}

/// Whether this person may see an approval, by what stands in clear of it: for strangers nothing is opened.
fn in_clear(asker: &Asker, parts: &Parts, clear: &InClear, function: &FunctionId) -> bool {
    let own = is_own(asker, &clear.head);
    let acts = |rule: &RuleTerms| {
        allowed(asker, parts, rule, function) || own && may_break(asker, parts, rule, function)
    };
    clear.rules.iter().any(acts) || replays(asker, parts, function)
}

/// Whether this person may read the content of calls of this function.
fn replays(asker: &Asker, parts: &Parts, function: &FunctionId) -> bool {
    let resource = PersonResource::Function(function);
    asker.is_allowed(parts, PersonAction::AuditReplay, resource)
}

/// Whether this person may answer any of the approval's rules.
fn decides(asker: &Asker, parts: &Parts, view: &ApprovalView, function: &FunctionId) -> bool {
    let mut rules = view.rules.iter();
    rules.any(|rule| may_decide(asker, parts, rule, function))
}

/// Who looks at a held call without being asked about it reads its content: on the record first.
///
/// # Errors
/// The problem when that cannot be recorded: the content is not shown then.
pub(super) async fn seen(
    parts: &Parts,
    asker: &Asker,
    view: &ApprovalView,
    function: &FunctionId,
) -> Result<(), Problem> {
    // Who decides about it, or made the call, is not reading somebody's content.
    if decides(asker, parts, view, function) || is_own(asker, &view.head) {
        return Ok(());
    }
    let content = serde_json::json!({ "approval": view.head.id });
    let (what, call) = (Reading::Replay, view.call.parse().ok());
    let evidence = &parts.evidence;
    evidence.on_record(parts, asker, what, call, content).await
}

/// Whether this person may answer this rule, as far as policy says.
pub(super) fn may_decide(
    asker: &Asker,
    parts: &Parts,
    rule: &RuleView,
    function: &FunctionId,
) -> bool {
    terms_of(rule).is_some_and(|terms| allowed(asker, parts, &terms, function))
}

/// Whether this person may break the glass of this rule, as far as policy says: for their own call.
pub(super) fn may_break_glass(
    asker: &Asker,
    parts: &Parts,
    (view, rule): (&ApprovalView, &RuleView),
    function: &FunctionId,
) -> bool {
    is_own(asker, &view.head)
        && terms_of(rule).is_some_and(|terms| may_break(asker, parts, &terms, function))
}

/// Whether this person made the call that is asked about.
fn is_own(asker: &Asker, head: &ApprovalHead) -> bool {
    let (requester, key) = (&head.requester, asker.who.key());
    requester.issuer == key.issuer
        && requester.subject == key.subject
        && requester.actors.is_empty()
}

/// What policy is asked about a rule.
fn terms_of(rule: &RuleView) -> Option<RuleTerms> {
    Some(RuleTerms {
        id: rule.id.clone(),
        hash: hash(&rule.hash)?,
        who: GroupExpr {
            any_of: rule.any_of.clone(),
        },
        quorum: rule.quorum,
        decide_within: Duration::ZERO,
        reason: None,
        step_up: StepUp::default(),
        grant: None,
        break_glass: rule.break_glass_within_s.map(|within| BreakGlass {
            who: GroupExpr {
                any_of: rule.break_glass_any_of.clone(),
            },
            within: Duration::from_secs(within),
        }),
    })
}

fn may_break(asker: &Asker, parts: &Parts, rule: &RuleTerms, function: &FunctionId) -> bool {
    let subject = Subject::from(asker.who.as_ref());
    let snapshot = parts.pipeline.snapshot();
    snapshot
        .policies
        .may_break_glass(&subject, rule, function, asker.facts())
        .unwrap_or_else(|error| {
            tracing::error!(%error, "the right to break the glass could not be judged: no");
            false
        })
}

fn allowed(asker: &Asker, parts: &Parts, rule: &RuleTerms, function: &FunctionId) -> bool {
    let subject = Subject::from(asker.who.as_ref());
    let snapshot = parts.pipeline.snapshot();
    snapshot
        .policies
        .may_approve(&subject, rule, function, asker.facts())
        .unwrap_or_else(|error| {
            tracing::error!(%error, "the right to approve could not be judged: no");
            false
        })
}

fn hash(text: &str) -> Option<RuleHash> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, slot) in bytes.iter_mut().enumerate() {
        *slot = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(RuleHash(bytes))
}

fn refused(error: &VoteError) -> Problem {
    let text = error.to_string();
    match error {
        VoteError::NotAPerson
        | VoteError::Delegated
        | VoteError::OwnCall
        | VoteError::NotNamed
        | VoteError::NotYours
        | VoteError::NoGlass(_)
        | VoteError::NotAllowed => Problem::new(403, "denied", text),
        VoteError::StepUp(_) => Problem::new(401, INSUFFICIENT, text),
        VoteError::NotFresh => Problem::new(403, "sign_in_again", text),
        VoteError::UnknownRule => Problem::new(404, "not_found", text),
        VoteError::AlreadyVoted | VoteError::NotWhatWasShown | VoteError::Closed(_) => {
            Problem::new(409, "conflict", text)
        }
        VoteError::Widening(_) => Problem::new(422, "cannot_be_widened", text),
        VoteError::ReasonTooLong | VoteError::NoReason => Problem::new(400, "bad_request", text),
        VoteError::NotRecorded(_) => Problem::new(503, "audit_unavailable", text),
        VoteError::Failed(error) => failed(error),
    }
}

fn failed(error: &approval::Error) -> Problem {
    match error {
        approval::Error::Unknown(_) => {
            Problem::new(404, "not_found", "no such approval that you may see")
        }
        approval::Error::Closed { .. } => Problem::new(409, "conflict", error.to_string()),
        approval::Error::Tampered(_)
        | approval::Error::TooLarge(..)
        | approval::Error::Crypto
        | approval::Error::Store(_) => Problem::internal(error),
    }
}
