//! Reading: rows to values, single approvals, lists, changes.

use sqlx::AssertSqlSafe;

use crate::clock::Timestamp;

use super::super::rows::{ApprovalRow, Change, Decided, Earlier, Filter, VoteRow};
use super::super::{CHANGES_BATCH_MAX, Error, FIGURES_MAX, LIST_MAX, State};
use super::SqlStore;
use super::engine::{Tx, ms, time};
use super::query::{Row, query};

/// Every column of an approval but the sealed call.
const HEAD: &str = "id, state, version, issuer, subject, caller, requester, apart, connection, \
     function, effect, same, idempotency, call, terms, rules, binding, summary, created_ms, \
     decide_by_ms, expires_ms, ended_ms, instance, lease, fence, successor, cause";

/// `SELECT` of approvals with a condition. The text is put together from constants only.
pub(super) fn select(frozen: bool, rest: &str) -> AssertSqlSafe<String> {
    let frozen = if frozen { "frozen" } else { "NULL AS frozen" };
    AssertSqlSafe(format!("SELECT {HEAD}, {frozen} FROM approvals {rest}"))
}

/// Whether a row that reads as in this state is written as in one that waits.
fn waits(state: &State) -> bool {
    matches!(state, State::Pending | State::Approved | State::Executing)
}

pub(super) fn state_of(text: &str) -> Result<State, Error> {
    text.parse().map_err(|_| Error::Corrupt("approvals.state"))
}

pub(super) fn approval_of(row: &Row) -> Result<ApprovalRow, Error> {
    Ok(ApprovalRow {
        id: row.try_get("id")?,
        state: state_of(row.try_get("state")?)?,
        version: row.try_get("version")?,
        issuer: row.try_get("issuer")?,
        subject: row.try_get("subject")?,
        caller: row.try_get("caller")?,
        requester: row.try_get("requester")?,
        apart: row.try_get("apart")?,
        connection: row.try_get("connection")?,
        function: row.try_get("function")?,
        effect: row.try_get("effect")?,
        same: row.try_get("same")?,
        idempotency: row.try_get("idempotency")?,
        call: row.try_get("call")?,
        terms: row.try_get("terms")?,
        rules: row.try_get("rules")?,
        binding: row.try_get("binding")?,
        frozen: row.try_get("frozen")?,
        summary: row.try_get("summary")?,
        created: time(row.try_get("created_ms")?),
        decide_by: time(row.try_get("decide_by_ms")?),
        expires: time(row.try_get("expires_ms")?),
        ended: row.try_get::<Option<i64>>("ended_ms")?.map(time),
        instance: row.try_get("instance")?,
        lease: row.try_get("lease")?,
        fence: row.try_get("fence")?,
        successor: row.try_get("successor")?,
        cause: row.try_get("cause")?,
    })
}

pub(super) fn vote_of(row: &Row) -> Result<VoteRow, Error> {
    Ok(VoteRow {
        id: row.try_get("id")?,
        approval: row.try_get("approval")?,
        rule: row.try_get("rule")?,
        person: row.try_get("person")?,
        issuer: row.try_get("issuer")?,
        subject: row.try_get("subject")?,
        handle: row.try_get("handle")?,
        groups: row.try_get("groups")?,
        voter: row.try_get("voter")?,
        yes: match row.try_get("verdict")? {
            "yes" => true,
            "no" => false,
            _ => return Err(Error::Corrupt("votes.verdict")),
        },
        reason: row.try_get("reason")?,
        at: time(row.try_get("at_ms")?),
        mac: row.try_get("mac")?,
        voided: row.try_get::<Option<i64>>("voided_ms")?.map(time),
        grant: row.try_get("grant_id")?,
        glass: row.try_get::<i64>("glass")? != 0,
    })
}

/// All votes of an approval, oldest first.
pub(super) async fn votes(tx: &mut Tx, id: &str) -> Result<Vec<VoteRow>, Error> {
    query("SELECT * FROM votes WHERE approval = $1 ORDER BY at_ms, id")
        .bind(id)
        .fetch_all(&mut *tx)
        .await?
        .iter()
        .map(vote_of)
        .collect()
}

impl SqlStore {
    pub(super) async fn do_approval(
        &self,
        id: &str,
    ) -> Result<Option<(ApprovalRow, Vec<VoteRow>)>, Error> {
        let mut tx = self.readers.reading().await?;
        let row = query(select(true, "WHERE id = $1"))
            .bind(id)
            .fetch_optional(&mut tx)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let row = approval_of(&row)?;
        let votes = votes(&mut tx, id).await?;
        tx.commit().await?;
        Ok(Some((row, votes)))
    }

