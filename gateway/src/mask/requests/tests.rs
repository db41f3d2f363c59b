//! What requests must not hold.

use super::super::{Config, RequestFacts, RequestFault, Settings};

fn settings(json: &str) -> Settings {
    let config: Config = serde_json::from_str(json).unwrap();
    Settings::compile(&config).unwrap()
}

const JSON: RequestFacts<'_> = RequestFacts {
    target: "/refunds",
    content_type: Some("application/json"),
    content_encoding: None,
    body: b"{}",
};

fn check(settings: &Settings, facts: &RequestFacts<'_>, headers: &[(&str, &str)]) -> String {
    let guard = settings.requests().unwrap();
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()));
    match guard.check(facts, headers) {
        Ok(()) => "sent".to_owned(),
        Err(fault) => fault.to_string(),
    }
}

#[test]
fn what_is_blocked_is_found_in_target_headers_and_body_and_only_its_class_is_told() {
    let settings = settings(r#"{ "requests": { "block": ["secret", "email"] } }"#);
    let key = "ghp_abcdefghijklmnopqrstuvwxyz0123456789";
    let bodies = [
        format!(r#"{{"note":"use {key}"}}"#),
        format!(r#"{{"{key}":1}}"#),
        r#"{"to":"bob\u0040example.com"}"#.to_owned(),
    ];
    for body in &bodies {
        let facts = RequestFacts {
            body: body.as_bytes(),
            ..JSON
        };
        let said = check(&settings, &facts, &[]);
        assert!(said.starts_with("the body holds data of class `"), "{said}");
        assert!(!said.contains("ghp_") && !said.contains("bob"), "{said}");
    }
    let target = RequestFacts {
        target: "/users?mail=bob%40example.com",
        ..JSON
    };
    assert_eq!(
        check(&settings, &target, &[]),
        "the path or query holds data of class `email`, which may not be sent to this function"
    );
    assert_eq!(
        check(&settings, &JSON, &[("x-key", key)]),
        "header `x-key` holds data of class `secret.github-token`, which may not be sent to this function"
    );
}

#[test]
fn what_is_not_blocked_is_sent_also_where_answers_would_be_masked() {
    let settings = settings(
        r#"{ "detect": ["contact"], "fields": { "$.note": "email" }, "requests": { "block": ["secret"] } }"#,
    );
    let facts = RequestFacts {
        body: br#"{"note":"bob@example.com","card":"4111111111111111"}"#,
        ..JSON
    };
    assert_eq!(
        check(&settings, &facts, &[("accept", "application/json")]),
        "sent"
    );
}

#[test]
fn own_detectors_can_be_blocked_and_modes_make_no_difference() {
    let settings = settings(
        r#"{ "mode": "off", "detectors": { "project": { "words": ["Nightjar"] } }, "requests": { "block": ["project"] } }"#,
    );
    let facts = RequestFacts {
        body: b"{\"a\":\"about nightjar\"}",
        ..JSON
    };
    assert!(check(&settings, &facts, &[]).contains("`project`"));
}

#[test]
fn a_detector_of_a_place_cannot_be_blocked_for_it_would_search_nothing() {
    let of = |name: &str| {
        let text = format!(
            r#"{{ "detectors": {{ "{name}": {{ "path": "$.a" }} }}, "requests": {{ "block": ["{name}"] }} }}"#
        );
        Settings::compile(&serde_json::from_str::<Config>(&text).unwrap())
    };
    let faults = of("patient").unwrap_err();
    assert_eq!(
        faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "`requests.block`: `patient` finds a place of answers, so it would search nothing of a request: \
             name a class, or a detector of yours that has `regex` or `words`"
        ]
    );
    // A class that is found by value as well is searched for by value.
    let settings = of("email").unwrap();
    let facts = RequestFacts {
        body: br#"{"b":"bob@example.com"}"#,
        ..JSON
    };
    assert!(check(&settings, &facts, &[]).contains("`email`"));
}

#[test]
fn a_body_that_cannot_be_searched_is_not_sent() {
    let settings = settings(r#"{ "requests": { "block": ["secret"] } }"#);
    for (content_type, content_encoding, body) in [
        (Some("image/png"), None, &b"x"[..]),
        (Some("multipart/form-data"), None, b"--x"),
        (Some("application/json"), None, b"{\"a\":"),
        (Some("application/json"), Some("compress"), b"{}"),
        (None, None, b"\xFF\xFE"),
    ] {
        let facts = RequestFacts {
            target: "/",
            content_type,
            content_encoding,
            body,
        };
        let guard = settings.requests().unwrap();
        let fault = guard.check(&facts, std::iter::empty()).unwrap_err();
        assert!(matches!(fault, RequestFault::Unread(_)), "{fault}");
    }
}

#[test]
fn a_name_that_nothing_finds_is_a_fault_and_no_name_no_guard() {
    let config: Config =
        serde_json::from_str(r#"{ "requests": { "block": ["sekret"] } }"#).unwrap();
    let faults = Settings::compile(&config).unwrap_err();
    assert_eq!(
        faults[0].to_string(),
        "`requests.block`: no detector finds `sekret`: name a class, one of the groups contact, device, health, identity, payment, secret, wallet, or one of your `detectors`"
    );
    assert!(
        super::super::Settings::compile(&Config::default())
            .unwrap()
            .requests()
            .is_none()
    );
}

#[test]
fn examples_of_own_detectors_do_not_switch_the_search_off() {
    // Where the group is searched too, the longer finding hides the detector's own.
    let settings = settings(
        r#"{ "detectors": { "mailbox": { "regex": "[a-z]+@corp", "matches": ["to bob@corp.example"] } },
             "requests": { "block": ["mailbox", "contact"] } }"#,
    );
    let facts = RequestFacts {
        body: br#"{"to":"bob@corp.example"}"#,
        ..JSON
    };
    assert_eq!(
        check(&settings, &facts, &[]),
        "the body holds data of class `email`, which may not be sent to this function"
    );
}

#[test]
fn blanks_of_a_query_do_not_hide_a_value() {
    let settings = settings(r#"{ "requests": { "block": ["payment-card", "phone"] } }"#);
    for target in [
        "/pay?card=4111+1111+1111+1111",
        "/pay?a=b&card=4111+1111%201111+1111",
        "/pay?to=+14155550123",
    ] {
        let facts = RequestFacts { target, ..JSON };
        let said = check(&settings, &facts, &[]);
        assert!(
            said.starts_with("the path or query holds"),
            "{target}: {said}"
        );
    }
}

#[test]
fn all_headers_but_the_length_are_searched() {
    let settings = settings(r#"{ "requests": { "block": ["payment-card", "email"] } }"#);
    for (name, value) in [
        ("date", "4111111111111111"),
        ("content-type", "application/json; name=\"bob@example.com\""),
    ] {
        let said = check(&settings, &JSON, &[(name, value)]);
        let expected = format!("header `{name}` holds data of class `");
        assert!(said.starts_with(&expected), "{said}");
    }
    let length = [("Content-Length", "4111111111111111")];
    assert_eq!(check(&settings, &JSON, &length), "sent");
}
