//! The API keeps to what its description says: a tool that nobody here wrote asks it what it does not expect, and
//! conditions and repeated requests do what the description promises.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use callgate::demo::{Audience, Person};
use serde_json::{Value, json};

use super::console_browser::{sample_functions, start};
use super::console_login::{Browser, World, issuer};
use super::support::gateway::{Shared, eventually, run};
use super::support::raw::{self, Answer};
use super::support::{peers, root};

static WORLD: Shared<World> = Shared::new();

fn world() -> Arc<World> {
    WORLD.get(|| {
        let (issuer, data) = issuer();
        let functions = sample_functions(data.path());
        World::of(start(issuer, functions, data.path()), issuer, data)
    })
}

/// Somebody who asks the console with a token.
struct Api {
    console: SocketAddr,
    token: String,
}

impl Api {
    fn of(world: &World, person: Person) -> Self {
        Self {
            console: world.gateway.console,
            token: world.mint(person, Audience::Console),
        }
    }

    fn send(&self, method: &str, path: &str, more: &[(&str, &str)], body: &Value) -> Answer {
        let token = format!("Bearer {}", self.token);
        let mut headers = vec![("Authorization", token.as_str())];
        let body = if body.is_null() {
            String::new()
        } else {
            headers.push(("Content-Type", "application/json"));
            body.to_string()
        };
        headers.extend(more);
        let path = format!("/api/v1{path}");
        raw::request(self.console, method, &path, &headers, body.as_bytes())
    }

    fn get(&self, path: &str, more: &[(&str, &str)]) -> Answer {
        self.send("GET", path, more, &Value::Null)
    }
}

/// A call that is held, by its approval.
fn held(world: &World, amount: u32) -> Value {
    let token = world.mint(Person::Alice, Audience::Gateway);
    let body = json!({ "order": "o-2", "amount": amount, "reason": "damaged" }).to_string();
    let headers = [
        ("Content-Type", "application/json"),
        ("Prefer", "respond-async"),
    ];
    let answer = world.gateway.send(
        "POST",
        "/payments/refunds",
        &token,
        &headers,
        body.as_bytes(),
    );
    assert_eq!(answer.status, 202, "{}", answer.text());
    let call = answer.header("callgate-call").expect("a call").to_owned();
    let bob = Api::of(world, Person::Bob);
    eventually("the approval is listed", || {
        let list = bob.get("/approvals?state=pending", &[]).json();
        let ids = list["approvals"].as_array()?.iter();
        let ids: Vec<_> = ids.filter_map(|one| one["id"].as_str()).collect();
        let mut shown = ids
            .iter()
            .map(|id| bob.get(&format!("/approvals/{id}"), &[]));
        shown
            .find(|shown| shown.json()["call"] == json!(call))
            .map(|shown| shown.json())
    })
}

/// What no answer may be. Whether each sound request is accepted is not among it: JSON Schema takes `1.0` for an
/// integer and cannot say which functions there are.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method,ignored_auth";

