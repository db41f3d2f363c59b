//! Requests that are done once. A key is taken in a transaction before its request is done, by a process
//! that goes by a random `boot`; whoever finds it taken by a process that is no more cannot tell whether
//! the request was done, and does not do it again.

use crate::clock::Timestamp;

use super::super::once::{NewOnce, ONCE_KEPT, ONCE_MAX, ONCE_PERSON_MAX, Once, OnceEnd};
use super::super::rules::ago;
use super::super::{Error, LEASE};
use super::SqlStore;
use super::engine::{Tx, ms};
use super::query::{Row, query};

impl SqlStore {
    pub(super) async fn do_begin_once(&self, new: &NewOnce, now: Timestamp) -> Result<Once, Error> {
        let mut tx = self.writer.writing().await?;
        tx.hold_asker(&new.issuer, &new.subject).await?;
        let now = tx.now(now).await?;
        let once = self.begun(&mut tx, new, now).await?;
        tx.commit().await?;
        Ok(once)
    }

    async fn begun(&self, tx: &mut Tx, new: &NewOnce, now: Timestamp) -> Result<Once, Error> {
        query("DELETE FROM once WHERE place = $1 AND begun_ms <= $2")
            .bind(&new.place)
            .bind(ms(ago(now, ONCE_KEPT)))
            .execute(&mut *tx)
            .await?;
        let found = query("SELECT request, boot, answer FROM once WHERE place = $1")
            .bind(&new.place)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(found) = found {
            return self.meaning(tx, new, &found).await;
        }
        if !(room(tx, Some(new), ONCE_PERSON_MAX).await? && room(tx, None, ONCE_MAX).await?) {
            return Ok(Once::Full);
        }
        query(
            "INSERT INTO once (place, issuer, subject, request, boot, begun_ms) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&new.place)
        .bind(&new.issuer)
        .bind(&new.subject)
        .bind(&new.request)
        .bind(&self.boot)
        .bind(ms(now))
        .execute(&mut *tx)
        .await?;
        Ok(Once::New)
    }

    /// What a key that is there means for this request.
    async fn meaning(&self, tx: &mut Tx, new: &NewOnce, found: &Row) -> Result<Once, Error> {
        if found.try_get::<Vec<u8>>("request")? != new.request {
            return Ok(Once::Other);
        }
        if let Some(answer) = found.try_get::<Option<Vec<u8>>>("answer")? {
            return Ok(Once::Done(answer));
        }
        let boot: Option<String> = found.try_get("boot")?;
        let there = match boot {
            Some(boot) => boot == self.boot || at_work(tx, &boot).await?,
            None => false,
        };
        Ok(if there { Once::UnderWay } else { Once::Unknown })
    }

    pub(super) async fn do_end_once(&self, place: &[u8], end: &OnceEnd) -> Result<(), Error> {
        let ended = match end {
            OnceEnd::Done(_) => "UPDATE once SET answer = $3 WHERE place = $1 AND boot = $2",
            OnceEnd::Refused => "DELETE FROM once WHERE place = $1 AND boot = $2",
            OnceEnd::Unknown => "UPDATE once SET boot = NULL WHERE place = $1 AND boot = $2",
        };
        let mut ended = query(ended).bind(place.to_vec()).bind(&self.boot);
        if let OnceEnd::Done(answer) = end {
            ended = ended.bind(answer);
        }
        ended.execute(&self.writer).await?;
        Ok(())
    }
}

/// Whether the instance of this boot has said lately that it is there.
async fn at_work(tx: &mut Tx, boot: &str) -> Result<bool, Error> {
    let Tx::Postgres(..) = tx else {
        // One process at a time has the embedded engine, and this is another one.
        return Ok(false);
    };
    let seen = query(
        "SELECT 1 FROM instances WHERE boot = $1 \
         AND seen_ms >= FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) - $2",
    )
    .bind(boot)
    .bind(i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX))
    .fetch_optional(&mut *tx)
    .await?;
    Ok(seen.is_some())
}

/// Let at most `most - 1` keys be left, of this one's person or of all; whether that is so.
async fn room(tx: &mut Tx, of: Option<&NewOnce>, most: i64) -> Result<bool, Error> {
    let (issuer, subject) = match of {
        Some(new) => (Some(new.issuer.as_str()), Some(new.subject.as_str())),
        None => (None, None),
    };
    let counted = match of {
        Some(_) => query("SELECT COUNT(*) AS held FROM once WHERE issuer = $1 AND subject = $2")
            .bind(issuer)
            .bind(subject),
        None => query("SELECT COUNT(*) AS held FROM once"),
    };
    let held: i64 = counted.fetch_one(&mut *tx).await?.try_get("held")?;
    let over = held.saturating_sub(most - 1);
    if over <= 0 {
        return Ok(true);
    }
    let removed = match of {
        Some(_) => query(
            "DELETE FROM once WHERE place IN (SELECT place FROM once WHERE issuer = $2 AND subject = $3 \
             AND answer IS NOT NULL ORDER BY begun_ms, place LIMIT $1)",
        )
        .bind(over)
        .bind(issuer)
        .bind(subject),
        None => query(
            "DELETE FROM once WHERE place IN (SELECT place FROM once WHERE answer IS NOT NULL \
             ORDER BY begun_ms, place LIMIT $1)",
        )
        .bind(over),
    };
    Ok(i64::try_from(removed.execute(&mut *tx).await?).unwrap_or(i64::MAX) >= over)
}
