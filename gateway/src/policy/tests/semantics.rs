//! What follows from what matched (design 5).

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::{Denial, DenialReason, RuleHash, Terms};
use super::*;

const PERMIT: &str = r#"
@id("support-refunds")
permit(principal in Group::"corp/support", action in Action::"payments/*", resource);
"#;
const RULE: &str = r#"
@id("large-refunds")
@approval("corp/leads and corp/risk or corp/admins")
@quorum("2")
@decide_within("30m")
@reason("more than 100")
forbid(principal, action == Action::"payments/createRefund", resource)
when { context.input.body.amount > 100 };
"#;
const WALL: &str = r#"
@id("never-eur")
forbid(principal, action == Action::"payments/createRefund", resource)
when { context.input.body has currency && context.input.body.currency == "EUR" };
"#;
/// Errs for every amount above zero: the sum leaves int64.
const ERRING_FORBID: &str = r#"
@id("errs")
forbid(principal, action == Action::"payments/createRefund", resource)
when { context.input.body.amount + 9223372036854775807 < 0 };
"#;

fn policies(texts: &[&str]) -> Policies {
    load(&texts.concat()).unwrap()
}

fn denied(decision: Decision) -> Denial {
    match decision {
        Decision::Deny(denial) => denial,
        other @ (Decision::Allow(_) | Decision::Ask(_)) => panic!("not denied: {other:?}"),
    }
}

fn asked(decision: Decision) -> Terms {
    match decision {
        Decision::Ask(terms) => terms,
        other @ (Decision::Allow(_) | Decision::Deny(_)) => panic!("not asked: {other:?}"),
    }
}

fn allowed(decision: Decision) -> Vec<String> {
    match decision {
        Decision::Allow(obligations) => obligations.policies().to_vec(),
        other @ (Decision::Deny(_) | Decision::Ask(_)) => panic!("not allowed: {other:?}"),
    }
}

fn opened(policies: &Policies, ids: &[&str]) -> BTreeSet<RuleHash> {
    let named = |rule: &&super::super::Rule| ids.contains(&rule.id.as_str());
    policies
        .rules()
        .iter()
        .filter(named)
        .map(|r| r.hash)
        .collect()
}

#[test]
fn nothing_is_allowed_without_a_permit() {
    let denial = denied(ask(
        &policies(&[]),
        &support(),
        "payments/createRefund",
        &refund(1),
    ));
    assert_eq!(denial.reason, DenialReason::NoPermit);
    assert_eq!(denial.policies, [""; 0]);
}

#[test]
fn a_permit_allows_and_is_named() {
    let policies = policies(&[PERMIT, RULE, WALL]);
    let ids = allowed(ask(
        &policies,
        &support(),
        "payments/createRefund",
        &refund(100),
    ));
    assert_eq!(ids, ["support-refunds"]);
}

#[test]
fn a_permit_for_another_group_does_not_allow() {
    let other = someone("x", Kind::Human, &["corp/sales", "ci/support"]);
    let denial = denied(ask(
        &policies(&[PERMIT]),
        &other,
        "payments/createRefund",
        &refund(1),
    ));
    assert_eq!(denial.reason, DenialReason::NoPermit);
}

#[test]
fn a_forbid_wins_over_every_permit() {
    let input = body(&[
        ("amount", Value::Long(1)),
        ("currency", Value::String("EUR".to_owned())),
    ]);
    let policies = policies(&[PERMIT, WALL, RULE]);
    let denial = denied(ask(&policies, &support(), "payments/createRefund", &input));
    assert_eq!(denial.reason, DenialReason::Forbidden);
    assert_eq!(denial.policies, ["never-eur"]);
}

#[test]
fn an_approval_rule_asks_with_its_terms() {
    let policies = policies(&[PERMIT, RULE]);
    let terms = asked(ask(
        &policies,
        &support(),
        "payments/createRefund",
        &refund(101),
    ));
    let [rule] = terms.rules.as_slice() else {
        panic!("one rule: {terms:?}");
    };
    assert_eq!(rule.id, "large-refunds");
    assert_eq!(rule.hash, policies.rules()[1].hash);
    let legs: Vec<Vec<&str>> = rule
        .who
        .any_of
        .iter()
        .map(|leg| leg.iter().map(String::as_str).collect())
        .collect();
    assert_eq!(legs, [vec!["corp/leads", "corp/risk"], vec!["corp/admins"]]);
    assert_eq!(
        (rule.quorum, rule.decide_within),
        (2, Duration::from_secs(1800))
    );
    assert_eq!(rule.reason.as_deref(), Some("more than 100"));
}

#[test]
fn an_approval_rule_without_a_permit_behind_it_denies() {
    let denial = denied(ask(
        &policies(&[RULE]),
        &support(),
        "payments/createRefund",
        &refund(101),
    ));
    assert_eq!(denial.reason, DenialReason::NoPermit);
}

#[test]
fn a_wall_beside_an_approval_rule_denies() {
    let input = body(&[
        ("amount", Value::Long(101)),
        ("currency", Value::String("EUR".to_owned())),
    ]);
    let policies = policies(&[PERMIT, RULE, WALL]);
    let opened = opened(&policies, &["large-refunds", "never-eur"]);
    for opened in [BTreeSet::new(), opened] {
        let decision = ask_opened(
            &policies,
            &support(),
            "payments/createRefund",
            &input,
            &opened,
        );
        let denial = denied(decision);
        assert_eq!(
            (denial.reason, denial.policies),
            (DenialReason::Forbidden, vec!["never-eur".to_owned()])
        );
    }
}

