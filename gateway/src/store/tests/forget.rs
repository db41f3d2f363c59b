//! What is forgotten, and what is not: a state that was put back, a person who is erased, what is old.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::{
    AskLimits, Filter, GrantFilter, GrantRow, INPUT_KEPT, NewApproval, Reach, Revocation, Revoked,
    SqlStore, State, Store, VoteRow,
};

use super::engine;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const HOUR: Duration = Duration::from_secs(3_600);
const LIMITS: AskLimits = AskLimits {
    open_per_principal_max: 100,
    open_max: 100,
    bytes_max: 1 << 20,
    asks_per_hour_max: 100,
    changes_max: 100,
    cooldown: Duration::ZERO,
    indeterminate_kept: Duration::ZERO,
};

/// A question of this person, a yes of that one, and with it a grant.
async fn granted(store: &SqlStore, id: &str, asker: &str, granter: &str) {
    asked(store, id, asker).await;
    let (vote, grant) = yes(id, asker, granter);
    let voted = store.vote(vote, Some(grant), NOW.plus(HOUR), NOW, &|_, _| true);
    voted.await.unwrap();
}

async fn asked(store: &SqlStore, id: &str, asker: &str) {
    let new = NewApproval {
        subject: asker.to_owned(),
        caller: asker.as_bytes().to_vec(),
        input: vec![4],
        ..super::question(id, NOW.plus(HOUR))
    };
    store.ask(new, LIMITS, NOW).await.unwrap();
}

fn yes(id: &str, asker: &str, granter: &str) -> (VoteRow, GrantRow) {
    let vote = VoteRow {
        id: format!("vote_{id}"),
        approval: id.to_owned(),
        rule: vec![1],
        person: granter.to_owned(),
        issuer: "corp".to_owned(),
        subject: granter.to_owned(),
        handle: None,
        groups: "[]".to_owned(),
        voter: vec![6],
        yes: true,
        reason: Vec::new(),
        at: NOW,
        mac: vec![4],
        voided: None,
        grant: None,
        glass: false,
    };
    let grant = GrantRow {
        id: format!("grt_{id}"),
        approval: id.to_owned(),
        rule: vec![1],
        person: granter.to_owned(),
        issuer: "corp".to_owned(),
        subject: granter.to_owned(),
        handle: None,
        groups: "[]".to_owned(),
        voter: vec![6],
        caller: asker.as_bytes().to_vec(),
        asker_issuer: "corp".to_owned(),
        asker_subject: asker.to_owned(),
        function: "payments/x".to_owned(),
        pattern: vec![7],
        uses_max: 2,
        used: 0,
        at: NOW,
        until: NOW.plus(HOUR),
        ended: None,
        ended_by: None,
        mac: vec![8],
    };
    (vote, grant)
}

async fn grants(store: &SqlStore) -> Vec<String> {
    let grants = store.grants(GrantFilter::default(), NOW).await.unwrap();
    grants.into_iter().map(|grant| grant.id).collect()
}

#[tokio::test]
async fn of_a_state_that_was_put_back_no_approval_and_no_grant_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    granted(&store, "a", "ann", "lea").await;
    let revocation = Revocation {
        id: "r".to_owned(),
        what: Revoked::Issuer("ci".to_owned()),
        reach: Reach::Lock,
        reason: String::new(),
        by: "corp/ann".to_owned(),
        at: NOW,
        until: None,
    };
    store.revoke(revocation).await.unwrap();
    assert_eq!(grants(&store).await, ["grt_a"]);
    store.forget_approvals().await.unwrap();
    assert!(grants(&store).await.is_empty());
    let all = Filter {
        limit: 10,
        ..Filter::default()
    };
    assert!(store.list(all, NOW).await.unwrap().is_empty());
    assert!(store.approval("a").await.unwrap().is_none());
    assert!(store.changes().await.unwrap().is_empty());
    let (_, standing) = store.revocations(NOW).await.unwrap();
    assert_eq!(standing.len(), 1, "who is shut out stays shut out");
}

#[tokio::test]
async fn of_a_person_who_is_erased_no_grant_stays_whoever_gave_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    granted(&store, "a", "ann", "lea").await;
    granted(&store, "b", "bob", "ann").await;
    granted(&store, "c", "bob", "lea").await;
    store.erase_subject("lab", "ann").await.unwrap();
    assert_eq!(grants(&store).await.len(), 3);
    store.erase_subject("corp", "ann").await.unwrap();
    assert_eq!(grants(&store).await, ["grt_c"]);
}

const GONE: &str = "ada-lovelace-1815";

