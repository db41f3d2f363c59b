//! The state in a database, by queries whose text is the same for every engine.
//!
//! A transaction of [`Store`] is a file here or a part of one; what differs between engines (how a
//! transaction begins, what it locks, how a database is made and opened) is in [`engine`] and in the
//! engine's own file.

mod ask;
mod connect;
mod edges;
mod engine;
mod erase;
mod grants;
mod migrate;
mod once;
mod outbox;
mod postgres;
mod query;
mod read;
mod revoke;
mod sqlite;
mod sweep;
mod together;
mod touch;
mod vote;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::clock::Timestamp;

use super::rows::{
    ApprovalRow, AskLimits, Asked, Change, Decided, Earlier, Filter, Moved, NewApproval, NewResult,
    Revocation, Revoked, Step, Swept, Taking, VoteRow, Voted,
};
use super::{
    ANSWER_WITHIN, Answer, Error, GrantFilter, GrantRow, GrantsOf, NewOnce, Once, OnceEnd, Opens,
    Signal, StandingYes, State, Stood, Store,
};
use engine::{Pool, Tries};
use query::query;
use together::Questions;
use touch::Touch;

/// The state in a database.
#[derive(Debug)]
pub struct SqlStore {
    writer: Pool,
    readers: Pool,
    /// Those that wait for the embedded engine's one writer.
    questions: Questions,
    /// With the other instances; none has the embedded engine.
    touch: Option<Touch>,
    /// A random name of this process, in the database for what it has under way.
    boot: String,
}

