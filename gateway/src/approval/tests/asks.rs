//! Asking, joining, bounds; lists, changes and texts.

use super::*;
use crate::identity::PrincipalKey;

#[tokio::test]
async fn the_same_call_joins_its_open_approval() {
    let bench = Bench::new().await;
    let first = bench.ask(&caller(), "refund").await;
    assert!(!first.joined);
    let again = bench.ask(&caller(), "refund").await;
    assert_eq!((again.id.clone(), again.joined), (first.id.clone(), true));
    yes(&bench.approvals, &first.id, &lead_terms(), &lead("lea"))
        .await
        .unwrap();
    let approved = bench.ask(&caller(), "refund").await;
    assert_eq!(
        (approved.id, approved.state),
        (first.id.clone(), State::Approved)
    );
    let execution = bench
        .approvals
        .take(&first.id, &caller(), "i1")
        .await
        .unwrap();
    let running = bench.ask(&caller(), "refund").await;
    assert_eq!((running.id, running.state), (first.id, State::Executing));
    bench.approvals.give_back(execution).await.unwrap();
}

#[tokio::test]
async fn one_changed_byte_is_another_call() {
    let bench = Bench::new().await;
    let id = bench.approved("refund 10").await;
    let other = bench.ask(&caller(), "refund 11").await;
    assert_ne!(other.id, id);
    assert_eq!(other.state, State::Pending);
    let take = bench.approvals.take(&other.id, &caller(), "i1").await;
    assert!(matches!(take, Err(TakeError::NotApproved(State::Pending))));
}

#[tokio::test]
async fn other_terms_supersede_and_never_inherit_votes() {
    let bench = Bench::new().await;
    let id = bench.approved("refund").await;
    let stricter = terms(&[lead_terms().rules[0].clone(), rule("risk", &[&[RISK]], 1)]);
    let ticket = ask(&bench.approvals, &caller(), "refund", &stricter)
        .await
        .unwrap();
    assert_ne!(ticket.id, id);
    assert_eq!(ticket.state, State::Pending);
    let old = bench.approvals.show(&id).await.unwrap();
    assert_eq!(old.head.state, State::Superseded);
    assert_eq!(old.successor.as_deref(), Some(ticket.id.as_str()));
    let new = bench.approvals.show(&ticket.id).await.unwrap();
    assert!(
        new.rules
            .iter()
            .all(|rule| !rule.open && rule.votes.is_empty())
    );
}

#[tokio::test]
async fn one_idempotency_key_stands_for_one_request() {
    let bench = Bench::new().await;
    let approvals = &bench.approvals;
    let first = ask_keyed(approvals, &caller(), "refund 10", &lead_terms(), Some("k")).await;
    let id = first.unwrap().id;
    let other = ask_keyed(approvals, &caller(), "refund 11", &lead_terms(), Some("k")).await;
    assert!(matches!(other, Err(AskError::Conflict(of)) if of == id));
    // Another caller's key is another key.
    let stranger = Principal::for_tests("corp", "robot2", Kind::Agent, &[]);
    ask_keyed(approvals, &stranger, "refund 11", &lead_terms(), Some("k"))
        .await
        .unwrap();
}

