//! What the engines have in common, and the one place that tells them apart.
//!
//! A query's text is written once: numbered parameters, `TEXT`, `BIGINT` and bytes, times in
//! milliseconds, `ON CONFLICT`, `RETURNING`. sqlx's own `any` driver would do the same, but takes its
//! settings from a URL only: no file mode, no pragmas, no certificates, no statement timeout.

use std::borrow::Cow;

use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{Decode, Row as _, SqlSafeStr, SqlStr, Sqlite, Transaction, Type};

use crate::clock::Timestamp;

use super::super::Error;

/// Milliseconds for the database; the far future is the largest.
pub(super) fn ms(at: Timestamp) -> i64 {
    i64::try_from(at.millis()).unwrap_or(i64::MAX)
}

/// A time from the database.
pub(super) fn time(millis: i64) -> Timestamp {
    Timestamp::from_nanos(u64::try_from(millis).unwrap_or(0).saturating_mul(1_000_000))
}

/// A parameter. A missing one has a type too, which PostgreSQL wants to know.
#[derive(Debug)]
pub(super) enum Arg<'q> {
    Text(Option<Cow<'q, str>>),
    Number(Option<i64>),
    Bytes(Option<Cow<'q, [u8]>>),
}

impl<'q> From<&'q str> for Arg<'q> {
    fn from(text: &'q str) -> Self {
        Self::Text(Some(Cow::Borrowed(text)))
    }
}

impl<'q> From<&'q String> for Arg<'q> {
    fn from(text: &'q String) -> Self {
        Self::Text(Some(Cow::Borrowed(text)))
    }
}

impl From<String> for Arg<'_> {
    fn from(text: String) -> Self {
        Self::Text(Some(Cow::Owned(text)))
    }
}

impl<'q> From<Option<&'q str>> for Arg<'q> {
    fn from(text: Option<&'q str>) -> Self {
        Self::Text(text.map(Cow::Borrowed))
    }
}

impl<'q> From<&'q Option<String>> for Arg<'q> {
    fn from(text: &'q Option<String>) -> Self {
        text.as_deref().into()
    }
}

impl From<Option<String>> for Arg<'_> {
    fn from(text: Option<String>) -> Self {
        Self::Text(text.map(Cow::Owned))
    }
}

impl From<i64> for Arg<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Arg<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl<'q> From<&'q [u8]> for Arg<'q> {
    fn from(bytes: &'q [u8]) -> Self {
        Self::Bytes(Some(Cow::Borrowed(bytes)))
    }
}

impl<'q> From<&'q Vec<u8>> for Arg<'q> {
    fn from(bytes: &'q Vec<u8>) -> Self {
        Self::Bytes(Some(Cow::Borrowed(bytes)))
    }
}

impl From<Vec<u8>> for Arg<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Some(Cow::Owned(bytes)))
    }
}

impl<'q> From<&'q Option<Vec<u8>>> for Arg<'q> {
    fn from(bytes: &'q Option<Vec<u8>>) -> Self {
        Self::Bytes(bytes.as_deref().map(Cow::Borrowed))
    }
}

/// Where a query runs: on any connection of a pool, or in a transaction.
pub(super) enum On<'c> {
    Pool(&'c Pool),
    Tx(&'c mut Tx),
}

impl<'c> From<&'c Pool> for On<'c> {
    fn from(pool: &'c Pool) -> Self {
        Self::Pool(pool)
    }
}

impl<'c> From<&'c mut Tx> for On<'c> {
    fn from(tx: &'c mut Tx) -> Self {
        Self::Tx(tx)
    }
}

/// Connections to one engine.
#[derive(Clone, Debug)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
}

impl Pool {
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
        }
    }

    /// A transaction that only reads, and reads one state throughout.
    pub(super) async fn reading(&self) -> Result<Tx, Error> {
        match self {
            Self::Sqlite(pool) => Ok(Tx::Sqlite(pool.begin().await?)),
        }
    }

    /// A transaction that writes. SQLite takes its lock at once, so that nothing fails half way on it.
    pub(super) async fn writing(&self) -> Result<Tx, Error> {
        match self {
            Self::Sqlite(pool) => Ok(Tx::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?)),
        }
    }
}

