//! The peers themselves behave as the stories believe: a fault proxy that does nothing would prove nothing.

use std::time::{Duration, Instant};

use serde_json::json;

use super::support::faults::{Fault, FaultProxy};
use super::support::raw::{self, End};
use super::support::recorder::Recorder;
use super::support::servers::{Httpbin, OidcProvider};

const GET: &[u8] = b"GET /x HTTP/1.1\r\nHost: peer\r\n\r\n";

fn through(proxy: &FaultProxy, wait: Duration) -> (String, End) {
    let (bytes, end) = raw::exchange(proxy.address, GET, wait);
    (String::from_utf8_lossy(&bytes).into_owned(), end)
}

#[test]
fn the_fault_proxy_does_what_it_is_told() {
    let upstream = Recorder::ok();
    let proxy = FaultProxy::start(upstream.address);
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(10));
    assert!(through(&proxy, short).0.ends_with("{\"ok\":true}"));
    proxy.set(Fault::Refuse);
    assert_eq!(through(&proxy, long), (String::new(), End::Cut));
    proxy.set(Fault::Hang);
    assert_eq!(through(&proxy, short), (String::new(), End::Silence));
    proxy.set(Fault::ResetAfterAnswer(10));
    let (text, end) = through(&proxy, long);
    assert!(text.len() <= 10 && end == End::Cut, "{text} {end:?}");
    proxy.set(Fault::HalfCloseAfterAnswer(10));
    assert_eq!(through(&proxy, long), ("HTTP/1.1 2".to_owned(), End::Clean));
    proxy.set(Fault::Latency(Duration::from_millis(200)));
    let begin = Instant::now();
    assert!(
        through(&proxy, Duration::from_secs(1))
            .0
            .starts_with("HTTP/1.1 200")
    );
    assert!(begin.elapsed() >= Duration::from_millis(200));
    proxy.set(Fault::Drip(Duration::from_millis(5)));
    let begin = Instant::now();
    let (text, _) = through(&proxy, short);
    assert!(text.ends_with("{\"ok\":true}") && begin.elapsed() > 5 * Duration::from_millis(90));
    assert_eq!(proxy.accepted(), 7);
    let before = upstream.take().len();
    proxy.set(Fault::ResetAfterRequest(5));
    assert_eq!(through(&proxy, long), (String::new(), End::Cut));
    assert_eq!((before, upstream.seen().len()), (5, 0));
}

#[test]
fn the_recorder_keeps_requests_apart() {
    let upstream = Recorder::ok();
    let two = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\nHost: h\r\n\r\n";
    raw::exchange(upstream.address, two, Duration::from_millis(300));
    let seen = upstream.take();
    let lines: Vec<&str> = seen.iter().map(|one| one.line()).collect();
    assert_eq!(lines, ["POST /a HTTP/1.1", "GET /b HTTP/1.1"]);
    assert_eq!(seen[0].body, b"hi");
}

#[test]
fn the_identity_provider_signs_and_rotates() {
    let provider = OidcProvider::start();
    let (first, legacy) = (provider.token("ci"), provider.token("legacy"));
    let header = |token: &str| jsonwebtoken::decode_header(token).expect("a header");
    assert_eq!(header(&first).alg, jsonwebtoken::Algorithm::ES256);
    assert_eq!(header(&legacy).alg, jsonwebtoken::Algorithm::RS256);
    provider.rotate();
    let second = provider.token("ci");
    assert_ne!(header(&first).kid, header(&second).kid);
    provider.drop_old_keys();
    assert_eq!(provider.fetches(), 0);
    let wish = json!({ "alg": "RS256", "header": { "typ": "JWT" }, "claims": { "aud": "other" } });
    assert_eq!(header(&provider.mint(&wish)).typ.as_deref(), Some("JWT"));
}

#[test]
fn httpbin_answers() {
    let httpbin = Httpbin::start();
    let answer = raw::post(
        httpbin.address,
        "/anything?a=1",
        Some("t"),
        &json!({ "b": 2 }),
    );
    let said = answer.json();
    assert_eq!(
        (&said["args"]["a"], &said["json"]["b"]),
        (&json!("1"), &json!(2))
    );
    assert_eq!(said["headers"]["Authorization"], "Bearer t");
}