#[tokio::test]
async fn one_agent_cannot_flood_approvers() {
    let bench = Bench::new().await;
    let mut taken = 0;
    for n in 0..200 {
        match ask(
            &bench.approvals,
            &caller(),
            &format!("refund {n}"),
            &lead_terms(),
        )
        .await
        {
            Ok(_) => taken += 1,
            Err(AskError::TooManyPending(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(taken, 5);
    // Others are not hit.
    let other = Principal::for_tests("corp", "robot2", Kind::Agent, &[]);
    bench.ask(&other, "refund").await;
}

#[tokio::test]
async fn asking_and_taking_back_does_not_flood_approvers_either() {
    let bench = Bench::new().await;
    let mut taken = 0;
    for n in 0..100 {
        match ask(
            &bench.approvals,
            &caller(),
            &format!("refund {n}"),
            &lead_terms(),
        )
        .await
        {
            Ok(ticket) => {
                taken += 1;
                bench.approvals.cancel(&ticket.id, &caller()).await.unwrap();
            }
            Err(AskError::TooManyPending(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(taken, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_of_one_call_is_one_approval() {
    let bench = Bench::new().await;
    let asks: Vec<_> = (0..100)
        .map(|_| {
            let approvals = bench.approvals.clone();
            tokio::spawn(async move {
                ask(&approvals, &caller(), "refund", &lead_terms())
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    let mut new = 0;
    for asked in asks {
        let ticket = asked.await.unwrap();
        new += usize::from(!ticket.joined);
        ids.insert(ticket.id);
    }
    assert_eq!((ids.len(), new), (1, 1));
}

#[tokio::test]
async fn after_a_no_the_caller_waits_also_with_another_blank() {
    let bench = Bench::new().await;
    let id = bench.ask(&caller(), "refund").await.id;
    no(&bench.approvals, &id, &lead_terms(), &lead("lea"))
        .await
        .unwrap();
    let same = ask(&bench.approvals, &caller(), "refund", &lead_terms()).await;
    assert!(matches!(same, Err(AskError::Denied { id: of, .. }) if of == id));
    let blank = ask(&bench.approvals, &caller(), "refund ", &lead_terms()).await;
    assert!(matches!(blank, Err(AskError::CoolingDown(_))));
    bench.clock.advance(Duration::from_secs(60));
    let later = ask(&bench.approvals, &caller(), "refund ", &lead_terms())
        .await
        .unwrap();
    let again = lead("lea").signed_in(Some(START.plus(Duration::from_secs(60))), None);
    no(&bench.approvals, &later.id, &lead_terms(), &again)
        .await
        .unwrap();
    // The second no in an hour counts twice as long.
    bench.clock.advance(Duration::from_secs(119));
    let soon = ask(&bench.approvals, &caller(), "refund  ", &lead_terms()).await;
    assert!(matches!(soon, Err(AskError::CoolingDown(_))));
    bench.clock.advance(Duration::from_secs(1));
    ask(&bench.approvals, &caller(), "refund  ", &lead_terms())
        .await
        .unwrap();
}

#[tokio::test]
async fn changes_come_in_order_and_again_until_they_are_taken() {
    let bench = Bench::new().await;
    let id = bench.approved("refund").await;
    done(&bench, &id, None).await;
    let changes = bench.approvals.next_changes().await.unwrap();
    let states: Vec<State> = changes.iter().map(|change| change.state).collect();
    let path = [
        State::Pending,
        State::Approved,
        State::Executing,
        State::Done,
    ];
    assert_eq!(states, path);
    assert!(changes.iter().all(|change| change.approval == id.as_str()));
    for change in &changes[..2] {
        bench.approvals.changes_taken(change.seq).await.unwrap();
    }
    let left = bench.approvals.next_changes().await.unwrap();
    assert_eq!(left, changes[2..]);
    for change in &changes[2..] {
        bench.approvals.changes_taken(change.seq).await.unwrap();
    }
    let approvals = bench.approvals.clone();
    let next = tokio::spawn(async move { approvals.next_changes().await.unwrap() });
    bench.ask(&caller(), "other").await;
    assert_eq!(next.await.unwrap()[0].state, State::Pending);
}

#[tokio::test]
async fn what_expires_is_told_and_its_content_is_gone() {
    let bench = Bench::new().await;
    let id = bench.ask(&caller(), "refund").await.id;
    bench.clock.advance(Duration::from_secs(900));
    assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Expired);
    assert_eq!(bench.approvals.sweep().await.unwrap().expired, 1);
    assert_eq!(bench.approvals.sweep().await.unwrap().expired, 0);
    let changes = bench.approvals.next_changes().await.unwrap();
    assert_eq!(changes.last().unwrap().state, State::Expired);
    let view = bench.approvals.show(&id).await.unwrap();
    assert_eq!((view.head.state, view.summary), (State::Expired, None));
    bench.clock.advance(HISTORY_KEPT + Duration::from_secs(1));
    assert_eq!(bench.approvals.sweep().await.unwrap().forgotten, 1);
    assert!(matches!(
        bench.approvals.show(&id).await,
        Err(Error::Unknown(_))
    ));
}

#[tokio::test]
async fn what_is_too_large_to_hold_is_refused() {
    let bench = Bench::new().await;
    let huge = "x".repeat(FROZEN_BYTES_MAX + 1);
    let asked = ask(&bench.approvals, &caller(), &huge, &lead_terms()).await;
    assert!(matches!(asked, Err(AskError::Failed(Error::TooLarge(..)))));
}

#[tokio::test]
async fn lists_filter_and_page() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(
            bench
                .ask(&caller(), &format!("refund {n}"))
                .await
                .id
                .to_string(),
        );
        bench.clock.advance(Duration::from_secs(1));
    }
    ids.reverse();
    let filter = crate::store::Filter {
        limit: 2,
        ..crate::store::Filter::default()
    };
    let first = bench.approvals.list(filter.clone()).await.unwrap();
    assert_eq!([&first[0].head.id, &first[1].head.id], [&ids[0], &ids[1]]);
    let next = crate::store::Filter {
        before: Some(first[1].head.id.clone()),
        ..filter.clone()
    };
    assert_eq!(bench.approvals.list(next).await.unwrap()[0].head.id, ids[2]);
    // Behind one that has ended since, what waits goes on.
    let ended = format!(
        "UPDATE approvals SET state = 'denied' WHERE id = '{}'",
        ids[0]
    );
    assert_eq!(engine::meddle(&bench.sql, &ended).await, 1);
    let waiting = crate::store::Filter {
        states: vec![State::Pending],
        before: Some(ids[0].clone()),
        ..filter.clone()
    };
    let waiting = bench.approvals.list(waiting).await.unwrap();
    assert_eq!(
        [&waiting[0].head.id, &waiting[1].head.id],
        [&ids[1], &ids[2]]
    );
    let none = crate::store::Filter {
        states: vec![State::Approved],
        ..filter
    };
    assert!(bench.approvals.list(none).await.unwrap().is_empty());
    let key = bench
        .approvals
        .requester(&ids[0].parse().unwrap())
        .await
        .unwrap();
    let robot = PrincipalKey {
        issuer: "corp".to_owned(),
        subject: "robot".to_owned(),
    };
    assert_eq!(key, robot);
}

#[test]
fn ids_are_of_one_form() {
    let good = "apr_0123456789abcdef0123456789abcdef";
    assert_eq!(good.parse::<ApprovalId>().unwrap().to_string(), good);
    for bad in [
        "",
        "apr_",
        &good[..35],
        &good.to_uppercase(),
        &format!("{good}0"),
        "apr_' OR 1=1",
    ] {
        assert!(bad.parse::<ApprovalId>().is_err(), "{bad}");
    }
}

#[test]
fn text_of_strangers_shows_what_it_is() {
    let shown = terminal_safe("pay\u{202e}01\u{1b}[2J\u{200b}\tok\n\u{9b}x\u{e0041}é日");
    assert_eq!(
        shown,
        "pay\\u{202e}01\\u{1b}[2J\\u{200b}\\tok\\n\\u{9b}x\\u{e0041}é日"
    );
    let pile = format!("a{}", "\u{301}".repeat(6));
    assert_eq!(terminal_safe(&pile).matches("\\u{301}").count(), 2);
    assert_eq!(terminal_safe("{\"a\": \"b\\n\"}"), "{\"a\": \"b\\n\"}");
}

#[test]
fn the_defaults_are_sound_and_faults_are_named() {
    assert!(Config::default().faults().is_empty());
    let bad = Config {
        vote_fresh_s: 601,
        execute_within_s: 0,
        ..Config::default()
    };
    let fields: Vec<_> = bad.faults().into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["execute_within_s", "vote_fresh_s"]);
}
