//! Bounded grants: who, which calls, how many, how long, and who can no longer grant.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::policy::GrantTerms;
use crate::store::{GrantFilter, Revoked};

const USES: u32 = 3;
const HOUR: Duration = Duration::from_secs(3_600);

fn widening_rule(name: &str, quorum: u32) -> RuleTerms {
    RuleTerms {
        grant: Some(GrantTerms {
            uses: 5,
            within: HOUR,
        }),
        ..rule(name, &[&[LEADS]], quorum)
    }
}

fn wide_terms() -> Terms {
    terms(&[widening_rule("lead", 1)])
}

fn refund(amount: u64, note: &str) -> Value {
    let body = json!({ "amount": amount, "note": note });
    json!({ "request": { "target": "/refunds", "headers": [] }, "body": { "text": body.to_string() },
        "input": { "body": body } })
}

async fn tried(bench: &Bench, call: Value) -> Result<Ticket, AskError> {
    tried_at(&bench.approvals, call).await
}

async fn tried_at(approvals: &Approvals, call: Value) -> Result<Ticket, AskError> {
    let body = call.to_string();
    let question = Question {
        principal: &caller(),
        function: &function(),
        effect: Effect::Write,
        terms: &wide_terms(),
        frozen: body.as_bytes().to_vec(),
        summary: call,
        sameness: same(&body, None),
        call: CallId::from_bytes([3; 16]),
        apart: Vec::new(),
    };
    approvals.ask(question).await
}

async fn asked(bench: &Bench, who: &Principal, call: Value, terms: &Terms) -> Ticket {
    let body = call.to_string();
    let question = Question {
        principal: who,
        function: &function(),
        effect: Effect::Write,
        terms,
        frozen: body.as_bytes().to_vec(),
        summary: call,
        sameness: same(&body, None),
        call: CallId::from_bytes([3; 16]),
        apart: Vec::new(),
    };
    bench.approvals.ask(question).await.unwrap()
}

async fn widen(
    bench: &Bench,
    ticket: &Ticket,
    voter: &Principal,
    widening: &Widening,
) -> Result<State, VoteError> {
    let ballot = Ballot {
        approval: &ticket.id,
        rule: &wide_terms().rules[0].hash,
        voter,
        verdict: Verdict::Yes,
        reason: "goodwill",
        seen: None,
        facts: here(),
        widen: Some(widening),
    };
    let vote = bench
        .approvals
        .vote(ballot, |_| true, |_| async { Ok::<(), Infallible>(()) });
    vote.await
}

fn up_to_100() -> Widening {
    let most = BTreeMap::from([("body.amount".to_owned(), "100".to_owned())]);
    Widening::new(vec!["body.note".to_owned()], most, USES, HOUR).unwrap()
}

/// A refund of 10 that lea has approved, and with it three more up to 100 within an hour.
async fn granted(bench: &Bench) -> Widening {
    let ticket = asked(bench, &caller(), refund(10, "broken"), &wide_terms()).await;
    let widening = up_to_100();
    let state = widen(bench, &ticket, &lead("lea"), &widening).await;
    assert_eq!(state.unwrap(), State::Approved);
    widening
}

#[tokio::test]
async fn a_grant_opens_calls_that_it_covers_so_many_times_and_no_others() {
    let bench = Bench::new().await;
    let grant = granted(&bench).await;
    let over = asked(&bench, &caller(), refund(101, "late"), &wide_terms()).await;
    assert_eq!(over.state, State::Pending);
    assert!(over.grants.is_empty());
    for n in 0..u64::from(USES) {
        let ticket = asked(&bench, &caller(), refund(n, "late"), &wide_terms()).await;
        assert_eq!(ticket.state, State::Approved);
        assert_eq!(ticket.grants, [grant.id()]);
        let execution = bench
            .approvals
            .take(&ticket.id, &caller(), "i1")
            .await
            .unwrap();
        assert_eq!(execution.grants(), [grant.id()]);
        assert_eq!(execution.voters()[0].key.subject, "lea");
        assert!(execution.voters()[0].snapshot.is_some());
        let done = bench
            .approvals
            .finish(execution, Outcome::Done { result: None })
            .await;
        done.unwrap();
    }
    let after = asked(&bench, &caller(), refund(50, "late"), &wide_terms()).await;
    assert_eq!(after.state, State::Pending);
    let view = &bench
        .approvals
        .grants(GrantFilter::default(), &|_, _| true)
        .await
        .unwrap()
        .grants[0];
    assert_eq!((view.used, view.uses_max, view.stands), (3, 3, false));
    assert_eq!(view.granter, "corp/lea");
    assert_eq!(view.caller, "corp/robot");
    assert!(
        bench
            .approvals
            .grants(standing(), &|_, _| true)
            .await
            .unwrap()
            .grants
            .is_empty()
    );
}

