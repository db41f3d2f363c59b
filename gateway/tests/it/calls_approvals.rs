//! Calls that wait for people, from the caller's request to the function, through the real API and command line: what
//! runs is what was shown, once, for who asked.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::caller::Talk;
use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, Shared, caller, eventually, mint, now, person};
use super::support::raw::{self, Answer};

#[derive(Debug)]
pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) double: Double,
}

static WORLD: Shared<World> = Shared::new();

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("writes-need-a-lead") @approval("corp/leads") @reason("writes wait for a lead")
forbid (principal, action in Action::"write", resource);
@id("leads-approve") permit (principal in Group::"corp/leads", action == Action::"approve", resource);
"#;

pub(super) fn start() -> World {
    let double = Double::start();
    let functions = json!({ "inline": {
        "get": { "method": "GET", "path": "/{case}" },
        "post": { "method": "POST", "path": "/{case}", "body": { "schema": {
            "type": "object", "properties": { "amount": { "type": "integer" } },
        } } },
        "put": { "method": "PUT", "path": "/{case}", "body": { "stream": true } },
    } });
    let gateway = Setup::new()
        .policy(POLICIES)
        .with("approvals", json!({ "cooldown_s": 0 }))
        .connection(
            "held",
            double.address,
            &json!({ "functions": functions, "hold_s": 30 }),
        )
        .connection(
            "brief",
            double.address,
            &json!({ "functions": functions, "hold_s": 0 }),
        )
        .start();
    World { gateway, double }
}

fn world() -> Arc<World> {
    WORLD.get(start)
}

pub(super) fn staff(subject: &str) -> String {
    caller(subject, &["staff"])
}

pub(super) fn lead() -> String {
    person("lena", &["leads"])
}

impl World {
    pub(super) fn send(&self, target: &str, token: &str, amount: u32) -> Answer {
        self.gateway
            .post(target, token, &json!({ "amount": amount }))
    }

    /// Ask on the connection that does not hold, and return the approval's id.
    pub(super) fn ask(&self, target: &str, token: &str, amount: u32) -> String {
        let answer = self.send(target, token, amount);
        let said = told(&answer, 429, "approval_pending", "no");
        let id = said["approval"]["id"].as_str().expect("an id").to_owned();
        let place = format!("/.well-known/callgate/approvals/{id}");
        assert_eq!(answer.header("location"), Some(place.as_str()));
        assert!(answer.header("retry-after").is_some());
        id
    }

    pub(super) fn approve(&self, id: &str) {
        let (good, text) = self
            .gateway
            .approvals(&lead(), &["approve", id, "--reason", "seen"]);
        assert!(good && text.contains("voted yes"), "{text}");
    }

    /// The approval that this caller waits for, as the people's list has it.
    pub(super) fn listed(&self, subject: &str) -> String {
        eventually("pending approval", || {
            let answer = raw::get(
                self.gateway.console,
                "/api/v1/approvals?state=pending",
                Some(&lead()),
            );
            let page = answer.json();
            let list = page["approvals"].as_array().cloned().unwrap_or_default();
            let of_subject = list
                .iter()
                .find(|one| one["requester"]["subject"] == subject)?;
            Some(of_subject["id"].as_str()?.to_owned())
        })
    }

    pub(super) fn own(&self, method: &str, id: &str, rest: &str, token: &str) -> Answer {
        let target = format!("/.well-known/callgate/approvals/{id}{rest}");
        self.gateway.send(method, &target, token, &[], b"")
    }

    pub(super) fn state(&self, id: &str, token: &str) -> String {
        let answer = self.own("GET", id, "", token);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["state"].as_str().expect("a state").to_owned()
    }
}

