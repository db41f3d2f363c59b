//! Tests of policies: what a hypothetical caller may do. Written as YAML, run against loaded policies;
//! printing is the command's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;
use serde_json::Value as Json;

use crate::call::input::Value;
use crate::call::{Facts, Function, FunctionId, Input, Shape, shape};
use crate::clock::Timestamp;
use crate::identity::{Actor, Exposed, ExposedType, Kind};

use super::Policies;
use super::decision::{Decision, RuleHash};
use super::explain::Explanation;
use super::person::{PersonAction, PersonFacts, PersonResource};
use super::request::{Request, Subject};
use super::schema::GATEWAY;
use super::value::has_type;

/// Largest file of cases, in bytes.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// A file of cases that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// The file is too large.
    #[error("`{0}` is larger than {FILE_BYTES_MAX} bytes: split it")]
    TooLarge(String),
    /// The file is not YAML of the right form.
    #[error("`{file}`: {text}")]
    Form {
        /// The file.
        file: String,
        /// What is wrong, with line and column.
        text: String,
    },
}

/// One case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Who asks.
    #[serde(rename = "as")]
    who: Who,
    /// The function that is called: `connection/function`. Either this or `act`.
    call: Option<FunctionId>,
    /// The right of a person that is asked for (`audit.read`), in place of `call`.
    act: Option<String>,
    /// What `act` is on: a function, a connection, or `gateway` (the default).
    on: Option<String>,
    /// The approval rule's id, when `act` is `approve`.
    rule: Option<String>,
    /// The input by member: `path`, `query`, `header`, `body`.
    #[serde(default)]
    input: BTreeMap<String, Json>,
    /// When, in RFC 3339.
    #[serde(alias = "time")]
    at: Option<String>,
    /// From which address; 127.0.0.1 by default.
    source: Option<IpAddr>,
    /// The HTTP method; POST by default.
    method: Option<String>,
    /// Ids of approval rules that people opened.
    #[serde(default)]
    opened: BTreeSet<String>,
    /// What must be decided.
    expect: Expect,
    /// The policies that must have decided, exactly.
    policies: Option<BTreeSet<String>>,
    /// The approval rules that must be asked for, exactly.
    rules: Option<BTreeSet<String>>,
    /// The data classes that must be unmasked, exactly.
    unmask: Option<BTreeSet<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    issuer: String,
    subject: String,
    /// The least trusted by default, as in the config.
    kind: Option<Kind>,
    method: Option<String>,
    #[serde(default)]
    groups: BTreeSet<String>,
    #[serde(default)]
    claims: BTreeMap<String, Json>,
    /// As `alias/subject`.
    #[serde(default)]
    actors: Vec<String>,
}

/// What a case expects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// The call goes on.
    Allow,
    /// The call is refused.
    Deny,
    /// People are asked.
    Ask,
}

impl Expect {
    /// The word in a case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Ask => "ask",
        }
    }
}

/// How a case ended.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// The case.
    pub name: String,
    /// Every difference between what was expected and what came out; none when the case passed.
    pub differences: Vec<String>,
    /// Why the decision was made; absent for a person's right and for a case that cannot be asked.
    pub explanation: Option<Explanation>,
}

impl CaseReport {
    /// Whether the case passed.
    pub const fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Read a file of cases: a YAML list.
///
/// # Errors
/// When the file is too large or not such a list.
pub fn parse(file: &str, text: &str) -> Result<Vec<Case>, CaseError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(CaseError::TooLarge(file.to_owned()));
    }
    serde_saphyr::from_str(text).map_err(|error| CaseError::Form {
        file: file.to_owned(),
        text: error.to_string(),
    })
}

impl Policies {
    /// Run one case.
    pub fn run(&self, case: &Case) -> CaseReport {
        let (differences, explanation) = match self.answer(case) {
            Ok((differences, explanation)) => (differences, explanation),
            Err(text) => (vec![text], None),
        };
        CaseReport {
            name: case.name.clone(),
            differences,
            explanation,
        }
    }

    fn answer(&self, case: &Case) -> Result<(Vec<String>, Option<Explanation>), String> {
        let claims = self.case_claims(&case.who.claims)?;
        let actors = actors(&case.who.actors)?;
        let subject = Subject {
            issuer: &case.who.issuer,
            subject: &case.who.subject,
            kind: case.who.kind.unwrap_or(Kind::Agent),
            method: case.who.method.as_deref().unwrap_or("jwt"),
            groups: &case.who.groups,
            claims: &claims,
            actors: &actors,
        };
        match (&case.call, &case.act) {
            (Some(function), None) => {
                let explanation = self.case_call(case, &subject, function)?;
                let differences = compare(case, &explanation.decision);
                Ok((differences, Some(explanation)))
            }
            (None, Some(action)) => Ok((self.case_act(case, &subject, action)?, None)),
            (Some(_), Some(_)) | (None, None) => {
                Err("a case has either `call` or `act`".to_owned())
            }
        }
    }

