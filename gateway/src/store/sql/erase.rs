//! Somebody is erased. What of them nobody waits for goes at once; what a held call still needs is marked, and
//! goes with the sweep that finds it ended. A mark does not say whose it is.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::super::{Error, SWEEP_BATCH_MAX};
use super::SqlStore;
use super::engine::{Pool, Tx};
use super::query::query;

/// No bytes; the engines write that differently.
const NOTHING: &[u8] = &[];
/// What stands where a name stood.
const ERASED: &str = "[erased]";
/// Nobody is kept apart any more.
const APART: &str = r#"{"principals":[],"people":[]}"#;
/// How often readers that are at work are waited for, each time as long as for any lock.
const TRUNCATE_MAX: u32 = 3;

/// A condition on approvals: they came to an end, which is on record, and everybody was told.
const OVER: &str = "ended_ms IS NOT NULL AND NOT EXISTS (SELECT 1 FROM changes WHERE changes.approval = approvals.id) \
     AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.approval = approvals.id AND outbox.dead_ms IS NULL)";

impl SqlStore {
    /// Somebody is about to be erased: mark the questions and votes that name them, so that their names go,
    /// whatever happens to who asked for it.
    ///
    /// # Errors
    /// [`Error::Database`]; nothing is marked then.
    pub async fn mark_subject(&self, issuer: &str, subject: &str) -> Result<(), Error> {
        // As it stands in the list of those who are kept apart: the caller, and whoever it acts for.
        let listed = json!({ "issuer": issuer, "subject": subject }).to_string();
        let mut tx = self.writer.writing().await?;
        query(
            "UPDATE approvals SET erased = CASE WHEN issuer = $1 AND subject = $2 THEN 2 ELSE 1 END \
             WHERE (issuer = $1 AND subject = $2) OR (erased = 0 AND replace(apart, $3, '') <> apart)",
        )
        .bind(issuer)
        .bind(subject)
        .bind(&listed)
        .execute(&mut tx)
        .await?;
        query("UPDATE votes SET erased = 1 WHERE issuer = $1 AND subject = $2")
            .bind(issuer)
            .bind(subject)
            .execute(&mut tx)
            .await?;
        tx.commit().await
    }

    /// Somebody is erased: no typed input, no kept answer and no grant by or for them stays here, neither of
    /// a call nor of a request that is done once, whose key then stands for nothing. Of what ended, names that
    /// [`SqlStore::mark_subject`] marked go too, also out of the database's files.
    ///
    /// # Errors
    /// [`Error::Database`]; [`Error::LogBusy`].
    pub async fn erase_subject(&self, issuer: &str, subject: &str) -> Result<(), Error> {
        let mut tx = self.writer.writing().await?;
        query("UPDATE approvals SET input = $3 WHERE issuer = $1 AND subject = $2 AND input <> $3")
            .bind(issuer)
            .bind(subject)
            .bind(NOTHING)
            .execute(&mut tx)
            .await?;
        query(
            "DELETE FROM results WHERE approval IN \
             (SELECT id FROM approvals WHERE issuer = $1 AND subject = $2)",
        )
        .bind(issuer)
        .bind(subject)
        .execute(&mut tx)
        .await?;
        query("DELETE FROM once WHERE issuer = $1 AND subject = $2")
            .bind(issuer)
            .bind(subject)
            .execute(&mut tx)
            .await?;
        query(
            "DELETE FROM grants WHERE (asker_issuer = $1 AND asker_subject = $2) \
             OR (issuer = $1 AND subject = $2)",
        )
        .bind(issuer)
        .bind(subject)
        .execute(&mut tx)
        .await?;
        while unname(&mut tx).await? {}
        tx.commit().await?;
        self.truncate_log().await
    }

    /// What was overwritten stands in the write-ahead log as it was, until that is cut off.
    pub(super) async fn truncate_log(&self) -> Result<(), Error> {
        let Pool::Sqlite(_) = &self.writer else {
            return Ok(());
        };
        for _ in 0..TRUNCATE_MAX {
            let row = query("PRAGMA wal_checkpoint(TRUNCATE)");
            let row = row.fetch_one(&self.writer).await?;
            if row.try_get::<i64>("busy")? == 0 {
                return Ok(());
            }
        }
        Err(Error::LogBusy)
    }
}

/// Take names out of what is marked and over, some at a time; whether there were any.
pub(super) async fn unname(tx: &mut Tx) -> Result<bool, Error> {
    let votes = query(AssertSqlSafe(format!(
        "DELETE FROM votes WHERE erased > 0 AND approval IN (SELECT id FROM approvals WHERE {OVER})"
    )))
    .execute(&mut *tx)
    .await?;
    let rows = query(AssertSqlSafe(format!(
        "SELECT id, requester FROM approvals WHERE erased > 0 AND {OVER} LIMIT $1{}",
        tx.locking_free()
    )))
    .bind(i64::from(SWEEP_BATCH_MAX))
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        let (id, requester): (String, String) = (row.try_get("id")?, row.try_get("requester")?);
        // What is not in form is not made to look as if it were.
        let mut requester: Value = serde_json::from_str(&requester).unwrap_or_default();
        if let Some(actors) = requester.get_mut("actors") {
            *actors = json!([]);
        }
        query(
            "UPDATE approvals SET subject = CASE WHEN erased = 2 THEN $2 ELSE subject END, \
             requester = $3, apart = $4, input = $5, erased = 0 WHERE id = $1",
        )
        .bind(id)
        .bind(ERASED)
        .bind(requester.to_string())
        .bind(APART)
        .bind(NOTHING)
        .execute(&mut *tx)
        .await?;
    }
    Ok(votes > 0 || !rows.is_empty())
}
