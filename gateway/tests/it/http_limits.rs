//! Limits: slow heads, floods, rates, and the way a gateway ends.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::http_world::{functions, staff, world};
use super::support::caller::Talk;
use super::support::function::Double;
use super::support::gateway::{Setup, caller, eventually, person};
use super::support::raw::{self, End};

// X9
#[test]
fn a_slow_head_is_given_up_after_ten_seconds() {
    let world = world();
    let address = world.gateway.address;
    let begin = Instant::now();
    let slow: Vec<_> = [
        "",
        "GET /open/slow HTTP/1.1\r\n",
        "GET /open/slow HTTP/1.1\r\nHost: x\r\nX-A",
    ]
    .into_iter()
    .map(|start| {
        thread::spawn(move || {
            let mut talk = Talk::to(address);
            talk.send(start.as_bytes());
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(15) {
                if talk.listen(Duration::from_millis(700)).is_some() {
                    return begin.elapsed();
                }
                // Each byte in time does not make the head be in time.
                if !start.is_empty() {
                    talk.send(b"a");
                }
            }
            begin.elapsed()
        })
    })
    .collect();
    thread::sleep(Duration::from_secs(2));
    let answer = world.gateway.get("/open/beside-slow", &staff());
    assert_eq!(answer.status, 200);
    for one in slow {
        let took = one.join().expect("a time");
        assert!(
            took > Duration::from_secs(8) && took < Duration::from_secs(13),
            "{took:?} of {:?}",
            begin.elapsed()
        );
    }
}

#[test]
fn one_callers_rate_is_not_the_others() {
    let world = world();
    let (fast, other) = (caller("fast", &["staff"]), caller("other", &["staff"]));
    let statuses: Vec<u16> = (0..6)
        .map(|_| world.gateway.get("/rated/rate", &fast).status)
        .collect();
    let limited = statuses.iter().filter(|status| **status == 429).count();
    assert!(
        limited >= 3 && statuses[0] == 200 && statuses[1] == 200,
        "{statuses:?}"
    );
    let answer = world.gateway.get("/rated/rate", &fast);
    if answer.status == 429 {
        let said = answer.json();
        assert_eq!(
            (&said["code"], &said["executed"]),
            (&json!("rate_limited"), &json!("no"))
        );
        assert!(answer.header("retry-after").is_some());
    }
    let metrics = raw::get(world.gateway.console, "/metrics", None).text();
    let counted = metrics.lines().find(|line| {
        line.starts_with("callgate_calls_total")
            && line.contains("rated")
            && line.contains("rate_limited")
    });
    assert!(counted.is_some(), "{metrics}");
    assert_eq!(world.gateway.get("/rated/rate", &other).status, 200);
}

#[test]
fn no_more_calls_at_once_than_allowed() {
    let world = world();
    world.double.on("/narrow", |exchange| {
        thread::sleep(Duration::from_millis(1500));
        exchange.head(200, "Content-Type: text/plain\r\nContent-Length: 2\r\n");
        exchange.write("hi");
    });
    let token = caller("narrow", &["staff"]);
    let mut first = Talk::get(world.gateway.address, "/narrow/narrow", &token);
    eventually("first call", || {
        (world.double.hits("/narrow") == 1).then_some(())
    });
    let second = world.gateway.get("/narrow/narrow", &token);
    assert_eq!(
        (second.status, &second.json()["code"]),
        (429, &json!("rate_limited"))
    );
    assert_eq!(
        world
            .gateway
            .get("/narrow/narrow-other", &caller("other", &["staff"]))
            .status,
        200
    );
    assert_eq!(first.whole("GET").status, 200);
    assert_eq!(
        world.gateway.get("/narrow/narrow-after", &token).status,
        200
    );
}

