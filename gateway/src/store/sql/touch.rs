//! Keeping in touch with the other instances: hearing of what they change, saying that this one is there,
//! and the clock that all go by.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, timeout};

use crate::clock::{Clock, SharedClock, Timestamp};

use super::super::{Error, Signal};
use super::engine::{CLOCK, Judge, Pool, ms, time};
use super::postgres::Instance;
use super::query::query;

/// How often this instance says that it is there, and looks for changes that it did not hear of.
const EVERY: Duration = Duration::from_secs(1);
/// How long it waits for the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How far back it looks: a change is stamped before it is committed.
const LOOK_BACK: Duration = Duration::from_secs(5);
/// Most changes that it looks at; more of them say "everything".
const CHANGED_MAX: i64 = 1_000;
/// Signals that wait for whoever acts on them.
const SIGNALS_MAX: usize = 1_024;
/// The channel of notifications.
const CHANNEL: &str = "callgate";
/// What a notification says when it is not an approval's id.
const REVOCATIONS: &str = "revocations";
/// A measurement of the clock that took longer is no good.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(1);

/// How one instance keeps in touch.
#[derive(Debug)]
pub(super) struct Touch {
    beats: Beats,
    signals: Mutex<mpsc::Receiver<Signal>>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Clone, Debug)]
struct Beats {
    pool: Pool,
    instance: Arc<Instance>,
    own: SharedClock,
    /// How many nanoseconds the database's clock is ahead of the machine's.
    ahead: Arc<AtomicI64>,
}

impl Touch {
    /// Take the name, and begin.
    pub(super) async fn begin(
        pool: PgPool,
        instance: Instance,
        own: SharedClock,
    ) -> Result<Self, Error> {
        let beats = Beats {
            pool: Pool::Postgres(pool.clone(), Judge::Database),
            instance: Arc::new(instance),
            own,
            ahead: Arc::default(),
        };
        beats.claim().await?;
        let (tell, signals) = mpsc::channel(SIGNALS_MAX);
        let tasks = vec![
            tokio::spawn(listen(pool, tell.clone())),
            tokio::spawn(keep(beats.clone(), tell)),
        ];
        Ok(Self {
            beats,
            signals: Mutex::new(signals),
            tasks,
        })
    }

    pub(super) fn clock(&self) -> SharedClock {
        Arc::new(self.beats.clone())
    }

    pub(super) async fn signal(&self) -> Signal {
        match self.signals.lock().await.recv().await {
            Some(signal) => signal,
            // Closing: nothing comes any more.
            None => std::future::pending().await,
        }
    }

    /// Let others stand in at once.
    pub(super) async fn end(&self) {
        for task in &self.tasks {
            task.abort();
        }
        let gone = query("UPDATE instances SET seen_ms = 0 WHERE id = $1 AND boot = $2")
            .bind(&self.beats.instance.name)
            .bind(&self.beats.instance.boot)
            .execute(&self.beats.pool);
        match timeout(ANSWER_WITHIN, gone).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the others could not be told that this instance stops");
            }
            Err(_) => tracing::warn!("the others could not be told that this instance stops"),
        }
        self.beats.pool.close().await;
    }
}

impl Drop for Touch {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// The machine's clock, corrected to the database's: what deadlines are set by. They are judged by the
/// database's own.
impl Clock for Beats {
    fn now(&self) -> Timestamp {
        let own = i128::from(self.own.now().nanos());
        let shared = own + i128::from(self.ahead.load(Ordering::Relaxed));
        Timestamp::from_nanos(u64::try_from(shared).unwrap_or(0))
    }
}

impl Beats {
    /// Be this instance from now on, whoever was it before.
    async fn claim(&self) -> Result<(), Error> {
        let before = self.own.now();
        let row = query(
            "INSERT INTO instances (id, boot, seen_ms) VALUES ($1, $2, \
             FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)) ON CONFLICT (id) \
             DO UPDATE SET boot = EXCLUDED.boot, seen_ms = EXCLUDED.seen_ms RETURNING seen_ms",
        )
        .bind(&self.instance.name)
        .bind(&self.instance.boot)
        .fetch_one(&self.pool)
        .await?;
        self.measured(before, row.try_get("seen_ms")?);
        Ok(())
    }

