//! The permit: proof by type that a call was judged and recorded.

use std::sync::Arc;

use crate::approval::{Approvals, Execution, Outcome as ApprovalOutcome};
use crate::call::{Call, CallId, Function};
use crate::identity::Principal;
use crate::policy::Obligations;
use crate::record::{Closed, End, OpenRecord, Outcome, RequestTap, Unavailable};

/// A call that was judged, opened where people had to, and is on the record. Made only by the gate;
/// no `Clone`; owns the very call that was judged.
#[derive(Debug)]
pub struct Permitted<C> {
    call: C,
    ongoing: Ongoing,
}

/// The rest of a permit after its call was sent: what the answer must go through, and the open record.
#[derive(Debug)]
pub struct Ongoing {
    principal: Arc<Principal>,
    function: Arc<Function>,
    obligations: Obligations,
    record: OpenRecord,
    execution: Option<(Approvals, Execution)>,
    stance: Stance,
}

/// Whether what was judged is enforced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stance {
    /// It is.
    Enforced,
    /// The connection only observes: findings in the answer are counted and left.
    Observed,
}

impl<C: Call> Permitted<C> {
    pub(super) const fn new(call: C, ongoing: Ongoing) -> Self {
        Self { call, ongoing }
    }

    /// The judged call, to read.
    pub const fn call(&self) -> &C {
        &self.call
    }

    /// Who may make it.
    pub const fn principal(&self) -> &Arc<Principal> {
        &self.ongoing.principal
    }

    /// Whether people approved this execution.
    pub const fn is_approved_execution(&self) -> bool {
        self.ongoing.is_approved_execution()
    }

    /// Give the permit up without sending anything: closes the record.
    ///
    /// # Errors
    /// [`Unavailable`] when the end cannot be recorded.
    pub async fn give_up(self, why: &'static str) -> Result<Closed, Unavailable> {
        self.ongoing.close_unsent(why).await
    }

    /// Call and rest: the upstream's alone (a test reads the sources for that).
    pub(crate) fn spend(self) -> (C, Ongoing) {
        (self.call, self.ongoing)
    }
}

impl Ongoing {
    pub(super) const fn new(
        principal: Arc<Principal>,
        function: Arc<Function>,
        obligations: Obligations,
        record: OpenRecord,
    ) -> Self {
        Self {
            principal,
            function,
            obligations,
            record,
            execution: None,
            stance: Stance::Enforced,
        }
    }

    pub(super) const fn with_stance(mut self, stance: Stance) -> Self {
        self.stance = stance;
        self
    }

    /// Whether what was judged is enforced.
    pub const fn stance(&self) -> Stance {
        self.stance
    }

    pub(super) fn with_execution(mut self, execution: Option<(Approvals, Execution)>) -> Self {
        self.execution = execution;
        self
    }

    /// The call's id.
    pub fn call(&self) -> CallId {
        self.record.call()
    }

    /// Who calls.
    pub const fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// What is called.
    pub const fn function(&self) -> &Arc<Function> {
        &self.function
    }

    /// What the answer must be given.
    pub const fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// Value of the `Callgate-Receipt` header.
    pub fn receipt(&self) -> String {
        self.record.receipt()
    }

    /// Whether people approved this execution: its answer is kept for the caller.
    pub const fn is_approved_execution(&self) -> bool {
        self.execution.is_some()
    }

    /// Where the streamed request's bytes are committed.
    pub fn request_tap(&self) -> RequestTap {
        self.record.request_tap()
    }

    /// Commit to bytes that are released to the transport.
    ///
    /// # Errors
    /// [`Unavailable`] when they cannot be recorded: then they must not be released.
    pub async fn released(&mut self, chunk: &[u8]) -> Result<(), Unavailable> {
        self.record.released(chunk).await
    }

    /// Close the record, then the approval. `kept` is the masked answer for a caller that went away.
    ///
    /// # Errors
    /// [`Unavailable`] when the end cannot be recorded: then the end must not be released.
    pub async fn close(self, end: End, kept: Option<Vec<u8>>) -> Result<Closed, Unavailable> {
        let outcome = match end.outcome {
            Outcome::Ok | Outcome::UpstreamError | Outcome::Cut | Outcome::Withheld => {
                ApprovalOutcome::Done { result: kept }
            }
            Outcome::Failed => ApprovalOutcome::Failed,
            Outcome::Indeterminate => ApprovalOutcome::Indeterminate,
        };
        let closed = self.record.close(end).await?;
        if let Some((approvals, execution)) = self.execution
            && let Err(error) = approvals.finish(execution, outcome).await
        {
            // The audit log has the end; the approval stays `executing` and is never run again.
            tracing::error!(%error, "an executed approval could not be marked as done");
        }
        Ok(closed)
    }

    /// Close the record of a call of which nothing was sent; an approval stays good.
    ///
    /// # Errors
    /// [`Unavailable`] when the end cannot be recorded.
    pub async fn close_unsent(self, why: &'static str) -> Result<Closed, Unavailable> {
        let closed = self
            .record
            .close(End {
                error: Some(why),
                ..End::new(Outcome::Failed)
            })
            .await?;
        if let Some((approvals, execution)) = self.execution
            && let Err(error) = approvals.give_back(execution).await
        {
            tracing::error!(%error, "an approval could not be given back and stays closed");
        }
        Ok(closed)
    }
}
