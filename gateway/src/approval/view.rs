//! What people see of an approval. Nothing here is made safe for a terminal or a page yet: text of
//! callers goes through [`super::terminal_safe`] or the page's own escaping.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::identity::{Kind, PrincipalKey};
use crate::policy::{RuleHash, RuleTerms, Terms};
use crate::store::{ApprovalRow, Filter, VoteRow};

use super::ask::Requester;
use super::seal::{Broken, Part, hex};
use super::vote::{Verdict, vote_fields};
use super::{ApprovalId, Approvals, Error, RecentView, Shown, SinceLast, State, tally};

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct RequesterView {
    /// The alias of the issuer that vouches for it.
    pub issuer: String,
    /// Its subject there.
    pub subject: String,
    /// What kind of caller.
    pub kind: Kind,
    /// Who acts for it, outermost first, as `issuer/subject`.
    pub actors: Vec<String>,
}

/// An approval in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ApprovalHead {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// Why it stands there, one word.
    pub cause: String,
    /// Who asks.
    pub requester: RequesterView,
    /// The function, `connection/name`.
    pub function: String,
    /// The function's effect group: `read`, `write` or `destructive`.
    pub effect: String,
    /// The ids of the rules that ask.
    pub rules: Vec<String>,
    /// When it was asked, RFC 3339.
    pub asked_at: String,
    /// The deadline of the state it is in, RFC 3339.
    pub expires_at: String,
    /// When it ended, RFC 3339.
    pub ended_at: Option<String>,
}

/// What of an approval stands in clear: enough to judge who may see the rest.
#[derive(Clone, Debug)]
pub struct InClear {
    /// What a list shows.
    pub head: ApprovalHead,
    /// The rules that ask.
    pub rules: Vec<RuleTerms>,
}

/// A vote.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct VoteView {
    /// The alias of the voter's issuer.
    pub issuer: String,
    /// The voter's subject there.
    pub subject: String,
    /// The groups by which the rule names the voter.
    pub groups: Vec<String>,
    /// Yes or no, or that the glass was broken.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// When, RFC 3339.
    pub at: String,
    /// When it was voided, RFC 3339; such a vote does not count.
    pub voided_at: Option<String>,
    /// The grant that it comes from; absent when the person cast it on this very call.
    pub grant: Option<String>,
}

/// One approval rule and how far it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct RuleView {
    /// The rule's `@id`.
    pub id: String,
    /// Its identity, hexadecimal; a vote names it.
    pub hash: String,
    /// Alternatives of groups: one alternative must be met, in it every group.
    pub any_of: Vec<Vec<String>>,
    /// How many distinct people of each group.
    pub quorum: u32,
    /// The rule's `@reason`.
    pub reason: Option<String>,
    /// A yes needs a sign-in with one of these `acr` values; empty: any.
    pub acr: Vec<String>,
    /// A yes needs a sign-in at most so many seconds ago, by the token's `auth_time`.
    pub max_age_s: Option<u64>,
    /// For how many later calls a yes may be widened; absent: it is for this call only.
    pub grant_uses_max: Option<u32>,
    /// For how many seconds at most.
    pub grant_within_max_s: Option<u64>,
    /// Who may let a call of their own through without the quorum: a person in every group of one
    /// alternative; empty: nobody.
    pub break_glass_any_of: Vec<Vec<String>>,
    /// Within how many seconds such a call must run.
    pub break_glass_within_s: Option<u64>,
    /// Whether it is opened.
    pub open: bool,
    /// Its votes, oldest first.
    pub votes: Vec<VoteView>,
}

