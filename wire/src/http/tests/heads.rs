use crate::http::fields::{
    HOP_BY_HOP, IDENTITY, IDENTITY_PREFIXES, OVERRIDES, REMADE, SINGLE, Strip, strip,
};
use crate::http::{BodyLength, CheckedHead, HeadError, METHODS, RequestLine, Version, check};

fn judge(
    version: Version,
    method: &str,
    authority: Option<&str>,
    headers: &[(&str, &str)],
) -> Result<CheckedHead, HeadError> {
    let line = RequestLine {
        method,
        version,
        authority,
    };
    check(
        &line,
        headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes())),
    )
}

fn http1(headers: &[(&str, &str)]) -> Result<CheckedHead, HeadError> {
    judge(Version::Http11, "POST", None, headers)
}

fn with_host(headers: &[(&str, &str)]) -> Result<CheckedHead, HeadError> {
    let mut all = vec![("Host", "a.example")];
    all.extend_from_slice(headers);
    http1(&all)
}

#[test]
fn lists_are_sorted_and_in_lower_case() {
    for list in [
        HOP_BY_HOP,
        REMADE,
        IDENTITY,
        IDENTITY_PREFIXES,
        OVERRIDES,
        SINGLE,
    ] {
        assert!(list.is_sorted(), "{list:?}");
        assert!(
            list.iter()
                .all(|name| !name.contains(|c: char| c.is_ascii_uppercase()))
        );
    }
    assert!(METHODS.is_sorted());
    assert!(SINGLE.len() <= 64);
}

// T1, X4
#[test]
fn a_request_has_exactly_one_host_and_it_is_the_authority() {
    assert_eq!(http1(&[]), Err(HeadError::NoHost));
    let two = http1(&[("Host", "a.example"), ("host", "a.example")]);
    assert_eq!(two, Err(HeadError::Duplicate("host".to_owned())));
    let absolute = |host| {
        judge(
            Version::Http11,
            "GET",
            Some("a.example:80"),
            &[("Host", host)],
        )
    };
    assert_eq!(absolute("b.example"), Err(HeadError::HostMismatch));
    assert_eq!(absolute("a.example"), Err(HeadError::HostMismatch));
    assert!(absolute("A.example.:80").is_ok());
    let without = judge(Version::Http11, "GET", Some("a.example"), &[]);
    assert_eq!(without, Err(HeadError::NoHost));
    let http2 = judge(Version::Http2, "GET", Some("a.example"), &[]);
    assert_eq!(http2.unwrap().authority.host(), "a.example");
    let differ = judge(
        Version::Http2,
        "GET",
        Some("a.example"),
        &[("host", "b.example")],
    );
    assert_eq!(differ, Err(HeadError::HostMismatch));
    assert!(matches!(http1(&[("Host", "u@a")]), Err(HeadError::Host(_))));
}

// T2, X1
#[test]
fn body_framing_is_never_ambiguous() {
    let body = |headers: &[(&str, &str)]| with_host(headers).map(|head| head.body);
    assert_eq!(body(&[]), Ok(BodyLength::Unsaid));
    assert_eq!(body(&[("Content-Length", "12")]), Ok(BodyLength::Known(12)));
    assert_eq!(
        body(&[("Transfer-Encoding", "Chunked")]),
        Ok(BodyLength::Chunked)
    );
    let both = [("Content-Length", "0"), ("Transfer-Encoding", "chunked")];
    assert_eq!(body(&both), Err(HeadError::TwoLengths));
    for coding in [
        "gzip, chunked",
        "chunked, gzip",
        "xchunked",
        "chunked, chunked",
        "identity",
        "",
        "gzip",
        "chunked;q=1",
        "\"chunked\"",
        "chunked,",
        ",chunked",
        "chun ked",
    ] {
        let found = body(&[("Transfer-Encoding", coding)]);
        assert_eq!(found, Err(HeadError::TransferEncoding), "{coding}");
    }
    for length in [
        "+1",
        "-1",
        "01",
        "1, 1",
        "1 1",
        "0x1",
        "",
        "1.0",
        "1e3",
        "18446744073709551616",
        "1000000000000000000",
    ] {
        let found = body(&[("Content-Length", length)]);
        assert_eq!(found, Err(HeadError::ContentLength), "{length}");
    }
    let twice = body(&[("Content-Length", "1"), ("content-length", "1")]);
    assert_eq!(
        twice,
        Err(HeadError::Duplicate("content-length".to_owned()))
    );
    for version in [Version::Http10, Version::Http2] {
        let headers = [("host", "a"), ("transfer-encoding", "chunked")];
        let found = judge(version, "POST", Some("a"), &headers);
        assert_eq!(found, Err(HeadError::TransferEncoding), "{version:?}");
    }
}

