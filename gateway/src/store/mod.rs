//! The state of decisions: held calls, votes, kept results, revocations.
//!
//! [`Store`] is a trait because the engine is really swapped: one process on embedded SQLite, equal
//! instances on PostgreSQL ([`SqlStore`] is both), and a simulated store with crashes and lost answers
//! in tests. Its methods are **whole transactions**, so no caller can hold one open, read
//! in one and write in another, or forget a condition: every edge of the state machine
//! ([`machine::Edge`]) is one conditional update. Where a transaction needs a judgement that belongs to
//! a higher room (is the quorum reached?), it takes a pure function and runs it inside.
//!
//! Refuses to create state by surprise: [`SqlStore::init`] and [`SqlStore::init_shared`] are explicit,
//! the others want a database that is there and not newer than this program. Every bound of the tables is enforced
//! here, inside the transactions. Knows nothing of what the rows mean and holds no key: what is
//! confidential arrives sealed.
//!
//! The audit log never waits for this room: losing the database loses open questions, not evidence.
//! Times are the caller's ([`crate::clock::Clock`]), in milliseconds; with a shared database the
//! database's own clock rules over deadlines ([`SqlStore::clock`] sets them by it).
//!
//! Called by `approval` and, for revocations, by `app`.

mod config;
mod grants;
pub mod machine;
mod once;
mod outbox;
mod rows;
mod rules;
mod sql;

use std::fmt;
use std::path::PathBuf;

use futures_util::future::BoxFuture;

use crate::clock::Timestamp;

pub use config::{Config, PostgresConfig};
pub use grants::{
    GRANTS_LIST_MAX, GRANTS_MAX, GrantFilter, GrantRow, GrantsOf, StandingYes, Stood,
};
pub use machine::{Edge, State, UnknownState};
pub use once::{NewOnce, ONCE_KEPT, ONCE_MAX, ONCE_PERSON_MAX, Once, OnceEnd};
pub use outbox::{
    DEAD_KEPT, Delivery, FAILURE_BYTES_MAX, OUTBOX_BATCH_MAX, OUTBOX_MAX, Outbox, Retry,
};
pub use rows::{
    ApprovalRow, AskLimits, Asked, Change, Decided, Earlier, Filter, Full, Moved, NewApproval,
    NewResult, Reach, Revocation, Revoked, Step, Swept, Taking, VoteRow, Voted,
};
pub use sql::SqlStore;

/// Why an approval is pending again: votes that had opened it were voided.
pub const REOPENED: &str = "vote-voided";
/// Why people are told of an approval: who asked broke the glass.
pub const BROKE_GLASS: &str = "break-glass";
/// How long a typed input is kept after its question has ended.
pub const INPUT_KEPT: std::time::Duration = std::time::Duration::from_secs(7 * 86_400);
/// How long an instance that says nothing is waited for before another stands in for it.
pub const LEASE: std::time::Duration = std::time::Duration::from_secs(30);
/// How long a shared database may take to answer.
pub const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);
/// Most questions that figures are made of.
pub const FIGURES_MAX: u32 = 20_000;
/// Most approvals in one list.
pub const LIST_MAX: u32 = 500;
/// Most changes in one batch.
pub const CHANGES_BATCH_MAX: u32 = 256;
/// Most rows that one transaction of a sweep touches.
pub const SWEEP_BATCH_MAX: u32 = 1_000;
/// Most revocations that stand at a time.
pub const REVOCATIONS_MAX: i64 = 100_000;
/// Longest text of a revocation (value, reason, who), in bytes.
pub const REVOCATION_TEXT_BYTES_MAX: usize = 1_024;
/// Most votes of one approval, voided ones included.
pub const VOTES_MAX: i64 = 1_000;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No database where one must be.
    #[error("no state database at `{0}`: run `callgate init` first")]
    Missing(PathBuf),
    /// A database where none may be.
    #[error("there is a state database at `{0}` already: `init` never overwrites one")]
    Exists(PathBuf),
    /// Written by a newer program.
    #[error(
        "the state database is of version {found}, this program knows up to {known}: run a newer callgate"
    )]
    Newer {
        /// In the database.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A migration that was applied is not the one that this program carries.
    #[error("migration {0} of the state database is not the one that this program carries")]
    Altered(i64),
    /// A value that no version of this program writes.
    #[error("the state database holds an impossible value in `{0}`")]
    Corrupt(&'static str),
    /// A bound of this room.
    #[error("{0} is at its limit")]
    Full(&'static str),
    /// A text that is too long.
    #[error("{0} is longer than {1} bytes")]
    TooLong(&'static str, usize),
    /// The file system.
    #[error("state database `{path}`: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The database.
    #[error("the state database: {0}")]
    Database(#[from] sqlx::Error),
    /// A shared database that nobody made.
    #[error(
        "the database of `store.postgres` holds no state of callgate: run `callgate init` first"
    )]
    NotMade,
    /// A server that did not prove who it is.
    #[error("the server of `store.postgres.url`, `{server}`, is not spoken to: {why}")]
    Untrusted {
        /// Host and port.
        server: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Another key than the other instances'.
    #[error(
        "the state in the database of `store.postgres` is sealed under another key than `store.postgres.key`: \
         every instance needs the same one"
    )]
    OtherKey,
    /// Something that needs all instances to stand still.
    #[error(
        "instance {0} of the shared state is running: stop every gateway first, and wait half a minute"
    )]
    InUse(String),
    /// A setting that cannot be used.
    #[error("{0}")]
    Setting(String),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] crate::secret::SecretError),
    /// A question that was not written in time; it may be written all the same.
    #[error("the state database did not get to the question within 10 s")]
    Unwritten,
    /// A shared database that says nothing; what was asked may be done.
    #[error("the state database did not answer within 10 s")]
    Unanswered,
    /// The write-ahead log could not be cut off.
    #[error(
        "`state.db-wal` was in use for 15 s and still has what was overwritten: it goes when the gateway is next stopped, or overwrites it"
    )]
    LogBusy,
}

