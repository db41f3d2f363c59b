//! A database does what the model does, for random histories.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::{
    ApprovalRow, AskLimits, Change, Edge, Filter, GrantFilter, GrantRow, GrantsOf, MemoryStore,
    NewApproval, NewResult, Revoked, StandingYes, State, Step, Store, Taking, VoteRow,
};

use super::engine;

const START: Timestamp = Timestamp::from_secs(1_700_000_000);

/// A seeded stream of numbers (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

const LIMITS: AskLimits = AskLimits {
    open_per_principal_max: 4,
    open_max: 6,
    bytes_max: 70,
    asks_per_hour_max: 25,
    changes_max: 1_000,
    cooldown: Duration::from_secs(20),
    indeterminate_kept: Duration::from_secs(30),
};

fn two_people(_: &ApprovalRow, votes: &[VoteRow]) -> bool {
    votes.iter().filter(|vote| vote.yes).count() >= 2
}

fn question(dice: &mut Dice, id: &str, now: Timestamp) -> NewApproval {
    let who = *dice.pick(&["ann", "bob"]);
    let body = *dice.pick(&["a", "b", "c"]);
    let key = *dice.pick(&[None, None, Some("k")]);
    NewApproval {
        id: id.to_owned(),
        issuer: "corp".to_owned(),
        subject: who.to_owned(),
        caller: who.as_bytes().to_vec(),
        requester: "{}".to_owned(),
        apart: "{}".to_owned(),
        connection: "payments".to_owned(),
        function: (*dice.pick(&["payments/x", "payments/y"])).to_owned(),
        effect: "write".to_owned(),
        same: format!("{body}{key:?}").into_bytes(),
        idempotency: key.map(|key| key.as_bytes().to_vec()),
        call: "call".to_owned(),
        terms: "{}".to_owned(),
        rules: (*dice.pick(&["r1", "r1", "r1", "r2"])).to_owned(),
        binding: vec![1; 32],
        frozen: vec![2; 8],
        summary: vec![3; 4],
        input: id.as_bytes().to_vec(),
        decide_by: now.plus(Duration::from_secs(30 + dice.below(30))),
    }
}

fn vote(dice: &mut Dice, id: String, approval: &str, now: Timestamp) -> VoteRow {
    let who = *dice.pick(&["v1", "v2", "v3"]);
    VoteRow {
        id,
        approval: approval.to_owned(),
        rule: vec![1],
        person: who.to_owned(),
        issuer: "corp".to_owned(),
        subject: who.to_owned(),
        handle: None,
        groups: "[]".to_owned(),
        voter: vec![6],
        yes: dice.below(8) > 0,
        reason: Vec::new(),
        at: now,
        mac: vec![4],
        voided: None,
        grant: None,
        glass: dice.below(6) == 0,
    }
}

