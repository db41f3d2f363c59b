//! Bounded grants: a yes that stands for later calls of the same caller to the same function, within
//! arguments, a number and a time.
//!
//! A grant opens nothing by itself. When a call is held, the grants that cover it are turned into votes
//! of their granters on that very approval, with a seal over its binding, in the transaction that counts
//! the use; from there on it is an approval like any other, judged again when it runs, with everybody
//! who said yes looked up in the policies and revocations in force. So a grant is never wider than its
//! granter's own vote would be, and a rule that needs two people still needs two.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::identity::{Principal, PrincipalKey};
use crate::policy::RuleTerms;
use crate::store::{
    ApprovalRow, GRANTS_LIST_MAX, GrantFilter, GrantRow, GrantsOf, StandingYes, State, VoteRow,
    Voted,
};

use super::ask::{Apart, Question};
use super::pattern::Pattern;
use super::seal::{Broken, Fields, Part, random_hex};
use super::vote::vote_fields;
use super::{ApprovalId, Approvals, Error, PatternError};

const PREFIX: &str = "grt_";
/// Lists of the store that are looked through for the first grant that somebody may see.
const LISTS_MAX: usize = 20;

/// How a voter widens a yes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Widening {
    id: String,
    any: Vec<String>,
    at_most: BTreeMap<String, String>,
    uses: u32,
    within: Duration,
}

/// Why a yes cannot be widened like that.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WideningError {
    /// The rule has no `@grant_uses`.
    #[error("the rule `{0}` does not let a yes be widened: each call is asked about")]
    NotOffered(String),
    /// More than the rule allows.
    #[error("the rule allows grants of 1 to {0} calls within {1} seconds at most")]
    TooWide(u32, u64),
    /// Only a yes.
    #[error("only a yes can be widened")]
    NotAYes,
    /// The arguments.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl Widening {
    /// A widening to `uses` later calls within this time, whose arguments are those of the approved
    /// call, but for members that may be anything (`any`) and numbers with a greatest value (`at_most`),
    /// by the names that approvers see (`body.amount`).
    ///
    /// # Errors
    /// [`Error::Crypto`] when there is no randomness for an id.
    pub fn new(
        any: Vec<String>,
        at_most: BTreeMap<String, String>,
        uses: u32,
        within: Duration,
    ) -> Result<Self, Error> {
        Ok(Self {
            id: format!("{PREFIX}{}", random_hex::<16>()?),
            any,
            at_most,
            uses,
            within,
        })
    }

    /// The grant's id, once the vote counts.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// A grant as it goes on the record, with the vote that gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantNote {
    /// Its id.
    pub id: String,
    /// The arguments in words.
    pub pattern: Vec<String>,
    /// For how many calls.
    pub uses: u32,
    /// Until when.
    pub until: Timestamp,
}

/// A page of grants that somebody may see.
#[derive(Clone, Debug, Default)]
pub struct GrantPage {
    /// The grants.
    pub grants: Vec<GrantView>,
    /// Where the next page begins, as [`GrantFilter::before`]; `None` on the last one.
    pub next: Option<(Timestamp, String)>,
}

/// A grant as people see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct GrantView {
    /// Its id.
    pub id: String,
    /// The approval whose yes was widened.
    pub approval: String,
    /// Who granted, `alias/subject`.
    pub granter: String,
    /// For whose calls, `alias/subject`.
    pub caller: String,
    /// For which function.
    pub function: String,
    /// For which arguments, a line each, safe to show.
    pub pattern: Vec<String>,
    /// For how many calls at most.
    pub uses_max: u64,
    /// For how many it has stood so far.
    pub used: u64,
    /// Since when, RFC 3339.
    pub at: String,
    /// Until when, RFC 3339.
    pub until: String,
    /// Whether it stands: neither used up, ended, nor past its time.
    pub stands: bool,
    /// When it was ended, RFC 3339.
    pub ended_at: Option<String>,
    /// By whom it was ended.
    pub ended_by: Option<String>,
}

fn named(issuer: &str, subject: &str) -> String {
    let key = PrincipalKey {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
    };
    key.to_string()
}