    pub(super) async fn do_state(
        &self,
        id: String,
        now: Timestamp,
    ) -> Result<Option<(State, Timestamp)>, Error> {
        let row = query("SELECT state, expires_ms FROM approvals WHERE id = $1")
            .bind(&id)
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let expires = time(row.try_get("expires_ms")?);
        let state = state_of(row.try_get("state")?)?.at(expires, now);
        Ok(Some((state, expires)))
    }

    pub(super) async fn do_list(
        &self,
        filter: Filter,
        now: Timestamp,
    ) -> Result<Vec<ApprovalRow>, Error> {
        // A waiting row past its time reads as expired, whether or not the sweep has been there.
        let rest = "WHERE ($1 = '' OR $1 LIKE '%|' || (CASE \
                WHEN state IN ('pending', 'approved') AND expires_ms <= $2 THEN 'expired' \
                ELSE state END) || '|%') \
             AND ($3 IS NULL OR (issuer = $3 AND subject = $4)) \
             AND ($5 IS NULL OR function = $5) \
             AND ($6 IS NULL OR (created_ms, id) < (SELECT created_ms, id FROM approvals WHERE id = $6)) \
             ORDER BY created_ms DESC, id DESC LIMIT $7";
        // In these words an index on the state is seen: what waits is few among all that ever did.
        let waiting = !filter.states.is_empty() && filter.states.iter().all(waits);
        let rest = if waiting {
            let first = "WHERE state IN ('pending', 'approved', 'executing') AND ";
            rest.replacen("WHERE ", first, 1)
        } else {
            rest.to_owned()
        };
        let mut states = String::new();
        for state in &filter.states {
            states.push('|');
            states.push_str(state.as_str());
            states.push('|');
        }
        let (issuer, subject) = filter.requester.unzip();
        let mut rows = query(select(false, &rest))
            .bind(states)
            .bind(ms(now))
            .bind(issuer)
            .bind(subject)
            .bind(filter.function)
            .bind(filter.before)
            .bind(i64::from(filter.limit.clamp(1, LIST_MAX)))
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(approval_of)
            .collect::<Result<Vec<_>, _>>()?;
        for row in &mut rows {
            row.state = row.state.at(row.expires, now);
        }
        Ok(rows)
    }

    pub(super) async fn do_earlier(&self, id: String) -> Result<Option<Earlier>, Error> {
        let row = query(
            "SELECT b.id, b.state, b.created_ms, b.input FROM approvals a JOIN approvals b \
             ON b.caller = a.caller AND b.function = a.function \
             AND (b.created_ms, b.id) < (a.created_ms, a.id) \
             WHERE a.id = $1 ORDER BY b.created_ms DESC, b.id DESC LIMIT 1",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| {
            Ok(Earlier {
                id: row.try_get("id")?,
                state: state_of(row.try_get("state")?)?,
                created: time(row.try_get("created_ms")?),
                input: row.try_get("input")?,
            })
        })
        .transpose()
    }

    pub(super) async fn do_decided(
        &self,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Decided>, Error> {
        let rows = query(
            "SELECT a.function, a.state, a.created_ms, a.expires_ms, (SELECT MAX(v.at_ms) FROM votes v \
             WHERE v.approval = a.id AND v.voided_ms IS NULL) AS voted_ms, \
             (SELECT CAST(MIN(CASE WHEN v.grant_id IS NULL THEN 0 ELSE 1 END) AS BIGINT) FROM votes v \
             WHERE v.approval = a.id AND v.voided_ms IS NULL) AS granted FROM approvals a \
             WHERE a.created_ms >= $1 ORDER BY a.created_ms DESC, a.id DESC LIMIT $2",
        )
        .bind(ms(since))
        .bind(i64::from(FIGURES_MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let expires = time(row.try_get("expires_ms")?);
                Ok(Decided {
                    function: row.try_get("function")?,
                    state: state_of(row.try_get("state")?)?.at(expires, now),
                    created: time(row.try_get("created_ms")?),
                    voted: row.try_get::<Option<i64>>("voted_ms")?.map(time),
                    granted: row.try_get::<Option<i64>>("granted")? == Some(1),
                })
            })
            .collect()
    }

    pub(super) async fn do_changes(&self) -> Result<Vec<Change>, Error> {
        let mine = self.readers.mine();
        let rows = query(AssertSqlSafe(format!(
            "SELECT seq, approval, function, state, cause, at_ms FROM changes WHERE {mine} \
             ORDER BY seq LIMIT $1"
        )))
        .bind(i64::from(CHANGES_BATCH_MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Change {
                    seq: row.try_get("seq")?,
                    approval: row.try_get("approval")?,
                    function: row.try_get("function")?,
                    state: state_of(row.try_get("state")?)?,
                    cause: row.try_get("cause")?,
                    at: time(row.try_get("at_ms")?),
                })
            })
            .collect()
    }

    pub(super) async fn do_changes_taken(&self, seq: i64) -> Result<(), Error> {
        query("DELETE FROM changes WHERE seq = $1")
            .bind(seq)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}