fn standing() -> GrantFilter {
    GrantFilter {
        standing: true,
        ..GrantFilter::default()
    }
}

#[tokio::test]
async fn what_grants_opened_is_counted_by_itself_and_is_no_quick_decision() {
    let bench = Bench::new().await;
    bench.clock.advance(Duration::from_secs(1));
    let ticket = asked(&bench, &caller(), refund(10, "broken"), &wide_terms()).await;
    bench.clock.advance(Duration::from_secs(60));
    let widened = widen(&bench, &ticket, &lead("lea"), &up_to_100()).await;
    assert_eq!(widened.unwrap(), State::Approved);
    for amount in [20, 30] {
        let ticket = asked(&bench, &caller(), refund(amount, "late"), &wide_terms()).await;
        assert_eq!(ticket.state, State::Approved);
    }
    let figures = bench.approvals.figures().await.unwrap();
    let [figures] = &figures[..] else {
        panic!("{figures:?}")
    };
    assert_eq!(
        (figures.asked, figures.approved, figures.granted),
        (3, 3, 2)
    );
    assert_eq!(
        (figures.median_decision_ms, figures.rubber_stamps),
        (Some(60_000), 0)
    );
}

#[tokio::test]
async fn a_grant_is_for_its_caller_function_and_rule_only() {
    let bench = Bench::new().await;
    granted(&bench).await;
    let other = Principal::for_tests("corp", "robot-2", Kind::Agent, &[]);
    let ticket = asked(&bench, &other, refund(1, ""), &wide_terms()).await;
    assert_eq!(ticket.state, State::Pending);
    let changed = terms(&[widening_rule("leads-v2", 1)]);
    let ticket = asked(&bench, &caller(), refund(2, ""), &changed).await;
    assert_eq!(ticket.state, State::Pending);
    let also = terms(&[widening_rule("lead", 1), rule("risk", &[&[RISK]], 1)]);
    let ticket = asked(&bench, &caller(), refund(3, ""), &also).await;
    assert_eq!(ticket.state, State::Pending, "one of two rules is not both");
    let body = refund(4, "").to_string();
    let elsewhere: FunctionId = "payments/payOut".parse().unwrap();
    let question = Question {
        principal: &caller(),
        function: &elsewhere,
        effect: Effect::Write,
        terms: &wide_terms(),
        frozen: body.as_bytes().to_vec(),
        summary: refund(4, ""),
        sameness: same(&body, None),
        call: CallId::from_bytes([3; 16]),
        apart: Vec::new(),
    };
    let ticket = bench.approvals.ask(question).await.unwrap();
    assert_eq!(ticket.state, State::Pending);
}

#[tokio::test]
async fn the_time_of_a_grant_is_sharp_to_the_millisecond() {
    let bench = Bench::new().await;
    granted(&bench).await;
    let last = START.plus(HOUR.checked_sub(Duration::from_millis(1)).unwrap());
    bench.clock.set(last);
    let ticket = asked(&bench, &caller(), refund(1, ""), &wide_terms()).await;
    assert_eq!(ticket.state, State::Approved);
    bench.clock.set(START.plus(HOUR));
    let ticket = asked(&bench, &caller(), refund(2, ""), &wide_terms()).await;
    assert_eq!(ticket.state, State::Pending);
}

#[tokio::test]
async fn many_who_come_at_once_use_a_grant_up_and_no_further() {
    let bench = Bench::new().await;
    granted(&bench).await;
    let calls = (0..64).map(|n| {
        let approvals = bench.approvals.clone();
        async move {
            tried_at(&approvals, refund(n, "race"))
                .await
                .is_ok_and(|ticket| ticket.state == State::Approved)
        }
    });
    let opened = futures_util::future::join_all(calls).await;
    assert_eq!(
        opened.into_iter().filter(|opened| *opened).count(),
        USES as usize
    );
}

