//! The gate: the only maker of [`Permitted`].
//!
//! Policy, approval and the begin record, in this order, for one call. A permit owns the call that was
//! judged, so what is sent is what was judged; it is spent by the upstream. Refuses everything that
//! policy does not allow, that people have not opened, or that cannot be recorded. Called by
//! `pipeline`.

mod asked;
mod bodies;
mod kept;
mod limits;
mod observe;
mod permit;
mod refusal;
mod shown;
mod told;
mod voters;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub use bodies::{BODIES_BYTES_MAX, BODIES_BYTES_PER_CALLER_MAX, Bodies, Room};
pub use kept::Kept;
pub use limits::{Config as LimitsConfig, Limits, Place};
pub use observe::{ModeConfig, OBSERVE_DAYS_MAX, ObserveStands, ObserveUntil, Observing};
pub use permit::{Ongoing, Permitted, Stance};
pub use refusal::{ApprovalNotice, Code, Executed, Refusal};

use asked::Asked;
use shown::{input_json, judged, summary};
pub use told::failed as approval_failed;

use told::{RETRY_AFTER, ask_refused, denied_because, failed, not_executable, unknown};

use crate::approval::{
    self, ApprovalId, Approvals, AskError, Execution, Question, State, TakeError, Ticket,
};
use crate::call::{Call, CallId, Facts, Function, Sameness};
use crate::clock::Timestamp;
use crate::identity::{Principal, Revocations};
use crate::policy::{
    Decision, Denial, DenialReason, Obligations, Policies, Request, RuleHash, Shadowed, Terms,
};
use crate::record::{ApprovalRef, Begin, CredentialRef, Event, Observed, Recorder, Who};
use crate::telemetry::Metrics;

/// The gate.
#[derive(Clone, Debug)]
pub struct Gate {
    record: Recorder,
    metrics: Metrics,
    approvals: Approvals,
    revocations: Revocations,
    instance: Arc<str>,
    leaving: watch::Sender<bool>,
    asked: Asked,
}

/// What a call is judged and recorded under: the parts of one pinned snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Terrain<'a> {
    /// The policies in force.
    pub policies: &'a Policies,
    /// Version of the config, for the record.
    pub config_version: &'a str,
    /// The function's origin, for the record.
    pub upstream: &'a str,
    /// The credential's name and version, for the record.
    pub credential: Option<&'a CredentialRef>,
    /// `on`, `observe` or `off`.
    pub mask: &'static str,
    /// How long the caller is held while people decide.
    pub hold: Duration,
}

/// Turns the stored bytes of a held call into the call again, against the pinned snapshot.
pub type Thaw<'a, C> = &'a (dyn Fn(&[u8]) -> Result<C, Refusal> + Send + Sync);

/// What admission leads to.
#[derive(Debug)]
pub enum Admitted<C> {
    /// The call may be sent.
    Permit(Box<Permitted<C>>),
    /// People were asked, and decided or not within the hold: to be resumed under what is in force then.
    Asked(Arc<Principal>, ApprovalId),
    /// The call was executed before; this is its kept, masked answer.
    Kept(Kept),
}

impl Gate {
    /// A gate over one record and one set of approvals.
    pub fn new(
        record: Recorder,
        approvals: Approvals,
        revocations: Revocations,
        metrics: Metrics,
        instance: &str,
    ) -> Self {
        Self {
            metrics,
            record,
            approvals,
            revocations,
            instance: instance.into(),
            leaving: watch::Sender::new(false),
            asked: Asked::default(),
        }
    }

    /// Hold nobody from now on: who waits for people is told to come again.
    pub fn let_go(&self) {
        self.leaving.send_replace(true);
    }

    /// Hold the caller of an approval until its state changes, the time is over, or nobody is held.
    async fn hold(&self, id: &ApprovalId, time: Duration) -> Result<State, approval::Error> {
        let mut leaving = self.leaving.subscribe();
        let left = async { leaving.wait_for(|leaving| *leaving).await.is_ok() };
        tokio::select! {
            state = self.approvals.wait(id, time) => state,
            _ = left => self.approvals.wait(id, Duration::ZERO).await,
        }
    }

    /// What is decided, and what would be with the shadow policies, which are counted.
    fn judge<C: Call>(
        &self,
        who: &Principal,
        call: &C,
        policies: &Policies,
        opened: &BTreeSet<RuleHash>,
    ) -> (Decision, Option<Shadowed>) {
        let request = Request::new(who, call);
        let function = &call.function().id;
        let may = |class| policies.may_detokenise(&request.subject, function, request.facts, class);
        // Also of a call that waited: its values stood in tokens when it was sent.
        if !call.veil().iter().all(|veil| may(&veil.class)) {
            let denial = Denial {
                reason: DenialReason::NoPermit,
                policies: Vec::new(),
            };
            return (Decision::Deny(denial), None);
        }
        let judged = policies.decide_shadowed(&request, opened);
        if let Some(shadowed) = &judged.1 {
            for policy in &shadowed.policies {
                self.metrics.shadow(policy, shadowed.decided);
            }
        }
        judged
    }

