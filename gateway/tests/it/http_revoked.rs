//! A caller that is shut out while its call is under way: held for people, on its way to the function, or with the answer
//! coming in.

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::calls_approvals::{World, staff, start, told};
use super::support::caller::Talk;
use super::support::gateway::{Gateway, Setup, eventually, person};
use super::support::raw::{self, End};

const SECURITY: &str = r#"
@id("security") permit (principal in Group::"corp/security", action == Action::"revoke", resource);
"#;

fn world() -> World {
    let world = start();
    let setup = |setup: Setup| setup.policy(SECURITY);
    world.gateway.reload(setup, &[]);
    world
}

fn revoke(gateway: &Gateway, target: &Value) {
    let body = json!({ "target": target, "reason": "stolen" });
    let answer = raw::post(
        gateway.console,
        "/api/v1/revocations",
        Some(&person("sid", &["security"])),
        &body,
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn principal(subject: &str) -> Value {
    json!({ "kind": "principal", "issuer": "corp", "subject": subject })
}

fn hash(token: &str) -> Value {
    let hash = digest(&SHA256, token.as_bytes());
    let hex: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    json!({ "kind": "token-hash", "sha256": hex })
}

/// A function that answers a path only when it is let.
fn waits(
    world: &World,
    path: &str,
    answer: &'static str,
) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
    let ((came, comes), (go, goes)) = (mpsc::channel(), mpsc::channel());
    let goes = Mutex::new(goes);
    world.double.on(path, move |exchange| {
        exchange.body();
        came.send(()).expect("the test waits");
        let goes = goes.lock().expect("the word");
        // The test that is over lets go, too.
        let _gone = goes.recv_timeout(Duration::from_secs(60));
        exchange.write(answer);
    });
    (comes, go)
}

#[test]
fn a_caller_that_is_revoked_while_the_function_thinks_is_cut_off_at_once() {
    let world = world();
    let (comes, _go) = waits(
        &world,
        "/thinks",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nsecret",
    );
    let token = staff("tom");
    let answer = thread::scope(|scope| {
        let waiting = scope.spawn(|| world.gateway.get("/held/thinks", &token));
        comes.recv().expect("the call");
        revoke(&world.gateway, &principal("tom"));
        waiting.join().expect("an answer")
    });
    told(&answer, 403, "revoked", "unknown");
    assert_eq!(world.gateway.end_of(&answer)["error"], "revoked");
}

#[test]
fn a_token_that_is_revoked_while_its_caller_is_held_executes_nothing() {
    let world = world();
    let token = staff("hal");
    let answer = thread::scope(|scope| {
        let waiting = scope.spawn(|| world.send("/held/nothing", &token, 2));
        let id = world.listed("hal");
        revoke(&world.gateway, &hash(&token));
        eventually("revocation in force", || {
            (world.gateway.get("/held/probe", &token).status == 403).then_some(())
        });
        world.approve(&id);
        waiting.join().expect("an answer")
    });
    told(&answer, 403, "revoked", "no");
    assert_eq!(world.double.hits("/nothing"), 0);
}

#[test]
fn an_approved_call_runs_to_its_end_and_a_caller_revoked_meanwhile_gets_nothing_of_it() {
    let world = world();
    let (comes, go) = waits(
        &world,
        "/runs",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nsecret",
    );
    let token = staff("rita");
    let answer = thread::scope(|scope| {
        let waiting = scope.spawn(|| world.send("/held/runs", &token, 2));
        world.approve(&world.listed("rita"));
        comes.recv().expect("the call");
        revoke(&world.gateway, &principal("rita"));
        eventually("revocation in force", || {
            (world.gateway.get("/held/probe", &token).status == 403).then_some(())
        });
        go.send(()).expect("the function waits");
        waiting.join().expect("an answer")
    });
    told(&answer, 403, "revoked", "yes");
    let end = world.gateway.end_of(&answer);
    assert_eq!(
        (&end["outcome"], &end["error"]),
        (&json!("withheld"), &json!("revoked"))
    );
}

/// The function always has more, and the caller reads slowly: neither keeps the revocation from being seen.
#[test]
fn a_busy_stream_to_a_slow_reader_is_cut() {
    let world = world();
    let (closed, closes) = mpsc::channel();
    let closed = Mutex::new(closed);
    world.double.on("/busy", move |exchange| {
        exchange.head(
            200,
            "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n",
        );
        exchange.chunk("a first part\n");
        let more = "and one line more\n".repeat(1024);
        while exchange.chunk(&more) {}
        exchange.close();
        closed
            .lock()
            .expect("the way")
            .send(())
            .expect("the test waits");
    });
    let token = staff("slim");
    let mut slow = Talk::get(world.gateway.address, "/held/busy", &token);
    slow.until("a first part");
    revoke(&world.gateway, &principal("slim"));
    // Nothing is read meanwhile: the function's side closes all the same.
    closes
        .recv_timeout(Duration::from_secs(30))
        .expect("the function's side closes");
    let end = slow.end();
    let answer = slow.answer(end, "GET");
    assert_eq!(answer.end, End::Cut);
    assert_eq!(world.gateway.end_of(&answer)["error"], "revoked");
}