    fn case_call(
        &self,
        case: &Case,
        subject: &Subject<'_>,
        id: &FunctionId,
    ) -> Result<Explanation, String> {
        let prepared = self.prepared(id).map_err(|error| error.to_string())?;
        let function: &Function = &prepared.function;
        let members = case.input.clone().into_iter().collect();
        let input = Input {
            members: record("input", &members, &function.input)?,
        };
        let facts = Facts {
            received: case.at()?,
            source: case.source(),
            tls: true,
            protocol: "http/1.1",
            method: case.method.clone().unwrap_or_else(|| "POST".to_owned()),
        };
        let mut opened: BTreeSet<RuleHash> = BTreeSet::new();
        for id in &case.opened {
            let rule = self.rules.iter().find(|rule| rule.id == *id);
            let rule = rule.filter(|rule| rule.terms.is_some());
            opened.insert(rule.ok_or_else(|| format!("no approval rule `{id}`"))?.hash);
        }
        let request = Request {
            subject: *subject,
            function,
            input: &input,
            facts: &facts,
        };
        Ok(self.explain(&request, &opened))
    }

    fn case_act(
        &self,
        case: &Case,
        subject: &Subject<'_>,
        action: &str,
    ) -> Result<Vec<String>, String> {
        let known = || PersonAction::ALL.map(PersonAction::as_str).join(", ");
        let action = PersonAction::by_name(action)
            .ok_or_else(|| format!("unknown act `{action}`: known are {}", known()))?;
        let facts = PersonFacts {
            at: case.at()?,
            source: case.source(),
        };
        let (function, connection);
        let on = case.on.as_deref().unwrap_or(GATEWAY_WORD);
        let resource = if on == GATEWAY_WORD || on == GATEWAY {
            PersonResource::Gateway
        } else if on.contains('/') {
            function = on.parse().map_err(text)?;
            PersonResource::Function(&function)
        } else {
            connection = on.parse().map_err(text)?;
            PersonResource::Connection(&connection)
        };
        let permitted = match (action, resource, &case.rule) {
            (
                PersonAction::Approve | PersonAction::BreakGlass,
                PersonResource::Function(function),
                Some(rule),
            ) => {
                let found = self.rules.iter().find(|found| found.id == *rule);
                let terms = found.and_then(|rule| rule.terms.as_ref());
                let terms = terms.ok_or_else(|| format!("no approval rule `{rule}`"))?;
                if action == PersonAction::Approve {
                    self.may_approve(subject, terms, function, facts)
                } else {
                    self.may_break_glass(subject, terms, function, facts)
                }
            }
            (PersonAction::Approve | PersonAction::BreakGlass, _, _) => {
                return Err(format!(
                    "`act: {}` needs `on: connection/function` and `rule`",
                    action.as_str()
                ));
            }
            (action, resource, _) => self.permits_person(subject, action, resource, facts),
        };
        let found = match permitted.map_err(text)? {
            true => Expect::Allow,
            false => Expect::Deny,
        };
        Ok(different(case.expect, found).into_iter().collect())
    }

    fn case_claims(
        &self,
        given: &BTreeMap<String, Json>,
    ) -> Result<BTreeMap<String, Exposed>, String> {
        let mut claims = BTreeMap::new();
        for (name, value) in given {
            let kind = self
                .claims
                .get(name)
                .ok_or_else(|| format!("claim `{name}` is not exposed to policies"))?;
            let value = exposed(value, *kind)
                .ok_or_else(|| format!("claim `{name}` does not have its declared type"))?;
            claims.insert(name.clone(), value);
        }
        Ok(claims)
    }
}

