//! What the engines have in common, and the one place that tells them apart.
//!
//! A query's text is written once: numbered parameters, `TEXT`, `BIGINT` and bytes, times in
//! milliseconds, `ON CONFLICT`, `RETURNING`. sqlx's own `any` driver would do the same, but takes its
//! settings from a URL only: no file mode, no pragmas, no certificates, no statement timeout.
//!
//! **Transactions.** SQLite has one writer, and a transaction takes its lock when it begins. PostgreSQL
//! runs at `READ COMMITTED`, and a transaction locks the rows that it judges before it reads them
//! ([`Tx::hold`], [`Tx::locking`]): whoever waited sees what the one before committed, so votes queue up
//! at their approval and none is lost. `SERIALIZABLE` would keep the same promise by making all but one
//! of the racers start over, again and again, exactly when many people vote at once. What still can
//! happen (a deadlock, two inserts of one open call) makes a transaction start over a few times
//! ([`Tries`]).
//!
//! **Time.** With SQLite the caller's clock rules. With PostgreSQL its clock does, read after the lock is
//! held: an instance whose clock is wrong neither shortens nor stretches a deadline.

use std::time::Duration;

use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use sqlx::{Postgres, Sqlite, Transaction};

use crate::clock::Timestamp;

use super::super::Error;
use super::query::query;

/// How often a transaction starts over that lost a race.
const TRIES_MAX: u32 = 8;
/// Longest pause before it does, times the number of the try.
const PAUSE: Duration = Duration::from_millis(5);

/// Milliseconds for the database; the far future is the largest.
pub(super) fn ms(at: Timestamp) -> i64 {
    i64::try_from(at.millis()).unwrap_or(i64::MAX)
}

/// A time from the database.
pub(super) fn time(millis: i64) -> Timestamp {
    Timestamp::from_nanos(u64::try_from(millis).unwrap_or(0).saturating_mul(1_000_000))
}

/// Whose clock judges deadlines in a shared database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Judge {
    /// The database's.
    Database,
    /// The caller's: tests hold the time.
    #[cfg(test)]
    Caller,
}

/// Connections to one engine.
#[derive(Clone, Debug)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool, Judge),
}

impl Pool {
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool, _) => pool.close().await,
        }
    }

    /// A condition on rows that one instance deals with: those that it wrote, or stands in for.
    pub(super) const fn mine(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "1 = 1",
            Self::Postgres(..) => {
                "instance = COALESCE(current_setting('callgate.instance', true), '')"
            }
        }
    }

    /// A transaction that only reads, and reads one state throughout.
    pub(super) async fn reading(&self) -> Result<Tx, Error> {
        Ok(match self {
            Self::Sqlite(pool) => Tx::Sqlite(pool.begin().await?),
            Self::Postgres(pool, judge) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Tx::Postgres(pool.begin_with(begin).await?, *judge)
            }
        })
    }

    /// A transaction that writes. SQLite takes its lock at once, so that nothing fails half way on it.
    pub(super) async fn writing(&self) -> Result<Tx, Error> {
        Ok(match self {
            Self::Sqlite(pool) => Tx::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool, judge) => {
                let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
                Tx::Postgres(pool.begin_with(begin).await?, *judge)
            }
        })
    }
}

/// A transaction; dropped, it is rolled back.
#[derive(Debug)]
pub(super) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>, Judge),
}

