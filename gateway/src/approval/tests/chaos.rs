//! A store that dawdles, fails before the transaction, and loses answers after it, by the throw of
//! seeded dice; and an executor that polls tasks in an order of those dice.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::store::{
    Answer, ApprovalRow, AskLimits, Asked, Change, Decided, Earlier, Error, Filter, GrantFilter,
    GrantRow, GrantsOf, MemoryStore, Moved, NewApproval, NewOnce, NewResult, Once, OnceEnd, Opens,
    Revocation, Revoked, StandingYes, State, Step, Stood, Store, Swept, Taking, VoteRow, Voted,
};

/// A seeded stream of numbers (splitmix64) that tasks share.
#[derive(Clone, Debug)]
pub(super) struct Dice(Arc<Mutex<u64>>);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    pub(super) fn below(&self, n: u64) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    pub(super) fn index(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    /// Let others go first, up to `most` times.
    pub(super) async fn pause(&self, most: u64) {
        for _ in 0..self.below(most + 1) {
            Yield(false).await;
        }
    }
}

struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            Poll::Ready(())
        } else {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }
}

/// Poll once; true when it is over.
pub(super) fn poll_once(task: &mut Pin<Box<dyn Future<Output = ()>>>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    task.as_mut().poll(&mut context).is_ready()
}

/// Poll until it is over, alone.
pub(super) fn run<T>(task: impl Future<Output = T>) -> T {
    let mut task = Box::pin(task);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = task.as_mut().poll(&mut context) {
            return value;
        }
    }
}

#[derive(Debug)]
pub(super) struct Chaos {
    pub(super) inner: Arc<MemoryStore>,
    dice: Dice,
    /// The clock of a database that instances share; without it the caller's rules.
    shared: Option<Arc<ManualClock>>,
    /// Nothing gets through.
    pub(super) cut: AtomicBool,
    pub(super) calm: AtomicBool,
    /// What befalls the next transaction, whatever the dice say.
    pub(super) next: Mutex<Option<Fate>>,
    /// So many transactions go well before that.
    skip: AtomicU64,
}

/// What befalls a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It does not happen.
    Fails,
    /// It happens, and nobody is told.
    AnswerLost,
}

impl Chaos {
    pub(super) fn new(dice: Dice) -> Self {
        Self {
            inner: Arc::default(),
            dice,
            shared: None,
            cut: AtomicBool::new(false),
            calm: AtomicBool::new(false),
            next: Mutex::new(None),
            skip: AtomicU64::new(0),
        }
    }

    /// Another instance's way to the same database, whose clock rules.
    pub(super) fn beside(inner: &Arc<MemoryStore>, dice: Dice, clock: &Arc<ManualClock>) -> Self {
        Self {
            inner: Arc::clone(inner),
            shared: Some(Arc::clone(clock)),
            ..Self::new(dice)
        }
    }

    fn judge(&self, caller: Timestamp) -> Timestamp {
        self.shared.as_ref().map_or(caller, |clock| clock.now())
    }

    /// The fate waits until so many transactions went well.
    pub(super) fn skip(&self, transactions: u64) {
        self.skip.store(transactions, Ordering::SeqCst);
    }

    fn luck(&self, fate: Fate) -> Result<(), Error> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(Error::Unanswered);
        }
        let skip = self.skip.load(Ordering::SeqCst);
        if skip > 0 {
            // A transaction has passed when its answer has.
            let passed = u64::from(fate == Fate::AnswerLost);
            self.skip.store(skip - passed, Ordering::SeqCst);
            return Ok(());
        }
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.take_if(|next| *next == fate).is_some() {
            return Err(Error::Database(sqlx::Error::PoolTimedOut));
        }
        if !self.calm.load(Ordering::SeqCst) && self.dice.below(40) == 0 {
            return Err(Error::Database(sqlx::Error::PoolTimedOut));
        }
        Ok(())
    }

    /// `act` runs in one poll, as a transaction; what is around it may fail, or be dropped.
    async fn around<'a, T>(
        &'a self,
        act: impl FnOnce(&'a MemoryStore) -> Answer<'a, T> + Send,
    ) -> Result<T, Error> {
        self.dice.pause(2).await;
        self.luck(Fate::Fails)?;
        let answer = act(&self.inner).await?;
        self.dice.pause(2).await;
        self.luck(Fate::AnswerLost)?;
        Ok(answer)
    }
}