    /// Judge a call; on an approval rule, hold it for people.
    ///
    /// # Errors
    /// The [`Refusal`] that the caller is told; it is on the record.
    pub async fn admit<C: Call>(
        &self,
        who: Arc<Principal>,
        call: C,
        terrain: Terrain<'_>,
    ) -> Result<Admitted<C>, Refusal> {
        let (decision, shadowed) = self.judge(&who, &call, terrain.policies, &BTreeSet::new());
        match decision {
            Decision::Allow(obligations) => {
                let verdict = Verdict {
                    who,
                    obligations,
                    execution: None,
                    shadowed,
                    observed: None,
                };
                // In a box: a call that waits for people has no place for what it does not do then.
                Box::pin(self.begin(call, verdict, terrain))
                    .await
                    .map(Admitted::Permit)
            }
            Decision::Deny(denial) => {
                Err(self.deny(&who, &call, (&denial, shadowed.as_ref()), terrain))
            }
            Decision::Ask(terms) => {
                let mut held = Held::new(&call)?;
                held.shadowed = shadowed;
                let id = Box::pin(self.ask(&who, held, &terms)).await?;
                // What will run is what was stored: this one is not kept while people decide.
                drop((call, terms));
                self.hold(&id, terrain.hold)
                    .await
                    .map_err(|error| failed(&error))?;
                // What is in force may have changed meanwhile: the caller resumes under the newest.
                Ok(Admitted::Asked(who, id))
            }
        }
    }

    /// Wait for an approval and execute its stored call.
    ///
    /// # Errors
    /// The [`Refusal`] that the caller is told.
    pub async fn resume<C: Call>(
        &self,
        who: Arc<Principal>,
        id: &ApprovalId,
        terrain: Terrain<'_>,
        thaw: Thaw<'_, C>,
    ) -> Result<Admitted<C>, Refusal> {
        match self
            .hold(id, terrain.hold)
            .await
            .map_err(|error| failed(&error))?
        {
            State::Approved => {}
            State::Done => {
                let kept = Kept::fetch((&self.approvals, &self.record), id, Arc::clone(&who)).await;
                return match kept {
                    Ok(Some(kept)) => Ok(Admitted::Kept(kept)),
                    Ok(None) => Err(self.not_approved(id, &who, State::Done).await),
                    Err(error) => Err(failed(&error)),
                };
            }
            other => return Err(self.not_approved(id, &who, other).await),
        }
        let execution = match self.approvals.take(id, &who, &self.instance).await {
            Ok(execution) => execution,
            Err(TakeError::NotApproved(state)) => {
                return Err(self.not_approved(id, &who, state).await);
            }
            Err(TakeError::Busy) => {
                return Err(self.not_approved(id, &who, State::Executing).await);
            }
            Err(TakeError::Failed(error)) => return Err(failed(&error)),
        };
        Box::pin(self.execute(who, execution, terrain, thaw)).await
    }

    /// What runs is the stored bytes, under the whole policy with only the opened rules removed.
    async fn execute<C: Call>(
        &self,
        who: Arc<Principal>,
        execution: Execution,
        terrain: Terrain<'_>,
        thaw: Thaw<'_, C>,
    ) -> Result<Admitted<C>, Refusal> {
        let call = match thaw(execution.frozen()) {
            Ok(call) => call,
            Err(refusal) => {
                // The function changed since people voted: their yes does not cover it.
                self.supersede(execution, None).await;
                return Err(refusal);
            }
        };
        let execution = self.still_opened(execution, terrain.policies).await?;
        let (decision, shadowed) = self.judge(&who, &call, terrain.policies, execution.opened());
        match decision {
            Decision::Allow(obligations) => {
                if let Err(refusal) = self.asked_before(&who, Held::new(&call), &execution).await {
                    self.give_back(execution).await;
                    return Err(refusal);
                }
                let verdict = Verdict {
                    who,
                    obligations,
                    execution: Some(execution),
                    shadowed,
                    observed: None,
                };
                self.begin(call, verdict, terrain)
                    .await
                    .map(Admitted::Permit)
            }
            Decision::Deny(denial) => {
                let refusal = self.deny(&who, &call, (&denial, shadowed.as_ref()), terrain);
                self.supersede(execution, None).await;
                Err(refusal)
            }
            Decision::Ask(terms) => {
                let text =
                    "NOT executed: the rules changed after the approval; people are asked anew";
                let refusal = Refusal::new(Code::Superseded, text).retry_after(RETRY_AFTER);
                let Some(ticket) = self.supersede(execution, Some(&terms)).await else {
                    return Err(refusal);
                };
                let mut held = Held::new(&call)?;
                held.shadowed = shadowed;
                let question = Recorded::of(&ticket, &terms);
                self.question_on_record(&who, held, question).await?;
                Err(refusal.approval(ApprovalNotice {
                    id: ticket.id.to_string(),
                    expires: ticket.expires.to_string(),
                    reason: None,
                }))
            }
        }
    }

