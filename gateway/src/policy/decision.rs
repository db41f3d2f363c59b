//! What policy answers.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mask::DataClass;

/// The answer about one call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Go on, with these obligations.
    Allow(Obligations),
    /// Refused.
    Deny(Denial),
    /// People can open the approval rules that stand in the way.
    Ask(Terms),
}

/// What an allowed call must be given on its way back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Obligations {
    pub(super) unmask: BTreeSet<DataClass>,
    pub(super) policies: Vec<String>,
}

impl Obligations {
    /// Data classes that this principal may see unmasked in the answer.
    pub const fn unmask(&self) -> &BTreeSet<DataClass> {
        &self.unmask
    }

    /// Those of a call that no policy allowed and that passes because its connection only observes:
    /// nothing is unmasked. For the gate's observing path alone.
    pub(crate) const fn unjudged() -> Self {
        Self {
            unmask: BTreeSet::new(),
            policies: Vec::new(),
        }
    }

    /// Ids of the policies that allowed the call, sorted.
    pub fn policies(&self) -> &[String] {
        &self.policies
    }
}

/// What would be decided if the shadow policies that matched were enforced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shadowed {
    /// `allow`, `deny` or `ask`.
    pub decided: &'static str,
    /// Ids of the shadow policies that matched, or could not be evaluated; sorted.
    pub policies: Vec<String>,
}

/// Why a call was refused. The caller reads only that it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// Why.
    pub reason: DenialReason,
    /// Ids of the policies that decided, sorted; for the record and the operator.
    pub policies: Vec<String>,
}

/// The kinds of refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DenialReason {
    /// No policy permits the call.
    NoPermit,
    /// A policy forbids it.
    Forbidden,
    /// A policy could not be evaluated; the text is for the operator.
    Error(String),
}

/// SHA-256 of an approval rule's text and annotations: its identity across reloads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleHash(pub [u8; 32]);

impl fmt::Debug for RuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for RuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Which people can open the rules: every rule must be opened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// The approval rules that matched, sorted by id. Never empty.
    pub rules: Vec<RuleTerms>,
}

/// The terms of one approval rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RuleTerms {
    /// The rule's `@id`.
    pub id: String,
    /// Its identity.
    pub hash: RuleHash,
    /// Who may open it.
    pub who: GroupExpr,
    /// How many distinct people of each named group (each leg of an `and`).
    pub quorum: u32,
    /// How long people have to decide.
    pub decide_within: Duration,
    /// The rule's `@reason`, for approvers.
    pub reason: Option<String>,
    /// How the approver must have signed in, beyond what every vote needs.
    #[serde(default, skip_serializing_if = "StepUp::is_none")]
    pub step_up: StepUp,
    /// How far a yes may be widened to later calls; `None`: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantTerms>,
    /// Who may let a call of their own through without the quorum; `None`: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlass>,
}

/// Who may break the glass, and for how long that lets a call through.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BreakGlass {
    /// Who: one person in every group of one alternative.
    pub who: GroupExpr,
    /// Within what time the call must run.
    pub within: Duration,
}

/// How far a yes may be widened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GrantTerms {
    /// Most later calls that one grant opens.
    pub uses: u32,
    /// How long a grant may last.
    pub within: Duration,
}

/// What a rule asks of the sign-in behind a vote.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StepUp {
    /// One of these authentication context classes (`acr`); empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acr: Vec<String>,
    /// The sign-in is at most this old, by the issuer's own word (`auth_time`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
}

impl StepUp {
    /// Whether nothing beyond an ordinary vote is asked.
    pub const fn is_none(&self) -> bool {
        self.acr.is_empty() && self.max_age.is_none()
    }
}

/// Groups joined by *and* and *or*: alternatives of legs. `a and b or c` is `[[a, b], [c]]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupExpr {
    /// Alternatives; one of them must be met. Each is a list of groups (`alias/name`), all of which
    /// must reach the quorum with distinct people.
    pub any_of: Vec<Vec<String>>,
}

impl GroupExpr {
    /// Whether these groups are all of one alternative.
    pub fn is_met_by(&self, groups: &BTreeSet<String>) -> bool {
        let met =
            |legs: &Vec<String>| !legs.is_empty() && legs.iter().all(|leg| groups.contains(leg));
        self.any_of.iter().any(met)
    }
}
