//! The outbox on a real database.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::{Delivery, FAILURE_BYTES_MAX, Outbox, Retry, SqlStore, Store};

use super::engine;

const START: Timestamp = Timestamp::from_secs(1_700_000_000);

fn delivery(id: &str, channel: &str) -> Delivery {
    Delivery {
        id: id.to_owned(),
        channel: channel.to_owned(),
        approval: "apr_1".to_owned(),
        event: "approval.asked".to_owned(),
        created: START,
        attempts: 0,
        due: START,
        dead: None,
        failure: String::new(),
    }
}

async fn due(store: &SqlStore, channel: &str, now: Timestamp) -> Vec<(String, u32)> {
    let due = store.due(channel, now).await.unwrap();
    due.into_iter().map(|d| (d.id, d.attempts)).collect()
}

#[tokio::test]
async fn a_message_waits_until_it_is_delivered_and_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    let both = vec![delivery("1", "a"), delivery("2", "b")];
    store.enqueue(both.clone()).await.unwrap();
    let later = START.plus(Duration::from_secs(60));
    store
        .failed("1", Retry::At(later), &"é".repeat(FAILURE_BYTES_MAX))
        .await
        .unwrap();
    // The same change again, after a crash: what was tried stays as it is.
    store.enqueue(both).await.unwrap();
    store.close().await;
    let store = engine::again(dir.path()).await;
    assert_eq!(due(&store, "a", START).await, []);
    assert_eq!(due(&store, "b", START).await, [("2".to_owned(), 0)]);
    assert_eq!(due(&store, "a", later).await, [("1".to_owned(), 1)]);
    let kept = store.due("a", later).await.unwrap();
    assert!(kept[0].failure.len() <= FAILURE_BYTES_MAX && kept[0].failure.starts_with('é'));
    store.delivered("1").await.unwrap();
    assert_eq!(due(&store, "a", later).await, []);
    store.close().await;
}

#[tokio::test]
async fn who_is_erased_leaves_no_input_and_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    for subject in ["ann", "bob"] {
        let row = format!(
            "INSERT INTO approvals (id, state, version, issuer, subject, caller, requester, apart, connection, \
             function, effect, same, call, terms, rules, binding, bytes, created_ms, decide_by_ms, expires_ms, \
             changed_ms, fence, cause, input) VALUES ('{subject}', 'done', 0, 'corp', '{subject}', x'', '', '', '', \
             '', '', x'', '', '', '', x'', 0, 1, 1, 1, 1, 1, 'ran', x'0102')"
        );
        engine::meddle(&store, &row).await;
        let result = format!(
            "INSERT INTO results (approval, sealed, expires_ms) VALUES ('{subject}', x'03', 9)"
        );
        engine::meddle(&store, &result).await;
    }
    store.erase_subject("corp", "ann").await.unwrap();
    for (subject, left) in [("ann", 0), ("bob", 1)] {
        let input = format!(
            "UPDATE approvals SET version = 1 WHERE id = '{subject}' AND length(input) = 2"
        );
        assert_eq!(engine::meddle(&store, &input).await, left, "{subject}");
        let result = format!("DELETE FROM results WHERE approval = '{subject}'");
        assert_eq!(engine::meddle(&store, &result).await, left, "{subject}");
    }
    store.close().await;
}

#[tokio::test]
async fn a_dead_message_is_listed_revived_discarded_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    let all = ["1", "2", "3"].map(|id| delivery(id, "a")).to_vec();
    store.enqueue(all).await.unwrap();
    // Only dead ones can be revived or discarded.
    assert!(!store.revive("1", START).await.unwrap() && !store.discard("1").await.unwrap());
    for id in ["1", "2", "3"] {
        store.failed(id, Retry::Never(START), "410").await.unwrap();
    }
    assert_eq!(due(&store, "a", START).await, []);
    let dead = store.dead().await.unwrap();
    assert_eq!(dead.len(), 3);
    assert_eq!(
        (dead[0].failure.as_str(), dead[0].dead),
        ("410", Some(START))
    );
    assert!(store.revive("1", START).await.unwrap());
    assert_eq!(due(&store, "a", START).await, [("1".to_owned(), 0)]);
    assert!(store.discard("2").await.unwrap() && !store.discard("2").await.unwrap());
    assert_eq!(store.forget_dead(START).await.unwrap(), 0);
    let after = START.plus(Duration::from_millis(1));
    assert_eq!(store.forget_dead(after).await.unwrap(), 1);
    assert!(store.dead().await.unwrap().is_empty());
    assert_eq!(due(&store, "a", START).await.len(), 1);
    store.close().await;
}
