//! Edges of the state machine as conditional updates, and what goes with them.

use sqlx::AssertSqlSafe;

use crate::clock::Timestamp;

use super::super::machine::When;
use super::super::rows::{Moved, NewApproval, Revoked, Step, Taking};
use super::super::{Edge, Error, State};
use super::SqlStore;
use super::ask::insert;
use super::engine::{Tx, ms, time};
use super::query::query;
use super::read::state_of;

/// One conditional update.
pub(super) struct Update<'a> {
    pub(super) id: &'a str,
    pub(super) edge: Edge,
    /// The lease that is held; none never matches.
    pub(super) lease: Option<&'a str>,
    /// The new deadline, if the edge sets one.
    pub(super) expires: Option<Timestamp>,
    pub(super) successor: Option<&'a str>,
    pub(super) cause: &'static str,
    pub(super) now: Timestamp,
}

impl Update<'_> {
    /// The statement: `id`, `now`, `lease`, `expires`, `successor`, `cause` are `$1` to `$6`, of which
    /// an edge that does not start at `executing` leaves out `$3`. The text is put together from
    /// constants only.
    fn sql(edge: Edge) -> String {
        let to = edge.to();
        let from = edge
            .from()
            .iter()
            .map(|state| match state {
                // Only the holder of the lease leads a call out of here.
                State::Executing => "(state = 'executing' AND lease = $3)".to_owned(),
                State::Pending
                | State::Approved
                | State::Done
                | State::Failed
                | State::Indeterminate
                | State::Denied
                | State::Expired
                | State::Cancelled
                | State::Superseded => format!("state = '{state}'"),
            })
            .collect::<Vec<_>>()
            .join(" OR ");
        let when = match edge.when() {
            When::Before => " AND expires_ms > $2",
            When::After => " AND expires_ms <= $2",
            When::Any => "",
        };
        // What ended needs its bytes no more: the record has them under the subject's own key.
        let end = if to.is_final() {
            ", ended_ms = $2, frozen = NULL, summary = NULL, bytes = 0"
        } else {
            ""
        };
        format!(
            "UPDATE approvals SET state = '{to}', version = version + 1, changed_ms = $2, lease = NULL, \
             expires_ms = COALESCE($4, expires_ms), successor = COALESCE($5, successor), cause = $6{end} \
             WHERE id = $1 AND ({from}){when} RETURNING fence, function"
        )
    }

    pub(super) async fn run(&self, tx: &mut Tx) -> Result<Moved, Error> {
        let row = query(AssertSqlSafe(Self::sql(self.edge)))
            .bind(self.id)
            .bind(ms(self.now))
            .bind(self.lease)
            .bind(self.expires.map(ms))
            .bind(self.successor)
            .bind(self.cause)
            .fetch_optional(&mut *tx)
            .await?;
        let Some(row) = row else {
            return refused(tx, self.id, self.now).await;
        };
        let function: String = row.try_get("function")?;
        changed(tx, self.id, &function, self.edge.to(), self.cause, self.now).await?;
        Ok(Moved::Yes {
            fence: row.try_get("fence")?,
        })
    }
}

/// Why an update found no row.
async fn refused(tx: &mut Tx, id: &str, now: Timestamp) -> Result<Moved, Error> {
    let row = query("SELECT state, expires_ms FROM approvals WHERE id = $1")
        .bind(id)
        .fetch_optional(&mut *tx)
        .await?;
    Ok(match row {
        Some(row) => {
            let expires = time(row.try_get("expires_ms")?);
            Moved::No(state_of(row.try_get("state")?)?.at(expires, now))
        }
        None => Moved::Unknown,
    })
}

