//! Floods of HTTP/2 frames (X8): each ends its connection, or costs no more than the bounds of one connection, while the
//! gateway serves everybody else. The bounds are named in `docs/guide/operate.md`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::http_world::{functions, staff};
use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, Shared, eventually};
use super::support::h2::{
    self, ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Fate, Frames, HEADERS, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE,
};

/// How much the floods of this file that run at the same time may make the gateway grow, in bytes.
const GROWTH_MAX: usize = 64 * 1024 * 1024;
/// How much of an answer that nobody takes may wait in the gateway, in bytes.
const WAITING_MAX: usize = 2 * 1024 * 1024;

#[derive(Debug)]
struct World {
    gateway: Gateway,
    double: Double,
    resident: usize,
}

static WORLD: Shared<World> = Shared::new();

fn world() -> Arc<World> {
    WORLD.get(start)
}

fn start() -> World {
    let double = Double::start();
    let gateway = Setup::new()
            .policy("@id(\"staff\") permit (principal in Group::\"corp/staff\", action in Action::\"call\", resource);")
            .connection(
                "open",
                double.address,
                &json!({ "functions": functions(), "mask": { "mode": "off" } }),
            )
            .start();
    assert_eq!(gateway.get("/open/warm", &staff()).status, 200);
    let resident = gateway.resident();
    World {
        gateway,
        double,
        resident,
    }
}

impl World {
    /// A request's `HEADERS` on a stream.
    fn request(&self, stream: u32, method: &str, target: &str, end: bool) -> Vec<u8> {
        let authority = self.gateway.address;
        h2::request(stream, (method, target), authority, &staff(), end)
    }

    /// Everybody else is served, and the gateway has not grown beyond the bounds.
    fn holds(&self, what: &str) {
        self.holds_within(what, GROWTH_MAX);
    }

    fn holds_within(&self, what: &str, growth_max: usize) {
        let answer = self.gateway.get("/open/beside", &staff());
        assert_eq!(answer.status, 200, "{what}");
        let grown = self.gateway.resident().saturating_sub(self.resident);
        assert!(grown < growth_max, "{what}: grew by {grown} bytes");
    }
}

/// Write rounds until the connection is over, or takes no more, or all are written.
fn flood(frames: &mut Frames, rounds: u32, mut round: impl FnMut(u32) -> Vec<u8>) -> Fate {
    for number in 0..rounds {
        match frames.push(&round(number)) {
            Fate::Taken => {}
            fate => return fate,
        }
    }
    Fate::Taken
}

/// Streams of the `number`th round of this many.
fn streams(number: u32, each: u32) -> impl Iterator<Item = u32> {
    (0..each).map(move |index| 1 + 2 * (number * each + index))
}

#[test]
fn a_flood_of_resets_ends_the_connection() {
    let world = world();
    world.double.on("/reset", |exchange| {
        thread::sleep(Duration::from_millis(200));
        exchange.head(200, "Content-Type: text/plain\r\nContent-Length: 2\r\n");
        exchange.write("hi");
    });
    let mut frames = Frames::to(world.gateway.address);
    let fate = flood(&mut frames, 400, |number| {
        streams(number, 50)
            .flat_map(|stream| {
                let request = world.request(stream, "GET", "/open/reset", true);
                let reset = h2::frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
                [request, reset].concat()
            })
            .collect()
    });
    assert!(fate == Fate::Over || frames.is_over_soon(), "{fate:?}");
    let hits = world.double.hits("/reset");
    assert!(hits < 500, "{hits} of 20000 reached the function");
    world.holds("resets");
}

/// The frame that goes behind a stream's request.
type Behind = fn(u32) -> Vec<u8>;

