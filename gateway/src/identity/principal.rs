//! The verified caller.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// What kind of caller: set per issuer by rule, the least trusted by default.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A person.
    Human,
    /// A program that a person is not in front of.
    Workload,
    /// An AI agent; the least trusted, and the default.
    Agent,
}

impl Kind {
    /// The word in policies and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Workload => "workload",
            Self::Agent => "agent",
        }
    }
}

/// How the principal proved itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Method {
    /// A JWT signed by an issuer's key.
    Jwt {
        /// The key's id.
        key_id: String,
        /// The signature algorithm (`ES256`, …).
        algorithm: &'static str,
    },
    /// A button in Slack, by Slack's signature and the operator's word for whose account it is.
    Slack {
        /// The workspace's id.
        team: String,
        /// The member's id.
        user: String,
        /// When it was pressed.
        at: Timestamp,
    },
}

impl Method {
    /// The word in policies and records.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Jwt { .. } => "jwt",
            Self::Slack { .. } => "slack",
        }
    }
}

/// One actor of the `act` chain (RFC 8693 section 4.1), outermost first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Actor {
    /// Issuer alias, of the token when the actor names none of its own.
    pub issuer: String,
    /// Subject of the actor.
    pub subject: String,
}

/// Issuer alias and immutable subject: what identifies a principal. Never an e-mail address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct PrincipalKey {
    /// The issuer's alias in the config.
    pub issuer: String,
    /// The subject (`sub`).
    pub subject: String,
}

impl fmt::Display for PrincipalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.issuer, self.subject)
    }
}

/// Facts of the token itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenFacts {
    /// SHA-256 of the whole token.
    pub hash: [u8; 32],
    /// `jti`.
    pub id: Option<String>,
    /// `iat`.
    pub issued: Option<Timestamp>,
    /// `exp`.
    pub expires: Timestamp,
    /// `auth_time`: when the person last proved themselves to the issuer.
    pub authenticated: Option<Timestamp>,
    /// `acr`.
    pub acr: Option<String>,
}

/// A claim that policies may read, in the type that the config declares.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exposed {
    /// A text.
    String(String),
    /// A whole number.
    Long(i64),
    /// `true` or `false`.
    Bool(bool),
    /// A list of texts.
    Strings(BTreeSet<String>),
}

/// The verified caller. Only this room makes one, and only from evidence that it checked.
#[derive(Debug)]
pub struct Principal {
    facts: Facts,
}

/// What a principal is made of, within this room.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) key: PrincipalKey,
    pub(super) kind: Kind,
    pub(super) groups: BTreeSet<String>,
    pub(super) claims: serde_json::Map<String, serde_json::Value>,
    pub(super) exposed: BTreeMap<String, Exposed>,
    pub(super) person: Option<String>,
    pub(super) actors: Vec<Actor>,
    pub(super) method: Method,
    pub(super) token: TokenFacts,
}
impl Principal {
    /// A principal from checked facts.
    pub(super) const fn new(facts: Facts) -> Self {
        Self { facts }
    }

    /// Issuer alias and subject.
    pub const fn key(&self) -> &PrincipalKey {
        &self.facts.key
    }

    /// What kind of caller.
    pub const fn kind(&self) -> Kind {
        self.facts.kind
    }

    /// Groups as `alias/name`.
    pub const fn groups(&self) -> &BTreeSet<String> {
        &self.facts.groups
    }

    /// The token's claims, for policy and for the sealed record.
    pub const fn claims(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.facts.claims
    }

    /// Who acts for the subject, outermost first; empty when the subject acts itself.
    pub fn actors(&self) -> &[Actor] {
        &self.facts.actors
    }

    /// How it proved itself.
    pub const fn method(&self) -> &Method {
        &self.facts.method
    }

    /// When the principal was last there itself, as far as anybody says. The time of issue stands in only
    /// where the issuer does not say when the person signed in.
    pub fn was_there(&self) -> Option<Timestamp> {
        match &self.facts.method {
            Method::Jwt { .. } => self.facts.token.authenticated.or(self.facts.token.issued),
            Method::Slack { at, .. } => Some(*at),
        }
    }

    /// Facts of the token.
    pub const fn token(&self) -> &TokenFacts {
        &self.facts.token
    }

    /// The claims that policies may read, by the names that the config gives them.
    pub const fn exposed(&self) -> &BTreeMap<String, Exposed> {
        &self.facts.exposed
    }

    /// What is the same in all accounts of one human, where the config names such a claim: two
    /// principals with the same person are the same human.
    pub fn person(&self) -> Option<&str> {
        self.facts.person.as_deref()
    }

    /// Whether both are certainly or possibly the same human: same issuer and subject, or same person.
    pub fn is_same_human(&self, other: &Self) -> bool {
        let person = |who: &Self| who.person().map(str::to_owned);
        self.key() == other.key() || person(self).is_some_and(|me| Some(me) == person(other))
    }
}

#[cfg(test)]
impl Principal {
    /// A principal without evidence, for the tests of other rooms; groups as `alias/name`.
    pub(crate) fn for_tests(issuer: &str, subject: &str, kind: Kind, groups: &[&str]) -> Self {
        let claims = serde_json::json!({ "sub": subject });
        Self::new(Facts {
            key: PrincipalKey {
                issuer: issuer.to_owned(),
                subject: subject.to_owned(),
            },
            kind,
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            claims: claims.as_object().cloned().unwrap_or_default(),
            exposed: BTreeMap::new(),
            person: None,
            actors: Vec::new(),
            method: Method::Jwt {
                key_id: "test".to_owned(),
                algorithm: "ES256",
            },
            token: TokenFacts {
                hash: [7; 32],
                id: None,
                issued: None,
                expires: Timestamp::from_secs(4_000_000_000),
                authenticated: None,
                acr: None,
            },
        })
    }

    /// The same with an actor chain, for tests.
    pub(crate) fn acting(mut self, actors: &[(&str, &str)]) -> Self {
        self.facts.actors = actors
            .iter()
            .map(|(issuer, subject)| Actor {
                issuer: (*issuer).to_owned(),
                subject: (*subject).to_owned(),
            })
            .collect();
        self
    }

    /// The same as an account of a person, for tests.
    pub(crate) fn of_person(mut self, person: &str) -> Self {
        self.facts.person = Some(person.to_owned());
        self
    }

    /// The same with a claim, for tests.
    pub(crate) fn claiming(mut self, name: &str, value: serde_json::Value) -> Self {
        self.facts.claims.insert(name.to_owned(), value);
        self
    }

    /// The same with an authentication context class, for tests.
    pub(crate) fn with_acr(mut self, acr: &str) -> Self {
        self.facts.token.acr = Some(acr.to_owned());
        self
    }

    /// The same with times of sign-in and issue, for tests.
    pub(crate) const fn signed_in(
        mut self,
        authenticated: Option<Timestamp>,
        issued: Option<Timestamp>,
    ) -> Self {
        self.facts.token.authenticated = authenticated;
        self.facts.token.issued = issued;
        self
    }
}
