//! Break-glass: a person lets an urgent call of their own through without the quorum.
//!
//! It is a vote like any other (stored, sealed over the same binding, on the record before it counts, judged
//! again when the call runs), of the one person whose votes count for nothing else: who asked. It opens
//! one rule, when the rule's `@break_glass` names the person, for one call, which must run within minutes;
//! everything else about the call stays as it is. Whoever could have approved is told, and can still say no
//! until the call is begun.

use crate::clock::Timestamp;
use crate::identity::Kind;
use crate::policy::{RuleTerms, Terms};
use crate::store::{ApprovalRow, VoteRow};

use super::ask::Requester;
use super::{Approvals, Ballot, Error, VoteError};

/// Whether this person may break the glass of this rule; answers the groups by which it names them.
pub(super) fn may_break(
    ballot: &Ballot<'_>,
    row: &ApprovalRow,
    rule: &RuleTerms,
) -> Result<Vec<String>, VoteError> {
    let tampered = |_| VoteError::Failed(Error::Tampered(ballot.approval.clone()));
    let requester: Requester = serde_json::from_str(&row.requester).map_err(tampered)?;
    let key = ballot.voter.key();
    let themselves = match requester.kind {
        Kind::Human => requester.actors.is_empty(),
        Kind::Workload | Kind::Agent => false,
    };
    if !themselves || key.issuer != row.issuer || key.subject != row.subject {
        return Err(VoteError::NotYours);
    }
    let Some(glass) = &rule.break_glass else {
        return Err(VoteError::NoGlass(rule.id.clone()));
    };
    let groups = ballot.voter.groups();
    if !glass.who.is_met_by(groups) {
        return Err(VoteError::NotNamed);
    }
    if ballot.reason.trim().is_empty() {
        return Err(VoteError::NoReason);
    }
    let named = glass.who.any_of.iter().flatten();
    let mut named: Vec<String> = named
        .filter(|name| groups.contains(*name))
        .cloned()
        .collect();
    named.sort_unstable();
    named.dedup();
    Ok(named)
}

impl Approvals {
    /// Until when a call must run that this vote opens with those before it: no longer than a broken glass
    /// among them stands.
    pub(super) fn run_by(&self, terms: &Terms, before: &[VoteRow], vote: &VoteRow) -> Timestamp {
        let now = self.now();
        let within = std::time::Duration::from_secs(self.inner.config.execute_within_s);
        let broken = before.iter().chain([vote]).filter(|vote| vote.glass);
        let broken = broken.filter(|vote| vote.voided.is_none());
        let ends = broken.filter_map(|vote| {
            let rule = terms.rules.iter().find(|rule| rule.hash.0 == *vote.rule)?;
            Some(vote.at.plus(rule.break_glass.as_ref()?.within))
        });
        let stands = ends.filter(|end| now < *end);
        stands.fold(now.plus(within), std::cmp::min)
    }
}