/// A name that no other process has.
fn boot() -> Result<String, Error> {
    let mut bytes = [0_u8; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Setting("no randomness".to_owned()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A transaction, which starts over when it lost a race.
macro_rules! transaction {
    ($store:ident, $once:expr) => {
        async move {
            let mut tries = Tries::default();
            loop {
                let done = $store.timed($once).await;
                if !tries.again(&done).await {
                    return done;
                }
            }
        }
        .boxed()
    };
}

impl SqlStore {
    /// Forget all approvals and grants: this database was put back, what they let through may have run
    /// since, and a grant may have been used or ended.
    ///
    /// # Errors
    /// [`Error::Database`]; nothing is forgotten then.
    pub async fn forget_approvals(&self) -> Result<(), Error> {
        let mut tx = self.writer.writing().await?;
        for text in [
            "DELETE FROM grants",
            "DELETE FROM results",
            "DELETE FROM votes",
            "DELETE FROM changes",
            "DELETE FROM approvals",
        ] {
            query(text).execute(&mut tx).await?;
        }
        tx.commit().await
    }

    /// A shared database that says nothing must not hold a call for ever.
    async fn timed<T>(&self, once: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match &self.writer {
            Pool::Sqlite(_) => once.await,
            Pool::Postgres(..) => tokio::time::timeout(ANSWER_WITHIN, once)
                .await
                .unwrap_or(Err(Error::Unanswered)),
        }
    }
}

impl Store for SqlStore {
    fn ask(&self, new: NewApproval, limits: AskLimits, now: Timestamp) -> Answer<'_, Asked> {
        match &self.writer {
            Pool::Sqlite(_) => self.questions.ask(&self.writer, new, limits, now).boxed(),
            Pool::Postgres(..) => transaction!(self, self.do_ask(&new, &limits, now)),
        }
    }

    fn approval(&self, id: &str) -> Answer<'_, Option<(ApprovalRow, Vec<VoteRow>)>> {
        let id = id.to_owned();
        transaction!(self, self.do_approval(&id))
    }

    fn state(&self, id: &str, now: Timestamp) -> Answer<'_, Option<(State, Timestamp)>> {
        self.timed(self.do_state(id.to_owned(), now)).boxed()
    }

    fn list(&self, filter: Filter, now: Timestamp) -> Answer<'_, Vec<ApprovalRow>> {
        self.timed(self.do_list(filter, now)).boxed()
    }

    fn decided(&self, since: Timestamp, now: Timestamp) -> Answer<'_, Vec<Decided>> {
        self.timed(self.do_decided(since, now)).boxed()
    }

    fn earlier(&self, id: &str) -> Answer<'_, Option<Earlier>> {
        self.timed(self.do_earlier(id.to_owned())).boxed()
    }

    fn vote<'a>(
        &'a self,
        vote: VoteRow,
        grant: Option<GrantRow>,
        run_by: Timestamp,
        now: Timestamp,
        opens: Opens<'a>,
    ) -> Answer<'a, Voted> {
        transaction!(
            self,
            self.do_vote((&vote, grant.as_ref()), run_by, now, opens)
        )
    }

    fn void_votes<'a>(
        &'a self,
        on: Option<(String, Option<String>)>,
        voters: Vec<(String, Option<String>)>,
        now: Timestamp,
        opens: Opens<'a>,
    ) -> Answer<'a, Vec<String>> {
        transaction!(self, self.do_void_votes(on.as_ref(), &voters, now, opens))
    }

    fn grants(&self, filter: GrantFilter, now: Timestamp) -> Answer<'_, Vec<GrantRow>> {
        self.timed(self.do_grants(filter, now)).boxed()
    }

    fn end_grants(&self, which: GrantsOf, by: String, now: Timestamp) -> Answer<'_, Vec<String>> {
        transaction!(self, self.do_end_grants(&which, &by, now))
    }

    fn stand<'a>(
        &'a self,
        approval: &str,
        yeses: Vec<StandingYes>,
        run_by: Timestamp,
        now: Timestamp,
        opens: Opens<'a>,
    ) -> Answer<'a, Stood> {
        let approval = approval.to_owned();
        transaction!(self, self.do_stand(&approval, &yeses, run_by, now, opens))
    }

    fn take(&self, taking: Taking, now: Timestamp) -> Answer<'_, Moved> {
        transaction!(self, self.do_take(&taking, now))
    }

    fn step(&self, step: Step, now: Timestamp) -> Answer<'_, Moved> {
        transaction!(self, self.do_step(&step, now))
    }

    fn supersede(
        &self,
        id: &str,
        lease: Option<String>,
        new: Option<NewApproval>,
        now: Timestamp,
    ) -> Answer<'_, Moved> {
        let id = id.to_owned();
        transaction!(
            self,
            self.do_supersede(&id, lease.as_deref(), new.as_ref(), now)
        )
    }

    fn cancel_revoked(&self, what: Revoked, now: Timestamp) -> Answer<'_, Vec<String>> {
        transaction!(self, self.do_cancel_revoked(&what, now))
    }

    fn keep_result(&self, id: &str, result: NewResult) -> Answer<'_, bool> {
        self.timed(self.do_keep_result(id.to_owned(), result))
            .boxed()
    }

    fn fetch_result(
        &self,
        id: &str,
        caller: Vec<u8>,
        now: Timestamp,
    ) -> Answer<'_, Option<Vec<u8>>> {
        self.timed(self.do_fetch_result(id.to_owned(), caller, now))
            .boxed()
    }

    fn drop_result(&self, id: &str, caller: Vec<u8>) -> Answer<'_, bool> {
        self.timed(self.do_drop_result(id.to_owned(), caller))
            .boxed()
    }

    fn result_kept(&self, id: &str, now: Timestamp) -> Answer<'_, bool> {
        self.timed(self.do_result_kept(id.to_owned(), now)).boxed()
    }

    fn sweep(&self, forget_before: Timestamp, now: Timestamp) -> Answer<'_, Swept> {
        transaction!(self, self.do_sweep(forget_before, now))
    }

    fn recover(&self, instance: &str, now: Timestamp) -> Answer<'_, Vec<String>> {
        let instance = instance.to_owned();
        transaction!(self, self.do_recover(&instance, now))
    }

    fn changes(&self) -> Answer<'_, Vec<Change>> {
        self.timed(self.do_changes()).boxed()
    }

    fn changes_taken(&self, seq: i64) -> Answer<'_, ()> {
        self.timed(self.do_changes_taken(seq)).boxed()
    }

    fn revoke(&self, revocation: Revocation) -> Answer<'_, i64> {
        transaction!(self, self.do_revoke(&revocation))
    }

    fn lift(&self, id: &str, now: Timestamp) -> Answer<'_, Option<i64>> {
        self.timed(self.do_lift(id.to_owned(), now)).boxed()
    }

    fn revocation_epoch(&self) -> Answer<'_, i64> {
        self.timed(self.do_epoch()).boxed()
    }

    fn revocations(&self, now: Timestamp) -> Answer<'_, (i64, Vec<Revocation>)> {
        self.timed(self.do_revocations(now)).boxed()
    }

    fn begin_once(&self, new: NewOnce, now: Timestamp) -> Answer<'_, Once> {
        transaction!(self, self.do_begin_once(&new, now))
    }

    fn end_once(&self, place: Vec<u8>, end: OnceEnd) -> Answer<'_, ()> {
        transaction!(self, self.do_end_once(&place, &end))
    }

    fn signal(&self) -> BoxFuture<'_, Signal> {
        async {
            match &self.touch {
                Some(touch) => touch.signal().await,
                None => std::future::pending().await,
            }
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            if let Some(touch) = &self.touch {
                touch.end().await;
            }
            self.readers.close().await;
            self.writer.close().await;
        }
        .boxed()
    }
}
