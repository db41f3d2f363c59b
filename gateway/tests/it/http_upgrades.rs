//! Offers to upgrade: the one that stock clients make unasked is passed over (docs/adr/0004), all others are refused, and
//! nothing of any goes further.

use serde_json::json;

use super::http_world::{staff, world};
use super::support::gateway::SOON;
use super::support::raw::{self, Answer, End};

const OFFER: &str = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\n";

/// Send a request with these header lines, and bytes behind it; everything that came back.
fn exchange(line: &str, headers: &str, behind: &[u8]) -> (Vec<u8>, End) {
    let address = world().gateway.address;
    let head = format!(
        "{line}\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n{headers}\r\n",
        staff()
    );
    raw::exchange(address, &[head.as_bytes(), behind].concat(), SOON)
}

fn answers((bytes, end): (Vec<u8>, End)) -> Vec<Answer> {
    raw::parse_all(&bytes, end, "GET")
}

// X1 X12
#[test]
fn a_whole_offer_of_h2c_is_passed_over() {
    let world = world();
    let headers = format!("{OFFER}Connection: close\r\n");
    let got = answers(exchange("GET /open/offer HTTP/1.1", &headers, b""));
    let statuses: Vec<u16> = got.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200]);
    let body = format!(
        "{OFFER}Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n"
    );
    let got = answers(exchange("POST /open/offer HTTP/1.1", &body, b"{}"));
    assert_eq!(got.first().map(|answer| answer.status), Some(200));
    let seen = world.double.seen("/offer");
    assert_eq!(seen.len(), 2);
    for one in &seen {
        let head = one.head.to_ascii_lowercase();
        for word in ["upgrade", "h2c", "http2-settings", "aaeaaeaaaaiaaaaaaam"] {
            assert!(!head.contains(word), "{word}: {head}");
        }
    }
    assert_eq!(seen[1].body, b"{}");
}

// X1: bytes that come before an answer to the offer are HTTP/1.1 and nothing else (CVE-2026-2833).
#[test]
fn what_follows_an_offer_is_not_read_as_http2() {
    let world = world();
    let mut behind = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    behind.extend_from_slice(b"\0\0\x04\x01\x05\0\0\0\x01\x82\x84\x86\x41");
    let (bytes, end) = exchange("GET /open/premature HTTP/1.1", OFFER, &behind);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(!text.contains(" 101 "), "{text}");
    let got = answers((bytes, end));
    assert!(got.len() <= 2, "{got:?}");
    assert!(matches!(end, End::Clean | End::Cut), "{end:?}");
    if let Some(second) = got.get(1) {
        assert_eq!(second.status, 400, "{text}");
    }
    assert!(world.double.hits("/premature") <= 1);
}

// X1 X12
#[test]
fn every_other_upgrade_and_every_part_of_an_offer_is_refused() {
    let world = world();
    let settings = "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
    let refused = [
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n".to_owned(),
        format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, websocket\r\n{settings}"),
        format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n{settings}"),
        format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nUpgrade: h2c\r\n{settings}"),
        format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n{settings}{settings}"),
        format!("Connection: Upgrade, HTTP2-Settings, Authorization\r\nUpgrade: h2c\r\n{settings}"),
        format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2\r\n{settings}"),
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: a b\r\n".to_owned(),
        "Connection: Upgrade\r\nUpgrade: h2c\r\n".to_owned(),
        format!("Connection: HTTP2-Settings\r\n{settings}"),
        format!("Upgrade: h2c\r\n{settings}"),
        "Upgrade: h2c\r\n".to_owned(),
        settings.to_owned(),
        "Connection: Upgrade\r\n".to_owned(),
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n".to_owned(),
    ];
    for headers in &refused {
        let got = answers(exchange("GET /open/part HTTP/1.1", headers, b""));
        let said = got
            .first()
            .unwrap_or_else(|| panic!("no answer to {headers}"))
            .json();
        assert_eq!(
            (&said["status"], &said["code"], &said["executed"]),
            (&json!(400), &json!("bad_request"), &json!("no")),
            "{headers}: {said}"
        );
    }
    let old = answers(exchange("GET /open/part HTTP/1.0", OFFER, b""));
    assert_eq!(old.first().map(|answer| answer.status), Some(400));
    assert_eq!(world.double.hits("/part"), 0);
}
