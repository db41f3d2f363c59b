//! A PostgreSQL server that crashes and comes back.

use super::*;
use crate::clock::{Clock as _, SystemClock};
use crate::store::tests::engine::Cluster;

struct Place {
    cluster: Cluster,
    dir: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config = engine::place(dir.path(), &cluster.socket).await;
        SqlStore::init_shared(&config, dir.path()).await.unwrap();
        Self { cluster, dir }
    }

    async fn instance(&self, name: &str) -> Approvals {
        let own: SharedClock = Arc::new(SystemClock);
        let store = engine::instance(self.dir.path(), name, own).await;
        let clock = store.clock().unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        Approvals::new(store, &Secret::new([9; 32]), clock, Config::default()).unwrap()
    }
}

/// A lead who has just signed in.
fn now_signed_in(subject: &str) -> Principal {
    lead(subject).signed_in(Some(SystemClock.now()), None)
}

async fn approved(approvals: &Approvals, body: &str) -> ApprovalId {
    let ticket = ask(approvals, &caller(), body, &lead_terms())
        .await
        .unwrap();
    yes(approvals, &ticket.id, &lead_terms(), &now_signed_in("lea"))
        .await
        .unwrap();
    ticket.id
}

/// Until it works again, as a caller would: connections to the old server break one by one.
async fn again<T, E, F: Future<Output = Result<T, E>>>(mut try_it: impl FnMut() -> F) -> T {
    for _ in 0..200 {
        if let Ok(done) = try_it().await {
            return done;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never worked again")
}

// P17
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_and_comes_back_loses_nothing_and_runs_nothing_twice() {
    let mut place = Place::new().await;
    let one = place.instance("i1").await;
    let other = place.instance("i2").await;
    let pending = ask(&one, &caller(), "pending", &lead_terms())
        .await
        .unwrap();
    let waiting = approved(&one, "approved").await;
    let running = approved(&one, "executing").await;
    let execution = one.take(&running, &caller(), "i1").await.unwrap();

    place.cluster.tell("kill");
    // Nothing is asked, decided or taken, and what runs has ended without being written.
    let refused = ask(&one, &caller(), "new", &lead_terms()).await;
    assert!(matches!(refused, Err(AskError::Failed(Error::Store(_)))));
    let lea = now_signed_in("lea");
    yes(&other, &pending.id, &lead_terms(), &lea)
        .await
        .unwrap_err();
    let taken = other.take(&waiting, &caller(), "i2").await;
    assert!(matches!(taken, Err(TakeError::Failed(_))));
    let done = Outcome::Done {
        result: Some(b"ran".to_vec()),
    };
    one.finish(execution, done).await.unwrap_err();

    place.cluster.tell("start");
    again(|| one.sweep()).await;
    again(|| other.sweep()).await;
    // The end of what ran was kept, and is written now; its result can be had on the other instance.
    assert_eq!(again(|| other.state(&running)).await, State::Done);
    let result = other.fetch_result(&running, &caller()).await.unwrap();
    assert_eq!(result.as_deref(), Some(&b"ran"[..]));
    // What waited, waits; it is decided and run once, wherever.
    assert_eq!(other.state(&pending.id).await.unwrap(), State::Pending);
    let state = yes(&other, &pending.id, &lead_terms(), &lea).await;
    assert_eq!(state.unwrap(), State::Approved);
    let who = caller();
    for id in [&waiting, &pending.id] {
        let execution = again(|| other.take(id, &who, "i2")).await;
        let twice = one.take(id, &caller(), "i1").await;
        assert!(matches!(
            twice,
            Err(TakeError::NotApproved(State::Executing))
        ));
        let done = Outcome::Done { result: None };
        other.finish(execution, done).await.unwrap();
    }
}

// P17
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_whose_commit_is_unknown_is_run_by_nobody_or_by_one() {
    let mut place = Place::new().await;
    let one = place.instance("i1").await;
    let other = place.instance("i2").await;
    for round in 0..6_u64 {
        let id = approved(&one, &format!("refund {round}")).await;
        let (approvals, taken) = (one.clone(), id.clone());
        let take = tokio::spawn(async move { approvals.take(&taken, &caller(), "i1").await });
        // Somewhere in the middle of it, or before, or after.
        tokio::time::sleep(Duration::from_millis(round * 2)).await;
        place.cluster.tell("kill");
        let first = take.await.unwrap();
        place.cluster.tell("start");
        let ran = match first {
            Ok(execution) => {
                let done = Outcome::Done { result: None };
                let _ = one.finish(execution, done).await;
                1
            }
            Err(error) => {
                assert!(
                    matches!(error, TakeError::Failed(Error::Store(_))),
                    "{error}"
                );
                0
            }
        };
        // Whatever was taken without an answer is given back, and what ran is written.
        again(|| one.sweep()).await;
        again(|| other.state(&id)).await;
        match other.take(&id, &caller(), "i2").await {
            Ok(execution) => {
                assert_eq!(ran, 0, "round {round}: it ran twice");
                let done = Outcome::Done { result: None };
                other.finish(execution, done).await.unwrap();
            }
            Err(error) => {
                let done = matches!(error, TakeError::NotApproved(State::Done));
                assert!(done && ran == 1, "round {round}: {error}, ran {ran} times");
            }
        }
    }
}
