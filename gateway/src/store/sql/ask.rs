//! A new question: joined, refused or written, in one transaction.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use crate::clock::Timestamp;

use super::super::rows::{ApprovalRow, AskLimits, Asked, NewApproval};
use super::super::rules::{Counts, IDEMPOTENCY_KEPT, WINDOW, ago, cools_until};
use super::super::{Edge, Error, State};
use super::SqlStore;
use super::edges::{Update, changed};
use super::engine::{Tx, ms, time};
use super::query::query;
use super::read::{approval_of, select};

/// Whether grants alone opened it, so that nobody was asked: the deadline then is not the one to decide by.
const BY_GRANTS_ALONE: &str = "(expires_ms <> decide_by_ms AND EXISTS (SELECT 1 FROM votes \
     WHERE approval = approvals.id AND voided_ms IS NULL AND grant_id IS NOT NULL) \
     AND NOT EXISTS (SELECT 1 FROM votes \
     WHERE approval = approvals.id AND voided_ms IS NULL AND grant_id IS NULL))";

impl SqlStore {
    pub(super) async fn do_ask(
        &self,
        new: &NewApproval,
        limits: &AskLimits,
        now: Timestamp,
    ) -> Result<Asked, Error> {
        let mut tx = self.writer.writing().await?;
        tx.hold_asker(&new.issuer, &new.subject).await?;
        let asked = ask(&mut tx, new, limits, now).await?;
        tx.commit().await?;
        Ok(asked)
    }
}

pub(super) async fn ask(
    tx: &mut Tx,
    new: &NewApproval,
    limits: &AskLimits,
    now: Timestamp,
) -> Result<Asked, Error> {
    let open = open(tx, new).await?;
    let now = tx.now(now).await?;
    if let Some(open) = open {
        if let Some(edge) = leaves_room(&open, new, now) {
            make_room(tx, &open, new, edge, now).await?;
        } else {
            return Ok(Asked::Joined(Box::new(open)));
        }
    }
    if let Some(done) = with_result(tx, new, now).await? {
        return Ok(Asked::Joined(Box::new(done)));
    }
    if let Some(id) = indeterminate(tx, new, limits.indeterminate_kept, now).await? {
        return Ok(Asked::Indeterminate(id));
    }
    if let Some(id) = conflict(tx, new, now).await? {
        return Ok(Asked::Conflict(id));
    }
    if let Some(refusal) = cooling(tx, new, limits.cooldown, now).await? {
        return Ok(refusal);
    }
    if let Some(full) = counts(tx, new, limits, now).await?.full(limits) {
        return Ok(Asked::Full(full));
    }
    insert(tx, new, now).await?;
    Ok(Asked::New)
}

/// The edge that an open approval of the same call takes when it cannot be joined.
fn leaves_room(open: &ApprovalRow, new: &NewApproval, now: Timestamp) -> Option<Edge> {
    if open.state.at(open.expires, now) == State::Expired {
        Some(Edge::Expire)
    } else if open.state != State::Executing && open.rules != new.rules {
        Some(Edge::Supersede)
    } else {
        None
    }
}

async fn make_room(
    tx: &mut Tx,
    open: &ApprovalRow,
    new: &NewApproval,
    edge: Edge,
    now: Timestamp,
) -> Result<(), Error> {
    let superseded = edge == Edge::Supersede;
    let update = Update {
        id: &open.id,
        edge,
        lease: None,
        expires: None,
        // Refused further down, the successor is missing; a reader then asks in vain and no more.
        successor: superseded.then_some(new.id.as_str()),
        cause: if superseded {
            "policy-asks-anew"
        } else {
            "timeout"
        },
        now,
    };
    update.run(tx).await?;
    Ok(())
}

async fn open(tx: &mut Tx, new: &NewApproval) -> Result<Option<ApprovalRow>, Error> {
    let rest = format!(
        "WHERE caller = $1 AND same = $2 AND state IN ('pending', 'approved', 'executing'){}",
        tx.locking()
    );
    let row = query(select(false, &rest))
        .bind(&new.caller)
        .bind(&new.same)
        .fetch_optional(&mut *tx)
        .await?;
    row.as_ref().map(approval_of).transpose()
}

async fn with_result(
    tx: &mut Tx,
    new: &NewApproval,
    now: Timestamp,
) -> Result<Option<ApprovalRow>, Error> {
    let row = query(select(
        false,
        "WHERE caller = $1 AND same = $2 AND state IN ('done', 'failed') \
         AND id IN (SELECT approval FROM results WHERE expires_ms > $3) \
         ORDER BY created_ms DESC, id DESC LIMIT 1",
    ))
    .bind(&new.caller)
    .bind(&new.same)
    .bind(ms(now))
    .fetch_optional(&mut *tx)
    .await?;
    row.as_ref().map(approval_of).transpose()
}

async fn indeterminate(
    tx: &mut Tx,
    new: &NewApproval,
    kept: Duration,
    now: Timestamp,
) -> Result<Option<String>, Error> {
    let row = query(
        "SELECT id FROM approvals WHERE caller = $1 AND same = $2 AND state = 'indeterminate' \
         AND ended_ms > $3 ORDER BY ended_ms DESC, id DESC LIMIT 1",
    )
    .bind(&new.caller)
    .bind(&new.same)
    .bind(ms(ago(now, kept)))
    .fetch_optional(&mut *tx)
    .await?;
    row.map(|row| row.try_get("id")).transpose()
}

