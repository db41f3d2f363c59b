//! What passes between caller and function in heads, and what never does.

use serde_json::json;

use super::http_world::{staff, world};
use super::support::caller::{Talk, Talk2, block_on};
use super::support::raw;

#[test]
fn redirects_are_told_and_not_followed() {
    let world = world();
    let origin = format!("http://{}", world.double.address);
    let cases = [
        (
            "own",
            format!("{origin}/other?a=b"),
            "/open/other?a=b".to_owned(),
        ),
        ("path", "/other".to_owned(), "/open/other".to_owned()),
        ("root", origin.clone(), "/open/".to_owned()),
        (
            "abroad",
            "http://169.254.169.254/latest".to_owned(),
            "http://169.254.169.254/latest".to_owned(),
        ),
        ("lookalike", format!("{origin}0/x"), format!("{origin}0/x")),
        (
            "no-scheme",
            "//elsewhere.example/x".to_owned(),
            "//elsewhere.example/x".to_owned(),
        ),
        ("relative", "other".to_owned(), "other".to_owned()),
    ];
    for (case, location, expected) in &cases {
        for status in [301, 302, 303, 307, 308] {
            let path = format!("/redirect-{case}-{status}");
            world.double.answer(&path, format!(
                "HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Location: {location}\r\nContent-Length: 0\r\n\r\n"
            ));
            let answer = world.gateway.get(&format!("/open{path}"), &staff());
            assert_eq!(
                (answer.status, answer.header("location")),
                (status, Some(expected.as_str())),
                "{case}"
            );
            assert_eq!(
                answer.header("content-location"),
                Some(expected.as_str()),
                "{case}"
            );
        }
    }
    assert_eq!(world.double.hits("/other"), 0);
}