    /// The question that is about to be executed is on the record.
    async fn asked_before(
        &self,
        who: &Principal,
        held: Result<Held, Refusal>,
        execution: &Execution,
    ) -> Result<(), Refusal> {
        if self.asked.has(execution.id()) {
            return Ok(());
        }
        let held = Held {
            call: execution.call(),
            ..held?
        };
        let question = Recorded {
            id: execution.id(),
            rules: execution.rules(),
            binding: hex(execution.digest()),
            expires: execution.decide_by(),
            grants: execution.grants(),
        };
        self.question_on_record(who, held, question).await
    }

    async fn give_back(&self, execution: Execution) {
        if let Err(error) = self.approvals.give_back(execution).await {
            tracing::error!(%error, "an approval could not be given back and stays closed");
        }
    }

    async fn supersede(&self, execution: Execution, terms: Option<&Terms>) -> Option<Ticket> {
        match self.approvals.supersede(execution, terms).await {
            Ok(ticket) => ticket,
            Err(error) => {
                tracing::error!(%error, "a superseded approval could not be ended yet");
                None
            }
        }
    }

    async fn ask(
        &self,
        who: &Principal,
        mut held: Held,
        terms: &Terms,
    ) -> Result<ApprovalId, Refusal> {
        let frozen = std::mem::take(&mut held.frozen);
        let question = Question {
            principal: who,
            function: &held.function.id,
            effect: held.function.effect,
            terms,
            frozen,
            summary: held.summary.clone(),
            sameness: held.sameness.clone(),
            call: held.call,
            apart: Vec::new(),
        };
        let ticket = match self.approvals.ask(question).await {
            Ok(ticket) => ticket,
            Err(AskError::Denied { id, .. }) => {
                return Err(self.not_approved(&id, who, State::Denied).await);
            }
            Err(error) => return Err(ask_refused(&error)),
        };
        let question = Recorded::of(&ticket, terms);
        self.question_on_record(who, held, question).await?;
        Ok(ticket.id)
    }

    /// The question is on the record before its answer can have an effect. A process that died between
    /// the two left a question without one, so whatever this process has not recorded itself it records
    /// now: after a restart a question may stand there twice, never not at all. So does one that grants
    /// answer after it was recorded, with them.
    async fn question_on_record(
        &self,
        who: &Principal,
        held: Held,
        question: Recorded<'_>,
    ) -> Result<(), Refusal> {
        if self.asked.has(question.id) && question.grants.is_empty() {
            return Ok(());
        }
        let mut content = held.summary;
        if let Some(members) = content.as_object_mut() {
            members.insert("judged".to_owned(), judged(who, &held.facts));
        }
        let event = Event::ApprovalAsked {
            approval: question.id.to_string(),
            call: held.call,
            who: Who::from(who),
            function: held.function.id.clone(),
            rules: question.rules,
            binding: question.binding,
            expires: question.expires,
            shadowed: held.shadowed,
            grants: question.grants,
            content,
        };
        self.record
            .note(event)
            .await
            .map_err(|error| Refusal::audit_unavailable(error.to_string()))?;
        self.asked.add(question.id);
        Ok(())
    }

    /// The begin record, on stable storage before anything is sent.
    async fn begin<C: Call>(
        &self,
        call: C,
        verdict: Verdict,
        terrain: Terrain<'_>,
    ) -> Result<Box<Permitted<C>>, Refusal> {
        let function: Arc<Function> = Arc::clone(call.function());
        let approval = verdict.execution.as_ref().map(|execution| ApprovalRef {
            id: execution.id().to_string(),
            rules: execution.opened().iter().map(ToString::to_string).collect(),
            fence: execution.fence(),
            grants: execution.grants(),
            broke_glass: execution.broke_glass(),
        });
        let broke_glass = approval.as_ref().is_some_and(|one| one.broke_glass);
        let begin = Begin {
            call: call.id(),
            principal: &verdict.who,
            function: &function,
            facts: call.facts(),
            policies: verdict.obligations.policies(),
            shadowed: verdict.shadowed.as_ref(),
            observed: verdict.observed.as_ref(),
            approval,
            credential: terrain.credential.cloned(),
            upstream: terrain.upstream,
            request: call.content(),
            config_version: terrain.config_version,
            policy_version: terrain.policies.version(),
            mask: terrain.mask,
            durability: function.durability,
            context: input_json(call.input()),
        };
        match self.record.begin(begin).await {
            Ok(record) => {
                if broke_glass {
                    self.metrics.broke_glass(function.id.connection().as_str());
                }
                Ok(Box::new(Permitted::new(
                    call,
                    Ongoing::new(verdict.who, function, verdict.obligations, record)
                        .with_stance(match verdict.observed {
                            Some(_) => Stance::Observed,
                            None => Stance::Enforced,
                        })
                        .with_execution(
                            verdict
                                .execution
                                .map(|execution| (self.approvals.clone(), execution)),
                        ),
                )))
            }
            Err(error) => {
                // Nothing was sent: the approval stays good for another try.
                if let Some(execution) = verdict.execution {
                    self.give_back(execution).await;
                }
                Err(Refusal::audit_unavailable(error.to_string()))
            }
        }
    }

