//! Taking, running, ending.

use super::*;

#[tokio::test]
async fn approved_bytes_run_once_for_their_caller() {
    let bench = Bench::new().await;
    let id = bench.approved("refund 10").await;
    let execution = bench.approvals.take(&id, &caller(), "i1").await.unwrap();
    assert_eq!(execution.frozen(), b"refund 10");
    assert_eq!(execution.fence(), 1);
    assert_eq!(execution.opened().len(), 1);
    assert_eq!(execution.voters()[0].key.subject, "lea");
    let outcome = Outcome::Done {
        result: Some(b"ok".to_vec()),
    };
    bench.approvals.finish(execution, outcome).await.unwrap();
    assert!(matches!(
        bench.approvals.take(&id, &caller(), "i1").await,
        Err(TakeError::NotApproved(State::Done))
    ));
    // The same call again finds the result instead of asking again.
    let again = bench.ask(&caller(), "refund 10").await;
    assert_eq!(
        (&again.id, again.state, again.joined),
        (&id, State::Done, true)
    );
}

// P18
// P1
// P1
// P1
// P1
// P5
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_that_race_for_an_approval_run_it_once() {
    let rounds: u64 =
        std::env::var("CALLGATE_RACE_ROUNDS").map_or(60, |text| text.parse().unwrap());
    let config = Config {
        pending_per_principal_max: 10_000,
        asks_per_hour_max: 1_000_000,
        ..Config::default()
    };
    let bench = Bench::with(config.clone()).await;
    let instances: Vec<Approvals> = (0..4)
        .map(|_| with(&bench.store, &bench.clock, config.clone()))
        .collect();
    for round in 0..rounds {
        let id = bench.approved(&format!("refund {round}")).await;
        let racers: Vec<_> = instances
            .iter()
            .enumerate()
            .map(|(n, approvals)| {
                let (approvals, id) = (approvals.clone(), id.clone());
                tokio::spawn(async move {
                    match approvals.take(&id, &caller(), &format!("i{n}")).await {
                        Ok(execution) => {
                            let outcome = Outcome::Done { result: None };
                            approvals.finish(execution, outcome).await.unwrap();
                            1
                        }
                        Err(TakeError::NotApproved(State::Executing | State::Done)) => 0,
                        Err(error) => panic!("{error}"),
                    }
                })
            })
            .collect();
        let mut hits = 0;
        for racer in racers {
            hits += racer.await.unwrap();
        }
        assert_eq!(hits, 1, "round {round}");
    }
}

/// The process dies and another one starts in its folder.
async fn reopen(bench: Bench) -> Bench {
    bench.store.close().await;
    let sql = Arc::new(engine::again(bench.dir.path()).await);
    let store: Arc<dyn Store> = Arc::clone(&sql) as _;
    let approvals = with(&store, &bench.clock, Config::default());
    Bench {
        sql,
        store,
        approvals,
        ..bench
    }
}

