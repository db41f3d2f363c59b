//! Approvals while the gateway changes under them: other rules, a restart.

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::Value;

use super::calls_approvals::{World, staff, start, told};
use super::support::START_MAX;
use super::support::caller::Talk;
use super::support::gateway::{Setup, eventually, person};
use super::support::h2::{self, DATA, Frames};
use super::support::raw::Answer;

/// Let somebody be held, change the policies, let a person say yes to what was asked; what the caller is told, and the
/// approval.
fn approved_after(
    world: &World,
    (subject, target): (&str, &str),
    change: impl FnOnce(Setup) -> Setup,
) -> (Answer, String) {
    let token = staff(subject);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| world.send(target, &token, 2));
        let id = world.listed(subject);
        world.gateway.reload(change, &["--accept-removal"]);
        // The one who voted did not know of the change.
        world.approve(&id);
        (waiting.join().expect("an answer"), id)
    })
}

#[test]
fn a_forbid_that_came_during_the_hold_stops_the_approved_call() {
    let world = start();
    let forbid = "@id(\"frozen\") forbid (principal, action == Action::\"held/post\", resource);";
    let (answer, id) = approved_after(&world, ("fay", "/held/frozen"), |setup| {
        setup.policy(forbid)
    });
    told(&answer, 403, "denied", "no");
    assert_eq!(world.state(&id, &staff("fay")), "superseded");
    // The yes is used up: it opens nothing when the forbid is taken away again.
    world
        .gateway
        .reload(|setup| setup.reworded(forbid, ""), &["--accept-removal"]);
    told(
        &world.own("POST", &id, "/run", &staff("fay")),
        409,
        "superseded",
        "no",
    );
    assert_eq!(world.double.hits("/frozen"), 0);
}

#[test]
fn a_rule_that_was_changed_during_the_hold_supersedes_its_approval() {
    let world = start();
    let (answer, id) = approved_after(&world, ("finn", "/held/changed"), |setup| {
        setup.reworded(
            "writes wait for a lead",
            "writes wait for a lead, by the new order",
        )
    });
    let said = told(&answer, 409, "superseded", "no");
    // People are asked anew, under the rule as it is now, and their yes runs it.
    let next = said["approval"]["id"]
        .as_str()
        .expect("the next")
        .to_owned();
    assert_ne!(next, id);
    assert_eq!(world.state(&id, &staff("finn")), "superseded");
    assert_eq!(world.double.hits("/changed"), 0);
    world.approve(&next);
    let ran = world.own("POST", &next, "/run", &staff("finn"));
    assert_eq!(ran.status, 200, "{}", ran.text());
    assert_eq!(world.double.hits("/changed"), 1);
}

