//! Answers and requests as they stream: nothing is slowed down that need not be, and the end of an answer comes only
//! when its end record is on the disk.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::http_world::{staff, world};
use super::support::caller::{Talk, Talk2, block_on, collect};
use super::support::gateway::{Gateway, caller, eventually};
use super::support::raw::{self, Answer, End};

const JSON: &str = "Content-Type: application/json\r\n";
const CHUNKED: &str = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";

/// A moment in which a caller that got too much would have it.
const MOMENT: Duration = Duration::from_millis(150);

/// The end record of this answer, which must be on the disk by now.
#[track_caller]
fn ended(gateway: &Gateway, answer: &Answer) -> serde_json::Value {
    let call = answer.header("callgate-call").expect("a call");
    gateway
        .leaf("call.end", call)
        .expect("the end came before its record")
}

/// A function that waits at each step for the test.
fn stepwise() -> (mpsc::Sender<()>, std::sync::Mutex<mpsc::Receiver<()>>) {
    let (go, wait) = mpsc::channel();
    (go, std::sync::Mutex::new(wait))
}

fn step(wait: &std::sync::Mutex<mpsc::Receiver<()>>) {
    // A test that failed goes away: then nobody waits for the rest.
    let _ = wait
        .lock()
        .expect("the steps")
        .recv_timeout(Duration::from_secs(20));
}

#[test]
fn the_last_frame_of_a_known_length_waits_for_the_end_record() {
    let world = world();
    let half = 100_000;
    let (go, wait) = stepwise();
    world.double.on("/known", move |exchange| {
        exchange.head(200, &format!("{JSON}Content-Length: {}\r\n", 2 * half));
        exchange.write(vec![b'a'; half]);
        step(&wait);
        exchange.write(vec![b'b'; half]);
    });
    let mut talk = Talk::get(world.gateway.address, "/open/known", &staff());
    talk.until("\r\n\r\n");
    assert_eq!(talk.listen(MOMENT), None);
    let head = talk.text().find("\r\n\r\n").expect("a head") + 4;
    let got = talk.got.len() - head;
    assert!(
        got < half,
        "{got} of {half} bytes: the last frame was not held"
    );
    assert!(got > 0, "nothing of {half} bytes came");
    go.send(()).expect("the function");
    let answer = talk.whole("GET");
    let end = ended(&world.gateway, &answer);
    assert_eq!(
        (answer.body.len(), answer.header("content-length")),
        (2 * half, Some("200000"))
    );
    assert_eq!(end["outcome"], "ok");
}

#[test]
fn a_short_answer_comes_in_one_piece_behind_its_record() {
    let world = world();
    let (go, wait) = stepwise();
    world.double.on("/short", move |exchange| {
        exchange.head(200, &format!("{JSON}Content-Length: 10\r\n"));
        exchange.write("{\"a\":");
        step(&wait);
        exchange.write("1234}");
    });
    for connection in ["open", "masked"] {
        let mut talk = Talk::get(
            world.gateway.address,
            &format!("/{connection}/short"),
            &staff(),
        );
        assert_eq!((talk.listen(MOMENT), talk.got.len()), (None, 0));
        go.send(()).expect("the function");
        let answer = talk.whole("GET");
        ended(&world.gateway, &answer);
        assert_eq!(answer.text(), "{\"a\":1234}");
    }
}