/// Questions of two people that name one of them: as who asks, as who is kept apart, as who votes.
async fn questions(store: &SqlStore) {
    let key = format!(r#"{{"issuer":"corp","subject":"{GONE}"}}"#);
    for n in 0..40 {
        let mut new = NewApproval {
            subject: if n % 2 == 0 { GONE } else { "bob" }.to_owned(),
            caller: vec![n],
            requester: r#"{"kind":"workload","actors":[]}"#.to_owned(),
            ..super::question(&format!("a{n}"), NOW.plus(HOUR))
        };
        if n % 4 < 2 {
            new.apart = format!(r#"{{"principals":[{key}],"people":["{GONE}"]}}"#);
            new.requester = format!(r#"{{"kind":"workload","actors":[{key}]}}"#);
        }
        store.ask(new, LIMITS, NOW).await.unwrap();
    }
    let (mut vote, _) = yes("a3", "bob", GONE);
    vote.yes = false;
    let voted = store.vote(vote, None, NOW.plus(HOUR), NOW, &|_, _| false);
    voted.await.unwrap();
}

async fn erased(store: &SqlStore, subject: &str) {
    store.mark_subject("corp", subject).await.unwrap();
    store.erase_subject("corp", subject).await.unwrap();
}

/// All questions end, and what became of them is taken over by the record.
async fn ended(store: &SqlStore) {
    let ended = NOW.plus(HOUR).plus(Duration::from_secs(1));
    let ancient = Timestamp::from_secs(1);
    store.sweep(ancient, ended).await.unwrap();
    let (row, _) = store.approval("a0").await.unwrap().unwrap();
    let still = "the record has to name who asked";
    assert_eq!(
        (row.state, row.subject.as_str()),
        (State::Expired, GONE),
        "{still}"
    );
    for change in store.changes().await.unwrap() {
        store.changes_taken(change.seq).await.unwrap();
    }
    store.sweep(ancient, ended).await.unwrap();
}

#[tokio::test]
async fn names_of_a_person_who_is_erased_go_when_nothing_waits_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    questions(&store).await;
    erased(&store, GONE).await;
    let (row, _) = store.approval("a0").await.unwrap().unwrap();
    assert_eq!((row.state, row.subject.as_str()), (State::Pending, GONE));
    ended(&store).await;
    let all = Filter {
        limit: 100,
        ..Filter::default()
    };
    let rows = store.list(all, NOW).await.unwrap();
    let of = |name: &str| rows.iter().filter(|row| row.subject == name).count();
    assert_eq!((rows.len(), of("[erased]"), of("bob")), (40, 20, 20));
    for row in &rows {
        let text = format!("{} {}", row.requester, row.apart);
        assert!(text.contains("workload") && !text.contains(GONE), "{text}");
    }
    assert!(store.approval("a3").await.unwrap().unwrap().1.is_empty());
}

/// Whether these bytes stand in any file of the database.
fn stands(dir: &std::path::Path, name: &str) -> bool {
    let files = std::fs::read_dir(dir).unwrap();
    let mut files = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    files.any(|bytes| memchr::memmem::find(&bytes, name.as_bytes()).is_some())
}

#[tokio::test]
async fn a_person_who_is_erased_stands_in_no_file_of_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqlStore::init(dir.path()).await.unwrap();
    questions(&store).await;
    assert!(stands(dir.path(), GONE));
    erased(&store, GONE).await;
    ended(&store).await;
    assert!(!stands(dir.path(), GONE));
    // Whoever is erased when all of it is over is gone at once.
    assert!(stands(dir.path(), "bob"));
    erased(&store, "bob").await;
    assert!(!stands(dir.path(), "bob"));
    store.close().await;
    assert!(!stands(dir.path(), GONE) && !stands(dir.path(), "bob"));
}

#[tokio::test]
async fn a_grant_is_kept_as_long_as_the_input_of_a_question() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    granted(&store, "a", "ann", "lea").await;
    let kept = NOW.plus(HOUR).plus(INPUT_KEPT);
    let ancient = Timestamp::from_secs(1);
    store.sweep(ancient, kept).await.unwrap();
    assert_eq!(grants(&store).await, ["grt_a"]);
    let over = kept.plus(Duration::from_millis(1));
    store.sweep(ancient, over).await.unwrap();
    assert!(grants(&store).await.is_empty());
}

#[tokio::test]
async fn a_vote_and_the_grant_that_it_gives_are_written_together_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    granted(&store, "a", "ann", "lea").await;
    asked(&store, "b", "ann").await;
    let (vote, mut grant) = yes("b", "ann", "lea");
    // There is one of that name: the database refuses it, so there is no vote either.
    grant.id = "grt_a".to_owned();
    let run_by = NOW.plus(HOUR);
    let twice = store.vote(vote, Some(grant), run_by, NOW, &|_, _| true);
    assert!(twice.await.is_err());
    let (row, votes) = store.approval("b").await.unwrap().unwrap();
    assert_eq!((row.state, votes.len()), (State::Pending, 0));
}

#[tokio::test]
async fn grants_are_listed_in_pages_and_found_by_their_id() {
    let dir = tempfile::tempdir().unwrap();
    let store = engine::fresh(dir.path()).await;
    for id in ["a", "b", "c"] {
        granted(&store, id, "ann", "lea").await;
    }
    let listed = async |filter: GrantFilter| {
        let grants = store.grants(filter, NOW).await.unwrap();
        grants.into_iter().map(|grant| grant.id).collect::<Vec<_>>()
    };
    let before = |id: &str| GrantFilter {
        before: Some((NOW, id.to_owned())),
        ..GrantFilter::default()
    };
    assert_eq!(listed(before("grt_c")).await, ["grt_b", "grt_a"]);
    assert!(listed(before("grt_a")).await.is_empty());
    // One that is gone, or never was, is a place as well; the time comes first.
    assert_eq!(listed(before("grt_bb")).await, ["grt_b", "grt_a"]);
    let later = NOW.plus(std::time::Duration::from_millis(1));
    let all = GrantFilter {
        before: Some((later, String::new())),
        ..GrantFilter::default()
    };
    assert_eq!(listed(all).await, ["grt_c", "grt_b", "grt_a"]);
    let one = GrantFilter {
        id: Some("grt_b".to_owned()),
        ..GrantFilter::default()
    };
    assert_eq!(listed(one).await, ["grt_b"]);
}
