//! The store as a model: the same transactions over plain maps, with the conditions straight from the
//! state machine. Tests compare SQLite with it, and simulations run on it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::clock::Timestamp;
use crate::store::rules::{Counts, IDEMPOTENCY_KEPT, WINDOW, ago, cools_until};
use crate::store::{
    Answer, ApprovalRow, AskLimits, Asked, Change, Decided, Earlier, Edge, Filter, GrantFilter,
    GrantRow, GrantsOf, INPUT_KEPT, Moved, NewApproval, NewOnce, NewResult, Once, OnceEnd, Opens,
    REOPENED, Revocation, Revoked, StandingYes, State, Step, Stood, Store, Swept, Taking, VoteRow,
    Voted,
};

/// Everything, behind one lock: each method is a transaction.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore(Mutex<Book>);

#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) rows: BTreeMap<String, ApprovalRow>,
    pub(crate) votes: Vec<VoteRow>,
    results: BTreeMap<String, NewResult>,
    pub(crate) changes: Vec<Change>,
    inputs: BTreeMap<String, Vec<u8>>,
    pub(super) grants: BTreeMap<String, GrantRow>,
    seq: i64,
}

fn floor(at: Timestamp) -> Timestamp {
    Timestamp::from_nanos(at.millis().saturating_mul(1_000_000))
}

impl Book {
    fn changed(&mut self, id: &str, cause: &str, now: Timestamp) {
        self.seq += 1;
        let row = &self.rows[id];
        self.changes.push(Change {
            seq: self.seq,
            approval: id.to_owned(),
            function: row.function.clone(),
            state: row.state,
            cause: cause.to_owned(),
            at: floor(now),
        });
    }

    pub(super) fn moved(
        &mut self,
        id: &str,
        edge: Edge,
        lease: Option<&str>,
        cause: &str,
        now: Timestamp,
    ) -> Moved {
        let Some(row) = self.rows.get_mut(id) else {
            return Moved::Unknown;
        };
        let held = lease.is_some() && row.lease.as_deref() == lease;
        if !edge.may(row.state, row.expires, now, held) {
            return Moved::No(row.state.at(row.expires, now));
        }
        row.state = edge.to();
        row.version += 1;
        row.lease = None;
        row.cause = cause.to_owned();
        if row.state.is_final() {
            row.ended = Some(floor(now));
            row.frozen = None;
            row.summary = None;
        }
        let fence = row.fence;
        self.changed(id, cause, now);
        Moved::Yes { fence }
    }

    fn insert(&mut self, new: NewApproval, now: Timestamp) {
        let id = new.id.clone();
        self.inputs.insert(id.clone(), new.input.clone());
        self.rows.insert(
            id.clone(),
            ApprovalRow {
                id: new.id,
                state: State::Pending,
                version: 0,
                issuer: new.issuer,
                subject: new.subject,
                caller: new.caller,
                requester: new.requester,
                apart: new.apart,
                connection: new.connection,
                function: new.function,
                effect: new.effect,
                same: new.same,
                idempotency: new.idempotency,
                call: new.call,
                terms: new.terms,
                rules: new.rules,
                binding: new.binding,
                frozen: Some(new.frozen),
                summary: Some(new.summary),
                created: floor(now),
                decide_by: new.decide_by,
                expires: new.decide_by,
                ended: None,
                instance: None,
                lease: None,
                fence: 0,
                successor: None,
                cause: "asked".to_owned(),
            },
        );
        self.changed(&id, "asked", now);
    }

    fn earlier(&self, id: &str) -> Option<Earlier> {
        let of = self.rows.get(id)?;
        let same = |row: &&ApprovalRow| row.caller == of.caller && row.function == of.function;
        let at = |row: &ApprovalRow| (row.created, row.id.clone());
        let before = self
            .rows
            .values()
            .filter(same)
            .filter(|row| at(row) < at(of));
        let row = before.max_by_key(|row| at(row))?;
        Some(Earlier {
            id: row.id.clone(),
            state: row.state,
            created: row.created,
            input: self.inputs[&row.id].clone(),
        })
    }

