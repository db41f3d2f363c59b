//! Votes: on record first, final noes, races, deadlines.

use super::*;

#[derive(Debug, thiserror::Error)]
#[error("the disk is full")]
struct Full;

fn ballot<'a>(id: &'a ApprovalId, rule: &'a RuleHash, voter: &'a Principal) -> Ballot<'a> {
    Ballot {
        approval: id,
        rule,
        voter,
        verdict: Verdict::Yes,
        reason: "checked with the customer",
        seen: None,
        facts: here(),
        widen: None,
    }
}

#[tokio::test]
async fn a_vote_that_cannot_be_recorded_does_not_count() {
    let bench = Bench::new().await;
    let id = bench.ask(&caller(), "refund").await.id;
    let rule = lead_terms().rules[0].hash;
    for verdict in [Verdict::Yes, Verdict::No] {
        let ann = lead("ann");
        let ballot = Ballot {
            verdict,
            ..ballot(&id, &rule, &ann)
        };
        let vote = bench
            .approvals
            .vote(ballot, |_| true, |_| async { Err(Full) })
            .await;
        assert!(matches!(vote, Err(VoteError::NotRecorded(_))));
    }
    let view = bench.approvals.show(&id).await.unwrap();
    assert_eq!(view.head.state, State::Pending);
    assert!(view.rules[0].votes.is_empty());
}

#[tokio::test]
async fn the_record_of_a_vote_comes_before_the_vote_and_says_what_it_is() {
    let bench = Bench::new().await;
    let id = bench.ask(&caller(), "refund").await.id;
    let rule = lead_terms().rules[0].hash;
    let ann = lead("ann");
    let (approvals, seen) = (bench.approvals.clone(), id.clone());
    let record = |note: VoteNote| async move {
        let view = approvals.show(&seen).await.unwrap();
        assert_eq!(view.head.state, State::Pending);
        assert!(view.rules[0].votes.is_empty());
        assert_eq!(note.digest, view.digest);
        assert_eq!(note.voter.subject, "ann");
        assert_eq!(note.rule, "lead");
        assert_eq!(note.reason, "checked with the customer");
        assert_eq!(note.function, "payments/createRefund");
        Ok::<(), Infallible>(())
    };
    let vote = bench
        .approvals
        .vote(ballot(&id, &rule, &ann), |_| true, record)
        .await;
    assert_eq!(vote.unwrap(), State::Approved);
    let view = bench.approvals.show(&id).await.unwrap();
    assert_eq!(view.rules[0].votes[0].reason, "checked with the customer");
}

#[tokio::test]
async fn a_refused_vote_is_not_offered_to_the_record() {
    let bench = Bench::new().await;
    let id = bench.ask(&caller(), "refund").await.id;
    let rule = lead_terms().rules[0].hash;
    let eve = human("eve", &[]);
    let record = |_| async { panic!("recorded") as Result<(), Infallible> };
    let vote = bench
        .approvals
        .vote(ballot(&id, &rule, &eve), |_| true, record)
        .await;
    assert!(matches!(vote, Err(VoteError::NotNamed)));
}

#[tokio::test]
async fn a_vote_is_for_what_was_shown() {
    let bench = Bench::new().await;
    let id = bench.ask(&caller(), "refund 10").await.id;
    let other = bench.ask(&caller(), "refund 99").await.id;
    let rule = lead_terms().rules[0].hash;
    let ann = lead("ann");
    let shown = bench.approvals.show(&other).await.unwrap().digest;
    let swapped = Ballot {
        seen: Some(&shown),
        facts: here(),
        widen: None,
        ..ballot(&id, &rule, &ann)
    };
    let vote = bench
        .approvals
        .vote(swapped, |_| true, |_| async { Ok::<(), Infallible>(()) })
        .await;
    assert!(matches!(vote, Err(VoteError::NotWhatWasShown)));
    let shown = bench.approvals.show(&id).await.unwrap().digest;
    let right = Ballot {
        seen: Some(&shown),
        facts: here(),
        widen: None,
        ..ballot(&id, &rule, &ann)
    };
    let vote = bench
        .approvals
        .vote(right, |_| true, |_| async { Ok::<(), Infallible>(()) })
        .await;
    assert_eq!(vote.unwrap(), State::Approved);
}

