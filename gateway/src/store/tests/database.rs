//! Creating, opening, migrating; revocations.

use std::os::unix::fs::PermissionsExt;

use sqlx::Row;

use crate::clock::Timestamp;
use crate::store::{Error, Reach, Revocation, Revoked, SqlStore, Store};

use super::engine;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn revocation(id: &str, what: Revoked) -> Revocation {
    Revocation {
        id: id.to_owned(),
        what,
        reach: Reach::Lock,
        reason: "laptop lost".to_owned(),
        by: "corp/ann".to_owned(),
        at: NOW,
        until: None,
    }
}

// R14
#[tokio::test]
async fn a_missing_database_is_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let error = SqlStore::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, Error::Missing(_)));
    assert!(error.to_string().contains("run `callgate init` first"));
    assert!(!dir.path().join("state.db").exists());
}

#[tokio::test]
async fn init_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    SqlStore::init(dir.path()).await.unwrap().close().await;
    let again = SqlStore::init(dir.path()).await;
    assert!(matches!(again, Err(Error::Exists(_))));
    SqlStore::open(dir.path()).await.unwrap();
}

#[tokio::test]
async fn the_files_are_the_owners_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqlStore::init(dir.path()).await.unwrap();
    store.revocation_epoch().await.unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        seen += 1;
    }
    assert!(seen >= 2, "the database and its log");
}

#[tokio::test]
async fn the_settings_are_those_that_survive_power_loss() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqlStore::init(dir.path()).await.unwrap();
    for (pragma, wanted) in [("synchronous", "2"), ("journal_mode", "wal")] {
        let text = format!("PRAGMA {pragma}");
        let row = sqlx::query(sqlx::AssertSqlSafe(text))
            .fetch_one(store.writer_for_tests())
            .await
            .unwrap();
        let value = row
            .try_get::<i64, _>(0)
            .map(|n| n.to_string())
            .or_else(|_| row.try_get::<String, _>(0))
            .unwrap();
        assert_eq!(value, wanted, "{pragma}");
    }
}

// R12
#[tokio::test]
async fn a_newer_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqlStore::init(dir.path()).await.unwrap();
    sqlx::query("INSERT INTO migrations (number, digest) VALUES (99, x'00')")
        .execute(store.writer_for_tests())
        .await
        .unwrap();
    store.close().await;
    let error = SqlStore::open(dir.path()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the state database is of version 99, this program knows up to 10: run a newer callgate"
    );
}

#[tokio::test]
async fn an_older_database_is_brought_up_with_its_votes() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqlStore::init(dir.path()).await.unwrap();
    let older = "DROP INDEX approvals_erased; DROP INDEX votes_erased; ALTER TABLE votes DROP COLUMN erased; \
        ALTER TABLE approvals DROP COLUMN erased; ALTER TABLE votes DROP COLUMN voter; DROP INDEX approvals_caller; DROP TABLE outbox; \
        DROP TABLE grants; ALTER TABLE votes DROP COLUMN grant_id; ALTER TABLE votes DROP COLUMN glass; \
        DROP TABLE once; DROP INDEX approvals_counted; CREATE INDEX approvals_state ON approvals (state, expires_ms); \
        ALTER TABLE approvals DROP COLUMN input; DELETE FROM migrations WHERE number > 1; \
        PRAGMA foreign_keys = OFF; \
        INSERT INTO votes (id, approval, rule, person, issuer, subject, groups, verdict, reason, \
        at_ms, mac) VALUES ('vote_1', 'apr_1', x'01', 'p', 'corp', 'ann', '[]', 'yes', x'02', 1, x'03');";
    sqlx::raw_sql(older)
        .execute(store.writer_for_tests())
        .await
        .unwrap();
    store.close().await;
    let store = SqlStore::open(dir.path()).await.unwrap();
    let voter: Vec<u8> = sqlx::query_scalar("SELECT voter FROM votes WHERE id = 'vote_1'")
        .fetch_one(store.writer_for_tests())
        .await
        .unwrap();
    assert!(voter.is_empty());
    store.close().await;
}

#[tokio::test]
async fn a_foreign_migration_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqlStore::init(dir.path()).await.unwrap();
    sqlx::query("UPDATE migrations SET digest = x'00'")
        .execute(store.writer_for_tests())
        .await
        .unwrap();
    store.close().await;
    let error = SqlStore::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, Error::Altered(1)));
}

#[tokio::test]
async fn an_init_that_died_is_no_database() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("state.db"), b"").unwrap();
    let error = SqlStore::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, Error::Missing(_)), "{error}");
}

#[tokio::test]
async fn revocations_stand_until_lifted_or_over_and_move_the_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    let all = [
        Revoked::Principal {
            issuer: "corp".to_owned(),
            subject: "u1".to_owned(),
        },
        Revoked::Issuer("ci".to_owned()),
        Revoked::Token {
            issuer: "corp".to_owned(),
            id: "jti".to_owned(),
        },
        Revoked::TokenHash("ab".repeat(32)),
        Revoked::Connection("payments".to_owned()),
        Revoked::Approval("apr_1".to_owned()),
    ];
    for (n, what) in all.iter().enumerate() {
        let epoch = store
            .revoke(revocation(&format!("r{n}"), what.clone()))
            .await
            .unwrap();
        assert_eq!(epoch, i64::try_from(n).unwrap() + 1);
    }
    let until = NOW.plus(std::time::Duration::from_secs(60));
    let mut short = revocation("short", Revoked::Issuer("lab".to_owned()));
    short.until = Some(until);
    store.revoke(short.clone()).await.unwrap();
    let (epoch, standing) = store.revocations(NOW).await.unwrap();
    assert_eq!(epoch, 7);
    assert_eq!(standing.len(), 7);
    assert!(standing.contains(&short));
    assert!(
        all.iter()
            .all(|what| standing.iter().any(|r| r.what == *what))
    );
    assert_eq!(store.revocations(until).await.unwrap().1.len(), 6);
    assert_eq!(store.lift("r0", NOW).await.unwrap(), Some(8));
    assert_eq!(store.lift("r0", NOW).await.unwrap(), None);
    assert_eq!(store.revocations(until).await.unwrap().1.len(), 5);
    assert_eq!(store.revocation_epoch().await.unwrap(), 8);
    store.close().await;
    let store = engine::again(dir.path()).await;
    assert_eq!(store.revocations(until).await.unwrap().0, 8);
}

#[tokio::test]
async fn a_revocation_has_bounded_text() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    let mut long = revocation("r", Revoked::Issuer("ci".to_owned()));
    long.reason = "x".repeat(1_025);
    assert!(matches!(
        store.revoke(long).await,
        Err(Error::TooLong(_, 1_024))
    ));
    assert_eq!(store.revocation_epoch().await.unwrap(), 0);
}