impl Approvals {
    /// The grant that a vote gives with it, as it is written and as it goes on the record.
    pub(super) fn granted(
        &self,
        widening: &Widening,
        row: &ApprovalRow,
        rule: &RuleTerms,
        vote: &VoteRow,
        summary: &[u8],
    ) -> Result<(GrantRow, GrantNote), super::VoteError> {
        if !vote.yes || vote.glass {
            return Err(WideningError::NotAYes.into());
        }
        let Some(most) = rule.grant else {
            return Err(WideningError::NotOffered(rule.id.clone()).into());
        };
        let fits = (1..=most.uses).contains(&widening.uses)
            && !widening.within.is_zero()
            && widening.within <= most.within;
        if !fits {
            return Err(WideningError::TooWide(most.uses, most.within.as_secs()).into());
        }
        let summary = serde_json::from_slice(summary).map_err(|_| PatternError::Opaque);
        let summary: Value = summary.map_err(WideningError::from)?;
        let pattern = Pattern::of(&summary, &widening.any, &widening.at_most);
        let pattern = pattern.map_err(WideningError::from)?;
        let json = serde_json::to_vec(&pattern).map_err(|_| Error::Crypto)?;
        let keys = &self.inner.keys;
        let voter = keys.open(Part::Voter, &vote.id, &vote.voter)?;
        let id = widening.id.clone();
        let mut grant = GrantRow {
            approval: row.id.clone(),
            rule: vote.rule.clone(),
            person: vote.person.clone(),
            issuer: vote.issuer.clone(),
            subject: vote.subject.clone(),
            handle: vote.handle.clone(),
            groups: vote.groups.clone(),
            voter: keys.seal(Part::Voter, &id, &voter)?,
            caller: row.caller.clone(),
            asker_issuer: row.issuer.clone(),
            asker_subject: row.subject.clone(),
            function: row.function.clone(),
            pattern: keys.seal(Part::Pattern, &id, &json)?,
            uses_max: i64::from(widening.uses),
            used: 0,
            at: vote.at,
            until: vote.at.plus(widening.within),
            ended: None,
            ended_by: None,
            mac: Vec::new(),
            id,
        };
        grant.mac = keys.sign_vote(&grant_fields(&grant));
        let note = GrantNote {
            id: grant.id.clone(),
            pattern: pattern.in_words(),
            uses: widening.uses,
            until: grant.until,
        };
        Ok((grant, note))
    }

    /// The yeses of grants that cover this new approval, sealed for it.
    pub(super) async fn standing(
        &self,
        of: &Standing,
        question: &Question<'_>,
        apart: &Apart,
    ) -> Result<Vec<StandingYes>, Error> {
        let rules = &question.terms.rules;
        if rules.iter().all(|rule| rule.grant.is_none()) {
            return Ok(Vec::new());
        }
        let filter = GrantFilter {
            of: Some((of.caller.clone(), of.function.clone())),
            standing: true,
            ..GrantFilter::default()
        };
        let now = self.now();
        let grants = self.inner.store.grants(filter, now).await?;
        let asked = |grant: &GrantRow| rules.iter().any(|rule| rule.hash.0 == *grant.rule);
        let mut yeses: Vec<StandingYes> = Vec::new();
        for grant in grants {
            if !asked(&grant) || apart.keeps_grant(&grant) {
                continue;
            }
            let pattern = match self.pattern(&grant) {
                Ok(pattern) => pattern,
                Err(Broken) => {
                    tracing::error!(grant.id = %grant.id, "a grant is not what was stored: it opens nothing");
                    continue;
                }
            };
            let theirs =
                |yes: &StandingYes| yes.vote.rule == grant.rule && yes.vote.person == grant.person;
            let left = grant.uses_max.saturating_sub(grant.used);
            if pattern.covers(&question.summary) && !yeses.iter().any(theirs) {
                let vote = self.vote_of_grant(&grant, of, now)?;
                yeses.push(StandingYes {
                    grant: grant.id,
                    vote,
                    left,
                });
            }
        }
        Ok(yeses)
    }

    /// Count standing yeses on a pending approval; answers its state, and which grants became votes.
    pub(super) async fn stand(
        &self,
        id: &ApprovalId,
        yeses: Vec<StandingYes>,
    ) -> Result<(State, Vec<String>), Error> {
        let now = self.now();
        let run_by = now.plus(Duration::from_secs(self.inner.config.execute_within_s));
        let opens = |row: &ApprovalRow, votes: &[VoteRow]| self.opens(row, votes);
        let store = &self.inner.store;
        let stood = store.stand(id.as_str(), yeses, run_by, now, &opens).await?;
        self.woken(id.as_str());
        match stood.voted {
            Voted::Counted(state) | Voted::Closed(state) => Ok((state, stood.grants)),
            Voted::Again | Voted::Unknown => Err(Error::Unknown(id.clone())),
        }
    }

    fn pattern(&self, grant: &GrantRow) -> Result<Pattern, Broken> {
        let keys = &self.inner.keys;
        keys.check_vote(&grant_fields(grant), &grant.mac)?;
        let json = keys.open(Part::Pattern, &grant.id, &grant.pattern)?;
        serde_json::from_slice(&json).map_err(|_| Broken)
    }

    fn vote_of_grant(
        &self,
        grant: &GrantRow,
        of: &Standing,
        now: Timestamp,
    ) -> Result<VoteRow, Error> {
        let keys = &self.inner.keys;
        let id = format!("vote_{}", random_hex::<16>()?);
        let voter = keys.open(Part::Voter, &grant.id, &grant.voter)?;
        let mut vote = VoteRow {
            reason: keys.seal(Part::Reason, &id, b"")?,
            voter: keys.seal(Part::Voter, &id, &voter)?,
            id,
            approval: of.id.clone(),
            rule: grant.rule.clone(),
            person: grant.person.clone(),
            issuer: grant.issuer.clone(),
            subject: grant.subject.clone(),
            handle: grant.handle.clone(),
            groups: grant.groups.clone(),
            yes: true,
            at: now,
            mac: Vec::new(),
            voided: None,
            grant: Some(grant.id.clone()),
            glass: false,
        };
        vote.mac = keys.sign_vote(&vote_fields(&of.binding, &vote));
        Ok(vote)
    }