#[test]
fn an_opened_rule_lets_the_call_pass() {
    let policies = policies(&[PERMIT, RULE]);
    let opened = opened(&policies, &["large-refunds"]);
    let decision = ask_opened(
        &policies,
        &support(),
        "payments/createRefund",
        &refund(101),
        &opened,
    );
    assert_eq!(allowed(decision), ["support-refunds"]);
}

#[test]
fn every_matched_rule_must_be_opened() {
    let second = RULE
        .replace("large-refunds", "all-refunds")
        .replace("> 100", "> 0");
    let policies = policies(&[PERMIT, RULE, &second]);
    let opened = opened(&policies, &["large-refunds"]);
    let decision = ask_opened(
        &policies,
        &support(),
        "payments/createRefund",
        &refund(101),
        &opened,
    );
    let ids: Vec<String> = asked(decision)
        .rules
        .into_iter()
        .map(|rule| rule.id)
        .collect();
    assert_eq!(ids, ["all-refunds"]);
}

#[test]
fn an_erring_forbid_denies() {
    let policies = policies(&[PERMIT, ERRING_FORBID]);
    let denial = denied(ask(
        &policies,
        &support(),
        "payments/createRefund",
        &refund(1),
    ));
    assert_eq!(denial.policies, ["errs"]);
    let DenialReason::Error(text) = denial.reason else {
        panic!("{denial:?}");
    };
    assert_eq!(
        text,
        "policy `errs` could not be evaluated: a calculation leaves the 64-bit range"
    );
    allowed(ask(
        &policies,
        &support(),
        "payments/createRefund",
        &refund(0),
    ));
}

#[test]
fn an_erring_permit_beside_a_good_one_denies() {
    let erring = ERRING_FORBID.replace("forbid", "permit");
    let denial = denied(ask(
        &policies(&[PERMIT, &erring]),
        &support(),
        "payments/createRefund",
        &refund(1),
    ));
    assert!(
        matches!(denial.reason, DenialReason::Error(_)),
        "{denial:?}"
    );
}

#[test]
fn an_error_is_never_opened_by_people() {
    let erring = ERRING_FORBID.replace("forbid", "@approval(\"corp/leads\") forbid");
    let policies = policies(&[PERMIT, RULE, &erring]);
    let opened = opened(&policies, &["errs", "large-refunds"]);
    for opened in [BTreeSet::new(), opened] {
        let decision = ask_opened(
            &policies,
            &support(),
            "payments/createRefund",
            &refund(101),
            &opened,
        );
        assert!(matches!(denied(decision).reason, DenialReason::Error(_)));
    }
}

#[test]
fn no_permit_bypasses_an_approval_rule() {
    let broad = r#"
        @id("everything") permit(principal, action, resource);
        @id("exactly-this") permit(principal == Caller::"corp/support-bot",
            action == Action::"payments/createRefund", resource == Connection::"payments")
        when { context.input.body.amount == 101 };
    "#;
    let policies = policies(&[broad, PERMIT, RULE]);
    assert_eq!(
        asked(ask(
            &policies,
            &support(),
            "payments/createRefund",
            &refund(101)
        ))
        .rules
        .len(),
        1
    );
}

#[test]
fn a_changed_rule_is_not_opened_by_votes_on_the_old_one() {
    let before = policies(&[PERMIT, RULE]);
    let votes = opened(&before, &["large-refunds"]);
    for changed in [
        RULE.replace("> 100", "> 50"),
        RULE.replace("\"2\"", "\"1\""),
        RULE.replace("corp/admins", "corp/ops"),
    ] {
        let after = policies(&[PERMIT, &changed]);
        asked(ask_opened(
            &after,
            &support(),
            "payments/createRefund",
            &refund(101),
            &votes,
        ));
    }
    let layout = RULE.replace(" > 100", "\n  // the limit\n  > 100");
    let after = policies(&[&layout, PERMIT]);
    allowed(ask_opened(
        &after,
        &support(),
        "payments/createRefund",
        &refund(101),
        &votes,
    ));
}

#[test]
fn a_function_of_another_snapshot_is_denied() {
    let mut other = vocabulary();
    other.functions.remove(0);
    let policies = load_with(PERMIT, &other).unwrap();
    let denial = denied(ask(
        &policies,
        &support(),
        "payments/createRefund",
        &refund(1),
    ));
    assert!(
        matches!(denial.reason, DenialReason::Error(_)),
        "{denial:?}"
    );
}

#[test]
fn effect_labels_time_source_and_kind_can_be_judged() {
    let policies = policies(&[
        r#"@id("reads") permit(principal, action in Action::"read", resource);"#,
        r#"@id("prod") forbid(principal, action in Action::"call", resource) when {
            resource.labels has env && resource.labels.env == "prod" && principal.kind == "agent" };"#,
        r#"@id("office") forbid(principal, action in Action::"crm/*", resource)
           unless { context.source.isInRange(ip("10.0.0.0/8")) && context.tls
             && context.time < datetime("2030-01-01") && context.protocol == "h2" && context.method == "POST" };"#,
    ]);
    let agent = someone("a", Kind::Agent, &[]);
    let nothing = Input::default();
    allowed(ask(&policies, &agent, "crm/findPerson", &nothing));
    allowed(ask(&policies, &support(), "payments/listRefunds", &nothing));
    assert_eq!(
        denied(ask(&policies, &agent, "payments/listRefunds", &nothing)).policies,
        ["prod"]
    );
    denied(ask(
        &policies,
        &support(),
        "payments/removeRefund",
        &nothing,
    ));
}