// X1, X12, I11
#[test]
fn connection_options_cannot_remove_headers_or_change_the_protocol() {
    assert!(with_host(&[("Connection", "Keep-Alive, TE"), ("TE", "trailers")]).is_ok());
    for value in [
        "Authorization",
        "close, X-Callgate-Call",
        "upgrade",
        "",
        "close,,te",
        "host",
    ] {
        assert_eq!(
            with_host(&[("Connection", value)]),
            Err(HeadError::Connection),
            "{value}"
        );
    }
    for name in ["Upgrade", "HTTP2-Settings"] {
        assert!(
            matches!(with_host(&[(name, "h2c")]), Err(HeadError::Upgrade(_))),
            "{name}"
        );
    }
    assert_eq!(with_host(&[("TE", "gzip")]), Err(HeadError::Te));
    for name in ["connection", "keep-alive", "proxy-connection"] {
        let found = judge(Version::Http2, "GET", Some("a"), &[(name, "close")]);
        assert!(matches!(found, Err(HeadError::Upgrade(_))), "{name}");
    }
}

// X1
#[test]
fn expect_is_100_continue_or_refused() {
    assert!(
        with_host(&[("Expect", "100-Continue")])
            .unwrap()
            .expect_continue
    );
    for value in ["100", "100-continue, x", "", "200-ok", "100-continue;a=b"] {
        assert_eq!(
            with_host(&[("Expect", value)]),
            Err(HeadError::Expect),
            "{value}"
        );
    }
    let old = judge(
        Version::Http10,
        "POST",
        None,
        &[("Host", "a"), ("Expect", "100-continue")],
    );
    assert_eq!(old, Err(HeadError::Expect));
}

// X3
#[test]
fn methods_and_overrides_are_refused() {
    for method in [
        "TRACE", "CONNECT", "TRACK", "get", "PRI", "PURGE", "", "GET ",
    ] {
        let found = judge(Version::Http11, method, None, &[("Host", "a")]);
        assert_eq!(found, Err(HeadError::Method), "{method}");
    }
    for name in [
        "X-HTTP-Method-Override",
        "X-Method-Override",
        "X-HTTP-Method",
        "X-Original-URL",
        "X-Rewrite-URL",
        "x-original-uri",
    ] {
        assert!(
            matches!(with_host(&[(name, "x")]), Err(HeadError::Override(_))),
            "{name}"
        );
    }
}

// X7
#[test]
fn control_and_obsolete_characters_are_refused() {
    for value in [
        "a\r\nb",
        "a\nb",
        "a\rb",
        "a\0b",
        "\x0bchunked",
        "a\x7f",
        "caf\u{e9}",
        "a\x1b",
    ] {
        assert!(
            matches!(with_host(&[("X-A", value)]), Err(HeadError::Value(_))),
            "{value:?}"
        );
    }
    for name in ["", "a b", "a:", "a\r\n", "a\0", "(a)", "\u{e9}", "a/b"] {
        assert_eq!(with_host(&[(name, "x")]), Err(HeadError::Name), "{name:?}");
    }
    assert!(with_host(&[("X-A", "a\tb"), ("X-B", "")]).is_ok());
}

