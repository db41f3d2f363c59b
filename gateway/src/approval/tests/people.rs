//! Who may vote, and how people are counted.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::approval::tally::{Yes, all_open};

fn both() -> Terms {
    terms(&[rule("both", &[&[LEADS, RISK]], 1)])
}

async fn held(requester: &Principal, terms: &Terms) -> (Bench, ApprovalId) {
    let bench = Bench::new().await;
    let ticket = ask(&bench.approvals, requester, "refund", terms)
        .await
        .unwrap();
    (bench, ticket.id)
}

async fn refused(requester: &Principal, voter: &Principal) -> VoteError {
    let (bench, id) = held(requester, &lead_terms()).await;
    let refusal = yes(&bench.approvals, &id, &lead_terms(), voter).await;
    let state = bench.approvals.state(&id).await.unwrap();
    assert_eq!(state, State::Pending);
    refusal.unwrap_err()
}

// P10
#[tokio::test]
async fn the_requester_cannot_vote_on_its_own_call() {
    let ann = lead("ann");
    assert!(matches!(
        refused(&ann, &lead("ann")).await,
        VoteError::OwnCall
    ));
}

// P10
#[tokio::test]
async fn an_administrator_cannot_vote_on_its_own_call() {
    let root = human("root", &[LEADS, "corp/admins"]);
    let again = human("root", &[LEADS, "corp/admins"]);
    assert!(matches!(refused(&root, &again).await, VoteError::OwnCall));
}

// P10
#[tokio::test]
async fn a_second_account_of_the_requester_cannot_vote() {
    let ann = human("ann", &[]).of_person("p-7");
    let other = Principal::for_tests("partner", "a.smith", Kind::Human, &[LEADS])
        .signed_in(Some(START), None)
        .of_person("p-7");
    assert!(matches!(refused(&ann, &other).await, VoteError::OwnCall));
}

// P10
#[tokio::test]
async fn the_person_for_whom_an_agent_acts_cannot_vote() {
    // The token is the person's; the agent stands in `act`.
    let delegated =
        Principal::for_tests("corp", "ann", Kind::Agent, &[]).acting(&[("corp", "bot")]);
    assert!(matches!(
        refused(&delegated, &lead("ann")).await,
        VoteError::OwnCall
    ));
}

// P10
#[tokio::test]
async fn an_actor_of_the_requester_cannot_vote() {
    let delegated = caller().acting(&[("corp", "bot"), ("corp", "operator")]);
    assert!(matches!(
        refused(&delegated, &lead("operator")).await,
        VoteError::OwnCall
    ));
}

// P10
#[tokio::test]
async fn the_owner_of_a_service_account_cannot_vote() {
    let account = caller().claiming("owner", json!("ann"));
    assert!(matches!(
        refused(&account, &lead("ann")).await,
        VoteError::OwnCall
    ));
    let account = caller().claiming("owner", json!("p-7"));
    let owner = lead("other").of_person("p-7");
    assert!(matches!(
        refused(&account, &owner).await,
        VoteError::OwnCall
    ));
}

// P10
#[tokio::test]
async fn people_named_with_the_question_cannot_vote() {
    let bench = Bench::new().await;
    let question = Question {
        principal: &caller(),
        function: &function(),
        effect: Effect::Write,
        terms: &lead_terms(),
        frozen: b"x".to_vec(),
        summary: json!({}),
        sameness: same("x", None),
        call: CallId::from_bytes([3; 16]),
        apart: vec![lead("ann").key().clone()],
    };
    let id = bench.approvals.ask(question).await.unwrap().id;
    let vote = yes(&bench.approvals, &id, &lead_terms(), &lead("ann")).await;
    assert!(matches!(vote, Err(VoteError::OwnCall)));
}

// P10: an e-mail address is never who somebody is; equal or odd ones neither join nor separate people.
#[tokio::test]
async fn e_mail_addresses_say_nothing_about_who_somebody_is() {
    let address = json!("ann@corp.example@evil.example");
    let requester = human("u-1", &[]).claiming("email", address.clone());
    let (bench, id) = held(&requester, &lead_terms()).await;
    let voter = lead("u-2").claiming("email", address);
    let state = yes(&bench.approvals, &id, &lead_terms(), &voter).await;
    assert_eq!(state.unwrap(), State::Approved);
}

