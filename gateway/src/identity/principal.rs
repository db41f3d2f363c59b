//! The verified caller.

use std::collections::BTreeSet;
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
}

impl Method {
    /// The word in policies and records.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Jwt { .. } => "jwt",
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

/// The verified caller. Only this room makes one, and only from evidence that it checked.
#[derive(Debug)]
pub struct Principal {
    key: PrincipalKey,
    kind: Kind,
    groups: BTreeSet<String>,
    claims: serde_json::Map<String, serde_json::Value>,
    actors: Vec<Actor>,
    method: Method,
    token: TokenFacts,
}

impl Principal {
    /// Issuer alias and subject.
    pub const fn key(&self) -> &PrincipalKey {
        &self.key
    }

    /// What kind of caller.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Groups as `alias/name`.
    pub const fn groups(&self) -> &BTreeSet<String> {
        &self.groups
    }

    /// The token's claims, for policy and for the sealed record.
    pub const fn claims(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.claims
    }

    /// Who acts for the subject, outermost first; empty when the subject acts itself.
    pub fn actors(&self) -> &[Actor] {
        &self.actors
    }

    /// How it proved itself.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// Facts of the token.
    pub const fn token(&self) -> &TokenFacts {
        &self.token
    }
}
