//! Revocations and their epoch.

use crate::clock::Timestamp;

use super::super::rows::{Reach, Revocation, Revoked};
use super::super::{Error, REVOCATION_TEXT_BYTES_MAX, REVOCATIONS_MAX};
use super::SqlStore;
use super::engine::{Tx, ms, time};
use super::query::query;

impl SqlStore {
    pub(super) async fn do_revoke(&self, revocation: &Revocation) -> Result<i64, Error> {
        let (kind, issuer, value) = revocation.what.parts();
        for (what, text) in [
            ("the value of a revocation", value),
            ("the issuer of a revocation", issuer.unwrap_or("")),
            ("the reason of a revocation", &revocation.reason),
            ("the author of a revocation", &revocation.by),
        ] {
            if text.len() > REVOCATION_TEXT_BYTES_MAX {
                return Err(Error::TooLong(what, REVOCATION_TEXT_BYTES_MAX));
            }
        }
        let mut tx = self.writer.writing().await?;
        let standing: i64 = query(
            "SELECT COUNT(*) AS standing FROM revocations \
             WHERE lifted_ms IS NULL AND (until_ms IS NULL OR until_ms > $1)",
        )
        .bind(ms(revocation.at))
        .fetch_one(&mut tx)
        .await?
        .try_get("standing")?;
        if standing >= REVOCATIONS_MAX {
            return Err(Error::Full("the list of revocations"));
        }
        let epoch = next_epoch(&mut tx).await?;
        query(
            "INSERT INTO revocations (id, kind, issuer, value, reason, by_whom, at_ms, until_ms, epoch, \
             reach) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(&revocation.id)
        .bind(kind)
        .bind(issuer)
        .bind(value)
        .bind(&revocation.reason)
        .bind(&revocation.by)
        .bind(ms(revocation.at))
        .bind(revocation.until.map(ms))
        .bind(epoch)
        .bind(match revocation.reach {
            Reach::Revoke => "revoke",
            Reach::Lock => "lock",
        })
        .execute(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(epoch)
    }

    pub(super) async fn do_lift(&self, id: String, now: Timestamp) -> Result<Option<i64>, Error> {
        let mut tx = self.writer.writing().await?;
        let lifted =
            query("UPDATE revocations SET lifted_ms = $2 WHERE id = $1 AND lifted_ms IS NULL")
                .bind(id)
                .bind(ms(now))
                .execute(&mut tx)
                .await?;
        if lifted == 0 {
            return Ok(None);
        }
        let epoch = next_epoch(&mut tx).await?;
        tx.commit().await?;
        Ok(Some(epoch))
    }

    pub(super) async fn do_epoch(&self) -> Result<i64, Error> {
        query("SELECT value FROM meta WHERE name = 'revocation_epoch'")
            .fetch_one(&self.readers)
            .await?
            .try_get("value")
    }

    pub(super) async fn do_revocations(
        &self,
        now: Timestamp,
    ) -> Result<(i64, Vec<Revocation>), Error> {
        let mut tx = self.readers.reading().await?;
        let epoch = query("SELECT value FROM meta WHERE name = 'revocation_epoch'")
            .fetch_one(&mut tx)
            .await?
            .try_get("value")?;
        let rows = query(
            "SELECT id, kind, issuer, value, reach, reason, by_whom, at_ms, until_ms FROM revocations \
             WHERE lifted_ms IS NULL AND (until_ms IS NULL OR until_ms > $1) ORDER BY at_ms, id",
        )
        .bind(ms(now))
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let mut standing = Vec::with_capacity(rows.len());
        for row in &rows {
            standing.push(Revocation {
                id: row.try_get("id")?,
                what: Revoked::from_parts(
                    row.try_get("kind")?,
                    row.try_get("issuer")?,
                    row.try_get("value")?,
                )
                .ok_or(Error::Corrupt("revocations.kind"))?,
                reach: match row.try_get("reach")? {
                    "revoke" => Reach::Revoke,
                    "lock" => Reach::Lock,
                    _ => return Err(Error::Corrupt("revocations.reach")),
                },
                reason: row.try_get("reason")?,
                by: row.try_get("by_whom")?,
                at: time(row.try_get("at_ms")?),
                until: row.try_get::<Option<i64>>("until_ms")?.map(time),
            });
        }
        Ok((epoch, standing))
    }
}

async fn next_epoch(tx: &mut Tx) -> Result<i64, Error> {
    query("UPDATE meta SET value = value + 1 WHERE name = 'revocation_epoch' RETURNING value")
        .fetch_one(&mut *tx)
        .await?
        .try_get("value")
}