#[tokio::test]
async fn only_people_vote() {
    for kind in [Kind::Workload, Kind::Agent] {
        let voter =
            Principal::for_tests("corp", "bot", kind, &[LEADS]).signed_in(Some(START), None);
        assert!(matches!(
            refused(&caller(), &voter).await,
            VoteError::NotAPerson
        ));
    }
    let delegated = lead("ann").acting(&[("corp", "bot")]);
    assert!(matches!(
        refused(&caller(), &delegated).await,
        VoteError::Delegated
    ));
}

#[tokio::test]
async fn a_voter_has_signed_in_within_ten_minutes() {
    let ago = |secs: u64| Some(Timestamp::from_secs(START.secs() - secs));
    let ahead = |secs: u64| Some(Timestamp::from_secs(START.secs() + secs));
    let stale = [
        (ago(601), None),
        // A token that is renewed does not make an old sign-in fresh.
        (ago(601), ago(1)),
        (None, ago(601)),
        (None, None),
        (ahead(61), None),
    ];
    for (authenticated, issued) in stale {
        let voter = lead("ann").signed_in(authenticated, issued);
        assert!(matches!(
            refused(&caller(), &voter).await,
            VoteError::NotFresh
        ));
    }
    for (authenticated, issued) in [(ago(600), None), (None, ago(600)), (ahead(60), None)] {
        let (bench, id) = held(&caller(), &lead_terms()).await;
        let voter = lead("ann").signed_in(authenticated, issued);
        let state = yes(&bench.approvals, &id, &lead_terms(), &voter).await;
        assert_eq!(state.unwrap(), State::Approved);
    }
}

#[tokio::test]
async fn a_voter_is_named_by_the_rule_and_permitted_by_policy() {
    let outsider = human("eve", &["corp/interns", "partner/leads"]);
    assert!(matches!(
        refused(&caller(), &outsider).await,
        VoteError::NotNamed
    ));
    let (bench, id) = held(&caller(), &lead_terms()).await;
    let ballot = Ballot {
        approval: &id,
        rule: &lead_terms().rules[0].hash,
        voter: &lead("ann"),
        verdict: Verdict::Yes,
        reason: "",
        seen: None,
        facts: here(),
        widen: None,
    };
    let vote = bench
        .approvals
        .vote(ballot, |_| false, |_| async { Ok::<(), Infallible>(()) })
        .await;
    assert!(matches!(vote, Err(VoteError::NotAllowed)));
}

#[tokio::test]
async fn one_vote_a_person_and_rule() {
    let two = terms(&[rule("two", &[&[LEADS]], 2)]);
    let (bench, id) = held(&caller(), &two).await;
    let ann = lead("ann").of_person("p-1");
    assert_eq!(
        yes(&bench.approvals, &id, &two, &ann).await.unwrap(),
        State::Pending
    );
    let again = yes(&bench.approvals, &id, &two, &lead("ann").of_person("p-1")).await;
    assert!(matches!(again, Err(VoteError::AlreadyVoted)));
    // The same person under another account.
    let other = yes(&bench.approvals, &id, &two, &lead("ann2").of_person("p-1")).await;
    assert!(matches!(other, Err(VoteError::AlreadyVoted)));
    let bob = yes(&bench.approvals, &id, &two, &lead("bob")).await;
    assert_eq!(bob.unwrap(), State::Approved);
}

// A person in two groups is one person: the mistake of a peer.
#[tokio::test]
async fn one_person_does_not_fill_two_legs() {
    let (bench, id) = held(&caller(), &both()).await;
    let all = human("ann", &[LEADS, RISK]);
    assert_eq!(
        yes(&bench.approvals, &id, &both(), &all).await.unwrap(),
        State::Pending
    );
    let risk = human("rob", &[RISK]);
    assert_eq!(
        yes(&bench.approvals, &id, &both(), &risk).await.unwrap(),
        State::Approved
    );
}

