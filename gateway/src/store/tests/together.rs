//! Many questions at the same moment, on the engine that has one writer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::{AskLimits, Asked, Filter, Full, NewApproval, SqlStore, Store};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

const LIMITS: AskLimits = AskLimits {
    open_per_principal_max: 10_000,
    open_max: 10_000,
    bytes_max: 1 << 30,
    asks_per_hour_max: 100_000,
    changes_max: 100_000,
    cooldown: Duration::ZERO,
    indeterminate_kept: Duration::ZERO,
};

fn question(id: &str, same: &str) -> NewApproval {
    NewApproval {
        same: same.as_bytes().to_vec(),
        ..super::question(id, NOW.plus(Duration::from_secs(900)))
    }
}

/// Ask all of these while nobody can write, and only then let them.
async fn at_once(
    store: &Arc<SqlStore>,
    questions: Vec<NewApproval>,
    limits: AskLimits,
) -> Vec<Result<Asked, crate::store::Error>> {
    let writer = store.writer_for_tests();
    let held = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let mut asking = Vec::new();
    for new in questions {
        let one = Arc::clone(store);
        asking.push(tokio::spawn(async move { one.ask(new, limits, NOW).await }));
        // On one thread: it has queued up before the next one comes.
        tokio::task::yield_now().await;
    }
    drop(held);
    let mut asked = Vec::new();
    for one in asking {
        asked.push(one.await.unwrap());
    }
    asked
}

/// Transactions in SQLite's log: the last frame of each says how large the database is then.
fn commits(dir: &Path) -> usize {
    let log = std::fs::read(dir.join("state.db-wal")).unwrap();
    let word = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let page = usize::try_from(word(8)).unwrap();
    let salt = &log[16..24];
    (32..)
        .step_by(24 + page)
        .take_while(|at| at + 24 + page <= log.len() && &log[at + 8..at + 16] == salt)
        .filter(|at| word(at + 4) != 0)
        .count()
}

async fn listed(store: &SqlStore) -> Vec<String> {
    let filter = Filter {
        limit: 500,
        ..Filter::default()
    };
    let mut rows = store.list(filter, NOW).await.unwrap();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    rows.into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn many_questions_at_once_are_written_in_a_few_transactions_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqlStore::init(dir.path()).await.unwrap());
    let ids: Vec<String> = (0..100).map(|n| format!("apr_{n:03}")).collect();
    let questions = ids.iter().map(|id| question(id, id)).collect();
    let before = commits(dir.path());
    let asked = at_once(&store, questions, LIMITS).await;
    assert!(asked.iter().all(|asked| matches!(asked, Ok(Asked::New))));
    // One that found the writer busy, and the others, 64 at a time.
    let written = commits(dir.path()) - before;
    assert!((2..=3).contains(&written), "{written} transactions");
    assert_eq!(listed(&store).await, ids);
    let changes = store.changes().await.unwrap();
    let told: Vec<String> = changes.into_iter().map(|change| change.approval).collect();
    assert_eq!(told, ids, "in the order in which they came");
    store.close().await;
    // What was answered is there when the program comes back.
    let store = SqlStore::open(dir.path()).await.unwrap();
    assert_eq!(listed(&store).await, ids);
}

#[tokio::test]
async fn of_many_who_ask_the_same_at_once_one_is_asked_and_the_others_join() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqlStore::init(dir.path()).await.unwrap());
    let questions = (0..50).map(|n| question(&format!("apr_{n:03}"), "same"));
    let asked = at_once(&store, questions.collect(), LIMITS).await;
    let mut new = 0;
    for asked in asked {
        match asked.unwrap() {
            Asked::New => new += 1,
            Asked::Joined(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((new, listed(&store).await.len()), (1, 1));
}

#[tokio::test]
async fn bounds_hold_for_questions_that_come_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqlStore::init(dir.path()).await.unwrap());
    let questions = (0..40).map(|n| format!("apr_{n:03}"));
    let questions = questions.map(|id| question(&id, &id)).collect();
    let limits = AskLimits {
        open_per_principal_max: 7,
        ..LIMITS
    };
    let asked = at_once(&store, questions, limits).await;
    let of = |wanted: &Asked| asked.iter().flatten().filter(|one| *one == wanted).count();
    assert_eq!(
        (of(&Asked::New), of(&Asked::Full(Full::Principal))),
        (7, 33)
    );
    assert_eq!(listed(&store).await.len(), 7);
}

#[tokio::test]
async fn a_question_that_cannot_be_written_takes_no_other_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqlStore::init(dir.path()).await.unwrap());
    // The one numbered 10 goes by the id of the one numbered 5.
    let ids: Vec<String> = (0..20).map(|n| format!("apr_{n:03}")).collect();
    let mut questions: Vec<NewApproval> = ids.iter().map(|id| question(id, id)).collect();
    questions[10].id.clone_from(&ids[5]);
    let asked = at_once(&store, questions, LIMITS).await;
    let failed: Vec<usize> = (0..20).filter(|n| asked[*n].is_err()).collect();
    assert_eq!(failed, [10]);
    let wanted: Vec<&String> = ids.iter().filter(|id| **id != ids[10]).collect();
    assert_eq!(listed(&store).await.iter().collect::<Vec<_>>(), wanted);
    // The way is clear again.
    let more = store.ask(question("apr_more", "more"), LIMITS, NOW).await;
    assert_eq!(more.unwrap(), Asked::New);
}
