//! The embedded engine: one SQLite file, write-ahead log, full sync, one writer.

mod ask;
mod edges;
mod outbox;
mod read;
mod revoke;
mod sweep;
mod vote;

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, Sqlite, Transaction};

use crate::clock::Timestamp;

use super::rows::{
    ApprovalRow, AskLimits, Asked, Change, Decided, Earlier, Filter, Moved, NewApproval, NewResult,
    Revocation, Revoked, Step, Swept, Taking, VoteRow, Voted,
};
use super::{Answer, Error, Opens, State, Store};

/// The database's file name in the data directory.
const FILE: &str = "state.db";
/// How long a transaction waits for another process's lock.
const BUSY: Duration = Duration::from_secs(5);
/// How long a transaction waits for its turn at the one writer.
const TURN: Duration = Duration::from_secs(10);
/// Connections for reading.
const READERS: u32 = 4;

/// A migration: its number and its text. Never edited once released, only followed by another.
const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("../migrations/sqlite/0001_state.sql")),
    (2, include_str!("../migrations/sqlite/0002_voter.sql")),
    (3, include_str!("../migrations/sqlite/0003_input.sql")),
    (4, include_str!("../migrations/sqlite/0004_outbox.sql")),
];

/// The state in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Create the database in `dir`, which must exist.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is one; [`Error::File`] and [`Error::Database`] when it cannot be
    /// made.
    pub async fn init(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        // The empty file comes first, with its mode: SQLite gives its side files the mode of the main one.
        let made = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match made {
            Ok(file) => drop(file),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists(path));
            }
            Err(source) => return Err(Error::File { path, source }),
        }
        let store = Self::connect(&path).await?;
        store.migrate(0).await?;
        Ok(store)
    }

    /// Open the database in `dir` and bring it up to this program's version.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none, [`Error::Newer`] when a newer program wrote it,
    /// [`Error::Altered`] when it was migrated by something else.
    pub async fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        match std::fs::metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Missing(path));
            }
            Err(source) => return Err(Error::File { path, source }),
        }
        let store = Self::connect(&path).await?;
        let version = store.version(path).await?;
        store.migrate(version).await?;
        Ok(store)
    }

    /// Copy the database in `from` into `to`, which exists and has none, as of one moment; others may be
    /// writing it.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none; [`Error::Database`] when it cannot be copied.
    pub async fn copy(from: &Path, to: &Path) -> Result<(), Error> {
        let store = Self::open(from).await?;
        let path = to.join(FILE);
        // The empty file comes first, with its mode.
        let made = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        made.map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        let copied = sqlx::query("VACUUM INTO $1")
            .bind(path.to_string_lossy().into_owned())
            .execute(&store.writer)
            .await;
        store.close().await;
        copied?;
        Ok(())
    }

    /// Forget all approvals: this database was put back, and what they let through may have run since.
    ///
    /// # Errors
    /// [`Error::Database`]; nothing is forgotten then.
    pub async fn forget_approvals(&self) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        for table in ["results", "votes", "changes", "approvals"] {
            let text = sqlx::AssertSqlSafe(format!("DELETE FROM {table}"));
            sqlx::query(text).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn connect(path: &PathBuf) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(true)
            // What ended is overwritten, not only unlinked.
            .pragma("secure_delete", "ON")
            .pragma("trusted_schema", "OFF");
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(TURN)
            .connect_with(options.clone())
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(TURN)
            .connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(Self { writer, readers })
    }

    /// The number of the last migration that was applied.
    async fn version(&self, path: PathBuf) -> Result<i64, Error> {
        let known = MIGRATIONS.last().map_or(0, |(number, _)| *number);
        let table =
            sqlx::query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'")
                .fetch_optional(&self.writer)
                .await?;
        if table.is_none() {
            // `init` died between creating the file and its first transaction.
            return Err(Error::Missing(path));
        }
        let applied = sqlx::query("SELECT number, digest FROM migrations ORDER BY number")
            .fetch_all(&self.writer)
            .await?;
        let mut last = 0;
        for row in applied {
            let number: i64 = row.try_get("number")?;
            let digest: Vec<u8> = row.try_get("digest")?;
            match MIGRATIONS.iter().find(|(ours, _)| *ours == number) {
                Some((_, text)) if digest_of(text) == digest => last = number,
                Some(_) => return Err(Error::Altered(number)),
                None => {
                    return Err(Error::Newer {
                        found: number,
                        known,
                    });
                }
            }
        }
        Ok(last)
    }

    async fn migrate(&self, from: i64) -> Result<(), Error> {
        for (number, text) in MIGRATIONS.iter().filter(|(number, _)| *number > from) {
            let mut tx = self.begin().await?;
            if from == 0 && *number == 1 {
                sqlx::query(
                    "CREATE TABLE migrations (number BIGINT PRIMARY KEY, digest BLOB NOT NULL)",
                )
                .execute(&mut *tx)
                .await?;
            }
            sqlx::raw_sql(*text).execute(&mut *tx).await?;
            sqlx::query("INSERT INTO migrations (number, digest) VALUES ($1, $2)")
                .bind(number)
                .bind(digest_of(text))
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// A writing transaction. It takes the lock at once, so that it cannot fail half way on a lock.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

#[cfg(test)]
impl SqliteStore {
    /// The writer, for tests that do what this room never does.
    pub(crate) const fn writer_for_tests(&self) -> &SqlitePool {
        &self.writer
    }
}

fn digest_of(text: &str) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes())
        .as_ref()
        .to_vec()
}

/// Milliseconds for the database; the far future is the largest.
fn ms(at: Timestamp) -> i64 {
    i64::try_from(at.millis()).unwrap_or(i64::MAX)
}

/// A time from the database.
fn time(millis: i64) -> Timestamp {
    Timestamp::from_nanos(u64::try_from(millis).unwrap_or(0).saturating_mul(1_000_000))
}

impl Store for SqliteStore {
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