#[track_caller]
pub(super) fn told(answer: &Answer, status: u16, code: &str, executed: &str) -> Value {
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

#[test]
fn a_held_caller_gets_the_answer_when_a_person_says_yes() {
    let world = world();
    let token = staff("henry");
    let waiting = {
        let (world, token) = (Arc::clone(&world), token.clone());
        thread::spawn(move || world.send("/held/held", &token, 5))
    };
    let id = world.listed("henry");
    assert_eq!(world.double.hits("/held"), 0);
    let (good, text) = world.gateway.approvals(&lead(), &["show", &id]);
    assert!(
        good && text.contains("held/post") && text.contains("henry"),
        "{text}"
    );
    assert!(
        text.contains("amount") && text.contains("writes wait for a lead"),
        "{text}"
    );
    world.approve(&id);
    let answer = waiting.join().expect("an answer");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "{\"ok\":true}")
    );
    let seen = world.double.seen("/held");
    assert_eq!(
        (seen.len(), seen[0].body.as_slice()),
        (1, &br#"{"amount":5}"#[..])
    );
    // The question, the vote and the run are on the record, in this order, and belong together.
    let leaves = world.gateway.leaves();
    let of_approval = |kind: &str| {
        let found = leaves
            .iter()
            .find(|leaf| leaf["kind"] == kind && leaf["approval"] == id.as_str());
        found.unwrap_or_else(|| panic!("no {kind}"))["seq"].as_u64()
    };
    let call = answer.header("callgate-call").expect("a call");
    let begin = world
        .gateway
        .leaf("call.begin", call)
        .expect("a begin record");
    assert_eq!(begin["approval"]["id"], id.as_str(), "{begin}");
    assert!(of_approval("approval.ask") < of_approval("approval.vote"));
    assert!(of_approval("approval.vote") < begin["seq"].as_u64());
    assert_eq!(world.gateway.end_of(&answer)["outcome"], "ok");
}

