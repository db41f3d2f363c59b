//! Standing yeses: written, counted down and ended, each in one transaction.

use crate::clock::Timestamp;

use super::super::machine::Edge;
use super::super::rows::{Moved, Voted};
use super::super::{
    Error, GRANTS_LIST_MAX, GRANTS_MAX, GrantFilter, GrantRow, GrantsOf, Opens, StandingYes, State,
    Stood, VOTES_MAX,
};
use super::SqlStore;
use super::edges::Update;
use super::engine::{Tx, ms, time};
use super::query::{Row, query};
use super::read::votes;
use super::vote::{insert, row};

/// What makes a grant stand at `$1`: neither used up, ended, past its time, nor out of a question that
/// somebody said no to or that was taken back.
const STANDS: &str = "used < uses_max AND ended_ms IS NULL AND until_ms > $1 AND NOT EXISTS \
     (SELECT 1 FROM approvals WHERE approvals.id = grants.approval AND approvals.state IN ('denied', 'cancelled'))";

fn grant_of(row: &Row) -> Result<GrantRow, Error> {
    Ok(GrantRow {
        id: row.try_get("id")?,
        approval: row.try_get("approval")?,
        rule: row.try_get("rule")?,
        person: row.try_get("person")?,
        issuer: row.try_get("issuer")?,
        subject: row.try_get("subject")?,
        handle: row.try_get("handle")?,
        groups: row.try_get("groups")?,
        voter: row.try_get("voter")?,
        caller: row.try_get("caller")?,
        asker_issuer: row.try_get("asker_issuer")?,
        asker_subject: row.try_get("asker_subject")?,
        function: row.try_get("function")?,
        pattern: row.try_get("pattern")?,
        uses_max: row.try_get("uses_max")?,
        used: row.try_get("used")?,
        at: time(row.try_get("at_ms")?),
        until: time(row.try_get("until_ms")?),
        ended: row.try_get::<Option<i64>>("ended_ms")?.map(time),
        ended_by: row.try_get("ended_by")?,
        mac: row.try_get("mac")?,
    })
}

impl SqlStore {
    pub(super) async fn do_grants(
        &self,
        filter: GrantFilter,
        now: Timestamp,
    ) -> Result<Vec<GrantRow>, Error> {
        let (caller, function) = filter.of.unzip();
        let (before, behind) = filter.before.unzip();
        let text = format!(
            "SELECT * FROM grants WHERE ($2 = 0 OR ({STANDS})) AND ($3 IS NULL OR caller = $3) \
             AND ($4 IS NULL OR function = $4) AND ($5 IS NULL OR id = $5) AND ($6 IS NULL \
             OR (at_ms, id) < ($6, $7)) ORDER BY at_ms DESC, id DESC LIMIT $8"
        );
        query(sqlx::AssertSqlSafe(text))
            .bind(ms(now))
            .bind(i64::from(filter.standing))
            .bind(&caller)
            .bind(&function)
            .bind(&filter.id)
            .bind(before.map(ms))
            .bind(&behind)
            .bind(i64::from(GRANTS_LIST_MAX))
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(grant_of)
            .collect()
    }

    pub(super) async fn do_end_grants(
        &self,
        which: &GrantsOf,
        by: &str,
        now: Timestamp,
    ) -> Result<Vec<String>, Error> {
        let (column, value, and) = match which {
            GrantsOf::One(id) => ("id", id, None),
            GrantsOf::Approval(id) => ("approval", id, None),
            GrantsOf::Granter(issuer, subject) => ("issuer", issuer, Some(("subject", subject))),
            GrantsOf::Asker(issuer, subject) => {
                ("asker_issuer", issuer, Some(("asker_subject", subject)))
            }
        };
        let (also, second) = and.unwrap_or(("id", &None));
        let text = format!(
            "UPDATE grants SET ended_ms = $1, ended_by = $2 WHERE {column} = $3 \
             AND ($4 IS NULL OR {also} = $4) AND ended_ms IS NULL AND until_ms > $1 RETURNING id"
        );
        query(sqlx::AssertSqlSafe(text))
            .bind(ms(now))
            .bind(by)
            .bind(value)
            .bind(second)
            .fetch_all(&self.writer)
            .await?
            .iter()
            .map(|row| row.try_get("id"))
            .collect()
    }

