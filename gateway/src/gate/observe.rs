//! Connections that only observe for a while: what policy would have said is recorded, and calls pass.
//!
//! A path of its own, so that it stands where it is taken: it needs an [`Observing`], which only a
//! connection in that mode has and only until its time is over, and a [`Seen`], which no other path takes.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Admitted, Gate, Refusal, Terrain, Verdict, why_denied};
use crate::call::{Call, Seen};
use crate::clock::Timestamp;
use crate::identity::Principal;
use crate::policy::{Decision, Obligations};
use crate::record::Observed;

/// Most days that a connection may only observe from now on.
pub const OBSERVE_DAYS_MAX: u64 = 90;

/// Whether a connection enforces: `enforce`, or `observe until 2026-12-31` (the last day, UTC).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum ModeConfig {
    /// What policy does not allow is refused.
    #[default]
    Enforce,
    /// Calls pass until the end of this day, and then are enforced.
    Observe(ObserveUntil),
}

/// Until when a connection only observes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObserveUntil {
    day: String,
    end: Timestamp,
}

/// How the time of observing stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObserveStands {
    /// Calls pass.
    Observing,
    /// The time is over: the connection enforces.
    Over,
    /// It would last longer than [`OBSERVE_DAYS_MAX`] days.
    TooLong,
}

/// Proof that a connection only observes at the time of one call.
#[derive(Debug)]
pub struct Observing(());

impl ObserveUntil {
    /// How it stands at some time.
    pub fn stands(&self, now: Timestamp) -> ObserveStands {
        let longest = now.plus(Duration::from_secs(OBSERVE_DAYS_MAX * 24 * 3600));
        if self.end <= now {
            ObserveStands::Over
        } else if self.end > longest {
            ObserveStands::TooLong
        } else {
            ObserveStands::Observing
        }
    }

    /// Whether a call that is received at `at` is only observed. A clock that was set back does not
    /// matter more than it does for tokens: the config holds the day.
    pub fn at(&self, at: Timestamp) -> Option<Observing> {
        (at < self.end).then_some(Observing(()))
    }

    /// The last day, in UTC.
    pub fn day(&self) -> &str {
        &self.day
    }

    /// When that day is over.
    pub const fn end(&self) -> Timestamp {
        self.end
    }
}

impl TryFrom<String> for ModeConfig {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "enforce" {
            return Ok(Self::Enforce);
        }
        let day = text.strip_prefix("observe until ").map(str::trim);
        let until = day.and_then(|day| Some((day.to_owned(), Timestamp::end_of_day(day)?)));
        let (day, end) = until.ok_or_else(|| {
            format!("`{text}` is no mode: write `enforce`, or `observe until 2026-12-31`")
        })?;
        Ok(Self::Observe(ObserveUntil { day, end }))
    }
}

impl From<ModeConfig> for String {
    fn from(mode: ModeConfig) -> Self {
        mode.to_string()
    }
}

impl fmt::Display for ModeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enforce => f.write_str("enforce"),
            Self::Observe(until) => write!(f, "observe until {}", until.day),
        }
    }
}

impl Gate {
    /// Let a call pass and record what would have become of it. Everything that is no judgement of the
    /// call holds as ever: without a begin record nothing is sent.
    ///
    /// # Errors
    /// The [`Refusal`] when it cannot be recorded.
    pub async fn observe<C: Call>(
        &self,
        _observing: Observing,
        who: Arc<Principal>,
        seen: Seen<C>,
        terrain: Terrain<'_>,
    ) -> Result<Admitted<C>, Refusal> {
        let (call, fault) = seen.into_parts();
        let would = |decided, reason, policies, detail| Observed {
            decided,
            reason,
            policies,
            detail,
        };
        let (obligations, observed, shadowed) = match fault {
            Some(fault) => {
                let observed = would("deny", Some(fault.code), Vec::new(), Some(fault.detail));
                (Obligations::unjudged(), observed, None)
            }
            None => {
                let (decision, shadowed) =
                    self.judge(&who, &call, terrain.policies, &BTreeSet::new());
                let (obligations, observed) = match decision {
                    Decision::Allow(obligations) => {
                        (obligations, would("allow", None, Vec::new(), None))
                    }
                    Decision::Deny(denial) => {
                        let why = why_denied(&denial);
                        let reason = Some("denied");
                        let observed = would("deny", reason, denial.policies, Some(why));
                        (Obligations::unjudged(), observed)
                    }
                    Decision::Ask(terms) => {
                        let rules = terms.rules.into_iter().map(|rule| rule.id).collect();
                        let observed = would("ask", Some("approval_pending"), rules, None);
                        (Obligations::unjudged(), observed)
                    }
                };
                (obligations, observed, shadowed)
            }
        };
        let connection = call.function().id.connection().as_str();
        self.metrics.observed(connection, observed.decided);
        let verdict = Verdict {
            who,
            obligations,
            execution: None,
            shadowed,
            observed: Some(observed),
        };
        let permit = self.begin(call, verdict, terrain).await?;
        Ok(Admitted::Permit(permit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(text: &str) -> ObserveUntil {
        match ModeConfig::try_from(text.to_owned()) {
            Ok(ModeConfig::Observe(until)) => until,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_mode_that_is_none_is_told_with_its_form() {
        for bad in [
            "",
            "observe",
            "observe until",
            "observe until tomorrow",
            "off",
            "observe until 2026-02-30",
        ] {
            let told = ModeConfig::try_from(bad.to_owned()).unwrap_err();
            assert_eq!(
                told,
                format!("`{bad}` is no mode: write `enforce`, or `observe until 2026-12-31`")
            );
        }
    }

    #[test]
    fn observing_ends_with_its_last_day_and_then_enforces() {
        let until = until("observe until 2026-12-31");
        // 2026-12-31T23:59:59Z, and the second after.
        let (last, over) = (
            Timestamp::from_secs(1_798_761_599),
            Timestamp::from_secs(1_798_761_600),
        );
        assert!(until.at(last).is_some());
        assert_eq!(until.stands(last), ObserveStands::Observing);
        assert!(until.at(over).is_none());
        assert_eq!(until.stands(over), ObserveStands::Over);
        let early = Timestamp::from_secs(1_798_761_600 - 91 * 24 * 3600);
        assert_eq!(until.stands(early), ObserveStands::TooLong);
    }
}