#[test]
fn chunks_come_at_once_and_the_terminator_behind_the_record() {
    let world = world();
    for (index, connection) in ["open", "masked"].into_iter().enumerate() {
        let path = format!("/chunked-{index}");
        let (go, wait) = stepwise();
        world.double.on(&path, move |exchange| {
            exchange.head(200, CHUNKED);
            exchange.chunk("{\"first\": \"complete\",");
            step(&wait);
            exchange.chunk("\"second\": 2}");
            step(&wait);
            exchange.write("0\r\n\r\n");
        });
        let mut talk = Talk::get(
            world.gateway.address,
            &format!("/{connection}{path}"),
            &staff(),
        );
        talk.until("complete");
        go.send(()).expect("the function");
        talk.until("\"second\"");
        assert_eq!(talk.listen(MOMENT), None);
        assert!(
            !talk.text().contains("\r\n0\r\n"),
            "the end came early: {}",
            talk.text()
        );
        go.send(()).expect("the function");
        let answer = talk.whole("GET");
        ended(&world.gateway, &answer);
        assert_eq!(answer.text(), "{\"first\": \"complete\",\"second\": 2}");
    }
}

#[test]
fn the_end_is_on_the_disk_before_the_caller_has_it() {
    let world = world();
    world.double.on("/often", |exchange| {
        exchange.head(200, CHUNKED);
        exchange.chunk("[1, 2]");
        exchange.write("0\r\n\r\n");
    });
    world
        .double
        .answer("/empty-often", "HTTP/1.1 204 No Content\r\n\r\n");
    for _ in 0..30 {
        for target in ["/open/often", "/open/empty-often", "/open/short-often"] {
            let answer = Talk::get(world.gateway.address, target, &staff()).whole("GET");
            ended(&world.gateway, &answer);
        }
    }
}

#[test]
fn answers_without_a_body_wait_for_their_record_and_leave_the_connection_usable() {
    let world = world();
    world
        .double
        .answer("/no-content", "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n");
    world.double.answer(
        "/not-modified",
        "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
    );
    world.double.answer(
        "/head",
        format!("HTTP/1.1 200 OK\r\n{JSON}Content-Length: 4711\r\n\r\n"),
    );
    let (address, token) = (world.gateway.address, staff());
    let mut talk = Talk::to(address);
    for (method, target, status) in [
        ("GET", "/open/no-content", 204),
        ("GET", "/open/not-modified", 304),
        ("HEAD", "/open/head", 200),
        ("HEAD", "/masked/head", 200),
        ("GET", "/open/after-all", 200),
    ] {
        talk.got.clear();
        talk.send(format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes());
        let answer = talk.whole(method);
        assert_eq!(
            (answer.status, answer.end),
            (status, End::Clean),
            "{target}"
        );
        ended(&world.gateway, &answer);
        if method == "HEAD" {
            // A masked answer's length would tell how much was masked.
            let length = target.starts_with("/open").then_some("4711");
            assert_eq!(answer.header("content-length"), length, "{target}");
        }
    }
}

