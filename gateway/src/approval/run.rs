//! The one run: taken once, by its own caller, verified again, ended by whoever took it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::call::{CallId, FunctionId};
use crate::identity::{Principal, PrincipalKey};
use crate::policy::{RuleHash, Terms};
use crate::store::{self, ApprovalRow, Edge, Moved, NewApproval, NewResult, Step, Taking, VoteRow};

use super::ask::binding;
use super::seal::{Broken, Part, random_hex};
use super::tally::{self, Yes};
use super::vote::{groups_of, vote_fields};
use super::{ApprovalId, Approvals, Error, RESULT_BYTES_MAX, RESULT_KEPT, State, Ticket};

/// How often a take is tried again when a vote changes the row under it.
const TAKE_TRIES: usize = 4;
/// Ends that wait to be written. Beyond it the next start finds those calls and says `indeterminate`.
const ENDS_MAX: usize = 10_000;

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
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Voter {
    /// Who.
    pub key: PrincipalKey,
    /// Which rule.
    pub rule: RuleHash,
    /// The groups by which the rule names this person.
    pub groups: Vec<String>,
}

/// An approved call that this instance holds, alone, to run it once. It is spent by
/// [`Approvals::finish`], [`Approvals::give_back`], [`Approvals::supersede`] or [`Approvals::void`];
/// dropped without one of them its outcome is unknown, and the approval becomes `indeterminate`.
#[must_use = "an execution that is dropped becomes indeterminate"]
pub struct Execution {
    frozen: Vec<u8>,
    summary: Vec<u8>,
    row: ApprovalRow,
    id: ApprovalId,
    function: FunctionId,
    call: CallId,
    opened: BTreeSet<RuleHash>,
    voters: Vec<Voter>,
    fence: u64,
    held: Held,
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

    /// Whose yes opened them, to be checked against revocations ([`Approvals::void`]).
    pub fn voters(&self) -> &[Voter] {
        &self.voters
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

/// How an execution ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It ran and its end is on record.
    Done {
        /// The answer as it was released, to be kept for a caller that has gone; sealed, for
        /// [`RESULT_KEPT`], unless it is larger than [`RESULT_BYTES_MAX`].
        result: Option<Vec<u8>>,
    },
    /// It is known to have failed: nothing of it happened.
    Failed,
    /// It may have happened.
    Indeterminate,
}

/// What voiding left.
#[derive(Debug)]
pub enum Voided {
    /// The other votes are enough; go on.
    Still(Execution),
    /// People are asked again.
    Reopened,
}

/// Ends that are still to be written.
#[derive(Debug, Default)]
pub(super) struct Ends(Mutex<Vec<Step>>);

impl Ends {
    fn push(&self, step: Step) {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ends.len() < ENDS_MAX {
            ends.push(step);
        } else {
            tracing::error!(
                approval.id = %step.id,
                "too many ends of approved calls wait to be written; this one will read indeterminate"
            );
        }
    }