/// All that an approver needs.
#[derive(Clone, PartialEq, Serialize, JsonSchema)]
pub struct ApprovalView {
    /// What a list shows of it.
    pub head: ApprovalHead,
    /// The keyed hash over everything that is asked about, hexadecimal; a vote may repeat it.
    pub digest: String,
    /// The call that asked.
    pub call: String,
    /// The call for people, rendered from the bytes that will run; absent once it has ended (the audit
    /// record has it).
    pub summary: Option<serde_json::Value>,
    /// Size of the frozen call in bytes.
    pub frozen_bytes: u64,
    /// The rules that must be opened, all of them.
    pub rules: Vec<RuleView>,
    /// How often an instance has taken it to run it.
    pub taken: u64,
    /// The approval that took its place.
    pub successor: Option<String>,
    /// Whether a result is kept for its caller.
    pub result_kept: bool,
    /// The exact call made visible, for people; absent once it has ended, and where a summary is not of
    /// a request.
    pub shown: Option<Shown>,
    /// The caller's last question about this function, and what differs; absent when this is the first.
    pub since_last: Option<SinceLast>,
    /// The caller's other questions of late, newest first.
    pub recent: Vec<RecentView>,
}

impl fmt::Debug for ApprovalView {
    /// Without the call's content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApprovalView")
            .field("head", &self.head)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl RuleView {
    /// Whether a yes needs a sign-in of a kind or an age.
    pub const fn needs_sign_in(&self) -> bool {
        !self.acr.is_empty() || self.max_age_s.is_some()
    }
}

impl ApprovalView {
    /// What the caller is told of a no: the reason of the first that counts, made safe to show; absent
    /// when none was given.
    pub fn denial(&self) -> Option<String> {
        let votes = self.rules.iter().flat_map(|rule| &rule.votes);
        let mut noes = votes.filter(|vote| vote.verdict == Verdict::No && vote.voided_at.is_none());
        let reason = noes.next()?.reason.trim();
        (!reason.is_empty()).then(|| super::terminal_safe(reason))
    }
}

impl Approvals {
    /// A page of approvals, newest first.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Tampered`] when a row is not what was written.
    pub async fn list(&self, filter: Filter) -> Result<Vec<InClear>, Error> {
        let rows = self.inner.store.list(filter, self.now()).await?;
        rows.iter().map(in_clear).collect()
    }

    /// What of an approval stands in clear: nothing is opened, and nothing is checked against its binding.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Store`]; [`Error::Tampered`] when a row is not what was written.
    pub async fn in_clear(&self, id: &ApprovalId) -> Result<InClear, Error> {
        let (row, _) = self.row(id).await?;
        in_clear(&row)
    }

    /// One approval with everything an approver needs, checked against its binding while it is open.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Tampered`], [`Error::Store`].
    pub async fn show(&self, id: &ApprovalId) -> Result<ApprovalView, Error> {
        let (mut row, votes) = self.row(id).await?;
        let now = self.now();
        let ended = row.state.is_final();
        let kept = self.inner.store.result_kept(id.as_str(), now).await?;
        let tampered = |_| Error::Tampered(id.clone());
        let (summary, frozen_bytes) = if ended {
            (None, 0)
        } else {
            let opened = self.verified_for_view(id, &row, &votes)?;
            let summary = serde_json::from_slice(&opened.0).map_err(|_| tampered(Broken))?;
            (Some(summary), opened.1)
        };
        row.state = row.state.at(row.expires, now);
        let terms: Terms = serde_json::from_str(&row.terms).map_err(|_| tampered(Broken))?;
        Ok(ApprovalView {
            head: head(&row, &terms).map_err(tampered)?,
            digest: hex(&row.binding),
            call: row.call.clone(),
            summary,
            frozen_bytes,
            rules: self.rules(&row, &terms, &votes).map_err(tampered)?,
            taken: u64::try_from(row.fence).unwrap_or(0),
            successor: row.successor.clone(),
            result_kept: kept,
            shown: None,
            since_last: None,
            recent: Vec::new(),
        })
    }

    /// The requester of an approval, to tell its own approvals from others'.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Store`].
    pub async fn requester(&self, id: &ApprovalId) -> Result<PrincipalKey, Error> {
        let (row, _) = self.row(id).await?;
        Ok(PrincipalKey {
            issuer: row.issuer,
            subject: row.subject,
        })
    }