// P6: the process dies at each edge; what comes back is what was, or `indeterminate`.
#[tokio::test]
async fn a_restart_at_each_edge_runs_nothing_twice() {
    let bench = Bench::new().await;
    let id = bench.ask(&caller(), "refund").await.id;
    let bench = reopen(bench).await;
    assert_eq!(
        bench.approvals.recover("i1").await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Pending);
    yes(&bench.approvals, &id, &lead_terms(), &lead("lea"))
        .await
        .unwrap();
    let bench = reopen(bench).await;
    assert_eq!(
        bench.approvals.recover("i1").await.unwrap(),
        Vec::<String>::new()
    );
    let execution = bench.approvals.take(&id, &caller(), "i1").await.unwrap();
    assert_eq!(execution.frozen(), b"refund");
    std::mem::forget(execution);
    let bench = reopen(bench).await;
    assert_eq!(
        bench.approvals.recover("i2").await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(
        bench.approvals.recover("i1").await.unwrap(),
        [id.to_string()]
    );
    assert_eq!(
        bench.approvals.state(&id).await.unwrap(),
        State::Indeterminate
    );
    let take = bench.approvals.take(&id, &caller(), "i1").await;
    assert!(matches!(
        take,
        Err(TakeError::NotApproved(State::Indeterminate))
    ));
    // The caller is told, and does not start it again by coming again.
    let again = ask(&bench.approvals, &caller(), "refund", &lead_terms()).await;
    assert!(matches!(again, Err(AskError::Indeterminate(lost)) if lost == id));
    // A new idempotency key makes it a new call, which needs a new approval.
    let anew = ask_keyed(
        &bench.approvals,
        &caller(),
        "refund, key 2",
        &lead_terms(),
        Some("2"),
    )
    .await;
    assert_eq!(anew.unwrap().state, State::Pending);
    let bench = reopen(bench).await;
    assert_eq!(
        bench.approvals.state(&id).await.unwrap(),
        State::Indeterminate
    );
}

#[tokio::test]
async fn an_execution_that_is_dropped_becomes_indeterminate() {
    let bench = Bench::new().await;
    let id = bench.approved("refund").await;
    drop(bench.approvals.take(&id, &caller(), "i1").await.unwrap());
    assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Executing);
    bench.approvals.sweep().await.unwrap();
    assert_eq!(
        bench.approvals.state(&id).await.unwrap(),
        State::Indeterminate
    );
}

#[tokio::test]
async fn what_was_given_back_can_be_taken_again() {
    let bench = Bench::new().await;
    let id = bench.approved("refund").await;
    let first = bench.approvals.take(&id, &caller(), "i1").await.unwrap();
    bench.approvals.give_back(first).await.unwrap();
    let second = bench.approvals.take(&id, &caller(), "i2").await.unwrap();
    assert_eq!(second.fence(), 2);
    bench
        .approvals
        .finish(second, Outcome::Failed)
        .await
        .unwrap();
    assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Failed);
}

#[tokio::test]
async fn another_caller_neither_takes_nor_cancels_nor_learns_of_it() {
    let bench = Bench::new().await;
    let id = bench.approved("refund").await;
    let others = [
        Principal::for_tests("corp", "robot2", Kind::Agent, &[]),
        Principal::for_tests("partner", "robot", Kind::Agent, &[]),
        // An agent for the requester is not the requester.
        caller().acting(&[("corp", "bot")]),
    ];
    for other in &others {
        let take = bench.approvals.take(&id, other, "i1").await;
        assert!(matches!(take, Err(TakeError::Failed(Error::Unknown(_)))));
        let ticket = bench.ask(other, "refund").await;
        assert_ne!(ticket.id, id);
    }
    let cancel = bench.approvals.cancel(&id, &others[0]).await;
    assert!(matches!(cancel, Err(Error::Unknown(_))));
    assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Approved);
}

// P18
#[tokio::test]
async fn cancel_works_before_executing_and_not_after() {
    let bench = Bench::new().await;
    let pending = bench.ask(&caller(), "one").await.id;
    bench.approvals.cancel(&pending, &caller()).await.unwrap();
    let vote = yes(&bench.approvals, &pending, &lead_terms(), &lead("lea")).await;
    assert!(matches!(vote, Err(VoteError::Closed(State::Cancelled))));
    let id = bench.approved("two").await;
    let execution = bench.approvals.take(&id, &caller(), "i1").await.unwrap();
    let late = bench.approvals.cancel(&id, &caller()).await;
    assert!(matches!(
        late,
        Err(Error::Closed {
            state: State::Executing,
            ..
        })
    ));
    let outcome = Outcome::Done { result: None };
    bench.approvals.finish(execution, outcome).await.unwrap();
    assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Done);
}

// P18
#[tokio::test]
async fn a_caller_that_stops_waiting_cancels_nothing() {
    let bench = Bench::new().await;
    let id = bench.ask(&caller(), "refund").await.id;
    {
        let waiting = bench.approvals.wait(&id, Duration::from_secs(25));
        tokio::pin!(waiting);
        let gone = tokio::time::timeout(Duration::from_millis(20), waiting).await;
        assert!(gone.is_err());
    }
    assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Pending);
}