#[tokio::test]
async fn every_rule_needs_its_own_votes() {
    let two = terms(&[rule("a", &[&[LEADS]], 1), rule("b", &[&[RISK]], 1)]);
    let (bench, id) = held(&caller(), &two).await;
    let ann = human("ann", &[LEADS, RISK]);
    let approvals = &bench.approvals;
    let first = cast(approvals, &id, &two.rules[0].hash, &ann, Verdict::Yes).await;
    assert_eq!(first.unwrap(), State::Pending);
    let view = approvals.show(&id).await.unwrap();
    assert_eq!((view.rules[0].open, view.rules[1].open), (true, false));
    let second = cast(approvals, &id, &two.rules[1].hash, &ann, Verdict::Yes).await;
    assert_eq!(second.unwrap(), State::Approved);
    let foreign = cast(approvals, &id, &RuleHash([1; 32]), &ann, Verdict::No).await;
    assert!(matches!(foreign, Err(VoteError::UnknownRule)));
}

// P10: what the rule asks of the sign-in.
#[tokio::test]
async fn a_rule_with_a_step_up_takes_no_weaker_and_no_older_sign_in() {
    let mut strict = rule("strict", &[&[LEADS]], 1);
    strict.step_up = StepUp {
        acr: vec!["phr".to_owned(), "phrh".to_owned()],
        max_age: Some(Duration::from_secs(60)),
    };
    let strict = terms(&[strict]);
    let (bench, id) = held(&caller(), &strict).await;
    let at = |seconds| Some(Timestamp::from_secs(START.secs() - seconds));
    let lacks = [
        // No `acr`, another `acr`, a sign-in that is a second too old, one that only the issue time dates.
        lead("ann").signed_in(at(1), None),
        lead("ann").signed_in(at(1), None).with_acr("pwd"),
        lead("ann").signed_in(at(61), None).with_acr("phr"),
        lead("ann").signed_in(None, at(1)).with_acr("phr"),
    ];
    for voter in &lacks {
        let vote = yes(&bench.approvals, &id, &strict, voter).await;
        assert!(matches!(vote, Err(VoteError::StepUp(_))), "{vote:?}");
    }
    let text = yes(&bench.approvals, &id, &strict, &lacks[1])
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        text,
        "this rule asks for another sign-in: with `acr` one of `phr`, `phrh`; yours is `pwd`"
    );
    let good = lead("ann").signed_in(at(60), None).with_acr("phrh");
    let vote = yes(&bench.approvals, &id, &strict, &good).await;
    assert_eq!(vote.unwrap(), State::Approved);
    // To stop a call no step-up is needed.
    let vote = no(&bench.approvals, &id, &strict, &lead("bob")).await;
    assert_eq!(vote.unwrap(), State::Denied);
}

// P12: what the run asks again is what was verified for the vote.
#[tokio::test]
async fn a_vote_keeps_who_the_voter_was() {
    use crate::identity::{Reach, Revocation, RevocationTarget, Revocations};
    let (bench, id) = held(&caller(), &lead_terms()).await;
    let ann = human("ann", &[LEADS, "corp/staff"]);
    yes(&bench.approvals, &id, &lead_terms(), &ann)
        .await
        .unwrap();
    let execution = bench.approvals.take(&id, &caller(), "i1").await.unwrap();
    let voter = execution.voters()[0].clone();
    let snapshot = voter.snapshot.unwrap();
    let subject = snapshot.subject(&voter.key);
    assert_eq!((subject.issuer, subject.subject), ("corp", "ann"));
    assert_eq!(subject.groups, ann.groups());
    assert_eq!(snapshot.facts(), here());
    let revocations = Revocations::new();
    assert!(!snapshot.is_revoked(&voter.key, &revocations));
    for target in [
        RevocationTarget::Principal(voter.key.clone()),
        RevocationTarget::Issuer("corp".to_owned()),
        RevocationTarget::TokenHash([7; 32]),
    ] {
        let revocation = Revocation {
            target,
            reach: Reach::Lock,
            at: START,
        };
        let revocations = Revocations::new();
        revocations.apply(&revocation).unwrap();
        assert!(
            snapshot.is_revoked(&voter.key, &revocations),
            "{revocation:?}"
        );
    }
    bench.approvals.give_back(execution).await.unwrap();
}