#[tokio::test]
async fn a_no_is_final_and_takes_back_an_approval_that_nobody_runs() {
    let bench = Bench::new().await;
    let id = bench.approved("refund").await;
    let denied = no(&bench.approvals, &id, &lead_terms(), &lead("bob")).await;
    assert_eq!(denied.unwrap(), State::Denied);
    let late = yes(&bench.approvals, &id, &lead_terms(), &lead("cat")).await;
    assert!(matches!(late, Err(VoteError::Closed(State::Denied))));
    let take = bench.approvals.take(&id, &caller(), "i1").await;
    assert!(matches!(take, Err(TakeError::NotApproved(State::Denied))));
}

#[tokio::test]
async fn a_no_after_the_call_began_is_too_late_and_says_so() {
    let bench = Bench::new().await;
    let id = bench.approved("refund").await;
    let execution = bench.approvals.take(&id, &caller(), "i1").await.unwrap();
    let late = no(&bench.approvals, &id, &lead_terms(), &lead("bob")).await;
    assert!(matches!(late, Err(VoteError::Closed(State::Executing))));
    bench
        .approvals
        .finish(execution, Outcome::Done { result: None })
        .await
        .unwrap();
}

// P7
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_yes_and_a_no_at_the_same_instant_deny() {
    let config = Config {
        pending_per_principal_max: 10_000,
        asks_per_hour_max: 10_000,
        cooldown_s: 0,
        ..Config::default()
    };
    let bench = Bench::with(config.clone()).await;
    let elsewhere = with(&bench.store, &bench.clock, config);
    for round in 0..60 {
        let id = bench.ask(&caller(), &format!("refund {round}")).await.id;
        let (here, there) = (bench.approvals.clone(), elsewhere.clone());
        let (one, other) = (id.clone(), id.clone());
        let yes = tokio::spawn(async move { yes(&here, &one, &lead_terms(), &lead("ann")).await });
        let no = tokio::spawn(async move { no(&there, &other, &lead_terms(), &lead("bob")).await });
        let (yes, no) = (yes.await.unwrap(), no.await.unwrap());
        assert_eq!(no.unwrap(), State::Denied, "a no is never lost");
        assert!(matches!(
            yes,
            Ok(State::Approved) | Err(VoteError::Closed(State::Denied))
        ));
        assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Denied);
        let view = bench.approvals.show(&id).await.unwrap();
        let counted = view.rules[0].votes.len();
        assert_eq!(counted, 1 + usize::from(yes.is_ok()), "no vote is lost");
    }
}

// P7: concurrent votes of a quorum are all counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_votes_all_count() {
    let bench = Bench::new().await;
    let eight = terms(&[rule("eight", &[&[LEADS]], 8)]);
    let id = ask(&bench.approvals, &caller(), "refund", &eight)
        .await
        .unwrap()
        .id;
    let votes: Vec<_> = (0..8)
        .map(|n| {
            let (approvals, id, eight) = (bench.approvals.clone(), id.clone(), eight.clone());
            tokio::spawn(async move { yes(&approvals, &id, &eight, &lead(&format!("v{n}"))).await })
        })
        .collect();
    let mut approved = 0;
    for vote in votes {
        if vote.await.unwrap().unwrap() == State::Approved {
            approved += 1;
        }
    }
    assert_eq!(approved, 1, "the last vote, and only it, approves");
}

