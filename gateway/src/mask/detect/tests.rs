//! Every detector with a value that it finds, and one that only looks like it.

use std::sync::Arc;

use super::super::{Config, Settings};
mod credentials;
mod table;

use super::Hit;
use super::rules::{RULES, Set, Shape};
use table::Example;

fn everything() -> Arc<Settings> {
    let detect = [
        "secret", "payment", "contact", "identity", "health", "device", "wallet",
    ]
    .map(str::to_owned);
    let config = Config {
        detect: detect.to_vec(),
        ..Config::default()
    };
    Arc::new(Settings::compile(&config).unwrap())
}

/// What is found in a text: class and span.
fn found(settings: &Settings, text: &str) -> Vec<(String, String)> {
    let mut hits: Vec<Hit> = Vec::new();
    settings
        .detectors
        .inspect(text.as_bytes(), |_| true, &mut hits);
    hits.iter()
        .map(|hit| {
            let class = settings.class(hit.class).unwrap().to_string();
            (class, text[hit.start..hit.end].to_owned())
        })
        .collect()
}

fn only(class: &str) -> Settings {
    let config = Config {
        detect: vec![class.to_owned()],
        ..Config::default()
    };
    Settings::compile(&config).unwrap()
}

/// The whole table.
fn examples() -> impl Iterator<Item = &'static Example> {
    table::EXAMPLES.iter().chain(credentials::EXAMPLES)
}

/// A text without its brackets, and what stood between them.
fn marked(text: &str) -> (String, &str) {
    let (ahead, rest) = text.split_once('\u{27e8}').unwrap();
    let (value, behind) = rest.split_once('\u{27e9}').unwrap();
    (format!("{ahead}{value}{behind}"), value)
}

/// A text for every detector that holds its value where it is found.
pub(in crate::mask) fn detected() -> impl Iterator<Item = (&'static str, String)> {
    examples().flat_map(|example| {
        let texts = example.finds.iter().map(|text| marked(text).0);
        texts.map(|text| (example.class, text))
    })
}

#[test]
fn every_detector_finds_its_value_and_not_the_look_alike() {
    let mut wrong = Vec::new();
    for example in examples() {
        let class = example.class;
        let settings = only(class);
        let is_class = |hits: &[(String, String)]| hits.iter().any(|(found, _)| found == class);
        for text in example.finds {
            let (text, value) = marked(text);
            for (ahead, behind) in [("", ""), ("a: ", " and more"), ("x (", ") y"), ("\"", "\"")] {
                let text = format!("{ahead}{text}{behind}");
                let hits = found(&settings, &text);
                if !hits.iter().any(|(_, span)| span == value) {
                    wrong.push(format!("{class} in `{text}` gave {hits:?}"));
                }
            }
        }
        for text in example.leaves.iter().chain(example.alike) {
            let hits = found(&settings, text);
            if is_class(&hits) {
                wrong.push(format!("{class} not in `{text}`, which gave {hits:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_class_stands_in_the_table_with_its_source_and_all_kinds_of_examples() {
    let everything = everything();
    for class in everything.classes() {
        let class = class.as_str();
        let prefixed = RULES
            .iter()
            .any(|rule| rule.class == class && matches!(rule.shape, Shape::Run(..)));
        let example = examples().find(|example| example.class == class);
        assert!(prefixed || example.is_some(), "no example of {class}");
    }
    for example in examples() {
        let whole = !example.source.is_empty()
            && !example.proof.is_empty()
            && !example.finds.is_empty()
            && !example.leaves.is_empty()
            && !example.alike.is_empty();
        assert!(whole, "{}", example.class);
    }
    assert!(examples().count() >= 60, "{}", examples().count());
}

#[test]
fn every_marked_credential_is_found_whole_and_not_when_cut() {
    let settings = everything();
    let mut count = 0;
    for rule in RULES {
        let Shape::Run(set, min, _) = rule.shape else {
            continue;
        };
        let alphabet = match set {
            Set::Hex => "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
            Set::Upper => "Q7W3E5R2T6YUAPSDFGH4JKLZXCV",
            Set::Alnum | Set::Url | Set::Dotted | Set::Base64 => "q7W3e5R2t6YuAPsdFgH4jkLzXcV",
        };
        let body: String = alphabet.chars().cycle().take(min).collect();
        let value = format!("{}{body}", rule.literal);
        let text = format!("token {value}\nnext");
        let hits = found(&settings, &text);
        assert!(
            hits.iter()
                .any(|(class, span)| class == rule.class && span.contains(value.as_str())),
            "{} gave {hits:?}",
            rule.literal
        );
        let cut = format!("token {}\nnext", &value[..value.len() - 1]);
        let hits = found(&only(rule.class), &cut);
        let cut_found = hits.iter().any(|(class, _)| class == rule.class);
        let also_shorter = RULES
            .iter()
            .any(|other| other.literal != rule.literal && rule.literal.starts_with(other.literal));
        assert!(
            !cut_found || also_shorter || min == 36,
            "{} cut gave {hits:?}",
            rule.literal
        );
        let inside = format!("x{value}");
        assert!(
            found(&only(rule.class), &inside)
                .iter()
                .all(|(class, _)| class != rule.class)
        );
        count += 1;
    }
    assert!(count > 100, "{count}");
}

#[test]
fn at_least_ninety_classes_can_be_found() {
    let count = everything().classes().len();
    assert!(count >= 90, "{count}");
}

#[test]
fn ordinary_identifiers_are_left_alone_by_default() {
    let settings = Settings::compile(&Config::default()).unwrap();
    for text in [
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "2026-11-23T06:19:27.123456789Z",
        "1700000000000",
        "0.4532015112830366",
        "arn:aws:iam::123456789012:user/bob",
        "order 4000 of 2026, 12 items, total 1234.56",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "https://example.com/a/b?c=d&e=%20f",
        "the risk-free skill of asking: right, light, task_force sk_1",
        "AKIA",
        "eyJ",
        "-----BEGIN CERTIFICATE-----",
        "Bearer authentication is required here",
        "Basic knowledge of things",
        "/usr/share/doc/packages/README",
        "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=",
    ] {
        assert_eq!(found(&settings, text), [], "{text}");
    }
}

#[test]
fn a_masked_span_takes_the_class_of_the_longest_finding() {
    let settings = everything();
    let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.";
    assert_eq!(
        found(&settings, &format!("Bearer {jwt}"))[0].0,
        "secret.jwt"
    );
}