async fn conflict(tx: &mut Tx, new: &NewApproval, now: Timestamp) -> Result<Option<String>, Error> {
    let Some(key) = &new.idempotency else {
        return Ok(None);
    };
    let row = query(
        "SELECT id FROM approvals WHERE issuer = $1 AND subject = $2 AND function = $3 \
         AND idempotency = $4 AND same <> $5 AND created_ms > $6 ORDER BY created_ms DESC, id DESC LIMIT 1",
    )
    .bind(&new.issuer)
    .bind(&new.subject)
    .bind(&new.function)
    .bind(key)
    .bind(&new.same)
    .bind(ms(ago(now, IDEMPOTENCY_KEPT)))
    .fetch_optional(&mut *tx)
    .await?;
    row.map(|row| row.try_get("id")).transpose()
}

async fn cooling(
    tx: &mut Tx,
    new: &NewApproval,
    cooldown: Duration,
    now: Timestamp,
) -> Result<Option<Asked>, Error> {
    let denied = query(
        "SELECT id, same, ended_ms FROM approvals WHERE issuer = $1 AND subject = $2 \
         AND function = $3 AND state = 'denied' AND ended_ms > $4 ORDER BY ended_ms DESC, id DESC LIMIT 64",
    )
    .bind(&new.issuer)
    .bind(&new.subject)
    .bind(&new.function)
    .bind(ms(ago(now, WINDOW)))
    .fetch_all(&mut *tx)
    .await?;
    let Some(last) = denied.first() else {
        return Ok(None);
    };
    let count = i64::try_from(denied.len()).unwrap_or(i64::MAX);
    let last = time(last.try_get::<i64>("ended_ms")?);
    let until = match cools_until(count, last, cooldown) {
        Some(until) if now.millis() < until.millis() => until,
        Some(_) | None => return Ok(None),
    };
    for row in &denied {
        if row.try_get::<Vec<u8>>("same")? == new.same {
            return Ok(Some(Asked::Denied {
                id: row.try_get("id")?,
                until,
            }));
        }
    }
    Ok(Some(Asked::CoolingDown(until)))
}

async fn counts(
    tx: &mut Tx,
    new: &NewApproval,
    limits: &AskLimits,
    now: Timestamp,
) -> Result<Counts, Error> {
    // Read from an index alone (`approvals_counted`): there may be thousands.
    let open = query(
        "SELECT COUNT(*) AS open, CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes, \
         COUNT(CASE WHEN issuer = $1 AND subject = $2 THEN 1 END) AS mine FROM approvals \
         WHERE state IN ('pending', 'approved', 'executing') \
         AND expires_ms > CASE state WHEN 'executing' THEN -1 ELSE $3 END",
    )
    .bind(&new.issuer)
    .bind(&new.subject)
    .bind(ms(now))
    .fetch_one(&mut *tx)
    .await?;
    let mut open_of_principal = open.try_get::<i64>("mine")?;
    if open_of_principal >= limits.open_per_principal_max {
        open_of_principal -= opened_by_grants(tx, new, now).await?;
    }
    let asked = query(AssertSqlSafe(format!(
        "SELECT COUNT(*) AS asked FROM approvals WHERE issuer = $1 AND subject = $2 AND created_ms > $3 \
         AND NOT {BY_GRANTS_ALONE}"
    )))
    .bind(&new.issuer)
    .bind(&new.subject)
    .bind(ms(ago(now, WINDOW)))
    .fetch_one(&mut *tx)
    .await?;
    let changes = query("SELECT COUNT(*) AS changes FROM changes")
        .fetch_one(&mut *tx)
        .await?;
    Ok(Counts {
        open_of_principal,
        open: open.try_get("open")?,
        bytes: open.try_get::<i64>("bytes")?.saturating_add(bytes_of(new)),
        asked: asked.try_get("asked")?,
        changes: changes.try_get("changes")?,
    })
}

/// How many open ones of the principal grants alone have opened.
async fn opened_by_grants(tx: &mut Tx, new: &NewApproval, now: Timestamp) -> Result<i64, Error> {
    query(AssertSqlSafe(format!(
        "SELECT COUNT(*) AS opened FROM approvals WHERE issuer = $1 AND subject = $2 \
         AND (state = 'executing' OR (state = 'approved' AND expires_ms > $3)) AND {BY_GRANTS_ALONE}"
    )))
    .bind(&new.issuer)
    .bind(&new.subject)
    .bind(ms(now))
    .fetch_one(&mut *tx)
    .await?
    .try_get("opened")
}

fn bytes_of(new: &NewApproval) -> i64 {
    i64::try_from(new.frozen.len() + new.summary.len()).unwrap_or(i64::MAX)
}

pub(super) async fn insert(tx: &mut Tx, new: &NewApproval, now: Timestamp) -> Result<(), Error> {
    query(
        "INSERT INTO approvals (id, state, version, issuer, subject, caller, requester, apart, \
         connection, function, effect, same, idempotency, call, terms, rules, binding, frozen, \
         summary, bytes, created_ms, decide_by_ms, expires_ms, changed_ms, fence, cause, input) \
         VALUES ($1, 'pending', 0, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
         $16, $17, $18, $19, $20, $20, $19, 0, 'asked', $21)",
    )
    .bind(&new.id)
    .bind(&new.issuer)
    .bind(&new.subject)
    .bind(&new.caller)
    .bind(&new.requester)
    .bind(&new.apart)
    .bind(&new.connection)
    .bind(&new.function)
    .bind(&new.effect)
    .bind(&new.same)
    .bind(&new.idempotency)
    .bind(&new.call)
    .bind(&new.terms)
    .bind(&new.rules)
    .bind(&new.binding)
    .bind(&new.frozen)
    .bind(&new.summary)
    .bind(bytes_of(new))
    .bind(ms(now))
    .bind(ms(new.decide_by))
    .bind(&new.input)
    .execute(&mut *tx)
    .await?;
    changed(tx, &new.id, &new.function, State::Pending, "asked", now).await
}
