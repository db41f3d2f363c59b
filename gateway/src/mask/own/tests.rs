//! Detectors of the operator's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::{Config, Masker, Needles, ResponseFacts, Settings};
use super::OwnConfig;

fn own(yaml: &str) -> Config {
    let detectors: BTreeMap<String, OwnConfig> = serde_json::from_str(yaml).unwrap();
    Config {
        detectors,
        ..Config::default()
    }
}

fn masked(config: &Config, media_type: &str, chunks: &[&[u8]]) -> String {
    let settings = Arc::new(Settings::compile(config).unwrap());
    let facts = ResponseFacts {
        status: 200,
        content_type: Some(media_type),
        ..ResponseFacts::default()
    };
    let plan = settings.plan(&BTreeSet::new());
    let mut masker = Masker::new(plan, Arc::new(Needles::none()), &facts).unwrap();
    let mut out = Vec::new();
    for chunk in chunks {
        masker.push(chunk, &mut out).unwrap();
    }
    masker.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn faults(config: &str) -> String {
    let faults = Settings::compile(&own(config)).unwrap_err();
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn own_detectors_find_by_expression_word_and_place() {
    let config = own(
        r#"{ "employee": { "regex": "\\bEMP-[0-9]{6}\\b" }, "project": { "words": ["Blue Raven"] },
             "salary": { "path": "$..pay" } }"#,
    );
    assert_eq!(
        masked(
            &config,
            "application/json",
            &[br#"{"a":"EMP-123456 of blue raven","pay":1,"b":"TEMP-123456 blue ravens"}"#]
        ),
        r#"{"a":"[masked:employee] of [masked:project]","pay":"[masked:salary]","b":"TEMP-123456 blue ravens"}"#
    );
}

#[test]
fn chunks_make_no_difference_to_an_expression() {
    // It could match over a comma, and does not, wherever the text is cut.
    let config = own(r#"{ "pair": { "regex": "a+[, ]b+" } }"#);
    let text = b"aaa,bbb aaa bbb\naa b|aa,b";
    let whole = masked(&config, "text/plain", &[text]);
    assert_eq!(whole, "aaa,bbb [masked:pair]\n[masked:pair]|aa,b");
    for at in 0..text.len() {
        let (left, right) = text.split_at(at);
        assert_eq!(masked(&config, "text/plain", &[left, right]), whole, "{at}");
    }
}

#[test]
fn a_value_is_found_wherever_it_stands_in_long_text() {
    let config = own(r#"{ "long": { "regex": "x[0-9]{900}y" } }"#);
    let value = format!("x{}y", "7".repeat(900));
    for ahead in (0..20_000).step_by(977) {
        let text = format!("{}{value} end", " ".repeat(ahead));
        let out = masked(&config, "text/plain", &[text.as_bytes()]);
        assert_eq!(out.trim_start(), "[masked:long] end", "{ahead}");
    }
}

#[test]
fn an_expression_that_would_be_slow_elsewhere_is_not() {
    let config = own(r#"{ "slow": { "regex": "(a|aa)+$|(.*)b" } }"#);
    let text = "a".repeat(200_000) + "c";
    let out = masked(&config, "text/plain", &[text.as_bytes()]);
    assert!(out.ends_with('c'));
}

#[test]
fn a_config_whose_examples_fail_does_not_load() {
    assert_eq!(
        faults(
            r#"{ "employee": { "regex": "EMP-[0-9]{6}", "matches": ["EMP-123456", "EMP-12345"], "ignores": ["TEMP-123456"] },
                 "list": { "regex": "a, b", "matches": ["a, b"] },
                 "salary": { "path": "$.pay", "matches": ["{\"pay\":1}", "{\"wage\":1}", "pay: 1"] } }"#
        ),
        [
            "`detectors.employee.matches[1]`: finds nothing in `EMP-12345`",
            "`detectors.employee.ignores[0]`: finds something in `TEMP-123456`",
            "`detectors.list.matches[0]`: finds nothing in `a, b`; no value reaches over a line end, tab, comma, `<`, `>` or `|`",
            "`detectors.salary.matches[1]`: finds nothing in `{\"wage\":1}`",
            "`detectors.salary.matches[2]`: `pay: 1` is not read as JSON: the answer is not the JSON it claims to be, or beyond the limits, at byte 3",
        ]
        .join("\n")
    );
}

#[test]
fn what_cannot_be_a_detector_is_told_with_its_place() {
    assert_eq!(
        faults(
            r#"{ "Bad Name": { "regex": "a" }, "both": { "regex": "a", "words": ["abc"] }, "none": {},
                 "empty": { "regex": "a*" }, "short": { "words": ["ab"] }, "cut": { "words": ["a,bc"] },
                 "huge": { "regex": "(a{1000}){1000}" }, "open": { "regex": "(" } }"#
        ),
        [
            "`detectors.Bad Name`: `Bad Name` is not a data class: write words of lower-case letters and digits joined by `-` or `.`, at most 64 bytes",
            "`detectors.both`: needs exactly one of `regex`, `words` and `path`",
            "`detectors.cut`: the word `a,bc` holds a line end, tab, comma, `<`, `>` or `|`, over which no value is searched: write its parts",
            "`detectors.empty`: the regex `a*` matches an empty text, and so every text: ask for at least one character",
            "`detectors.huge`: not a regex: Compiled regex exceeds size limit of 1048576 bytes.",
            "`detectors.none`: needs exactly one of `regex`, `words` and `path`",
            "`detectors.open`: not a regex: unclosed group",
            "`detectors.short`: the word `ab` does not have 3 to 128 bytes",
        ]
        .join("\n")
    );
}

#[test]
fn a_longer_word_that_is_not_whole_hides_no_shorter_one() {
    let config = own(r#"{ "person": { "words": ["Ann", "Ann Lee", "Lee"] } }"#);
    assert_eq!(
        masked(
            &config,
            "text/plain",
            &[b"Ann Leeson, Ann Lee\nAnna Lee, joann"]
        ),
        "[masked:person] Leeson, [masked:person]\nAnna [masked:person], joann"
    );
}