/// What another instance has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Signal {
    /// This approval.
    Approval(String),
    /// The revocations.
    Revocations,
    /// Perhaps everything: there was no way to hear of it.
    Everything,
}

/// A judgement inside a transaction: do these votes (none voided) open everything that was asked?
pub type Opens<'a> = &'a (dyn Fn(&ApprovalRow, &[VoteRow]) -> bool + Send + Sync);

/// What every method answers.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// The state of decisions. Each method is one transaction; an error may also mean that it was
/// committed and the answer was lost, so whoever calls again must expect to find it done.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Write a question, or join the one that is open for the same call.
    fn ask(&self, new: NewApproval, limits: AskLimits, now: Timestamp) -> Answer<'_, Asked>;

    /// One approval with its sealed bytes and all its votes, oldest first.
    fn approval(&self, id: &str) -> Answer<'_, Option<(ApprovalRow, Vec<VoteRow>)>>;

    /// The state as it reads at `now`, and its deadline.
    fn state(&self, id: &str, now: Timestamp) -> Answer<'_, Option<(State, Timestamp)>>;

    /// A page of approvals, newest first, without the sealed calls.
    fn list(&self, filter: Filter, now: Timestamp) -> Answer<'_, Vec<ApprovalRow>>;

    /// The last question that the same caller asked about the same function before this one.
    fn earlier(&self, id: &str) -> Answer<'_, Option<Earlier>>;

    /// The questions since then, newest first, at most [`FIGURES_MAX`].
    fn decided(&self, since: Timestamp, now: Timestamp) -> Answer<'_, Vec<Decided>>;

    /// Write a vote, and the standing yes that it gives. A no denies; a yes approves when `opens` says so,
    /// and then the call must be run before `run_by`.
    fn vote<'a>(
        &'a self,
        vote: VoteRow,
        grant: Option<GrantRow>,
        run_by: Timestamp,
        now: Timestamp,
        opens: Opens<'a>,
    ) -> Answer<'a, Voted>;

    /// Void these voters' votes (issuer alias and, unless all of the issuer, subject) on one open
    /// approval, or on all. Approvals that are no longer opened go back to pending; one that is
    /// executing does so only with its lease. Answers the approvals that went back.
    fn void_votes<'a>(
        &'a self,
        on: Option<(String, Option<String>)>,
        voters: Vec<(String, Option<String>)>,
        now: Timestamp,
        opens: Opens<'a>,
    ) -> Answer<'a, Vec<String>>;

    /// Standing yeses, newest first, at most [`GRANTS_LIST_MAX`].
    fn grants(&self, filter: GrantFilter, now: Timestamp) -> Answer<'_, Vec<GrantRow>>;

    /// End standing yeses before their time; answers the ids of those that ended by it.
    fn end_grants(&self, which: GrantsOf, by: String, now: Timestamp) -> Answer<'_, Vec<String>>;

    /// Count standing yeses on a pending approval: each that still stands loses one use and becomes a
    /// vote, unless its person has voted on the rule. Approves when `opens` says so, as
    /// [`Self::vote`] does. Answers which of them became votes, too.
    fn stand<'a>(
        &'a self,
        approval: &str,
        yeses: Vec<StandingYes>,
        run_by: Timestamp,
        now: Timestamp,
        opens: Opens<'a>,
    ) -> Answer<'a, Stood>;

    /// Approved → executing, once.
    fn take(&self, taking: Taking, now: Timestamp) -> Answer<'_, Moved>;

    /// One step that needs nothing but its conditions.
    fn step(&self, step: Step, now: Timestamp) -> Answer<'_, Moved>;

    /// End one approval as superseded and, in the same transaction, ask anew.
    fn supersede(
        &self,
        id: &str,
        lease: Option<String>,
        new: Option<NewApproval>,
        now: Timestamp,
    ) -> Answer<'_, Moved>;

    /// Cancel the open approvals that a revocation hits; answers their ids.
    fn cancel_revoked(&self, what: Revoked, now: Timestamp) -> Answer<'_, Vec<String>>;

    /// Keep a result of a call that is done and has none; answers whether it is kept.
    fn keep_result(&self, id: &str, result: NewResult) -> Answer<'_, bool>;

    /// A kept result, for the caller that it is kept for. It stays until [`Self::drop_result`].
    fn fetch_result(
        &self,
        id: &str,
        caller: Vec<u8>,
        now: Timestamp,
    ) -> Answer<'_, Option<Vec<u8>>>;

    /// The caller has its kept result: keep it no longer. Answers whether it was kept.
    fn drop_result(&self, id: &str, caller: Vec<u8>) -> Answer<'_, bool>;

    /// Whether a result is kept.
    fn result_kept(&self, id: &str, now: Timestamp) -> Answer<'_, bool>;

    /// Expire what is past its time, drop results past theirs, forget what ended before
    /// `forget_before`. At most [`SWEEP_BATCH_MAX`] of each.
    fn sweep(&self, forget_before: Timestamp, now: Timestamp) -> Answer<'_, Swept>;

    /// Everything that `instance` was executing is indeterminate; answers the ids.
    fn recover(&self, instance: &str, now: Timestamp) -> Answer<'_, Vec<String>>;

    /// The oldest changes that were not taken over, at most [`CHANGES_BATCH_MAX`].
    fn changes(&self) -> Answer<'_, Vec<Change>>;

    /// This change was taken over. Only this one: numbers are given before a transaction is committed, so
    /// one with a smaller number may come later.
    fn changes_taken(&self, seq: i64) -> Answer<'_, ()>;

    /// Write a revocation; answers the new epoch.
    fn revoke(&self, revocation: Revocation) -> Answer<'_, i64>;

    /// Lift a revocation; answers the new epoch, or `None` when no such one stands.
    fn lift(&self, id: &str, now: Timestamp) -> Answer<'_, Option<i64>>;

    /// The epoch, which grows with every change of the revocations.
    fn revocation_epoch(&self) -> Answer<'_, i64>;

    /// The epoch and all revocations that were not lifted and whose time is not over.
    fn revocations(&self, now: Timestamp) -> Answer<'_, (i64, Vec<Revocation>)>;

    /// Take a key for a request that is done once, or say what it stands for.
    fn begin_once(&self, new: NewOnce, now: Timestamp) -> Answer<'_, Once>;

    /// A request whose key this process took has ended.
    fn end_once(&self, place: Vec<u8>, end: OnceEnd) -> Answer<'_, ()>;

    /// What another instance has changed, as soon as it is known; never, when there is no other. One task at
    /// a time.
    fn signal(&self) -> BoxFuture<'_, Signal> {
        Box::pin(std::future::pending())
    }

    /// Finish what runs and close.
    fn close(&self) -> BoxFuture<'_, ()>;
}

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
pub(crate) use tests::MemoryStore;
