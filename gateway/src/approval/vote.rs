//! A person's answer to one approval rule: checked, on the audit record, then counted.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::{Kind, Principal, PrincipalKey};
use crate::policy::{PersonFacts, RuleHash, RuleTerms};
use crate::store::{self, GrantRow, VoteRow, Voted};

use super::ask::Apart;
use super::seal::{Broken, Fields, Part, random_hex};
use super::voter::VoterSnapshot;
use super::{
    ApprovalId, Approvals, Error, GrantNote, REASON_BYTES_MAX, SKEW_MAX, State, Widening,
    WideningError,
};

/// Yes or no.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Open this rule for this call.
    Yes,
    /// Refuse the call; final.
    No,
    /// Open this rule for a call of one's own, without the quorum: only where the rule offers it, with a
    /// reason, for a short time.
    BreakGlass,
}

impl Verdict {
    pub(super) const fn of(vote: &VoteRow) -> Self {
        match (vote.yes, vote.glass) {
            (true, false) => Self::Yes,
            (true, true) => Self::BreakGlass,
            (false, _) => Self::No,
        }
    }
}

/// What a person casts.
#[derive(Debug)]
pub struct Ballot<'a> {
    /// On which approval.
    pub approval: &'a ApprovalId,
    /// For which rule.
    pub rule: &'a RuleHash,
    /// Who votes, as verified for this very request.
    pub voter: &'a Principal,
    /// Yes or no.
    pub verdict: Verdict,
    /// Why, at most [`REASON_BYTES_MAX`].
    pub reason: &'a str,
    /// The digest that the page showed ([`super::ApprovalView::digest`]); when given it must be the
    /// stored one.
    pub seen: Option<&'a str>,
    /// When and from where the voter acts.
    pub facts: PersonFacts,
    /// Widen the yes to later calls.
    pub widen: Option<&'a Widening>,
}

/// What must be on the audit record before the vote counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VoteNote {
    /// The vote's id.
    pub vote: String,
    /// The approval.
    pub approval: ApprovalId,
    /// The hash that the vote is bound to, hexadecimal.
    pub digest: String,
    /// The function, as text.
    pub function: String,
    /// The call that asked, as text.
    pub call: String,
    /// The rule's id.
    pub rule: String,
    /// The rule's identity.
    pub rule_hash: RuleHash,
    /// Who.
    pub voter: PrincipalKey,
    /// Yes or no.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// The grant that it gives.
    pub grant: Option<GrantNote>,
}