#[test]
fn repeated_single_headers_are_refused() {
    for name in [
        "Content-Type",
        "Authorization",
        "Idempotency-Key",
        "If-Match",
        "Cookie",
    ] {
        let found = with_host(&[(name, "a"), (&name.to_ascii_uppercase(), "a")]);
        assert_eq!(found, Err(HeadError::Duplicate(name.to_ascii_lowercase())));
    }
    assert!(with_host(&[("Accept", "a/b"), ("Accept", "c/d")]).is_ok());
}

#[test]
fn head_limits_hold() {
    let many = |count: usize| with_host(&vec![("X-A", "1"); count]);
    assert!(many(99).is_ok());
    assert_eq!(many(100), Err(HeadError::TooManyHeaders));
    let long = "a".repeat(16 * 1024);
    assert!(with_host(&[("X-A", &long)]).is_ok());
    assert_eq!(
        with_host(&[("X-A", &long), ("X-B", &long)]),
        Err(HeadError::TooLarge)
    );
    let longer = "a".repeat(16 * 1024 + 1);
    assert_eq!(
        with_host(&[("X-A", &longer)]),
        Err(HeadError::ValueTooLong("x-a".to_owned()))
    );
}

#[test]
fn errors_never_repeat_values() {
    let secret = "s3cr3t\u{e9}";
    for name in [
        "Host",
        "Content-Length",
        "Connection",
        "TE",
        "Expect",
        "X-A",
        "Upgrade",
    ] {
        let error = with_host(&[(name, secret)]).unwrap_err();
        assert!(!error.to_string().contains("s3cr3t"), "{name}: {error}");
    }
}

// I6
#[test]
fn identity_forwarding_and_underscore_headers_are_stripped() {
    for name in [
        "x-forwarded-for",
        "x-forwarded-user",
        "x-forwarded-client-cert",
        "forwarded",
        "x-real-ip",
        "remote-user",
        "x-user",
        "x-user-id",
        "x-auth-request-email",
        "x-callgate-caller",
        "x-goog-iap-jwt-assertion",
        "x-ms-client-principal-id",
        "ssl-client-dn",
        "x-remote-group",
        "impersonate-user",
        "true-client-ip",
        "client-cert",
        "x-ssl-client-verify",
    ] {
        assert_eq!(strip(name), Some(Strip::Identity), "{name}");
    }
    assert_eq!(strip("x_forwarded_for"), Some(Strip::Underscore));
    assert_eq!(strip("connection"), Some(Strip::Hop));
    assert_eq!(strip("traceparent"), Some(Strip::Remake));
    for name in [
        "accept",
        "content-type",
        "x-request-id",
        "idempotency-key",
        "user-agent",
    ] {
        assert_eq!(strip(name), None, "{name}");
    }
}

// X1: docs/adr/0004
#[test]
fn only_a_whole_offer_of_h2c_is_passed_over() {
    let parts = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ];
    let host = ("Host", "a");
    let whole = [host, parts[0], parts[1], parts[2]];
    assert!(judge(Version::Http11, "GET", None, &whole).is_ok());
    for version in [Version::Http10, Version::Http2] {
        let found = judge(version, "GET", Some("a"), &whole);
        assert!(matches!(found, Err(HeadError::Upgrade(_))), "{version:?}");
    }
    for left_out in 0..3 {
        let some: Vec<_> = (0..3)
            .filter(|at| *at != left_out)
            .map(|at| parts[at])
            .collect();
        assert!(with_host(&some).is_err(), "without {:?}", parts[left_out]);
        let mut twice = whole.to_vec();
        twice.push(parts[left_out]);
        // `Connection` is a list, and may stand in two lines.
        assert_eq!(
            judge(Version::Http11, "GET", None, &twice).is_ok(),
            left_out == 0
        );
    }
    for value in ["H2", "h2c, websocket", "websocket", "h2c/1", ""] {
        let other = [parts[0], ("Upgrade", value), parts[2]];
        assert!(
            matches!(with_host(&other), Err(HeadError::Upgrade(_))),
            "{value}"
        );
    }
    for value in ["a b", "a,b", "a=", "a\u{e9}"] {
        let other = [parts[0], parts[1], ("HTTP2-Settings", value)];
        assert!(with_host(&other).is_err(), "{value}");
    }
}