/// The word for the gateway as a whole.
const GATEWAY_WORD: &str = "gateway";

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Case {
    fn at(&self) -> Result<Timestamp, String> {
        let Some(at) = &self.at else {
            return Ok(Timestamp::from_secs(DEFAULT_TIME_SECS));
        };
        let format = &time::format_description::well_known::Rfc3339;
        let parsed = time::OffsetDateTime::parse(at, format)
            .ok()
            .and_then(|at| u64::try_from(at.unix_timestamp_nanos()).ok());
        parsed
            .map(Timestamp::from_nanos)
            .ok_or_else(|| format!("`at` is `{at}`: write it as 2026-01-31T09:30:00Z"))
    }

    fn source(&self) -> IpAddr {
        self.source.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

/// 2026-01-01T12:00:00Z: the same answer whenever the cases run.
const DEFAULT_TIME_SECS: u64 = 1_767_268_800;

fn actors(given: &[String]) -> Result<Vec<Actor>, String> {
    let actor = |text: &String| match text.split_once('/') {
        Some((issuer, subject)) => Ok(Actor {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        }),
        None => Err(format!("actor `{text}` is not `alias/subject`")),
    };
    given.iter().map(actor).collect()
}

pub(super) fn exposed(value: &Json, kind: ExposedType) -> Option<Exposed> {
    let words = |values: &Vec<Json>| {
        let words = values.iter().map(|value| value.as_str().map(str::to_owned));
        words.collect::<Option<BTreeSet<String>>>()
    };
    match kind {
        ExposedType::String => value.as_str().map(|text| Exposed::String(text.to_owned())),
        ExposedType::Long => value.as_i64().map(Exposed::Long),
        ExposedType::Bool => value.as_bool().map(Exposed::Bool),
        ExposedType::Strings => value.as_array().and_then(words).map(Exposed::Strings),
    }
}

/// The members of a case's input as the function declares them; null is absent, as in a call.
pub(super) fn record(
    place: &str,
    members: &serde_json::Map<String, Json>,
    shape: &shape::Record,
) -> Result<BTreeMap<String, Value>, String> {
    let mut found = BTreeMap::new();
    for (name, json) in members {
        let place = format!("{place}.{name}");
        let member = shape
            .members
            .get(name)
            .ok_or_else(|| format!("`{place}` is not declared by the function"))?;
        if !json.is_null() && has_type(&member.shape) {
            found.insert(name.clone(), value(&place, json, &member.shape)?);
        }
    }
    for (name, member) in &shape.members {
        if member.required && has_type(&member.shape) && !found.contains_key(name) {
            return Err(format!("`{place}.{name}` is required by the function"));
        }
    }
    Ok(found)
}

fn value(place: &str, json: &Json, shape: &Shape) -> Result<Value, String> {
    let value = match (shape, json) {
        (Shape::Bool, Json::Bool(value)) => Some(Value::Bool(*value)),
        (Shape::Long, Json::Number(number)) => number.as_i64().map(Value::Long),
        (Shape::Decimal, Json::Number(number)) => Some(decimal(&number.to_string())),
        (Shape::Decimal, Json::String(text)) => Some(decimal(text)),
        (Shape::String, Json::String(text)) => Some(Value::String(text.clone())),
        (Shape::Set(element), Json::Array(values)) => {
            let values: Result<Vec<Value>, String> = values
                .iter()
                .map(|json| value(place, json, element))
                .collect();
            Some(Value::Set(values?))
        }
        (Shape::Record(shape), Json::Object(members)) => {
            Some(Value::Record(record(place, members, shape)?))
        }
        (
            Shape::Bool
            | Shape::Long
            | Shape::Decimal
            | Shape::String
            | Shape::Set(_)
            | Shape::Record(_)
            | Shape::Opaque,
            _,
        ) => None,
    };
    value.ok_or_else(|| format!("`{place}` does not have its declared type"))
}

/// Cedar wants at least one digit after the point.
fn decimal(text: &str) -> Value {
    Value::Decimal(match text.contains('.') {
        true => text.to_owned(),
        false => format!("{text}.0"),
    })
}

fn compare(case: &Case, decision: &Decision) -> Vec<String> {
    let none = BTreeSet::new;
    let (found, policies, rules, unmask) = match decision {
        Decision::Allow(obligations) => (
            Expect::Allow,
            obligations.policies().iter().cloned().collect(),
            none(),
            obligations
                .unmask()
                .iter()
                .map(ToString::to_string)
                .collect(),
        ),
        Decision::Deny(denial) => (
            Expect::Deny,
            denial.policies.iter().cloned().collect(),
            none(),
            none(),
        ),
        Decision::Ask(terms) => {
            let rules: BTreeSet<String> = terms.rules.iter().map(|rule| rule.id.clone()).collect();
            (Expect::Ask, rules.clone(), rules, none())
        }
    };
    let mut differences: Vec<String> = different(case.expect, found).into_iter().collect();
    for (what, expected, found) in [
        ("policies", &case.policies, policies),
        ("rules", &case.rules, rules),
        ("unmask", &case.unmask, unmask),
    ] {
        if let Some(expected) = expected
            && *expected != found
        {
            differences.push(format!(
                "expected {what} [{}], found [{}]",
                joined(expected),
                joined(&found)
            ));
        }
    }
    differences
}

fn different(expected: Expect, found: Expect) -> Option<String> {
    (expected != found).then(|| format!("expected {}, found {}", expected.as_str(), found.as_str()))
}

fn joined(words: &BTreeSet<String>) -> String {
    words.iter().cloned().collect::<Vec<_>>().join(", ")
}
