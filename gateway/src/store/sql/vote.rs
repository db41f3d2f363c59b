//! Votes: written, tallied and acted upon in one transaction.

use sqlx::AssertSqlSafe;

use crate::clock::Timestamp;

use super::super::machine::Edge;
use super::super::rows::{ApprovalRow, Moved, VoteRow, Voted};
use super::super::{BROKE_GLASS, Error, GrantRow, Opens, REOPENED, State, VOTES_MAX};
use super::SqlStore;
use super::edges::{Update, changed};
use super::engine::{Tx, ms};
use super::grants;
use super::query::query;
use super::read::{approval_of, select, votes};

impl SqlStore {
    pub(super) async fn do_vote(
        &self,
        vote: (&VoteRow, Option<&GrantRow>),
        run_by: Timestamp,
        now: Timestamp,
        opens: Opens<'_>,
    ) -> Result<Voted, Error> {
        let mut tx = self.writer.writing().await?;
        let voted = self::vote(&mut tx, vote, run_by, now, opens).await?;
        tx.commit().await?;
        Ok(voted)
    }

    pub(super) async fn do_void_votes(
        &self,
        on: Option<&(String, Option<String>)>,
        voters: &[(String, Option<String>)],
        now: Timestamp,
        opens: Opens<'_>,
    ) -> Result<Vec<String>, Error> {
        let mut tx = self.writer.writing().await?;
        let id = on.map(|(id, _)| id.as_str());
        let lease = on.and_then(|(_, lease)| lease.as_deref());
        hold_voted(&mut tx, id, voters).await?;
        let now = tx.now(now).await?;
        let mut affected = Vec::new();
        for (issuer, subject) in voters {
            let rows = query(
                "UPDATE votes SET voided_ms = $1 WHERE issuer = $2 AND ($3 IS NULL OR subject = $3) \
                 AND ($4 IS NULL OR approval = $4) AND voided_ms IS NULL AND verdict = 'yes' \
                 AND approval IN (SELECT id FROM approvals WHERE state IN ('pending', 'approved', 'executing')) \
                 RETURNING approval",
            )
            .bind(ms(now))
            .bind(issuer)
            .bind(subject)
            .bind(id)
            .fetch_all(&mut tx)
            .await?;
            for row in rows {
                affected.push(row.try_get::<String>("approval")?);
            }
        }
        affected.sort_unstable();
        affected.dedup();
        let mut reopened = Vec::new();
        for id in affected {
            if reopen(&mut tx, &id, lease, now, opens).await? {
                reopened.push(id);
            }
        }
        tx.commit().await?;
        Ok(reopened)
    }
}

/// Hold the open approvals on which these people voted, in the order of their ids, before any vote is
/// touched: whoever votes holds the approval first, too.
async fn hold_voted(
    tx: &mut Tx,
    id: Option<&str>,
    voters: &[(String, Option<String>)],
) -> Result<(), Error> {
    let locking = tx.locking();
    if locking.is_empty() {
        return Ok(());
    }
    for (issuer, subject) in voters {
        query(AssertSqlSafe(format!(
            "SELECT id FROM approvals WHERE state IN ('pending', 'approved', 'executing') \
             AND ($3 IS NULL OR id = $3) AND id IN (SELECT approval FROM votes WHERE issuer = $1 \
             AND ($2 IS NULL OR subject = $2)) ORDER BY id{locking}"
        )))
        .bind(issuer)
        .bind(subject)
        .bind(id)
        .fetch_all(&mut *tx)
        .await?;
    }
    Ok(())
}

pub(super) async fn row(tx: &mut Tx, id: &str) -> Result<Option<ApprovalRow>, Error> {
    query(select(false, "WHERE id = $1"))
        .bind(id)
        .fetch_optional(&mut *tx)
        .await?
        .as_ref()
        .map(approval_of)
        .transpose()
}