#[test]
fn a_rule_that_came_after_the_vote_supersedes_it() {
    let world = start();
    let token = staff("sue");
    let id = world.ask("/brief/rules", &token, 2);
    world.approve(&id);
    let second = "@id(\"security-too\") @approval(\"corp/security\")\n\
        forbid (principal, action == Action::\"brief/post\", resource);\n\
        @id(\"security-approves\") permit (principal in Group::\"corp/security\", action == Action::\"approve\", resource);";
    let report = world.gateway.reload(|setup| setup.policy(second), &[]);
    assert!(report.contains("security-too"), "{report}");
    // The approval that people opened does not cover the new rule, whichever way its caller comes.
    told(
        &world.own("POST", &id, "/run", &token),
        409,
        "superseded",
        "no",
    );
    assert_eq!(
        (
            world.state(&id, &token).as_str(),
            world.double.hits("/rules")
        ),
        ("superseded", 0)
    );
    let next = world.ask("/brief/rules", &token, 2);
    assert_ne!(next, id);
    assert_eq!(world.double.hits("/rules"), 0);
    // The rule that stayed the same is still open; the new one is asked.
    let (good, text) = world
        .gateway
        .approvals(&person("sid", &["security"]), &["approve", &next]);
    assert!(good, "{text}");
    let answer = world.send("/brief/rules", &token, 2);
    if answer.status == 429 {
        world.approve(&next);
        assert_eq!(world.send("/brief/rules", &token, 2).status, 200);
    } else {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(world.double.hits("/rules"), 1);
    // What opens a door must be said aloud.
    let before = world.gateway.try_command(&["reload"], &[]);
    assert!(before.0, "{}", before.1);
}

#[test]
fn an_approval_outlives_a_restart_and_still_runs_once() {
    // R12
    let mut world = start();
    let token = staff("rolf");
    let (pending, approved) = (
        world.ask("/brief/restart-1", &token, 1),
        world.ask("/brief/restart-2", &token, 1),
    );
    world.approve(&approved);
    world.gateway.restart();
    world.approve(&pending);
    for target in ["/brief/restart-1", "/brief/restart-2"] {
        let answer = world.send(target, &token, 1);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        assert_ne!(world.send(target, &token, 1).status, 200);
    }
    assert_eq!(
        (
            world.double.hits("/restart-1"),
            world.double.hits("/restart-2")
        ),
        (1, 1)
    );
}

// P9, P18
#[test]
fn a_kept_answer_that_a_crash_cut_off_is_there_again_and_nobody_is_asked_anew() {
    let mut world = start();
    let token = staff("kira");
    let body = format!("{{\"kept\":\"{}\"}}", "k".repeat(200_000));
    let length = body.len();
    let whole = body.clone();
    let (gone, left) = mpsc::channel::<()>();
    let left = Mutex::new(left);
    world.double.on("/cut-off", move |exchange| {
        exchange.body();
        // The answer comes when the caller has hung up and the gateway had time to see it.
        let _ = left.lock().expect("one call").recv_timeout(START_MAX);
        thread::sleep(Duration::from_millis(500));
        exchange.head(
            200,
            &format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
        );
        exchange.write(&whole);
    });
    let id = world.ask("/brief/cut-off", &token, 2);
    world.approve(&id);
    let (address, run) = (
        world.gateway.address,
        format!("/.well-known/callgate/approvals/{id}/run"),
    );
    let mut talk = Talk::to(address);
    talk.send(format!("POST {run} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n").as_bytes());
    eventually("execution", || {
        (world.double.hits("/cut-off") == 1).then_some(())
    });
    drop(talk);
    gone.send(()).expect("the function waits");
    eventually("end", || (world.state(&id, &token) == "done").then_some(()));
    // A caller that takes the first window of it and no more, when the gateway dies.
    let mut frames = Frames::to(address);
    frames.write(&h2::request(1, ("POST", &run), address, &token, true));
    let first = frames.until(|frame| frame.kind == DATA && !frame.payload.is_empty());
    let first = first.map(|frame| String::from_utf8_lossy(&frame.payload).into_owned());
    let first = first.expect("the beginning of the answer");
    assert!(first.starts_with("{\"kept\""), "{first}");
    // Time enough for the library to ask for whatever it asks for ahead.
    thread::sleep(Duration::from_secs(1));
    world.gateway.crash();
    let answer = world.send("/brief/cut-off", &token, 2);
    assert_eq!((answer.status, answer.text()), (200, body));
    // The record of the call says that nobody was there; that the answer went out since stands beside it.
    let leaves = world.gateway.leaves();
    let fetched = leaves
        .iter()
        .filter(|leaf| leaf["kind"] == "approval.fetch");
    let fetched: Vec<_> = fetched.collect();
    let call = answer.header("callgate-call").expect("the call");
    assert_eq!(
        fetched.len(),
        2,
        "one that was cut off, and one that went out"
    );
    assert!(
        fetched
            .iter()
            .all(|leaf| leaf["approval"] == id.as_str() && leaf["call"] == call),
        "{fetched:?}"
    );
    // It went out: the same call is a new question from here on.
    eventually("new question", || {
        let answer = world.send("/brief/cut-off", &token, 2);
        (answer.status == 429).then_some(())
    });
    assert_eq!(world.double.hits("/cut-off"), 1);
}

/// What anybody can compute of a request that they guess.
fn guessed(function: &str, target: &str, body: &str) -> String {
    let mut digest = Context::new(&SHA256);
    let parts = [
        "callgate/same-call/1",
        function,
        "POST",
        target,
        "application/json",
        "",
        "",
        body,
    ];
    for part in parts {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let digest = digest.finish();
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn the_record_of_a_question_confirms_no_guess_of_what_is_asked() {
    let world = start();
    let asked: Vec<Value> = ["fred", "flora"]
        .map(|subject| {
            let id = world.ask("/brief/guessed", &staff(subject), 7);
            eventually("the question on record", || {
                let mut leaves = world.gateway.leaves().into_iter();
                leaves.find(|leaf| leaf["kind"] == "approval.ask" && leaf["approval"] == id)
            })
        })
        .into();
    let guess = guessed("brief/post", "/guessed", "{\"amount\":7}");
    for leaf in world.gateway.leaves() {
        assert!(!leaf.to_string().contains(&guess), "{leaf}");
    }
    // Nothing that is made of the content is the same for two callers who ask the same.
    let (fred, flora) = (&asked[0], &asked[1]);
    for (name, value) in fred.as_object().expect("a leaf") {
        let long = value.as_str().is_some_and(|text| text.len() >= 32);
        assert!(!long || flora[name] != *value, "{name}: {value}");
    }
}