// P8
#[tokio::test]
async fn deadlines_are_sharp_to_the_millisecond() {
    let millis = |n: u64| START.plus(Duration::from_millis(n));
    for (at, counts) in [(899_999, true), (900_000, false), (900_001, false)] {
        let bench = Bench::new().await;
        let id = bench.ask(&caller(), "refund").await.id;
        bench.clock.set(millis(at));
        let voter = lead("ann").signed_in(Some(millis(at)), None);
        let vote = yes(&bench.approvals, &id, &lead_terms(), &voter).await;
        if counts {
            assert_eq!(vote.unwrap(), State::Approved);
        } else {
            assert!(matches!(vote, Err(VoteError::Closed(State::Expired))));
        }
    }
    for (after, runs) in [(299_999, true), (300_000, false), (300_001, false)] {
        let bench = Bench::new().await;
        let id = bench.approved("refund").await;
        bench.clock.set(millis(after));
        let take = bench.approvals.take(&id, &caller(), "i1").await;
        match take {
            Ok(execution) => {
                assert!(runs);
                bench.approvals.give_back(execution).await.unwrap();
            }
            Err(TakeError::NotApproved(State::Expired)) => assert!(!runs),
            Err(error) => panic!("{error}"),
        }
    }
}

// P12
#[tokio::test]
async fn a_revoked_voter_does_not_count() {
    let bench = Bench::new().await;
    let id = bench.approved("refund").await;
    let what = Revoked::Principal {
        issuer: "corp".to_owned(),
        subject: "lea".to_owned(),
    };
    let changed = bench.approvals.revoked(&what).await.unwrap();
    assert_eq!(changed, [id.to_string()]);
    assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Pending);
    bench.clock.advance(Duration::from_millis(1));
    let vote = yes(&bench.approvals, &id, &lead_terms(), &lead("bob")).await;
    assert_eq!(vote.unwrap(), State::Approved);
    let view = bench.approvals.show(&id).await.unwrap();
    assert!(view.rules[0].votes[0].voided_at.is_some());
    assert!(view.rules[0].votes[1].voided_at.is_none());
}

// P12
#[tokio::test]
async fn a_voter_found_revoked_at_the_run_is_voided() {
    let bench = Bench::new().await;
    let two = terms(&[rule("two", &[&[LEADS]], 1)]);
    let id = ask(&bench.approvals, &caller(), "refund", &two)
        .await
        .unwrap()
        .id;
    yes(&bench.approvals, &id, &two, &lead("ann"))
        .await
        .unwrap();
    let execution = bench.approvals.take(&id, &caller(), "i1").await.unwrap();
    let ann = execution.voters()[0].key.clone();
    let voided = bench.approvals.void(execution, &[ann]).await.unwrap();
    assert!(matches!(voided, Voided::Reopened));
    assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Pending);
    // Somebody who did not vote takes nothing away.
    yes(&bench.approvals, &id, &two, &lead("bob"))
        .await
        .unwrap();
    let execution = bench.approvals.take(&id, &caller(), "i1").await.unwrap();
    assert_eq!(execution.fence(), 2);
    let eve = lead("eve").key().clone();
    let Voided::Still(execution) = bench.approvals.void(execution, &[eve]).await.unwrap() else {
        panic!("reopened");
    };
    assert_eq!(execution.voters().len(), 1);
    bench.approvals.give_back(*execution).await.unwrap();
}

#[tokio::test]
async fn revoking_the_requester_or_the_connection_cancels_what_it_asked() {
    let requester = Revoked::Principal {
        issuer: "corp".to_owned(),
        subject: "robot".to_owned(),
    };
    let hits = [
        requester,
        Revoked::Issuer("corp".to_owned()),
        Revoked::Connection("payments".to_owned()),
    ];
    for what in hits {
        let bench = Bench::new().await;
        let pending = bench.ask(&caller(), "one").await.id;
        let approved = bench.approved("two").await;
        assert_eq!(bench.approvals.revoked(&what).await.unwrap().len(), 2);
        for id in [pending, approved] {
            assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Cancelled);
        }
    }
}