/// Why a vote did not count.
#[derive(Debug, thiserror::Error)]
pub enum VoteError {
    /// Only people vote.
    #[error("only a person can vote, not a workload or an agent")]
    NotAPerson,
    /// A token that somebody else acts with.
    #[error("a delegated token cannot vote: sign in yourself")]
    Delegated,
    /// Signed in too long ago, or nobody says when.
    #[error("sign in again to vote: the last sign-in is too long ago or unknown")]
    NotFresh,
    /// The rule asks for a stronger or fresher sign-in.
    #[error("this rule asks for another sign-in: {0}")]
    StepUp(StepUpLack),
    /// The requester, an actor of the requester, its owner, or the same person under another account.
    #[error("the requester, and whoever it acts for or through, cannot vote on its call")]
    OwnCall,
    /// The approval does not ask about this rule.
    #[error("this approval does not ask about that rule")]
    UnknownRule,
    /// The rule does not name any group of this person.
    #[error("the rule does not name you")]
    NotNamed,
    /// Somebody else's call, or one through somebody else.
    #[error("only who asked can break the glass, for a call that they made themselves")]
    NotYours,
    /// The rule has no `@break_glass`.
    #[error("the rule `{0}` has no glass to break: it waits for its approvers")]
    NoGlass(String),
    /// A glass is broken with a reason only.
    #[error("say why this cannot wait: breaking the glass needs a reason")]
    NoReason,
    /// Policy does not permit this person to approve.
    #[error("policy does not permit you to approve this")]
    NotAllowed,
    /// One vote a person and rule.
    #[error("you have voted on this rule already")]
    AlreadyVoted,
    /// What the page showed is not what is stored.
    #[error("the approval is not the one that was shown: load it again")]
    NotWhatWasShown,
    /// It cannot be widened like that.
    #[error(transparent)]
    Widening(#[from] WideningError),
    /// Too long a reason.
    #[error("the reason is longer than 2000 bytes")]
    ReasonTooLong,
    /// Too late.
    #[error("the approval is {0}")]
    Closed(State),
    /// The audit record could not be written: the vote does not exist.
    #[error("the vote could not be put on the audit record and does not count: {0}")]
    NotRecorded(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It failed. After a failure of the store the vote may have counted: look before voting again.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// What a sign-in lacks for a rule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StepUpLack {
    /// Another authentication context class.
    #[error("with `acr` one of `{}`; yours is {}", .0.join("`, `"), said(.1.as_ref()))]
    Acr(Vec<String>, Option<String>),
    /// A sign-in that the issuer dates, at most so long ago.
    #[error("at most {} seconds ago, by the token's `auth_time`", .0.as_secs())]
    MaxAge(Duration),
}

fn said(acr: Option<&String>) -> String {
    acr.map_or_else(|| "not said".to_owned(), |acr| format!("`{acr}`"))
}

impl From<store::Error> for VoteError {
    fn from(error: store::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Broken> for VoteError {
    fn from(broken: Broken) -> Self {
        Self::Failed(broken.into())
    }
}

impl Approvals {
    /// Cast a vote. `allowed` says whether policy permits this person to approve under this rule;
    /// `record` puts the vote on the audit record and answers once it is on stable storage.
    ///
    /// A no is final: it denies a pending approval, and an approved one that nobody has begun to run.
    ///
    /// # Errors
    /// [`VoteError`].
    pub async fn vote<A, R, F, E>(
        &self,
        ballot: Ballot<'_>,
        allowed: A,
        record: R,
    ) -> Result<State, VoteError>
    where
        A: Fn(&RuleTerms) -> bool + Send,
        R: FnOnce(VoteNote) -> F + Send,
        F: Future<Output = Result<(), E>> + Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        self.is_a_fresh_person(ballot.voter)?;
        if ballot.reason.len() > REASON_BYTES_MAX {
            return Err(VoteError::ReasonTooLong);
        }
        let (row, votes) = self.row(ballot.approval).await?;
        let state = row.state.at(row.expires, self.now());
        let open = match ballot.verdict {
            Verdict::Yes | Verdict::BreakGlass => state == State::Pending,
            Verdict::No => matches!(state, State::Pending | State::Approved),
        };
        if !open {
            return Err(VoteError::Closed(state));
        }
        let opened = self.verified(ballot.approval, &row, &votes)?;
        let rule = opened
            .terms
            .rules
            .iter()
            .find(|rule| rule.hash == *ballot.rule)
            .ok_or(VoteError::UnknownRule)?;
        let groups = self.named(&ballot, &row, rule)?;
        if !allowed(rule) {
            return Err(VoteError::NotAllowed);
        }
        let (vote, mut note) = self.written(&ballot, &row, rule, &groups)?;
        let mut grant = None;
        if let Some(widening) = ballot.widen {
            let given = self.granted(widening, &row, rule, &vote, &opened.summary)?;
            note.grant = Some(given.1);
            grant = Some(given.0);
        }
        let again =
            |v: &VoteRow| v.voided.is_none() && v.rule == vote.rule && v.person == vote.person;
        if votes.iter().any(again) {
            return Err(VoteError::AlreadyVoted);
        }
        record(note)
            .await
            .map_err(|error| VoteError::NotRecorded(Box::new(error)))?;
        let run_by = self.run_by(&opened.terms, &votes, &vote);
        self.count(ballot.approval, vote, grant, run_by).await
    }

    /// Whether this person may answer like that at all; the groups by which the rule names them.
    fn named(
        &self,
        ballot: &Ballot<'_>,
        row: &store::ApprovalRow,
        rule: &RuleTerms,
    ) -> Result<Vec<String>, VoteError> {
        if let Some(seen) = ballot.seen
            && seen != super::seal::hex(&row.binding)
        {
            return Err(VoteError::NotWhatWasShown);
        }
        let groups = match ballot.verdict {
            Verdict::Yes | Verdict::No => may_vote(ballot, row, rule)?,
            Verdict::BreakGlass => super::glass::may_break(ballot, row, rule)?,
        };
        match ballot.verdict {
            Verdict::Yes | Verdict::BreakGlass => self.signed_in_for(ballot.voter, rule)?,
            Verdict::No => {}
        }
        Ok(groups)
    }

    /// The vote is on record: write it, and the grant that it gives, and let it count.
    async fn count(
        &self,
        id: &ApprovalId,
        vote: VoteRow,
        grant: Option<GrantRow>,
        run_by: Timestamp,
    ) -> Result<State, VoteError> {
        let now = self.now();
        let opens = |row: &store::ApprovalRow, votes: &[VoteRow]| self.opens(row, votes);
        let store = &self.inner.store;
        let voted = store.vote(vote, grant, run_by, now, &opens).await?;
        self.woken(id.as_str());
        match voted {
            Voted::Counted(state) => Ok(state),
            Voted::Again => Err(VoteError::AlreadyVoted),
            Voted::Closed(state) => Err(VoteError::Closed(state)),
            Voted::Unknown => Err(Error::Unknown(id.clone()).into()),
        }
    }

    fn is_a_fresh_person(&self, voter: &Principal) -> Result<(), VoteError> {
        match voter.kind() {
            Kind::Human => {}
            Kind::Workload | Kind::Agent => return Err(VoteError::NotAPerson),
        }
        if !voter.actors().is_empty() {
            return Err(VoteError::Delegated);
        }
        let token = voter.token();
        let now = self.now();
        let signed_in = voter.was_there().ok_or(VoteError::NotFresh)?;
        let fresh = Duration::from_secs(self.inner.config.vote_fresh_s);
        if now.since(signed_in) > fresh || signed_in.since(now) > SKEW_MAX || token.expires <= now {
            return Err(VoteError::NotFresh);
        }
        Ok(())
    }

    /// What the rule asks of the sign-in beyond what every vote needs. A no needs no more.
    fn signed_in_for(&self, voter: &Principal, rule: &RuleTerms) -> Result<(), VoteError> {
        let token = voter.token();
        let acr = &rule.step_up.acr;
        if !acr.is_empty() && !token.acr.as_ref().is_some_and(|said| acr.contains(said)) {
            let lack = StepUpLack::Acr(acr.clone(), token.acr.clone());
            return Err(VoteError::StepUp(lack));
        }
        if let Some(max_age) = rule.step_up.max_age {
            // A refreshed token is issued now and says nothing of when a person was there.
            let now = self.now();
            let fresh = |at: Timestamp| now.since(at) <= max_age && at.since(now) <= SKEW_MAX;
            if !token.authenticated.is_some_and(fresh) {
                return Err(VoteError::StepUp(StepUpLack::MaxAge(max_age)));
            }
        }
        Ok(())
    }

    fn written(
        &self,
        ballot: &Ballot<'_>,
        row: &store::ApprovalRow,
        rule: &RuleTerms,
        groups: &[String],
    ) -> Result<(VoteRow, VoteNote), Error> {
        let keys = &self.inner.keys;
        let key = ballot.voter.key();
        let handle = ballot.voter.person().map(str::to_owned);
        let person = match &handle {
            Some(person) => Fields::new(b"person").add(person.as_bytes()),
            None => Fields::new(b"account")
                .add(key.issuer.as_bytes())
                .add(key.subject.as_bytes()),
        };
        let id = format!("vote_{}", random_hex::<16>()?);
        let mut vote = VoteRow {
            reason: keys.seal(Part::Reason, &id, ballot.reason.as_bytes())?,
            id: id.clone(),
            approval: row.id.clone(),
            rule: rule.hash.0.to_vec(),
            person: super::seal::hex(&keys.hash(&person)),
            issuer: key.issuer.clone(),
            subject: key.subject.clone(),
            handle,
            groups: serde_json::to_string(groups).map_err(|_| Error::Crypto)?,
            voter: self.sealed_voter(&id, ballot)?,
            yes: ballot.verdict != Verdict::No,
            at: self.now(),
            mac: Vec::new(),
            voided: None,
            grant: None,
            glass: ballot.verdict == Verdict::BreakGlass,
        };
        vote.mac = keys.sign_vote(&vote_fields(&row.binding, &vote));
        let note = VoteNote {
            vote: id,
            approval: ballot.approval.clone(),
            digest: super::seal::hex(&row.binding),
            function: row.function.clone(),
            call: row.call.clone(),
            rule: rule.id.clone(),
            rule_hash: rule.hash,
            voter: key.clone(),
            verdict: ballot.verdict,
            reason: ballot.reason.to_owned(),
            at: vote.at,
            grant: None,
        };
        Ok((vote, note))
    }
}

impl Approvals {
    fn sealed_voter(&self, vote: &str, ballot: &Ballot<'_>) -> Result<Vec<u8>, Error> {
        let snapshot = VoterSnapshot::of(ballot.voter, ballot.facts);
        let json = serde_json::to_vec(&snapshot).map_err(|_| Error::Crypto)?;
        Ok(self.inner.keys.seal(Part::Voter, vote, &json)?)
    }
}

/// Whether this person may vote on this rule at all; answers the groups by which the rule names them.
fn may_vote(
    ballot: &Ballot<'_>,
    row: &store::ApprovalRow,
    rule: &RuleTerms,
) -> Result<Vec<String>, VoteError> {
    let tampered = |_| VoteError::Failed(Error::Tampered(ballot.approval.clone()));
    let apart: Apart = serde_json::from_str(&row.apart).map_err(tampered)?;
    if apart.keeps(ballot.voter) {
        return Err(VoteError::OwnCall);
    }
    let named: BTreeSet<&String> = rule.who.any_of.iter().flatten().collect();
    let groups: Vec<String> = ballot
        .voter
        .groups()
        .iter()
        .filter(|group| named.contains(group))
        .cloned()
        .collect();
    if groups.is_empty() {
        return Err(VoteError::NotNamed);
    }
    Ok(groups)
}

/// What the seal on a vote covers.
pub(super) fn vote_fields(binding: &[u8], vote: &VoteRow) -> Fields {
    let fields = Fields::new(b"callgate-approval/1 vote")
        .add(binding)
        .add(vote.id.as_bytes())
        .add(vote.approval.as_bytes())
        .add(&vote.rule)
        .add(vote.person.as_bytes())
        .add(vote.issuer.as_bytes())
        .add(vote.subject.as_bytes())
        .add_optional(vote.handle.as_deref().map(str::as_bytes))
        .add(vote.groups.as_bytes())
        .add(&[u8::from(vote.yes)])
        .add(&vote.at.millis().to_be_bytes())
        .add(&vote.reason);
    // Votes of older versions have no snapshot; one that is taken away leaves a seal that fails.
    let fields = if vote.voter.is_empty() {
        fields
    } else {
        fields.add(&vote.voter)
    };
    let fields = match &vote.grant {
        Some(grant) => fields.add(b"grant").add(grant.as_bytes()),
        None => fields,
    };
    match vote.glass {
        true => fields.add(b"break-glass"),
        false => fields,
    }
}

/// The groups of a vote.
pub(super) fn groups_of(vote: &VoteRow) -> Result<Vec<String>, Broken> {
    serde_json::from_str(&vote.groups).map_err(|_| Broken)
}
