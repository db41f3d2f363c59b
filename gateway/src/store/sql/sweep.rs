//! Results and the sweep.

use sqlx::AssertSqlSafe;

use crate::clock::Timestamp;

use super::super::machine::Edge;
use super::super::rows::{Moved, NewResult, Swept};
use super::super::rules::ago;
use super::super::{Error, INPUT_KEPT, ONCE_KEPT, SWEEP_BATCH_MAX};
use super::SqlStore;
use super::edges::Update;
use super::engine::ms;
use super::query::query;

/// No bytes; the engines write that differently.
const NOTHING: &[u8] = &[];

impl SqlStore {
    pub(super) async fn do_keep_result(
        &self,
        id: String,
        result: NewResult,
    ) -> Result<bool, Error> {
        let kept = query(
            "INSERT INTO results (approval, sealed, expires_ms) SELECT id, $2, $3 FROM approvals \
             WHERE id = $1 AND state = 'done' ON CONFLICT (approval) DO NOTHING",
        )
        .bind(id)
        .bind(result.sealed)
        .bind(ms(result.expires))
        .execute(&self.writer)
        .await?;
        Ok(kept == 1)
    }

    pub(super) async fn do_fetch_result(
        &self,
        id: String,
        caller: Vec<u8>,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, Error> {
        let row = query(
            "SELECT sealed FROM results WHERE approval = $1 AND expires_ms > $3 \
             AND EXISTS (SELECT 1 FROM approvals WHERE id = $1 AND caller = $2)",
        )
        .bind(id)
        .bind(caller)
        .bind(ms(now))
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| row.try_get("sealed")).transpose()
    }

    pub(super) async fn do_drop_result(&self, id: String, caller: Vec<u8>) -> Result<bool, Error> {
        let dropped = query(
            "DELETE FROM results WHERE approval = $1 \
             AND EXISTS (SELECT 1 FROM approvals WHERE id = $1 AND caller = $2)",
        )
        .bind(id)
        .bind(caller)
        .execute(&self.writer)
        .await?;
        Ok(dropped == 1)
    }

    pub(super) async fn do_result_kept(&self, id: String, now: Timestamp) -> Result<bool, Error> {
        let row = query("SELECT 1 FROM results WHERE approval = $1 AND expires_ms > $2")
            .bind(id)
            .bind(ms(now))
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.is_some())
    }

    pub(super) async fn do_sweep(
        &self,
        forget_before: Timestamp,
        now: Timestamp,
    ) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        let mut tx = self.writer.writing().await?;
        let now = tx.now(now).await?;
        let due = query(AssertSqlSafe(format!(
            "SELECT id FROM approvals WHERE state IN ('pending', 'approved') AND expires_ms <= $1 \
             ORDER BY expires_ms LIMIT $2{}",
            tx.locking_free()
        )))
        .bind(ms(now))
        .bind(i64::from(SWEEP_BATCH_MAX))
        .fetch_all(&mut tx)
        .await?;
        for row in due {
            let id: String = row.try_get("id")?;
            let update = Update {
                id: &id,
                edge: Edge::Expire,
                lease: None,
                expires: None,
                successor: None,
                cause: "timeout",
                now,
            };
            if let Moved::Yes { .. } = update.run(&mut tx).await? {
                swept.expired += 1;
            }
        }
        swept.results = query("DELETE FROM results WHERE expires_ms <= $1")
            .bind(ms(now))
            .execute(&mut tx)
            .await?;
        let before = i64::try_from(INPUT_KEPT.as_millis()).unwrap_or(i64::MAX);
        query(
            "UPDATE approvals SET input = $3 WHERE id IN (SELECT id FROM approvals \
             WHERE ended_ms IS NOT NULL AND ended_ms < $1 AND input <> $3 LIMIT $2)",
        )
        .bind(ms(now).saturating_sub(before))
        .bind(i64::from(SWEEP_BATCH_MAX))
        .bind(NOTHING)
        .execute(&mut tx)
        .await?;
        swept.forgotten = query(
            "DELETE FROM approvals WHERE id IN (SELECT id FROM approvals \
             WHERE ended_ms IS NOT NULL AND ended_ms < $1 ORDER BY ended_ms LIMIT $2)",
        )
        .bind(ms(forget_before))
        .bind(i64::from(SWEEP_BATCH_MAX))
        .execute(&mut tx)
        .await?;
        query("DELETE FROM once WHERE begun_ms <= $1")
            .bind(ms(ago(now, ONCE_KEPT)))
            .execute(&mut tx)
            .await?;
        // A grant holds arguments of a call, as an input does.
        query("DELETE FROM grants WHERE until_ms < $1")
            .bind(ms(now).saturating_sub(before))
            .execute(&mut tx)
            .await?;
        let unnamed = super::erase::unname(&mut tx).await?;
        tx.commit().await?;
        if unnamed {
            self.truncate_log().await?;
        }
        swept.lost = self.stand_in(now).await?;
        Ok(swept)
    }
}
