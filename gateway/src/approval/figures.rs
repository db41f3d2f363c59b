//! How deciding goes for people: what owners of rules look at before they change them.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::Timestamp;
use crate::store::Decided;

use super::{Approvals, Error, HISTORY_KEPT, State};

/// A decision that came faster than anybody reads.
pub const RUBBER_STAMP: Duration = Duration::from_secs(3);

/// Figures of one function.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct FunctionFigures {
    /// The function.
    pub function: String,
    /// Questions of the last 30 days.
    pub asked: u64,
    /// Those that people opened, or denied: the two together are `decided`.
    pub approved: u64,
    /// Those that somebody denied.
    pub denied: u64,
    /// Those that nobody decided, or nobody ran, in time.
    pub expired: u64,
    /// Half of the decided ones were decided within so many milliseconds after the question; absent when
    /// none was decided.
    pub median_decision_ms: Option<u64>,
    /// Approved by grants alone: nobody was asked. They count in neither of the two figures about deciding.
    pub granted: u64,
    /// Decided within 3 seconds: faster than anybody reads.
    pub rubber_stamps: u64,
}

impl Approvals {
    /// Figures of the last 30 days, by function.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn figures(&self) -> Result<Vec<FunctionFigures>, Error> {
        let now = self.now();
        let kept = u64::try_from(HISTORY_KEPT.as_nanos()).unwrap_or(u64::MAX);
        let since = Timestamp::from_nanos(now.nanos().saturating_sub(kept));
        Ok(figures(&self.inner.store.decided(since, now).await?))
    }
}

fn figures(questions: &[Decided]) -> Vec<FunctionFigures> {
    let mut functions: BTreeMap<&str, Vec<&Decided>> = BTreeMap::new();
    for question in questions {
        functions
            .entry(&question.function)
            .or_default()
            .push(question);
    }
    let each = functions.into_iter();
    each.map(|(function, questions)| of_function(function, &questions))
        .collect()
}

fn of_function(function: &str, questions: &[&Decided]) -> FunctionFigures {
    let mut figures = FunctionFigures {
        function: function.to_owned(),
        asked: questions.len() as u64,
        approved: 0,
        denied: 0,
        expired: 0,
        median_decision_ms: None,
        granted: 0,
        rubber_stamps: 0,
    };
    let mut took: Vec<u64> = Vec::new();
    for question in questions {
        match question.state {
            State::Approved
            | State::Executing
            | State::Done
            | State::Failed
            | State::Indeterminate => figures.approved += 1,
            State::Denied => figures.denied += 1,
            State::Expired => {
                figures.expired += 1;
                continue;
            }
            State::Pending | State::Cancelled | State::Superseded => continue,
        }
        if question.granted {
            figures.granted += 1;
        } else if let Some(voted) = question.voted {
            took.push(voted.millis().saturating_sub(question.created.millis()));
        }
    }
    took.sort_unstable();
    let fast = u64::try_from(RUBBER_STAMP.as_millis()).unwrap_or(u64::MAX);
    figures.rubber_stamps = took.iter().filter(|took| **took <= fast).count() as u64;
    figures.median_decision_ms = took.get(took.len().saturating_sub(1) / 2).copied();
    figures
}
