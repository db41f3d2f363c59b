//! The one run: taken once, by its own caller, verified again, ended by whoever took it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::call::{CallId, FunctionId};
use crate::clock::Timestamp;
use crate::identity::{Principal, PrincipalKey};
use crate::policy::{RuleHash, Terms};
use crate::store::{self, ApprovalRow, Edge, Moved, Taking};

use super::end::Held;
use super::open::Opened;
use super::seal::{Broken, random_hex};
use super::{ApprovalId, Approvals, Error, State, VoterSnapshot, tally};

/// How often a take is tried again when a vote changes the row under it.
const TAKE_TRIES: usize = 4;

/// Why an approval was not taken. Nothing was executed by this attempt.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// It is not approved (any more): the state it is in.
    #[error("the approval is {0}")]
    NotApproved(State),
    /// Votes changed under the attempt again and again.
    #[error("the approval is changing, try again")]
    Busy,
    /// It failed, or is not this caller's, or is not what was stored.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<store::Error> for TakeError {
    fn from(error: store::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Broken> for TakeError {
    fn from(broken: Broken) -> Self {
        Self::Failed(broken.into())
    }
}

/// A person whose yes counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voter {
    /// Who.
    pub key: PrincipalKey,
    /// Which rule.
    pub rule: RuleHash,
    /// The groups by which the rule names this person.
    pub groups: Vec<String>,
    /// The person as verified for the vote; `None` when an older version kept none.
    pub snapshot: Option<VoterSnapshot>,
    /// The grant that the yes comes from.
    pub grant: Option<String>,
    /// Whether it is of the person who asked, who broke the glass.
    pub glass: bool,
}

/// An approved call that this instance holds, alone, to run it once. It is spent by
/// [`Approvals::finish`], [`Approvals::give_back`], [`Approvals::supersede`] or [`Approvals::void`];
/// dropped without one of them its outcome is unknown, and the approval becomes `indeterminate`.
#[must_use = "an execution that is dropped becomes indeterminate"]
pub struct Execution {
    pub(super) frozen: Vec<u8>,
    pub(super) summary: Vec<u8>,
    pub(super) row: ApprovalRow,
    pub(super) id: ApprovalId,
    function: FunctionId,
    call: CallId,
    opened: BTreeSet<RuleHash>,
    terms: Terms,
    pub(super) voters: Vec<Voter>,
    fence: u64,
    pub(super) held: Held,
}

impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution")
            .field("id", &self.id)
            .field("function", &self.function)
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}

impl Execution {
    /// The approval.
    pub const fn id(&self) -> &ApprovalId {
        &self.id
    }

    /// The exact bytes that were asked about; these run and no others.
    pub fn frozen(&self) -> &[u8] {
        &self.frozen
    }

    /// The function.
    pub const fn function(&self) -> &FunctionId {
        &self.function
    }

    /// The call that asked.
    pub const fn call(&self) -> CallId {
        self.call
    }

    /// The approval rules that people opened: policy is evaluated again without exactly these.
    pub const fn opened(&self) -> &BTreeSet<RuleHash> {
        &self.opened
    }

    /// The rules' `@id`s, for the record.
    pub fn rules(&self) -> Vec<String> {
        self.terms
            .rules
            .iter()
            .map(|rule| rule.id.clone())
            .collect()
    }

    /// The terms that people were asked under.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Until when people could decide.
    pub const fn decide_by(&self) -> Timestamp {
        self.row.decide_by
    }

    /// Whose yes opened them, to be checked against revocations ([`Approvals::void`]).
    pub fn voters(&self) -> &[Voter] {
        &self.voters
    }

    /// The grants that opened it.
    pub fn grants(&self) -> Vec<String> {
        let grants = self.voters.iter();
        grants.filter_map(|voter| voter.grant.clone()).collect()
    }

    /// Whether who asked broke the glass.
    pub fn broke_glass(&self) -> bool {
        self.voters.iter().any(|voter| voter.glass)
    }

    /// How often this approval has been taken, this time included: for the begin record.
    pub const fn fence(&self) -> u64 {
        self.fence
    }

    /// The hash that votes are bound to, for the record.
    pub fn digest(&self) -> &[u8] {
        &self.row.binding
    }
}

impl Approvals {
    /// Take an approved call to run it: once, by its own caller, before its time is over. Opens the
    /// stored bytes and checks them, and every vote, before anything changes. The holder evaluates
    /// policy again without the opened rules, and then ends it.
    ///
    /// # Errors
    /// [`TakeError`]; after an error nothing is held.
    pub async fn take(
        &self,
        id: &ApprovalId,
        principal: &Principal,
        instance: &str,
    ) -> Result<Execution, TakeError> {
        for _ in 0..TAKE_TRIES {
            let now = self.now();
            let (row, votes) = self.row(id).await?;
            if row.caller != self.caller(principal) {
                return Err(Error::Unknown(id.clone()).into());
            }
            match row.state.at(row.expires, now) {
                State::Approved => {}
                state @ (State::Pending
                | State::Executing
                | State::Done
                | State::Failed
                | State::Indeterminate
                | State::Denied
                | State::Expired
                | State::Cancelled
                | State::Superseded) => return Err(TakeError::NotApproved(state)),
            }
            let opened = self.verified(id, &row, &votes)?;
            if !tally::all_open(&opened.terms, &opened.votes, now) {
                if opened.votes.iter().any(|yes| yes.glass.is_some()) {
                    return Err(TakeError::NotApproved(State::Expired));
                }
                return Err(Error::Tampered(id.clone()).into());
            }
            let mut held = Held {
                ends: Arc::clone(&self.inner.ends),
                id: id.to_string(),
                lease: random_hex::<16>()?,
                on_drop: Some(Edge::GiveBack),
            };
            let taking = Taking {
                id: id.to_string(),
                version: row.version,
                instance: instance.to_owned(),
                lease: held.lease.clone(),
            };
            // An error may hide a commit: the hold stays armed and gives back what it may have taken.
            let moved = self.inner.store.take(taking, now).await?;
            held.on_drop = None;
            match moved {
                Moved::Yes { fence } => {
                    held.on_drop = Some(Edge::Lose);
                    self.woken(id.as_str());
                    return execution(id, row, opened, fence, held).map_err(TakeError::from);
                }
                Moved::No(state) => return Err(TakeError::NotApproved(state)),
                Moved::Unknown => return Err(Error::Unknown(id.clone()).into()),
                Moved::Stale => {}
            }
        }
        Err(TakeError::Busy)
    }
}

fn execution(
    id: &ApprovalId,
    row: ApprovalRow,
    opened: Opened,
    fence: i64,
    held: Held,
) -> Result<Execution, Error> {
    let tampered = || Error::Tampered(id.clone());
    let voters = opened
        .votes
        .into_iter()
        .map(|yes| Voter {
            key: PrincipalKey {
                issuer: yes.voter.0,
                subject: yes.voter.1,
            },
            rule: yes.rule,
            groups: yes.groups,
            snapshot: yes.snapshot,
            grant: yes.grant,
            glass: yes.glass.is_some(),
        })
        .collect();
    Ok(Execution {
        frozen: opened.frozen,
        summary: opened.summary,
        id: id.clone(),
        function: row.function.parse().map_err(|_| tampered())?,
        call: row.call.parse().map_err(|_| tampered())?,
        opened: opened.terms.rules.iter().map(|rule| rule.hash).collect(),
        terms: opened.terms,
        voters,
        fence: u64::try_from(fence).unwrap_or(0),
        row,
        held,
    })
}