#[tokio::test]
async fn a_quorum_of_two_needs_two_whatever_one_has_granted() {
    let bench = Bench::new().await;
    let two = terms(&[widening_rule("lead", 2)]);
    let ticket = asked(&bench, &caller(), refund(10, ""), &two).await;
    let state = widen(&bench, &ticket, &lead("lea"), &up_to_100())
        .await
        .unwrap();
    assert_eq!(state, State::Pending);
    let later = asked(&bench, &caller(), refund(20, ""), &two).await;
    assert_eq!(later.state, State::Pending);
    let again = yes(&bench.approvals, &later.id, &two, &lead("lea")).await;
    assert!(matches!(again, Err(VoteError::AlreadyVoted)));
    let state = yes(&bench.approvals, &later.id, &two, &lead("bob"))
        .await
        .unwrap();
    assert_eq!(state, State::Approved);
}

#[tokio::test]
async fn a_no_to_the_first_call_ends_what_was_granted_with_it() {
    let bench = Bench::new().await;
    let config = Config {
        cooldown_s: 0,
        ..Config::default()
    };
    let bench = Bench {
        approvals: with(&bench.store, &bench.clock, config),
        ..bench
    };
    let two = terms(&[widening_rule("lead", 2)]);
    let ticket = asked(&bench, &caller(), refund(10, ""), &two).await;
    widen(&bench, &ticket, &lead("lea"), &up_to_100())
        .await
        .unwrap();
    let state = no(&bench.approvals, &ticket.id, &two, &lead("bob"))
        .await
        .unwrap();
    assert_eq!(state, State::Denied);
    let later = asked(&bench, &caller(), refund(20, ""), &two).await;
    assert!(later.grants.is_empty());
}

#[tokio::test]
async fn the_first_call_taken_back_ends_what_was_granted_with_it() {
    let bench = Bench::new().await;
    let two = terms(&[widening_rule("lead", 2)]);
    let ticket = asked(&bench, &caller(), refund(10, ""), &two).await;
    let widened = widen(&bench, &ticket, &lead("lea"), &up_to_100()).await;
    assert_eq!(widened.unwrap(), State::Pending);
    bench.approvals.cancel(&ticket.id, &caller()).await.unwrap();
    let later = asked(&bench, &caller(), refund(20, ""), &two).await;
    assert!(later.grants.is_empty());
    assert!(
        bench
            .approvals
            .grants(standing(), &|_, _| true)
            .await
            .unwrap()
            .grants
            .is_empty()
    );
}

/// A question that waits already when the grant is given: the vote that it makes is told once.
#[tokio::test]
async fn a_ticket_names_the_grants_that_voted_by_this_question_and_no_others() {
    let bench = Bench::new().await;
    let two = terms(&[widening_rule("lead", 2)]);
    let waiting = asked(&bench, &caller(), refund(20, ""), &two).await;
    assert!(waiting.grants.is_empty());
    let first = asked(&bench, &caller(), refund(10, ""), &two).await;
    let grant = up_to_100();
    widen(&bench, &first, &lead("lea"), &grant).await.unwrap();
    let again = asked(&bench, &caller(), refund(20, ""), &two).await;
    assert_eq!(again.id, waiting.id);
    assert_eq!((again.state, again.joined), (State::Pending, true));
    assert_eq!(again.grants, [grant.id()]);
    let third = asked(&bench, &caller(), refund(20, ""), &two).await;
    assert!(third.grants.is_empty(), "it has voted already");
    let view = &bench
        .approvals
        .grants(standing(), &|_, _| true)
        .await
        .unwrap()
        .grants[0];
    assert_eq!(view.used, 1);
}

