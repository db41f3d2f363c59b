//! Masking at a real gateway: the same values in every framing, content coding and format that a function may answer
//! in, from a double and from a real server.

use std::io::Write;
use std::sync::Arc;

use serde_json::{Value, json};

use super::http_world::{functions, staff};
use super::support::caller::{Talk, Talk2, block_on};
use super::support::function::{Double, Exchange, double2};
use super::support::gateway::{Gateway, Setup, Shared};
use super::support::raw::{Answer, End};
use super::support::servers::Httpbin;

const MAIL: &str = "someone@corp.example";
const CARD: &str = "4111 1111 1111 1111";

/// A gateway that masks, before a double, a function that speaks HTTP/2, and httpbin under gunicorn.
#[derive(Debug)]
struct World {
    gateway: Gateway,
    double: Double,
    _httpbin: Httpbin,
}

static WORLD: Shared<World> = Shared::new();

fn world() -> Arc<World> {
    WORLD.get(|| {
        let (double, httpbin) = (Double::start(), Httpbin::start());
        let (h2, _) = double2();
        let plain = json!({ "functions": functions(), "mask": { "detect": ["contact"] } });
        let ruled = json!({ "functions": functions(),
            "mask": { "detect": ["contact"], "fields": { "$..ssn": "us-ssn" } } });
        let real = json!({ "inline": {
            "any": { "method": "POST", "path": "/anything", "additional": "allow", "body": {} },
            "coded": { "method": "GET", "path": "/{coding}", "additional": "allow" },
            "stream": { "method": "GET", "path": "/stream/{n}", "additional": "allow" },
        } });
        let second = json!({ "functions": functions(), "http2": true, "mask": { "detect": ["contact"] } });
        let gateway = Setup::new()
            .policy("@id(\"staff\") permit (principal in Group::\"corp/staff\", action in Action::\"call\", resource);")
            .connection("plain", double.address, &plain)
            .connection("ruled", double.address, &ruled)
            .connection("second", h2, &second)
            .connection("real", httpbin.address, &json!({ "functions": real, "mask": { "detect": ["contact", "ip-address"] } }))
            .start();
        World {
            gateway,
            double,
            _httpbin: httpbin,
        }
    })
}

