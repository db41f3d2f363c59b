//! The question: freeze the call, keep apart who must not vote, join what is open.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call::{CallId, Effect, FunctionId, Sameness};
use crate::clock::Timestamp;
use crate::identity::{Actor, Kind, Principal, PrincipalKey};
use crate::policy::Terms;
use crate::store::{self, AskLimits, Asked, Full, GrantRow, NewApproval, StandingYes};

use super::grant::Standing;
use super::seal::{Broken, Fields, Part, hex};
use super::{
    ApprovalId, Approvals, CHANGES_MAX, Error, FROZEN_BYTES_MAX, INPUT_BYTES_MAX, OWNER_CLAIM,
    PENDING_MAX, RESULT_KEPT, SUMMARY_BYTES_MAX, State, TERMS_BYTES_MAX, shown,
};

/// How long a caller is told to wait before it comes again, when nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What people are asked.
pub struct Question<'a> {
    /// Who calls.
    pub principal: &'a Principal,
    /// What.
    pub function: &'a FunctionId,
    /// Its effect group.
    pub effect: Effect,
    /// Who can open it.
    pub terms: &'a Terms,
    /// The call's exact bytes, at most [`FROZEN_BYTES_MAX`]; these run.
    pub frozen: Vec<u8>,
    /// What approvers see, rendered from the frozen bytes; at most [`SUMMARY_BYTES_MAX`] as JSON.
    pub summary: serde_json::Value,
    /// What makes another request the same call.
    pub sameness: Sameness,
    /// The call that asks.
    pub call: CallId,
    /// People who must not vote, beside those that the principal itself names.
    pub apart: Vec<PrincipalKey>,
}

impl fmt::Debug for Question<'_> {
    /// Without the call's content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("function", &self.function)
            .field("call", &self.call)
            .field("frozen_bytes", &self.frozen.len())
            .finish_non_exhaustive()
    }
}

/// Where a question stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The approval.
    pub id: ApprovalId,
    /// Its state. [`State::Done`] when a result is kept for this caller ([`Approvals::fetch_result`]).
    pub state: State,
    /// Whether the same call had been asked before.
    pub joined: bool,
    /// Until when people can decide, or the caller can run it.
    pub expires: Timestamp,
    /// When it makes sense to come again.
    pub retry_after: Duration,
    /// The keyed hash that votes are bound to, hexadecimal; for the record.
    pub binding: String,
    /// The grants that became votes on it by this question; for the record.
    pub grants: Vec<String>,
}

const fn bound_of(full: Full) -> &'static str {
    match full {
        Full::Principal => "of this caller",
        Full::Rate => "asked by this caller in the last hour",
        Full::Total => "in all",
        Full::Bytes => "by their size",
        Full::Changes => "the audit record is behind",
    }
}