async fn vote(
    tx: &mut Tx,
    (vote, grant): (&VoteRow, Option<&GrantRow>),
    run_by: Timestamp,
    now: Timestamp,
    opens: Opens<'_>,
) -> Result<Voted, Error> {
    let now = tx.hold(&vote.approval, now).await?;
    let Some(row) = row(tx, &vote.approval).await? else {
        return Ok(Voted::Unknown);
    };
    let edge = if vote.yes { Edge::Approve } else { Edge::Deny };
    if !edge.may(row.state, row.expires, now, false) {
        return Ok(Voted::Closed(row.state.at(row.expires, now)));
    }
    let before = votes(&mut *tx, &vote.approval).await?;
    if i64::try_from(before.len()).unwrap_or(i64::MAX) >= VOTES_MAX {
        return Err(Error::Full("votes of an approval"));
    }
    let mut counting: Vec<VoteRow> = before.into_iter().filter(|v| v.voided.is_none()).collect();
    if counting
        .iter()
        .any(|v| v.rule == vote.rule && v.person == vote.person)
    {
        return Ok(Voted::Again);
    }
    insert(tx, vote).await?;
    if let Some(grant) = grant {
        grants::add(tx, grant, now).await?;
    }
    counting.push(vote.clone());
    if vote.yes && !opens(&row, &counting) {
        // The row changes with its votes, so that nobody acts on a tally that is out of date.
        query("UPDATE approvals SET version = version + 1 WHERE id = $1")
            .bind(&vote.approval)
            .execute(&mut *tx)
            .await?;
        if vote.glass {
            // People are told at once, also while another rule is still closed.
            changed(tx, &row.id, &row.function, State::Pending, BROKE_GLASS, now).await?;
        }
        return Ok(Voted::Counted(State::Pending));
    }
    let update = Update {
        id: &vote.approval,
        edge,
        lease: None,
        expires: vote.yes.then_some(run_by),
        successor: None,
        cause: vote.cause(),
        now,
    };
    match update.run(tx).await? {
        Moved::Yes { .. } => Ok(Voted::Counted(edge.to())),
        Moved::No(_) | Moved::Stale | Moved::Unknown => Err(Error::Corrupt("approvals.state")),
    }
}

pub(super) async fn insert(tx: &mut Tx, vote: &VoteRow) -> Result<(), Error> {
    query(
        "INSERT INTO votes (id, approval, rule, person, issuer, subject, handle, groups, verdict, \
         reason, at_ms, mac, voter, grant_id, glass) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(&vote.id)
    .bind(&vote.approval)
    .bind(&vote.rule)
    .bind(&vote.person)
    .bind(&vote.issuer)
    .bind(&vote.subject)
    .bind(&vote.handle)
    .bind(&vote.groups)
    .bind(if vote.yes { "yes" } else { "no" })
    .bind(&vote.reason)
    .bind(ms(vote.at))
    .bind(&vote.mac)
    .bind(&vote.voter)
    .bind(&vote.grant)
    .bind(i64::from(vote.glass))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Back to pending, when what is left of the votes does not open everything.
async fn reopen(
    tx: &mut Tx,
    id: &str,
    lease: Option<&str>,
    now: Timestamp,
    opens: Opens<'_>,
) -> Result<bool, Error> {
    let Some(row) = row(tx, id).await? else {
        return Ok(false);
    };
    let left: Vec<VoteRow> = votes(&mut *tx, id)
        .await?
        .into_iter()
        .filter(|v| v.voided.is_none())
        .collect();
    if row.state == State::Pending || opens(&row, &left) {
        query("UPDATE approvals SET version = version + 1 WHERE id = $1")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        return Ok(false);
    }
    let update = Update {
        id,
        edge: Edge::Reopen,
        lease,
        expires: Some(row.decide_by),
        successor: None,
        cause: REOPENED,
        now,
    };
    Ok(matches!(update.run(tx).await?, Moved::Yes { .. }))
}