    pub(super) async fn do_stand(
        &self,
        approval: &str,
        yeses: &[StandingYes],
        run_by: Timestamp,
        now: Timestamp,
        opens: Opens<'_>,
    ) -> Result<Stood, Error> {
        let mut tx = self.writer.writing().await?;
        let mut grants = Vec::new();
        let voted = stand(
            &mut tx,
            (approval, yeses),
            &mut grants,
            (run_by, now),
            opens,
        )
        .await?;
        tx.commit().await?;
        Ok(Stood { voted, grants })
    }
}

async fn stand(
    tx: &mut Tx,
    (approval, yeses): (&str, &[StandingYes]),
    stood: &mut Vec<String>,
    (run_by, now): (Timestamp, Timestamp),
    opens: Opens<'_>,
) -> Result<Voted, Error> {
    let now = tx.hold(approval, now).await?;
    let Some(row) = row(tx, approval).await? else {
        return Ok(Voted::Unknown);
    };
    if !Edge::Approve.may(row.state, row.expires, now, false) {
        return Ok(Voted::Closed(row.state.at(row.expires, now)));
    }
    let before = votes(&mut *tx, approval).await?;
    if i64::try_from(before.len() + yeses.len()).unwrap_or(i64::MAX) > VOTES_MAX {
        return Err(Error::Full("votes of an approval"));
    }
    let mut counting: Vec<_> = before.into_iter().filter(|v| v.voided.is_none()).collect();
    for StandingYes { grant, vote, .. } in yeses {
        let theirs = |v: &super::super::VoteRow| v.rule == vote.rule && v.person == vote.person;
        if !counting.iter().any(theirs) && used(tx, grant, now).await? {
            insert(tx, vote).await?;
            counting.push(vote.clone());
            stood.push(grant.clone());
        }
    }
    if !opens(&row, &counting) {
        query("UPDATE approvals SET version = version + 1 WHERE id = $1")
            .bind(approval)
            .execute(&mut *tx)
            .await?;
        return Ok(Voted::Counted(State::Pending));
    }
    let update = Update {
        id: approval,
        edge: Edge::Approve,
        lease: None,
        expires: Some(run_by),
        successor: None,
        cause: "grant",
        now,
    };
    match update.run(tx).await? {
        Moved::Yes { .. } => Ok(Voted::Counted(State::Approved)),
        Moved::No(_) | Moved::Stale | Moved::Unknown => Err(Error::Corrupt("approvals.state")),
    }
}

/// Count one use, if the grant stands: in the same transaction as what it is used for.
async fn used(tx: &mut Tx, grant: &str, now: Timestamp) -> Result<bool, Error> {
    let text = format!("UPDATE grants SET used = used + 1 WHERE id = $2 AND {STANDS}");
    let used = query(sqlx::AssertSqlSafe(text))
        .bind(ms(now))
        .bind(grant)
        .execute(&mut *tx)
        .await?;
    Ok(used == 1)
}

/// Write a standing yes, in the transaction of the vote that gives it.
pub(super) async fn add(tx: &mut Tx, grant: &GrantRow, now: Timestamp) -> Result<(), Error> {
    let text = format!("SELECT COUNT(*) AS standing FROM grants WHERE {STANDS}");
    let standing = query(sqlx::AssertSqlSafe(text))
        .bind(ms(now))
        .fetch_one(&mut *tx)
        .await?;
    if standing.try_get::<i64>("standing")? >= GRANTS_MAX {
        return Err(Error::Full("grants that stand"));
    }
    query(
        "INSERT INTO grants (id, approval, rule, person, issuer, subject, handle, groups, voter, \
         caller, asker_issuer, asker_subject, function, pattern, uses_max, used, at_ms, until_ms, mac) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 0, $16, $17, $18)",
    )
    .bind(&grant.id)
    .bind(&grant.approval)
    .bind(&grant.rule)
    .bind(&grant.person)
    .bind(&grant.issuer)
    .bind(&grant.subject)
    .bind(&grant.handle)
    .bind(&grant.groups)
    .bind(&grant.voter)
    .bind(&grant.caller)
    .bind(&grant.asker_issuer)
    .bind(&grant.asker_subject)
    .bind(&grant.function)
    .bind(&grant.pattern)
    .bind(grant.uses_max)
    .bind(ms(grant.at))
    .bind(ms(grant.until))
    .bind(&grant.mac)
    .execute(&mut *tx)
    .await?;
    Ok(())
}
