//! Rows of standing yeses.

use crate::clock::Timestamp;

use super::{VoteRow, Voted};

/// Most grants that stand at a time.
pub const GRANTS_MAX: i64 = 10_000;
/// Most grants in one list.
pub const GRANTS_LIST_MAX: u32 = 500;

/// One person's yes to later calls, as it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantRow {
    /// The grant's id.
    pub id: String,
    /// The approval whose yes was widened.
    pub approval: String,
    /// The approval rule's hash.
    pub rule: Vec<u8>,
    /// Who, for "one vote a person".
    pub person: String,
    /// The granter's issuer alias.
    pub issuer: String,
    /// The granter's subject.
    pub subject: String,
    /// The granter's person claim.
    pub handle: Option<String>,
    /// The groups by which the granter is named in the rule, as JSON.
    pub groups: String,
    /// The granter as verified for the vote, sealed.
    pub voter: Vec<u8>,
    /// For whose calls: keyed hash over the principal and its actors.
    pub caller: Vec<u8>,
    /// The caller's issuer alias.
    pub asker_issuer: String,
    /// The caller's subject.
    pub asker_subject: String,
    /// For which function.
    pub function: String,
    /// For which arguments, sealed.
    pub pattern: Vec<u8>,
    /// For how many calls.
    pub uses_max: i64,
    /// For how many it has stood.
    pub used: i64,
    /// Since when.
    pub at: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// When it was ended before that.
    pub ended: Option<Timestamp>,
    /// By whom.
    pub ended_by: Option<String>,
    /// Keyed hash over all that does not change.
    pub mac: Vec<u8>,
}

/// Which grants to list; newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GrantFilter {
    /// Only this one.
    pub id: Option<String>,
    /// Only those that come behind this place, the time and the id of a grant, whether or not it is still there.
    pub before: Option<(Timestamp, String)>,
    /// Only of this caller and function.
    pub of: Option<(Vec<u8>, String)>,
    /// Only those that stand: not used up, not ended, not past their time.
    pub standing: bool,
}

/// Which grants to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GrantsOf {
    /// One.
    One(String),
    /// What a person granted: issuer alias and, unless all of the issuer, subject.
    Granter(String, Option<String>),
    /// What was granted to a caller: issuer alias and, unless all of the issuer, subject.
    Asker(String, Option<String>),
    /// What was granted with one approval.
    Approval(String),
}

/// A yes out of a grant, ready to be counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StandingYes {
    /// The grant.
    pub grant: String,
    /// The vote that it stands for.
    pub vote: VoteRow,
    /// For how many calls it still stands.
    pub left: i64,
}

/// What came of standing yeses on one approval.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stood {
    /// What came of the approval.
    pub voted: Voted,
    /// The grants that became votes.
    pub grants: Vec<String>,
}
