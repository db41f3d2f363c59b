//! The voter as it was verified for its vote, kept with the vote: whether it may still approve is asked
//! again when the call runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::{Exposed, Kind, Principal, PrincipalKey, Revocations};
use crate::policy::{PersonFacts, Subject};

/// What policy and the revocation list ask about a voter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoterSnapshot {
    kind: Kind,
    method: String,
    groups: BTreeSet<String>,
    claims: BTreeMap<String, Exposed>,
    source: IpAddr,
    at_ms: u64,
    token_hash: [u8; 32],
    token_id: Option<String>,
    issued_ms: Option<u64>,
}

impl VoterSnapshot {
    pub(super) fn of(voter: &Principal, facts: PersonFacts) -> Self {
        let token = voter.token();
        Self {
            kind: voter.kind(),
            method: voter.method().as_str().to_owned(),
            groups: voter.groups().clone(),
            claims: voter.exposed().clone(),
            source: facts.source,
            at_ms: facts.at.millis(),
            token_hash: token.hash,
            token_id: token.id.clone(),
            issued_ms: token.issued.map(Timestamp::millis),
        }
    }

    /// The voter as policy sees it.
    pub fn subject<'a>(&'a self, key: &'a PrincipalKey) -> Subject<'a> {
        Subject {
            issuer: &key.issuer,
            subject: &key.subject,
            kind: self.kind,
            method: &self.method,
            groups: &self.groups,
            claims: &self.claims,
            // Nobody votes with a delegated token.
            actors: &[],
        }
    }

    /// When and from where the vote came.
    pub fn facts(&self) -> PersonFacts {
        PersonFacts {
            at: millis(self.at_ms),
            source: self.source,
        }
    }

    /// Whether the voter, or the token that it voted with, is revoked by now.
    pub fn is_revoked(&self, key: &PrincipalKey, revocations: &Revocations) -> bool {
        revocations.is_shut_out(
            key,
            self.issued_ms.map(millis),
            &self.token_hash,
            self.token_id.as_deref(),
        )
    }
}

fn millis(millis: u64) -> Timestamp {
    Timestamp::from_nanos(millis.saturating_mul(1_000_000))
}