/// What makes the gateway reset a stream by itself, so that the caller need not (CVE-2025-8671).
fn made_resets() -> [(&'static str, Behind); 6] {
    [
        ("window-update-of-zero", |stream| {
            h2::frame(WINDOW_UPDATE, 0, stream, &[0; 4])
        }),
        ("window-that-overflows", |stream| {
            let most = 0x7fff_ffff_u32.to_be_bytes();
            h2::frame(WINDOW_UPDATE, 0, stream, &most)
        }),
        ("priority-on-itself", |stream| {
            let payload = [&stream.to_be_bytes()[..], &[0]].concat();
            h2::frame(PRIORITY, 0, stream, &payload)
        }),
        ("priority-of-odd-length", |stream| {
            h2::frame(PRIORITY, 0, stream, &[0; 3])
        }),
        ("data-behind-the-end", |stream| {
            h2::frame(DATA, 0, stream, b"more")
        }),
        ("headers-behind-the-end", |stream| {
            let block = h2::block(&[("x-a", "b")]);
            h2::frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
        }),
    ]
}

#[test]
fn resets_that_the_gateway_is_made_to_send_end_the_connection() {
    let world = world();
    for (what, bad) in made_resets() {
        let target = format!("/open/made-{what}");
        let path = format!("/made-{what}");
        world.double.on(&path, |exchange| {
            thread::sleep(Duration::from_millis(100));
            exchange.head(200, "Content-Type: text/plain\r\nContent-Length: 2\r\n");
            exchange.write("hi");
        });
        let mut frames = Frames::to(world.gateway.address);
        let fate = flood(&mut frames, 100, |number| {
            streams(number, 20)
                .flat_map(|stream| {
                    [world.request(stream, "GET", &target, true), bad(stream)].concat()
                })
                .collect()
        });
        assert!(
            fate == Fate::Over || frames.is_over_soon(),
            "{what}: {fate:?}"
        );
        let hits = world.double.hits(&path);
        assert!(hits < 500, "{what}: {hits} of 2000 reached the function");
        world.holds(what);
    }
}

#[test]
fn heads_without_an_end_end_the_connection() {
    let world = world();
    let first = h2::frame(HEADERS, END_STREAM, 1, &h2::block(&[(":method", "GET")]));
    let full = h2::block(&[("x-a", "y".repeat(1000))]);
    for (what, piece) in [("full", full.as_slice()), ("empty", b"")] {
        let mut frames = Frames::to(world.gateway.address);
        frames.write(&first);
        let more: Vec<u8> = (0..50)
            .flat_map(|_| h2::frame(CONTINUATION, 0, 1, piece))
            .collect();
        let fate = flood(&mut frames, 1000, |_| more.clone());
        assert!(
            fate == Fate::Over || frames.is_over_soon(),
            "{what}: {fate:?}"
        );
        world.holds(what);
    }
}

#[test]
fn a_head_that_unpacks_to_much_is_refused() {
    let world = world();
    let mut frames = Frames::to(world.gateway.address);
    // One entry of the table (4000 bytes), then one byte for each time it is meant: 40 MB of head.
    let mut block = h2::block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/open/bomb"),
    ]);
    block.extend([0x40, 3, b'x', b'-', b'a', 127, 161, 30]);
    block.extend([b'y'; 4000]);
    block.extend([0xbe; 10_000]);
    frames.write(&h2::frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    let answer = frames.until(|frame| matches!(frame.kind, HEADERS | RST_STREAM | h2::GOAWAY));
    if let Some(answer) = answer.filter(|answer| answer.kind == HEADERS) {
        assert_eq!(answer.status(), 431);
    }
    assert_eq!(world.double.hits("/bomb"), 0);
    world.holds("a head that unpacks");
}

#[test]
fn data_frames_without_data_end_the_connection() {
    let world = world();
    for (what, piece) in [("empty", &b""[..]), ("one byte", b"x")] {
        let mut frames = Frames::to(world.gateway.address);
        frames.write(&world.request(1, "PUT", "/open/drops", false));
        let more: Vec<u8> = (0..1000)
            .flat_map(|_| h2::frame(DATA, 0, 1, piece))
            .collect();
        let fate = flood(&mut frames, 500, |_| more.clone());
        // Single bytes use up the stream's window, which only a function that reads them opens again.
        let bounded = what == "one byte" && fate != Fate::Taken;
        assert!(
            bounded || fate == Fate::Over || frames.is_over_soon(),
            "{what}: {fate:?}"
        );
        world.holds(what);
    }
}

