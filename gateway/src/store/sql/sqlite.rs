//! The embedded engine: one SQLite file, write-ahead log, full sync, one writer.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::super::{Error, Store};
use super::engine::Pool;
use super::migrate::{Migrations, bring_up};
use super::query::query;
use super::together::Questions;
use super::{SqlStore, boot};

/// The database's file name in the data directory.
const FILE: &str = "state.db";
/// How long a transaction waits for another process's lock.
const BUSY: Duration = Duration::from_secs(5);
/// How long a transaction waits for its turn at the one writer.
const TURN: Duration = Duration::from_secs(10);
/// Connections for reading.
const READERS: u32 = 4;

const MIGRATIONS: Migrations = &[
    (1, include_str!("../migrations/sqlite/0001_state.sql")),
    (2, include_str!("../migrations/sqlite/0002_voter.sql")),
    (3, include_str!("../migrations/sqlite/0003_input.sql")),
    (4, include_str!("../migrations/sqlite/0004_outbox.sql")),
    (5, include_str!("../migrations/sqlite/0005_grants.sql")),
    (6, include_str!("../migrations/sqlite/0006_counted.sql")),
    (7, include_str!("../migrations/sqlite/0007_once.sql")),
    (8, include_str!("../migrations/sqlite/0008_glass.sql")),
    (9, include_str!("../migrations/sqlite/0009_erased.sql")),
    (10, include_str!("../migrations/sqlite/0010_lists.sql")),
];

impl SqlStore {
    /// Create the embedded database in `dir`, which must exist.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is one; [`Error::File`] and [`Error::Database`] when it cannot be
    /// made.
    pub async fn init(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        match empty_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists(path));
            }
            Err(source) => return Err(Error::File { path, source }),
        }
        let store = Self::connect(&path).await?;
        bring_up(&store.writer, MIGRATIONS, true).await?;
        Ok(store)
    }

    /// Open the embedded database in `dir` and bring it up to this program's version.
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
        // `init` may have died between creating the file and its first transaction.
        if !bring_up(&store.writer, MIGRATIONS, false).await? {
            return Err(Error::Missing(path));
        }
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
        empty_file(&path).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        let copied = query("VACUUM INTO $1")
            .bind(path.to_string_lossy().into_owned())
            .execute(&store.writer)
            .await;
        store.close().await;
        copied.map(|_| ())
    }

    async fn connect(path: &Path) -> Result<Self, Error> {
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
        Ok(Self {
            writer: Pool::Sqlite(writer),
            readers: Pool::Sqlite(readers),
            questions: Questions::default(),
            touch: None,
            boot: boot()?,
        })
    }
}

/// The empty file comes first, with its mode: SQLite gives its side files the mode of the main one.
fn empty_file(path: &PathBuf) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).map(drop)
}

#[cfg(test)]
impl SqlStore {
    /// The writer, for tests that do what this room never does.
    pub(crate) fn writer_for_tests(&self) -> &sqlx::SqlitePool {
        match &self.writer {
            Pool::Sqlite(pool) => pool,
            Pool::Postgres(..) => panic!("not the embedded engine"),
        }
    }
}