// R4
#[test]
fn a_gateway_that_ends_finishes_what_is_under_way() {
    let double = Double::start();
    double.on("/slow", |exchange| {
        exchange.body();
        thread::sleep(Duration::from_millis(1500));
        exchange.head(200, "Content-Type: text/plain\r\nContent-Length: 4\r\n");
        exchange.write("done");
    });
    let mut gateway = Setup::new()
        .policy(r#"
            @id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
            @id("wait") @approval("corp/leads") forbid (principal, action == Action::"held/post", resource);
            @id("leads") permit (principal in Group::"corp/leads", action == Action::"approve", resource);
        "#)
        .connection("slow", double.address, &json!({ "functions": functions(), "mask": { "mode": "off" } }))
        .connection("held", double.address, &json!({ "functions": functions(), "hold_s": 60 }))
        .start();
    let (address, token) = (gateway.address, staff());
    let mut idle = Talk::get(address, "/slow/quick", &token);
    idle.whole("GET");
    let mut slow = Talk::get(address, "/slow/slow", &token);
    // Its caller goes away: the call's record must get its end all the same.
    let mut left = Talk::to(address);
    left.send(format!("PUT /slow/slow HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\nhi").as_bytes());
    let held = thread::spawn(move || {
        let body = json!({});
        raw::post(address, "/held/x", Some(&token), &body)
    });
    eventually("calls", || (double.hits("/slow") == 2).then_some(()));
    eventually("question", || {
        let list = raw::get(
            gateway.console,
            "/api/v1/approvals?state=pending",
            Some(&person("lena", &["leads"])),
        );
        (list.json()["approvals"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
    let begin = Instant::now();
    gateway.child.signal("TERM");
    drop(left);
    eventually("refusal of new connections", || {
        TcpStream::connect(address).is_err().then_some(())
    });
    assert!(matches!(idle.end(), End::Clean | End::Cut));
    let answer = slow.whole("GET");
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    // Who waits for people is told to come again, and does not keep the gateway.
    let held = held.join().expect("an answer");
    assert_eq!(
        (held.status, &held.json()["executed"]),
        (429, &json!("no")),
        "{}",
        held.text()
    );
    let status = gateway.child.terminate();
    assert!(status.success(), "{status}");
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    let leaves = gateway.leaves();
    let of = |kind: &str| leaves.iter().filter(|leaf| leaf["kind"] == kind).count();
    assert_eq!(
        (of("call.begin"), of("call.end"), of("log.close")),
        (3, 3, 1)
    );
    assert_eq!(leaves.last().expect("a leaf")["kind"], "log.close");
    assert!(leaves.iter().all(|leaf| leaf["outcome"] != "indeterminate"));
}

/// What is announced and does not come takes room all the same: one caller's is bounded, and nobody else waits for it.
#[test]
fn bodies_that_do_not_come_are_bounded_for_each_caller() {
    let world = world();
    let (address, slow) = (world.gateway.address, caller("slow", &["staff"]));
    let half_sent = || {
        let mut talk = Talk::to(address);
        let head = format!(
            "POST /open/bodies HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {slow}\r\nContent-Length: 1000000\r\n\r\nx"
        );
        talk.send(head.as_bytes());
        talk
    };
    // 32 MiB are 33 of these.
    let mut talks: Vec<_> = (0..40).map(|_| half_sent()).collect();
    eventually("seven refusals", || {
        let mut refused = 0;
        for talk in &mut talks {
            let _open = talk.listen(Duration::from_millis(10));
            refused += usize::from(talk.text().contains("too many bodies of this caller"));
        }
        (refused == 7).then_some(())
    });
    let other = caller("other", &["staff"]);
    let answer = world.gateway.post("/open/bodies", &other, &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = world
        .gateway
        .post("/open/bodies", &slow, &json!({ "a": "b".repeat(700_000) }));
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (429, Some("1")),
        "{}",
        answer.text()
    );
    drop(talks);
    eventually("room again", || {
        (world.gateway.post("/open/bodies", &slow, &json!({})).status == 200).then_some(())
    });
    assert_eq!(world.double.hits("/bodies"), 2);
}

#[test]
fn the_console_gives_up_connections_that_ask_nothing() {
    let world = world();
    let console = world.gateway.console;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    let silent = [&b""[..], b"GET", preface].map(|start| {
        thread::spawn(move || {
            let mut talk = Talk::to(console);
            talk.send(start);
            talk.listen(Duration::from_secs(60))
        })
    });
    for (which, one) in silent.into_iter().enumerate() {
        let end = one.join().expect("a thread");
        assert!(end.is_some(), "connection {which} is kept open");
    }
    assert_eq!(raw::get(console, "/health", None).status, 200);
}
