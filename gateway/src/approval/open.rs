//! Opening a row: the bytes, everything that the binding covers, every vote.

use crate::policy::{RuleHash, Terms};
use crate::store::{ApprovalRow, NewApproval, VoteRow};

use super::ask::binding;
use super::seal::{Broken, Part};
use super::tally::{self, Yes};
use super::vote::{groups_of, vote_fields};
use super::{ApprovalId, Approvals, Error, VoterSnapshot};

/// An approval whose bytes, terms and votes are what was written.
pub(super) struct Opened {
    pub(super) terms: Terms,
    pub(super) frozen: Vec<u8>,
    pub(super) summary: Vec<u8>,
    pub(super) votes: Vec<Yes>,
}

impl Approvals {
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
                snapshot: self.snapshot(vote)?,
                grant: vote.grant.clone(),
                glass: vote.glass.then_some(vote.at),
            });
        }
        Ok(counted)
    }

    fn snapshot(&self, vote: &VoteRow) -> Result<Option<VoterSnapshot>, Broken> {
        if vote.voter.is_empty() {
            return Ok(None);
        }
        let json = self.inner.keys.open(Part::Voter, &vote.id, &vote.voter)?;
        serde_json::from_slice(&json).map(Some).map_err(|_| Broken)
    }

    /// The judgement inside the store's transactions: do these votes open every rule.
    pub(super) fn opens(&self, row: &ApprovalRow, votes: &[VoteRow]) -> bool {
        let terms: Option<Terms> = serde_json::from_str(&row.terms).ok();
        match (terms, self.yes(row, votes)) {
            (Some(terms), Ok(votes)) => tally::all_open(&terms, &votes, self.now()),
            (_, _) => false,
        }
    }
}

/// What of a row was there from the start.
pub(super) fn as_new(row: &ApprovalRow) -> NewApproval {
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
        input: Vec::new(),
        decide_by: row.decide_by,
    }
}
