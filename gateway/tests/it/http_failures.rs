//! What callers, records and functions see when something breaks: an answer that is not whole never looks whole, and
//! a call is repeated only when not one byte of it was sent.

use std::time::Duration;

use serde_json::json;

use super::http_world::{staff, world};
use super::support::caller::{Talk, Talk2, block_on, collect};
use super::support::raw::{Answer, End};

#[track_caller]
fn told(answer: &Answer, status: u16, code: &str, executed: &str) {
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
}

#[test]
fn an_answer_that_breaks_off_never_looks_whole() {
    let world = world();
    for (case, head) in [
        ("known", "Content-Length: 200000\r\n"),
        ("chunked", "Transfer-Encoding: chunked\r\n"),
        ("bad-chunk", "Transfer-Encoding: chunked\r\n"),
    ] {
        let path = format!("/breaks-{case}");
        world.double.on(&path, move |exchange| {
            exchange.head(200, &format!("Content-Type: text/plain\r\n{head}"));
            if case == "known" {
                exchange.write("x".repeat(100_000));
            } else {
                exchange.chunk("x".repeat(100_000));
            }
            if case == "bad-chunk" {
                exchange.write("zz\r\nnonsense");
            }
            exchange.close();
        });
        for connection in ["open", "masked"] {
            let mut talk = Talk::get(
                world.gateway.address,
                &format!("/{connection}{path}"),
                &staff(),
            );
            let end = talk.end();
            let answer = talk.answer(end, "GET");
            assert_eq!(
                (answer.status, answer.end),
                (200, End::Cut),
                "{connection} {case}"
            );
            let end = world.gateway.end_of(&answer);
            assert_eq!(
                end["outcome"], "upstream_error",
                "{connection} {case}: {end}"
            );
            assert_eq!(
                end["error"], "upstream_failed",
                "{connection} {case}: {end}"
            );
            block_on(async {
                let mut talk = Talk2::to(world.gateway.address).await;
                let answer = talk
                    .request("GET", &format!("/{connection}{path}"), &staff(), b"")
                    .await;
                let answer = collect(answer.expect("an answer")).await;
                assert!(
                    !answer.whole,
                    "{connection} {case}: {} bytes look whole",
                    answer.body.len()
                );
            });
        }
    }
}

#[test]
fn a_short_answer_that_breaks_off_is_a_refusal() {
    let world = world();
    world.double.on("/breaks-short", |exchange| {
        exchange.head(200, "Content-Type: text/plain\r\nContent-Length: 10\r\n");
        exchange.write("12345");
        exchange.close();
    });
    let answer = world.gateway.get("/open/breaks-short", &staff());
    told(&answer, 502, "upstream_failed", "unknown");
    assert_eq!(world.double.hits("/breaks-short"), 1);
    assert_eq!(world.gateway.end_of(&answer)["outcome"], "upstream_error");
}

#[test]
fn a_function_that_cannot_be_reached_was_not_executed() {
    let world = world();
    let answer = world.gateway.post("/dead/x", &staff(), &json!({}));
    told(&answer, 502, "upstream_failed", "no");
    let end = world.gateway.end_of(&answer);
    assert_eq!(end["outcome"], "failed", "{end}");
}

// R2
#[test]
fn a_call_whose_answer_is_lost_is_never_repeated() {
    let world = world();
    for (case, garbage) in [
        ("reset", ""),
        ("half-head", "HTTP/1.1 200 OK\r\nContent-Le"),
        ("garbage", "\0\0\0\0not http\r\n\r\n"),
    ] {
        let path = format!("/lost-{case}");
        world.double.on(&path, move |exchange| {
            exchange.body();
            exchange.write(garbage);
            exchange.close();
        });
        for _ in 0..3 {
            // A connection at rest is there to be used again: that is when libraries repeat.
            world.gateway.get("/open/warm", &staff());
            let before = world.double.hits(&path);
            let answer = world
                .gateway
                .post(&format!("/open{path}"), &staff(), &json!({ "a": 1 }));
            told(&answer, 502, "upstream_failed", "unknown");
            assert_eq!(world.double.hits(&path), before + 1, "{case}");
            let end = world.gateway.end_of(&answer);
            assert_eq!(end["outcome"], "indeterminate", "{case}: {end}");
        }
    }
}

#[test]
fn a_connection_that_died_at_rest_is_replaced_without_a_word() {
    let world = world();
    let (told, closed) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    world.double.on("/dies-at-rest", move |exchange| {
        exchange.head(200, "Content-Type: text/plain\r\nContent-Length: 2\r\n");
        exchange.write("hi");
        std::thread::sleep(Duration::from_millis(30));
        exchange.close();
        told.lock().expect("the sender").send(()).expect("the test");
    });
    for _ in 0..5 {
        let answer = world.gateway.get("/cookies/dies-at-rest", &staff());
        assert_eq!(answer.status, 200, "{}", answer.text());
        closed
            .recv_timeout(Duration::from_secs(20))
            .expect("its end");
        // The gateway needs a moment to see it: a call within it may be lost, and is never repeated.
        std::thread::sleep(Duration::from_millis(300));
        let answer = world
            .gateway
            .post("/cookies/after-rest", &staff(), &json!({}));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(world.double.hits("/after-rest"), 5);
}

#[test]
fn a_function_that_stands_still_is_given_up() {
    let world = world();
    world.double.on("/never", |exchange| {
        exchange.body();
        exchange.sees_close(Duration::from_secs(10));
        exchange.close();
    });
    let answer = world.gateway.post("/quick/never", &staff(), &json!({}));
    told(&answer, 504, "upstream_timeout", "unknown");
    assert_eq!(world.double.hits("/never"), 1);
    assert_eq!(world.gateway.end_of(&answer)["outcome"], "indeterminate");
    world.double.on("/stalls", |exchange| {
        exchange.head(
            200,
            "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n",
        );
        exchange.chunk("some");
        exchange.sees_close(Duration::from_secs(10));
        exchange.close();
    });
    let mut talk = Talk::get(world.gateway.address, "/quick/stalls", &staff());
    let end = talk.end();
    let answer = talk.answer(end, "GET");
    assert_eq!((answer.text().as_str(), answer.end), ("some", End::Cut));
    let end = world.gateway.end_of(&answer);
    assert_eq!(
        (&end["outcome"], &end["error"]),
        (&json!("upstream_error"), &json!("upstream_timeout"))
    );
}

#[test]
fn a_slow_upload_is_not_taken_for_a_slow_function() {
    let world = world();
    world.double.on("/slow-upload", |exchange| {
        exchange.body();
        exchange.head(200, "Content-Type: text/plain\r\nContent-Length: 2\r\n");
        exchange.write("ok");
    });
    let (address, token) = (world.gateway.address, staff());
    let mut talk = Talk::to(address);
    talk.send(format!(
        "PUT /quick/slow-upload HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: text/plain\r\nContent-Length: 16\r\n\r\n"
    ).as_bytes());
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(500));
        talk.send(b"four");
    }
    let answer = talk.whole("PUT");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
}
