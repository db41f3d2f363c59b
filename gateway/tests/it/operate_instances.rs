//! Two gateways and one PostgreSQL server: what is asked on one is decided and run on the other, once; what one is told
//! holds on both; and what happens when an instance or the server dies.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::caller::Talk;
use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, Shared, caller, eventually, person};
use super::support::postgres::Postgres;
use super::support::raw::{self, Answer};

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("writes-need-a-lead") @approval("corp/leads") forbid (principal, action in Action::"write", resource);
@id("leads-approve") permit (principal in Group::"corp/leads",
    action in [Action::"approve", Action::"revoke"], resource);
"#;

/// Dropped in this order: the gateways before their server.
#[derive(Debug)]
struct World {
    one: Gateway,
    other: Gateway,
    double: Double,
    postgres: Postgres,
}

static WORLD: Shared<World> = Shared::new();

fn start() -> World {
    let (double, postgres) = (Double::start(), Postgres::start());
    let functions = json!({ "inline": {
        "get": { "method": "GET", "path": "/{case}" },
        "post": { "method": "POST", "path": "/{case}", "body": { "schema": {
            "type": "object", "properties": { "amount": { "type": "integer" } },
        } } },
    } });
    let brief = json!({ "functions": functions.clone(), "hold_s": 0 });
    let held = json!({ "functions": functions, "hold_s": 60 });
    let one = Setup::new()
        .policy(POLICIES)
        .file("store-url", &postgres.url())
        .file("store-key", &"0a".repeat(32))
        .with("approvals", json!({ "cooldown_s": 0, "pending_per_principal_max": 100 }))
        .with(
            "store",
            json!({ "postgres": { "url": "file:store-url", "key": "file:store-key", "connections": 4 } }),
        )
        .connection("brief", double.address, &brief)
        .connection("held", double.address, &held)
        .start();
    let mut other = one.elsewhere();
    let joined = other.command(&["init"], &[]);
    assert!(joined.contains("joined the shared state"), "{joined}");
    other.spawn();
    other.await_ready();
    World {
        one,
        other,
        double,
        postgres,
    }
}

fn world() -> Arc<World> {
    WORLD.get(start)
}

fn lead() -> String {
    person("lena", &["leads"])
}

fn post(gateway: &Gateway, target: &str, token: &str) -> Answer {
    gateway.post(target, token, &json!({ "amount": 1 }))
}

#[track_caller]
fn told(answer: &Answer, status: u16, code: &str, executed: &str) -> Value {
    let said = answer.json();
    let got = (
        answer.status,
        said["code"].as_str(),
        said["executed"].as_str(),
    );
    assert_eq!(
        got,
        (status, Some(code), Some(executed)),
        "{}",
        answer.text()
    );
    said
}

fn ask(gateway: &Gateway, target: &str, token: &str) -> String {
    let said = told(&post(gateway, target, token), 429, "approval_pending", "no");
    said["approval"]["id"].as_str().expect("an id").to_owned()
}

fn approve(gateway: &Gateway, id: &str) {
    let (good, text) = gateway.approvals(&lead(), &["approve", id, "--reason", "seen"]);
    assert!(good && text.contains("voted yes"), "{text}");
}

/// Ask this instance's console to lock out a token, under a key.
fn lock(gateway: &Gateway, key: &str, id: &str) -> Answer {
    let bearer = format!("Bearer {}", lead());
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", key),
    ];
    let target = json!({ "kind": "token", "issuer": "corp", "id": id });
    let body = json!({ "target": target, "reason": "lost" }).to_string();
    raw::request(
        gateway.console,
        "POST",
        "/api/v1/revocations",
        &headers,
        body.as_bytes(),
    )
}

#[test]
fn a_key_of_a_request_holds_on_every_instance_and_after_a_restart() {
    let World {
        mut one,
        other,
        double: _double,
        postgres: _postgres,
    } = start();
    let first = lock(&one, "lock-1", "t1");
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.header("idempotent-replayed"), None);
    one.crash();
    for gateway in [&one, &other] {
        let again = lock(gateway, "lock-1", "t1");
        let replayed = again.header("idempotent-replayed");
        assert_eq!(
            (again.status, replayed),
            (200, Some("true")),
            "{}",
            again.text()
        );
        assert_eq!(again.json(), first.json());
        let reused = lock(gateway, "lock-1", "t2");
        assert_eq!(reused.status, 422, "{}", reused.text());
    }
    assert_eq!(lock(&other, "lock-2", "t1").status, 200, "another key");
}

// H5
#[test]
fn asked_on_one_decided_and_run_on_the_other() {
    let world = world();
    let token = caller("alice", &["staff"]);
    let id = ask(&world.one, "/brief/moved", &token);
    assert_eq!(
        ask(&world.other, "/brief/moved", &token),
        id,
        "one question"
    );
    approve(&world.other, &id);
    let ran = post(&world.other, "/brief/moved", &token);
    assert_eq!(ran.status, 200, "{}", ran.text());
    assert_eq!(world.double.hits("/moved"), 1);
    let place = format!("/.well-known/callgate/approvals/{id}");
    let seen = world.one.send("GET", &place, &token, &[], b"");
    assert_eq!(seen.json()["state"], "done", "{}", seen.text());
}