#[tokio::test]
async fn what_grants_open_counts_by_what_is_left_of_them_and_not_as_asked() {
    let bench = Bench::new().await;
    let config = Config {
        asks_per_hour_max: 2,
        pending_per_principal_max: 1,
        ..Config::default()
    };
    let approvals = with(&bench.store, &bench.clock, config);
    let bench = Bench { approvals, ..bench };
    granted(&bench).await;
    for n in 0..u64::from(USES) {
        // None of them is run: they stay open.
        let ticket = asked(&bench, &caller(), refund(n, "late"), &wide_terms()).await;
        assert_eq!(ticket.state, State::Approved);
    }
    let over = tried(&bench, refund(4, "late")).await;
    assert!(matches!(
        over,
        Err(AskError::TooManyPending("of this caller"))
    ));
    // When they are over, people can be asked once more in this hour: the grants' calls asked nobody.
    bench.clock.set(START.plus(Duration::from_secs(301)));
    bench.approvals.sweep().await.unwrap();
    assert!(tried(&bench, refund(500, "")).await.is_ok());
}

#[tokio::test]
async fn ended_and_revoked_grants_open_nothing() {
    for how in [
        "ended",
        "granter revoked",
        "caller revoked",
        "approval revoked",
    ] {
        let bench = Bench::new().await;
        let grant = granted(&bench).await;
        let what = |subject: &str| Revoked::Principal {
            issuer: "corp".to_owned(),
            subject: subject.to_owned(),
        };
        match how {
            "ended" => {
                assert!(
                    bench
                        .approvals
                        .end_grant(grant.id(), &lead("bob"))
                        .await
                        .unwrap()
                );
                assert!(
                    !bench
                        .approvals
                        .end_grant(grant.id(), &lead("bob"))
                        .await
                        .unwrap()
                );
            }
            "granter revoked" => drop(bench.approvals.revoked(&what("lea")).await.unwrap()),
            "caller revoked" => drop(bench.approvals.revoked(&what("robot")).await.unwrap()),
            _ => {
                let approval = bench
                    .approvals
                    .grants(standing(), &|_, _| true)
                    .await
                    .unwrap()
                    .grants[0]
                    .approval
                    .clone();
                drop(
                    bench
                        .approvals
                        .revoked(&Revoked::Approval(approval))
                        .await
                        .unwrap(),
                );
            }
        }
        let ticket = asked(&bench, &caller(), refund(1, ""), &wide_terms()).await;
        assert_eq!(ticket.state, State::Pending, "{how}");
        let view = &bench
            .approvals
            .grants(GrantFilter::default(), &|_, _| true)
            .await
            .unwrap()
            .grants[0];
        assert!(!view.stands && view.ended_by.is_some(), "{how}");
    }
}

#[tokio::test]
async fn whom_the_granter_acts_for_by_now_gets_nothing_from_the_grant() {
    let bench = Bench::new().await;
    granted(&bench).await;
    let body = refund(1, "").to_string();
    let terms = wide_terms();
    let question = Question {
        principal: &caller(),
        function: &function(),
        effect: Effect::Write,
        terms: &terms,
        frozen: body.as_bytes().to_vec(),
        summary: refund(1, ""),
        sameness: same(&body, None),
        call: CallId::from_bytes([3; 16]),
        apart: vec![lead("lea").key().clone()],
    };
    let ticket = bench.approvals.ask(question).await.unwrap();
    assert_eq!(ticket.state, State::Pending);
}

#[tokio::test]
async fn a_grant_ends_when_its_giver_may_not_approve_any_more() {
    let bench = Bench::new().await;
    granted(&bench).await;
    let ticket = asked(&bench, &caller(), refund(1, ""), &wide_terms()).await;
    let execution = bench.approvals.take(&ticket.id, &caller(), "i1").await;
    let fallen = [lead("lea").key().clone()];
    let voided = bench.approvals.void(execution.unwrap(), &fallen).await;
    assert!(matches!(voided.unwrap(), Voided::Reopened));
    let again = asked(&bench, &caller(), refund(1, ""), &wide_terms()).await;
    assert_eq!((again.state, again.joined), (State::Pending, true));
    assert!(again.grants.is_empty());
    let view = &bench
        .approvals
        .grants(GrantFilter::default(), &|_, _| true)
        .await
        .unwrap()
        .grants[0];
    assert_eq!((view.used, view.stands), (1, false));
    assert!(view.ended_by.as_ref().unwrap().starts_with("policy"));
}