/// A transaction; dropped, it is rolled back.
#[derive(Debug)]
pub(super) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
}

impl Tx {
    pub(super) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(tx) => Ok(tx.commit().await?),
        }
    }

    /// Finds a row when the table of migrations is there.
    pub(super) const fn find_migrations(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => {
                "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'"
            }
        }
    }

    /// Makes the table of migrations.
    pub(super) const fn make_migrations(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => {
                "CREATE TABLE migrations (number BIGINT PRIMARY KEY, digest BLOB NOT NULL)"
            }
        }
    }

    /// Many statements without parameters.
    pub(super) async fn raw(&mut self, text: &'static str) -> Result<(), Error> {
        match self {
            Self::Sqlite(tx) => sqlx::raw_sql(text).execute(&mut **tx).await.map(|_| ())?,
        }
        Ok(())
    }
}

/// A row of either engine.
#[derive(Debug)]
pub(super) enum Row {
    Sqlite(SqliteRow),
}

impl Row {
    pub(super) fn try_get<'r, T>(&'r self, column: &str) -> Result<T, Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite>,
    {
        match self {
            Self::Sqlite(row) => Ok(row.try_get(column)?),
        }
    }
}

/// A query and its parameters.
pub(super) struct Query<'q> {
    text: SqlStr,
    args: Vec<Arg<'q>>,
}

/// A query; its text comes from this program alone.
pub(super) fn query<'q>(text: impl SqlSafeStr) -> Query<'q> {
    Query {
        text: text.into_sql_str(),
        args: Vec::new(),
    }
}

type Bound = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

impl<'q> Query<'q> {
    pub(super) fn bind(mut self, arg: impl Into<Arg<'q>>) -> Self {
        self.args.push(arg.into());
        self
    }

    fn sqlite(self) -> Bound {
        let mut query = sqlx::query(self.text);
        for arg in self.args {
            query = match arg {
                Arg::Text(text) => query.bind(text.map(Cow::into_owned)),
                Arg::Number(number) => query.bind(number),
                Arg::Bytes(bytes) => query.bind(bytes.map(Cow::into_owned)),
            };
        }
        query
    }

    pub(super) async fn fetch_optional(self, on: impl Into<On<'_>>) -> Result<Option<Row>, Error> {
        Ok(match on.into() {
            On::Pool(Pool::Sqlite(pool)) => self.sqlite().fetch_optional(pool).await?,
            On::Tx(Tx::Sqlite(tx)) => self.sqlite().fetch_optional(&mut **tx).await?,
        }
        .map(Row::Sqlite))
    }

    pub(super) async fn fetch_one(self, on: impl Into<On<'_>>) -> Result<Row, Error> {
        let row = self.fetch_optional(on).await?;
        row.ok_or(Error::Database(sqlx::Error::RowNotFound))
    }

    pub(super) async fn fetch_all(self, on: impl Into<On<'_>>) -> Result<Vec<Row>, Error> {
        let rows = match on.into() {
            On::Pool(Pool::Sqlite(pool)) => self.sqlite().fetch_all(pool).await?,
            On::Tx(Tx::Sqlite(tx)) => self.sqlite().fetch_all(&mut **tx).await?,
        };
        Ok(rows.into_iter().map(Row::Sqlite).collect())
    }

    /// How many rows it changed.
    pub(super) async fn execute(self, on: impl Into<On<'_>>) -> Result<u64, Error> {
        let done = match on.into() {
            On::Pool(Pool::Sqlite(pool)) => self.sqlite().execute(pool).await?,
            On::Tx(Tx::Sqlite(tx)) => self.sqlite().execute(&mut **tx).await?,
        };
        Ok(done.rows_affected())
    }
}