    fn same<'a>(&'a self, new: &'a NewApproval) -> impl Iterator<Item = &'a ApprovalRow> {
        let mine = move |row: &&ApprovalRow| row.caller == new.caller && row.same == new.same;
        self.rows.values().filter(mine)
    }

    fn ask(&mut self, new: NewApproval, limits: &AskLimits, now: Timestamp) -> Asked {
        let open = self.same(&new).find(|row| !row.state.is_final()).cloned();
        if let Some(mut open) = open {
            if open.state.at(open.expires, now) == State::Expired {
                self.moved(&open.id, Edge::Expire, None, "timeout", now);
            } else if open.state != State::Executing && open.rules != new.rules {
                self.moved(&open.id, Edge::Supersede, None, "policy-asks-anew", now);
                if let Some(row) = self.rows.get_mut(&open.id) {
                    row.successor = Some(new.id.clone());
                }
            } else {
                open.frozen = None;
                return Asked::Joined(Box::new(open));
            }
        }
        let kept = |row: &&ApprovalRow| {
            let result = self.results.get(&row.id);
            matches!(row.state, State::Done | State::Failed)
                && result.is_some_and(|r| r.expires.millis() > now.millis())
        };
        if let Some(done) = self
            .same(&new)
            .filter(kept)
            .max_by_key(|row| (row.created, row.id.clone()))
        {
            return Asked::Joined(Box::new(done.clone()));
        }
        if let Some(refusal) = self.refusal(&new, limits, now) {
            return refusal;
        }
        if let Some(full) = self.counts(&new, now).full(limits) {
            return Asked::Full(full);
        }
        self.insert(new, now);
        Asked::New
    }

    fn refusal(&self, new: &NewApproval, limits: &AskLimits, now: Timestamp) -> Option<Asked> {
        let since = ago(now, limits.indeterminate_kept).millis();
        let lost = |row: &&ApprovalRow| {
            row.state == State::Indeterminate && row.ended.is_some_and(|e| e.millis() > since)
        };
        let newest = |row: &&ApprovalRow| (row.ended, row.id.clone());
        if let Some(row) = self.same(new).filter(lost).max_by_key(newest) {
            return Some(Asked::Indeterminate(row.id.clone()));
        }
        let mine = |row: &&ApprovalRow| {
            row.issuer == new.issuer && row.subject == new.subject && row.function == new.function
        };
        let recent = ago(now, IDEMPOTENCY_KEPT).millis();
        let other = |row: &&ApprovalRow| {
            new.idempotency.is_some()
                && row.idempotency == new.idempotency
                && row.same != new.same
                && row.created.millis() > recent
        };
        let conflict = self
            .rows
            .values()
            .filter(mine)
            .filter(other)
            .max_by_key(|row| (row.created, row.id.clone()));
        if let Some(row) = conflict {
            return Some(Asked::Conflict(row.id.clone()));
        }
        let window = ago(now, WINDOW).millis();
        let mut denied: Vec<&ApprovalRow> = self
            .rows
            .values()
            .filter(mine)
            .filter(|row| row.state == State::Denied)
            .filter(|row| row.ended.is_some_and(|e| e.millis() > window))
            .collect();
        denied.sort_by_key(|row| std::cmp::Reverse((row.ended, row.id.clone())));
        let last = denied.first()?.ended?;
        let count = i64::try_from(denied.len()).unwrap_or(i64::MAX);
        let until = cools_until(count, last, limits.cooldown)?;
        if now.millis() >= until.millis() {
            return None;
        }
        let same = denied.iter().find(|row| row.same == new.same);
        Some(match same {
            Some(row) => Asked::Denied {
                id: row.id.clone(),
                until,
            },
            None => Asked::CoolingDown(until),
        })
    }

