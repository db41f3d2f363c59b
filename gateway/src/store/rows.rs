//! Rows as plain values: text, numbers and bytes. What they mean, and which of them are sealed, is the
//! business of the rooms above.

use crate::clock::Timestamp;

use super::BROKE_GLASS;
use super::machine::State;

/// A held call as it is first written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewApproval {
    /// Unguessable.
    pub id: String,
    /// The requester's issuer alias.
    pub issuer: String,
    /// The requester's subject.
    pub subject: String,
    /// Keyed hash over the requester and its actor chain: the same caller.
    pub caller: Vec<u8>,
    /// The requester for people, as JSON.
    pub requester: String,
    /// Who must not vote, as JSON.
    pub apart: String,
    /// The connection's name.
    pub connection: String,
    /// The function's id.
    pub function: String,
    /// The function's effect group.
    pub effect: String,
    /// Keyed hash of what makes another request the same call.
    pub same: Vec<u8>,
    /// Keyed hash of the caller's `Idempotency-Key`.
    pub idempotency: Option<Vec<u8>>,
    /// The id of the call that asked.
    pub call: String,
    /// The terms, as JSON.
    pub terms: String,
    /// The approval rules' hashes, sorted, as text: equal when the same people are asked the same.
    pub rules: String,
    /// Keyed hash over everything above and the stored bytes; votes are bound to it.
    pub binding: Vec<u8>,
    /// The sealed call.
    pub frozen: Vec<u8>,
    /// The sealed summary for approvers.
    pub summary: Vec<u8>,
    /// The sealed typed input, to tell what differs in the caller's next question; may be empty.
    pub input: Vec<u8>,
    /// Until when people may decide.
    pub decide_by: Timestamp,
}

/// A held call as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApprovalRow {
    /// See [`NewApproval::id`].
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// Counts every change of the row.
    pub version: i64,
    /// See [`NewApproval::issuer`].
    pub issuer: String,
    /// See [`NewApproval::subject`].
    pub subject: String,
    /// See [`NewApproval::caller`].
    pub caller: Vec<u8>,
    /// See [`NewApproval::requester`].
    pub requester: String,
    /// See [`NewApproval::apart`].
    pub apart: String,
    /// See [`NewApproval::connection`].
    pub connection: String,
    /// See [`NewApproval::function`].
    pub function: String,
    /// See [`NewApproval::effect`].
    pub effect: String,
    /// See [`NewApproval::same`].
    pub same: Vec<u8>,
    /// See [`NewApproval::idempotency`].
    pub idempotency: Option<Vec<u8>>,
    /// See [`NewApproval::call`].
    pub call: String,
    /// See [`NewApproval::terms`].
    pub terms: String,
    /// See [`NewApproval::rules`].
    pub rules: String,
    /// See [`NewApproval::binding`].
    pub binding: Vec<u8>,
    /// The sealed call; `None` once it has ended, and in lists.
    pub frozen: Option<Vec<u8>>,
    /// The sealed summary; `None` once it has ended.
    pub summary: Option<Vec<u8>>,
    /// When it was asked.
    pub created: Timestamp,
    /// Until when people may decide.
    pub decide_by: Timestamp,
    /// The deadline of the state it is in.
    pub expires: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Who runs it.
    pub instance: Option<String>,
    /// A random mark of the one who runs it; nothing outside of the database knows it.
    pub lease: Option<String>,
    /// How often it was taken.
    pub fence: i64,
    /// What took its place.
    pub successor: Option<String>,
    /// Why it stands where it stands, one word.
    pub cause: String,
}

/// The question that a caller asked about a function before another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Earlier {
    /// Its approval.
    pub id: String,
    /// What became of it.
    pub state: State,
    /// When it was asked.
    pub created: Timestamp,
    /// Its sealed typed input; empty when none was kept, or its time is over.
    pub input: Vec<u8>,
}