#[test]
fn a_caller_that_is_held_on_one_is_let_go_by_a_yes_on_the_other() {
    let world = world();
    let token = caller("bob", &["staff"]);
    let waiting = {
        let (world, token) = (Arc::clone(&world), token.clone());
        thread::spawn(move || post(&world.one, "/held/waits", &token))
    };
    let id = eventually("question", || {
        let (good, text) = world.other.approvals(&lead(), &["list"]);
        assert!(good, "{text}");
        let line = text.lines().find(|line| line.contains("bob"))?;
        let id = line
            .split_whitespace()
            .find(|word| word.starts_with("apr_"))?;
        Some(id.to_owned())
    });
    approve(&world.other, &id);
    let answer = waiting.join().expect("a caller");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(world.double.hits("/waits"), 1);
}

// P5
#[test]
fn many_who_come_to_both_at_once_run_it_once() {
    let world = world();
    let token = caller("carol", &["staff"]);
    for round in 0..3 {
        let target = format!("/brief/raced{round}");
        let id = ask(&world.one, &target, &token);
        approve(&world.one, &id);
        let racers = (0..12).map(|n| {
            let (world, token, target) = (Arc::clone(&world), token.clone(), target.clone());
            thread::spawn(move || {
                let gateway = if n % 2 == 0 { &world.one } else { &world.other };
                post(gateway, &target, &token).status
            })
        });
        let racers: Vec<_> = racers.collect();
        let statuses: Vec<u16> = racers.into_iter().map(|r| r.join().expect("one")).collect();
        assert!(statuses.contains(&200), "{statuses:?}");
        assert_eq!(
            world.double.hits(&format!("/raced{round}")),
            1,
            "{statuses:?}"
        );
    }
}

#[test]
fn who_is_locked_out_on_one_is_locked_out_on_the_other() {
    let world = world();
    let token = caller("dave", &["staff"]);
    assert_eq!(world.other.get("/brief/dave", &token).status, 200);
    let console = format!("http://{}", world.one.console);
    let environment = [("CALLGATE_TOKEN", lead()), ("CALLGATE_CONSOLE", console)];
    let environment = environment
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let lock = [
        "revocations",
        "add",
        "principal",
        "corp/dave",
        "--reason",
        "lost",
    ];
    world.one.command(&lock, &environment);
    eventually("lock", || {
        let answer = world.other.get("/brief/dave", &token);
        (answer.status == 403).then(|| told(&answer, 403, "revoked", "no"))
    });
}

// P6
#[test]
fn an_instance_that_is_killed_while_it_runs_a_call_leaves_it_indeterminate_for_all() {
    let World {
        mut one,
        other,
        double,
        postgres: _postgres,
    } = start();
    double.on("/stalls", |exchange| {
        exchange.body();
        exchange.head(
            200,
            "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n",
        );
        exchange.chunk("a first part");
        exchange.sees_close(Duration::from_secs(15));
        exchange.close();
    });
    let token = caller("erin", &["staff"]);
    let id = ask(&other, "/brief/stalls", &token);
    approve(&other, &id);
    let mut talk = Talk::to(one.address);
    let head = format!(
        "POST /brief/stalls HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n",
        one.address
    );
    let rest = "Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"amount\":1}";
    talk.send(format!("{head}{rest}").as_bytes());
    eventually("execution", || (double.hits("/stalls") == 1).then_some(()));
    let meanwhile = post(&other, "/brief/stalls", &token);
    told(&meanwhile, 409, "conflict", "unknown");
    one.crash();
    for gateway in [&one, &other] {
        told(
            &post(gateway, "/brief/stalls", &token),
            409,
            "indeterminate",
            "unknown",
        );
    }
    assert_eq!(double.hits("/stalls"), 1);
}

// P17
#[test]
fn a_server_that_is_away_refuses_what_needs_people_and_nothing_else() {
    let World {
        one,
        other,
        double,
        mut postgres,
    } = start();
    let token = caller("fred", &["staff"]);
    let id = ask(&one, "/brief/away", &token);
    approve(&one, &id);
    let (_, doctor) = one.try_command(&["doctor"], &[]);
    assert!(
        doctor.contains("ok    the shared state in PostgreSQL answers"),
        "{doctor}"
    );
    let (running, text) = one.try_command(&["approvals", "forget"], &[]);
    assert!(
        !running && text.contains("is running: stop every gateway first"),
        "{text}"
    );

    postgres.crash();
    for gateway in [&one, &other] {
        told(
            &post(gateway, "/brief/away", &token),
            503,
            "state_unavailable",
            "no",
        );
        assert_eq!(gateway.get("/brief/plain", &token).status, 200);
    }
    let (good, doctor) = one.try_command(&["doctor"], &[]);
    assert!(
        !good && doctor.contains("BAD   the shared state in PostgreSQL: nothing can be approved"),
        "{doctor}"
    );

    postgres.come_back();
    let ran = eventually("run", || {
        let answer = post(&other, "/brief/away", &token);
        (answer.status != 503).then_some(answer)
    });
    assert_eq!(ran.status, 200, "{}", ran.text());
    assert_eq!(double.hits("/away"), 1);
}

#[test]
fn another_key_is_refused_and_a_backup_says_what_it_does_not_hold() {
    let world = world();
    let third = world.one.elsewhere();
    let folder = third.data().parent().expect("a folder").to_owned();
    fs::write(folder.join("store-key"), "0b".repeat(32)).expect("a key");
    let (good, text) = third.try_command(&["init"], &[]);
    assert!(
        !good && text.contains("sealed under another key than `store.postgres.key`"),
        "{text}"
    );
    let to = folder.join("backup");
    fs::create_dir(&to).expect("a folder");
    let said = world
        .one
        .command(&["backup", "-o", to.to_str().expect("a path")], &[]);
    assert!(
        said.contains("The state in PostgreSQL and `store.postgres.key` are NOT in it"),
        "{said}"
    );
    assert!(!to.join("data/state").exists() && !to.join("data/state.key").exists());
}
