//! The policies in force: to read, and to ask what they would decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Parts;
use super::api::{Asker, Body, Problem};
use crate::identity::Kind;
use crate::policy::cases::Case;
use crate::policy::{
    Decision, DenialReason, Explanation, NearMiss, PersonAction, PersonResource, Rule,
};

/// One policy.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct PolicyView {
    /// Its `@id`.
    pub(super) id: String,
    /// Its identity: a hash of text and annotations.
    pub(super) hash: String,
    /// `permit` or `forbid`.
    pub(super) effect: String,
    /// The file.
    pub(super) file: String,
    /// The line there.
    pub(super) line: u64,
    /// Its text.
    pub(super) text: String,
    /// Who can open it, when it is an approval rule.
    pub(super) approval: Option<ApprovalTerms>,
}

/// Who can open an approval rule.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct ApprovalTerms {
    /// Alternatives of groups: one alternative must be met, in it every group.
    pub(super) any_of: Vec<Vec<String>>,
    /// How many distinct people of each group.
    pub(super) quorum: u32,
    /// How long people have to decide, in seconds.
    pub(super) decide_within_s: u64,
    /// Its `@reason`.
    pub(super) reason: Option<String>,
}

/// The policies in force.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct PoliciesView {
    /// A hash of all of them and their schema.
    pub(super) version: String,
    /// The policies.
    pub(super) policies: Vec<PolicyView>,
    /// Warnings of the last load.
    pub(super) warnings: Vec<String>,
    /// The Cedar schema that the functions make.
    pub(super) schema: String,
}

/// A caller that somebody imagines.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ImaginedCaller {
    /// Issuer alias.
    pub(super) issuer: String,
    /// Subject.
    pub(super) subject: String,
    /// `agent` unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<Kind>,
    /// Groups as `alias/name`.
    #[serde(default)]
    pub(super) groups: BTreeSet<String>,
    /// Claims that the config exposes to policies.
    #[serde(default)]
    pub(super) claims: BTreeMap<String, Value>,
    /// Who acts for it, outermost first, as `alias/subject`.
    #[serde(default)]
    pub(super) actors: Vec<String>,
}

/// A question: what would be decided.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// Who calls.
    #[serde(rename = "as")]
    pub(super) caller: ImaginedCaller,
    /// The function: `connection/name`.
    pub(super) call: String,
    /// The input by member: `path`, `query`, `header`, `body`.
    #[serde(default)]
    pub(super) input: BTreeMap<String, Value>,
    /// The HTTP method; `POST` unless said otherwise.
    pub(super) method: Option<String>,
    /// When, RFC 3339; now unless said otherwise.
    pub(super) at: Option<String>,
    /// From which address; 127.0.0.1 unless said otherwise.
    pub(super) source: Option<String>,
    /// Ids of approval rules that people have opened.
    #[serde(default)]
    pub(super) opened: BTreeSet<String>,
}

/// A policy that matched.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct MatchedView {
    /// Its `@id`.
    pub(super) id: String,
    /// `permit` or `forbid`.
    pub(super) effect: String,
    /// Where it stands.
    pub(super) place: String,
    /// Whether it is an approval rule that was opened.
    pub(super) opened: bool,
}

/// What would be decided, and why.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Answer {
    /// `allow`, `deny` or `ask`.
    pub(super) decision: String,
    /// One sentence about it.
    pub(super) because: String,
    /// Policies that matched, permits first.
    pub(super) matched: Vec<MatchedView>,
    /// Policies that could not be evaluated.
    pub(super) failed: Vec<String>,
    /// Permits that nearly matched.
    pub(super) near_misses: Vec<String>,
    /// How many policies were evaluated.
    pub(super) evaluated: u64,
}

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new()
        .route("/api/v1/policies", get(list))
        .route("/api/v1/policies/explain", post(explain))
}

