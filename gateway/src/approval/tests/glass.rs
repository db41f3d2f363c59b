//! Break-glass: whose call, why, for how long, and that it is nobody's second pair of eyes.

use super::*;
use crate::policy::BreakGlass;
use crate::store::BROKE_GLASS;

const ON_CALL: &str = "corp/on-call";
const WITHIN: Duration = Duration::from_secs(120);

fn glass_rule(name: &str, quorum: u32) -> RuleTerms {
    RuleTerms {
        step_up: StepUp {
            acr: vec!["mfa".to_owned()],
            max_age: None,
        },
        break_glass: Some(BreakGlass {
            who: GroupExpr {
                any_of: vec![vec![ON_CALL.to_owned()]],
            },
            within: WITHIN,
        }),
        ..rule(name, &[&[LEADS]], quorum)
    }
}

fn glass_terms() -> Terms {
    terms(&[glass_rule("lead", 1)])
}

/// On call, and a lead: her own votes count for nothing on her call.
fn olga() -> Principal {
    human("olga", &[ON_CALL, LEADS]).with_acr("mfa")
}

async fn break_glass(
    bench: &Bench,
    (id, rule): (&ApprovalId, &RuleTerms),
    who: &Principal,
    reason: &str,
) -> Result<State, VoteError> {
    let ballot = Ballot {
        approval: id,
        rule: &rule.hash,
        voter: who,
        verdict: Verdict::BreakGlass,
        reason,
        seen: None,
        facts: here(),
        widen: None,
    };
    let vote = bench
        .approvals
        .vote(ballot, |_| true, |_| async { Ok::<(), Infallible>(()) });
    vote.await
}

async fn asked(bench: &Bench, who: &Principal, terms: &Terms) -> ApprovalId {
    let ticket = ask(&bench.approvals, who, "restart", terms).await;
    ticket.unwrap().id
}

async fn at(bench: &Bench, seconds: u64) {
    bench.clock.set(START.plus(Duration::from_secs(seconds)));
}

// P20
#[tokio::test]
async fn a_broken_glass_lets_ones_own_call_through_once_and_says_so() {
    let bench = Bench::new().await;
    let terms = glass_terms();
    let id = asked(&bench, &olga(), &terms).await;
    let broken = break_glass(&bench, (&id, &terms.rules[0]), &olga(), "all is down").await;
    assert_eq!(broken.unwrap(), State::Approved);
    let view = bench.approvals.show(&id).await.unwrap();
    let vote = &view.rules[0].votes[0];
    assert_eq!(vote.verdict, Verdict::BreakGlass);
    assert_eq!(
        (vote.reason.as_str(), &vote.groups),
        ("all is down", &vec![ON_CALL.to_owned()])
    );
    let changes = bench.store.changes().await.unwrap();
    let told = changes
        .iter()
        .any(|c| c.state == State::Approved && c.cause == BROKE_GLASS);
    assert!(told, "{changes:?}");
    let execution = bench.approvals.take(&id, &olga(), "i1").await.unwrap();
    assert!(execution.broke_glass() && execution.voters()[0].glass);
    let done = bench
        .approvals
        .finish(execution, Outcome::Done { result: None });
    done.await.unwrap();
    // The same call again is another question.
    let again = ask(&bench.approvals, &olga(), "restart", &terms)
        .await
        .unwrap();
    assert_eq!((again.state, again.joined), (State::Pending, false));
}

// P20
#[tokio::test]
async fn a_glass_is_not_broken_without_a_reason_a_second_factor_or_a_name_nor_for_others() {
    let bench = Bench::new().await;
    let terms = glass_terms();
    let id = asked(&bench, &olga(), &terms).await;
    let lena = human("lena", &[ON_CALL]).with_acr("mfa");
    let olgas = |groups: &[&str]| human("olga", groups);
    let cases: [(Principal, &str, &str); 6] = [
        (olga(), "", "needs a reason"),
        (olga(), " \n\t", "needs a reason"),
        (lena, "urgent", "only who asked"),
        (
            olgas(&[LEADS]).with_acr("mfa"),
            "urgent",
            "does not name you",
        ),
        (olgas(&[ON_CALL]), "urgent", "another sign-in"),
        (
            olgas(&[ON_CALL]).with_acr("pwd"),
            "urgent",
            "another sign-in",
        ),
    ];
    for (who, reason, expected) in cases {
        let refused = break_glass(&bench, (&id, &terms.rules[0]), &who, reason).await;
        let text = refused.unwrap_err().to_string();
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // Policy has a say, and nothing that is refused is offered to the record.
    let ballot = Ballot {
        approval: &id,
        rule: &terms.rules[0].hash,
        voter: &olga(),
        verdict: Verdict::BreakGlass,
        reason: "urgent",
        seen: None,
        facts: here(),
        widen: None,
    };
    let record = |_| async { panic!("recorded") as Result<(), Infallible> };
    let refused = bench.approvals.vote(ballot, |_| false, record).await;
    assert!(matches!(refused, Err(VoteError::NotAllowed)));
    // A rule that does not offer it.
    let plain = lead_terms();
    let closed = ask(&bench.approvals, &olga(), "other", &plain)
        .await
        .unwrap();
    let refused = break_glass(&bench, (&closed.id, &plain.rules[0]), &olga(), "urgent").await;
    assert!(matches!(refused, Err(VoteError::NoGlass(rule)) if rule == "lead"));
    assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Pending);
}

