//! Recorded calls, judged again: by a draft of the policies, or by those in force.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::call::{Facts, FunctionId, Input};
use crate::identity::{Actor, Kind};

use super::Policies;
use super::cases::{exposed, record};
use super::decision::Decision;
use super::request::{Request, Subject};

/// What policy saw of a call, as the record keeps it.
#[derive(Clone, Debug)]
pub struct Recorded<'a> {
    /// Issuer, subject, kind, method, groups, actors, exposed claims.
    pub principal: &'a Json,
    /// The typed input.
    pub input: &'a Json,
    /// When, from where and how.
    pub facts: Facts,
}

/// Why a recorded call cannot be judged again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum Unjudged {
    /// The function is not declared any more.
    #[error("its function is not declared any more")]
    Function,
    /// The input does not have the type that the function declares now.
    #[error("its input does not fit the function's present schema: {0}")]
    Input(String),
    /// The principal does not read back, or a claim has another declared type now.
    #[error("its principal does not fit the present config: {0}")]
    Principal(String),
}

impl Policies {
    /// Decide about a recorded call as if it came now, with no approval rule opened.
    ///
    /// # Errors
    /// [`Unjudged`] when what was recorded cannot be asked under the present functions and claims.
    pub fn decide_recorded(
        &self,
        function: &FunctionId,
        recorded: &Recorded<'_>,
    ) -> Result<Decision, Unjudged> {
        let prepared = self.prepared(function).map_err(|_| Unjudged::Function)?;
        let none = serde_json::Map::new();
        let members = recorded.input.as_object().unwrap_or(&none);
        let members = record("input", members, &prepared.function.input);
        let input = Input {
            members: members.map_err(Unjudged::Input)?,
        };
        self.decide_read(function, recorded.principal, &input, &recorded.facts)
    }

    /// The same of a call whose input was read by the present functions.
    ///
    /// # Errors
    /// [`Unjudged`] when who called cannot be asked about under the present claims.
    pub fn decide_read(
        &self,
        function: &FunctionId,
        principal: &Json,
        input: &Input,
        facts: &Facts,
    ) -> Result<Decision, Unjudged> {
        let prepared = self.prepared(function).map_err(|_| Unjudged::Function)?;
        let who = Who::read(principal, self)?;
        let request = Request {
            subject: Subject {
                issuer: &who.issuer,
                subject: &who.subject,
                kind: who.kind,
                method: &who.method,
                groups: &who.groups,
                claims: &who.claims,
                actors: &who.actors,
            },
            function: &prepared.function,
            input,
            facts,
        };
        Ok(self.decide(&request, &BTreeSet::new()))
    }
}

struct Who {
    issuer: String,
    subject: String,
    kind: Kind,
    method: String,
    groups: BTreeSet<String>,
    claims: BTreeMap<String, crate::identity::Exposed>,
    actors: Vec<Actor>,
}

impl Who {
    fn read(json: &Json, policies: &Policies) -> Result<Self, Unjudged> {
        let bad = |what: &str| Unjudged::Principal(format!("`{what}` does not read back"));
        let text = |of: &Json, name: &str| {
            let text = of.get(name).and_then(Json::as_str);
            text.map(str::to_owned).ok_or_else(|| bad(name))
        };
        let list = |name: &str| {
            json.get(name)
                .and_then(Json::as_array)
                .ok_or_else(|| bad(name))
        };
        let kind = serde_json::from_value(json.get("kind").cloned().unwrap_or_default());
        let groups = list("groups")?.iter();
        let groups = groups.map(|group| group.as_str().map(str::to_owned));
        let actors = list("actors")?.iter().map(|actor| {
            Ok(Actor {
                issuer: text(actor, "issuer")?,
                subject: text(actor, "subject")?,
            })
        });
        let given = json.get("exposed").and_then(Json::as_object);
        let mut claims = BTreeMap::new();
        for (name, value) in given.ok_or_else(|| bad("exposed"))? {
            // A claim that is not exposed any more cannot be named by a policy.
            let Some(kind) = policies.claims.get(name) else {
                continue;
            };
            let value = exposed(value, *kind).ok_or_else(|| {
                Unjudged::Principal(format!("claim `{name}` has another declared type now"))
            })?;
            claims.insert(name.clone(), value);
        }
        Ok(Self {
            issuer: text(json, "issuer")?,
            subject: text(json, "subject")?,
            kind: kind.map_err(|_| bad("kind"))?,
            method: text(json, "method")?,
            groups: groups.collect::<Option<_>>().ok_or_else(|| bad("groups"))?,
            claims,
            actors: actors.collect::<Result<_, _>>()?,
        })
    }
}
