//! The outbox.

use futures_util::FutureExt;
use sqlx::AssertSqlSafe;

use crate::clock::Timestamp;

use super::super::outbox::{Delivery, OUTBOX_BATCH_MAX, OUTBOX_MAX, Outbox, Retry, cut, full};
use super::super::{Answer, Error};
use super::SqlStore;
use super::engine::{ms, time};
use super::query::{Row, query};

const COLUMNS: &str =
    "id, channel, approval, event, created_ms, attempts, due_ms, dead_ms, failure";

fn delivery_of(row: &Row) -> Result<Delivery, Error> {
    Ok(Delivery {
        id: row.try_get("id")?,
        channel: row.try_get("channel")?,
        approval: row.try_get("approval")?,
        event: row.try_get("event")?,
        created: time(row.try_get("created_ms")?),
        attempts: u32::try_from(row.try_get::<i64>("attempts")?)
            .map_err(|_| Error::Corrupt("outbox.attempts"))?,
        due: time(row.try_get("due_ms")?),
        dead: row.try_get::<Option<i64>>("dead_ms")?.map(time),
        failure: row.try_get("failure")?,
    })
}

impl SqlStore {
    async fn do_enqueue(&self, deliveries: &[Delivery]) -> Result<(), Error> {
        let mut tx = self.writer.writing().await?;
        for delivery in deliveries {
            query(
                "INSERT INTO outbox (id, channel, approval, event, created_ms, attempts, due_ms, failure) \
                 VALUES ($1, $2, $3, $4, $5, 0, $6, '') ON CONFLICT (id) DO NOTHING",
            )
            .bind(&delivery.id)
            .bind(&delivery.channel)
            .bind(&delivery.approval)
            .bind(&delivery.event)
            .bind(ms(delivery.created))
            .bind(ms(delivery.due))
            .execute(&mut tx)
            .await?;
        }
        let count: i64 = query("SELECT COUNT(*) AS waiting FROM outbox")
            .fetch_one(&mut tx)
            .await?
            .try_get("waiting")?;
        if count > OUTBOX_MAX {
            return Err(full());
        }
        tx.commit().await?;
        Ok(())
    }

    async fn do_due(&self, channel: String, now: Timestamp) -> Result<Vec<Delivery>, Error> {
        let rows = query(AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM outbox WHERE {} AND channel = $1 AND dead_ms IS NULL AND due_ms <= $2 \
             ORDER BY due_ms, id LIMIT $3",
            self.readers.mine()
        )))
        .bind(channel)
        .bind(ms(now))
        .bind(i64::from(OUTBOX_BATCH_MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(delivery_of).collect()
    }

    async fn do_failed(&self, id: String, retry: Retry, failure: String) -> Result<(), Error> {
        let (due, dead) = match retry {
            Retry::At(due) => (Some(due), None),
            Retry::Never(since) => (None, Some(since)),
        };
        query(
            "UPDATE outbox SET attempts = attempts + 1, due_ms = COALESCE($2, due_ms), dead_ms = $3, \
             failure = $4 WHERE id = $1",
        )
        .bind(id)
        .bind(due.map(ms))
        .bind(dead.map(ms))
        .bind(cut(&failure))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    async fn do_dead(&self) -> Result<Vec<Delivery>, Error> {
        let rows = query(AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM outbox WHERE dead_ms IS NOT NULL ORDER BY dead_ms DESC, id LIMIT $1"
        )))
        .bind(i64::from(OUTBOX_BATCH_MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(delivery_of).collect()
    }

    async fn change_dead(
        &self,
        sql: &'static str,
        id: String,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let done = query(sql)
            .bind(id)
            .bind(ms(now))
            .execute(&self.writer)
            .await?;
        Ok(done == 1)
    }
}

impl Outbox for SqlStore {
    fn enqueue(&self, deliveries: Vec<Delivery>) -> Answer<'_, ()> {
        async move { self.timed(self.do_enqueue(&deliveries)).await }.boxed()
    }

    fn due(&self, channel: &str, now: Timestamp) -> Answer<'_, Vec<Delivery>> {
        self.timed(self.do_due(channel.to_owned(), now)).boxed()
    }

    fn delivered(&self, id: &str) -> Answer<'_, ()> {
        let id = id.to_owned();
        async move {
            query("DELETE FROM outbox WHERE id = $1")
                .bind(id)
                .execute(&self.writer)
                .await?;
            Ok(())
        }
        .boxed()
    }

    fn failed(&self, id: &str, retry: Retry, failure: &str) -> Answer<'_, ()> {
        self.timed(self.do_failed(id.to_owned(), retry, failure.to_owned()))
            .boxed()
    }

    fn dead(&self) -> Answer<'_, Vec<Delivery>> {
        self.timed(self.do_dead()).boxed()
    }

    fn revive(&self, id: &str, now: Timestamp) -> Answer<'_, bool> {
        let sql = "UPDATE outbox SET dead_ms = NULL, attempts = 0, due_ms = $2 \
                   WHERE id = $1 AND dead_ms IS NOT NULL";
        self.timed(self.change_dead(sql, id.to_owned(), now))
            .boxed()
    }

    fn discard(&self, id: &str) -> Answer<'_, bool> {
        let sql = "DELETE FROM outbox WHERE id = $1 AND dead_ms IS NOT NULL AND $2 >= 0";
        self.timed(self.change_dead(sql, id.to_owned(), Timestamp::from_nanos(0)))
            .boxed()
    }

    fn forget_dead(&self, before: Timestamp) -> Answer<'_, u64> {
        async move {
            let done = query("DELETE FROM outbox WHERE dead_ms < $1")
                .bind(ms(before))
                .execute(&self.writer)
                .await?;
            Ok(done)
        }
        .boxed()
    }
}