/// An answer of these bytes under this head; the path is the test's own.
fn answer(world: &World, connection: &str, path: &str, head: &str, body: &[u8]) -> Answer {
    let length = format!("{head}Content-Length: {}\r\n", body.len());
    let body = body.to_vec();
    world.double.on(path, move |exchange: &mut Exchange| {
        exchange.head(200, &length);
        exchange.write(&body);
    });
    world.gateway.get(&format!("/{connection}{path}"), &staff())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn brotli(body: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut encoder = brotli::CompressorWriter::new(&mut packed, 4096, 4, 20);
    encoder.write_all(body).expect("memory");
    drop(encoder);
    packed
}

#[track_caller]
fn counted(world: &World, answer: &Answer, class: &str, count: u64) {
    let end = world.gateway.end_of(answer);
    assert_eq!(
        (&end["outcome"], &end["masked"][class]),
        (&json!("ok"), &json!(count)),
        "{end}"
    );
}

// M1, M3
#[test]
fn a_value_in_chunks_of_one_byte_is_masked() {
    let world = world();
    let body = format!("{{\"mail\":\"{MAIL}\",\"n\":1.50}}");
    world.double.on("/single", move |exchange| {
        exchange.head(
            200,
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
        );
        for byte in body.as_bytes() {
            exchange.write([b"1;ext=\"a\"\r\n", &[*byte][..], b"\r\n"].concat());
        }
        exchange.write(format!("0\r\nX-Contact: {MAIL}\r\n\r\n"));
    });
    let answer = world.gateway.get("/plain/single", &staff());
    assert_eq!(answer.text(), "{\"mail\":\"[masked:email]\",\"n\":1.50}");
    assert_eq!(answer.end, End::Clean);
    assert!(
        answer
            .headers
            .iter()
            .all(|(_, value)| !value.contains(MAIL)),
        "{:?}",
        answer.headers
    );
}

// M4, M5
#[test]
fn a_function_that_compresses_against_our_wish_is_masked() {
    let world = world();
    let body = format!("{{\"a\":[\"{MAIL}\",\"{CARD}\"]}}");
    for (coding, packed) in [
        ("gzip", gzip(body.as_bytes())),
        ("br", brotli(body.as_bytes())),
    ] {
        let head = format!("Content-Type: application/json\r\nContent-Encoding: {coding}\r\n");
        let answer = answer(&world, "plain", &format!("/coded-{coding}"), &head, &packed);
        assert_eq!(
            answer.text(),
            "{\"a\":[\"[masked:email]\",\"[masked:payment-card]\"]}",
            "{coding}"
        );
        assert_eq!(answer.header("content-encoding"), None, "{coding}");
        counted(&world, &answer, "payment-card", 1);
        // Cut short: the last bytes never come out as if all were well.
        let cut = &packed[..packed.len() - 3];
        let answer = self::answer(&world, "plain", &format!("/short-{coding}"), &head, cut);
        assert!(
            answer.status == 424 || answer.end == End::Cut,
            "{coding} {}",
            answer.status
        );
    }
}

// M15
#[test]
fn an_event_stream_is_masked_event_by_event() {
    let world = world();
    world.double.on("/events", |exchange| {
        exchange.head(
            200,
            "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n",
        );
        exchange.chunk(format!(
            ": {MAIL}\r\nevent: note\r\nid: 1\r\ndata: {{\"mail\":\r\nda"
        ));
        exchange.chunk(format!("ta: \"{MAIL}\"}}\r\n\r\ndata: {CARD}\r\n\r"));
        exchange.chunk("\ndata: [DONE]\r\n\r\n");
        exchange.write("0\r\n\r\n");
    });
    let answer = world.gateway.get("/plain/events", &staff());
    let text = answer.text();
    assert!(!text.contains(MAIL) && !text.contains("1111"), "{text}");
    assert_eq!(text.matches("[masked:email]").count(), 2, "{text}");
    assert!(
        text.ends_with("data: [masked:payment-card]\r\n\r\ndata: [DONE]\r\n\r\n"),
        "{text}"
    );
}

// M1: one byte a DATA frame, and empty ones between; M11: trailers
#[test]
fn frames_of_http2_are_masked_both_ways() {
    let world = world();
    block_on(async {
        let mut talk = Talk2::to(world.gateway.address).await;
        let answer = talk.get("/second/mail", &staff()).await;
        assert!(answer.whole);
        assert_eq!(
            String::from_utf8_lossy(&answer.body),
            "{\"mail\":\"[masked:email]\"}"
        );
        assert_eq!(
            answer.trailers.expect("trailers")["x-contact"],
            "[masked:email]"
        );
    });
}

// M6, M18: rules by name in other formats than JSON
#[test]
fn forms_tables_xml_and_parts_are_masked_by_name() {
    let world = world();
    for (path, head, body, masked) in [
        (
            "/form",
            "application/x-www-form-urlencoded",
            "ssn=17&b=4111+1111+1111+1111",
            "ssn=[masked:us-ssn]&b=[masked:payment-card]",
        ),
        (
            "/table",
            "text/csv",
            "id,SSN\r\n1,17\r\n",
            "id,SSN\r\n1,[masked:us-ssn]\r\n",
        ),
        (
            "/xml",
            "application/xml",
            "<r><ssn>17</ssn></r>",
            "<r><ssn>[masked:us-ssn]</ssn></r>",
        ),
        (
            "/parts",
            "multipart/mixed; boundary=b",
            "--b\r\nContent-Type: application/json\r\n\r\n{\"ssn\":17}\r\n--b--\r\n",
            "--b\r\nContent-Type: application/json\r\n\r\n{\"ssn\":\"[masked:us-ssn]\"}\r\n--b--\r\n",
        ),
    ] {
        let answer = answer(
            &world,
            "ruled",
            path,
            &format!("Content-Type: {head}\r\n"),
            body.as_bytes(),
        );
        assert_eq!(answer.text(), masked, "{head}");
        assert_eq!(answer.header("content-type"), Some(head));
    }
    let answer = answer(
        &world,
        "ruled",
        "/unclear",
        "Content-Type: text/csv\r\n",
        b"a;b,ssn\n1;2,3\n",
    );
    assert_eq!(
        (answer.status, answer.json()["executed"].as_str()),
        (424, Some("yes"))
    );
}

// M12, M19: what goes wrong in mid-stream is cut, never ended
#[test]
fn an_answer_that_stops_being_readable_is_cut() {
    let world = world();
    world.double.on("/turns", |exchange| {
        exchange.head(
            200,
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
        );
        exchange.chunk(format!("[\"{}\",", "a".repeat(70_000)));
        exchange.chunk(format!("oops \"{MAIL}\"]"));
        exchange.write("0\r\n\r\n");
    });
    let mut talk = Talk::get(world.gateway.address, "/plain/turns", &staff());
    let end = talk.end();
    let answer = talk.answer(end, "GET");
    assert!(!answer.text().contains(MAIL));
    assert!(
        answer.end == End::Cut || answer.status == 424,
        "{} {:?}",
        answer.status,
        answer.end
    );
    assert_eq!(world.gateway.end_of(&answer)["outcome"], "withheld");
}

// M4, M5, M1: httpbin under gunicorn
#[test]
fn a_real_server_is_masked_plain_compressed_and_chunked() {
    let world = world();
    let sent = json!({ "mail": MAIL, "card": CARD, "n": 7 });
    let answer = world.gateway.post("/real/anything", &staff(), &sent);
    let echoed: Value = answer.json();
    assert_eq!(
        echoed["json"],
        json!({ "mail": "[masked:email]", "card": "[masked:payment-card]", "n": 7 })
    );
    assert!(!answer.text().contains(MAIL), "{}", answer.text());
    // It says whom it was called by: an address, in each of its answers.
    for path in ["gzip", "deflate", "brotli", "stream/1"] {
        let answer = world.gateway.get(&format!("/real/{path}"), &staff());
        let text = answer.text();
        assert_eq!(
            (answer.status, &answer.end),
            (200, &End::Clean),
            "{path}: {text}"
        );
        assert!(
            text.contains("\"origin\": \"[masked:ip-address]\""),
            "{path}: {text}"
        );
        assert!(!text.contains("127.0.0.1"), "{path}: {text}");
    }
}
