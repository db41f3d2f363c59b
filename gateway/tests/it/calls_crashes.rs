//! A gateway that dies, or that cannot write its log any more: nothing runs without a record, nothing runs twice, and
//! no answer looks whole whose end is not on the record.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http_world::{functions, staff};
use super::support::caller::{Talk, Talk2, block_on, collect};
use super::support::function::{Double, double2};
use super::support::gateway::{Gateway, Setup, caller, eventually, person};
use super::support::raw::{Answer, End};

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("wait") @approval("corp/leads") forbid (principal, action == Action::"held/post", resource);
@id("leads") permit (principal in Group::"corp/leads", action == Action::"approve", resource);
"#;

fn start(double: &Double) -> Gateway {
    Setup::new()
        .policy(POLICIES)
        .connection(
            "open",
            double.address,
            &json!({ "functions": functions(), "mask": { "mode": "off" } }),
        )
        .connection(
            "held",
            double.address,
            &json!({ "functions": functions(), "hold_s": 0 }),
        )
        .start()
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

/// A function that answers a first part and then waits until it is let go or the gateway is gone.
fn stalls(double: &Double, path: &str) {
    double.on(path, |exchange| {
        exchange.body();
        exchange.head(
            200,
            "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n",
        );
        exchange.chunk("a first part");
        exchange.sees_close(Duration::from_secs(15));
        exchange.close();
    });
}

// A1
#[test]
fn a_crash_leaves_an_indeterminate_record_and_no_whole_answer() {
    let double = Double::start();
    stalls(&double, "/crash");
    let mut gateway = start(&double);
    let mut talk = Talk::get(gateway.address, "/open/crash", &staff());
    talk.until("a first part");
    gateway.crash();
    let end = talk.end();
    let answer = talk.answer(end, "GET");
    assert_eq!(
        (answer.text().as_str(), answer.end),
        ("a first part", End::Cut)
    );
    let end = gateway.end_of(&answer);
    assert_eq!(end["outcome"], "indeterminate", "{end}");
    assert_eq!(double.hits("/crash"), 1);
    assert_eq!(gateway.get("/open/after", &staff()).status, 200);
}

// A1 P
#[test]
fn an_approved_call_that_a_crash_interrupted_never_runs_again() {
    let double = Double::start();
    stalls(&double, "/approved");
    let mut gateway = start(&double);
    let token = caller("alice", &["staff"]);
    let asked = gateway.post("/held/approved", &token, &json!({}));
    let id = told(&asked, 429, "approval_pending", "no")["approval"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let (good, text) = gateway.approvals(&person("lena", &["leads"]), &["approve", &id]);
    assert!(good, "{text}");
    let address = gateway.address;
    let mut talk = Talk::to(address);
    let head = format!(
        "POST /held/approved HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n"
    );
    talk.send(
        format!("{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes(),
    );
    eventually("execution", || {
        (double.hits("/approved") == 1).then_some(())
    });
    gateway.crash();
    let again = gateway.post("/held/approved", &token, &json!({}));
    told(&again, 409, "indeterminate", "unknown");
    let run = format!("/.well-known/callgate/approvals/{id}/run");
    let again = gateway.send("POST", &run, &token, &[], b"");
    assert!(matches!(again.status, 409 | 410), "{}", again.text());
    assert_eq!(double.hits("/approved"), 1);
}

// A8
#[test]
fn without_its_log_a_gateway_executes_nothing_and_ends_no_answer() {
    let double = Double::start();
    double.on("/last", |exchange| {
        exchange.head(
            200,
            "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n",
        );
        exchange.chunk("a first part");
        std::thread::sleep(Duration::from_secs(4));
        exchange.chunk("a last part");
        exchange.write("0\r\n\r\n");
    });
    let gateway = start(&double);
    let mut talk = Talk::get(gateway.address, "/open/last", &staff());
    talk.until("a first part");
    fs::remove_dir_all(gateway.data().join("audit/wal")).expect("the log");
    let begin = Instant::now();
    let refused = eventually("refusal", || {
        let answer = gateway.get("/open/lost", &staff());
        (answer.status == 503).then_some(answer)
    });
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "{:?}",
        begin.elapsed()
    );
    let said = told(&refused, 503, "audit_unavailable", "no");
    assert!(refused.header("retry-after").is_some(), "{said}");
    let before = double.hits("/lost");
    for _ in 0..5 {
        told(
            &gateway.post("/open/lost", &staff(), &json!({})),
            503,
            "audit_unavailable",
            "no",
        );
    }
    assert_eq!(double.hits("/lost"), before);
    let ready = super::support::raw::get(gateway.address, "/.well-known/callgate/ready", None);
    assert_eq!(ready.status, 503);
    let end = talk.end();
    let answer = talk.answer(end, "GET");
    assert_eq!(answer.end, End::Cut, "{}", answer.text());
}

#[test]
fn a_function_that_speaks_http2_is_called_and_broken_off_alike() {
    let (address, hits) = double2();
    let gateway = Setup::new()
        .policy(POLICIES.lines().nth(1).expect("the first policy"))
        .connection(
            "open",
            address,
            &json!({ "functions": functions(), "http2": true, "mask": { "mode": "off" } }),
        )
        .start();
    let answer = gateway.post("/open/echo", &staff(), &json!({ "a": 1 }));
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "POST http {\"a\":1}")
    );
    let answer = gateway.get("/open/gone", &staff());
    told(&answer, 502, "upstream_failed", "unknown");
    let mut talk = Talk::get(gateway.address, "/open/broken", &staff());
    let end = talk.end();
    assert_eq!(talk.answer(end, "GET").end, End::Cut);
    block_on(async {
        let mut talk = Talk2::to(gateway.address).await;
        let answer = talk.get("/open/trailers", &staff()).await;
        assert_eq!((answer.body.as_slice(), answer.whole), (&b"body"[..], true));
        assert_eq!(answer.trailers.expect("trailers")["x-sum"], "1");
        // Nothing may hide behind a body that was judged.
        for method in ["PUT", "POST"] {
            let answer = talk.with_trailers(method, "/open/echo", &staff()).await;
            let answer = match answer {
                Ok(answer) => collect(answer).await,
                Err(_) => continue,
            };
            assert!(
                !answer.head.status.is_success(),
                "{method} {:?}",
                answer.head
            );
        }
    });
    let seen = hits.lock().expect("the requests").clone();
    let of = |path: &str| seen.iter().filter(|one| one.starts_with(path)).count();
    assert_eq!(
        (of("/gone"), of("/broken"), of("/trailers")),
        (1, 1, 1),
        "{seen:?}"
    );
    assert!(seen.iter().all(|one| !one.contains("x-hidden")), "{seen:?}");
}
