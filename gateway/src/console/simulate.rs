//! A draft of the policies against recorded calls: what would have been decided differently. Bounded in
//! calls and time, one after the other, on the record before anything is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;

use super::Parts;
use super::api::{Asker, Body, Problem};
use super::evidence::May;
use super::turns::{NoTurn, Turn};
use crate::clock::Timestamp;
use crate::pipeline::Snapshot;
use crate::pipeline::simulate::{Draft, Report, SimulateError, Wanted, simulate};
use crate::policy::{DRAFT_STACK_BYTES, Fault, PersonAction, PersonResource, Policies, PolicyFile};
use crate::record::{self, CallIndex, Reading};

/// Farthest back, in seconds: 30 days.
const SPAN_S_MAX: u64 = 30 * 24 * 60 * 60;
/// How far back unless said otherwise, in seconds: a day.
const SPAN_S_DEFAULT: u64 = 24 * 60 * 60;
/// Records of decisions that are read for one question.
const RECORDS_MAX: u64 = 500_000;
/// How long the evaluation may take.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Threads of one question: calls go on meanwhile.
const THREADS: usize = 2;
/// Calls that are named for each change.
const EXAMPLES: usize = 5;
/// Kinds of changes that are told, the most frequent first.
const CHANGES_MAX: usize = 200;
/// Kinds of changes that are told apart while calls are judged.
const KINDS_MAX: usize = 1_000;
/// Policies that are named on each side of a change.
const POLICIES_MAX: usize = 20;
/// Faults of a draft that are told.
const FAULTS_MAX: usize = 10;
/// What faults call the text that is sent.
const DRAFT: &str = "draft";

/// A draft, as what it changes of the policies in force.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SimulateBody {
    /// Ids of policies in force that the draft leaves out, those that it replaces among them.
    #[serde(default)]
    pub(super) without: BTreeSet<String>,
    /// Policies that the draft has besides, in Cedar's syntax.
    #[serde(default)]
    pub(super) with: String,
    /// Calls of the last so many seconds; a day unless said otherwise, at most 30 days.
    #[schemars(range(min = 1, max = 2_592_000))]
    pub(super) last_s: Option<u64>,
}

/// One kind of change.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct ChangeView {
    /// The function.
    pub(super) function: String,
    /// What was decided: `allow`, `deny` or `ask`.
    pub(super) from: String,
    /// What would be; the code of a refusal where policy would not be asked.
    pub(super) to: String,
    /// Policies that decided then; at most 20.
    pub(super) decided_by: Vec<String>,
    /// Policies of the draft that would; at most 20.
    pub(super) draft_decided_by: Vec<String>,
    /// How many calls.
    pub(super) calls: u64,
    /// The newest of them.
    pub(super) examples: Vec<String>,
}

/// What would have been decided differently.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct SimulatedView {
    /// The version of the draft: a hash of all its policies.
    pub(super) draft: String,
    /// Calls that were evaluated.
    pub(super) evaluated: u64,
    /// Those that would be decided the same.
    pub(super) same: u64,
    /// Those that would not.
    pub(super) changed: u64,
    /// How, the most frequent first; at most 200 kinds.
    pub(super) changes: Vec<ChangeView>,
    /// Calls that could not be evaluated, by why.
    pub(super) not_evaluated: BTreeMap<String, u64>,
    /// Whether all calls of the time were looked at; if not, the newest are missing.
    pub(super) complete: bool,
    /// How long the evaluation took, in milliseconds.
    pub(super) took_ms: u64,
}

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new().route("/api/v1/policies/simulate", post(run))
}

async fn run(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Body(body): Body<SimulateBody>,
) -> Result<axum::Json<SimulatedView>, Problem> {
    asker.may(&parts, PersonAction::PolicyRead, PersonResource::Gateway)?;
    let may = May::of(&parts, &asker, PersonAction::AuditRead);
    if !may.anything() {
        let text = "policy does not permit you `audit.read` on any function: there are no calls to simulate";
        return Err(Problem::new(403, "denied", text));
    }
    let span_s = body.last_s.unwrap_or(SPAN_S_DEFAULT);
    if span_s == 0 || span_s > SPAN_S_MAX {
        let text = "`last_s` is between 1 and 2592000: 30 days";
        return Err(Problem::new(400, "bad_request", text));
    }
    // Held by the work and not by the request: who hangs up frees nothing.
    let turn = parts.simulations.wait(asker.who.key().to_string()).await;
    let turn = turn.map_err(no_turn)?;
    let now = parts.pipeline.parts().clock.now();
    let since = now
        .nanos()
        .saturating_sub(span_s.saturating_mul(1_000_000_000));
    let snapshot = parts.pipeline.snapshot();
    let without = body.without.clone();
    let work = Work {
        snapshot,
        body,
        span: (Timestamp::from_nanos(since), now),
        may,
        index: parts.evidence.index(),
        turn,
    };
    let mut at_work = work.begin()?;
    let version = at_work.loaded().await?;
    let about = json!({ "last_s": span_s, "without": without, "draft": version });
    let evidence = &parts.evidence;
    evidence
        .on_record(&parts, &asker, Reading::Simulate, None, about)
        .await?;
    let (report, took) = at_work.evaluated().await?;
    Ok(axum::Json(view(version, report, took)))
}

/// A draft and what it is tried with, on a thread of its own: its tree may be deep, and ordinary threads have
/// little stack for what goes through it, or drops it.
struct Work<I> {
    snapshot: Arc<Snapshot>,
    body: SimulateBody,
    span: (Timestamp, Timestamp),
    may: May,
    index: I,
    turn: Turn,
}