    fn deny<C: Call>(
        &self,
        who: &Principal,
        call: &C,
        (denial, shadowed): (&Denial, Option<&Shadowed>),
        terrain: Terrain<'_>,
    ) -> Refusal {
        let operator = why_denied(denial);
        let id = &call.function().id;
        self.record.note_lazily(Event::Denied {
            call: call.id(),
            who: Who::from(who),
            connection: Some(id.connection().clone()),
            function: Some(id.clone()),
            reason: Code::Denied.as_str(),
            policies: denial.policies.clone(),
            config_version: terrain.config_version.to_owned(),
            policy_version: terrain.policies.version().to_owned(),
            shadowed: shadowed.cloned(),
            content: serde_json::json!({ "request": call.content().head, "input": input_json(call.input()),
                "judged": judged(who, call.facts()), "why": operator }),
        });
        let operator = format!("{operator}; policies: {}", denial.policies.join(", "));
        Refusal::new(
            Code::Denied,
            "NOT executed: policy does not allow this call",
        )
        .operator(operator)
        .recorded()
    }

    /// What the caller of an approval that cannot be executed now is told.
    async fn not_approved(&self, id: &ApprovalId, who: &Principal, state: State) -> Refusal {
        let Ok(view) = self.approvals.show(id).await else {
            return unknown();
        };
        let requester = (
            view.head.requester.issuer.as_str(),
            view.head.requester.subject.as_str(),
        );
        if requester != (who.key().issuer.as_str(), who.key().subject.as_str()) {
            return unknown();
        }
        let reason = (state == State::Denied).then(|| view.denial()).flatten();
        let notice = ApprovalNotice {
            id: id.to_string(),
            expires: view.head.expires_at,
            reason,
        };
        denied_because(not_executable(state).approval(notice))
    }
}

/// A call that waits for people: its exact bytes, and what they see of it.
struct Held {
    call: CallId,
    function: Arc<Function>,
    frozen: Vec<u8>,
    facts: Facts,
    shadowed: Option<Shadowed>,
    summary: serde_json::Value,
    sameness: Sameness,
}

impl Held {
    fn new<C: Call>(call: &C) -> Result<Self, Refusal> {
        let Some(frozen) = call.freeze() else {
            return Err(Refusal::new(
                Code::Denied,
                "NOT executed: this call needs approval, and a streamed body cannot wait for one",
            ));
        };
        Ok(Self {
            call: call.id(),
            function: Arc::clone(call.function()),
            frozen,
            facts: call.facts().clone(),
            shadowed: None,
            summary: summary(call)?,
            sameness: call.sameness(),
        })
    }
}

/// A question as it goes on the record.
struct Recorded<'a> {
    id: &'a ApprovalId,
    rules: Vec<String>,
    binding: String,
    expires: Timestamp,
    grants: Vec<String>,
}

impl<'a> Recorded<'a> {
    fn of(ticket: &'a Ticket, terms: &Terms) -> Self {
        Self {
            id: &ticket.id,
            rules: terms.rules.iter().map(|rule| rule.id.clone()).collect(),
            binding: ticket.binding.clone(),
            expires: ticket.expires,
            grants: ticket.grants.clone(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was decided about a call, until it is recorded.
struct Verdict {
    who: Arc<Principal>,
    obligations: Obligations,
    execution: Option<Execution>,
    shadowed: Option<Shadowed>,
    /// What would have become of it, when the connection only observes.
    observed: Option<Observed>,
}

/// Why a call is denied, for operators.
fn why_denied(denial: &Denial) -> String {
    match &denial.reason {
        DenialReason::NoPermit => "no policy permits it".to_owned(),
        DenialReason::Forbidden => "a policy forbids it".to_owned(),
        DenialReason::Error(text) => format!("a policy could not be evaluated: {text}"),
    }
}