    /// Grants that somebody may see, newest first. `sees` judges the granter (`alias/subject`) and the
    /// function; of others nothing is opened, and the page's end does not name them.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn grants(
        &self,
        mut filter: GrantFilter,
        sees: &(dyn Fn(&str, &str) -> bool + Sync),
    ) -> Result<GrantPage, Error> {
        let now = self.now();
        let mut page = GrantPage::default();
        for _ in 0..LISTS_MAX {
            let rows = self.inner.store.grants(filter.clone(), now).await?;
            let is_last = rows.len() < GRANTS_LIST_MAX as usize;
            let seen = |row: &&GrantRow| sees(&named(&row.issuer, &row.subject), &row.function);
            let seen: Vec<&GrantRow> = rows.iter().filter(seen).collect();
            page.grants = seen.iter().map(|row| self.grant_view(row, now)).collect();
            page.next = seen.last().map(|row| (row.at, row.id.clone()));
            if is_last {
                page.next = None;
            }
            let Some(last) = rows.last().filter(|_| page.grants.is_empty() && !is_last) else {
                return Ok(page);
            };
            filter.before = Some((last.at, last.id.clone()));
        }
        // None of many: a place that names no grant, before the last time that was looked at.
        let millisecond = Duration::from_millis(1);
        page.next = filter
            .before
            .map(|(at, _)| (at.plus(millisecond), String::new()));
        Ok(page)
    }

    fn grant_view(&self, row: &GrantRow, now: Timestamp) -> GrantView {
        let pattern = self.pattern(row);
        let broken = "it is not what was stored: it opens nothing".to_owned();
        let stands =
            pattern.is_ok() && row.used < row.uses_max && row.ended.is_none() && now < row.until;
        GrantView {
            id: row.id.clone(),
            approval: row.approval.clone(),
            granter: named(&row.issuer, &row.subject),
            caller: named(&row.asker_issuer, &row.asker_subject),
            function: row.function.clone(),
            pattern: pattern.map_or_else(|_| vec![broken], |pattern| pattern.in_words()),
            uses_max: u64::try_from(row.uses_max).unwrap_or(0),
            used: u64::try_from(row.used).unwrap_or(0),
            at: row.at.to_string(),
            until: row.until.to_string(),
            stands,
            ended_at: row.ended.map(|at| at.to_string()),
            ended_by: row.ended_by.clone(),
        }
    }

    /// The arguments that a grant out of this approval would cover, in words, before anybody gives it.
    ///
    /// # Errors
    /// [`super::VoteError::Widening`] when there is no such pattern.
    pub async fn widened(
        &self,
        id: &ApprovalId,
        any: &[String],
        at_most: &BTreeMap<String, String>,
    ) -> Result<Vec<String>, super::VoteError> {
        let view = self.show(id).await?;
        let summary = view.summary.ok_or(Error::Closed {
            id: id.clone(),
            state: view.head.state,
        })?;
        let pattern = Pattern::of(&summary, any, at_most).map_err(WideningError::from)?;
        Ok(pattern.in_words())
    }

    /// End a grant before its time. Approvals that it has opened already stay open: end them by a no.
    /// Answers whether it stood until now.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn end_grant(&self, id: &str, by: &Principal) -> Result<bool, Error> {
        let which = GrantsOf::One(id.to_owned());
        let by = by.key().to_string();
        let ended = self.inner.store.end_grants(which, by, self.now()).await?;
        Ok(!ended.is_empty())
    }
}

/// What of an approval a standing yes is made for.
pub(super) struct Standing {
    pub(super) id: String,
    pub(super) binding: Vec<u8>,
    pub(super) caller: Vec<u8>,
    pub(super) function: String,
}

/// What the seal on a grant covers: all but the count and the end.
fn grant_fields(grant: &GrantRow) -> Fields {
    Fields::new(b"callgate-approval/1 grant")
        .add(grant.id.as_bytes())
        .add(grant.approval.as_bytes())
        .add(&grant.rule)
        .add(grant.person.as_bytes())
        .add(grant.issuer.as_bytes())
        .add(grant.subject.as_bytes())
        .add_optional(grant.handle.as_deref().map(str::as_bytes))
        .add(grant.groups.as_bytes())
        .add(&grant.voter)
        .add(&grant.caller)
        .add(grant.asker_issuer.as_bytes())
        .add(grant.asker_subject.as_bytes())
        .add(grant.function.as_bytes())
        .add(&grant.pattern)
        .add(&grant.uses_max.to_be_bytes())
        .add(&grant.at.millis().to_be_bytes())
        .add(&grant.until.millis().to_be_bytes())
}

impl GrantNote {
    /// For the sealed part of the vote's record.
    pub fn json(&self) -> Value {
        serde_json::json!({
            "id": self.id,
            "pattern": self.pattern,
            "uses": self.uses,
            "until": self.until.to_string(),
        })
    }
}
