//! Standing yeses in the model.

use super::memory::Book;
use crate::clock::Timestamp;
use crate::store::{
    ApprovalRow, Edge, GrantFilter, GrantRow, GrantsOf, Moved, Opens, StandingYes, State, Stood,
    VoteRow, Voted,
};

/// The database keeps milliseconds.
fn floor(at: Timestamp) -> Timestamp {
    Timestamp::from_nanos(at.millis().saturating_mul(1_000_000))
}

impl Book {
    fn stands(&self, grant: &GrantRow, now: Timestamp) -> bool {
        let from = self.rows.get(&grant.approval);
        grant.used < grant.uses_max
            && grant.ended.is_none()
            && grant.until.millis() > now.millis()
            && from.is_none_or(|row| !matches!(row.state, State::Denied | State::Cancelled))
    }

    pub(super) fn add_grant(&mut self, grant: GrantRow) {
        let grant = GrantRow {
            at: floor(grant.at),
            until: floor(grant.until),
            ..grant
        };
        self.grants.insert(grant.id.clone(), grant);
    }

    pub(super) fn granted(&self, filter: &GrantFilter, now: Timestamp) -> Vec<GrantRow> {
        let before = filter.before.as_ref();
        let of = |grant: &&GrantRow| {
            let of = filter.of.as_ref();
            of.is_none_or(|(caller, function)| {
                grant.caller == *caller && grant.function == *function
            }) && filter.id.as_ref().is_none_or(|id| *id == grant.id)
                && before.is_none_or(|(at, id)| (grant.at, &grant.id) < (floor(*at), id))
                && (!filter.standing || self.stands(grant, now))
        };
        let mut all: Vec<GrantRow> = self.grants.values().filter(of).cloned().collect();
        all.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
        all
    }

    pub(super) fn end_grants(&mut self, which: &GrantsOf, by: &str, now: Timestamp) -> Vec<String> {
        let named = |whole: &Option<String>, one: &String| whole.as_ref().is_none_or(|s| s == one);
        let mut ended = Vec::new();
        for grant in self.grants.values_mut() {
            let meant = match which {
                GrantsOf::One(id) => *id == grant.id,
                GrantsOf::Approval(id) => *id == grant.approval,
                GrantsOf::Granter(issuer, subject) => {
                    *issuer == grant.issuer && named(subject, &grant.subject)
                }
                GrantsOf::Asker(issuer, subject) => {
                    *issuer == grant.asker_issuer && named(subject, &grant.asker_subject)
                }
            };
            if meant && grant.ended.is_none() && grant.until.millis() > now.millis() {
                grant.ended = Some(floor(now));
                grant.ended_by = Some(by.to_owned());
                ended.push(grant.id.clone());
            }
        }
        ended
    }

    pub(super) fn stand(
        &mut self,
        approval: &str,
        yeses: Vec<StandingYes>,
        run_by: Timestamp,
        now: Timestamp,
        opens: Opens<'_>,
    ) -> Stood {
        let mut grants = Vec::new();
        let voted = self.count_standing((approval, yeses), &mut grants, (run_by, now), opens);
        Stood { voted, grants }
    }

    /// Whether grants alone opened it: nobody was asked.
    pub(super) fn by_grants_alone(&self, row: &ApprovalRow) -> bool {
        let votes = self.counting(&row.id);
        let given = |vote: &VoteRow| vote.grant.is_some();
        let opened = row.expires.millis() != row.decide_by.millis();
        opened && !votes.is_empty() && votes.iter().all(given)
    }

    fn count_standing(
        &mut self,
        (approval, yeses): (&str, Vec<StandingYes>),
        stood: &mut Vec<String>,
        (run_by, now): (Timestamp, Timestamp),
        opens: Opens<'_>,
    ) -> Voted {
        let Some(row) = self.rows.get(approval).cloned() else {
            return Voted::Unknown;
        };
        if !Edge::Approve.may(row.state, row.expires, now, false) {
            return Voted::Closed(row.state.at(row.expires, now));
        }
        for StandingYes { grant, vote, .. } in yeses {
            let mut counting = self.counting(approval).into_iter();
            let theirs = counting.any(|v| v.rule == vote.rule && v.person == vote.person);
            let stands = self.grants.get(&grant).is_some_and(|g| self.stands(g, now));
            if !theirs && stands {
                self.grants
                    .entry(grant.clone())
                    .and_modify(|grant| grant.used += 1);
                self.votes.push(vote);
                stood.push(grant);
            }
        }
        if !opens(&row, &self.counting(approval)) {
            self.rows.entry(row.id).and_modify(|row| row.version += 1);
            return Voted::Counted(State::Pending);
        }
        let moved = self.moved(approval, Edge::Approve, None, "grant", now);
        assert!(matches!(moved, Moved::Yes { .. }));
        self.rows
            .entry(row.id)
            .and_modify(|row| row.expires = floor(run_by));
        Voted::Counted(State::Approved)
    }
}