#[tokio::test]
async fn a_waiting_caller_is_woken_by_the_vote() {
    let bench = Bench::new().await;
    let id = bench.ask(&caller(), "refund").await.id;
    let (approvals, waited) = (bench.approvals.clone(), id.clone());
    let waiting = tokio::spawn(async move {
        let begun = std::time::Instant::now();
        let state = approvals
            .wait(&waited, Duration::from_secs(25))
            .await
            .unwrap();
        (state, begun.elapsed())
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    yes(&bench.approvals, &id, &lead_terms(), &lead("lea"))
        .await
        .unwrap();
    let (state, took) = waiting.await.unwrap();
    assert_eq!(state, State::Approved);
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    assert_eq!(
        bench.approvals.wait(&id, Duration::ZERO).await.unwrap(),
        State::Approved
    );
}

// P9
#[tokio::test]
async fn a_kept_result_is_for_its_caller_until_it_has_gone_out_or_its_time_is_over() {
    let bench = Bench::new().await;
    let id = bench.approved("one").await;
    done(&bench, &id, Some(b"the answer")).await;
    let other = Principal::for_tests("corp", "robot2", Kind::Agent, &[]);
    assert_eq!(
        bench.approvals.fetch_result(&id, &other).await.unwrap(),
        None
    );
    assert!(bench.approvals.show(&id).await.unwrap().result_kept);
    assert!(!bench.approvals.result_released(&id, &other).await.unwrap());
    for _ in 0..2 {
        let result = bench.approvals.fetch_result(&id, &caller()).await.unwrap();
        assert_eq!(result.as_deref(), Some(&b"the answer"[..]));
    }
    assert!(
        bench
            .approvals
            .result_released(&id, &caller())
            .await
            .unwrap()
    );
    assert!(
        !bench
            .approvals
            .result_released(&id, &caller())
            .await
            .unwrap()
    );
    assert_eq!(
        bench.approvals.fetch_result(&id, &caller()).await.unwrap(),
        None
    );
    let late = bench.approved("two").await;
    done(&bench, &late, Some(b"the answer")).await;
    bench.clock.advance(RESULT_KEPT);
    assert_eq!(
        bench
            .approvals
            .fetch_result(&late, &caller())
            .await
            .unwrap(),
        None
    );
}

// P9
#[tokio::test]
async fn a_result_that_is_too_large_is_not_kept_and_the_call_is_done_all_the_same() {
    let bench = Bench::new().await;
    let id = bench.approved("one").await;
    done(&bench, &id, Some(&vec![0; RESULT_BYTES_MAX + 1])).await;
    assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Done);
    assert_eq!(
        bench.approvals.fetch_result(&id, &caller()).await.unwrap(),
        None
    );
    // Small enough afterwards, and only one.
    assert!(
        bench
            .approvals
            .keep_result(&id, b"a".to_vec())
            .await
            .unwrap()
    );
    assert!(
        !bench
            .approvals
            .keep_result(&id, b"b".to_vec())
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_holder_whose_policy_asks_anew_supersedes_with_the_same_bytes() {
    let bench = Bench::new().await;
    let id = bench.approved("refund").await;
    let execution = bench.approvals.take(&id, &caller(), "i1").await.unwrap();
    let risk = terms(&[rule("risk", &[&[RISK]], 1)]);
    let ticket = bench
        .approvals
        .supersede(execution, Some(&risk))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Superseded);
    let again = ask(&bench.approvals, &caller(), "refund", &risk)
        .await
        .unwrap();
    assert_eq!((&again.id, again.joined), (&ticket.id, true));
    yes(&bench.approvals, &ticket.id, &risk, &human("rob", &[RISK]))
        .await
        .unwrap();
    let execution = bench
        .approvals
        .take(&ticket.id, &caller(), "i1")
        .await
        .unwrap();
    assert_eq!(execution.frozen(), b"refund");
    let nothing = bench.approvals.supersede(execution, None).await.unwrap();
    assert_eq!(nothing, None);
    assert_eq!(
        bench.approvals.state(&ticket.id).await.unwrap(),
        State::Superseded
    );
}

// P16
// P16
// P16
// P16
// P19
// P15