#[test]
fn cookies_do_not_pass_unless_asked_for() {
    let world = world();
    world.double.answer("/cookies", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nSet-Cookie: session=born-of-the-credential\r\nSet-Cookie2: x\r\nContent-Length: 2\r\n\r\nhi");
    for (connection, passes) in [("open", false), ("masked", false), ("cookies", true)] {
        let before = world.double.hits("/cookies");
        let answer = world.gateway.send(
            "GET",
            &format!("/{connection}/cookies"),
            &staff(),
            &[("Cookie", "a=b")],
            b"",
        );
        assert_eq!(
            answer.header("set-cookie").is_some(),
            passes,
            "{connection}"
        );
        let seen = world.double.seen("/cookies");
        assert_eq!(
            seen[before].header("cookie").len(),
            usize::from(passes),
            "{connection}: {:?}",
            seen[before]
        );
    }
}

// I6
#[test]
fn what_says_who_calls_is_the_gateways_alone() {
    let world = world();
    let named = [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "Forwarded",
        "X-Real-IP",
        "X-User",
        "X-Remote-User",
        "Remote-User",
        "X-Auth-Request-Email",
        "X-Forwarded-User",
        "X-Goog-Authenticated-User-Email",
        "Client-Cert",
        "X-Client-Cert",
        "Callgate-Caller",
        "Callgate-Call",
        "X-Callgate-Principal",
        "X-Envoy-External-Address",
        "From",
        "X_Under_Score",
        "Proxy-Authorization",
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "X-Named-By-Connection",
    ];
    let mut headers: Vec<(&str, &str)> = named.iter().map(|name| (*name, "smuggled")).collect();
    headers.retain(|(name, _)| !matches!(*name, "TE" | "X_Under_Score"));
    headers.push(("X-Kept", "kept"));
    let answer = world
        .gateway
        .send("GET", "/open/identity", &staff(), &headers, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = world.double.seen("/identity").remove(0);
    let left: Vec<_> = seen
        .head
        .lines()
        .filter(|line| line.contains("smuggled"))
        .collect();
    assert_eq!(
        left,
        ["X-Named-By-Connection: smuggled".to_ascii_lowercase()],
        "{left:?}"
    );
    assert_eq!(seen.header("x-kept"), ["kept"]);
    assert_eq!(
        seen.header("authorization"),
        [format!("Bearer {}", world.credential)]
    );
    assert_eq!(seen.header("accept-encoding"), ["identity"]);
    assert_eq!(
        (seen.header("host"), seen.header("via").len()),
        (vec![world.double.address.to_string().as_str()], 1)
    );
}

#[test]
fn headers_of_one_hop_do_not_come_back() {
    let world = world();
    world.double.answer("/hop", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: x-hop, keep-alive\r\nX-Hop: one\r\n\
        Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nProxy-Connection: close\r\n\
        Callgate-Call: forged\r\nCallgate-Receipt: forged\r\nX-Stays: yes\r\nContent-Length: 2\r\n\r\nhi");
    for connection in ["open", "masked"] {
        let answer = world.gateway.get(&format!("/{connection}/hop"), &staff());
        assert_eq!(
            (answer.status, answer.header("x-stays")),
            (200, Some("yes"))
        );
        for name in [
            "x-hop",
            "keep-alive",
            "proxy-authenticate",
            "upgrade",
            "proxy-connection",
        ] {
            assert_eq!(answer.header(name), None, "{connection} {name}");
        }
        let forged = answer
            .headers
            .iter()
            .filter(|(_, value)| value == "forged")
            .count();
        assert_eq!(forged, 0, "{:?}", answer.headers);
    }
}

#[test]
fn parts_and_conditions_are_dropped_only_where_an_answer_is_masked() {
    let world = world();
    let headers = [
        ("Range", "bytes=0-1"),
        ("If-Range", "\"x\""),
        ("If-None-Match", "\"x\""),
        ("If-Match", "\"x\""),
        ("If-Modified-Since", "Tue, 01 Jan 2030 00:00:00 GMT"),
        ("If-Unmodified-Since", "Tue, 01 Jan 2030 00:00:00 GMT"),
    ];
    for (connection, method, kept) in [
        ("open", "GET", true),
        ("open", "HEAD", true),
        ("open", "PUT", true),
        ("masked", "GET", false),
        ("masked", "HEAD", false),
        ("masked", "PUT", true),
        ("masked", "DELETE", true),
    ] {
        let path = format!("/conditions-{connection}-{method}");
        world.double.answer(
            &path,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n",
        );
        world.gateway.send(
            method,
            &format!("/{connection}{path}"),
            &staff(),
            &headers,
            b"",
        );
        let seen = world.double.seen(&path).remove(0);
        for (name, _) in headers {
            let there = !seen.header(&name.to_ascii_lowercase()).is_empty();
            assert_eq!(there, kept, "{connection} {method} {name}");
        }
    }
}

#[test]
fn validators_of_unmasked_bytes_do_not_come_back() {
    let world = world();
    world.double.answer("/validators", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"x\"\r\n\
        Last-Modified: Tue, 01 Jan 2030 00:00:00 GMT\r\nContent-Digest: sha-256=:x:\r\nContent-MD5: x\r\nAccept-Ranges: bytes\r\n\
        Cache-Control: public, max-age=60\r\nExpires: Tue, 01 Jan 2030 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nhi");
    let names = [
        "etag",
        "last-modified",
        "content-digest",
        "content-md5",
        "accept-ranges",
        "expires",
    ];
    let open = world.gateway.get("/open/validators", &staff());
    let masked = world.gateway.get("/masked/validators", &staff());
    for name in names {
        assert!(
            open.header(name).is_some() && masked.header(name).is_none(),
            "{name}"
        );
    }
    assert_eq!(open.header("cache-control"), Some("public, max-age=60"));
    assert_eq!(masked.header("cache-control"), Some("private, no-store"));
}

// X12
#[test]
fn an_upgrade_is_refused_or_ignored_and_never_passed_on() {
    let world = world();
    for upgrade in ["websocket", "h2c", "TLS/1.0"] {
        let headers = [
            ("Connection", "Upgrade"),
            ("Upgrade", upgrade),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ];
        let answer = world
            .gateway
            .send("GET", "/open/upgrade", &staff(), &headers, b"");
        assert_ne!(answer.status, 101);
        if upgrade == "websocket" {
            let said = answer.json();
            assert_eq!(
                (answer.status, &said["code"], &said["executed"]),
                (400, &json!("bad_request"), &json!("no")),
                "{said}"
            );
            let detail = said["detail"].as_str().expect("a sentence");
            assert!(
                detail.to_ascii_lowercase().contains("upgrade") || detail.contains("WebSocket"),
                "{detail}"
            );
        }
    }
    assert!(
        world
            .double
            .seen("/upgrade")
            .iter()
            .all(|seen| seen.header("upgrade").is_empty())
    );
}

// X4
#[test]
fn only_hosts_of_the_config_are_answered_for() {
    let world = world();
    let (address, token) = (world.gateway.address, staff());
    let port = address.port();
    let bearer = format!("Bearer {token}");
    for (host, good) in [
        (address.to_string(), true),
        (format!("localhost:{port}"), true),
        (format!("LOCALHOST:{port}"), true),
        ("localhost".to_owned(), false),
        ("evil.example".to_owned(), false),
        (format!("evil.example:{port}"), false),
        (format!("127.0.0.1.evil.example:{port}"), false),
        (format!("localhost.:{port}"), true),
        ("127.0.0.1".to_owned(), false),
    ] {
        let headers = [("Host", host.as_str()), ("Authorization", bearer.as_str())];
        let answer = raw::request(address, "GET", "/open/hosts", &headers, b"");
        assert_eq!(
            answer.status,
            if good { 200 } else { 400 },
            "{host}: {}",
            answer.text()
        );
    }
    // The form with a whole URL counts, not the header beside it.
    for (target, host) in [
        (
            "http://evil.example/open/hosts".to_owned(),
            address.to_string(),
        ),
        (
            format!("http://{address}/open/hosts"),
            "evil.example".to_owned(),
        ),
    ] {
        let mut talk = Talk::to(address);
        talk.send(
            format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\n\r\n")
                .as_bytes(),
        );
        talk.until("\r\n\r\n");
        assert!(
            talk.text().starts_with("HTTP/1.1 400"),
            "{target} {host}: {}",
            talk.text()
        );
    }
    assert_eq!(world.double.hits("/hosts"), 4);
}

// X1: which of two media types counts is read differently by others, also where a body is passed on unread.
#[test]
fn a_second_media_type_is_refused_also_where_the_body_streams() {
    let world = world();
    let bearer = format!("Bearer {}", staff());
    for (method, second) in [
        ("PUT", "application/json"),
        ("PUT", "text/plain"),
        ("POST", ""),
    ] {
        let lines = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "text/plain"),
            ("Content-Type", second),
        ];
        let at = world.gateway.address;
        let refused = raw::request(at, method, "/open/two-types", &lines, b"{}");
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(
            refused.text().contains("content-type"),
            "{}",
            refused.text()
        );
    }
    assert_eq!(world.double.hits("/two-types"), 0);
}

// X1: HTTP/2 lets a caller split its cookies (RFC 9113 section 8.2.3); one line is judged, and that line is sent.
#[test]
fn cookies_that_http2_splits_are_one_line_for_the_function_and_two_lines_in_http1_are_refused() {
    let world = world();
    let lines = [
        ("cookie", "a=1"),
        ("accept", "*/*"),
        ("cookie", "b=2; c=3"),
        ("cookie", "d=4"),
    ];
    block_on(async {
        let mut talk = Talk2::to(world.gateway.address).await;
        for (target, more) in [
            ("/cookies/split", &lines[..]),
            ("/cookies/split", &lines[..1]),
            ("/open/split", &lines[..]),
        ] {
            let answer = talk.get_with(target, &staff(), more).await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!(answer.head.status.as_u16(), 200, "{target}: {text}");
        }
    });
    let sent: Vec<Vec<String>> = world
        .double
        .seen("/split")
        .iter()
        .map(|seen| {
            seen.header("cookie")
                .into_iter()
                .map(str::to_owned)
                .collect()
        })
        .collect();
    assert_eq!(sent, [vec!["a=1; b=2; c=3; d=4"], vec!["a=1"], vec![]]);
    let bearer = format!("Bearer {}", staff());
    let two = [
        ("Authorization", bearer.as_str()),
        ("Cookie", "a=1"),
        ("Cookie", "b=2"),
    ];
    let refused = raw::request(world.gateway.address, "GET", "/cookies/two", &two, b"");
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("cookie"), "{}", refused.text());
    assert_eq!(world.double.hits("/two"), 0);
}

#[test]
fn http2_callers_are_held_to_the_same_rules() {
    let world = world();
    block_on(async {
        let mut talk = Talk2::to(world.gateway.address).await;
        let answer = talk.get("/open/second", &staff()).await;
        assert_eq!(
            (answer.head.status.as_u16(), answer.body.as_slice()),
            (200, &b"{\"ok\":true}"[..])
        );
        assert!(answer.head.headers.contains_key("callgate-receipt"));
        let answer = talk.get("/open/second", "nonsense").await;
        assert_eq!(answer.head.status.as_u16(), 401);
        assert!(answer.head.headers.contains_key("www-authenticate"));
        for target in [
            "/open/%2e%2e/x",
            "/open//x",
            "/open/a%2fb",
            "/open/..%5cx",
            "/nowhere",
        ] {
            let answer = talk.get(target, &staff()).await;
            assert!(
                (400..500).contains(&answer.head.status.as_u16()),
                "{target} {}",
                answer.head.status
            );
        }
    });
    assert_eq!(world.double.hits("/second"), 1);
}