#[test]
fn the_same_call_again_joins_and_runs_once() {
    let world = world();
    let token = staff("rita");
    let id = world.ask("/brief/again", &token, 7);
    // Volatile headers do not make it another call.
    let headers = [
        ("Content-Type", "application/json"),
        ("User-Agent", "another/2"),
        ("X-Request-Id", "2"),
    ];
    let again = world
        .gateway
        .send("POST", "/brief/again", &token, &headers, br#"{"amount":7}"#);
    assert_eq!(
        told(&again, 429, "approval_pending", "no")["approval"]["id"],
        id.as_str()
    );
    assert_eq!(world.double.hits("/again"), 0);
    world.approve(&id);
    assert_eq!(world.state(&id, &token), "approved");
    let done = world.send("/brief/again", &token, 7);
    assert_eq!(
        (done.status, world.double.hits("/again")),
        (200, 1),
        "{}",
        done.text()
    );
    assert_eq!(world.state(&id, &token), "done");
    // Once is once: what comes now is a new question or a refusal, and nothing runs.
    let more = world.send("/brief/again", &token, 7);
    assert_ne!(more.status, 200, "{}", more.text());
    assert_ne!(
        more.json()["approval"]["id"]
            .as_str()
            .map(str::to_owned)
            .filter(|_| more.status == 429),
        Some(id)
    );
    assert_eq!(world.double.hits("/again"), 1);
}

#[test]
fn who_asks_for_an_asynchronous_answer_gets_202_and_runs_it_later() {
    let world = world();
    let token = staff("asya");
    let headers = [
        ("Content-Type", "application/json"),
        ("Prefer", "respond-async"),
    ];
    let answer = world
        .gateway
        .send("POST", "/held/async", &token, &headers, br#"{"amount":1}"#);
    let said = told(&answer, 202, "approval_pending", "no");
    let id = said["approval"]["id"].as_str().expect("an id").to_owned();
    assert!(answer.header("location").expect("a place").ends_with(&id));
    assert_eq!(world.state(&id, &token), "pending");
    told(
        &world
            .gateway
            .send("POST", "/brief/async", &token, &headers, br#"{"amount":1}"#),
        202,
        "approval_pending",
        "no",
    );
    world.approve(&id);
    let ran = world.own("POST", &id, "/run", &token);
    assert_eq!((ran.status, ran.text().as_str()), (200, "{\"ok\":true}"));
    assert!(ran.header("callgate-receipt").is_some());
    let again = world.own("POST", &id, "/run", &token);
    assert!(matches!(again.status, 409 | 410), "{}", again.text());
    let seen = world.double.seen("/async");
    assert_eq!(
        (seen.len(), seen[0].body.as_slice()),
        (1, &br#"{"amount":1}"#[..])
    );
}

#[test]
fn a_streamed_call_that_would_need_approval_is_refused_and_the_refusal_is_on_record() {
    let world = world();
    let token = staff("stella");
    let answer = world
        .gateway
        .send("PUT", "/brief/streamed", &token, &[], b"what streams");
    told(&answer, 403, "denied", "no");
    assert!(answer.text().contains("cannot wait"), "{}", answer.text());
    let call = answer.header("callgate-call").expect("a call");
    let denied = eventually("the refusal on record", || {
        world.gateway.leaf("call.deny", call)
    });
    assert_eq!(denied["function"], "brief/put", "{denied}");
    assert_eq!(world.double.hits("/streamed"), 0);
}

#[test]
fn many_who_come_at_once_run_it_once() {
    let world = world();
    let token = staff("mona");
    world.double.on("/at-once", |exchange| {
        exchange.body();
        thread::sleep(Duration::from_millis(200));
        exchange.head(
            200,
            "Content-Type: application/json\r\nContent-Length: 4\r\n",
        );
        exchange.write("true");
    });
    let id = world.ask("/brief/at-once", &token, 3);
    world.approve(&id);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let all: Vec<_> = (0..10)
            .map(|index| {
                let (world, token, id) = (&world, &token, &id);
                scope.spawn(move || match index % 2 {
                    0 => world.send("/brief/at-once", token, 3).status,
                    _ => world.own("POST", id, "/run", token).status,
                })
            })
            .collect();
        all.into_iter()
            .map(|one| one.join().expect("a status"))
            .collect()
    });
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(world.double.hits("/at-once"), 1);
}

#[test]
fn a_cancelled_approval_runs_nothing() {
    let world = world();
    let token = staff("carl");
    let id = world.ask("/brief/cancelled", &token, 2);
    let answer = world.own("DELETE", &id, "", &token);
    assert_eq!(
        (answer.status, &answer.json()["state"]),
        (200, &json!("cancelled"))
    );
    let (good, text) = world.gateway.approvals(&lead(), &["approve", &id]);
    assert!(!good, "{text}");
    told(
        &world.own("POST", &id, "/run", &token),
        410,
        "approval_expired",
        "no",
    );
    let other = world.ask("/brief/cancelled", &token, 2);
    assert_ne!(other, id);
    assert_eq!(world.double.hits("/cancelled"), 0);
}

#[test]
fn a_denied_call_is_told_so_and_runs_nothing() {
    let world = world();
    let token = staff("dora");
    let waiting = {
        let (world, token) = (Arc::clone(&world), token.clone());
        thread::spawn(move || world.send("/held/refused", &token, 5))
    };
    let id = world.listed("dora");
    let (good, text) = world
        .gateway
        .approvals(&lead(), &["deny", &id, "--reason", "not today"]);
    assert!(good && text.contains("voted no"), "{text}");
    told(
        &waiting.join().expect("an answer"),
        403,
        "approval_denied",
        "no",
    );
    told(
        &world.own("POST", &id, "/run", &token),
        403,
        "approval_denied",
        "no",
    );
    assert_eq!(world.double.hits("/refused"), 0);
}

#[test]
fn an_approval_is_only_its_own_callers() {
    let world = world();
    let (token, other) = (staff("olga"), staff("mallory"));
    let id = world.ask("/brief/own", &token, 2);
    for (method, rest) in [("GET", ""), ("DELETE", ""), ("POST", "/run")] {
        told(
            &world.own(method, &id, rest, &other),
            404,
            "not_found",
            "no",
        );
        told(
            &world.own(method, &id, rest, "nonsense"),
            401,
            "token_rejected",
            "no",
        );
        // An id that does not exist looks the same as one of somebody else's, to the word.
        let flipped = if id.ends_with('0') { '1' } else { '0' };
        for made_up in [
            format!("{}{flipped}", &id[..id.len() - 1]),
            format!("{}zz", &id[..id.len() - 2]),
        ] {
            let seen = |id: &str| {
                let answer = world.own(method, id, rest, &other);
                let said = answer.json();
                (answer.status, said["code"].clone(), said["detail"].clone())
            };
            assert_eq!(seen(&id), seen(&made_up), "{method} {rest}");
        }
    }
    world.approve(&id);
    told(
        &world.own("POST", &id, "/run", &other),
        404,
        "not_found",
        "no",
    );
    // The same request of somebody else is another call.
    let theirs = world.send("/brief/own", &other, 2);
    assert_ne!(
        told(&theirs, 429, "approval_pending", "no")["approval"]["id"],
        id.as_str()
    );
    assert_eq!(world.double.hits("/own"), 0);
    assert_eq!(world.own("POST", &id, "/run", &token).status, 200);
    assert_eq!(world.double.hits("/own"), 1);
}

#[test]
fn another_body_target_or_key_is_another_approval() {
    let world = world();
    let token = staff("bodo");
    let id = world.ask("/brief/digest", &token, 2);
    world.approve(&id);
    let other = world.ask("/brief/digest", &token, 3);
    let elsewhere = world.ask("/brief/digest-2", &token, 2);
    assert!(other != id && elsewhere != id);
    let keyed = |key: &str, amount: u32| {
        let headers = [
            ("Content-Type", "application/json"),
            ("Idempotency-Key", key),
        ];
        let body = json!({ "amount": amount }).to_string();
        world
            .gateway
            .send("POST", "/brief/digest", &token, &headers, body.as_bytes())
    };
    let first = told(&keyed("k-1", 2), 429, "approval_pending", "no")["approval"]["id"].clone();
    assert_ne!(first, id.as_str());
    assert_eq!(
        told(&keyed("k-1", 2), 429, "approval_pending", "no")["approval"]["id"],
        first
    );
    told(&keyed("k-1", 9), 409, "conflict", "no");
    assert_eq!(
        world.double.hits("/digest") + world.double.hits("/digest-2"),
        0
    );
    assert_eq!(world.send("/brief/digest", &token, 2).status, 200);
    assert_eq!(world.double.hits("/digest"), 1);
}

// P (self-approval, freshness, audience)
#[test]
fn only_a_fresh_person_who_is_named_and_did_not_ask_can_vote() {
    let world = world();
    let subject = "sam";
    let token =
        mint(&json!({ "sub": subject, "groups": ["staff", "leads"], "account_type": "person" }));
    let id = world.ask("/brief/voters", &token, 2);
    let base = json!({ "aud": "https://console.test", "groups": ["leads"], "account_type": "person", "auth_time": now() - 5 });
    let with = |more: Value| {
        let mut claims = base.clone();
        claims
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().expect("an object"));
        mint(&claims)
    };
    for (why, voter) in [
        ("asked", with(json!({ "sub": subject }))),
        (
            "token for calls",
            mint(
                &json!({ "sub": "lena", "groups": ["leads"], "account_type": "person", "auth_time": now() }),
            ),
        ),
        (
            "stale",
            with(json!({ "sub": "lena", "auth_time": now() - 700 })),
        ),
        (
            "workload",
            with(json!({ "sub": "robot", "account_type": "workload" })),
        ),
        (
            "agent",
            with(json!({ "sub": "agent", "account_type": "agent" })),
        ),
        (
            "delegated",
            with(json!({ "sub": "lena", "act": { "sub": "agent" } })),
        ),
        (
            "not named",
            with(json!({ "sub": "nora", "groups": ["staff"] })),
        ),
        ("nobody", "nonsense".to_owned()),
    ] {
        let (good, text) = world.gateway.approvals(&voter, &["approve", &id]);
        assert!(!good, "{why}: {text}");
        assert_eq!(world.state(&id, &token), "pending", "{why}");
    }
    told(
        &world.send("/brief/voters", &token, 2),
        429,
        "approval_pending",
        "no",
    );
    assert_eq!(world.double.hits("/voters"), 0);
}

#[test]
fn a_vote_for_another_digest_than_the_one_shown_does_not_count() {
    let world = world();
    let token = staff("dick");
    let id = world.ask("/brief/shown", &token, 2);
    let view = raw::get(
        world.gateway.console,
        &format!("/api/v1/approvals/{id}"),
        Some(&lead()),
    )
    .json();
    let vote =
        json!({ "rule": view["rules"][0]["hash"], "verdict": "yes", "digest": "0".repeat(64) });
    let answer = raw::post(
        world.gateway.console,
        &format!("/api/v1/approvals/{id}/votes"),
        Some(&lead()),
        &vote,
    );
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert_eq!(world.state(&id, &token), "pending");
}

#[test]
fn a_result_whose_caller_left_is_kept_and_nothing_runs_again() {
    let world = world();
    let token = staff("kurt");
    world.double.on("/kept", |exchange| {
        exchange.body();
        thread::sleep(Duration::from_millis(700));
        exchange.head(
            200,
            "Content-Type: application/json\r\nContent-Length: 10\r\n",
        );
        exchange.write("{\"kept\":1}");
    });
    let id = world.ask("/brief/kept", &token, 2);
    world.approve(&id);
    let address = world.gateway.address;
    let mut talk = Talk::to(address);
    let target = format!("/.well-known/callgate/approvals/{id}/run");
    talk.send(format!("POST {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n").as_bytes());
    eventually("execution", || {
        (world.double.hits("/kept") == 1).then_some(())
    });
    drop(talk);
    eventually("end", || (world.state(&id, &token) == "done").then_some(()));
    told(
        &world.own("POST", &id, "/run", &staff("mallory")),
        404,
        "not_found",
        "no",
    );
    let answer = world.send("/brief/kept", &token, 2);
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "{\"kept\":1}")
    );
    assert_eq!(world.double.hits("/kept"), 1);
}