impl Store for Chaos {
    fn ask(&self, new: NewApproval, limits: AskLimits, now: Timestamp) -> Answer<'_, Asked> {
        self.around(move |s| s.ask(new, limits, self.judge(now)))
            .boxed()
    }

    fn approval(&self, id: &str) -> Answer<'_, Option<(ApprovalRow, Vec<VoteRow>)>> {
        let id = id.to_owned();
        self.around(move |s| s.approval(&id)).boxed()
    }

    fn state(&self, id: &str, now: Timestamp) -> Answer<'_, Option<(State, Timestamp)>> {
        let id = id.to_owned();
        self.around(move |s| s.state(&id, self.judge(now))).boxed()
    }

    fn decided(&self, since: Timestamp, now: Timestamp) -> Answer<'_, Vec<Decided>> {
        self.around(move |s| s.decided(since, self.judge(now)))
            .boxed()
    }

    fn earlier(&self, id: &str) -> Answer<'_, Option<Earlier>> {
        let id = id.to_owned();
        self.around(move |s| s.earlier(&id)).boxed()
    }

    fn list(&self, filter: Filter, now: Timestamp) -> Answer<'_, Vec<ApprovalRow>> {
        self.around(move |s| s.list(filter, self.judge(now)))
            .boxed()
    }

    fn vote<'a>(
        &'a self,
        vote: VoteRow,
        grant: Option<GrantRow>,
        run_by: Timestamp,
        now: Timestamp,
        opens: Opens<'a>,
    ) -> Answer<'a, Voted> {
        self.around(move |s| s.vote(vote, grant, run_by, self.judge(now), opens))
            .boxed()
    }

    fn void_votes<'a>(
        &'a self,
        on: Option<(String, Option<String>)>,
        voters: Vec<(String, Option<String>)>,
        now: Timestamp,
        opens: Opens<'a>,
    ) -> Answer<'a, Vec<String>> {
        self.around(move |s| s.void_votes(on, voters, self.judge(now), opens))
            .boxed()
    }

    fn grants(&self, filter: GrantFilter, now: Timestamp) -> Answer<'_, Vec<GrantRow>> {
        self.around(move |s| s.grants(filter, self.judge(now)))
            .boxed()
    }

    fn end_grants(&self, which: GrantsOf, by: String, now: Timestamp) -> Answer<'_, Vec<String>> {
        self.around(move |s| s.end_grants(which, by, self.judge(now)))
            .boxed()
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
        self.around(move |s| s.stand(&approval, yeses, run_by, self.judge(now), opens))
            .boxed()
    }

    fn take(&self, taking: Taking, now: Timestamp) -> Answer<'_, Moved> {
        self.around(move |s| s.take(taking, self.judge(now)))
            .boxed()
    }

    fn step(&self, step: Step, now: Timestamp) -> Answer<'_, Moved> {
        self.around(move |s| s.step(step, self.judge(now))).boxed()
    }

    fn supersede(
        &self,
        id: &str,
        lease: Option<String>,
        new: Option<NewApproval>,
        now: Timestamp,
    ) -> Answer<'_, Moved> {
        let id = id.to_owned();
        self.around(move |s| s.supersede(&id, lease, new, self.judge(now)))
            .boxed()
    }

    fn cancel_revoked(&self, what: Revoked, now: Timestamp) -> Answer<'_, Vec<String>> {
        self.around(move |s| s.cancel_revoked(what, self.judge(now)))
            .boxed()
    }

    fn keep_result(&self, id: &str, result: NewResult) -> Answer<'_, bool> {
        let id = id.to_owned();
        self.around(move |s| s.keep_result(&id, result)).boxed()
    }

    fn fetch_result(
        &self,
        id: &str,
        caller: Vec<u8>,
        now: Timestamp,
    ) -> Answer<'_, Option<Vec<u8>>> {
        let id = id.to_owned();
        self.around(move |s| s.fetch_result(&id, caller, self.judge(now)))
            .boxed()
    }

    fn drop_result(&self, id: &str, caller: Vec<u8>) -> Answer<'_, bool> {
        let id = id.to_owned();
        self.around(move |s| s.drop_result(&id, caller)).boxed()
    }

    fn result_kept(&self, id: &str, now: Timestamp) -> Answer<'_, bool> {
        let id = id.to_owned();
        self.around(move |s| s.result_kept(&id, self.judge(now)))
            .boxed()
    }

    fn sweep(&self, forget_before: Timestamp, now: Timestamp) -> Answer<'_, Swept> {
        self.around(move |s| s.sweep(forget_before, self.judge(now)))
            .boxed()
    }

    fn recover(&self, instance: &str, now: Timestamp) -> Answer<'_, Vec<String>> {
        let instance = instance.to_owned();
        self.around(move |s| s.recover(&instance, self.judge(now)))
            .boxed()
    }

    fn changes(&self) -> Answer<'_, Vec<Change>> {
        self.around(|s| s.changes()).boxed()
    }

    fn changes_taken(&self, seq: i64) -> Answer<'_, ()> {
        self.around(move |s| s.changes_taken(seq)).boxed()
    }

    fn revoke(&self, revocation: Revocation) -> Answer<'_, i64> {
        self.inner.revoke(revocation)
    }

    fn lift(&self, id: &str, now: Timestamp) -> Answer<'_, Option<i64>> {
        self.inner.lift(id, now)
    }

    fn revocation_epoch(&self) -> Answer<'_, i64> {
        self.inner.revocation_epoch()
    }

    fn revocations(&self, now: Timestamp) -> Answer<'_, (i64, Vec<Revocation>)> {
        self.inner.revocations(now)
    }

    fn begin_once(&self, new: NewOnce, now: Timestamp) -> Answer<'_, Once> {
        self.inner.begin_once(new, now)
    }

    fn end_once(&self, place: Vec<u8>, end: OnceEnd) -> Answer<'_, ()> {
        self.inner.end_once(place, end)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}