/// Why a question was not taken. In every case nothing was executed by it.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// A bound is reached; come again later.
    #[error("too many calls wait for approval: {0}")]
    TooManyPending(&'static str),
    /// The same idempotency key stands for another request.
    #[error("the idempotency key was used with another request, see approval `{0}`")]
    Conflict(ApprovalId),
    /// People said no to this very call a moment ago.
    #[error("approval `{id}` was denied; ask again after {until}")]
    Denied {
        /// Which.
        id: ApprovalId,
        /// When it may be asked again.
        until: Timestamp,
    },
    /// People said no to this principal for this function a moment ago.
    #[error("a call of this function was denied; ask again after {0}")]
    CoolingDown(Timestamp),
    /// The same call may have run, nobody knows; a new idempotency key makes it a new call.
    #[error("the same call may have been executed, see approval `{0}`")]
    Indeterminate(ApprovalId),
    /// It failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<store::Error> for AskError {
    fn from(error: store::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Broken> for AskError {
    fn from(broken: Broken) -> Self {
        Self::Failed(broken.into())
    }
}

/// Who must not vote.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Apart {
    /// Accounts.
    pub(super) principals: BTreeSet<PrincipalKey>,
    /// Person claims.
    pub(super) people: BTreeSet<String>,
}

impl Apart {
    fn of(principal: &Principal, more: &[PrincipalKey]) -> Self {
        let mut apart = Self::default();
        apart.principals.insert(principal.key().clone());
        apart.principals.extend(more.iter().cloned());
        for Actor { issuer, subject } in principal.actors() {
            apart.principals.insert(PrincipalKey {
                issuer: issuer.clone(),
                subject: subject.clone(),
            });
        }
        apart.people.extend(principal.person().map(str::to_owned));
        if let Some(owner) = claim(principal, OWNER_CLAIM) {
            apart.principals.insert(PrincipalKey {
                issuer: principal.key().issuer.clone(),
                subject: owner.clone(),
            });
            apart.people.insert(owner);
        }
        apart
    }

    /// Whether this one's grant must not stand.
    pub(super) fn keeps_grant(&self, grant: &GrantRow) -> bool {
        let key = PrincipalKey {
            issuer: grant.issuer.clone(),
            subject: grant.subject.clone(),
        };
        self.principals.contains(&key)
            || grant
                .handle
                .as_ref()
                .is_some_and(|person| self.people.contains(person))
    }

    /// Whether this one must not vote.
    pub(super) fn keeps(&self, voter: &Principal) -> bool {
        self.principals.contains(voter.key())
            || voter
                .person()
                .is_some_and(|person| self.people.contains(person))
    }
}

/// A claim that is a text and not empty.
fn claim(principal: &Principal, name: &str) -> Option<String> {
    let text = principal.claims().get(name)?.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The requester as people see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Requester {
    pub(super) kind: Kind,
    pub(super) actors: Vec<PrincipalKey>,
}

impl Approvals {
    /// Ask people about a call, or join the open approval of the same call by the same caller: one that
    /// is pending, approved, executing, or done with a kept result.
    ///
    /// # Errors
    /// [`AskError`]; nothing was executed.
    pub async fn ask(&self, question: Question<'_>) -> Result<Ticket, AskError> {
        let now = self.now();
        let new = self.freeze(&question, now)?;
        let apart = Apart::of(question.principal, &question.apart);
        let mut of = Standing {
            id: new.id.clone(),
            binding: new.binding.clone(),
            caller: new.caller.clone(),
            function: new.function.clone(),
        };
        let mut standing = self.standing(&of, &question, &apart).await?;
        let expires = new.decide_by;
        let limits = self.limits(&standing);
        let asked = self.inner.store.ask(new, limits, now).await?;
        let (state, joined, expires) = match asked {
            Asked::New => {
                self.woken(&of.id);
                (State::Pending, false, expires)
            }
            Asked::Joined(row) => {
                of.id.clone_from(&row.id);
                of.binding.clone_from(&row.binding);
                if !standing.is_empty() {
                    standing = self.standing(&of, &question, &apart).await?;
                }
                (row.state.at(row.expires, now), true, row.expires)
            }
            Asked::Indeterminate(id) => {
                return Err(AskError::Indeterminate(ApprovalId::of(&id)?));
            }
            Asked::Denied { id, until } => {
                let id = ApprovalId::of(&id)?;
                return Err(AskError::Denied { id, until });
            }
            Asked::Conflict(id) => return Err(AskError::Conflict(ApprovalId::of(&id)?)),
            Asked::CoolingDown(until) => return Err(AskError::CoolingDown(until)),
            Asked::Full(full) => return Err(AskError::TooManyPending(bound_of(full))),
        };
        let mut ticket = Ticket {
            id: ApprovalId::of(&of.id)?,
            state,
            joined,
            expires,
            retry_after: RETRY_AFTER,
            binding: hex(&of.binding),
            grants: Vec::new(),
        };
        if state == State::Pending && !standing.is_empty() {
            (ticket.state, ticket.grants) = self.stand(&ticket.id, standing).await?;
        }
        Ok(ticket)
    }

    /// Bounds of a question. They keep people from being flooded, so what grants answer counts by what is
    /// left of the grants' own number; bounds of memory hold for all.
    fn limits(&self, standing: &[StandingYes]) -> AskLimits {
        let config = &self.inner.config;
        let more = standing.iter().map(|yes| yes.left.max(0)).sum::<i64>();
        AskLimits {
            open_per_principal_max: i64::from(config.pending_per_principal_max) + more,
            open_max: i64::from(PENDING_MAX),
            bytes_max: i64::try_from(config.pending_bytes_max).unwrap_or(i64::MAX),
            asks_per_hour_max: i64::from(config.asks_per_hour_max) + more,
            changes_max: CHANGES_MAX,
            cooldown: Duration::from_secs(config.cooldown_s),
            indeterminate_kept: RESULT_KEPT,
        }
    }

    fn freeze(&self, question: &Question<'_>, now: Timestamp) -> Result<NewApproval, Error> {
        let principal = question.principal;
        let caller = self.caller(principal);
        let keys = &self.inner.keys;
        let same = Fields::new(b"callgate-approval/1 same")
            .add(&caller)
            .add(&question.sameness.digest);
        let idempotency = question.sameness.idempotency_key.as_ref().map(|key| {
            let fields = Fields::new(b"callgate-approval/1 idempotency")
                .add(principal.key().issuer.as_bytes())
                .add(principal.key().subject.as_bytes())
                .add(key.as_bytes());
            keys.hash(&fields)
        });
        let requester = Requester {
            kind: principal.kind(),
            actors: principal
                .actors()
                .iter()
                .map(|actor| PrincipalKey {
                    issuer: actor.issuer.clone(),
                    subject: actor.subject.clone(),
                })
                .collect(),
        };
        let new = NewApproval {
            id: String::new(),
            issuer: principal.key().issuer.clone(),
            subject: principal.key().subject.clone(),
            requester: json("a requester", &requester)?,
            apart: json(
                "the people kept apart",
                &Apart::of(principal, &question.apart),
            )?,
            connection: question.function.connection().as_str().to_owned(),
            function: question.function.to_string(),
            effect: question.effect.as_str().to_owned(),
            same: keys.hash(&same),
            caller,
            idempotency,
            call: question.call.to_string(),
            terms: String::new(),
            rules: String::new(),
            binding: Vec::new(),
            frozen: Vec::new(),
            summary: Vec::new(),
            input: Vec::new(),
            decide_by: now,
        };
        let summary = json("the summary", &question.summary)?;
        self.sealed(new, question.terms, &question.frozen, summary.as_bytes())
    }

    /// Give a new approval its id, terms and deadline, seal its bytes and bind it all together. The
    /// deadline counts from what stands in `decide_by`.
    pub(super) fn sealed(
        &self,
        mut new: NewApproval,
        terms: &Terms,
        frozen: &[u8],
        summary: &[u8],
    ) -> Result<NewApproval, Error> {
        limit("the call", frozen.len(), FROZEN_BYTES_MAX)?;
        limit("the summary", summary.len(), SUMMARY_BYTES_MAX)?;
        let mut rules: Vec<String> = terms.rules.iter().map(|r| r.hash.to_string()).collect();
        rules.sort_unstable();
        new.rules = rules.join(",");
        new.terms = json("the terms", terms)?;
        limit("the terms", new.terms.len(), TERMS_BYTES_MAX)?;
        new.decide_by = whole_millis(new.decide_by.plus(self.decide_within(terms)));
        let id = ApprovalId::random()?;
        new.id = id.to_string();
        let keys = &self.inner.keys;
        new.binding = keys.hash(&binding(&new, frozen, summary));
        new.frozen = keys.seal(Part::Frozen, id.as_str(), frozen)?;
        new.summary = keys.seal(Part::Summary, id.as_str(), summary)?;
        // What is too large is not kept, and the next question then says that it cannot be compared.
        let input = shown::input_of(summary).filter(|input| input.len() <= INPUT_BYTES_MAX);
        new.input = match input {
            Some(input) => keys.seal(Part::Input, id.as_str(), &input)?,
            None => Vec::new(),
        };
        Ok(new)
    }

    /// The shortest of the rules' times, within the config's.
    fn decide_within(&self, terms: &Terms) -> Duration {
        let max = Duration::from_secs(self.inner.config.decide_within_max_s);
        let rules = terms.rules.iter().map(|rule| rule.decide_within);
        rules.min().unwrap_or_default().min(max)
    }
}

/// What the binding covers: everything that an approver decides about, and nothing that changes.
pub(super) fn binding(new: &NewApproval, frozen: &[u8], summary: &[u8]) -> Fields {
    Fields::new(b"callgate-approval/1 binding")
        .add(new.id.as_bytes())
        .add(new.issuer.as_bytes())
        .add(new.subject.as_bytes())
        .add(&new.caller)
        .add(new.requester.as_bytes())
        .add(new.apart.as_bytes())
        .add(new.connection.as_bytes())
        .add(new.function.as_bytes())
        .add(new.effect.as_bytes())
        .add(&new.same)
        .add_optional(new.idempotency.as_deref())
        .add(new.call.as_bytes())
        .add(new.terms.as_bytes())
        .add(new.rules.as_bytes())
        .add(&new.decide_by.millis().to_be_bytes())
        .add(frozen)
        .add(summary)
}

/// The database keeps milliseconds.
fn whole_millis(at: Timestamp) -> Timestamp {
    Timestamp::from_nanos(at.millis().saturating_mul(1_000_000))
}

fn limit(what: &'static str, length: usize, max: usize) -> Result<(), Error> {
    if length > max {
        return Err(Error::TooLarge(what, max));
    }
    Ok(())
}

fn json<T: Serialize>(what: &'static str, value: &T) -> Result<String, Error> {
    // Nothing here has a form that JSON lacks; a value that cannot be written cannot be kept.
    serde_json::to_string(value).map_err(|_| Error::TooLarge(what, 0))
}
