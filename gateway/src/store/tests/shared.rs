//! One database, several instances: on a real PostgreSQL server, whose clock rules.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::Row;

use crate::clock::{Clock, ManualClock, SharedClock, SystemClock, Timestamp};
use crate::store::{
    ApprovalRow, AskLimits, Asked, Delivery, Edge, Error, GrantRow, LEASE, Moved, Opens, Outbox,
    Reach, Revocation, Revoked, Signal, SqlStore, StandingYes, State, Step, Store, Taking, VoteRow,
    Voted,
};

use super::engine::{self, Cluster};
use super::question;

/// How long an event may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

const LIMITS: AskLimits = AskLimits {
    open_per_principal_max: 10_000,
    open_max: 10_000,
    bytes_max: 1 << 30,
    asks_per_hour_max: 100_000,
    changes_max: 100_000,
    cooldown: Duration::ZERO,
    indeterminate_kept: Duration::ZERO,
};

/// The whole suites of both rooms, on the other engine.
#[test]
fn everything_holds_on_postgresql_as_well() {
    let filters = [
        "approval::tests::asks",
        "approval::tests::figures",
        "approval::tests::glass",
        "approval::tests::grants",
        "approval::tests::kill::a_killed_process",
        "approval::tests::people",
        "approval::tests::runs",
        "approval::tests::shown",
        "approval::tests::tampering",
        "approval::tests::votes",
        "store::tests::database::revocations_stand",
        "store::tests::forget",
        "store::tests::model",
        "store::tests::once",
        "store::tests::outbox",
        "--test-threads=4",
    ];
    engine::on_postgres(&filters, 60);
}

/// A folder and the socket of the one server that the tests of this file share.
struct Ground {
    dir: tempfile::TempDir,
    // Kept until the last test that uses it has ended.
    _cluster: Arc<Cluster>,
}

/// Kept alive by those who use it only: a static would outlive the program's end unnoticed.
fn cluster() -> Arc<Cluster> {
    static SERVER: OnceLock<std::sync::Mutex<std::sync::Weak<Cluster>>> = OnceLock::new();
    let server = SERVER.get_or_init(std::sync::Mutex::default);
    let mut server = server.lock().unwrap();
    server.upgrade().unwrap_or_else(|| {
        let cluster = Arc::new(Cluster::start());
        *server = Arc::downgrade(&cluster);
        cluster
    })
}

impl Ground {
    async fn new() -> Self {
        let cluster = tokio::task::spawn_blocking(cluster).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config = engine::place(dir.path(), &cluster.socket).await;
        assert!(SqlStore::init_shared(&config, dir.path()).await.unwrap());
        Self {
            dir,
            _cluster: cluster,
        }
    }

    async fn instance(&self, name: &str) -> Arc<SqlStore> {
        self.with_clock(name, Arc::new(SystemClock)).await
    }

    async fn with_clock(&self, name: &str, clock: SharedClock) -> Arc<SqlStore> {
        Arc::new(engine::instance(self.dir.path(), name, clock).await)
    }
}

async fn asked(store: &SqlStore, id: &str) {
    let now = store.clock().unwrap().now();
    let new = question(id, now.plus(Duration::from_secs(900)));
    assert_eq!(store.ask(new, LIMITS, now).await.unwrap(), Asked::New);
}

fn ballot(approval: &str, who: &str, yes: bool) -> VoteRow {
    VoteRow {
        id: format!("vote_{approval}_{who}"),
        approval: approval.to_owned(),
        rule: vec![1],
        person: who.to_owned(),
        issuer: "corp".to_owned(),
        subject: who.to_owned(),
        handle: None,
        groups: "[]".to_owned(),
        voter: Vec::new(),
        yes,
        reason: Vec::new(),
        at: SystemClock.now(),
        mac: Vec::new(),
        voided: None,
        grant: None,
        glass: false,
    }
}

async fn voted(store: &SqlStore, vote: VoteRow, opens: Opens<'_>) -> Voted {
    let now = SystemClock.now();
    let run_by = now.plus(Duration::from_secs(300));
    store.vote(vote, None, run_by, now, opens).await.unwrap()
}