    fn counts(&self, new: &NewApproval, now: Timestamp) -> Counts {
        let bytes = |frozen: usize, summary: usize| i64::try_from(frozen + summary).unwrap();
        let mut counts = Counts {
            bytes: bytes(new.frozen.len(), new.summary.len()),
            changes: i64::try_from(self.changes.len()).unwrap(),
            ..Counts::default()
        };
        let window = ago(now, WINDOW).millis();
        for row in self.rows.values() {
            let mine = row.issuer == new.issuer && row.subject == new.subject;
            if !row.state.at(row.expires, now).is_final() {
                counts.open += 1;
                counts.open_of_principal += i64::from(mine && !self.by_grants_alone(row));
                let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
                counts.bytes += bytes(length(&row.frozen), length(&row.summary));
            }
            let asked = mine && !self.by_grants_alone(row);
            counts.asked += i64::from(asked && row.created.millis() > window);
        }
        counts
    }

    pub(super) fn counting(&self, id: &str) -> Vec<VoteRow> {
        let counts = |vote: &&VoteRow| vote.approval == id && vote.voided.is_none();
        self.votes.iter().filter(counts).cloned().collect()
    }

    fn vote(
        &mut self,
        (vote, grant): (VoteRow, Option<GrantRow>),
        run_by: Timestamp,
        now: Timestamp,
        opens: Opens<'_>,
    ) -> Voted {
        let Some(row) = self.rows.get(&vote.approval).cloned() else {
            return Voted::Unknown;
        };
        let edge = if vote.yes { Edge::Approve } else { Edge::Deny };
        if !edge.may(row.state, row.expires, now, false) {
            return Voted::Closed(row.state.at(row.expires, now));
        }
        let mut counting = self.counting(&row.id);
        let again = |v: &VoteRow| v.rule == vote.rule && v.person == vote.person;
        if counting.iter().any(again) {
            return Voted::Again;
        }
        counting.push(vote.clone());
        let (yes, glass, cause) = (vote.yes, vote.glass, vote.cause());
        self.votes.push(vote);
        if let Some(grant) = grant {
            self.add_grant(grant);
        }
        if yes && !opens(&row, &counting) {
            self.rows
                .entry(row.id.clone())
                .and_modify(|row| row.version += 1);
            if glass {
                self.changed(&row.id, cause, now);
            }
            return Voted::Counted(State::Pending);
        }
        self.moved(&row.id, edge, None, cause, now);
        if yes {
            self.rows
                .entry(row.id)
                .and_modify(|row| row.expires = floor(run_by));
        }
        Voted::Counted(edge.to())
    }

    fn void(
        &mut self,
        on: Option<(String, Option<String>)>,
        voters: &[(String, Option<String>)],
        now: Timestamp,
        opens: Opens<'_>,
    ) -> Vec<String> {
        let (only, lease) = on.unzip();
        let lease = lease.flatten();
        let mut affected = Vec::new();
        for vote in &mut self.votes {
            let named = voters.iter().any(|(issuer, subject)| {
                *issuer == vote.issuer && subject.as_ref().is_none_or(|s| *s == vote.subject)
            });
            let open = !self.rows[&vote.approval].state.is_final();
            let here = only.as_ref().is_none_or(|id| *id == vote.approval);
            if named && open && here && vote.yes && vote.voided.is_none() {
                vote.voided = Some(floor(now));
                affected.push(vote.approval.clone());
            }
        }
        affected.sort_unstable();
        affected.dedup();
        let mut reopened = Vec::new();
        for id in affected {
            let row = self.rows[&id].clone();
            if row.state == State::Pending || opens(&row, &self.counting(&id)) {
                self.rows.entry(id).and_modify(|row| row.version += 1);
            } else if let Moved::Yes { .. } =
                self.moved(&id, Edge::Reopen, lease.as_deref(), REOPENED, now)
            {
                let back = row.decide_by;
                self.rows
                    .entry(id.clone())
                    .and_modify(|row| row.expires = back);
                reopened.push(id);
            }
        }
        reopened
    }