// P20
#[tokio::test]
async fn nobody_breaks_the_glass_for_an_agent_that_acts_for_them() {
    let bench = Bench::new().await;
    let terms = glass_terms();
    let through = olga().acting(&[("corp", "robot")]);
    let id = asked(&bench, &through, &terms).await;
    let refused = break_glass(&bench, (&id, &terms.rules[0]), &olga(), "urgent").await;
    assert!(matches!(refused, Err(VoteError::NotYours)));
    let itself = break_glass(&bench, (&id, &terms.rules[0]), &through, "urgent").await;
    assert!(matches!(itself, Err(VoteError::Delegated)));
    let robots = asked(&bench, &caller(), &terms).await;
    let refused = break_glass(&bench, (&robots, &terms.rules[0]), &caller(), "urgent").await;
    assert!(matches!(refused, Err(VoteError::NotAPerson)));
}

// P20
#[tokio::test]
async fn a_glass_is_broken_once() {
    let bench = Bench::new().await;
    let terms = terms(&[glass_rule("lead", 1), rule("risk", &[&[RISK]], 1)]);
    let id = asked(&bench, &olga(), &terms).await;
    let lead = (&id, &terms.rules[0]);
    let first = break_glass(&bench, lead, &olga(), "urgent").await;
    assert_eq!(first.unwrap(), State::Pending, "the other rule is closed");
    let changes = bench.store.changes().await.unwrap();
    let told = changes
        .iter()
        .any(|c| c.state == State::Pending && c.cause == BROKE_GLASS);
    assert!(told, "people hear of it all the same: {changes:?}");
    let twice = break_glass(&bench, lead, &olga(), "urgent").await;
    assert!(matches!(twice, Err(VoteError::AlreadyVoted)));
    let risk = human("ron", &[RISK]);
    let state = yes(&bench.approvals, &id, &only(&terms, 1), &risk).await;
    assert_eq!(state.unwrap(), State::Approved);
    let closed = break_glass(&bench, lead, &olga(), "urgent").await;
    assert!(matches!(closed, Err(VoteError::Closed(State::Approved))));
}

fn only(terms: &Terms, n: usize) -> Terms {
    Terms {
        rules: vec![terms.rules[n].clone()],
    }
}

// P20
#[tokio::test]
async fn a_call_runs_within_the_time_of_its_broken_glass_and_not_later() {
    for (seconds, runs) in [(119, true), (120, false)] {
        let bench = Bench::new().await;
        let terms = glass_terms();
        let id = asked(&bench, &olga(), &terms).await;
        let broken = break_glass(&bench, (&id, &terms.rules[0]), &olga(), "urgent").await;
        assert_eq!(broken.unwrap(), State::Approved);
        at(&bench, seconds).await;
        match bench.approvals.take(&id, &olga(), "i1").await {
            Ok(execution) => {
                assert!(runs, "{seconds}");
                bench.approvals.give_back(execution).await.unwrap();
            }
            Err(error) => {
                assert!(!runs, "{seconds}: {error}");
                assert!(matches!(error, TakeError::NotApproved(State::Expired)));
            }
        }
    }
}

// P20
#[tokio::test]
async fn a_glass_that_was_broken_long_ago_opens_nothing_and_its_breaker_is_no_approver() {
    let bench = Bench::new().await;
    // Those on call are approvers as well: of others' calls.
    let on_call = RuleTerms {
        who: rule("on-call", &[&[ON_CALL]], 2).who,
        ..glass_rule("on-call", 2)
    };
    let terms = terms(&[on_call, rule("risk", &[&[RISK]], 1)]);
    let id = asked(&bench, &olga(), &terms).await;
    let broken = break_glass(&bench, (&id, &terms.rules[0]), &olga(), "urgent").await;
    assert_eq!(broken.unwrap(), State::Pending);
    at(&bench, 120).await;
    let late = |subject: &str, group: &str| {
        let now = START.plus(WITHIN);
        let who = Principal::for_tests("corp", subject, Kind::Human, &[group]);
        who.signed_in(Some(now), None).with_acr("mfa")
    };
    for (who, rule, state) in [
        (late("ron", RISK), 1, State::Pending),
        (late("ann", ON_CALL), 0, State::Pending),
        (late("bob", ON_CALL), 0, State::Approved),
    ] {
        let voted = yes(&bench.approvals, &id, &only(&terms, rule), &who).await;
        assert_eq!(voted.unwrap(), state, "{:?}", who.key());
    }
    let execution = bench.approvals.take(&id, &olga(), "i1").await.unwrap();
    bench.approvals.give_back(execution).await.unwrap();
}

#[tokio::test]
async fn who_is_told_of_a_broken_glass_can_still_say_no() {
    let bench = Bench::new().await;
    let terms = glass_terms();
    let id = asked(&bench, &olga(), &terms).await;
    let broken = break_glass(&bench, (&id, &terms.rules[0]), &olga(), "urgent").await;
    assert_eq!(broken.unwrap(), State::Approved);
    let denied = no(&bench.approvals, &id, &terms, &lead("lea")).await;
    assert_eq!(denied.unwrap(), State::Denied);
    let taken = bench.approvals.take(&id, &olga(), "i1").await;
    assert!(matches!(taken, Err(TakeError::NotApproved(State::Denied))));
}

#[tokio::test]
async fn a_broken_glass_that_somebody_wrote_into_the_database_opens_nothing() {
    let bench = Bench::new().await;
    let terms = terms(&[glass_rule("lead", 2)]);
    let id = asked(&bench, &olga(), &terms).await;
    let ann = lead("ann").with_acr("mfa");
    let state = yes(&bench.approvals, &id, &terms, &ann).await;
    assert_eq!(state.unwrap(), State::Pending);
    engine::meddle(&bench.sql, "UPDATE votes SET glass = 1").await;
    engine::meddle(&bench.sql, "UPDATE approvals SET state = 'approved'").await;
    let taken = bench.approvals.take(&id, &olga(), "i1").await;
    assert!(matches!(taken, Err(TakeError::Failed(Error::Tampered(_)))));
}