/// Let schemathesis ask, with these headers; every surprise is a failure.
fn ask(world: &World, amount: u32, headers: &[(&str, String)], more: &[&str]) -> String {
    let alice = world.mint(Person::Alice, Audience::Gateway);
    let answer = world.gateway.get("/payments/customers/c-1001", &alice);
    let call = answer.header("callgate-call").expect("a call").to_owned();
    world.gateway.await_end(&call);
    let approval = held(world, amount);
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(peers().join(".venv/bin/st"));
    command
        .current_dir(folder.path())
        .arg("--config-file")
        .arg(peers().join("console-api.toml"))
        .args(["--no-color", "run", "--checks", CHECKS])
        .arg(root().join("schema/console.openapi.json"))
        .args(more)
        .env("CONSOLE", world.gateway.console.to_string())
        .env("HOOKS", peers().join("console_api_hooks.py"))
        .env("CALL", call)
        .env("APPROVAL", approval["head"]["id"].as_str().expect("an id"));
    for (name, value) in headers {
        command.args(["--header", &format!("{name}: {value}")]);
    }
    let done = command.output().expect("schemathesis runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    said
}

#[test]
fn schemathesis_finds_no_server_error_and_no_undocumented_answer_with_a_token() {
    let world = world();
    let token = world.mint(Person::Bob, Audience::Console);
    let phases = ["--phases=examples,coverage,fuzzing"];
    let said = ask(
        &world,
        41_000,
        &[("Authorization", format!("Bearer {token}"))],
        &phases,
    );
    // Every operation but the stream was asked.
    let described: Value = callgate::console::document();
    let paths = described["paths"].as_object().expect("paths").values();
    let operations: usize = paths
        .map(|path| path.as_object().map_or(0, |o| o.len()))
        .sum();
    let tested = format!("Tested: {}", operations - 1);
    assert!(said.contains(&tested), "{tested}?\n{said}");
}

#[test]
fn schemathesis_finds_the_same_with_a_session() {
    let world = world();
    let mut browser = Browser::default();
    browser.sign_in(&world, "bob", "/login");
    let session = browser.session(&world).expect("a session");
    let headers = [
        ("Cookie", format!("callgate-session={session}")),
        ("Callgate-CSRF", browser.csrf(&world)),
        ("Origin", format!("http://{}", world.gateway.console)),
    ];
    // With sound requests only: who sends another cookie or token is somebody else.
    let more = [
        "--phases",
        "coverage",
        "--mode",
        "positive",
        "--exclude-checks",
        "ignored_auth",
    ];
    ask(&world, 43_000, &headers, &more);
}

#[test]
fn a_read_that_is_the_same_is_not_sent_again() {
    let world = world();
    let bob = Api::of(&world, Person::Bob);
    for path in ["/policies", "/openapi.json"] {
        let first = bob.get(path, &[]);
        assert_eq!(first.status, 200, "{path}: {}", first.text());
        let tag = first.header("etag").expect("a tag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
        let same = bob.get(path, &[("If-None-Match", &format!("\"x\", {tag}"))]);
        assert_eq!((same.status, same.text().as_str()), (304, ""), "{path}");
        assert_eq!(same.header("etag"), Some(tag.as_str()), "{path}");
        let other = bob.get(path, &[("If-None-Match", "\"x\"")]);
        assert_eq!(
            (other.status, other.header("etag")),
            (200, Some(tag.as_str()))
        );
    }
    // Who may not read learns nothing by a condition.
    let alice = Api::of(&world, Person::Alice);
    let refused = alice.get("/policies", &[("If-None-Match", "*")]);
    assert_eq!((refused.status, refused.header("etag")), (403, None));
}

#[test]
fn a_vote_on_condition_counts_only_for_the_approval_as_it_was_read() {
    let world = world();
    let approval = held(&world, 51_000);
    let bob = Api::of(&world, Person::Bob);
    let path = format!(
        "/approvals/{}",
        approval["head"]["id"].as_str().expect("an id")
    );
    let vote = json!({
        "rule": approval["rules"][0]["hash"], "digest": approval["digest"], "verdict": "no", "reason": "no parcel",
    });
    let votes = format!("{path}/votes");
    let other = bob.send("POST", &votes, &[("If-Match", "\"x\"")], &vote);
    assert_eq!(
        (other.status, other.json()["code"].as_str()),
        (412, Some("changed"))
    );
    let pending = bob.get(&path, &[]).json();
    assert_eq!(pending["head"]["state"], "pending", "it did not count");
    // Whoever holds further calls meanwhile changes how it reads: read again, as a client does.
    let mut tag = String::new();
    let good = eventually("the vote counts", || {
        tag = bob
            .get(&path, &[])
            .header("etag")
            .expect("a tag")
            .to_owned();
        let answer = bob.send("POST", &votes, &[("If-Match", &tag)], &vote);
        (answer.status != 412).then_some(answer)
    });
    assert_eq!(
        (good.status, good.json()["state"].as_str()),
        (200, Some("denied"))
    );
    let late = bob.send("POST", &votes, &[("If-Match", &tag)], &vote);
    assert_eq!(late.status, 412, "{}", late.text());
}

#[test]
fn a_request_that_is_sent_again_with_its_key_is_done_once() {
    let world = world();
    let bob = Api::of(&world, Person::Bob);
    let revoke = |key: &str, reason: &str| {
        let target = json!({ "kind": "token", "issuer": "demo", "id": "key-story" });
        let body = json!({ "target": target, "reason": reason });
        bob.send("POST", "/revocations", &[("Idempotency-Key", key)], &body)
    };
    let count = || {
        let list = bob.get("/revocations", &[]).json();
        let all = list.as_array().expect("a list").iter();
        all.filter(|one| one["target"]["id"] == "key-story").count()
    };
    let first = revoke("\"story-1\"", "lost");
    assert_eq!(
        (first.status, first.header("idempotent-replayed")),
        (200, None)
    );
    let again = revoke("story-1", "lost");
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!((again.status, again.json()), (200, first.json()));
    assert_eq!(count(), 1);
    let other = revoke("story-1", "stolen");
    assert_eq!(other.status, 422, "{}", other.text());
    assert_eq!(other.json()["code"], "idempotency_key_reused");
    assert_eq!(revoke("story-2", "lost").status, 200);
    assert_eq!(count(), 2, "another key is another request");
    // What was refused is free to be tried again, and nobody without the right learns of a key.
    assert_eq!(revoke("story-3", "").status, 400);
    assert_eq!(revoke("story-3", "lost").status, 200);
    assert_eq!(revoke("bad\"key", "lost").status, 400);
    let alice = Api::of(&world, Person::Alice);
    let body = json!({ "target": { "kind": "issuer", "issuer": "demo" }, "reason": "x" });
    let theirs = alice.send(
        "POST",
        "/revocations",
        &[("Idempotency-Key", "story-1")],
        &body,
    );
    assert_eq!(theirs.status, 403, "{}", theirs.text());
}

/// A refund that nobody needs to allow; its call, once it is recorded.
fn refunded(world: &World, amount: u32) -> String {
    let token = world.mint(Person::Alice, Audience::Gateway);
    let body = json!({ "order": "o-2", "amount": amount, "reason": "damaged" });
    let answer = world.gateway.post("/payments/refunds", &token, &body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    world.gateway.end_of(&answer);
    let call = answer.header("callgate-call").expect("the call");
    call.to_owned()
}

/// What a draft would do. A person simulates one at a time, and other tests are the same person: who is told so
/// waits, as it says.
fn simulated(who: &Api, body: &Value) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = who.send("POST", "/policies/simulate", &[], body);
        let is_told_to_wait =
            answer.status == 409 && answer.text().contains("you simulate a draft already");
        if !is_told_to_wait {
            return answer;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "{}",
            answer.text()
        );
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_draft_is_judged_by_recorded_calls_and_nothing_changes() {
    let world = world();
    let bob = Api::of(&world, Person::Bob);
    let call = refunded(&world, 977);
    let simulate = |body: &Value| simulated(&bob, body);
    let smaller = r#"@id("all-refunds-need-a-lead") @approval("demo/payments-leads")
        forbid (principal, action == Action::"payments/createRefund", resource) when { context.input.body.amount > 900 };"#;
    let draft =
        json!({ "without": ["large-refunds-need-a-lead"], "with": smaller, "last_s": 3600 });
    let before = bob.get("/policies", &[]).json()["version"].clone();
    let answer = simulate(&draft);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["complete"], true);
    let changes = told["changes"].as_array().expect("changes");
    let change = changes
        .iter()
        .find(|change| change["from"] == "allow" && change["to"] == "ask")
        .unwrap_or_else(|| panic!("{told:#}"));
    assert_eq!(
        change["draft_decided_by"],
        json!(["all-refunds-need-a-lead"])
    );
    let examples = change["examples"].as_array().expect("examples");
    assert!(examples.iter().any(|one| one == &json!(call)), "{told:#}");
    // A draft that changes nothing says so, and the policies in force are what they were.
    let same = simulate(&json!({ "last_s": 3600 })).json();
    assert_eq!((&same["changed"], &same["draft"]), (&json!(0), &before));
    assert_eq!(bob.get("/policies", &[]).json()["version"], before);
    let read = |leaf: &Value| leaf["kind"] == "audit.read" && leaf["what"] == "simulate";
    assert!(world.gateway.leaves().iter().any(read));
}

#[test]
fn a_draft_that_does_not_load_says_where_and_why() {
    let world = world();
    let bob = Api::of(&world, Person::Bob);
    let simulate = |body: &Value| simulated(&bob, body);
    let wrong =
        "\n@id(\"x\") permit (principal, action == Action::\"payments/nothing\", resource);";
    let broken = simulate(&json!({ "with": wrong }));
    let told = broken.json();
    assert_eq!(
        (broken.status, &told["code"]),
        (422, &json!("draft_does_not_load"))
    );
    let detail = told["detail"].as_str().expect("a detail");
    assert!(
        detail.contains("draft:2") && detail.contains("payments/nothing"),
        "{detail}"
    );
    let unknown = simulate(&json!({ "without": ["nobody-knows"] }));
    assert_eq!(unknown.status, 422, "{}", unknown.text());
    assert!(unknown.text().contains("nobody-knows"));
    let twice = simulate(
        &json!({ "with": "@id(\"nobody-deletes\") forbid (principal, action, resource);" }),
    );
    assert_eq!(twice.status, 422, "{}", twice.text());
    for last_s in [0, 31 * 86_400] {
        let answer = simulate(&json!({ "last_s": last_s }));
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    let alice = Api::of(&world, Person::Alice);
    let denied = alice.send("POST", "/policies/simulate", &[], &json!({}));
    assert_eq!(denied.status, 403, "{}", denied.text());
}

#[test]
fn calls_over_time_are_counted_for_who_may_read_them() {
    let world = world();
    let bob = Api::of(&world, Person::Bob);
    refunded(&world, 978);
    let chart = bob.get(
        "/calls/chart?last_s=3600&function=payments%2FcreateRefund",
        &[],
    );
    assert_eq!(chart.status, 200, "{}", chart.text());
    let chart = chart.json();
    let columns = chart["columns"].as_array().expect("columns");
    assert_eq!((columns.len(), &chart["step_s"]), (48, &json!(75)));
    let of = |outcome: &str| -> u64 {
        let counts = columns
            .iter()
            .filter_map(|one| one["outcomes"][outcome].as_u64());
        counts.sum()
    };
    assert!(of("ok") >= 1, "{chart:#}");
    assert!(
        columns.iter().any(|one| one["p95_ms"].is_u64()),
        "{chart:#}"
    );
    let other = bob
        .get("/calls/chart?function=payments%2Fnothing", &[])
        .json();
    assert_eq!(
        (&other["looked_at"], &other["complete"]),
        (&json!(0), &json!(true))
    );
    assert_eq!(bob.get("/calls/chart?last_s=1", &[]).status, 400);
    let alice = Api::of(&world, Person::Alice);
    assert_eq!(alice.get("/calls/chart", &[]).status, 403);
}

#[test]
fn for_who_may_not_see_a_held_call_nothing_of_it_is_opened() {
    let (issuer, data) = issuer();
    let functions = sample_functions(data.path());
    let world = World::of(start(issuer, functions, data.path()), issuer, data);
    let approval = held(&world, 41_000);
    let path = format!(
        "/approvals/{}",
        approval["head"]["id"].as_str().expect("an id")
    );
    // What cannot be opened any more tells who tries to.
    let damage = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as state:\n \
        print(state.execute('UPDATE approvals SET frozen = zeroblob(64)').rowcount)";
    let state = world.gateway.data().join("state/state.db");
    let changed = run("python3", &["-c", damage, state.to_str().expect("a path")]);
    assert_eq!(changed.trim(), "1");
    let of = |person| Api::of(&world, person).get(&path, &[]);
    assert_eq!(of(Person::Bob).status, 500);
    // Alice decides nothing: she is told what she would be told of a call that there never was.
    let none = Api::of(&world, Person::Alice).get("/approvals/apr_none", &[]);
    let stranger = of(Person::Alice);
    assert_eq!((stranger.status, stranger.text()), (404, none.text()));
    let list = Api::of(&world, Person::Alice).get("/approvals", &[]);
    assert_eq!((list.status, &list.json()["approvals"]), (200, &json!([])));
}