/// Note a change for the audit log and the notifications, in the same transaction.
pub(super) async fn changed(
    tx: &mut Tx,
    id: &str,
    function: &str,
    state: State,
    cause: &str,
    now: Timestamp,
) -> Result<(), Error> {
    query(
        "INSERT INTO changes (approval, function, state, cause, at_ms) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(id)
    .bind(function)
    .bind(state.as_str())
    .bind(cause)
    .bind(ms(now))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

impl SqlStore {
    pub(super) async fn do_take(&self, taking: &Taking, now: Timestamp) -> Result<Moved, Error> {
        let mut tx = self.writer.writing().await?;
        let now = tx.hold(&taking.id, now).await?;
        let fenced = tx.fenced();
        let row = query(AssertSqlSafe(format!(
            "UPDATE approvals SET state = 'executing', version = version + 1, fence = fence + 1, \
             instance = $3, lease = $4, changed_ms = $5, cause = 'taken' \
             WHERE id = $1 AND version = $2 AND state = 'approved' AND expires_ms > $5{fenced} \
             RETURNING fence, function"
        )))
        .bind(&taking.id)
        .bind(taking.version)
        .bind(&taking.instance)
        .bind(&taking.lease)
        .bind(ms(now))
        .fetch_optional(&mut tx)
        .await?;
        let moved = match row {
            Some(row) => {
                let function: String = row.try_get("function")?;
                changed(
                    &mut tx,
                    &taking.id,
                    &function,
                    State::Executing,
                    "taken",
                    now,
                )
                .await?;
                Moved::Yes {
                    fence: row.try_get("fence")?,
                }
            }
            None => match refused(&mut tx, &taking.id, now).await? {
                Moved::No(State::Approved) => Moved::Stale,
                other @ (Moved::Yes { .. } | Moved::No(_) | Moved::Stale | Moved::Unknown) => other,
            },
        };
        tx.commit().await?;
        Ok(moved)
    }

    pub(super) async fn do_step(&self, step: &Step, now: Timestamp) -> Result<Moved, Error> {
        let mut tx = self.writer.writing().await?;
        let now = tx.hold(&step.id, now).await?;
        let update = Update {
            id: &step.id,
            edge: step.edge,
            lease: step.lease.as_deref(),
            expires: None,
            successor: None,
            cause: step.cause,
            now,
        };
        let moved = update.run(&mut tx).await?;
        if let (Moved::Yes { .. }, Some(result)) = (moved, &step.result) {
            query("INSERT INTO results (approval, sealed, expires_ms) VALUES ($1, $2, $3)")
                .bind(&step.id)
                .bind(&result.sealed)
                .bind(ms(result.expires))
                .execute(&mut tx)
                .await?;
        }
        tx.commit().await?;
        Ok(moved)
    }

    pub(super) async fn do_supersede(
        &self,
        id: &str,
        lease: Option<&str>,
        new: Option<&NewApproval>,
        now: Timestamp,
    ) -> Result<Moved, Error> {
        let mut tx = self.writer.writing().await?;
        let now = tx.hold(id, now).await?;
        let update = Update {
            id,
            edge: Edge::Supersede,
            lease,
            expires: None,
            successor: new.map(|new| new.id.as_str()),
            cause: if new.is_some() {
                "policy-asks-anew"
            } else {
                "policy-refuses"
            },
            now,
        };
        let moved = update.run(&mut tx).await?;
        if let (Moved::Yes { .. }, Some(new)) = (moved, new) {
            insert(&mut tx, new, now).await?;
        }
        tx.commit().await?;
        Ok(moved)
    }

    pub(super) async fn do_cancel_revoked(
        &self,
        what: &Revoked,
        now: Timestamp,
    ) -> Result<Vec<String>, Error> {
        let (column, other) = match what {
            Revoked::Principal { .. } => ("subject = $1", "issuer = $2"),
            Revoked::Issuer(_) => ("issuer = $1", "$2 IS NULL"),
            Revoked::Connection(_) => ("connection = $1", "$2 IS NULL"),
            Revoked::Approval(_) => ("id = $1", "$2 IS NULL"),
            // A held call runs only for a caller with a live token, which is verified anew.
            Revoked::Token { .. } | Revoked::TokenHash(_) => return Ok(Vec::new()),
        };
        let (_, issuer, value) = what.parts();
        let mut tx = self.writer.writing().await?;
        let rows = query(AssertSqlSafe(format!(
            "SELECT id FROM approvals WHERE state IN ('pending', 'approved') AND {column} AND {other} \
             ORDER BY id{}",
            tx.locking()
        )))
        .bind(value)
        .bind(issuer)
        .fetch_all(&mut tx)
        .await?;
        // In the order of ids, as everywhere: two that hold many rows wait for each other, never in a ring.
        let now = tx.now(now).await?;
        let mut cancelled = Vec::with_capacity(rows.len());
        for row in rows {
            let id: String = row.try_get("id")?;
            let update = Update {
                id: &id,
                edge: Edge::Cancel,
                lease: None,
                expires: None,
                successor: None,
                cause: "revoked",
                now,
            };
            if let Moved::Yes { .. } = update.run(&mut tx).await? {
                cancelled.push(id);
            }
        }
        tx.commit().await?;
        Ok(cancelled)
    }

    pub(super) async fn do_recover(
        &self,
        instance: &str,
        now: Timestamp,
    ) -> Result<Vec<String>, Error> {
        let mut tx = self.writer.writing().await?;
        let lost = lose(&mut tx, instance, "instance-restarted", now).await?;
        tx.commit().await?;
        Ok(lost)
    }
}

/// Everything that an instance was executing is indeterminate; answers the ids.
pub(super) async fn lose(
    tx: &mut Tx,
    instance: &str,
    cause: &'static str,
    now: Timestamp,
) -> Result<Vec<String>, Error> {
    let rows = query(AssertSqlSafe(format!(
        "SELECT id, lease FROM approvals WHERE state = 'executing' AND instance = $1 ORDER BY id{}",
        tx.locking()
    )))
    .bind(instance)
    .fetch_all(&mut *tx)
    .await?;
    let now = tx.now(now).await?;
    let mut lost = Vec::with_capacity(rows.len());
    for row in rows {
        let id: String = row.try_get("id")?;
        let lease: Option<String> = row.try_get("lease")?;
        let update = Update {
            id: &id,
            edge: Edge::Lose,
            lease: lease.as_deref(),
            expires: None,
            successor: None,
            cause,
            now,
        };
        if let Moved::Yes { .. } = update.run(tx).await? {
            lost.push(id);
        }
    }
    Ok(lost)
}