    fn take(&mut self, taking: Taking, now: Timestamp) -> Moved {
        let Some(row) = self.rows.get_mut(&taking.id) else {
            return Moved::Unknown;
        };
        if !Edge::Take.may(row.state, row.expires, now, false) {
            return Moved::No(row.state.at(row.expires, now));
        }
        if row.version != taking.version {
            return Moved::Stale;
        }
        row.state = State::Executing;
        row.version += 1;
        row.fence += 1;
        row.instance = Some(taking.instance);
        row.lease = Some(taking.lease);
        row.cause = "taken".to_owned();
        let fence = row.fence;
        self.changed(&taking.id, "taken", now);
        Moved::Yes { fence }
    }

    fn all(
        &mut self,
        edge: Edge,
        cause: &str,
        now: Timestamp,
        which: impl Fn(&ApprovalRow) -> bool,
    ) -> Vec<String> {
        let found: Vec<(String, Option<String>)> = self
            .rows
            .values()
            .filter(|row| which(row))
            .map(|row| (row.id.clone(), row.lease.clone()))
            .collect();
        found
            .into_iter()
            .filter(|(id, lease)| {
                let moved = self.moved(id, edge, lease.as_deref(), cause, now);
                matches!(moved, Moved::Yes { .. })
            })
            .map(|(id, _)| id)
            .collect()
    }

    fn list(&self, filter: &Filter, now: Timestamp) -> Vec<ApprovalRow> {
        let before = filter.before.as_ref().map(|id| {
            let row = self.rows.get(id);
            row.map(|row| (row.created, row.id.clone()))
        });
        let mut rows: Vec<ApprovalRow> = self.rows.values().cloned().collect();
        for row in &mut rows {
            row.state = row.state.at(row.expires, now);
            row.frozen = None;
        }
        rows.retain(|row| {
            let who = (row.issuer.clone(), row.subject.clone());
            let older = match &before {
                None => true,
                Some(Some(mark)) => (row.created, row.id.clone()) < *mark,
                Some(None) => false,
            };
            (filter.states.is_empty() || filter.states.contains(&row.state))
                && filter.requester.as_ref().is_none_or(|r| *r == who)
                && filter.function.as_ref().is_none_or(|f| *f == row.function)
                && older
        });
        rows.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
        rows.truncate(usize::try_from(filter.limit.max(1)).unwrap());
        rows
    }
}

impl MemoryStore {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer<'a, T: Send + 'a>(value: T) -> Answer<'a, T> {
    ready(Ok(value)).boxed()
}