    /// Say that this instance is there. `false` when another process has taken its name.
    async fn beat(&self) -> Result<bool, Error> {
        let before = self.own.now();
        let row = query(
            "INSERT INTO instances (id, boot, seen_ms) VALUES ($1, $2, \
             FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)) ON CONFLICT (id) \
             DO UPDATE SET seen_ms = EXCLUDED.seen_ms WHERE instances.boot = EXCLUDED.boot \
             RETURNING seen_ms",
        )
        .bind(&self.instance.name)
        .bind(&self.instance.boot)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(false) };
        self.measured(before, row.try_get("seen_ms")?);
        Ok(true)
    }

    fn measured(&self, before: Timestamp, database: i64) {
        let after = self.own.now();
        if after < before || after.since(before) > ROUND_TRIP_MAX {
            return;
        }
        let own = before.nanos() / 2 + after.nanos() / 2;
        let ahead = i128::from(time(database).nanos()) - i128::from(own);
        let ahead = i64::try_from(ahead).unwrap_or(0);
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    /// What others changed since then, whether or not a notification came; and the time of the look.
    async fn changed(&self, since: i64) -> Result<(Vec<Signal>, i64), Error> {
        let now: i64 = query(CLOCK)
            .fetch_one(&self.pool)
            .await?
            .try_get("now_ms")?;
        let rows = query("SELECT id FROM approvals WHERE changed_ms > $1 LIMIT $2")
            .bind(since)
            .bind(CHANGED_MAX)
            .fetch_all(&self.pool)
            .await?;
        if i64::try_from(rows.len()).unwrap_or(i64::MAX) >= CHANGED_MAX {
            return Ok((vec![Signal::Everything], now));
        }
        let ids = rows
            .iter()
            .map(|row| row.try_get("id").map(Signal::Approval));
        Ok((ids.collect::<Result<_, _>>()?, now))
    }
}

/// Every second, whether or not anything is heard.
async fn keep(beats: Beats, tell: mpsc::Sender<Signal>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let back = i64::try_from(LOOK_BACK.as_millis()).unwrap_or(i64::MAX);
    let mut since = ms(beats.now()).saturating_sub(back);
    loop {
        every.tick().await;
        match timeout(ANSWER_WITHIN, beats.beat()).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => tracing::error!(
                instance = beats.instance.name,
                "another process goes by this instance's name: no approved call is run here any more"
            ),
            Ok(Err(error)) => tracing::warn!(%error, "the shared state could not be reached"),
            Err(_) => tracing::warn!("the shared state did not answer"),
        }
        if let Ok(Ok((signals, now))) = timeout(ANSWER_WITHIN, beats.changed(since)).await {
            since = now.saturating_sub(back);
            for signal in signals {
                if tell.send(signal).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// What others tell, at once.
async fn listen(pool: PgPool, tell: mpsc::Sender<Signal>) {
    loop {
        match heard(&pool, &tell).await {
            Ok(()) => tracing::warn!("the connection that hears of changes broke off"),
            Err(error) => tracing::warn!(%error, "changes of other instances cannot be heard"),
        }
        if tell.is_closed() {
            return;
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn heard(pool: &PgPool, tell: &mpsc::Sender<Signal>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    // What happened until now was not heard.
    let mut signal = Signal::Everything;
    loop {
        if tell.send(signal).await.is_err() {
            return Ok(());
        }
        let Some(note) = listener.try_recv().await? else {
            return Ok(());
        };
        signal = match note.payload() {
            REVOCATIONS => Signal::Revocations,
            id => Signal::Approval(id.to_owned()),
        };
    }
}