impl Tx {
    pub(super) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx, _) => tx.commit().await?,
        }
        Ok(())
    }

    /// Hold an approval's row until the end: from here on nobody else changes it or votes on it.
    /// Answers the time that judges, read when the row is held.
    pub(super) async fn hold(&mut self, id: &str, now: Timestamp) -> Result<Timestamp, Error> {
        let Self::Postgres(_, judge) = self else {
            return Ok(now);
        };
        let judge = *judge;
        // The clock is read for the output row, which is made when the lock is held.
        let row = query(
            "WITH held AS MATERIALIZED (SELECT 1 FROM approvals WHERE id = $1 FOR UPDATE) \
             SELECT CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT) AS now_ms, \
             COUNT(*) AS held FROM held",
        )
        .bind(id)
        .fetch_one(&mut *self)
        .await?;
        Ok(judge.of(now, row.try_get("now_ms")?))
    }

    /// The time that judges.
    pub(super) async fn now(&mut self, now: Timestamp) -> Result<Timestamp, Error> {
        let Self::Postgres(_, judge) = self else {
            return Ok(now);
        };
        let judge = *judge;
        let row = query(CLOCK).fetch_one(&mut *self).await?;
        Ok(judge.of(now, row.try_get("now_ms")?))
    }

    /// One asks at a time for a principal, so that its bounds hold and the same call is joined. Bounds
    /// over all principals can be passed by as many calls as ask at the same moment.
    pub(super) async fn hold_asker(&mut self, issuer: &str, subject: &str) -> Result<(), Error> {
        if let Self::Postgres(..) = self {
            query("SELECT pg_advisory_xact_lock(hashtextextended($1 || chr(10) || $2, 0))")
                .bind(issuer)
                .bind(subject)
                .execute(&mut *self)
                .await?;
        }
        Ok(())
    }

    /// The end of a `SELECT` of rows that are to be changed.
    pub(super) const fn locking(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "",
            Self::Postgres(..) => " FOR UPDATE",
        }
    }

    /// The same, but without those that somebody else holds: they are being dealt with.
    pub(super) const fn locking_free(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "",
            Self::Postgres(..) => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// A condition on whoever takes a call: nobody else goes by this instance's name by now.
    pub(super) const fn fenced(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "",
            Self::Postgres(..) => {
                " AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.id = current_setting('callgate.instance', true) \
                 AND i.boot <> current_setting('callgate.boot', true))"
            }
        }
    }

    /// Finds a row when the table of migrations is there.
    pub(super) const fn find_migrations(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => {
                "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'"
            }
            Self::Postgres(..) => {
                "SELECT 1 FROM pg_class WHERE relname = 'migrations' \
                 AND relnamespace = current_schema()::regnamespace"
            }
        }
    }

    /// Makes the table of migrations.
    pub(super) const fn make_migrations(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => {
                "CREATE TABLE migrations (number BIGINT PRIMARY KEY, digest BLOB NOT NULL)"
            }
            Self::Postgres(..) => {
                "CREATE TABLE migrations (number BIGINT PRIMARY KEY, digest BYTEA NOT NULL)"
            }
        }
    }

    /// One brings the database up at a time.
    pub(super) async fn hold_schema(&mut self) -> Result<(), Error> {
        if let Self::Postgres(..) = self {
            query("SELECT pg_advisory_xact_lock(hashtextextended('callgate migrations', 0))")
                .execute(&mut *self)
                .await?;
        }
        Ok(())
    }

    /// Many statements without parameters.
    pub(super) async fn raw(&mut self, text: &'static str) -> Result<(), Error> {
        match self {
            Self::Sqlite(tx) => sqlx::raw_sql(text).execute(&mut **tx).await.map(|_| ())?,
            Self::Postgres(tx, _) => sqlx::raw_sql(text).execute(&mut **tx).await.map(|_| ())?,
        }
        Ok(())
    }
}

/// The shared database's clock.
pub(super) const CLOCK: &str =
    "SELECT CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT) AS now_ms";

impl Judge {
    /// The time that counts, of the caller's and the database's.
    fn of(self, _caller: Timestamp, database: i64) -> Timestamp {
        match self {
            Self::Database => time(database),
            #[cfg(test)]
            Self::Caller => _caller,
        }
    }
}

/// Counts how often a transaction started over.
#[derive(Debug, Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// Whether it lost a race and may start over; nothing of it was committed.
    pub(super) async fn again<T>(&mut self, done: &Result<T, Error>) -> bool {
        let Err(Error::Database(sqlx::Error::Database(error))) = done else {
            return false;
        };
        // serialization_failure, deadlock_detected, unique_violation; SQLite's codes are plain numbers.
        let lost = matches!(error.code().as_deref(), Some("40001" | "40P01" | "23505"));
        if !lost || self.0 >= TRIES_MAX {
            return false;
        }
        self.0 += 1;
        tokio::time::sleep(PAUSE * self.0).await;
        true
    }
}