    fn drain(&self) -> Vec<Step> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The hold on an executing row. Dropped while armed, it leaves its edge behind for the next sweep.
struct Held {
    ends: Arc<Ends>,
    id: String,
    lease: String,
    /// [`Edge::GiveBack`] until the execution is handed out, [`Edge::Lose`] from then on.
    on_drop: Option<Edge>,
}

impl Held {
    fn step(&self, edge: Edge, cause: &'static str) -> Step {
        Step {
            id: self.id.clone(),
            edge,
            lease: Some(self.lease.clone()),
            result: None,
            cause,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(edge) = self.on_drop.take() {
            self.ends.push(self.step(edge, "dropped"));
        }
    }
}

/// An approval whose bytes, terms and votes are what was written.
pub(super) struct Opened {
    pub(super) terms: Terms,
    pub(super) frozen: Vec<u8>,
    pub(super) summary: Vec<u8>,
    pub(super) votes: Vec<Yes>,
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
            if !tally::all_open(&opened.terms, &opened.votes) {
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

    /// It ran, or failed, or nobody knows.
    ///
    /// # Errors
    /// [`Error::Store`]: the outcome is kept and written by a later sweep. [`Error::Closed`]: another
    /// instance has declared this one dead; the outcome is on the audit record only.
    pub async fn finish(&self, execution: Execution, outcome: Outcome) -> Result<(), Error> {
        let held = &execution.held;
        let step = match outcome {
            Outcome::Done { result } => Step {
                // A result that cannot be sealed is not kept; the call is done all the same.
                result: self.result(&execution.id, result).unwrap_or(None),
                ..held.step(Edge::Done, "ran")
            },
            Outcome::Failed => held.step(Edge::Fail, "failed"),
            Outcome::Indeterminate => held.step(Edge::Lose, "unknown"),
        };
        self.end(execution, step).await
    }

    /// Nothing was sent: it waits for its caller again, until its time is over.
    ///
    /// # Errors
    /// [`Error::Store`]: it is given back by a later sweep. [`Error::Closed`] when it is no longer held.
    pub async fn give_back(&self, execution: Execution) -> Result<(), Error> {
        let step = execution.held.step(Edge::GiveBack, "given-back");
        self.end(execution, step).await
    }

    /// Nothing was sent, because policy by now asks something else (`terms`), or refuses (`None`). The
    /// approval ends; with terms the same bytes are asked about anew, without any vote.
    ///
    /// # Errors
    /// [`Error::Store`]: it is ended by a later sweep and the caller has to ask anew.
    pub async fn supersede(
        &self,
        mut execution: Execution,
        terms: Option<&Terms>,
    ) -> Result<Option<Ticket>, Error> {
        let now = self.now();
        execution.held.on_drop = Some(Edge::Supersede);
        let new = match terms {
            Some(terms) => {
                let mut new = as_new(&execution.row);
                new.decide_by = now;
                Some(self.sealed(new, terms, &execution.frozen, &execution.summary)?)
            }
            None => None,
        };
        let ticket = match &new {
            Some(new) => Some(Ticket {
                id: ApprovalId::of(&new.id)?,
                state: State::Pending,
                joined: false,
                expires: new.decide_by,
                retry_after: std::time::Duration::from_secs(5),
            }),
            None => None,
        };
        let lease = execution.held.lease.clone();
        let id = execution.id.clone();
        let moved = self
            .inner
            .store
            .supersede(id.as_str(), Some(lease), new, now)
            .await?;
        execution.held.on_drop = None;
        self.woken(id.as_str());
        self.went(&id, moved)?;
        Ok(ticket)
    }

    /// Nothing was sent, and these people's votes must not count any more. If the others are not enough,
    /// people are asked again.
    ///
    /// # Errors
    /// [`Error::Store`]: it is given back by a later sweep, votes as they were.
    pub async fn void(
        &self,
        mut execution: Execution,
        voters: &[PrincipalKey],
    ) -> Result<Voided, Error> {
        let whom = voters
            .iter()
            .map(|key| (key.issuer.clone(), Some(key.subject.clone())))
            .collect();
        let on = (
            execution.held.id.clone(),
            Some(execution.held.lease.clone()),
        );
        let opens = |row: &ApprovalRow, votes: &[VoteRow]| self.opens(row, votes);
        execution.held.on_drop = Some(Edge::GiveBack);
        let reopened = self
            .inner
            .store
            .void_votes(Some(on), whom, self.now(), &opens)
            .await?;
        if reopened.is_empty() {
            execution.held.on_drop = Some(Edge::Lose);
            execution
                .voters
                .retain(|voter| !voters.contains(&voter.key));
            return Ok(Voided::Still(execution));
        }
        execution.held.on_drop = None;
        self.woken(execution.id.as_str());
        Ok(Voided::Reopened)
    }

    /// Keep the result of a call that is done, for its caller, for [`RESULT_KEPT`]. Answers whether it
    /// is kept: not when it is larger than [`RESULT_BYTES_MAX`] or one is kept already.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn keep_result(&self, id: &ApprovalId, result: Vec<u8>) -> Result<bool, Error> {
        match self.result(id, Some(result))? {
            Some(result) => Ok(self.inner.store.keep_result(id.as_str(), result).await?),
            None => Ok(false),
        }
    }

    /// The kept result, once, to the caller it is kept for; `None` for everybody else and afterwards.
    ///
    /// # Errors
    /// [`Error::Tampered`] when it does not open, [`Error::Store`].
    pub async fn fetch_result(
        &self,
        id: &ApprovalId,
        principal: &Principal,
    ) -> Result<Option<Vec<u8>>, Error> {
        let caller = self.caller(principal);
        let sealed = self
            .inner
            .store
            .fetch_result(id.as_str(), caller, self.now())
            .await?;
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        self.inner
            .keys
            .open(Part::Result, id.as_str(), &sealed)
            .map(Some)
            .map_err(|_| Error::Tampered(id.clone()))
    }

    /// Write the ends that could not be written when they happened.
    pub(super) async fn flush_ends(&self) -> Result<(), Error> {
        let mut steps = self.inner.ends.drain().into_iter();
        while let Some(step) = steps.next() {
            let id = step.id.clone();
            // Refused means that it was written after all, or that somebody else has ended it.
            if let Err(error) = self.inner.store.step(step.clone(), self.now()).await {
                self.inner.ends.push(step);
                steps.for_each(|step| self.inner.ends.push(step));
                return Err(error.into());
            }
            self.woken(&id);
        }
        Ok(())
    }