/// A question and when it was decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decided {
    /// The function.
    pub function: String,
    /// Where it stands.
    pub state: State,
    /// When it was asked.
    pub created: Timestamp,
    /// When the last vote came that counts; `None` when nobody voted.
    pub voted: Option<Timestamp>,
    /// Whether there are votes that count, and all of them come from grants: nobody was asked about it.
    pub granted: bool,
}

/// One person's answer to one approval rule, as it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VoteRow {
    /// The vote's id.
    pub id: String,
    /// The approval.
    pub approval: String,
    /// The approval rule's hash.
    pub rule: Vec<u8>,
    /// Who, for "one vote a person": the person claim or the principal.
    pub person: String,
    /// The voter's issuer alias.
    pub issuer: String,
    /// The voter's subject.
    pub subject: String,
    /// The voter's person claim.
    pub handle: Option<String>,
    /// The groups by which the voter is named in the rule, as JSON.
    pub groups: String,
    /// The voter as it was verified for the vote, sealed; empty in votes of older versions.
    pub voter: Vec<u8>,
    /// Yes or no.
    pub yes: bool,
    /// The sealed reason.
    pub reason: Vec<u8>,
    /// When.
    pub at: Timestamp,
    /// Keyed hash over the vote and the approval's binding.
    pub mac: Vec<u8>,
    /// When it was voided, if it was.
    pub voided: Option<Timestamp>,
    /// The grant that it comes from; `None` when the person cast it on this very approval.
    pub grant: Option<String>,
    /// Whether it is of the person who asked, who broke the glass.
    pub glass: bool,
}

impl VoteRow {
    /// Why an approval is in the state that this vote led to.
    pub(super) const fn cause(&self) -> &'static str {
        match (self.yes, self.glass) {
            (true, false) => "quorum",
            (true, true) => BROKE_GLASS,
            (false, _) => "vote",
        }
    }
}

/// A result that is kept for its caller, sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewResult {
    /// The sealed bytes.
    pub sealed: Vec<u8>,
    /// Until when.
    pub expires: Timestamp,
}

/// Bounds that [`super::Store::ask`] holds, inside its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AskLimits {
    /// Open approvals of one principal.
    pub open_per_principal_max: i64,
    /// Open approvals in all.
    pub open_max: i64,
    /// Sealed bytes of open approvals in all.
    pub bytes_max: i64,
    /// New approvals of one principal in an hour.
    pub asks_per_hour_max: i64,
    /// Changes that the audit log has not taken over.
    pub changes_max: i64,
    /// How long a principal waits after a no before it may ask for that function again; doubles with
    /// each no within an hour.
    pub cooldown: std::time::Duration,
    /// How long a call with an unknown outcome answers for its repetitions.
    pub indeterminate_kept: std::time::Duration,
}

/// What came of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Written.
    New,
    /// The same call was open, or has a kept result.
    Joined(Box<ApprovalRow>),
    /// The same call may have run.
    Indeterminate(String),
    /// The same call was denied a moment ago.
    Denied {
        /// The approval that was denied.
        id: String,
        /// When it may be asked again.
        until: Timestamp,
    },
    /// The same idempotency key with another request.
    Conflict(String),
    /// The principal must wait after a no.
    CoolingDown(Timestamp),
    /// A bound is reached.
    Full(Full),
}

/// Which bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// Open approvals of this principal.
    Principal,
    /// New approvals of this principal in an hour.
    Rate,
    /// Open approvals in all.
    Total,
    /// Bytes of open approvals in all.
    Bytes,
    /// Changes that the audit log has not taken over.
    Changes,
}

/// What came of a vote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Voted {
    /// Counted; the state after it.
    Counted(State),
    /// This person has answered this rule before.
    Again,
    /// Too late; the state it is in.
    Closed(State),
    /// No such approval.
    Unknown,
}

/// What came of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moved {
    /// Taken; how often the approval has been taken by an instance so far.
    Yes {
        /// The fencing number.
        fence: i64,
    },
    /// Not allowed from the state it is in.
    No(State),
    /// The row has changed since it was read.
    Stale,
    /// No such approval.
    Unknown,
}