fn vote_of(name: &str, handle: Option<&str>, groups: &[&str]) -> Yes {
    Yes {
        rule: rule("r", &[], 1).hash,
        voter: ("corp".to_owned(), name.to_owned()),
        handle: handle.map(str::to_owned),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        snapshot: None,
        grant: None,
        glass: None,
    }
}

#[test]
fn alternatives_quorums_and_links_between_accounts() {
    let either = terms(&[rule("r", &[&["a", "b"], &["c"]], 2)]);
    let votes = |all: &[(&str, Option<&str>, &[&str])]| -> bool {
        let votes: Vec<Yes> = all.iter().map(|(n, h, g)| vote_of(n, *h, g)).collect();
        all_open(&either, &votes, START)
    };
    assert!(votes(&[("1", None, &["c"]), ("2", None, &["c"])]));
    assert!(!votes(&[("1", None, &["c"]), ("2", None, &["a"])]));
    let ab: &[&str] = &["a", "b"];
    assert!(votes(&[
        ("1", None, ab),
        ("2", None, ab),
        ("3", None, ab),
        ("4", None, ab)
    ]));
    assert!(!votes(&[("1", None, ab), ("2", None, ab), ("3", None, ab)]));
    // Needs people to change seats: who can only sit at `a` came last.
    assert!(votes(&[
        ("1", None, ab),
        ("2", None, ab),
        ("3", None, &["a"]),
        ("4", None, &["a"])
    ]));
    // 1 and 2 are one person over the handle, 2 and 3 over the account.
    assert!(!votes(&[
        ("1", Some("p"), &["c"]),
        ("2", Some("p"), &["c"])
    ]));
    assert!(!votes(&[
        ("1", Some("p"), &["c"]),
        ("2", Some("p"), &[]),
        ("2", Some("q"), &["c"])
    ]));
    // Nothing asked, nothing opened.
    assert!(!all_open(&terms(&[]), &[], START));
    assert!(!all_open(
        &terms(&[rule("r", &[], 1)]),
        &[vote_of("1", None, &["a"])],
        START
    ));
    assert!(!all_open(
        &terms(&[rule("r", &[&[]], 1)]),
        &[vote_of("1", None, &["a"])],
        START
    ));
}

proptest! {
    /// The matching agrees with trying every seating.
    #[test]
    fn seats_are_found_exactly_when_they_exist(
        people in proptest::collection::vec(0_u8..8, 0..6),
        quorum in 1_u32..3,
    ) {
        let names = ["a", "b", "c"];
        let votes: Vec<Yes> = people
            .iter()
            .enumerate()
            .map(|(n, mask)| {
                let groups: Vec<&str> = (0..3).filter(|g| mask & (1 << g) != 0).map(|g| names[g]).collect();
                vote_of(&n.to_string(), None, &groups)
            })
            .collect();
        let wanted = terms(&[rule("r", &[&["a", "b"]], quorum)]);
        let seats: Vec<&str> = ["a", "b"].into_iter().flat_map(|g| vec![g; quorum as usize]).collect();
        prop_assert_eq!(all_open(&wanted, &votes, START), tried(&seats, &votes, &mut Vec::new()));
    }
}

fn tried(seats: &[&str], votes: &[Yes], taken: &mut Vec<usize>) -> bool {
    let Some((seat, rest)) = seats.split_first() else {
        return true;
    };
    (0..votes.len()).any(|n| {
        if taken.contains(&n) || !votes[n].groups.iter().any(|group| group == seat) {
            return false;
        }
        taken.push(n);
        let good = tried(rest, votes, taken);
        taken.pop();
        good
    })
}