    async fn end(&self, mut execution: Execution, step: Step) -> Result<(), Error> {
        execution.held.on_drop = None;
        let guard = Unwritten {
            ends: Arc::clone(&self.inner.ends),
            step: Some(step.clone()),
        };
        let moved = self.inner.store.step(step, self.now()).await?;
        guard.written();
        self.woken(execution.id.as_str());
        self.went(&execution.id, moved)
    }

    fn result(&self, id: &ApprovalId, result: Option<Vec<u8>>) -> Result<Option<NewResult>, Error> {
        let Some(result) = result.filter(|result| result.len() <= RESULT_BYTES_MAX) else {
            return Ok(None);
        };
        Ok(Some(NewResult {
            sealed: self.inner.keys.seal(Part::Result, id.as_str(), &result)?,
            expires: self.now().plus(RESULT_KEPT),
        }))
    }

    /// Open a row and check it: the bytes, everything that the binding covers, every vote.
    pub(super) fn verified(
        &self,
        id: &ApprovalId,
        row: &ApprovalRow,
        votes: &[VoteRow],
    ) -> Result<Opened, Error> {
        self.opened(row, votes)
            .map_err(|_| Error::Tampered(id.clone()))
    }

    fn opened(&self, row: &ApprovalRow, votes: &[VoteRow]) -> Result<Opened, Broken> {
        let keys = &self.inner.keys;
        let frozen = row.frozen.as_ref().ok_or(Broken)?;
        let frozen = keys.open(Part::Frozen, &row.id, frozen)?;
        let summary = row.summary.as_ref().ok_or(Broken)?;
        let summary = keys.open(Part::Summary, &row.id, summary)?;
        keys.check(&binding(&as_new(row), &frozen, &summary), &row.binding)?;
        Ok(Opened {
            terms: serde_json::from_str(&row.terms).map_err(|_| Broken)?,
            votes: self.yes(row, votes)?,
            frozen,
            summary,
        })
    }

    /// The votes that count, every one checked; a no among them means that nothing is opened.
    pub(super) fn yes(&self, row: &ApprovalRow, votes: &[VoteRow]) -> Result<Vec<Yes>, Broken> {
        let mut counted = Vec::with_capacity(votes.len());
        for vote in votes.iter().filter(|vote| vote.voided.is_none()) {
            self.inner
                .keys
                .check_vote(&vote_fields(&row.binding, vote), &vote.mac)?;
            if vote.approval != row.id || !vote.yes {
                return Err(Broken);
            }
            counted.push(Yes {
                rule: RuleHash(vote.rule.as_slice().try_into().map_err(|_| Broken)?),
                voter: (vote.issuer.clone(), vote.subject.clone()),
                handle: vote.handle.clone(),
                groups: groups_of(vote)?,
            });
        }
        Ok(counted)
    }

    /// The judgement inside the store's transactions: do these votes open every rule.
    pub(super) fn opens(&self, row: &ApprovalRow, votes: &[VoteRow]) -> bool {
        let terms: Option<Terms> = serde_json::from_str(&row.terms).ok();
        match (terms, self.yes(row, votes)) {
            (Some(terms), Ok(votes)) => tally::all_open(&terms, &votes),
            (_, _) => false,
        }
    }
}

/// An end on its way to the database; it survives a dropped future.
struct Unwritten {
    ends: Arc<Ends>,
    step: Option<Step>,
}

impl Unwritten {
    fn written(mut self) {
        self.step = None;
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        if let Some(step) = self.step.take() {
            self.ends.push(step);
        }
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
        })
        .collect();
    Ok(Execution {
        frozen: opened.frozen,
        summary: opened.summary,
        id: id.clone(),
        function: row.function.parse().map_err(|_| tampered())?,
        call: row.call.parse().map_err(|_| tampered())?,
        opened: opened.terms.rules.iter().map(|rule| rule.hash).collect(),
        voters,
        fence: u64::try_from(fence).unwrap_or(0),
        row,
        held,
    })
}

/// What of a row was there from the start.
fn as_new(row: &ApprovalRow) -> NewApproval {
    NewApproval {
        id: row.id.clone(),
        issuer: row.issuer.clone(),
        subject: row.subject.clone(),
        caller: row.caller.clone(),
        requester: row.requester.clone(),
        apart: row.apart.clone(),
        connection: row.connection.clone(),
        function: row.function.clone(),
        effect: row.effect.clone(),
        same: row.same.clone(),
        idempotency: row.idempotency.clone(),
        call: row.call.clone(),
        terms: row.terms.clone(),
        rules: row.rules.clone(),
        binding: Vec::new(),
        frozen: Vec::new(),
        summary: Vec::new(),
        decide_by: row.decide_by,
    }
}
