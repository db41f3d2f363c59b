//! What the index keeps of one leaf.

use std::borrow::Cow;

use aws_lc_rs::digest::{self, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::frame::{LeafFrame, Position};
use super::super::leaf::{nanos_from_text, unhex};
use super::super::seal::ContentId;
use super::columns::Start;
use crate::clock::Timestamp;

/// Words for how a call stands; their places are what the index stores. New words go to the end.
const OUTCOMES: [&str; 14] = [
    "open",
    "ok",
    "upstream_error",
    "cut",
    "withheld",
    "failed",
    "indeterminate",
    "denied",
    "pending",
    "expired",
    "cancelled",
    "superseded",
    "revoked",
    "voided",
];
/// The number of every other word.
pub(super) const OTHER: u32 = 15;

/// The number of a word for how a call stands.
pub(super) fn outcome_number(word: &str) -> u32 {
    OUTCOMES
        .iter()
        .zip(0..)
        .find(|(known, _)| **known == word)
        .map_or(OTHER, |(_, number)| number)
}

/// What was decided about a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decided {
    /// Policy allowed it.
    Allow,
    /// It was refused.
    Deny,
    /// People were asked.
    Ask,
}

impl Decided {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Ask => "ask",
        }
    }

    /// The decision with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Allow, Self::Deny, Self::Ask]
            .into_iter()
            .find(|decided| decided.as_str() == word)
    }

    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Allow => 0,
            Self::Deny => 1,
            Self::Ask => 2,
        }
    }
}

/// Outcome, decision and marks, as one number of the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Standing(pub(super) u32);

impl Standing {
    const UNKNOWN: u32 = 1 << 6;
    /// Where two bits each begin.
    const SHADOW: u32 = 7;
    const OBSERVED: u32 = 9;
    const GLASS: u32 = 1 << 11;

    pub(super) const fn outcome(self) -> u32 {
        self.0 & 15
    }

    pub(super) const fn decided(self) -> u32 {
        (self.0 >> 4) & 3
    }

    pub(super) const fn unknown(self) -> bool {
        self.0 & Self::UNKNOWN != 0
    }

    pub(super) const fn glass(self) -> bool {
        self.0 & Self::GLASS != 0
    }

    /// What would be decided with the shadow policies that matched: one more than its number, 0 if
    /// none did.
    pub(super) const fn shadow(self) -> u32 {
        (self.0 >> Self::SHADOW) & 3
    }

    /// The same, of a call that passed because its connection only observes.
    pub(super) const fn observed(self) -> u32 {
        (self.0 >> Self::OBSERVED) & 3
    }

    /// What would be made of a call as it came.
    pub(super) fn came(shadow: Option<Decided>, observed: Option<Decided>) -> Self {
        let number = |would: Option<Decided>| would.map_or(0, |decided| decided.number() + 1);
        Self(number(shadow) << Self::SHADOW | number(observed) << Self::OBSERVED)
    }

    /// Whether it neither ended nor was denied.
    pub(super) fn undecided(self) -> bool {
        [outcome_number("open"), outcome_number("pending")].contains(&self.outcome())
    }

    pub(super) const fn with_outcome(self, outcome: u32) -> Self {
        Self(self.0 & !15 | outcome & 15)
    }

    pub(super) const fn with_decided(self, decided: Decided) -> Self {
        Self(self.0 & !(3 << 4) | decided.number() << 4)
    }

    pub(super) const fn with_unknown(self) -> Self {
        Self(self.0 | Self::UNKNOWN)
    }

    /// It runs because its caller broke the glass.
    pub(super) const fn with_glass(self) -> Self {
        Self(self.0 | Self::GLASS)
    }
}

/// First four bytes of an approval's hash; never 0.
pub(super) fn approval_number(id: &str) -> u32 {
    let hash = digest::digest(&SHA256, id.as_bytes());
    let first = hash.as_ref().first_chunk::<4>().copied();
    first.map_or(1, u32::from_le_bytes).max(1)
}

/// A leaf, as far as the index goes.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) id: ContentId,
    pub(super) index: u64,
    /// Behind the leaf before it.
    pub(super) start: Position,
    pub(super) at: Position,
    pub(super) ms: u64,
    pub(super) what: What,
}

