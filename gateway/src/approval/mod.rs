//! Held calls: the question to people, their votes, and the one run of what they approved.
//!
//! **Owns** the frozen call (its exact bytes, sealed), the votes, and the state machine
//! `pending → approved → executing → done | failed | indeterminate` with the side exits `denied`,
//! `expired`, `cancelled`, `superseded` ([`crate::store::machine`]). A vote is bound to the exact stored
//! bytes: a keyed hash (the *binding*) covers the call, the summary that people saw, the requester, the
//! terms and the id; every vote carries a seal over the binding. [`Approvals::take`] opens the bytes,
//! checks the binding, checks every vote's seal and counts them again, so a state that somebody wrote
//! into the database runs nothing.
//!
//! **Refuses** votes of anybody but a freshly authenticated person who is named by the rule, permitted
//! by policy, and neither the requester nor anybody the requester acts for or through; a second vote of
//! one person on a rule; votes after the deadline; a second run, under any race; a run for another
//! caller.
//!
//! **A vote is on the audit record before it counts.** [`Approvals::vote`] checks the vote, hands a
//! [`VoteNote`] to the caller's `record` closure, and only when that has succeeded (the record is on
//! stable storage) writes the vote and lets it count, in one transaction. A vote whose record cannot be
//! written does not exist. A record whose vote then came too late, or whose transaction failed, states
//! only that the vote was offered; what it led to stands in the record of the state change, which comes
//! from [`Approvals::next_changes`]: changes are written in the same transaction as the change itself and stay
//! until [`Approvals::changes_taken`], so a crash repeats them and loses none.
//!
//! **Executing is left by its holder only**, who carries a lease in [`Execution`]. An execution that is
//! dropped without an end becomes `indeterminate` at the next sweep, and so does what a dead instance
//! was executing ([`Approvals::recover`]). Nothing that may have run ever runs again by itself.
//!
//! Called by `gate` (ask, wait, take, end), `console` (vote, show, list) and `app` (sweep, recover,
//! changes). Does no I/O of its own but through [`crate::store`].

mod ask;
mod end;
mod figures;
mod glass;
mod grant;
mod id;
mod members;
mod once;
mod open;
mod pattern;
mod run;
mod seal;
mod shown;
mod tally;
mod terminal;
mod view;
mod vote;
mod voter;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::{SharedClock, Timestamp};
use crate::identity::Principal;
use crate::secret::Secret;
use crate::store::{self, Change, GrantsOf, Revoked, Store};

use seal::{Broken, Fields, Keys};

pub use crate::store::State;
pub use ask::{AskError, Question, Ticket};
pub use end::{Outcome, Voided};
pub use figures::{FunctionFigures, RUBBER_STAMP};
pub use grant::{GrantNote, GrantPage, GrantView, Widening, WideningError};
pub use id::ApprovalId;
pub use once::{Begun, Ended, OnceKey};
pub use pattern::PatternError;
pub use run::{Execution, TakeError, Voter};
pub use shown::{Difference, Place, PlaceKind, RecentView, Shown, ShownText, SinceLast};
pub use terminal::terminal_safe;
pub use view::{ApprovalHead, ApprovalView, InClear, RequesterView, RuleView, VoteView};
pub use vote::{Ballot, StepUpLack, Verdict, VoteError, VoteNote};
pub use voter::VoterSnapshot;

