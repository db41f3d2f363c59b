//! Pseudonyms, tokens and values that are left out, in each format: what stands there, both ways.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::super::vault::{Owner, Vault};
use super::super::super::{
    Config, DataClass, MarkerGuard, Masker, Needles, ResponseFacts, Restorer, Settings, Withheld,
};
use crate::clock::{ManualClock, Timestamp};

pub(super) fn vault() -> Arc<Vault> {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_700_000_000)));
    Arc::new(Vault::of(
        &[&b"0123456789abcdef0123456789abcdef"[..]],
        7,
        clock,
    ))
}

fn config(yaml: &str) -> Config {
    serde_saphyr::from_str(yaml).unwrap()
}

fn masker(yaml: &str, media_type: &str, subject: &str) -> Masker {
    let settings = Settings::compile(&config(yaml)).unwrap();
    let settings = Arc::new(settings.with_vault(Some(vault()), "crm"));
    let plan = settings.plan(&BTreeSet::new()).for_caller("corp", subject);
    let facts = ResponseFacts {
        status: 200,
        content_type: Some(media_type),
        ..ResponseFacts::default()
    };
    Masker::new(plan, Arc::new(Needles::none()), &facts).unwrap()
}

fn run(yaml: &str, media_type: &str, chunks: &[&[u8]]) -> Result<String, Withheld> {
    let mut masker = masker(yaml, media_type, "ann");
    let mut out = Vec::new();
    for chunk in chunks {
        masker.push(chunk, &mut out)?;
    }
    masker.finish(&mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

/// The answer, the same whichever way it is cut in two or into bytes.
fn masked(yaml: &str, media_type: &str, body: &str) -> String {
    let whole = run(yaml, media_type, &[body.as_bytes()]).unwrap();
    for at in 0..=body.len() {
        let (left, right) = body.as_bytes().split_at(at);
        let split = run(yaml, media_type, &[left, right]).unwrap();
        assert_eq!(split, whole, "{media_type} split at {at}");
    }
    let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
    assert_eq!(run(yaml, media_type, &bytes).unwrap(), whole);
    whole
}

fn back(media_type: &str, body: &str) -> String {
    let vault = vault();
    let owner = Owner {
        issuer: "corp",
        subject: "ann",
        connection: "mail",
    };
    let mut restorer = Restorer::new(Some(&vault), owner, &|_: &DataClass| true);
    let out = restorer.body(Some(media_type), body.as_bytes()).unwrap();
    String::from_utf8(out.unwrap()).unwrap()
}

const TOKENS: &str = r#"
detect: [contact]
instead: { email: token, payment-card: token, date-of-birth: token, salary: token }
fields: { "$..pay": salary, "$..born": date-of-birth, "$..all": salary }
"#;

#[test]
fn tokens_of_strings_numbers_and_dates_come_back_as_what_they_were() {
    let body = r#"{"mail":"bob@example.com","t":"to \u0062ob@example.com, 4111-1111-1111-1111","card":4111111111111111,"pay":81200.50,"born":"1980-02-29","none":{"pay":null}}"#;
    let out = masked_once(TOKENS, "application/json", body);
    for hidden in ["bob", "4111", "1200", "1980"] {
        assert!(!out.contains(hidden), "{hidden}: {out}");
    }
    let parsed: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(
        parsed["card"]
            .as_str()
            .unwrap()
            .starts_with("cgtok~payment-card~")
    );
    assert!(parsed["none"]["pay"].is_null());
    let again: serde_json::Value = serde_json::from_str(&back("application/json", &out)).unwrap();
    assert_eq!(
        again,
        serde_json::from_str::<serde_json::Value>(body).unwrap()
    );
    // What is not held whole has no token.
    let whole = masked(TOKENS, "application/json", r#"{"all":{"a":1},"b":[1]}"#);
    assert_eq!(whole, r#"{"all":"[masked:salary]","b":[1]}"#);
}

/// Dates have another token each time, so two runs differ.
fn masked_once(yaml: &str, media_type: &str, body: &str) -> String {
    run(yaml, media_type, &[body.as_bytes()]).unwrap()
}

#[test]
fn the_same_value_has_the_same_token_so_that_rows_can_be_joined_but_few_values_have_not() {
    let body = r#"[{"mail":"bob@example.com","born":"1980-02-29"},{"mail":"bob@example.com","born":"1980-02-29"}]"#;
    let out = masked_once(TOKENS, "application/json", body);
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(rows[0]["mail"], rows[1]["mail"]);
    assert_ne!(rows[0]["born"], rows[1]["born"]);
}

#[test]
fn tokens_stand_in_text_forms_tables_and_headers_and_come_back() {
    let yaml = "detect: [contact]\ninstead: { email: token }\nfields: {}\n";
    let text = masked(yaml, "text/plain", "write to bob@example.com now\n");
    assert!(!text.contains("bob"), "{text}");
    assert_eq!(back("text/plain", &text), "write to bob@example.com now\n");
    let form = masked(
        yaml,
        "application/x-www-form-urlencoded",
        "a=1&to=bob%40example.com",
    );
    assert!(!form.contains("bob"), "{form}");
    assert_eq!(
        back("application/x-www-form-urlencoded", &form),
        "a=1&to=bob%40example.com"
    );
    let fields = "instead: { nick: token }\nfields: { \"$.name\": nick }\n";
    let table = masked(fields, "text/csv", "id,name\n1,\"O\"\"Neil\"\n2,\n");
    assert!(table.starts_with("id,name\n1,cgtok~nick~") && table.ends_with("\n2,\n"));
    let mut masker = masker(yaml, "text/plain", "ann");
    let header = masker.header_value("x-owner", b"bob@example.com").unwrap();
    assert!(header.unwrap().starts_with(b"cgtok~email~"));
}

#[test]
fn another_caller_gets_other_tokens_and_pseudonyms() {
    for yaml in [
        "detect: [contact]\ninstead: { email: token }\n",
        "detect: [contact]\ninstead: { email: pseudonym }\n",
    ] {
        let of = |subject| {
            let mut masker = masker(yaml, "text/plain", subject);
            let mut out = Vec::new();
            masker.push(b"bob@example.com\n", &mut out).unwrap();
            masker.finish(&mut out).unwrap();
            out
        };
        assert_eq!(of("ann"), of("ann"));
        assert_ne!(of("ann"), of("eve"));
    }
}

#[test]
fn a_pseudonym_tells_equal_values_and_is_known_when_it_comes_back() {
    let yaml = "detect: [contact]\ninstead: { email: pseudonym, payment-card: pseudonym }\n";
    let body = r#"{"a":"bob@example.com","b":"Bob@example.com","c":"eve@example.com","d":4111111111111111,"e":"4111 1111 1111 1111"}"#;
    let out = masked(yaml, "application/json", body);
    let parsed: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(parsed["a"], parsed["b"]);
    assert_ne!(parsed["a"], parsed["c"]);
    assert_eq!(parsed["d"], parsed["e"]);
    assert!(
        parsed["a"]
            .as_str()
            .unwrap()
            .starts_with("[masked:email:p-")
    );
    assert!(MarkerGuard::contains_marker(out.as_bytes()));
    assert_eq!(masked(yaml, "application/json", &out), out);
}

#[test]
fn without_a_caller_or_keys_markers_stand_in_place_of_tokens() {
    let settings = Arc::new(Settings::compile(&config(TOKENS)).unwrap());
    let facts = ResponseFacts {
        status: 200,
        content_type: Some("text/plain"),
        ..ResponseFacts::default()
    };
    for plan in [
        settings.plan(&BTreeSet::new()),
        settings.plan(&BTreeSet::new()).for_caller("corp", "ann"),
    ] {
        let mut masker = Masker::new(plan, Arc::new(Needles::none()), &facts).unwrap();
        let mut out = Vec::new();
        masker.push(b"bob@example.com\n", &mut out).unwrap();
        masker.finish(&mut out).unwrap();
        assert_eq!(out, b"[masked:email]\n");
    }
    assert!(settings.needs_keys());
    assert!(!Settings::compile(&Config::default()).unwrap().needs_keys());
}

const DROPS: &str = r#"
fields:
  "$..ssn": { class: us-ssn, instead: drop }
  "$.list[1]": { class: item, instead: drop }
  "$..name": name
"#;

#[test]
fn a_dropped_member_or_item_leaves_well_formed_json() {
    for (body, expected) in [
        (r#"{"ssn":"1","a":1}"#, r#"{"a":1}"#),
        (r#"{"a":1, "ssn":{"b":[1,2]}}"#, r#"{"a":1}"#),
        (r#"{"a":{"SSN":null},"s\u0073n":[]}"#, r#"{"a":{}}"#),
        (
            r#"{"list":[1,2,3],"name":"x"}"#,
            r#"{"list":[1,3],"name":"[masked:name]"}"#,
        ),
        (
            r#"{"list":[1,{"ssn":1}],"z":[{"ssn":1},{"ssn":2}]}"#,
            r#"{"list":[1],"z":[{},{}]}"#,
        ),
        // The index behind a member that was left out is counted as the function wrote it.
        (r#"{"list":[{"ssn":1},2,3]}"#, r#"{"list":[{},3]}"#),
    ] {
        assert_eq!(masked(DROPS, "application/json", body), expected, "{body}");
    }
    assert_eq!(
        masked(
            DROPS,
            "application/x-ndjson",
            "{\"ssn\":1}\n{\"a\":1,\"ssn\":2}\n"
        ),
        "{}\n{\"a\":1}\n"
    );
    assert_eq!(
        masked(DROPS, "text/event-stream", "data: {\"a\":1,\"ssn\":2}\n\n"),
        "data: {\"a\":1}\n\n"
    );
    let whole = "fields: { \"$\": { class: x, instead: drop } }\n";
    assert_eq!(
        masked(whole, "application/json", r#"{"a":1}"#),
        r#""[masked:x]""#
    );
}

const NAMED: &str = r#"
fields:
  "$..ssn": { class: us-ssn, instead: drop }
  "$..name": name
"#;

#[test]
fn a_dropped_cell_element_attribute_or_field_leaves_the_format_whole() {
    assert_eq!(
        masked(NAMED, "text/csv", "id,ssn,name\n1,\"a,\"\"b\",x\n2,,y\n"),
        "id,ssn,name\n1,,[masked:name]\n2,,[masked:name]\n"
    );
    assert_eq!(
        masked(NAMED, "text/csv", "ssn\n12\n34\n"),
        "ssn\n\"\"\n\"\"\n"
    );
    assert_eq!(
        masked(
            NAMED,
            "application/xml",
            "<p ssn=\"1\" id='2'><ssn><x>1</x></ssn><a><ssn/></a><name>n</name></p>"
        ),
        "<p id='2'><a></a><name>[masked:name]</name></p>"
    );
    assert_eq!(
        masked(NAMED, "application/xml", "<ssn>1</ssn>"),
        "<ssn>[masked:us-ssn]</ssn>"
    );
    assert_eq!(
        masked(
            NAMED,
            "application/x-www-form-urlencoded",
            "ssn=1&a=2&ssn=3&b&ssn"
        ),
        "a=2&b&"
    );
}

#[test]
fn a_rule_says_for_itself_what_stands_there() {
    let yaml = r#"
detect: [contact]
instead: { email: partial }
fields:
  "$.a": { class: email, instead: redact }
  "$.b": { class: email, instead: fixed }
  "$.c": { class: email }
  "$.d": { class: email, instead: block }
"#;
    let body = r#"{"a":"bob@example.com","b":"bob@example.com","c":"bob@example.com","e":"bob@example.com"}"#;
    assert_eq!(
        masked(yaml, "application/json", body),
        r#"{"a":"[masked:email]","b":"********","c":"[masked:email:example.com]","e":"[masked:email:example.com]"}"#
    );
    let withheld = run(yaml, "application/json", &[br#"{"d":"x"}"#]).unwrap_err();
    assert_eq!(withheld.code(), "blocked-class");
}

#[test]
fn what_would_tell_few_values_or_has_no_place_is_refused_when_the_config_is_read() {
    let faults = |yaml: &str| -> Vec<String> {
        let faults = Settings::compile(&config(yaml)).unwrap_err();
        faults.iter().map(ToString::to_string).collect()
    };
    let few = faults("detect: [contact]\ninstead: { contact: pseudonym }\n");
    assert_eq!(
        few,
        [
            "`instead.contact`: `postal-code` has so few values that whoever sees enough pseudonyms learns which is which: write `redact`, or `token`, which is different each time"
        ]
    );
    let named = faults("fields: { \"$.age\": { class: person.age, instead: pseudonym } }\n");
    assert!(named[0].starts_with("`fields.\"$.age\"`: `person.age` has so few values"));
    let drop = faults("detect: [contact]\ninstead: { email: drop }\n");
    assert!(
        drop[0].starts_with("`instead.email`: `drop` is for places"),
        "{drop:?}"
    );
    let fine = "detect: [contact]\ninstead: { contact: pseudonym, postal-code: redact }\n";
    assert!(Settings::compile(&config(fine)).is_ok());
}