#[test]
fn chunks_of_one_byte_arrive_whole() {
    let world = world();
    let text = format!("[{}0]", "1, 22, 333, ".repeat(60));
    let bytes = text.clone();
    world.double.on("/bytes", move |exchange| {
        exchange.head(200, CHUNKED);
        for byte in bytes.as_bytes() {
            exchange.chunk([*byte]);
        }
        exchange.write("0\r\n\r\n");
    });
    for connection in ["open", "masked"] {
        let answer = world.gateway.get(&format!("/{connection}/bytes"), &staff());
        assert_eq!(
            (answer.text(), answer.end),
            (text.clone(), End::Clean),
            "{connection}"
        );
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_is_framed_anew() {
    let world = world();
    world.double.on("/close-delimited", |exchange| {
        exchange.head(200, &format!("{JSON}Connection: close\r\n"));
        exchange.write("{\"a\": 1}");
        exchange.close();
    });
    let answer = Talk::get(world.gateway.address, "/open/close-delimited", &staff()).whole("GET");
    assert_eq!(
        (answer.text().as_str(), answer.end),
        ("{\"a\": 1}", End::Clean)
    );
    assert!(answer.header("transfer-encoding").is_some());
}

#[test]
fn events_pass_without_delay() {
    let world = world();
    world.double.on("/events", |exchange| {
        exchange.head(
            200,
            "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n",
        );
        for number in 0..5 {
            if !exchange.chunk(format!("data: {{\"n\": {number}}}\n\n")) {
                return;
            }
            thread::sleep(Duration::from_millis(300));
        }
        exchange.write("0\r\n\r\n");
    });
    for connection in ["open", "masked"] {
        let begin = Instant::now();
        let mut talk = Talk::get(
            world.gateway.address,
            &format!("/{connection}/events"),
            &staff(),
        );
        for number in 0..5 {
            talk.until(&format!("\"n\": {number}"));
            // An event that waited for the next one would be 300 ms late each time.
            let due = Duration::from_millis(300 * number);
            let late = begin.elapsed().saturating_sub(due);
            assert!(
                late < Duration::from_millis(1000),
                "{connection} {number}: {late:?} late"
            );
            assert!(
                !talk.text().contains(&format!("\"n\": {}", number + 1)),
                "{connection}: {}",
                talk.text()
            );
        }
        let answer = talk.whole("GET");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        ended(&world.gateway, &answer);
    }
}

#[test]
fn http2_callers_get_data_at_once_and_trailers_behind_the_record() {
    let world = world();
    let (go, wait) = stepwise();
    world.double.on("/trailers", move |exchange| {
        exchange.head(200, &format!("{CHUNKED}Trailer: X-Sum\r\n"));
        exchange.chunk("[1, 2");
        step(&wait);
        exchange.chunk("]");
        exchange.write("0\r\nX-Sum: 3\r\nSet-Cookie: a=b\r\nTransfer-Encoding: x\r\n\r\n");
    });
    block_on(async {
        for connection in ["open", "masked"] {
            let mut talk = Talk2::to(world.gateway.address).await;
            let target = format!("/{connection}/trailers");
            let answer = talk
                .request("GET", &target, &staff(), b"")
                .await
                .expect("an answer");
            assert_eq!(answer.version(), http::Version::HTTP_2);
            go.send(()).expect("the function");
            let answer = collect(answer).await;
            let call = answer.head.headers["callgate-call"].to_str().expect("text");
            assert!(
                world.gateway.leaf("call.end", call).is_some(),
                "the end came before its record"
            );
            assert_eq!(
                (answer.body.as_slice(), answer.whole),
                (&b"[1, 2]"[..], true)
            );
            let trailers = answer.trailers.expect("trailers");
            assert_eq!(trailers["x-sum"], "3");
            assert_eq!(trailers.len(), 1, "{trailers:?}");
        }
    });
}

#[test]
fn a_streamed_request_goes_up_as_it_comes() {
    let world = world();
    let (first, came) = mpsc::channel();
    let first = std::sync::Mutex::new(first);
    world.double.on("/upload", move |exchange| {
        let some = exchange.some();
        first
            .lock()
            .expect("the sender")
            .send(some)
            .expect("the test");
        let mut rest = Vec::new();
        while !rest.ends_with(b"0\r\n\r\n") {
            let more = exchange.some();
            if more.is_empty() {
                return;
            }
            rest.extend(more);
        }
        exchange.head(
            200,
            &format!("{JSON}Content-Length: 4\r\nConnection: close\r\n"),
        );
        exchange.write("true");
        exchange.close();
    });
    let (address, token) = (world.gateway.address, staff());
    let mut talk = Talk::to(address);
    talk.send(
        format!(
            "PUT /open/upload HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
        )
        .as_bytes(),
    );
    let some = came
        .recv_timeout(Duration::from_secs(20))
        .expect("the first part");
    assert!(String::from_utf8_lossy(&some).contains("first"), "{some:?}");
    talk.send(b"6\r\nsecond\r\n0\r\n\r\n");
    let answer = talk.whole("PUT");
    assert_eq!((answer.status, answer.text().as_str()), (200, "true"));
    let end = ended(&world.gateway, &answer);
    assert_eq!(end["request"]["bytes"], 11, "{end}");
}

#[test]
fn a_body_is_refused_before_it_is_asked_for() {
    let world = world();
    let (address, token) = (world.gateway.address, staff());
    let ask = |target: &str, length: usize| {
        let mut talk = Talk::to(address);
        talk.send(
            format!(
                "POST {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: text/plain\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
            )
            .as_bytes(),
        );
        talk
    };
    let mut talk = ask("/open/expect", 2 * 1024 * 1024);
    talk.until("\r\n\r\n");
    assert!(talk.text().starts_with("HTTP/1.1 413"), "{}", talk.text());
    let mut talk = ask("/nowhere/expect", 5);
    talk.until("\r\n\r\n");
    assert!(talk.text().starts_with("HTTP/1.1 404"), "{}", talk.text());
    assert_eq!(world.double.hits("/expect"), 0);
    let mut talk = ask("/open/expect", 5);
    talk.until("HTTP/1.1 100 Continue\r\n\r\n");
    talk.send(b"hello");
    talk.until("{\"ok\":true}");
    let seen = world.double.seen("/expect");
    assert_eq!((seen.len(), seen[0].body.as_slice()), (1, &b"hello"[..]));
    assert!(seen[0].header("expect").is_empty(), "{:?}", seen[0]);
}

// R5
#[test]
fn large_bodies_do_not_fill_the_memory() {
    const PIECE: usize = 1024 * 1024;
    const PIECES: usize = 60;
    const ROOM: usize = 32 * PIECE;
    let world = world();
    world.double.on("/large", |exchange| {
        exchange.head(
            200,
            &format!(
                "Content-Type: text/plain\r\nContent-Length: {}\r\n",
                PIECES * PIECE
            ),
        );
        let piece = vec![b'x'; PIECE];
        for _ in 0..PIECES {
            if !exchange.write(&piece) {
                return;
            }
        }
    });
    world.double.on("/sink", |exchange| {
        let (mut got, last) = (0, 4);
        while got < PIECES * PIECE - last {
            let some = exchange.some();
            if some.is_empty() {
                return;
            }
            got += some.len();
        }
        exchange.head(
            200,
            &format!("{JSON}Content-Length: 4\r\nConnection: close\r\n"),
        );
        exchange.write("true");
        exchange.close();
    });
    world.gateway.get("/open/warm", &staff());
    let before = world.gateway.resident();
    let down = raw::request(
        world.gateway.address,
        "GET",
        "/open/large",
        &[(
            "Authorization",
            &format!("Bearer {}", caller("down", &["staff"])),
        )],
        b"",
    );
    assert_eq!((down.body.len(), down.end), (PIECES * PIECE, End::Clean));
    let after_down = world.gateway.resident();
    let body = vec![b'y'; PIECES * PIECE];
    let up = world.gateway.send(
        "PUT",
        "/open/sink",
        &staff(),
        &[("Content-Type", "text/plain")],
        &body,
    );
    assert_eq!(up.status, 200, "{}", up.text());
    let after_up = world.gateway.resident();
    assert!(
        after_down < before + ROOM && after_up < before + ROOM,
        "{before} {after_down} {after_up}"
    );
}

// A23
#[test]
fn a_caller_that_leaves_in_the_midst_leaves_a_cut_record() {
    let world = world();
    for (case, head) in [
        ("chunked", CHUNKED.to_owned()),
        ("known", format!("{JSON}Content-Length: 500000\r\n")),
        ("silent", String::new()),
    ] {
        let path = format!("/leaver-{case}");
        let (told, closed) = mpsc::channel();
        let told = std::sync::Mutex::new(told);
        world.double.on(&path, move |exchange| {
            if !head.is_empty() {
                exchange.head(200, &head);
                exchange.chunk("x".repeat(70_000));
            }
            // The function is told at once, not only when it writes again.
            let seen = exchange.sees_close(Duration::from_secs(15));
            told.lock()
                .expect("the sender")
                .send(seen)
                .expect("the test");
            exchange.close();
        });
        // A function of no other test's, so that its last call is this one.
        let (address, token) = (world.gateway.address, staff());
        let mut talk = Talk::to(address);
        let head = format!("DELETE /open{path} HTTP/1.1\r\nHost: {address}\r\n");
        talk.send(format!("{head}Authorization: Bearer {token}\r\n\r\n").as_bytes());
        eventually("request", || (world.double.hits(&path) == 1).then_some(()));
        if case != "silent" {
            talk.until("\r\n\r\n");
        }
        let begin = Instant::now();
        drop(talk);
        assert!(
            closed
                .recv_timeout(Duration::from_secs(20))
                .expect("the function"),
            "{case}"
        );
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{case}: {:?}",
            begin.elapsed()
        );
        let end = eventually("a cut record", || {
            let leaves = world.gateway.leaves();
            let begin =
                leaves.iter().rfind(|leaf| {
                    leaf["kind"] == "call.begin" && leaf["function"] == "open/delete"
                })?["call"]
                    .clone();
            leaves
                .into_iter()
                .find(|leaf| leaf["kind"] == "call.end" && leaf["call"] == begin)
        });
        assert_eq!(end["outcome"], "cut", "{case}: {end}");
    }
    // That is nobody's fault, and no line without words.
    let log = world.gateway.child.output();
    assert!(!log.contains("\"message\":\"\""), "{log}");
}

// X9
#[test]
fn a_caller_that_never_reads_costs_little_memory() {
    const TAKEN_MAX: usize = 24 * 1024 * 1024;
    let world = world();
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&taken);
    world.double.on("/flood", move |exchange| {
        exchange.head(
            200,
            &format!(
                "Content-Type: text/plain\r\nContent-Length: {}\r\n",
                1_u64 << 30
            ),
        );
        let piece = vec![b'x'; 256 * 1024];
        while exchange.write(&piece) {
            count.fetch_add(piece.len(), std::sync::atomic::Ordering::Relaxed);
        }
    });
    let before = world.gateway.resident();
    let talks: Vec<Talk> = (0..3)
        .map(|_| Talk::get(world.gateway.address, "/open/flood", &staff()))
        .collect();
    // Until the function can send no more.
    let mut last = usize::MAX;
    eventually("pause of the function", || {
        let now = taken.load(std::sync::atomic::Ordering::Relaxed);
        let still = now > 0 && now == last;
        last = now;
        thread::sleep(Duration::from_millis(500));
        still.then_some(())
    });
    let grown = world.gateway.resident().saturating_sub(before);
    assert!(
        last < 3 * TAKEN_MAX,
        "{last} bytes were taken from the function"
    );
    assert!(
        grown < TAKEN_MAX,
        "{grown} bytes for three callers that do not read"
    );
    drop(talks);
}

#[test]
fn a_marker_in_a_body_that_streams_breaks_the_upload_off() {
    let world = world();
    let head = format!(
        "PUT /open/marked-upload HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        world.gateway.address,
        staff()
    );
    let whole = format!("{head}c\r\nwrite to [ma\r\n19\r\nsked:email], and good day\r\n0\r\n\r\n");
    let wait = Duration::from_secs(20);
    let (bytes, end) = raw::exchange(world.gateway.address, whole.as_bytes(), wait);
    let answer = raw::parse(&bytes, end, "PUT").expect("an answer");
    let said = answer.json();
    assert_eq!(
        (answer.status, &said["code"], &said["executed"]),
        (422, &"masked_value_in_request".into(), &"unknown".into()),
        "{said}"
    );
    assert_eq!(ended(&world.gateway, &answer)["outcome"], "indeterminate");
    for seen in world.double.seen("/marked-upload") {
        let body = String::from_utf8_lossy(&seen.body);
        assert!(!body.contains("sked:email"), "{body}");
    }
}
