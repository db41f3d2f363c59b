//! A query: its text, its parameters, where it runs, and the rows that it answers.

use std::borrow::Cow;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Decode, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, Type};

use super::super::Error;
use super::engine::{Pool, Tx};

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

/// A row of either engine.
#[derive(Debug)]
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(super) fn try_get<'r, T>(&'r self, column: &str) -> Result<T, Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
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

/// Both engines' own queries are built alike, of types that nothing but a macro can abstract over.
macro_rules! bound {
    ($query:expr) => {{
        let mut query = sqlx::query($query.text);
        for arg in $query.args {
            query = match arg {
                Arg::Text(text) => query.bind(text.map(Cow::into_owned)),
                Arg::Number(number) => query.bind(number),
                Arg::Bytes(bytes) => query.bind(bytes.map(Cow::into_owned)),
            };
        }
        query
    }};
}

impl<'q> Query<'q> {
    pub(super) fn bind(mut self, arg: impl Into<Arg<'q>>) -> Self {
        self.args.push(arg.into());
        self
    }

    fn sqlite(self) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
        bound!(self)
    }

    fn postgres(self) -> sqlx::query::Query<'static, Postgres, PgArguments> {
        bound!(self)
    }

    pub(super) async fn fetch_optional(self, on: impl Into<On<'_>>) -> Result<Option<Row>, Error> {
        let sqlite = |row: Option<SqliteRow>| row.map(Row::Sqlite);
        let postgres = |row: Option<PgRow>| row.map(Row::Postgres);
        Ok(match on.into() {
            On::Pool(Pool::Sqlite(pool)) => sqlite(self.sqlite().fetch_optional(pool).await?),
            On::Tx(Tx::Sqlite(tx)) => sqlite(self.sqlite().fetch_optional(&mut **tx).await?),
            On::Pool(Pool::Postgres(pool, _)) => {
                postgres(self.postgres().fetch_optional(pool).await?)
            }
            On::Tx(Tx::Postgres(tx, _)) => {
                postgres(self.postgres().fetch_optional(&mut **tx).await?)
            }
        })
    }

    pub(super) async fn fetch_one(self, on: impl Into<On<'_>>) -> Result<Row, Error> {
        let row = self.fetch_optional(on).await?;
        row.ok_or(Error::Database(sqlx::Error::RowNotFound))
    }

    pub(super) async fn fetch_all(self, on: impl Into<On<'_>>) -> Result<Vec<Row>, Error> {
        let sqlite = |rows: Vec<SqliteRow>| rows.into_iter().map(Row::Sqlite).collect();
        let postgres = |rows: Vec<PgRow>| rows.into_iter().map(Row::Postgres).collect();
        Ok(match on.into() {
            On::Pool(Pool::Sqlite(pool)) => sqlite(self.sqlite().fetch_all(pool).await?),
            On::Tx(Tx::Sqlite(tx)) => sqlite(self.sqlite().fetch_all(&mut **tx).await?),
            On::Pool(Pool::Postgres(pool, _)) => postgres(self.postgres().fetch_all(pool).await?),
            On::Tx(Tx::Postgres(tx, _)) => postgres(self.postgres().fetch_all(&mut **tx).await?),
        })
    }

    /// How many rows it changed.
    pub(super) async fn execute(self, on: impl Into<On<'_>>) -> Result<u64, Error> {
        Ok(match on.into() {
            On::Pool(Pool::Sqlite(pool)) => self.sqlite().execute(pool).await?.rows_affected(),
            On::Tx(Tx::Sqlite(tx)) => self.sqlite().execute(&mut **tx).await?.rows_affected(),
            On::Pool(Pool::Postgres(pool, _)) => {
                self.postgres().execute(pool).await?.rows_affected()
            }
            On::Tx(Tx::Postgres(tx, _)) => {
                self.postgres().execute(&mut **tx).await?.rows_affected()
            }
        })
    }
}