    fn verified_for_view(
        &self,
        id: &ApprovalId,
        row: &ApprovalRow,
        votes: &[VoteRow],
    ) -> Result<(Vec<u8>, u64), Error> {
        let opened = self.verified(id, row, votes)?;
        let bytes = u64::try_from(opened.frozen.len()).unwrap_or(u64::MAX);
        Ok((opened.summary, bytes))
    }

    fn rules(
        &self,
        row: &ApprovalRow,
        terms: &Terms,
        votes: &[VoteRow],
    ) -> Result<Vec<RuleView>, Broken> {
        let counted: Vec<VoteRow> = votes.iter().filter(|vote| vote.yes).cloned().collect();
        let open = tally::opened(terms, &self.yes(row, &counted)?, self.now());
        terms
            .rules
            .iter()
            .map(|rule| self.rule(row, rule, votes, &open))
            .collect()
    }

    fn rule(
        &self,
        row: &ApprovalRow,
        rule: &RuleTerms,
        votes: &[VoteRow],
        open: &[RuleHash],
    ) -> Result<RuleView, Broken> {
        let votes = votes
            .iter()
            .filter(|vote| vote.rule == rule.hash.0)
            .map(|vote| self.vote_view(row, vote))
            .collect::<Result<_, _>>()?;
        let glass = rule.break_glass.as_ref();
        Ok(RuleView {
            id: rule.id.clone(),
            hash: rule.hash.to_string(),
            any_of: rule.who.any_of.clone(),
            quorum: rule.quorum,
            reason: rule.reason.clone(),
            acr: rule.step_up.acr.clone(),
            max_age_s: rule.step_up.max_age.map(|age| age.as_secs()),
            grant_uses_max: rule.grant.map(|grant| grant.uses),
            grant_within_max_s: rule.grant.map(|grant| grant.within.as_secs()),
            break_glass_any_of: glass.map_or_else(Vec::new, |glass| glass.who.any_of.clone()),
            break_glass_within_s: glass.map(|glass| glass.within.as_secs()),
            open: open.contains(&rule.hash),
            votes,
        })
    }

    fn vote_view(&self, row: &ApprovalRow, vote: &VoteRow) -> Result<VoteView, Broken> {
        let keys = &self.inner.keys;
        keys.check_vote(&vote_fields(&row.binding, vote), &vote.mac)?;
        let reason = keys.open(Part::Reason, &vote.id, &vote.reason)?;
        Ok(VoteView {
            issuer: vote.issuer.clone(),
            subject: vote.subject.clone(),
            groups: super::vote::groups_of(vote)?,
            verdict: Verdict::of(vote),
            reason: String::from_utf8(reason).map_err(|_| Broken)?,
            at: vote.at.to_string(),
            voided_at: vote.voided.map(|at| at.to_string()),
            grant: vote.grant.clone(),
        })
    }
}

fn in_clear(row: &ApprovalRow) -> Result<InClear, Error> {
    let id = ApprovalId::of(&row.id)?;
    let tampered = || Error::Tampered(id.clone());
    let terms: Terms = serde_json::from_str(&row.terms).map_err(|_| tampered())?;
    Ok(InClear {
        head: head(row, &terms).map_err(|_| tampered())?,
        rules: terms.rules,
    })
}

fn head(row: &ApprovalRow, terms: &Terms) -> Result<ApprovalHead, Broken> {
    let requester: Requester = serde_json::from_str(&row.requester).map_err(|_| Broken)?;
    Ok(ApprovalHead {
        id: row.id.clone(),
        state: row.state,
        cause: row.cause.clone(),
        requester: RequesterView {
            issuer: row.issuer.clone(),
            subject: row.subject.clone(),
            kind: requester.kind,
            actors: requester
                .actors
                .iter()
                .map(PrincipalKey::to_string)
                .collect(),
        },
        function: row.function.clone(),
        effect: row.effect.clone(),
        rules: terms.rules.iter().map(|rule| rule.id.clone()).collect(),
        asked_at: row.created.to_string(),
        expires_at: row.expires.to_string(),
        ended_at: row.ended.map(|at| at.to_string()),
    })
}