impl Store for MemoryStore {
    fn ask(&self, new: NewApproval, limits: AskLimits, now: Timestamp) -> Answer<'_, Asked> {
        answer(self.book().ask(new, &limits, now))
    }

    fn approval(&self, id: &str) -> Answer<'_, Option<(ApprovalRow, Vec<VoteRow>)>> {
        let book = self.book();
        let mut votes: Vec<VoteRow> = book.votes.clone();
        votes.retain(|vote| vote.approval == id);
        votes.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        answer(book.rows.get(id).map(|row| (row.clone(), votes)))
    }

    fn state(&self, id: &str, now: Timestamp) -> Answer<'_, Option<(State, Timestamp)>> {
        let book = self.book();
        let row = book.rows.get(id);
        answer(row.map(|row| (row.state.at(row.expires, now), row.expires)))
    }

    fn decided(&self, since: Timestamp, now: Timestamp) -> Answer<'_, Vec<Decided>> {
        let book = self.book();
        let mut rows: Vec<_> = book
            .rows
            .values()
            .filter(|row| row.created >= floor(since))
            .collect();
        rows.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
        let counting = |id: &str| -> Vec<&VoteRow> {
            let of = |vote: &&VoteRow| vote.approval == id && vote.voided.is_none();
            book.votes.iter().filter(of).collect()
        };
        let each = rows.into_iter().map(|row| {
            let votes = counting(&row.id);
            Decided {
                function: row.function.clone(),
                state: row.state.at(row.expires, now),
                created: row.created,
                voted: votes.iter().map(|vote| floor(vote.at)).max(),
                granted: !votes.is_empty() && votes.iter().all(|vote| vote.grant.is_some()),
            }
        });
        answer(each.collect())
    }

    fn earlier(&self, id: &str) -> Answer<'_, Option<Earlier>> {
        answer(self.book().earlier(id))
    }

    fn list(&self, filter: Filter, now: Timestamp) -> Answer<'_, Vec<ApprovalRow>> {
        answer(self.book().list(&filter, now))
    }

    fn vote<'a>(
        &'a self,
        vote: VoteRow,
        grant: Option<GrantRow>,
        run_by: Timestamp,
        now: Timestamp,
        opens: Opens<'a>,
    ) -> Answer<'a, Voted> {
        answer(self.book().vote((vote, grant), run_by, now, opens))
    }

    fn void_votes<'a>(
        &'a self,
        on: Option<(String, Option<String>)>,
        voters: Vec<(String, Option<String>)>,
        now: Timestamp,
        opens: Opens<'a>,
    ) -> Answer<'a, Vec<String>> {
        answer(self.book().void(on, &voters, now, opens))
    }

    fn grants(&self, filter: GrantFilter, now: Timestamp) -> Answer<'_, Vec<GrantRow>> {
        answer(self.book().granted(&filter, now))
    }

    fn end_grants(&self, which: GrantsOf, by: String, now: Timestamp) -> Answer<'_, Vec<String>> {
        answer(self.book().end_grants(&which, &by, now))
    }

    fn stand<'a>(
        &'a self,
        approval: &str,
        yeses: Vec<StandingYes>,
        run_by: Timestamp,
        now: Timestamp,
        opens: Opens<'a>,
    ) -> Answer<'a, Stood> {
        answer(self.book().stand(approval, yeses, run_by, now, opens))
    }

    fn take(&self, taking: Taking, now: Timestamp) -> Answer<'_, Moved> {
        answer(self.book().take(taking, now))
    }

    fn step(&self, step: Step, now: Timestamp) -> Answer<'_, Moved> {
        let mut book = self.book();
        let moved = book.moved(&step.id, step.edge, step.lease.as_deref(), step.cause, now);
        if let (Moved::Yes { .. }, Some(result)) = (moved, step.result) {
            book.results.insert(step.id, result);
        }
        answer(moved)
    }

    fn supersede(
        &self,
        id: &str,
        lease: Option<String>,
        new: Option<NewApproval>,
        now: Timestamp,
    ) -> Answer<'_, Moved> {
        let mut book = self.book();
        let cause = if new.is_some() {
            "policy-asks-anew"
        } else {
            "policy-refuses"
        };
        let moved = book.moved(id, Edge::Supersede, lease.as_deref(), cause, now);
        if let (Moved::Yes { .. }, Some(new)) = (moved, new) {
            let successor = new.id.clone();
            book.rows
                .entry(id.to_owned())
                .and_modify(|row| row.successor = Some(successor));
            book.insert(new, now);
        }
        answer(moved)
    }

    fn cancel_revoked(&self, what: Revoked, now: Timestamp) -> Answer<'_, Vec<String>> {
        let hit = |row: &ApprovalRow| match &what {
            Revoked::Principal { issuer, subject } => {
                row.issuer == *issuer && row.subject == *subject
            }
            Revoked::Issuer(alias) => row.issuer == *alias,
            Revoked::Connection(name) => row.connection == *name,
            Revoked::Approval(id) => row.id == *id,
            Revoked::Token { .. } | Revoked::TokenHash(_) => false,
        };
        let open = |row: &ApprovalRow| row.state != State::Executing && hit(row);
        answer(self.book().all(Edge::Cancel, "revoked", now, open))
    }

    fn keep_result(&self, id: &str, result: NewResult) -> Answer<'_, bool> {
        let mut book = self.book();
        let done = book.rows.get(id).is_some_and(|r| r.state == State::Done);
        let keep = done && !book.results.contains_key(id);
        if keep {
            book.results.insert(id.to_owned(), result);
        }
        answer(keep)
    }

    fn fetch_result(
        &self,
        id: &str,
        caller: Vec<u8>,
        now: Timestamp,
    ) -> Answer<'_, Option<Vec<u8>>> {
        let book = self.book();
        let mine = book.rows.get(id).is_some_and(|row| row.caller == caller);
        let due = |result: &&NewResult| result.expires.millis() > now.millis();
        let found = book.results.get(id).filter(due).filter(|_| mine);
        answer(found.map(|result| result.sealed.clone()))
    }

    fn drop_result(&self, id: &str, caller: Vec<u8>) -> Answer<'_, bool> {
        let mut book = self.book();
        let mine = book.rows.get(id).is_some_and(|row| row.caller == caller);
        answer(mine && book.results.remove(id).is_some())
    }

    fn result_kept(&self, id: &str, now: Timestamp) -> Answer<'_, bool> {
        let book = self.book();
        let result = book.results.get(id);
        answer(result.is_some_and(|r| r.expires.millis() > now.millis()))
    }

    fn sweep(&self, forget_before: Timestamp, now: Timestamp) -> Answer<'_, Swept> {
        let mut book = self.book();
        let expired = book.all(Edge::Expire, "timeout", now, |_| true).len();
        let before = book.results.len();
        book.results
            .retain(|_, result| result.expires.millis() > now.millis());
        let results = before - book.results.len();
        let forget = |row: &ApprovalRow| row.ended.is_some_and(|e| e < floor(forget_before));
        let old: Vec<String> = book
            .rows
            .values()
            .filter(|row| forget(row))
            .map(|row| row.id.clone())
            .collect();
        for id in &old {
            book.rows.remove(id);
            book.results.remove(id);
            book.votes.retain(|vote| vote.approval != *id);
        }
        let before = ago(now, INPUT_KEPT).millis();
        book.grants
            .retain(|_, grant| grant.until.millis() >= before);
        answer(Swept {
            expired: expired as u64,
            results: results as u64,
            forgotten: old.len() as u64,
            lost: 0,
        })
    }

    fn recover(&self, instance: &str, now: Timestamp) -> Answer<'_, Vec<String>> {
        let mine = |row: &ApprovalRow| row.instance.as_deref() == Some(instance);
        let mut book = self.book();
        answer(book.all(Edge::Lose, "instance-restarted", now, mine))
    }

    fn changes(&self) -> Answer<'_, Vec<Change>> {
        let mut changes = self.book().changes.clone();
        changes.truncate(crate::store::CHANGES_BATCH_MAX as usize);
        answer(changes)
    }

    fn changes_taken(&self, seq: i64) -> Answer<'_, ()> {
        self.book().changes.retain(|change| change.seq != seq);
        answer(())
    }

    fn revoke(&self, _: Revocation) -> Answer<'_, i64> {
        unreachable!("the model keeps no revocations")
    }

    fn lift(&self, _: &str, _: Timestamp) -> Answer<'_, Option<i64>> {
        unreachable!("the model keeps no revocations")
    }

    fn revocation_epoch(&self) -> Answer<'_, i64> {
        unreachable!("the model keeps no revocations")
    }

    fn revocations(&self, _: Timestamp) -> Answer<'_, (i64, Vec<Revocation>)> {
        unreachable!("the model keeps no revocations")
    }

    fn begin_once(&self, _: NewOnce, _: Timestamp) -> Answer<'_, Once> {
        unreachable!("the model keeps no keys")
    }

    fn end_once(&self, _: Vec<u8>, _: OnceEnd) -> Answer<'_, ()> {
        unreachable!("the model keeps no keys")
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}