/// A step to take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// The approval.
    pub id: String,
    /// Which edge.
    pub edge: super::Edge,
    /// The lease that is held, out of [`State::Executing`].
    pub lease: Option<String>,
    /// Kept with the end.
    pub result: Option<NewResult>,
    /// Why, one word, for the record.
    pub cause: &'static str,
}

/// What an instance says when it takes a held call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taking {
    /// The approval.
    pub id: String,
    /// The row's version when it was read and checked.
    pub version: i64,
    /// The instance.
    pub instance: String,
    /// A fresh random mark.
    pub lease: String,
}

/// One change of state that the audit log and the notifications have not taken over yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Grows.
    pub seq: i64,
    /// The approval.
    pub approval: String,
    /// Its function.
    pub function: String,
    /// The state it went to.
    pub state: State,
    /// Why, one word.
    pub cause: String,
    /// When.
    pub at: Timestamp,
}

/// Which approvals to list; newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Only these states; empty means all. States are as read now.
    pub states: Vec<State>,
    /// Only of this requester: issuer alias and subject.
    pub requester: Option<(String, String)>,
    /// Only of this function.
    pub function: Option<String>,
    /// Only older than this approval (paging).
    pub before: Option<String>,
    /// At most so many; at most [`super::LIST_MAX`].
    pub limit: u32,
}

/// What a revocation hits.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Revoked {
    /// Everything of a principal.
    Principal {
        /// Issuer alias.
        issuer: String,
        /// Subject.
        subject: String,
    },
    /// Everything of an issuer.
    Issuer(String),
    /// One token, by its id (`jti`) at an issuer.
    Token {
        /// Issuer alias.
        issuer: String,
        /// `jti`.
        id: String,
    },
    /// One token, by the SHA-256 of its text, hexadecimal.
    TokenHash(String),
    /// Everything to a connection.
    Connection(String),
    /// One held call.
    Approval(String),
}

impl Revoked {
    /// The kind's word, the issuer if any, and the value.
    pub fn parts(&self) -> (&'static str, Option<&str>, &str) {
        match self {
            Self::Principal { issuer, subject } => ("principal", Some(issuer), subject),
            Self::Issuer(alias) => ("issuer", None, alias),
            Self::Token { issuer, id } => ("token", Some(issuer), id),
            Self::TokenHash(hash) => ("token-hash", None, hash),
            Self::Connection(name) => ("connection", None, name),
            Self::Approval(id) => ("approval", None, id),
        }
    }

    /// The way back from [`Self::parts`].
    pub fn from_parts(kind: &str, issuer: Option<String>, value: String) -> Option<Self> {
        match (kind, issuer) {
            ("principal", Some(issuer)) => Some(Self::Principal {
                issuer,
                subject: value,
            }),
            ("issuer", None) => Some(Self::Issuer(value)),
            ("token", Some(issuer)) => Some(Self::Token { issuer, id: value }),
            ("token-hash", None) => Some(Self::TokenHash(value)),
            ("connection", None) => Some(Self::Connection(value)),
            ("approval", None) => Some(Self::Approval(value)),
            (_, _) => None,
        }
    }
}

/// How far a revocation reaches in time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reach {
    /// What was issued up to then.
    Revoke,
    /// Everything, until it is lifted.
    Lock,
}

/// A revocation that stands until it is lifted or its time is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    /// Its id, for lifting it.
    pub id: String,
    /// What it hits.
    pub what: Revoked,
    /// How far.
    pub reach: Reach,
    /// Why, for people.
    pub reason: String,
    /// Who revoked.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
    /// Until when; `None` until it is lifted.
    pub until: Option<Timestamp>,
}

/// What a sweep did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Approvals that expired.
    pub expired: u64,
    /// Results whose time was over.
    pub results: u64,
    /// Ended approvals whose time in the list was over.
    pub forgotten: u64,
    /// Calls that other instances were executing when they were seen for the last time: indeterminate.
    pub lost: u64,
}