/// What a leaf says of its call.
#[derive(Debug)]
pub(super) enum What {
    Begin(Facts),
    Ask(Facts),
    Deny(Facts),
    End {
        outcome: u32,
        status: u32,
    },
    /// The approval came to nothing; the number is the outcome's.
    Over(u32),
    /// It says nothing of how its call stands: a vote, a reading, a hold.
    Further,
    /// The config changed; it is of no call.
    Change,
    /// The pseudonym that is its id is erased.
    Erase,
}

/// Who called what.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) function: Option<String>,
    pub(super) subject: Option<[u8; 16]>,
    pub(super) actor: Option<[u8; 16]>,
    pub(super) approval: u32,
    pub(super) unknown: bool,
    pub(super) shadow: Option<Decided>,
    pub(super) observed: Option<Decided>,
    pub(super) glass: bool,
}

/// The fields that matter. Everything else in a leaf is skipped without being kept.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    t: Cow<'a, str>,
    #[serde(borrow, default)]
    function: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    subject_ref: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    actor_ref: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    approval: Option<&'a RawValue>,
    #[serde(borrow, default)]
    outcome: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
    #[serde(default)]
    status: Option<u32>,
    #[serde(borrow, default)]
    shadow: Option<WouldObject<'a>>,
    #[serde(borrow, default)]
    observed: Option<WouldObject<'a>>,
}

#[derive(Deserialize)]
struct WouldObject<'a> {
    #[serde(borrow)]
    decided: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ApprovalObject<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default)]
    break_glass: bool,
}

impl Fields<'_> {
    fn facts(&self) -> Facts {
        let mut glass = false;
        let approval = self.approval.map(RawValue::get).and_then(|text| {
            let object = serde_json::from_str::<ApprovalObject<'_>>(text);
            glass = object.as_ref().is_ok_and(|object| object.break_glass);
            let id = object.map(|object| object.id.into_owned());
            id.or_else(|_| serde_json::from_str::<String>(text)).ok()
        });
        let reference = |text: &Option<Cow<'_, str>>| text.as_deref().and_then(unhex::<16>);
        let would = |object: &Option<WouldObject<'_>>| {
            let word = object.as_ref().map(|object| object.decided.as_ref())?;
            Decided::from_word(word)
        };
        Facts {
            function: self.function.as_deref().map(ToOwned::to_owned),
            subject: reference(&self.subject_ref),
            actor: reference(&self.actor_ref),
            approval: approval.as_deref().map_or(0, approval_number),
            unknown: self.reason.as_deref() == Some("not_found"),
            shadow: would(&self.shadow),
            observed: would(&self.observed),
            glass,
        }
    }
}

impl Seen {
    /// Where it begins, with what is sealed with it.
    pub(super) const fn begins(&self) -> Start {
        Start {
            ms: self.ms,
            leaf: self.index,
            at: self.start,
        }
    }

    /// What matters of a leaf; `None` when nothing does.
    pub(super) fn parse(start: Position, at: Position, leaf: &LeafFrame<'_>) -> Option<Self> {
        let fields: Fields<'_> = serde_json::from_slice(leaf.leaf).ok()?;
        let what = match fields.kind.as_ref() {
            "call.begin" => What::Begin(fields.facts()),
            "approval.ask" => What::Ask(fields.facts()),
            "call.deny" => What::Deny(fields.facts()),
            "call.end" => What::End {
                outcome: outcome_number(fields.outcome.as_deref().unwrap_or_default()),
                status: fields.status.unwrap_or(0),
            },
            "approval.expire" => What::Over(outcome_number("expired")),
            "approval.cancel" => {
                What::Over(outcome_number(fields.reason.as_deref().unwrap_or_default()))
            }
            "erase.subject" => What::Erase,
            "config.change" => What::Change,
            // Votes, reads and the like do not say how the call stands.
            _ => What::Further,
        };
        if leaf.id == [0; 16] && !matches!(what, What::Change) {
            return None;
        }
        Some(Self {
            id: leaf.id,
            index: leaf.index,
            start,
            at,
            ms: nanos_from_text(&fields.t).map_or(0, Timestamp::millis),
            what,
        })
    }
}
