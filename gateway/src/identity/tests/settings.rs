//! Faults of the config.

use serde_json::{Value, json};

use crate::identity::{Config, Fault, check};

fn faults(issuers: Value) -> Vec<String> {
    let config: Config = serde_json::from_value(json!({ "issuers": issuers })).unwrap();
    check(&config, Some("https://console.example.com"))
        .into_iter()
        .map(|Fault { path, message, .. }| format!("{path}: {message}"))
        .collect()
}

fn one(extra: Value) -> Vec<String> {
    let base = json!({ "issuer": "https://idp.example.com", "audience": "https://gw.example.com" });
    faults(json!({ "corp": super::merge(base, extra) }))
}

#[test]
fn a_plain_issuer_has_no_faults() {
    assert_eq!(one(json!({})), Vec::<String>::new());
}

#[test]
fn faults_are_told_all_at_once() {
    let all = one(json!({
        "issuer": "http://idp.example.com", "audience": [], "skew_s": 301, "max_lifetime_s": 1,
        "groups": "/a//b", "token_types": [], "claims": { "ref": "refs/*" },
    }));
    assert_eq!(all.len(), 7, "{all:#?}");
}

#[test]
fn shared_issuers_need_a_condition_that_names_the_owner() {
    // CVE-2026-44428
    for issuer in [
        "https://token.actions.githubusercontent.com",
        "https://token.actions.githubusercontent.com/",
        "https://token.actions.githubusercontent.com/acme",
        "https://gitlab.com",
        "https://accounts.google.com",
        "https://login.microsoftonline.com/common/v2.0",
    ] {
        let bare = one(json!({ "issuer": issuer }));
        assert!(
            bare.iter()
                .any(|f| f.contains("signs tokens for everybody")),
            "{issuer}: {bare:?}"
        );
        let beside = one(json!({ "issuer": issuer, "claims": { "email_verified": true } }));
        assert_eq!(
            beside.len(),
            1,
            "a condition on something else does not count"
        );
    }
    let good = json!({ "repository_owner_id": "1" });
    let issuer = "https://token.actions.githubusercontent.com";
    assert!(one(json!({ "issuer": issuer, "claims": good })).is_empty());
}

#[test]
fn conditions_that_would_surprise_are_faults() {
    for claims in [
        json!({ "repository": "acme/*" }),
        json!({ "repository": ["x", "acme/*"] }),
        json!({ "repository": { "prefix": "acme" } }),
        json!({ "repository": { "prefix": "" } }),
        json!({ "repository": [] }),
        json!({ "/": "x" }),
    ] {
        assert_eq!(one(json!({ "claims": claims })).len(), 1, "{claims}");
    }
    assert_eq!(
        one(json!({ "kind": [{ "when": {}, "kind": "human" }] })).len(),
        1
    );
}

#[test]
fn planes_and_issuers_are_kept_apart() {
    assert_eq!(
        one(json!({ "audience": ["x", "https://console.example.com"] })).len(),
        1
    );
    assert_eq!(one(json!({ "audience": "https://*.example.com" })).len(), 1);
    let same = json!({ "issuer": "https://idp.example.com", "audience": "x" });
    assert_eq!(faults(json!({ "a": same, "b": same })).len(), 1);
    let typed = |kind: &str| json!({ "issuer": format!("https://{kind}.example"), "audience": "x", "expose": { "dept": kind } });
    assert_eq!(
        faults(json!({ "a": typed("string"), "b": typed("long") })).len(),
        1
    );
    for alias in ["Corp", "corp/x", "", "1a", "a b"] {
        assert_eq!(faults(json!({ alias: same })).len(), 1, "{alias}");
    }
}

#[test]
fn unknown_members_are_refused() {
    let parse =
        |issuer: Value| serde_json::from_value::<Config>(json!({ "issuers": { "corp": issuer } }));
    assert!(parse(json!({ "issuer": "x", "audience": "y", "audiance": "z" })).is_err());
    assert!(
        parse(json!({ "issuer": "x" })).is_err(),
        "audience is mandatory"
    );
    assert!(parse(json!({ "issuer": "x", "audience": "y", "algorithms": ["HS256"] })).is_err());
    assert!(parse(json!({ "issuer": "x", "audience": "y", "kind": "robot" })).is_err());
    let yaml = "issuers:\n  corp:\n    issuer: https://idp.example.com\n    audience: [a, b]\n    kind:\n      - when: { amr: [mfa, hwk] }\n        kind: human\n    claims:\n      ref: { prefix: refs/heads/ }\n      run: 7\n";
    let config: Config = serde_saphyr::from_str(yaml).unwrap();
    assert!(check(&config, None).is_empty());
}

#[test]
fn every_field_is_described_in_the_schema() {
    let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
    let properties = schema["$defs"]["IssuerConfig"]["properties"]
        .as_object()
        .unwrap();
    for (name, field) in properties {
        assert!(field["description"].is_string(), "{name}");
    }
}

#[test]
fn every_example_of_the_guide_has_no_faults() {
    let guide = include_str!("../../../../docs/guide/identity.md");
    let examples: Vec<&str> = guide
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(examples.len() >= 6, "{}", examples.len());
    for example in examples {
        let config: Config = serde_saphyr::from_str(example).expect(example);
        assert_eq!(check(&config, Some("https://console.example.com")), []);
    }
}