fn anybody(_: &ApprovalRow, votes: &[VoteRow]) -> bool {
    !votes.is_empty()
}

async fn approved(store: &SqlStore, id: &str) {
    asked(store, id).await;
    let vote = voted(store, ballot(id, "lea", true), &anybody).await;
    assert_eq!(vote, Voted::Counted(State::Approved));
}

async fn take(store: &SqlStore, id: &str, instance: &str) -> Moved {
    let version = store.approval(id).await.unwrap().unwrap().0.version;
    let taking = Taking {
        id: id.to_owned(),
        version,
        instance: instance.to_owned(),
        lease: format!("lease-{instance}"),
    };
    store.take(taking, SystemClock.now()).await.unwrap()
}

async fn state(store: &SqlStore, id: &str) -> State {
    let now = SystemClock.now();
    store.state(id, now).await.unwrap().unwrap().0
}

async fn run(store: &SqlStore, text: &'static str) {
    let pool = store.postgres_for_tests();
    sqlx::raw_sql(text).execute(pool).await.unwrap();
}

// P5
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixty_four_who_vote_at_once_on_two_instances_no_vote_is_lost() {
    const VOTERS: usize = 64;
    let ground = Ground::new().await;
    let instances = [ground.instance("i1").await, ground.instance("i2").await];
    let all = |_: &ApprovalRow, votes: &[VoteRow]| votes.len() == VOTERS;
    for round in 0..3 {
        let id = format!("apr_{round}");
        asked(&instances[0], &id).await;
        let racers = (0..VOTERS).map(|n| {
            let (store, id) = (Arc::clone(&instances[n % 2]), id.clone());
            tokio::spawn(async move {
                let vote = ballot(&id, &format!("v{n}"), true);
                let first = voted(&store, vote.clone(), &all).await;
                let mut again = vote;
                again.id.push_str("_again");
                (first, voted(&store, again, &all).await)
            })
        });
        let racers: Vec<_> = racers.collect();
        let mut opened = 0;
        for racer in racers {
            let (first, again) = racer.await.unwrap();
            assert!(
                matches!(again, Voted::Again | Voted::Closed(State::Approved)),
                "{again:?}"
            );
            match first {
                Voted::Counted(State::Approved) => opened += 1,
                other => assert_eq!(other, Voted::Counted(State::Pending)),
            }
        }
        assert_eq!(opened, 1, "the last vote opens it, and nobody else's");
        let (row, votes) = instances[1].approval(&id).await.unwrap().unwrap();
        assert_eq!((row.state, votes.len()), (State::Approved, VOTERS));
    }
}

