//! Requests that are done once for their key.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::{NewOnce, ONCE_KEPT, ONCE_PERSON_MAX, Once, OnceEnd, SqlStore, Store};

use super::engine;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn new(subject: &str, key: &str, request: &str) -> NewOnce {
    NewOnce {
        place: format!("{subject}/{key}").into_bytes(),
        issuer: "corp".to_owned(),
        subject: subject.to_owned(),
        request: request.as_bytes().to_vec(),
    }
}

async fn begin(store: &SqlStore, new: NewOnce, after_s: u64) -> Once {
    let now = NOW.plus(Duration::from_secs(after_s));
    store.begin_once(new, now).await.unwrap()
}

async fn end(store: &SqlStore, of: &NewOnce, end: OnceEnd) {
    store.end_once(of.place.clone(), end).await.unwrap();
}

#[tokio::test]
async fn a_key_is_one_request_of_one_person_for_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    let (mine, yours) = (new("ann", "k", "one"), new("ben", "k", "two"));
    assert_eq!(begin(&store, mine.clone(), 0).await, Once::New);
    assert_eq!(begin(&store, mine.clone(), 1).await, Once::UnderWay);
    assert_eq!(begin(&store, new("ann", "k", "two"), 1).await, Once::Other);
    assert_eq!(begin(&store, yours, 1).await, Once::New);
    end(&store, &mine, OnceEnd::Done(b"sealed".to_vec())).await;
    let again = begin(&store, mine.clone(), 2).await;
    assert_eq!(again, Once::Done(b"sealed".to_vec()));
    assert_eq!(begin(&store, new("ann", "k", "two"), 2).await, Once::Other);
    // It outlives the process.
    store.close().await;
    let store = engine::again(dir.path()).await;
    let again = begin(&store, mine.clone(), 3).await;
    assert_eq!(again, Once::Done(b"sealed".to_vec()));
    let later = ONCE_KEPT.as_secs();
    assert_eq!(begin(&store, mine, later).await, Once::New);
}

#[tokio::test]
async fn what_was_refused_may_be_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    let mine = new("ann", "k", "one");
    assert_eq!(begin(&store, mine.clone(), 0).await, Once::New);
    end(&store, &mine, OnceEnd::Refused).await;
    assert_eq!(begin(&store, new("ann", "k", "two"), 0).await, Once::New);
}

#[tokio::test]
async fn what_a_process_left_in_the_middle_is_not_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    let (left, lost) = (new("ann", "left", "one"), new("ann", "lost", "one"));
    assert_eq!(begin(&store, left.clone(), 0).await, Once::New);
    assert_eq!(begin(&store, lost.clone(), 0).await, Once::New);
    end(&store, &lost, OnceEnd::Unknown).await;
    assert_eq!(begin(&store, lost, 0).await, Once::Unknown);
    assert_eq!(begin(&store, left.clone(), 0).await, Once::UnderWay);
    store.close().await;
    let store = engine::again(dir.path()).await;
    assert_eq!(begin(&store, left.clone(), 1).await, Once::Unknown);
    // Nor does another process say how it ended.
    end(&store, &left, OnceEnd::Refused).await;
    assert_eq!(begin(&store, left, 1).await, Once::Unknown);
}

#[tokio::test]
async fn keys_are_bounded_and_what_is_under_way_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    let first = new("ann", "first", "one");
    assert_eq!(begin(&store, first.clone(), 0).await, Once::New);
    let most = u64::try_from(ONCE_PERSON_MAX).unwrap();
    for n in 1..most + 5 {
        let one = new("ann", &n.to_string(), "one");
        assert_eq!(begin(&store, one.clone(), n).await, Once::New);
        end(&store, &one, OnceEnd::Done(vec![1])).await;
    }
    assert_eq!(begin(&store, first, most + 5).await, Once::UnderWay);
    let newest = new("ann", &(most + 4).to_string(), "one");
    assert_eq!(begin(&store, newest, most + 5).await, Once::Done(vec![1]));
    // The oldest one that was answered had to go.
    let oldest = new("ann", "1", "one");
    assert_eq!(begin(&store, oldest.clone(), most + 5).await, Once::New);
    for n in 0..most {
        let one = new("eve", &n.to_string(), "one");
        assert_eq!(begin(&store, one, 0).await, Once::New);
    }
    assert_eq!(
        begin(&store, new("eve", "more", "one"), 0).await,
        Once::Full
    );
    assert_eq!(begin(&store, new("ben", "more", "one"), 0).await, Once::New);
}

#[tokio::test]
async fn keys_go_with_their_time_and_with_their_person() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    let all = [new("ann", "k", "one"), new("ben", "k", "one")];
    for one in &all {
        assert_eq!(begin(&store, one.clone(), 0).await, Once::New);
        end(&store, one, OnceEnd::Done(vec![1])).await;
    }
    store.erase_subject("corp", "ann").await.unwrap();
    assert_eq!(
        engine::meddle(&store, "UPDATE once SET issuer = issuer").await,
        1
    );
    let over = NOW.plus(ONCE_KEPT);
    store.sweep(NOW, over).await.unwrap();
    assert_eq!(
        engine::meddle(&store, "UPDATE once SET issuer = issuer").await,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_send_it_at_once_one_does_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = std::sync::Arc::new(engine::fresh(dir.path()).await);
    let mut racers = Vec::new();
    for _ in 0..32 {
        let store = std::sync::Arc::clone(&store);
        racers.push(tokio::spawn(async move {
            begin(&store, new("ann", "k", "one"), 0).await
        }));
    }
    let mut won = 0;
    for racer in racers {
        match racer.await.unwrap() {
            Once::New => won += 1,
            other => assert_eq!(other, Once::UnderWay),
        }
    }
    assert_eq!(won, 1);
}