async fn list(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
) -> Result<axum::Json<PoliciesView>, Problem> {
    asker.may(&parts, PersonAction::PolicyRead, PersonResource::Gateway)?;
    let snapshot = parts.pipeline.snapshot();
    let policies = &snapshot.policies;
    Ok(axum::Json(PoliciesView {
        version: policies.version().to_owned(),
        policies: policies.rules().iter().map(view).collect(),
        warnings: policies
            .warnings()
            .iter()
            .map(ToString::to_string)
            .collect(),
        schema: policies.schema_text().to_owned(),
    }))
}

fn view(rule: &Rule) -> PolicyView {
    PolicyView {
        id: rule.id.clone(),
        hash: rule.hash.to_string(),
        effect: rule.effect.as_str().to_owned(),
        file: rule.place.file.clone(),
        line: rule.place.line as u64,
        text: rule.text.clone(),
        approval: rule.terms.as_ref().map(|terms| ApprovalTerms {
            any_of: terms.who.any_of.clone(),
            quorum: terms.quorum,
            decide_within_s: terms.decide_within.as_secs(),
            reason: terms.reason.clone(),
        }),
    }
}

async fn explain(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
    Body(question): Body<Question>,
) -> Result<axum::Json<Answer>, Problem> {
    asker.may(&parts, PersonAction::PolicyRead, PersonResource::Gateway)?;
    let now = parts.pipeline.parts().clock.now().to_string();
    let case = case(&question, now)?;
    let report = parts.pipeline.snapshot().policies.run(&case);
    match &report.explanation {
        Some(explanation) => Ok(axum::Json(answer(explanation))),
        None => Err(Problem::new(
            400,
            "bad_request",
            report.differences.join("; "),
        )),
    }
}

/// The question in the form of a policy test, whose answer is what is wanted of it.
fn case(question: &Question, now: String) -> Result<Case, Problem> {
    let mut case = json!({
        "name": "question", "as": question.caller, "call": question.call, "input": question.input,
        "opened": question.opened, "expect": "allow", "at": question.at.clone().unwrap_or(now),
    });
    if let Some(members) = case.as_object_mut() {
        if let Some(method) = &question.method {
            members.insert("method".to_owned(), json!(method));
        }
        if let Some(source) = &question.source {
            members.insert("source".to_owned(), json!(source));
        }
    }
    serde_json::from_value(case)
        .map_err(|error| Problem::new(400, "bad_request", error.to_string()))
}

fn answer(explanation: &Explanation) -> Answer {
    let (decision, because) = match &explanation.decision {
        Decision::Allow(_) => (
            "allow",
            "a policy permits it, and none stands against it".to_owned(),
        ),
        Decision::Deny(denial) => ("deny", denied(&denial.reason)),
        Decision::Ask(terms) => {
            let rules: Vec<_> = terms.rules.iter().map(|rule| rule.id.as_str()).collect();
            ("ask", format!("people can open it: {}", rules.join(", ")))
        }
    };
    Answer {
        decision: decision.to_owned(),
        because,
        matched: explanation
            .matched
            .iter()
            .map(|matched| MatchedView {
                id: matched.id.clone(),
                effect: matched.effect.as_str().to_owned(),
                place: matched.place.to_string(),
                opened: matched.opened,
            })
            .collect(),
        failed: explanation
            .failed
            .iter()
            .map(|failed| format!("{} at {}: {}", failed.id, failed.place, failed.what))
            .collect(),
        near_misses: explanation.near_misses.iter().map(near).collect(),
        evaluated: explanation.evaluated as u64,
    }
}

fn denied(reason: &DenialReason) -> String {
    match reason {
        DenialReason::NoPermit => "no policy permits it".to_owned(),
        DenialReason::Forbidden => "a policy forbids it".to_owned(),
        DenialReason::Error(text) => format!("a policy could not be evaluated: {text}"),
    }
}

fn near(miss: &NearMiss) -> String {
    match miss {
        NearMiss::Condition(id) => {
            format!("{id} is for such callers, but its conditions are not met")
        }
        NearMiss::Principal(id) => format!("{id} is for other callers"),
    }
}
