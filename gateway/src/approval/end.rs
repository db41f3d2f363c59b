//! How an execution ends, also when the database is away or the holder is.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::identity::{Principal, PrincipalKey};
use crate::policy::Terms;
use crate::store::{ApprovalRow, Edge, GrantsOf, NewResult, Step, VoteRow};

use super::open::as_new;
use super::run::Execution;
use super::seal::{Part, hex};
use super::{ApprovalId, Approvals, Error, RESULT_BYTES_MAX, RESULT_KEPT, State, Ticket};

/// Ends that wait to be written. Beyond it the next start finds those calls and says `indeterminate`.
const ENDS_MAX: usize = 10_000;

/// How an execution ended.
#[derive(Clone, PartialEq, Eq)]
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

impl fmt::Debug for Outcome {
    /// Without the result's content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done { .. } => "Done",
            Self::Failed => "Failed",
            Self::Indeterminate => "Indeterminate",
        })
    }
}

/// What voiding left.
#[derive(Debug)]
pub enum Voided {
    /// The other votes are enough; go on.
    Still(Box<Execution>),
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
pub(super) struct Held {
    pub(super) ends: Arc<Ends>,
    pub(super) id: String,
    pub(super) lease: String,
    /// [`Edge::GiveBack`] until the execution is handed out, [`Edge::Lose`] from then on.
    pub(super) on_drop: Option<Edge>,
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

impl Approvals {
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
                binding: hex(&new.binding),
                grants: Vec::new(),
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
    /// people are asked again. Grants out of which these people voted here end.
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
        // A grant of theirs would vote again the moment the caller comes back.
        let fallen = execution.voters.iter();
        let fallen = fallen.filter(|voter| voters.contains(&voter.key));
        for grant in fallen.filter_map(|voter| voter.grant.clone()) {
            let by = "policy: its giver may not approve any more".to_owned();
            let which = GrantsOf::One(grant);
            self.inner.store.end_grants(which, by, self.now()).await?;
        }
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
            return Ok(Voided::Still(Box::new(execution)));
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

    /// The kept result, for the caller it is kept for; `None` for everybody else, and when its time is
    /// over. It stays until [`Self::result_released`]: a caller that did not get it comes again.
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

    /// The kept result went out to its caller: keep it no longer. Answers whether it was kept.
    ///
    /// # Errors
    /// [`Error::Store`]; it then goes when its time is over.
    pub async fn result_released(
        &self,
        id: &ApprovalId,
        principal: &Principal,
    ) -> Result<bool, Error> {
        let caller = self.caller(principal);
        Ok(self.inner.store.drop_result(id.as_str(), caller).await?)
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
