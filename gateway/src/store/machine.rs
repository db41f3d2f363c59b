//! The state machine of a held call, without any I/O: states, edges, and when an edge may be taken.
//!
//! The stores carry out an edge as one conditional update; every condition comes from here.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Where a held call stands.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// People are asked.
    Pending,
    /// Every rule is opened; it waits for its caller.
    Approved,
    /// Taken by an instance, once; from here on it may have reached the function.
    Executing,
    /// It ran and ended.
    Done,
    /// It ran and is known to have failed.
    Failed,
    /// It may or may not have run; it never runs again.
    Indeterminate,
    /// A person said no.
    Denied,
    /// Nobody decided, or nobody came to run it, in time.
    Expired,
    /// Its caller took it back, or its caller, connection or approval was revoked.
    Cancelled,
    /// Policy asks something else by now.
    Superseded,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Approved,
        Self::Executing,
        Self::Done,
        Self::Failed,
        Self::Indeterminate,
        Self::Denied,
        Self::Expired,
        Self::Cancelled,
        Self::Superseded,
    ];

    /// The word in the database, in records and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Executing => "executing",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Indeterminate => "indeterminate",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }

    /// Whether nothing can change it any more.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Approved | Self::Executing => false,
            Self::Done
            | Self::Failed
            | Self::Indeterminate
            | Self::Denied
            | Self::Expired
            | Self::Cancelled
            | Self::Superseded => true,
        }
    }

    /// The state as read at `now`: waiting states past their time have expired, whether or not the
    /// sweep has been there.
    #[must_use]
    pub fn at(self, expires: Timestamp, now: Timestamp) -> Self {
        match self {
            Self::Pending | Self::Approved if now.millis() >= expires.millis() => Self::Expired,
            Self::Pending
            | Self::Approved
            | Self::Executing
            | Self::Done
            | Self::Failed
            | Self::Indeterminate
            | Self::Denied
            | Self::Expired
            | Self::Cancelled
            | Self::Superseded => self,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(UnknownState)
    }
}

/// A word that is no state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a state of an approval")]
pub struct UnknownState;

/// A step from one state to another. There are no others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Edge {
    /// The last vote that was missing.
    Approve,
    /// One person's no; it also takes back an approval that nobody has run yet.
    Deny,
    /// Time ran out.
    Expire,
    /// The caller or a revocation took it back.
    Cancel,
    /// A vote that had counted was voided: people are asked again.
    Reopen,
    /// An instance begins to run it.
    Take,
    /// The instance gives it back: nothing was sent.
    GiveBack,
    /// It ran.
    Done,
    /// It is known to have failed.
    Fail,
    /// Nobody knows whether it ran.
    Lose,
    /// Policy asks something else by now.
    Supersede,
}

/// How an edge stands to the deadline. The instant of the deadline itself is too late.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Only while `now < expires`.
    Before,
    /// Only once `now >= expires`.
    After,
    /// Whatever the time.
    Any,
}

impl Edge {
    /// Every edge.
    pub const ALL: [Self; 11] = [
        Self::Approve,
        Self::Deny,
        Self::Expire,
        Self::Cancel,
        Self::Reopen,
        Self::Take,
        Self::GiveBack,
        Self::Done,
        Self::Fail,
        Self::Lose,
        Self::Supersede,
    ];

    /// Where it may start. Out of [`State::Executing`] only the holder of the lease may go.
    pub const fn from(self) -> &'static [State] {
        match self {
            Self::Approve => &[State::Pending],
            Self::Deny | Self::Expire | Self::Cancel => &[State::Pending, State::Approved],
            Self::Reopen => &[State::Approved, State::Executing],
            Self::Take => &[State::Approved],
            Self::GiveBack | Self::Done | Self::Fail | Self::Lose => &[State::Executing],
            Self::Supersede => &[State::Pending, State::Approved, State::Executing],
        }
    }

    /// Where it leads.
    pub const fn to(self) -> State {
        match self {
            Self::Approve | Self::GiveBack => State::Approved,
            Self::Deny => State::Denied,
            Self::Expire => State::Expired,
            Self::Cancel => State::Cancelled,
            Self::Reopen => State::Pending,
            Self::Take => State::Executing,
            Self::Done => State::Done,
            Self::Fail => State::Failed,
            Self::Lose => State::Indeterminate,
            Self::Supersede => State::Superseded,
        }
    }

    /// How it stands to the deadline.
    pub const fn when(self) -> When {
        match self {
            Self::Approve | Self::Deny | Self::Cancel | Self::Take => When::Before,
            Self::Expire => When::After,
            Self::Reopen
            | Self::GiveBack
            | Self::Done
            | Self::Fail
            | Self::Lose
            | Self::Supersede => When::Any,
        }
    }

    /// Whether it may be taken. `lease` says whether the one who asks holds the row's lease.
    pub fn may(self, state: State, expires: Timestamp, now: Timestamp, lease: bool) -> bool {
        let in_time = match self.when() {
            When::Before => now.millis() < expires.millis(),
            When::After => now.millis() >= expires.millis(),
            When::Any => true,
        };
        let held = state != State::Executing || lease;
        self.from().contains(&state) && in_time && held
    }
}
