//! The shared engine: a PostgreSQL database of several instances.
//!
//! What makes it different from the embedded one, besides transactions ([`super::engine`]):
//!
//! - A database is made by `init` and joined by the others' `init`; all of them must hold the same key,
//!   which a mark in the database tells.
//! - An instance goes by its name and, while it runs, by a random `boot`: a second process under the same
//!   name takes the name over, and the first can take no approved call any more ([`Tx::fenced`]).
//! - It says every second that it is there. One that was silent for [`LEASE`] is stood in for by another:
//!   what it was executing is indeterminate, what it had not recorded or sent yet is done elsewhere.
//!
//! [`Tx::fenced`]: super::engine::Tx::fenced

use std::path::Path;

use sqlx::postgres::PgConnectOptions;
#[cfg(test)]
use sqlx::postgres::PgPool;

use crate::clock::{SharedClock, Timestamp};

use super::super::config::PostgresConfig;
use super::super::{Error, LEASE};
use super::connect::{connect, pool};
use super::edges::lose;
use super::engine::{Judge, Pool};
use super::migrate::{Migrations, bring_up};
use super::query::query;
use super::together::Questions;
use super::touch::Touch;
use super::{SqlStore, boot};

/// Connections beside the pool: one hears of changes, one says that this instance is there.
const TOUCH_CONNECTIONS: u32 = 2;

const MIGRATIONS: Migrations = &[
    (1, include_str!("../migrations/postgres/0001_state.sql")),
    (2, include_str!("../migrations/postgres/0002_voter.sql")),
    (3, include_str!("../migrations/postgres/0003_input.sql")),
    (4, include_str!("../migrations/postgres/0004_outbox.sql")),
    (5, include_str!("../migrations/postgres/0005_grants.sql")),
    (6, include_str!("../migrations/postgres/0006_counted.sql")),
    (7, include_str!("../migrations/postgres/0007_once.sql")),
    (8, include_str!("../migrations/postgres/0008_glass.sql")),
    (9, include_str!("../migrations/postgres/0009_erased.sql")),
    (10, include_str!("../migrations/postgres/0010_lists.sql")),
];

/// An instance of the gateway, as the shared database knows it.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) boot: String,
}

impl SqlStore {
    /// Make the shared state, or find it made by another instance; `true` when it was made.
    ///
    /// # Errors
    /// [`Error::OtherKey`] when the others hold another key, [`Error::Newer`], [`Error::Altered`],
    /// [`Error::Setting`], [`Error::Database`].
    pub async fn init_shared(config: &PostgresConfig, base: &Path) -> Result<bool, Error> {
        let pool = connect(config.options(base)?, 1, Judge::Database).await?;
        let found = bring_up(&pool, MIGRATIONS, false).await?;
        if !found {
            bring_up(&pool, MIGRATIONS, true).await?;
        }
        let agreed = agree(&pool, config, base).await;
        pool.close().await;
        agreed.map(|()| !found)
    }

    /// Open the shared state for a command: no instance, which takes no calls and hears of nothing.
    ///
    /// # Errors
    /// [`Error::NotMade`] when there is none, and those of [`Self::init_shared`].
    pub async fn visit(config: &PostgresConfig, base: &Path) -> Result<Self, Error> {
        let options = config.options(base)?;
        Self::opened(options, config, base, Judge::Database).await
    }

    /// Open the shared state as an instance. `clock` is the machine's own; the one that all instances go
    /// by is [`Self::clock`].
    ///
    /// # Errors
    /// As [`Self::visit`].
    pub async fn join(
        config: &PostgresConfig,
        base: &Path,
        name: &str,
        clock: SharedClock,
    ) -> Result<Self, Error> {
        let boot = boot()?;
        let instance = Instance {
            name: name.to_owned(),
            boot,
        };
        let options = config.options(base)?.options([
            ("callgate.instance", instance.name.as_str()),
            ("callgate.boot", instance.boot.as_str()),
        ]);
        let mut store = Self::opened(options.clone(), config, base, Judge::Database).await?;
        store.boot.clone_from(&instance.boot);
        let pool = pool(options, TOUCH_CONNECTIONS).await?;
        store.touch = Some(Touch::begin(pool, instance, clock).await?);
        Ok(store)
    }

