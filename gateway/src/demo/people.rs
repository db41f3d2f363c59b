//! Who lives in the demo.

use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::Error;

/// A person, workload or agent of the demo.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Person {
    /// Works in support: may read customers and ask for refunds.
    Alice,
    /// Leads payments and security: may approve.
    Bob,
    /// A build pipeline.
    Ci,
    /// An AI agent that acts for Alice: the subject is Alice, the actor is the agent (RFC 8693 section 4.1).
    Agent,
}

impl Person {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Alice, Self::Bob, Self::Ci, Self::Agent];

    /// The name on the command line, and the id of its OAuth client if it has one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alice => "alice",
            Self::Bob => "bob",
            Self::Ci => "ci",
            Self::Agent => "agent",
        }
    }

    /// The secret of its OAuth client: workloads and agents have one, people have not. Public on purpose, and worth
    /// nothing beyond the demo.
    pub const fn client_secret(self) -> Option<&'static str> {
        match self {
            Self::Alice | Self::Bob => None,
            Self::Ci => Some("callgate-demo-secret-of-ci"),
            Self::Agent => Some("callgate-demo-secret-of-agent"),
        }
    }

    /// The claims that tell about it.
    pub(super) fn claims(self) -> Map<String, Value> {
        let claims = match self {
            Self::Alice => json!({
                "sub": "alice", "name": "Alice Martin", "account_type": "person", "groups": ["support"],
            }),
            Self::Bob => json!({
                "sub": "bob", "name": "Bob Okafor", "account_type": "person",
                "groups": ["payments-leads", "security"],
            }),
            Self::Ci => json!({
                "sub": "ci", "client_id": "ci", "account_type": "workload", "groups": ["ci"],
            }),
            Self::Agent => json!({
                "sub": "alice", "client_id": "agent", "account_type": "agent", "groups": ["support"],
                "act": { "sub": "agent" },
            }),
        };
        match claims {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    /// People prove themselves with each token: the demo has no sessions.
    pub(super) const fn is_human(self) -> bool {
        matches!(self, Self::Alice | Self::Bob)
    }
}

impl FromStr for Person {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|person| person.name() == name)
            .ok_or_else(|| Error::Nobody(name.to_owned()))
    }
}

/// What a token is for. One for the data path is no good at the console, and the other way round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience {
    /// Calls.
    Gateway,
    /// People's API: votes, audit.
    Console,
}

impl Audience {
    /// The audience of the token (`aud`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "urn:callgate-demo:gateway",
            Self::Console => "urn:callgate-demo:console",
        }
    }
}
