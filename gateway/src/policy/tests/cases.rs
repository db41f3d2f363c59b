//! Cases: what a file of them may say, and how differences are told.

use super::super::cases::{CaseError, CaseReport, parse};
use super::*;

const POLICIES: &str = r#"
@id("support") permit(principal in Group::"corp/support", action in Action::"payments/*", resource)
when { principal.claims has cost && principal.claims.cost == "cc-1" };
@id("wait") @approval("corp/leads") forbid(principal, action == Action::"payments/createRefund", resource)
when { context.input.body.amount > 100 || context.time > datetime("2030-01-01") };
@id("leads") permit(principal in Group::"corp/leads", action == Action::"approve", resource);
"#;

fn reports(cases: &str) -> Vec<CaseReport> {
    let mut vocabulary = vocabulary();
    let kind = crate::identity::ExposedType::String;
    vocabulary.claims.insert("cost".to_owned(), kind);
    let policies = load_with(POLICIES, &vocabulary).unwrap();
    let cases = parse("cases.yaml", cases).unwrap();
    cases.iter().map(|case| policies.run(case)).collect()
}

#[test]
fn cases_pass() {
    let reports = reports(
        r#"
- name: support refunds a little
  as: { issuer: corp, subject: bot, kind: workload, groups: [corp/support], claims: { cost: cc-1 } }
  call: payments/createRefund
  input: { body: { amount: 100, price: 12.5, tags: [a, b], extra: { any: thing }, currency: null } }
  expect: allow
  policies: [support]
  unmask: []
- name: more is asked for
  as: { issuer: corp, subject: bot, kind: workload, groups: [corp/support], claims: { cost: cc-1 } }
  call: payments/createRefund
  input: { body: { amount: 101 } }
  expect: ask
  rules: [wait]
- name: and goes on when it is opened
  as: { issuer: corp, subject: bot, groups: [corp/support], claims: { cost: cc-1 }, actors: [corp/me] }
  call: payments/createRefund
  input: { body: { amount: 101 } }
  opened: [wait]
  expect: allow
- name: time counts
  as: { issuer: corp, subject: bot, groups: [corp/support], claims: { cost: cc-1 } }
  call: payments/createRefund
  input: { body: { amount: 1 } }
  at: 2031-01-01T00:00:00Z
  expect: ask
- name: others may not
  as: { issuer: corp, subject: bot, groups: [corp/support], claims: { cost: cc-2 } }
  call: payments/listRefunds
  source: 10.0.0.1
  method: GET
  expect: deny
  policies: []
- name: leaders approve
  as: { issuer: corp, subject: lea, kind: human, groups: [corp/leads] }
  act: approve
  on: payments/createRefund
  rule: wait
  expect: allow
- name: and read no records
  as: { issuer: corp, subject: lea, kind: human, groups: [corp/leads] }
  act: audit.read
  expect: deny
"#,
    );
    for report in &reports {
        assert!(report.passed(), "{}: {:?}", report.name, report.differences);
    }
    assert_eq!(reports.len(), 7);
}

#[test]
fn differences_are_told() {
    let reports = reports(
        r#"
- name: wrong
  as: { issuer: corp, subject: bot, groups: [corp/support], claims: { cost: cc-1 } }
  call: payments/createRefund
  input: { body: { amount: 101 } }
  expect: allow
  policies: [support]
- { name: input, as: { issuer: corp, subject: b }, call: payments/createRefund, input: { body: { amuont: 1 } }, expect: deny }
- { name: missing, as: { issuer: corp, subject: b }, call: payments/createRefund, expect: deny }
- { name: type, as: { issuer: corp, subject: b }, call: payments/createRefund, input: { body: { amount: x } }, expect: deny }
- { name: function, as: { issuer: corp, subject: b }, call: payments/x, expect: deny }
- { name: claim, as: { issuer: corp, subject: b, claims: { dept: x } }, call: payments/x, expect: deny }
- { name: rule, as: { issuer: corp, subject: b }, call: payments/listRefunds, opened: [leads], expect: deny }
- { name: both, as: { issuer: corp, subject: b }, expect: deny }
- { name: act, as: { issuer: corp, subject: b }, act: fly, expect: deny }
- { name: time, as: { issuer: corp, subject: b }, call: payments/listRefunds, at: yesterday, expect: deny }
"#,
    );
    let told: Vec<String> = reports
        .iter()
        .map(|r| format!("{}: {}", r.name, r.differences.join("; ")))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_file_that_is_no_list_of_cases_is_refused() {
    for text in [
        "- name: x",
        "a: 1",
        "- { name: x, as: { issuer: a, subject: b }, call: c/d, expect: maybe }",
        "- { name: x, as: { issuer: a, subject: b }, call: c/d, expect: deny, expcet: deny }",
    ] {
        let error = parse("cases.yaml", text).unwrap_err();
        assert!(matches!(error, CaseError::Form { .. }), "{error}");
    }
    let large = "#".repeat(super::super::cases::FILE_BYTES_MAX + 1);
    assert!(matches!(parse("x", &large), Err(CaseError::TooLarge(_))));
}
