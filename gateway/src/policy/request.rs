//! What is asked, and how it becomes Cedar's principal, resource and context: value by value, never
//! through Cedar's JSON parser, whose escapes a caller could write into a body.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use cedar_policy::{Context, Entity, EntityUid, RestrictedExpression as Expr};

use crate::call::{Facts, Function, Input, input::Value};
use crate::clock::Timestamp;
use crate::identity::{Actor, Kind, Principal};

use super::Error;
use super::schema::ClaimType;

/// Who asks, as policy sees it: a verified principal, or one that a test or an operator imagines.
/// It is a view and proves nothing; a permit is made from a [`Principal`] only.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The issuer's alias.
    pub issuer: &'a str,
    /// The subject.
    pub subject: &'a str,
    /// What kind of caller.
    pub kind: Kind,
    /// How it proved itself, as one word.
    pub method: &'a str,
    /// Groups as `alias/name`.
    pub groups: &'a BTreeSet<String>,
    /// Claims by name.
    pub claims: &'a serde_json::Map<String, serde_json::Value>,
    /// Who acts for the subject.
    pub actors: &'a [Actor],
}

impl<'a> From<&'a Principal> for Subject<'a> {
    fn from(principal: &'a Principal) -> Self {
        Self {
            issuer: &principal.key().issuer,
            subject: &principal.key().subject,
            kind: principal.kind(),
            method: principal.method().as_str(),
            groups: principal.groups(),
            claims: principal.claims(),
            actors: principal.actors(),
        }
    }
}

/// One question: may this subject call this function with this input.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who.
    pub subject: Subject<'a>,
    /// What.
    pub function: &'a Function,
    /// With which input.
    pub input: &'a Input,
    /// When, from where and how.
    pub facts: &'a Facts,
}

impl<'a> Request<'a> {
    /// The question about a principal's call.
    pub fn new<C: crate::call::Call + ?Sized>(principal: &'a Principal, call: &'a C) -> Self {
        Self {
            subject: principal.into(),
            function: call.function(),
            input: call.input(),
            facts: call.facts(),
        }
    }
}

/// The principal's entity. Of its groups only those are given that some policy names: no other can
/// change an answer.
pub(super) fn principal(
    uid: &EntityUid,
    subject: &Subject<'_>,
    groups: &[EntityUid],
    claims: &[(String, ClaimType)],
) -> Result<Entity, Error> {
    let text = |text: &str| Expr::new_string(text.to_owned());
    let actors = subject
        .actors
        .iter()
        .map(|actor| Expr::new_string(format!("{}/{}", actor.issuer, actor.subject)));
    let mut known = Vec::new();
    for (name, kind) in claims {
        if let Some(value) = subject.claims.get(name)
            && !value.is_null()
        {
            let value = claim(value, *kind).ok_or_else(|| Error::Claim(name.clone()))?;
            known.push((name.clone(), value));
        }
    }
    let attributes = HashMap::from([
        ("issuer".to_owned(), text(subject.issuer)),
        ("subject".to_owned(), text(subject.subject)),
        ("kind".to_owned(), text(subject.kind.as_str())),
        ("method".to_owned(), text(subject.method)),
        ("actors".to_owned(), Expr::new_set(actors)),
        ("claims".to_owned(), record(known)?),
    ]);
    let parents: HashSet<EntityUid> = groups.iter().cloned().collect();
    Entity::new(uid.clone(), attributes, parents).map_err(|_| Error::Principal)
}

fn claim(value: &serde_json::Value, kind: ClaimType) -> Option<Expr> {
    let text = |value: &serde_json::Value| Some(Expr::new_string(value.as_str()?.to_owned()));
    match kind {
        ClaimType::String => text(value),
        ClaimType::Long => value.as_i64().map(Expr::new_long),
        ClaimType::Bool => value.as_bool().map(Expr::new_bool),
        ClaimType::StringSet => match value.as_array() {
            Some(values) => {
                let values: Option<Vec<Expr>> = values.iter().map(text).collect();
                values.map(Expr::new_set)
            }
            None => text(value).map(|one| Expr::new_set([one])),
        },
    }
}

/// The context of a call.
pub(super) fn call_context(input: &Input, facts: &Facts) -> Result<Context, Error> {
    let members: Result<Vec<_>, Error> = input
        .members
        .iter()
        .map(|(name, value)| Ok((name.clone(), expression(value)?)))
        .collect();
    let mut pairs = fact_pairs(facts);
    pairs.push(("input".to_owned(), record(members?)?));
    Context::from_pairs(pairs).map_err(|_| Error::Input)
}

/// The context of an unmask question.
pub(super) fn unmask_context(function: EntityUid, facts: &Facts) -> Result<Context, Error> {
    let mut pairs = fact_pairs(facts);
    pairs.push(("function".to_owned(), Expr::new_entity_uid(function)));
    Context::from_pairs(pairs).map_err(|_| Error::Input)
}

/// The context of a person's act.
pub(super) fn person_context(
    at: Timestamp,
    source: IpAddr,
    rule: Option<&str>,
) -> Result<Context, Error> {
    let mut pairs = vec![
        ("time".to_owned(), Expr::new_datetime(at.to_string())),
        ("source".to_owned(), Expr::new_ip(source.to_string())),
    ];
    pairs.extend(rule.map(|rule| ("rule".to_owned(), Expr::new_string(rule.to_owned()))));
    Context::from_pairs(pairs).map_err(|_| Error::Input)
}

fn fact_pairs(facts: &Facts) -> Vec<(String, Expr)> {
    vec![
        (
            "time".to_owned(),
            Expr::new_datetime(facts.received.to_string()),
        ),
        ("source".to_owned(), Expr::new_ip(facts.source.to_string())),
        ("tls".to_owned(), Expr::new_bool(facts.tls)),
        (
            "protocol".to_owned(),
            Expr::new_string(facts.protocol.to_owned()),
        ),
        ("method".to_owned(), Expr::new_string(facts.method.clone())),
    ]
}

fn expression(value: &Value) -> Result<Expr, Error> {
    Ok(match value {
        Value::Bool(value) => Expr::new_bool(*value),
        Value::Long(value) => Expr::new_long(*value),
        Value::Decimal(text) => Expr::new_decimal(text),
        Value::String(text) => Expr::new_string(text.clone()),
        Value::Set(values) => {
            let values: Result<Vec<Expr>, Error> = values.iter().map(expression).collect();
            Expr::new_set(values?)
        }
        Value::Record(members) => {
            let members: Result<Vec<_>, Error> = members
                .iter()
                .map(|(name, value)| Ok((name.clone(), expression(value)?)))
                .collect();
            record(members?)?
        }
    })
}

fn record(members: Vec<(String, Expr)>) -> Result<Expr, Error> {
    Expr::new_record(members).map_err(|_| Error::Input)
}