/// One random transaction on a store; what it answered, as text.
async fn act(store: &dyn Store, seed: u64, n: u64, now: Timestamp, ids: &[String]) -> String {
    let mut dice = Dice(seed);
    let id = dice.pick(ids).clone();
    let lease = Some(format!("lease-{id}"));
    match dice.below(18) {
        0..=3 => {
            let new = question(&mut dice, &format!("apr_{n:04}"), now);
            format!("{:?}", store.ask(new, LIMITS, now).await)
        }
        4..=6 => {
            let widened = dice.below(4) == 0;
            voted(store, &mut dice, (n, &id), now, widened).await
        }
        7 => {
            let row = store.approval(&id).await.unwrap();
            let version = row.map_or(0, |(row, _)| row.version) - i64::from(dice.below(6) == 0);
            let taking = Taking {
                lease: format!("lease-{id}"),
                id,
                version,
                instance: "i1".to_owned(),
            };
            format!("{:?}", store.take(taking, now).await)
        }
        8 | 9 => {
            let edge = *dice.pick(&Edge::ALL);
            // Deadlines that an edge sets belong to other methods.
            let edge = if matches!(edge, Edge::Approve | Edge::Reopen | Edge::Take) {
                Edge::Done
            } else {
                edge
            };
            let step = Step {
                id,
                edge,
                lease: if dice.below(5) == 0 { None } else { lease },
                result: (edge == Edge::Done && dice.below(2) == 0).then(|| NewResult {
                    sealed: vec![5; 5],
                    expires: now.plus(Duration::from_secs(10)),
                }),
                cause: "test",
            };
            format!("{:?}", store.step(step, now).await)
        }
        10 => {
            let mut new = question(&mut dice, &format!("apr_{n:04}"), now);
            new.same = format!("superseded {n}").into_bytes();
            let new = (dice.below(2) == 0).then_some(new);
            format!("{:?}", store.supersede(&id, lease, new, now).await)
        }
        11 => {
            let on = (dice.below(2) == 0).then_some((id, lease));
            let voters = vec![("corp".to_owned(), Some("v1".to_owned()))];
            format!("{:?}", store.void_votes(on, voters, now, &two_people).await)
        }
        14..=17 => granted(store, &mut dice, (n, &id), now).await,
        12 if dice.below(2) == 0 => format!("{:?}", store.earlier(&id).await),
        12 => result(store, &mut dice, &id, now).await,
        _ => match dice.below(4) {
            0 => format!("{:?}", store.recover("i1", now).await),
            1 => {
                let what = Revoked::Approval(id);
                format!("{:?}", store.cancel_revoked(what, now).await)
            }
            _ => format!("{:?}", store.sweep(START, now).await),
        },
    }
}

fn grant(dice: &mut Dice, (n, id): (u64, &str), now: Timestamp) -> GrantRow {
    let vote = vote(dice, String::new(), id, now);
    GrantRow {
        id: format!("grt_{n}"),
        approval: id.to_owned(),
        rule: vote.rule,
        person: vote.person,
        issuer: vote.issuer,
        subject: vote.subject,
        handle: None,
        groups: vote.groups,
        voter: vote.voter,
        caller: dice.pick(&["ann", "bob"]).as_bytes().to_vec(),
        asker_issuer: "corp".to_owned(),
        asker_subject: (*dice.pick(&["ann", "bob"])).to_owned(),
        function: (*dice.pick(&["payments/x", "payments/y"])).to_owned(),
        pattern: vec![7],
        uses_max: i64::try_from(1 + dice.below(3)).unwrap(),
        used: 0,
        at: now,
        until: now.plus(Duration::from_secs(30 + dice.below(300))),
        ended: None,
        ended_by: None,
        mac: vec![8],
    }
}

/// A vote, and perhaps the standing yes that it gives.
async fn voted(
    store: &dyn Store,
    dice: &mut Dice,
    (n, id): (u64, &str),
    now: Timestamp,
    widened: bool,
) -> String {
    let given = widened.then(|| grant(dice, (n, id), now));
    let vote = vote(dice, format!("vote_{n}"), id, now);
    let run_by = now.plus(Duration::from_secs(20));
    let voted = store.vote(vote, given, run_by, now, &two_people);
    format!("{:?}", voted.await)
}