// P5
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_take_at_once_on_two_instances_one_does() {
    let ground = Ground::new().await;
    let instances = [ground.instance("i1").await, ground.instance("i2").await];
    for round in 0..20 {
        let id = format!("apr_{round}");
        approved(&instances[0], &id).await;
        let racers = (0..16_usize).map(|n| {
            let (store, id) = (Arc::clone(&instances[n % 2]), id.clone());
            tokio::spawn(async move { take(&store, &id, &format!("i{}", n % 2 + 1)).await })
        });
        let racers: Vec<_> = racers.collect();
        let mut won = 0;
        for racer in racers {
            match racer.await.unwrap() {
                Moved::Yes { fence } => {
                    assert_eq!(fence, 1);
                    won += 1;
                }
                lost => assert!(matches!(lost, Moved::No(State::Executing) | Moved::Stale)),
            }
        }
        assert_eq!(won, 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_use_of_a_standing_yes_is_used_once_on_two_instances() {
    let ground = Ground::new().await;
    let instances = [ground.instance("i1").await, ground.instance("i2").await];
    let now = instances[0].clock().unwrap().now();
    let grant = GrantRow {
        id: "grt_1".to_owned(),
        approval: "apr_before".to_owned(),
        rule: vec![1],
        person: "lea".to_owned(),
        issuer: "corp".to_owned(),
        subject: "lea".to_owned(),
        handle: None,
        groups: "[]".to_owned(),
        voter: Vec::new(),
        caller: b"ann".to_vec(),
        asker_issuer: "corp".to_owned(),
        asker_subject: "ann".to_owned(),
        function: "payments/x".to_owned(),
        pattern: Vec::new(),
        uses_max: 3,
        used: 0,
        at: now,
        until: now.plus(Duration::from_secs(900)),
        ended: None,
        ended_by: None,
        mac: Vec::new(),
    };
    asked(&instances[0], "apr_before").await;
    let given = instances[0].vote(
        ballot("apr_before", "lea", true),
        Some(grant),
        now.plus(Duration::from_secs(300)),
        now,
        &anybody,
    );
    given.await.unwrap();
    for n in 0..16 {
        asked(&instances[0], &format!("apr_{n}")).await;
    }
    let racers = (0..16_usize).map(|n| {
        let store = Arc::clone(&instances[n % 2]);
        tokio::spawn(async move {
            let id = format!("apr_{n}");
            let yes = StandingYes {
                grant: "grt_1".to_owned(),
                vote: VoteRow {
                    grant: Some("grt_1".to_owned()),
                    ..ballot(&id, "lea", true)
                },
                left: 3,
            };
            let run_by = now.plus(Duration::from_secs(300));
            store
                .stand(&id, vec![yes], run_by, now, &anybody)
                .await
                .unwrap()
        })
    });
    let racers: Vec<_> = racers.collect();
    let mut opened = 0;
    for racer in racers {
        let stood = racer.await.unwrap();
        let approved = stood.voted == Voted::Counted(State::Approved);
        assert_eq!(!stood.grants.is_empty(), approved);
        opened += usize::from(approved);
    }
    assert_eq!(opened, 3);
}

// P7
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_no_wins_against_a_yes_at_the_same_instant_on_another_instance() {
    let ground = Ground::new().await;
    let instances = [ground.instance("i1").await, ground.instance("i2").await];
    for round in 0..20 {
        let id = format!("apr_{round}");
        asked(&instances[0], &id).await;
        let sides = [true, false].map(|yes| {
            let (store, id) = (Arc::clone(&instances[usize::from(yes)]), id.clone());
            let who = if yes { "lea" } else { "ned" };
            tokio::spawn(async move { voted(&store, ballot(&id, who, yes), &anybody).await })
        });
        let [yes, no] = sides;
        let (yes, no) = (yes.await.unwrap(), no.await.unwrap());
        assert_eq!(no, Voted::Counted(State::Denied), "round {round}");
        let known = [
            Voted::Counted(State::Approved),
            Voted::Closed(State::Denied),
        ];
        assert!(known.contains(&yes), "{yes:?}");
        assert_eq!(state(&instances[0], &id).await, State::Denied);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_call_asked_at_once_on_two_instances_is_one_question() {
    let ground = Ground::new().await;
    let instances = [ground.instance("i1").await, ground.instance("i2").await];
    let racers = (0..32_usize).map(|n| {
        let store = Arc::clone(&instances[n % 2]);
        tokio::spawn(async move {
            let now = SystemClock.now();
            let mut new = question(&format!("apr_{n}"), now.plus(Duration::from_secs(900)));
            new.same = b"the same".to_vec();
            store.ask(new, LIMITS, now).await.unwrap()
        })
    });
    let racers: Vec<_> = racers.collect();
    let mut new = 0;
    for racer in racers {
        match racer.await.unwrap() {
            Asked::New => new += 1,
            joined => assert!(matches!(joined, Asked::Joined(_)), "{joined:?}"),
        }
    }
    assert_eq!(new, 1);
}

// P8
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_databases_clock_rules_over_deadlines_whatever_the_instances_say() {
    let ground = Ground::new().await;
    let real = SystemClock.now();
    let half_a_minute = Duration::from_secs(30);
    let slow = Timestamp::from_nanos(real.nanos() - 30_000_000_000);
    let slow = ground
        .with_clock("slow", Arc::new(ManualClock::new(slow)))
        .await;
    let fast = Arc::new(ManualClock::new(real.plus(half_a_minute)));
    let fast = ground.with_clock("fast", fast).await;
    // What they set deadlines by is the database's clock, though their own are a minute apart.
    let [behind, ahead] = [&slow, &fast].map(|store| store.clock().unwrap().now());
    assert!(ahead.since(behind) < Duration::from_secs(20) && behind.since(ahead).is_zero());

    let asked = fast.clock().unwrap().now();
    for n in 0..60 {
        let new = question(&format!("apr_{n}"), asked.plus(Duration::from_secs(20)));
        slow.ask(new, LIMITS, real).await.unwrap();
    }
    let pool = slow.postgres_for_tests();
    let now_ms = "FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)";
    let (mut counted, mut late, mut changes) = (0, 0, Vec::new());
    for n in 0..60 {
        // Ten with time left, then forty around the deadline, then ten for which it is over.
        match n {
            10 => {
                let soon = format!(
                    "UPDATE approvals SET expires_ms = {now_ms} + 40 WHERE state = 'pending'"
                );
                sqlx::query(sqlx::AssertSqlSafe(soon))
                    .execute(pool)
                    .await
                    .unwrap();
            }
            50 => drop(
                sqlx::query("SELECT pg_sleep(0.041)")
                    .execute(pool)
                    .await
                    .unwrap(),
            ),
            _ => {}
        }
        let id = format!("apr_{n}");
        // One says that it is long over, the other that there is much time left.
        let (store, now) = if n % 2 == 0 {
            (&fast, real.plus(half_a_minute * 2))
        } else {
            (&slow, Timestamp::from_nanos(real.nanos() / 2))
        };
        let run_by = asked.plus(half_a_minute * 10);
        let vote = store.vote(ballot(&id, "lea", true), None, run_by, now, &anybody);
        let vote = vote.await.unwrap();
        let row = sqlx::query("SELECT changed_ms FROM approvals WHERE id = $1");
        let row = row.bind(&id).fetch_one(pool).await.unwrap();
        let changed: i64 = row.get("changed_ms");
        let in_time = vote == Voted::Counted(State::Approved);
        assert!(n >= 10 || in_time, "{id}: there was time left");
        assert!(n < 50 || !in_time, "{id}: its time was over");
        match vote {
            Voted::Counted(State::Approved) => counted += 1,
            other => {
                assert_eq!(other, Voted::Closed(State::Expired), "{id}");
                late += 1;
            }
        }
        changes.push((n, vote, changed));
    }
    around_the_deadline(pool, &changes).await;
    assert!(
        counted >= 10 && late >= 10,
        "{counted} in time, {late} late"
    );
}

/// What counted was in time, by the clock that rules.
async fn around_the_deadline(pool: &sqlx::PgPool, changes: &[(i32, Voted, i64)]) {
    let deadline: i64 = sqlx::query("SELECT expires_ms FROM approvals WHERE id = 'apr_59'")
        .fetch_one(pool)
        .await
        .unwrap()
        .get("expires_ms");
    for (n, vote, changed) in changes.iter().filter(|(n, _, _)| *n >= 10) {
        let in_time = *vote == Voted::Counted(State::Approved);
        assert!(
            !in_time || *changed < deadline,
            "{n}: counted {} ms late",
            changed - deadline
        );
    }
}

// P8
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_waits_for_a_row_past_its_deadline_is_late() {
    let ground = Ground::new().await;
    let store = ground.instance("i1").await;
    let now = store.clock().unwrap().now();
    let deadline = now.plus(Duration::from_secs(1));
    store
        .ask(question("apr_1", deadline), LIMITS, now)
        .await
        .unwrap();
    let pool = store.postgres_for_tests();
    let mut other = pool.begin().await.unwrap();
    let hold = "SELECT 1 FROM approvals WHERE id = 'apr_1' FOR UPDATE";
    sqlx::query(hold).execute(&mut *other).await.unwrap();
    let vote = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { voted(&store, ballot("apr_1", "lea", true), &anybody).await })
    };
    // The voter stands in line for the row while its time runs out.
    let waits = "SELECT pg_sleep(0.01) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND query LIKE 'WITH held%'";
    while sqlx::query(waits).fetch_all(pool).await.unwrap().is_empty() {
        assert!(!vote.is_finished(), "nobody waited for the row");
    }
    let sleep = "SELECT pg_sleep(GREATEST(0, $1 - EXTRACT(EPOCH FROM clock_timestamp()) * 1000) / 1000 + 0.002)";
    let until = i64::try_from(deadline.millis()).unwrap();
    sqlx::query(sleep).bind(until).execute(pool).await.unwrap();
    other.rollback().await.unwrap();
    assert_eq!(vote.await.unwrap(), Voted::Closed(State::Expired));
}

async fn told(store: &SqlStore, wanted: &Signal) {
    let heard = async { while store.signal().await != *wanted {} };
    tokio::time::timeout(PATIENCE, heard)
        .await
        .unwrap_or_else(|_| panic!("never told of {wanted:?}"));
}

// H5
#[tokio::test]
async fn what_one_instance_changes_the_others_hear_of() {
    let ground = Ground::new().await;
    let (one, other) = (ground.instance("i1").await, ground.instance("i2").await);
    approved(&one, "apr_1").await;
    told(&other, &Signal::Approval("apr_1".to_owned())).await;
    let revocation = Revocation {
        id: "r1".to_owned(),
        what: Revoked::Issuer("ci".to_owned()),
        reach: Reach::Lock,
        reason: "leaked".to_owned(),
        by: "corp/ann".to_owned(),
        at: SystemClock.now(),
        until: None,
    };
    one.revoke(revocation).await.unwrap();
    told(&other, &Signal::Revocations).await;
    let (_, standing) = other.revocations(SystemClock.now()).await.unwrap();
    assert_eq!(standing.len(), 1);
    // Without notifications it is found by looking.
    run(&one, "DROP TRIGGER tell_changes ON changes").await;
    approved(&one, "apr_2").await;
    told(&other, &Signal::Approval("apr_2".to_owned())).await;
}

#[tokio::test]
async fn an_instance_that_is_silent_is_stood_in_for() {
    let ground = Ground::new().await;
    let (dead, alive) = (ground.instance("i1").await, ground.instance("i2").await);
    for id in ["apr_1", "apr_2"] {
        approved(&dead, id).await;
    }
    assert_eq!(take(&dead, "apr_1", "i1").await, Moved::Yes { fence: 1 });
    assert_eq!(take(&alive, "apr_2", "i2").await, Moved::Yes { fence: 1 });
    let told = Delivery {
        id: "1".to_owned(),
        channel: "chat".to_owned(),
        approval: "apr_1".to_owned(),
        event: "approval.asked".to_owned(),
        created: SystemClock.now(),
        attempts: 0,
        due: Timestamp::from_secs(1),
        dead: None,
        failure: String::new(),
    };
    dead.enqueue(vec![told]).await.unwrap();
    // Each deals with what it wrote itself.
    let now = SystemClock.now();
    assert_eq!(alive.due("chat", now).await.unwrap(), []);
    assert_eq!(alive.changes().await.unwrap().len(), 1);
    assert_eq!(dead.changes().await.unwrap().len(), 5);
    let before = Timestamp::from_secs(1);
    assert_eq!(
        alive.sweep(before, now).await.unwrap().lost,
        0,
        "it is there"
    );

    // It dies without a word, and its time passes.
    let boot = "UPDATE instances SET boot = 'dead', seen_ms = seen_ms - $1 - 10000 WHERE id = 'i1'";
    sqlx::query(boot)
        .bind(i64::try_from(LEASE.as_millis()).unwrap())
        .execute(alive.postgres_for_tests())
        .await
        .unwrap();
    assert_eq!(alive.sweep(before, now).await.unwrap().lost, 1);
    assert_eq!(state(&alive, "apr_1").await, State::Indeterminate);
    assert_eq!(
        state(&alive, "apr_2").await,
        State::Executing,
        "its own goes on"
    );
    assert_eq!(alive.due("chat", now).await.unwrap().len(), 1);
    assert_eq!(alive.changes().await.unwrap().len(), 7);
    // Whoever comes back finds it ended, and cannot end it otherwise.
    let step = Step {
        id: "apr_1".to_owned(),
        edge: Edge::Done,
        lease: Some("lease-i1".to_owned()),
        result: None,
        cause: "ran",
    };
    let late = dead.step(step, now).await.unwrap();
    assert_eq!(late, Moved::No(State::Indeterminate));
}

#[tokio::test]
async fn an_instance_that_stops_is_stood_in_for_at_once() {
    let ground = Ground::new().await;
    let (gone, alive) = (ground.instance("i1").await, ground.instance("i2").await);
    approved(&gone, "apr_1").await;
    assert_eq!(take(&gone, "apr_1", "i1").await, Moved::Yes { fence: 1 });
    gone.close().await;
    let swept = alive.sweep(Timestamp::from_secs(1), SystemClock.now());
    assert_eq!(swept.await.unwrap().lost, 1);
    assert_eq!(state(&alive, "apr_1").await, State::Indeterminate);
}

// H4
#[tokio::test]
async fn of_two_processes_under_one_name_the_older_takes_nothing_more() {
    let ground = Ground::new().await;
    let older = ground.instance("i1").await;
    approved(&older, "apr_1").await;
    let younger = ground.instance("i1").await;
    assert_eq!(take(&older, "apr_1", "i1").await, Moved::Stale);
    assert_eq!(state(&older, "apr_1").await, State::Approved);
    assert_eq!(take(&younger, "apr_1", "i1").await, Moved::Yes { fence: 1 });
}

#[tokio::test]
async fn a_shared_state_is_made_once_and_opened_with_its_key_only() {
    let cluster = tokio::task::spawn_blocking(cluster).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = engine::place(dir.path(), &cluster.socket).await;
    let early = SqlStore::visit(&config, dir.path()).await.unwrap_err();
    assert!(
        early.to_string().ends_with("run `callgate init` first"),
        "{early}"
    );
    assert!(SqlStore::init_shared(&config, dir.path()).await.unwrap());
    assert!(!SqlStore::init_shared(&config, dir.path()).await.unwrap());
    std::fs::write(dir.path().join("postgres-key"), "0b".repeat(32)).unwrap();
    for refused in [
        SqlStore::visit(&config, dir.path()).await.map(|_| ()),
        SqlStore::init_shared(&config, dir.path()).await.map(|_| ()),
    ] {
        assert!(matches!(refused, Err(Error::OtherKey)), "{refused:?}");
    }
}

// R12
#[tokio::test]
async fn a_shared_state_of_another_version_is_brought_up_or_refused() {
    let ground = Ground::new().await;
    let dir = ground.dir.path();
    let store = ground.instance("i1").await;
    let older = "DELETE FROM migrations WHERE number > 3; DROP TABLE outbox; DROP TABLE grants; \
                 DROP TABLE once; DROP INDEX approvals_counted; \
                 CREATE INDEX approvals_state ON approvals (state, expires_ms); \
                 ALTER TABLE votes DROP COLUMN grant_id; ALTER TABLE votes DROP COLUMN glass; \
                 ALTER TABLE votes DROP COLUMN erased; ALTER TABLE approvals DROP COLUMN erased";
    run(&store, older).await;
    store.close().await;
    let store = ground.instance("i1").await;
    assert!(store.dead().await.unwrap().is_empty());
    run(&store, "UPDATE migrations SET digest = '' WHERE number = 2").await;
    let altered = SqlStore::visit(&engine::config(), dir).await;
    assert!(matches!(altered, Err(Error::Altered(2))));
    run(&store, "UPDATE migrations SET number = 99 WHERE number = 2").await;
    let newer = SqlStore::visit(&engine::config(), dir).await.unwrap_err();
    assert!(newer.to_string().contains("is of version 99"), "{newer}");
}
