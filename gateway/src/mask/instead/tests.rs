//! What stands in place of findings, and that it is recognised when it comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::{Config, MarkerGuard, Masker, Mode, Needles, ResponseFacts, Settings, Withheld};
use super::{Instead, part};

fn config(instead: &[(&str, Instead)]) -> Config {
    let own = |(name, instead): &(&str, Instead)| ((*name).to_owned(), *instead);
    Config {
        detect: ["contact", "us-ssn", "bank-account"]
            .map(str::to_owned)
            .to_vec(),
        fields: BTreeMap::from([("$.card".to_owned(), "payment-card".into())]),
        instead: instead.iter().map(own).collect(),
        ..Config::default()
    }
}

fn run(config: &Config, media_type: &str, body: &str) -> Result<String, Withheld> {
    let settings = Arc::new(Settings::compile(config).unwrap());
    let facts = ResponseFacts {
        status: 200,
        content_type: Some(media_type),
        ..ResponseFacts::default()
    };
    let plan = settings.plan(&BTreeSet::new());
    let mut masker = Masker::new(plan, Arc::new(Needles::none()), &facts)?;
    let mut out = Vec::new();
    masker.push(body.as_bytes(), &mut out)?;
    masker.finish(&mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

const PARTIAL: &[(&str, Instead)] = &[
    ("payment-card", Instead::Partial),
    ("iban", Instead::Partial),
    ("email", Instead::Partial),
    ("phone", Instead::Partial),
    ("us-ssn", Instead::Partial),
];

#[test]
fn a_part_is_kept_in_strings_numbers_and_places_and_known_when_it_comes_back() {
    let body = r#"{"card":4111111111111111,"n":5555555555554444,"t":"4111-1111-1111-1111, bob@example.com, DE89 3704 0044 0532 0130 00","p":"+31 20 794 0800","s":"536-90-4399"}"#;
    let out = run(&config(PARTIAL), "application/json", body).unwrap();
    assert_eq!(
        out,
        r#"{"card":"[masked:payment-card:1111]","n":"[masked:payment-card:4444]","t":"[masked:payment-card:1111], [masked:email:example.com], [masked:iban:3000]","p":"[masked:phone:0800]","s":"[masked:us-ssn:4399]"}"#
    );
    for text in [
        "[masked:payment-card:1111]",
        "%5Bmasked%3Aemail%3Aexample.com%5D",
        "\\u005bmasked\\u003aemail\\u003aexample.com\\u005d",
    ] {
        assert!(MarkerGuard::contains_marker(text.as_bytes()), "{text}");
    }
    for text in [
        "[masked:a b]",
        "[masked:email:]",
        "[masked:email:a:b]",
        "[masked::x]",
    ] {
        assert!(!MarkerGuard::contains_marker(text.as_bytes()), "{text}");
    }
}

#[test]
fn masking_a_part_again_changes_nothing() {
    let body = "card 4111 1111 1111 1111 of bob@example.com\n";
    let once = run(&config(PARTIAL), "text/plain", body).unwrap();
    assert_eq!(run(&config(PARTIAL), "text/plain", &once).unwrap(), once);
}

#[test]
fn nothing_is_kept_of_what_is_encoded_or_touches_another_value() {
    let encoded = r#"{"a":"NDExMTExMTExMTExMTExMQ==","b":"4111\u00201111\u00201111\u00201111"}"#;
    let out = run(&config(PARTIAL), "application/json", encoded).unwrap();
    assert_eq!(
        out,
        r#"{"a":"[masked:payment-card]","b":"[masked:payment-card]"}"#
    );
    // base64 and hex of an IBAN, hex of a telephone number: letters and digits as well, and not the value's.
    for (class, encoded) in [
        ("iban", "REU4OTM3MDQwMDQ0MDUzMjAxMzAwMA"),
        ("iban", "Tk85Mzg2MDExMTE3OTQ3"),
        ("iban", "4e4f39333836303131313137393437"),
        ("bank-account", "3132333435363738"),
        ("phone", "333036353535313231"),
    ] {
        assert_eq!(part(class, encoded.as_bytes()), None, "{encoded}");
    }
    let encoded = r#"{"a":"Tk85Mzg2MDExMTE3OTQ3"}"#;
    let out = run(&config(PARTIAL), "application/json", encoded).unwrap();
    assert_eq!(out, r#"{"a":"[masked:iban]"}"#);
    assert_eq!(part("iban", b"no93 8601 1117 947").as_deref(), Some("7947"));
    assert_eq!(part("payment-card", b"4111111111111111ghp_x"), None);
    assert_eq!(part("email", b"a@b@example.com"), None);
    assert_eq!(part("us-ssn", b"123-456"), None);
    assert_eq!(part("secret.jwt", b"1234567890123"), None);
}

#[test]
fn asterisks_tell_no_length_and_a_group_can_be_named() {
    let config = config(&[("contact", Instead::Fixed), ("email", Instead::Redact)]);
    let out = run(&config, "text/plain", "bob@example.com +31 20 794 0800\n").unwrap();
    assert_eq!(out, "[masked:email] ********\n");
}

#[test]
fn an_answer_with_a_blocked_class_is_withheld_and_tells_the_class_only() {
    let mut config = config(&[("email", Instead::Block)]);
    for body in [r#"{"a":"bob@example.com"}"#, r#"{"bob@example.com":1}"#] {
        let withheld = run(&config, "application/json", body).unwrap_err();
        assert_eq!(withheld.code(), "blocked-class");
        assert_eq!(
            withheld.to_string(),
            "the answer holds data of class `email`, which is set to block it"
        );
    }
    assert!(run(&config, "application/json", r#"{"a":"4111111111111111"}"#).is_ok());
    config.mode = Mode::Observe.into();
    let body = r#"{"a":"bob@example.com"}"#;
    assert_eq!(run(&config, "application/json", body).unwrap(), body);
}

#[test]
fn a_blocked_class_in_a_header_withholds_the_answer_before_it_begins() {
    let settings = Arc::new(Settings::compile(&config(&[("email", Instead::Block)])).unwrap());
    let facts = ResponseFacts {
        status: 200,
        content_type: Some("text/plain"),
        ..ResponseFacts::default()
    };
    let plan = settings.plan(&BTreeSet::new());
    let mut masker = Masker::new(plan, Arc::new(Needles::none()), &facts).unwrap();
    assert!(masker.header_value("x-owner", b"bob@example.com").is_err());
}

#[test]
fn what_cannot_stand_instead_is_told() {
    let config = config(&[
        ("nobody", Instead::Redact),
        ("secret", Instead::Partial),
        ("postal-code", Instead::Partial),
    ]);
    let faults = Settings::compile(&config).unwrap_err();
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "`instead.nobody`: nothing finds `nobody` here: name a class that `fields`, `detect` or `detectors` has, or one of the groups contact, device, health, identity, payment, secret, wallet, custom",
            "`instead.postal-code`: no part of `postal-code` can be kept: `partial` is for payment-card, iban, bank-account, phone, us-ssn, email",
            "`instead.secret`: no part of `secret` can be kept: `partial` is for payment-card, iban, bank-account, phone, us-ssn, email",
        ]
    );
}