#[test]
fn control_frames_cost_one_answer_at_a_time() {
    let world = world();
    // SETTINGS and PING are answered, one by one: whoever does not read the answers is not read any more. The others
    // are passed over.
    let answered = [
        ("SETTINGS", h2::frame(SETTINGS, 0, 0, b"")),
        ("PING", h2::frame(PING, 0, 0, &[7; 8])),
    ];
    let passed_over = [
        (
            "PING that nobody asked for",
            h2::frame(PING, ACK, 0, &[7; 8]),
        ),
        ("PRIORITY", h2::frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 0])),
        (
            "WINDOW_UPDATE",
            h2::frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
        ),
        ("unknown frames", h2::frame(0xfa, 0, 0, b"")),
    ];
    for (what, one) in answered {
        let mut frames = Frames::to(world.gateway.address);
        let many = one.repeat(10_000);
        let mut fate = Fate::Taken;
        for _ in 0..2000 {
            fate = frames.push_unread(&many);
            if fate != Fate::Taken {
                break;
            }
        }
        assert_ne!(fate, Fate::Taken, "{what}");
        world.holds(what);
    }
    for (what, one) in passed_over {
        let mut frames = Frames::to(world.gateway.address);
        let many = one.repeat(10_000);
        flood(&mut frames, 50, |_| many.clone());
        world.holds(what);
    }
}

#[test]
fn answers_that_nobody_takes_are_held_back_at_the_function() {
    // Of its own: what waits here is not the other floods'.
    let world = start();
    world.double.on("/big", |exchange| {
        exchange.head(
            200,
            "Content-Type: text/plain\r\nContent-Length: 4194304\r\n",
        );
        for _ in 0..64 {
            exchange.write(vec![b'x'; 65536]);
        }
    });
    let ends = world.gateway.ends();
    let mut frames = Frames::silent(world.gateway.address);
    // INITIAL_WINDOW_SIZE 0: nothing of a body may come.
    let mut begin = h2::PREFACE.to_vec();
    begin.extend(h2::frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    for stream in streams(0, 100) {
        begin.extend(world.request(stream, "GET", "/open/big", true));
    }
    frames.write(&begin);
    for _ in 0..100 {
        let head = frames.until(|frame| frame.kind != SETTINGS && frame.kind != WINDOW_UPDATE);
        assert_eq!(
            head.expect("a head").kind,
            HEADERS,
            "a body came, or no head"
        );
    }
    // 400 MiB wait at the function.
    world.holds_within("answers that nobody takes", 100 * WAITING_MAX);
    drop(frames);
    eventually("the end of all calls", || {
        (world.gateway.ends() >= ends + 100).then_some(())
    });
    let leaves = world.gateway.leaves();
    let told = leaves.iter().filter(|leaf| leaf["kind"] == "call.end");
    let told = told.map(|leaf| format!("{} {} {}", leaf["outcome"], leaf["why"], leaf["error"]));
    let outcomes = told.fold(BTreeMap::<_, u32>::new(), |mut outcomes, told| {
        *outcomes.entry(told).or_default() += 1;
        outcomes
    });
    let cut = outcomes
        .iter()
        .filter(|(told, _)| told.starts_with("\"cut\""));
    assert!(
        cut.map(|(_, count)| count).sum::<u32>() >= 100,
        "{outcomes:?}"
    );
}

#[test]
fn stream_numbers_that_are_used_up_end_the_connection() {
    let world = world();
    let mut frames = Frames::to(world.gateway.address);
    frames.write(&world.request(0x7fff_ffff, "GET", "/open/last-stream", true));
    let answer = frames
        .until(|frame| frame.kind == HEADERS)
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    frames.write(&world.request(1, "GET", "/open/before-last", true));
    assert!(frames.is_over_soon());
    assert_eq!(world.double.hits("/before-last"), 0);
    world.holds("the last stream");
}