/// Longest that a caller is held while people decide, in seconds.
pub const HOLD_S_MAX: u64 = 300;
/// Longest frozen call, in bytes: a body of 1 MiB and its head.
pub const FROZEN_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest summary for approvers as JSON, in bytes.
pub const SUMMARY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest typed input that is kept for comparison, as JSON, in bytes.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Other questions of the caller that an approver sees.
pub const RECENT_MAX: u32 = 10;
/// Longest terms as JSON, in bytes.
pub const TERMS_BYTES_MAX: usize = 64 * 1024;
/// Longest reason of a vote, in bytes.
pub const REASON_BYTES_MAX: usize = 2_000;
/// Longest kept result, in bytes.
pub const RESULT_BYTES_MAX: usize = 1024 * 1024;
/// How long a result is kept for a caller that has gone, and an unknown outcome answers repetitions.
pub const RESULT_KEPT: Duration = Duration::from_secs(600);
/// Longest time to decide, whatever a rule or the config says.
pub const DECIDE_WITHIN_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Open approvals in all.
pub const PENDING_MAX: u32 = 10_000;
/// Changes that may wait for the audit log before new questions are refused.
pub const CHANGES_MAX: i64 = 100_000;
/// How long an ended approval stays in lists; its content is erased at its end.
pub const HISTORY_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// How far a token's authentication time may lie ahead of our clock.
pub const SKEW_MAX: Duration = Duration::from_secs(60);
/// The claim that names the owner of a service account or agent: a subject of the same issuer, or a
/// person.
pub const OWNER_CLAIM: &str = "owner";

/// How calls are held for approval.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ApprovalsConfig")]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Longest time that people have to decide, in seconds: a longer `@decide_within` of an approval
    /// rule is cut to it. Default 604800 (7 days), which is also the most. A rule without
    /// `@decide_within` gives 15 minutes.
    pub decide_within_max_s: u64,
    /// How long an approved call waits for its caller to run it, in seconds. Default 300 (5 minutes),
    /// at most 86400.
    pub execute_within_s: u64,
    /// How many open approvals one principal may have at a time. Default 5.
    pub pending_per_principal_max: u32,
    /// How many new approvals one principal may ask for in an hour. Default 60.
    pub asks_per_hour_max: u32,
    /// How many bytes all held calls may take together in the database. Default 268435456 (256 MiB).
    pub pending_bytes_max: u64,
    /// How long a caller's connection is held before it is told to come again, in seconds. Default 25.
    pub hold_s: u64,
    /// How long a principal waits after a no before it may ask for the same function again, in seconds.
    /// Doubles with each no within an hour, up to 15 minutes. Default 60; 0 turns it off.
    pub cooldown_s: u64,
    /// How recently an approver must have proved themselves to their issuer, in seconds. Default 600
    /// (10 minutes), which is also the most.
    pub vote_fresh_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            decide_within_max_s: DECIDE_WITHIN_MAX.as_secs(),
            execute_within_s: 300,
            pending_per_principal_max: 5,
            asks_per_hour_max: 60,
            pending_bytes_max: 256 * 1024 * 1024,
            hold_s: 25,
            cooldown_s: 60,
            vote_fresh_s: 600,
        }
    }
}

impl Config {
    /// Every fault of the config, each with the field's name; empty when there is none.
    pub fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let checks = [
            (
                "decide_within_max_s",
                (1..=DECIDE_WITHIN_MAX.as_secs()).contains(&self.decide_within_max_s),
                "must be 1 to 604800",
            ),
            (
                "execute_within_s",
                (1..=86_400).contains(&self.execute_within_s),
                "must be 1 to 86400",
            ),
            (
                "pending_per_principal_max",
                (1..=PENDING_MAX).contains(&self.pending_per_principal_max),
                "must be 1 to 10000",
            ),
            (
                "asks_per_hour_max",
                (1..=1_000_000).contains(&self.asks_per_hour_max),
                "must be 1 to 1000000",
            ),
            (
                "pending_bytes_max",
                (1 << 20..=1 << 40).contains(&self.pending_bytes_max),
                "must be 1 MiB to 1 TiB",
            ),
            ("hold_s", self.hold_s <= HOLD_S_MAX, "must be at most 300"),
            (
                "cooldown_s",
                self.cooldown_s <= 86_400,
                "must be at most 86400",
            ),
            (
                "vote_fresh_s",
                (1..=600).contains(&self.vote_fresh_s),
                "must be 1 to 600",
            ),
        ];
        checks
            .into_iter()
            .filter(|(_, good, _)| !good)
            .map(|(field, _, help)| (field, help))
            .collect()
    }

    /// How long a caller's connection is held.
    pub const fn hold(&self) -> Duration {
        Duration::from_secs(self.hold_s)
    }
}