/// Something about standing yeses.
async fn granted(
    store: &dyn Store,
    dice: &mut Dice,
    (n, id): (u64, &str),
    now: Timestamp,
) -> String {
    let which = |dice: &mut Dice| format!("grt_{}", dice.below(12));
    match dice.below(8) {
        0..=2 => voted(store, dice, (n, id), now, true).await,
        3..=5 => {
            let standing = GrantFilter {
                standing: dice.below(4) > 0,
                ..GrantFilter::default()
            };
            let grants = store.grants(standing, now).await.unwrap();
            let yes = |(number, grant): (usize, &GrantRow)| StandingYes {
                grant: grant.id.clone(),
                vote: VoteRow {
                    id: format!("vote_{n}_{number}"),
                    approval: id.to_owned(),
                    person: grant.person.clone(),
                    grant: Some(grant.id.clone()),
                    yes: true,
                    ..vote(&mut Dice(n), String::new(), id, now)
                },
                left: grant.uses_max - grant.used,
            };
            let yeses = grants.iter().take(3).enumerate().map(yes).collect();
            let run_by = now.plus(Duration::from_secs(20));
            let stood = store.stand(id, yeses, run_by, now, &two_people).await;
            format!("{grants:?} {stood:?}")
        }
        6 => {
            let of = match dice.below(4) {
                0 => GrantsOf::One(which(dice)),
                1 => GrantsOf::Approval(id.to_owned()),
                2 => GrantsOf::Granter("corp".to_owned(), Some("v1".to_owned())),
                _ => GrantsOf::Asker("corp".to_owned(), Some("ann".to_owned())),
            };
            let mut ended = store.end_grants(of, "eve".to_owned(), now).await.unwrap();
            ended.sort_unstable();
            format!("{ended:?}")
        }
        _ => {
            let of = GrantFilter {
                of: (dice.below(2) == 0).then(|| (b"ann".to_vec(), "payments/x".to_owned())),
                standing: dice.below(2) == 0,
                id: (dice.below(3) == 0).then(|| which(dice)),
                before: (dice.below(2) == 0).then(|| (now, which(dice))),
            };
            format!("{:?}", store.grants(of, now).await)
        }
    }
}

/// Somebody asks for a kept result, and has it or not.
async fn result(store: &dyn Store, dice: &mut Dice, id: &str, now: Timestamp) -> String {
    let caller = dice.pick(&["ann", "bob"]).as_bytes().to_vec();
    let fetched = store.fetch_result(id, caller.clone(), now).await;
    let dropped = match dice.below(2) {
        0 => Some(store.drop_result(id, caller).await),
        _ => None,
    };
    format!("{fetched:?} {dropped:?}")
}

/// What lists and changes show, a line each. Changes of one transaction have no order.
async fn page(store: &dyn Store, now: Timestamp) -> Vec<String> {
    let all = Filter {
        limit: 500,
        ..Filter::default()
    };
    let waiting = Filter {
        states: vec![State::Pending, State::Expired],
        requester: Some(("corp".to_owned(), "ann".to_owned())),
        limit: 3,
        ..Filter::default()
    };
    let mut lines = Vec::new();
    for filter in [all, waiting] {
        for row in store.list(filter, now).await.unwrap() {
            lines.push(format!("{row:?}"));
        }
    }
    for decided in store.decided(START, now).await.unwrap() {
        lines.push(format!("{decided:?}"));
    }
    let mut changes = store.changes().await.unwrap();
    changes.sort_by_key(|change| (change.at, change.approval.clone(), change.state));
    for change in changes {
        let Change {
            approval,
            function,
            state,
            cause,
            at,
            seq: _,
        } = change;
        lines.push(format!("{at} {approval} {function} {state} {cause}"));
    }
    lines
}

#[tokio::test]
async fn the_database_answers_as_the_model_for_random_histories() {
    // A share for every build; more with the variable.
    let histories: u64 =
        std::env::var("CALLGATE_SIM_HISTORIES").map_or(12, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..histories {
        let folder = dir.path().join(seed.to_string());
        std::fs::create_dir(&folder).unwrap();
        let real_store = engine::fresh(&folder).await;
        if !engine::shared() {
            engine::meddle(&real_store, "PRAGMA synchronous = OFF").await;
        }
        let memory = MemoryStore::default();
        let mut dice = Dice(seed);
        let mut now = START;
        let mut ids = vec!["apr_none".to_owned()];
        for n in 0..160 {
            now = now.plus(Duration::from_millis(dice.below(6_000)));
            let step = dice.next();
            let real = act(&real_store, step, n, now, &ids).await;
            let model = act(&memory, step, n, now, &ids).await;
            assert_eq!(real, model, "seed {seed}, step {n}");
            ids = memory.book().rows.keys().cloned().collect();
            ids.push("apr_none".to_owned());
        }
        let (real, model) = (page(&real_store, now).await, page(&memory, now).await);
        assert_eq!(real.len(), model.len(), "seed {seed}");
        for (real, model) in real.iter().zip(&model) {
            assert_eq!(real, model, "seed {seed}");
        }
        real_store.close().await;
    }
}