    async fn opened(
        options: PgConnectOptions,
        config: &PostgresConfig,
        base: &Path,
        judge: Judge,
    ) -> Result<Self, Error> {
        let pool = connect(options, config.connections, judge).await?;
        if !bring_up(&pool, MIGRATIONS, false).await? {
            return Err(Error::NotMade);
        }
        agree(&pool, config, base).await?;
        Ok(Self {
            writer: pool.clone(),
            readers: pool,
            questions: Questions::default(),
            touch: None,
            boot: boot()?,
        })
    }

    /// The clock that all instances go by; `None` when there is no other instance.
    pub fn clock(&self) -> Option<SharedClock> {
        self.touch.as_ref().map(Touch::clock)
    }

    /// Refuse while any instance is at work.
    ///
    /// # Errors
    /// [`Error::InUse`].
    pub async fn refuse_while_shared(&self) -> Result<(), Error> {
        let Pool::Postgres(..) = &self.writer else {
            return Ok(());
        };
        let running = query(
            "SELECT id FROM instances WHERE seen_ms >= FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) - $1 \
             ORDER BY id LIMIT 1",
        )
        .bind(i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX))
        .fetch_optional(&self.readers)
        .await?;
        match running {
            Some(row) => Err(Error::InUse(row.try_get("id")?)),
            None => Ok(()),
        }
    }

    /// Stand in for instances that were silent for [`LEASE`]. Answers how many calls are indeterminate by
    /// that.
    pub(super) async fn stand_in(&self, now: Timestamp) -> Result<u64, Error> {
        let Pool::Postgres(..) = &self.writer else {
            return Ok(0);
        };
        let mut tx = self.writer.writing().await?;
        let silent = query(
            "SELECT id FROM instances WHERE seen_ms < FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) - $1 \
             AND id <> COALESCE(current_setting('callgate.instance', true), '') ORDER BY id FOR UPDATE SKIP LOCKED",
        )
        .bind(i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX))
        .fetch_all(&mut tx)
        .await?;
        if silent.is_empty() {
            return Ok(0);
        }
        let mut calls = 0;
        for row in silent {
            let id: String = row.try_get("id")?;
            let lost = lose(&mut tx, &id, "instance-lost", now).await?;
            for text in [
                "UPDATE changes SET instance = current_setting('callgate.instance') WHERE instance = $1",
                "UPDATE outbox SET instance = current_setting('callgate.instance') WHERE instance = $1",
                "DELETE FROM instances WHERE id = $1",
            ] {
                query(text).bind(&id).execute(&mut tx).await?;
            }
            tracing::warn!(
                instance = id,
                calls = lost.len(),
                "another instance is silent: this one stands in for it"
            );
            calls += lost.len() as u64;
        }
        tx.commit().await?;
        Ok(calls)
    }
}

/// All instances hold the same key, or each could not read what the others sealed.
async fn agree(pool: &Pool, config: &PostgresConfig, base: &Path) -> Result<(), Error> {
    let ours = config.key_check(base)?;
    let mut tx = pool.writing().await?;
    query("INSERT INTO marks (name, value) VALUES ('key', $1) ON CONFLICT (name) DO NOTHING")
        .bind(&ours)
        .execute(&mut tx)
        .await?;
    let row = query("SELECT value FROM marks WHERE name = 'key'")
        .fetch_one(&mut tx)
        .await?;
    let theirs: Vec<u8> = row.try_get("value")?;
    if theirs != ours {
        return Err(Error::OtherKey);
    }
    tx.commit().await
}

#[cfg(test)]
impl SqlStore {
    /// A shared state whose deadlines the caller's clock judges, made on the spot.
    pub(crate) async fn shared_for_tests(config: &PostgresConfig, base: &Path) -> Self {
        Self::init_shared(config, base).await.unwrap();
        let options = config.options(base).unwrap();
        Self::opened(options, config, base, Judge::Caller)
            .await
            .unwrap()
    }

    /// The pool, for tests that do what this room never does.
    pub(crate) fn postgres_for_tests(&self) -> &PgPool {
        match &self.writer {
            Pool::Postgres(pool, _) => pool,
            Pool::Sqlite(_) => panic!("not a shared state"),
        }
    }
}