#[tokio::test]
async fn no_yes_is_widened_further_than_the_rule_offers() {
    let bench = Bench::new().await;
    let narrow = asked(&bench, &caller(), refund(1, ""), &lead_terms()).await;
    let refused = widen(&bench, &narrow, &lead("lea"), &up_to_100()).await;
    let not_offered = VoteError::Widening(WideningError::NotOffered("lead".to_owned()));
    assert_eq!(refused.unwrap_err().to_string(), not_offered.to_string());
    let ticket = asked(&bench, &caller(), refund(2, ""), &wide_terms()).await;
    let none = BTreeMap::new;
    for (uses, within) in [(0, HOUR), (6, HOUR), (1, Duration::ZERO), (1, HOUR * 2)] {
        let wide = Widening::new(Vec::new(), none(), uses, within).unwrap();
        let refused = widen(&bench, &ticket, &lead("lea"), &wide).await;
        assert!(matches!(
            refused,
            Err(VoteError::Widening(WideningError::TooWide(5, 3_600)))
        ));
    }
    let nothing = Widening::new(vec!["body.what".to_owned()], none(), 1, HOUR).unwrap();
    let refused = widen(&bench, &ticket, &lead("lea"), &nothing)
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`body.what` is not one of the call's arguments (or stands for two of them); they are: \
         body.amount, body.note, target"
    );
    assert!(
        bench
            .approvals
            .grants(GrantFilter::default(), &|_, _| true)
            .await
            .unwrap()
            .grants
            .is_empty()
    );
    let view = bench.approvals.show(&ticket.id).await.unwrap();
    assert!(
        view.rules[0].votes.is_empty(),
        "a refused widening is no vote"
    );
}

#[tokio::test]
async fn a_grant_that_somebody_wrote_into_the_database_opens_nothing() {
    let bench = Bench::new().await;
    granted(&bench).await;
    for change in [
        "UPDATE grants SET uses_max = 1000000",
        "UPDATE grants SET uses_max = 3, until_ms = until_ms + 1",
        "UPDATE grants SET until_ms = until_ms - 1, asker_subject = 'x'",
        "UPDATE grants SET asker_subject = 'robot', subject = 'boss'",
    ] {
        engine::meddle(&bench.sql, change).await;
        let ticket = asked(&bench, &caller(), refund(1, change), &wide_terms()).await;
        assert_eq!(ticket.state, State::Pending, "{change}");
    }
    let back = "UPDATE grants SET subject = 'lea'";
    engine::meddle(&bench.sql, back).await;
    let ticket = asked(&bench, &caller(), refund(2, ""), &wide_terms()).await;
    assert_eq!(ticket.state, State::Approved);
}

#[tokio::test]
async fn a_list_of_grants_goes_on_behind_those_that_are_not_seen_and_names_none_of_them() {
    let bench = Bench::new().await;
    let mut given = Vec::new();
    for (n, voter) in ["lea", "lou", "lea"].into_iter().enumerate() {
        let call = refund(10 + n as u64, voter);
        // Each is a question of its own: no grant that is there covers it.
        let strict = Widening::new(Vec::new(), BTreeMap::new(), 1, HOUR).unwrap();
        let ticket = asked(&bench, &caller(), call, &wide_terms()).await;
        widen(&bench, &ticket, &lead(voter), &strict).await.unwrap();
        given.push(strict.id().to_owned());
        bench.clock.advance(Duration::from_secs(1));
    }
    let of_lea = |granter: &str, _: &str| granter == "corp/lea";
    let page = bench.approvals.grants(standing(), &of_lea).await.unwrap();
    let ids: Vec<_> = page.grants.iter().map(|grant| &grant.id).collect();
    assert_eq!((ids, page.next), (vec![&given[2], &given[0]], None));
    // What is not seen is not opened: the one that is not what was stored says so to those who see it only.
    let broken = "UPDATE grants SET pattern = x'00' WHERE subject = 'lou'";
    assert_eq!(engine::meddle(&bench.sql, broken).await, 1);
    let all = bench
        .approvals
        .grants(standing(), &|_, _| true)
        .await
        .unwrap();
    assert!(all.grants[1].pattern[0].contains("not what was stored"));
    assert_eq!(
        bench
            .approvals
            .grants(standing(), &of_lea)
            .await
            .unwrap()
            .grants
            .len(),
        2
    );
}