/// Work that goes on elsewhere. Dropping it ends the work before it reads anything.
struct AtWork {
    loaded: oneshot::Receiver<Result<String, Problem>>,
    go: mpsc::Sender<()>,
    evaluated: oneshot::Receiver<Result<(Report, Duration), Problem>>,
}

impl<I> Work<I>
where
    I: FnOnce() -> Result<CallIndex, record::Error> + Send + 'static,
{
    fn begin(self) -> Result<AtWork, Problem> {
        let (load, loaded) = oneshot::channel();
        let (go, went) = mpsc::channel();
        let (evaluate, evaluated) = oneshot::channel();
        let work = move || {
            let policies = match draft(&self.snapshot.policies, &self.body) {
                Ok(policies) => policies,
                Err(problem) => {
                    // Before it is told: who reads it may come again at once.
                    drop(self.turn);
                    return drop(load.send(Err(problem)));
                }
            };
            let version = policies.version().to_owned();
            // Nothing is read before it is on record; who hung up does not go on.
            if load.send(Ok(version)).is_err() || went.recv().is_err() {
                return;
            }
            let begun = Instant::now();
            let report = self.evaluate(&policies);
            drop(evaluate.send(report.map(|report| (report, begun.elapsed()))));
        };
        let thread = std::thread::Builder::new()
            .name("simulate".to_owned())
            .stack_size(DRAFT_STACK_BYTES);
        // Nobody joins it: it answers through its channels, or its end closes them.
        thread
            .spawn(work)
            .map_err(|error| Problem::internal(&error))?;
        Ok(AtWork {
            loaded,
            go,
            evaluated,
        })
    }

    fn evaluate(self, policies: &Policies) -> Result<Report, Problem> {
        // Whoever waits goes on when this is done, and not when its answer was heard.
        let _turn = self.turn;
        let index = (self.index)().map_err(|error| Problem::internal(&error))?;
        let draft = Draft {
            policies,
            connections: &self.snapshot.connections,
        };
        let (since, until) = self.span;
        let wanted = Wanted {
            since,
            until,
            of: &|function| self.may.read(Some(function)),
            threads: THREADS,
            examples: EXAMPLES,
            records_max: Some(RECORDS_MAX),
            within: Some(TIME_MAX),
            kinds_max: Some(KINDS_MAX),
            policies_max: Some(POLICIES_MAX),
        };
        simulate(&index, draft, &wanted).map_err(|error| Problem::internal(&error))
    }
}

impl AtWork {
    /// The draft's version, once it is loaded.
    async fn loaded(&mut self) -> Result<String, Problem> {
        (&mut self.loaded).await.map_err(|_| broke_off())?
    }

    /// Go on, and what came of it.
    async fn evaluated(self) -> Result<(Report, Duration), Problem> {
        self.go.send(()).map_err(|_| broke_off())?;
        self.evaluated.await.map_err(|_| broke_off())?
    }
}

fn no_turn(why: NoTurn) -> Problem {
    match why {
        NoTurn::Twice => {
            let text = "you simulate a draft already: wait for its answer, then try again";
            Problem::new(409, "conflict", text)
        }
        NoTurn::Busy => {
            let text = "too many people simulate drafts now: try again in a minute";
            Problem::new(503, "busy", text)
        }
    }
}

fn broke_off() -> Problem {
    Problem::internal(&SimulateError::BrokeOff)
}

/// The policies in force but for those that are left out, and with those that are sent.
fn draft(policies: &Policies, body: &SimulateBody) -> Result<Policies, Problem> {
    let rules = policies.rules();
    let unknown = |id: &&String| !rules.iter().any(|rule| rule.id == **id);
    if let Some(id) = body.without.iter().find(unknown) {
        let text = format!("no policy in force has the id `{id}`, so it cannot be left out");
        return Err(Problem::new(422, "draft_does_not_load", text));
    }
    let kept = rules.iter().filter(|rule| !body.without.contains(&rule.id));
    let kept = kept
        .map(|rule| PolicyFile {
            name: format!("{} in force", rule.id),
            text: rule.text.clone(),
        })
        .collect();
    let sent = PolicyFile {
        name: DRAFT.to_owned(),
        text: body.with.clone(),
    };
    policies.draft(kept, sent).map_err(|faults| {
        let mut lines: Vec<_> = faults.iter().map(Fault::to_string).collect();
        let more = lines.len().saturating_sub(FAULTS_MAX);
        lines.truncate(FAULTS_MAX);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        Problem::new(422, "draft_does_not_load", lines.join("\n"))
    })
}

fn view(draft: String, report: Report, took: Duration) -> SimulatedView {
    let changed = report.changed();
    let mut changes: Vec<ChangeView> = report
        .changes
        .into_iter()
        .map(|(change, (calls, examples))| ChangeView {
            function: change.function,
            from: change.from.to_owned(),
            to: change.to.to_owned(),
            decided_by: change.then,
            draft_decided_by: change.now,
            calls,
            examples: examples.into_iter().map(|one| one.call).collect(),
        })
        .collect();
    changes.sort_by_key(|change| std::cmp::Reverse(change.calls));
    changes.truncate(CHANGES_MAX);
    SimulatedView {
        draft,
        evaluated: report.evaluated,
        same: report.same,
        changed,
        changes,
        not_evaluated: report.not_evaluated,
        complete: report.complete,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}
