//! Inputs made to slip through.

use super::super::super::{MarkerGuard, json::TOKEN_BYTES_MAX, text::STRETCH_BYTES_MAX};
use super::{Mode, gzip, json, text, typed};

const JWT: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0In0.\
    dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

// M8
#[test]
fn escapes_do_not_hide_a_value_or_a_name() {
    let case = json().field("$.secret", "x");
    assert_eq!(
        case.masked(r#"{"a":"\u0062ob\u0040example.com","s\u0065cret":1}"#),
        r#"{"a":"[masked:email]","s\u0065cret":"[masked:x]"}"#
    );
    assert_eq!(
        case.masked(r#"{"a":"x \uD83D\uDE00 b\u006fb@example\u002Ecom \n y","S\u0045CRET":1}"#),
        r#"{"a":"x \uD83D\uDE00 [masked:email] \n y","S\u0045CRET":"[masked:x]"}"#
    );
    assert_eq!(
        case.masked(r#"{"k":"sk_live_abcdefghij\u006Blmnop","u":"https:\/\/a:pw1@h\/x"}"#),
        r#"{"k":"[masked:secret.stripe-key]","u":"https:\/\/a:[masked:secret.url-password]@h\/x"}"#
    );
}

// M8
#[test]
fn all_duplicates_are_masked() {
    assert_eq!(
        json()
            .field("$.a", "x")
            .masked(r#"{"a":1,"A":2,"a":[3],"\u0061":4}"#),
        r#"{"a":"[masked:x]","A":"[masked:x]","a":"[masked:x]","\u0061":"[masked:x]"}"#
    );
}

// M8
#[test]
fn numbers_are_searched_in_every_spelling() {
    for number in [
        "4111111111111111",
        "4.111111111111111e15",
        "41111111111111110e-1",
        "-4111111111111111.00",
        "411111111111111.1E+1",
    ] {
        let body = format!("[{number}]");
        assert_eq!(
            json().masked(&body),
            r#"["[masked:payment-card]"]"#,
            "{number}"
        );
    }
    for number in [
        "4111111111111112",
        "0.4111111111111111",
        "1e400",
        "4111111111111111.5",
    ] {
        let body = format!("[{number}]");
        assert_eq!(json().masked(&body), body);
    }
}

// M8
#[test]
fn names_are_searched_too() {
    assert_eq!(
        json().masked(r#"{"bob@example.com":{"AKIAIOSFODNN7EXAMPLE":1}}"#),
        r#"{"[masked:email]":{"[masked:secret.aws-key]":1}}"#
    );
}

#[test]
fn a_name_announces_a_key_that_does_not_show_what_it_is() {
    let key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    for name in [
        "SecretAccessKey",
        "aws_secret_access_key",
        "AWS_SECRET_ACCESS_KEY",
    ] {
        let body = format!("{{\"{name}\": \"{key}\", \"x\": \"{key}\"}}");
        let masked = format!("{{\"{name}\": \"[masked:secret.aws-key]\", \"x\": \"{key}\"}}");
        assert_eq!(json().masked(&body), masked);
    }
}

// M8
#[test]
fn broken_json_is_withheld() {
    for body in [
        r#"{"a":1}x"#,
        r#"{"a":1}{"a":1}"#,
        r#"{"a":1"#,
        "{'a':1}",
        "{\"a\":\"\u{0}\"}",
        r#"{"a":NaN}"#,
        r#"[1,]"#,
        "{\"a\":\"\n\"}",
        r#"{"a":"\x40"}"#,
        "// c\n{}",
        "{\"a\":\"b",
    ] {
        assert_eq!(json().withheld(body.as_bytes()), "json", "{body}");
    }
    assert_eq!(json().withheld(&vec![b'['; 10_000]), "json");
    assert_eq!(json().withheld(b"{\"a\":\"\xff\"}"), "json");
}

// M8
#[test]
fn very_many_names_pass() {
    let names: String = (0..100_000).map(|at| format!("\"k{at}\":0,")).collect();
    let body = format!("{{{names}\"z\":0}}");
    assert_eq!(json().masked(&body), body);
}

// M8: lone surrogates are legal JSON, and stay
#[test]
fn lone_surrogates_do_not_stop_the_search() {
    assert_eq!(
        json().masked(r#"{"a":"\ud800 bob@example.com \udc00"}"#),
        r#"{"a":"\ud800 [masked:email] \udc00"}"#
    );
}

// M10: `mail bob@example.com now` in base64, hex, percent escapes, character references, JSON
#[test]
fn a_value_under_one_more_encoding_is_found() {
    for body in [
        r#"{"a":"bWFpbCBib2JAZXhhbXBsZS5jb20gbm93"}"#,
        r#"{"a":"6d61696c20626f62406578616d706c652e636f6d206e6f77"}"#,
        r#"{"a":"data:text/plain;base64,bWFpbCBib2JAZXhhbXBsZS5jb20gbm93"}"#,
        r#"{"a":"bob%40example.com"}"#,
        r#"{"a":"bob&#64;example.com"}"#,
        r#"{"a":"bob&commat;example&period;com"}"#,
        r#"{"a":"{\"b\":\"bob\\u0040example.com\"}"}"#,
        r#"{"a":"/v1/users/bWFpbCBib2JAZXhhbXBsZS5jb20gbm93"}"#,
    ] {
        let masked = json().masked(body);
        assert!(masked.contains("[masked:email]"), "{body} gave {masked}");
        assert!(!masked.contains("example"), "{body} gave {masked}");
        assert!(
            !masked.contains("bWFp") && !masked.contains("6d61"),
            "{body} gave {masked}"
        );
    }
}

// M10: one level is the documented limit
#[test]
fn two_more_encodings_are_beyond_the_limit() {
    let body = r#"{"a":"YldGcGJDQmliMkpBWlhoaGJYQnNaUzVqYjIwZ2JtOTM="}"#;
    assert_eq!(json().masked(body), body);
}

// M10
#[test]
fn private_keys_are_found_however_they_are_wrapped() {
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDC7VJTUt9Us8cK";
    let begin = "-----BEGIN RSA PRIVATE KEY-----";
    let key = format!("{begin}\n{line}\n{line}\nAbc=\n-----END RSA PRIVATE KEY-----");
    let one_line = key.replace('\n', " ");
    let cut = format!("{begin}\n{line}\n{line}");
    for key in [&key, &one_line, &cut] {
        let masked = text().masked(&format!("a: {key}"));
        assert_eq!(masked, "a: [masked:secret.private-key]");
        for escaped in ["\\n", "\\\\n", "\\r\\n"] {
            let body = format!("{{\"k\":\"{}\"}}", key.replace('\n', escaped));
            assert_eq!(
                json().masked(&body),
                r#"{"k":"[masked:secret.private-key]"}"#
            );
        }
    }
    let prose = format!("x {begin}\n{line}\n, that was cut short.\n");
    assert_eq!(
        text().masked(&prose),
        "x [masked:secret.private-key], that was cut short.\n"
    );
}

// M11
#[test]
fn header_values_are_masked_and_scrubbed() {
    let case = json().secret(b"s3cr3t-t0ken-value");
    let mut masker = case.masker().unwrap();
    let mut header = |name: &str, value: &str| {
        let changed = masker.header_value(name, value.as_bytes()).unwrap();
        String::from_utf8(changed.unwrap_or_default()).unwrap()
    };
    assert_eq!(
        header("X-Request-Id", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
        ""
    );
    assert_eq!(
        header("Location", "/users?mail=bob%40example.com&x=1"),
        "/users?mail=[masked:email]&x=1"
    );
    assert_eq!(
        header("Set-Cookie", &format!("t={JWT}; Path=/")),
        "t=[masked:secret.jwt]; Path=/"
    );
    assert_eq!(
        header("X-Echo", "a s3cr3t-t0ken-value b"),
        "a ****************** b"
    );
    assert_eq!(
        header("WWW-Authenticate", "Bearer error=\"bob@example.com\""),
        "Bearer error=\"[masked:email]\""
    );
    assert_eq!(
        header("Link", "<https://u:passw0rd@h/>; rel=next"),
        "<https://u:[masked:secret.url-password]@h/>; rel=next"
    );
}

// M11
#[test]
fn headers_of_http_itself_are_searched_and_their_usual_values_pass() {
    let mut case = json();
    let every = [
        "contact", "identity", "health", "device", "wallet", "payment",
    ];
    case.config.detect = every.map(str::to_owned).to_vec();
    let mut masker = case.masker().unwrap();
    for (name, value) in [
        ("Date", "Wed, 25 Nov 2026 03:20:10 GMT"),
        (
            "Content-Type",
            "multipart/mixed; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
        ),
        ("Content-Type", "application/json; charset=utf-8"),
        ("Content-Encoding", "gzip"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "4111111111111111"),
    ] {
        let changed = masker.header_value(name, value.as_bytes());
        assert_eq!(changed, Ok(None), "{name}: {value}");
    }
    let masked = masker.header_value("Date", b"4111111111111111").unwrap();
    assert_eq!(masked.as_deref(), Some(&b"[masked:payment-card]"[..]));
    let telling = b"application/json; name=\"bob@example.com\"";
    let fault = masker.header_value("Content-Type", telling).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "the media type holds data that is to be masked"
    );
    assert_eq!(fault.code(), "media-type");
    let mut observing = json().mode(Mode::Observe).masker().unwrap();
    assert_eq!(observing.header_value("Content-Type", telling), Ok(None));
}

// M11: binary metadata is base64
#[test]
fn binary_metadata_is_searched() {
    let mut masker = json().masker().unwrap();
    let value = b"CAISIW5vIHN1Y2ggdXNlciBib2JAZXhhbXBsZS5jb20gaGVyZSBhbmQgbm93aGVyZQ";
    let masked = masker
        .header_value("grpc-status-details-bin", value)
        .unwrap();
    assert_eq!(masked.as_deref(), Some(&b"[masked:email]"[..]));
}

// M19
#[test]
fn a_value_over_the_limit_is_withheld_never_passed() {
    for (length, passes) in [
        (TOKEN_BYTES_MAX - 1, true),
        (TOKEN_BYTES_MAX, true),
        (TOKEN_BYTES_MAX + 1, false),
    ] {
        let body = format!("\"{}\"", &"a ".repeat(TOKEN_BYTES_MAX)[..length - 2]);
        assert_eq!(json().run(&body).is_ok(), passes, "{length}");
        let parts: Vec<&[u8]> = body.as_bytes().chunks(60_000).collect();
        assert_eq!(json().chunks(&parts).is_ok(), passes, "{length}");
    }
    let line = "a ".repeat(STRETCH_BYTES_MAX);
    assert_eq!(text().withheld(line.as_bytes()), "too-long");
}

// M26
#[test]
fn after_a_failure_nothing_more_comes_out() {
    let mut masker = json().masker().unwrap();
    let mut out = Vec::new();
    assert!(masker.push(b"[1,}", &mut out).is_err());
    let released = out.len();
    assert!(masker.push(b"\"bob@example.com\"]", &mut out).is_err());
    assert!(masker.header_value("x", b"y").is_err());
    assert!(masker.finish(&mut out).is_err());
    assert_eq!(out.len(), released);
}

// M26: whatever stood before stays released, nothing of what follows is
#[test]
fn a_detector_that_panics_withholds_the_answer() {
    let broken = std::str::from_utf8(super::super::super::inspector::BROKEN).unwrap();
    let case = json();
    let mut masker = case.masker().unwrap();
    let mut out = Vec::new();
    masker.push(b"[\"before\",", &mut out).unwrap();
    let body = format!("\"{broken}\",\"after\"]");
    let withheld = masker.push(body.as_bytes(), &mut out).unwrap_err();
    assert_eq!(withheld.code(), "detector-failed");
    assert_eq!(out, b"[\"before\",");
    assert_eq!(
        masker.push(b"1", &mut out).unwrap_err().code(),
        "failed-before"
    );
    assert!(masker.finish(&mut out).is_err());
    assert_eq!(text().withheld(broken.as_bytes()), "detector-failed");
    let mut masker = case.masker().unwrap();
    let withheld = masker
        .header_value("x-note", broken.as_bytes())
        .unwrap_err();
    assert_eq!(withheld.code(), "detector-failed");
    assert!(masker.push(b"1", &mut out).is_err());
}

// M26: new rules apply to calls that begin, never to half of an answer
#[test]
fn rules_that_are_loaded_in_mid_stream_do_not_change_an_answer_under_way() {
    let before = json().field("$..a", "x");
    let mut masker = before.masker().unwrap();
    let mut out = Vec::new();
    masker.push(b"[{\"a\":1},", &mut out).unwrap();
    // The new settings are other values; the old ones are gone as far as config is concerned.
    let after = json().field("$..b", "x");
    drop(before);
    assert_eq!(
        after.masked("[{\"a\":1,\"b\":2}]"),
        "[{\"a\":1,\"b\":\"[masked:x]\"}]"
    );
    masker.push(b"{\"a\":2,\"b\":3}]", &mut out).unwrap();
    masker.finish(&mut out).unwrap();
    assert_eq!(
        out,
        b"[{\"a\":\"[masked:x]\"},{\"a\":\"[masked:x]\",\"b\":3}]"
    );
}

// M26: a typo must not become `no rules`
#[test]
fn settings_with_a_typo_are_refused_not_emptied() {
    for text in [
        "{\"field\": {\"$.a\": \"x\"}}",
        "{\"fields\": null}",
        "{\"fields\": {\"$.a\": null}}",
        "{\"detect\": \"contact\"}",
        "{\"detect\": [\"\"]}",
        "{\"fields\": {\"\": \"x\"}}",
        "{\"fields\": {\"$.a\": \"\"}}",
        "{\"fields\": {\"$.a,b\": \"x\"}}",
        "{\"mode\": \"ON\"}",
        "{\"mode\": null}",
    ] {
        let refused = match serde_json::from_str::<super::Config>(text) {
            Err(_) => true,
            Ok(config) => super::Settings::compile(&config).is_err(),
        };
        assert!(refused, "{text}");
    }
}

// M26: the worst inputs for pattern matchers stay cheap
#[test]
fn repetitive_input_takes_linear_time() {
    for unit in [
        "@",
        "a@",
        "a.",
        "4",
        "4 ",
        "4111 ",
        "eyJ",
        "eyJa.",
        "-eyJ",
        ".eyJ",
        "-----BEGIN ",
        "://",
        "%",
        "\\u0040",
        "AB12 ",
        "x:y@",
        "-----BEGIN PRIVATE KEY-----",
        "\"",
        "\"@",
        "&",
        "A/",
        "_ghp_",
        "pwd=",
        "token=",
        "token: ",
        "mrn ",
        "Mrn",
    ] {
        let time = |bytes: usize| {
            let body = unit.repeat(bytes / unit.len());
            let mut case = text();
            case.config.detect.push("health".to_owned());
            let started = std::time::Instant::now();
            let _ = case.run(&body);
            started.elapsed()
        };
        // Sixteen times the bytes may take thirty-two times as long, not two hundred and fifty.
        let (small, large) = (time(12_500), time(200_000));
        let allowed = (small * 32).max(std::time::Duration::from_secs(2));
        assert!(large < allowed, "`{unit}`: {small:?}, then {large:?}");
    }
}

#[test]
fn secrets_split_over_chunks_are_scrubbed_in_every_mode() {
    let forms = [
        "s3cr3t/t0ken+value=",
        "S3CR3T/T0KEN+VALUE=",
        "s3cr3t\\/t0ken\\u002Bvalue=",
        "s3cr3t%2Ft0ken%2bvalue%3D",
        "s3cr3t&#x2F;t0ken&#43;value&equals;",
        "7333637233742f74306b656e2b76616c75653d",
        "7333637233742F74306B656E2B76616C75653D",
        "czNjcjN0L3Qwa2VuK3ZhbHVlPQ==",
        "dXNlcjpzM2NyM3QvdDBrZW4rdmFsdWU9",
        "YTpzM2NyM3QvdDBrZW4rdmFsdWU9",
    ];
    for case in [
        typed("image/png").mode(Mode::Off),
        json().mode(Mode::Observe),
        text(),
    ] {
        let case = case.secret(b"s3cr3t/t0ken+value=");
        for form in forms {
            let body = format!("[\"<{form}>\"]");
            let whole = case.chunks(&[body.as_bytes()]).unwrap().0;
            assert_eq!(whole.len(), body.len());
            assert!(whole.windows(8).any(|run| run == b"********"), "{form}");
            for at in 0..body.len() {
                let (left, right) = body.as_bytes().split_at(at);
                let (out, summary) = case.chunks(&[left, right]).unwrap();
                assert_eq!(out, whole, "{form} split at {at}");
                assert_eq!(summary.scrubbed, 1, "{form} split at {at}");
            }
        }
    }
}

#[test]
fn a_compressed_echo_is_scrubbed_or_withheld_where_masking_is_off() {
    let off = || typed("image/png").mode(Mode::Off);
    let case = off().secret(b"s3cr3t-t0ken-value").coding("gzip");
    let masker = case.masker().unwrap();
    assert!(masker.decoded() && masker.changes_length());
    let (out, _) = case.chunks(&[&gzip(b"echo: s3cr3t-t0ken-value")]).unwrap();
    assert_eq!(out, b"echo: ******************");
    let unknown = off().secret(b"s3cr3t-t0ken-value").coding("compress");
    assert_eq!(unknown.masker().unwrap_err().code(), "content-coding");
    assert_eq!(off().coding("compress").masked("raw"), "raw");
}

#[test]
fn nothing_is_held_back_that_cannot_become_a_secret() {
    let case = typed("text/event-stream")
        .mode(Mode::Off)
        .secret(b"s3cr3t-t0ken-value");
    let mut masker = case.masker().unwrap();
    let mut out = Vec::new();
    masker
        .push(b"data: {\"delta\":\"hello\"}\n\n", &mut out)
        .unwrap();
    assert_eq!(out, b"data: {\"delta\":\"hello\"}\n\n");
}

#[test]
fn a_request_that_carries_a_marker_is_recognised() {
    for text in [
        r#"{"mail":"[masked:email]"}"#,
        "mail=%5Bmasked%3Aemail%5D",
        "mail=%5bmasked:secret.aws%2Dkey%5d",
        r#"{"mail":"\u005bmasked\u003aemail\u005d"}"#,
        "&#91;masked:payment-card&#93;",
    ] {
        assert!(MarkerGuard::contains_marker(text.as_bytes()), "{text}");
        for at in 0..text.len() {
            let mut guard = MarkerGuard::new();
            let found = guard.push(&text.as_bytes()[..at]);
            assert!(
                guard.push(&text.as_bytes()[at..]) || found,
                "{text} split at {at}"
            );
        }
    }
    for text in [
        "masked",
        "[masked]",
        "[masked:]",
        "[masked:Email]",
        "(masked:email)",
        "[masked:a b]",
        "[masked:email",
    ] {
        assert!(!MarkerGuard::contains_marker(text.as_bytes()), "{text}");
    }
}
