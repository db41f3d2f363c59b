//! The state in a database, by queries whose text is the same for every engine.
//!
//! A transaction of [`Store`] is a file here or a part of one; what differs between engines (how a
//! transaction begins, what it locks, how a database is made and opened) is in [`engine`] and in the
//! engine's own file.

mod ask;
mod edges;
mod engine;
mod grants;
mod migrate;
mod outbox;
mod read;
mod revoke;
mod sqlite;
mod sweep;
mod vote;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::clock::Timestamp;

use super::rows::{
    ApprovalRow, AskLimits, Asked, Change, Decided, Earlier, Filter, Moved, NewApproval, NewResult,
    Revocation, Revoked, Step, Swept, Taking, VoteRow, Voted,
};
use super::{Answer, Error, GrantFilter, GrantRow, GrantsOf, Opens, StandingYes, State, Store};
use engine::{Pool, query};

/// The state in a database.
#[derive(Debug)]
pub struct SqlStore {
    writer: Pool,
    readers: Pool,
}

impl SqlStore {
    /// Forget all approvals: this database was put back, and what they let through may have run since.
    ///
    /// # Errors
    /// [`Error::Database`]; nothing is forgotten then.
    pub async fn forget_approvals(&self) -> Result<(), Error> {
        let mut tx = self.writer.writing().await?;
        for text in [
            "DELETE FROM results",
            "DELETE FROM votes",
            "DELETE FROM changes",
            "DELETE FROM approvals",
        ] {
            query(text).execute(&mut tx).await?;
        }
        tx.commit().await
    }
}

impl Store for SqlStore {
    fn ask(&self, new: NewApproval, limits: AskLimits, now: Timestamp) -> Answer<'_, Asked> {
        self.do_ask(new, limits, now).boxed()
    }

    fn approval(&self, id: &str) -> Answer<'_, Option<(ApprovalRow, Vec<VoteRow>)>> {
        self.do_approval(id.to_owned()).boxed()
    }

    fn state(&self, id: &str, now: Timestamp) -> Answer<'_, Option<(State, Timestamp)>> {
        self.do_state(id.to_owned(), now).boxed()
    }

    fn list(&self, filter: Filter, now: Timestamp) -> Answer<'_, Vec<ApprovalRow>> {
        self.do_list(filter, now).boxed()
    }

    fn decided(&self, since: Timestamp, now: Timestamp) -> Answer<'_, Vec<Decided>> {
        self.do_decided(since, now).boxed()
    }

    fn earlier(&self, id: &str) -> Answer<'_, Option<Earlier>> {
        self.do_earlier(id.to_owned()).boxed()
    }

    fn vote<'a>(
        &'a self,
        vote: VoteRow,
        run_by: Timestamp,
        now: Timestamp,
        opens: Opens<'a>,
    ) -> Answer<'a, Voted> {
        self.do_vote(vote, run_by, now, opens).boxed()
    }

    fn void_votes<'a>(
        &'a self,
        on: Option<(String, Option<String>)>,
        voters: Vec<(String, Option<String>)>,
        now: Timestamp,
        opens: Opens<'a>,
    ) -> Answer<'a, Vec<String>> {
        self.do_void_votes(on, voters, now, opens).boxed()
    }

    fn add_grant(&self, grant: GrantRow, now: Timestamp) -> Answer<'_, ()> {
        self.do_add_grant(grant, now).boxed()
    }

    fn grants(&self, filter: GrantFilter, now: Timestamp) -> Answer<'_, Vec<GrantRow>> {
        self.do_grants(filter, now).boxed()
    }

    fn end_grants(&self, which: GrantsOf, by: String, now: Timestamp) -> Answer<'_, Vec<String>> {
        self.do_end_grants(which, by, now).boxed()
    }

    fn stand<'a>(
        &'a self,
        approval: &str,
        yeses: Vec<StandingYes>,
        run_by: Timestamp,
        now: Timestamp,
        opens: Opens<'a>,
    ) -> Answer<'a, Voted> {
        self.do_stand(approval.to_owned(), yeses, run_by, now, opens)
            .boxed()
    }

    fn take(&self, taking: Taking, now: Timestamp) -> Answer<'_, Moved> {
        self.do_take(taking, now).boxed()
    }

    fn step(&self, step: Step, now: Timestamp) -> Answer<'_, Moved> {
        self.do_step(step, now).boxed()
    }

    fn supersede(
        &self,
        id: &str,
        lease: Option<String>,
        new: Option<NewApproval>,
        now: Timestamp,
    ) -> Answer<'_, Moved> {
        self.do_supersede(id.to_owned(), lease, new, now).boxed()
    }

    fn cancel_revoked(&self, what: Revoked, now: Timestamp) -> Answer<'_, Vec<String>> {
        self.do_cancel_revoked(what, now).boxed()
    }

    fn keep_result(&self, id: &str, result: NewResult) -> Answer<'_, bool> {
        self.do_keep_result(id.to_owned(), result).boxed()
    }

    fn fetch_result(
        &self,
        id: &str,
        caller: Vec<u8>,
        now: Timestamp,
    ) -> Answer<'_, Option<Vec<u8>>> {
        self.do_fetch_result(id.to_owned(), caller, now).boxed()
    }

    fn drop_result(&self, id: &str, caller: Vec<u8>) -> Answer<'_, bool> {
        self.do_drop_result(id.to_owned(), caller).boxed()
    }

    fn result_kept(&self, id: &str, now: Timestamp) -> Answer<'_, bool> {
        self.do_result_kept(id.to_owned(), now).boxed()
    }

    fn sweep(&self, forget_before: Timestamp, now: Timestamp) -> Answer<'_, Swept> {
        self.do_sweep(forget_before, now).boxed()
    }

    fn recover(&self, instance: &str, now: Timestamp) -> Answer<'_, Vec<String>> {
        self.do_recover(instance.to_owned(), now).boxed()
    }

    fn changes(&self) -> Answer<'_, Vec<Change>> {
        self.do_changes().boxed()
    }

    fn changes_taken(&self, seq: i64) -> Answer<'_, ()> {
        self.do_changes_taken(seq).boxed()
    }

    fn revoke(&self, revocation: Revocation) -> Answer<'_, i64> {
        self.do_revoke(revocation).boxed()
    }

    fn lift(&self, id: &str, now: Timestamp) -> Answer<'_, Option<i64>> {
        self.do_lift(id.to_owned(), now).boxed()
    }

    fn revocation_epoch(&self) -> Answer<'_, i64> {
        self.do_epoch().boxed()
    }

    fn revocations(&self, now: Timestamp) -> Answer<'_, (i64, Vec<Revocation>)> {
        self.do_revocations(now).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.readers.close().await;
            self.writer.close().await;
        }
        .boxed()
    }
}