/// Why something about an approval failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such approval, or none of this principal.
    #[error("unknown approval `{0}`")]
    Unknown(ApprovalId),
    /// Stored bytes, terms, requester or votes are not what was written.
    #[error("approval `{0}` is not what was stored: it was changed outside of the gateway")]
    Tampered(ApprovalId),
    /// It is not in a state from which this can be done.
    #[error("approval `{id}` is {state}")]
    Closed {
        /// Which.
        id: ApprovalId,
        /// Its state.
        state: State,
    },
    /// Larger than what is kept.
    #[error("{0} is larger than {1} bytes")]
    TooLarge(&'static str, usize),
    /// Sealing failed, or there is no randomness.
    #[error("the machine's cryptography failed")]
    Crypto,
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Held calls. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Approvals {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    keys: Keys,
    clock: SharedClock,
    config: Config,
    waits: wait::Waits,
    ends: Arc<end::Ends>,
}

impl Approvals {
    /// Held calls in `store`, sealed under `key`.
    ///
    /// # Errors
    /// [`Error::Crypto`] when the key cannot be used.
    pub fn new(
        store: Arc<dyn Store>,
        key: &Secret<[u8; 32]>,
        clock: SharedClock,
        config: Config,
    ) -> Result<Self, Error> {
        let keys = Keys::new(key)?;
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                keys,
                clock,
                config,
                waits: wait::Waits::default(),
                ends: Arc::new(end::Ends::default()),
            }),
        })
    }

    /// The config.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Take a question back. Only its requester may, and only before it is executing.
    ///
    /// # Errors
    /// [`Error::Unknown`] for an approval that is not this principal's, [`Error::Closed`] when it is
    /// too late.
    pub async fn cancel(&self, id: &ApprovalId, principal: &Principal) -> Result<(), Error> {
        let (row, _) = self.row(id).await?;
        if row.issuer != principal.key().issuer || row.subject != principal.key().subject {
            return Err(Error::Unknown(id.clone()));
        }
        let step = store::Step {
            id: id.to_string(),
            edge: store::Edge::Cancel,
            lease: None,
            result: None,
            cause: "caller",
        };
        let moved = self.inner.store.step(step, self.now()).await?;
        self.woken(id.as_str());
        self.went(id, moved)
    }

    /// A revocation was written: cancel the open approvals that it hits (of the principal, issuer or
    /// connection, or the one approval), and void the votes of revoked people on open approvals, which
    /// sends approvals that they had opened back to pending. Answers the approvals that changed.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn revoked(&self, what: &Revoked) -> Result<Vec<String>, Error> {
        let now = self.now();
        let mut changed = self.inner.store.cancel_revoked(what.clone(), now).await?;
        let voters = match what {
            Revoked::Principal { issuer, subject } => Some((issuer.clone(), Some(subject.clone()))),
            Revoked::Issuer(alias) => Some((alias.clone(), None)),
            Revoked::Token { .. }
            | Revoked::TokenHash(_)
            | Revoked::Connection(_)
            | Revoked::Approval(_) => None,
        };
        if let Some(voter) = voters {
            let opens = |row: &store::ApprovalRow, votes: &[store::VoteRow]| self.opens(row, votes);
            let reopened = self
                .inner
                .store
                .void_votes(None, vec![voter], now, &opens)
                .await?;
            changed.extend(reopened);
        }
        for which in grants_hit(what) {
            let by = "a revocation".to_owned();
            self.inner.store.end_grants(which, by, now).await?;
        }
        for id in &changed {
            self.woken(id);
        }
        Ok(changed)
    }

    /// Another instance has changed this approval, or perhaps any: whoever waits looks again.
    pub fn changed_elsewhere(&self, id: Option<&str>) {
        match id {
            Some(id) => self.inner.waits.wake(id),
            None => self.inner.waits.wake_all(),
        }
        self.inner.waits.changed();
    }

    /// Whatever is due: expiry, results past their time, ends that could not be written before, old
    /// approvals. To be called every second or so.
    ///
    /// # Errors
    /// [`Error::Store`]; what was not done is done next time.
    pub async fn sweep(&self) -> Result<store::Swept, Error> {
        self.flush_ends().await?;
        let now = self.now();
        let kept = u64::try_from(HISTORY_KEPT.as_nanos()).unwrap_or(u64::MAX);
        let before = Timestamp::from_nanos(now.nanos().saturating_sub(kept));
        let swept = self.inner.store.sweep(before, now).await?;
        if swept.expired > 0 || swept.lost > 0 {
            self.inner.waits.changed();
        }
        Ok(swept)
    }

    /// At start: whatever this instance was executing when it died is indeterminate. Answers the
    /// approvals.
    ///
    /// # Errors
    /// [`Error::Store`]; nothing may be taken before this has succeeded.
    pub async fn recover(&self, instance: &str) -> Result<Vec<String>, Error> {
        let lost = self.inner.store.recover(instance, self.now()).await?;
        if !lost.is_empty() {
            self.inner.waits.changed();
        }
        Ok(lost)
    }

    /// Changes of state, oldest first, as soon as there are any, for the audit log and notifications.
    /// The same ones come again until [`Self::changes_taken`]. One task at a time.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn next_changes(&self) -> Result<Vec<Change>, Error> {
        loop {
            let woken = self.inner.waits.next_change();
            let changes = self.inner.store.changes().await?;
            if !changes.is_empty() {
                return Ok(changes);
            }
            woken.await;
        }
    }

    /// This change is on the record.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn changes_taken(&self, seq: i64) -> Result<(), Error> {
        Ok(self.inner.store.changes_taken(seq).await?)
    }

    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Wake who waits for this approval, and who takes over changes.
    fn woken(&self, id: &str) {
        self.inner.waits.wake(id);
        self.inner.waits.changed();
    }

    fn went(&self, id: &ApprovalId, moved: store::Moved) -> Result<(), Error> {
        match moved {
            store::Moved::Yes { .. } => Ok(()),
            store::Moved::No(state) => Err(Error::Closed {
                id: id.clone(),
                state,
            }),
            store::Moved::Stale => Err(Error::Closed {
                id: id.clone(),
                state: State::Approved,
            }),
            store::Moved::Unknown => Err(Error::Unknown(id.clone())),
        }
    }

    async fn row(
        &self,
        id: &ApprovalId,
    ) -> Result<(store::ApprovalRow, Vec<store::VoteRow>), Error> {
        self.inner
            .store
            .approval(id.as_str())
            .await?
            .ok_or_else(|| Error::Unknown(id.clone()))
    }

    /// The same caller: the principal and everybody in its actor chain. An agent for a person is not
    /// that person.
    fn caller(&self, principal: &Principal) -> Vec<u8> {
        let mut fields = Fields::new(b"callgate-approval/1 caller")
            .add(principal.key().issuer.as_bytes())
            .add(principal.key().subject.as_bytes());
        for actor in principal.actors() {
            fields = fields
                .add(actor.issuer.as_bytes())
                .add(actor.subject.as_bytes());
        }
        self.inner.keys.hash(&fields)
    }
}

/// The grants that a revocation ends: by and for whoever it hits. The granter's token is looked up when
/// a call runs.
fn grants_hit(what: &Revoked) -> Vec<GrantsOf> {
    match what {
        Revoked::Principal { issuer, subject } => {
            let subject = Some(subject.clone());
            vec![
                GrantsOf::Granter(issuer.clone(), subject.clone()),
                GrantsOf::Asker(issuer.clone(), subject),
            ]
        }
        Revoked::Issuer(alias) => vec![
            GrantsOf::Granter(alias.clone(), None),
            GrantsOf::Asker(alias.clone(), None),
        ],
        Revoked::Approval(id) => vec![GrantsOf::Approval(id.clone())],
        Revoked::Token { .. } | Revoked::TokenHash(_) | Revoked::Connection(_) => Vec::new(),
    }
}

impl From<Broken> for Error {
    fn from(_: Broken) -> Self {
        Self::Crypto
    }
}

#[cfg(test)]
mod tests;
