//! Policies that are watched and not enforced.

use crate::clock::Timestamp;

use super::super::{Decision, PolicyDiff, Shadow, ShadowStands};
use super::{ask, faults, load, refund, support};

const OPEN: &str = r#"@id("open") permit(principal, action in Action::"call", resource);"#;

fn forbid(shadow: &str) -> String {
    format!(r#"{OPEN} @id("wall") {shadow} forbid(principal, action in Action::"call", resource);"#)
}

#[test]
fn a_date_that_is_none_is_told_with_the_form() {
    for bad in [
        "2026-12-31",
        "until",
        "until 2026-13-01",
        "until 31.12.2026",
        "until 2026-02-30",
    ] {
        let found = faults(&forbid(&format!("@shadow(\"{bad}\")")));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains(&format!("policy `wall`: `@shadow` is `{bad}`")),
            "{found:?}"
        );
        assert!(
            found[0].contains("@shadow(\"until 2026-12-31\")"),
            "{found:?}"
        );
    }
}

#[test]
fn a_shadow_about_what_is_no_call_does_not_load() {
    for action in ["unmask", "approve", "audit.read"] {
        let text = format!(
            r#"@id("p") @shadow("until 2026-12-31") permit(principal, action == Action::"{action}", resource);"#
        );
        let found = faults(&text);
        let told =
            format!("policy `p`: `@shadow` on a policy about `{action}`, which is never watched");
        assert!(found.iter().any(|fault| fault.contains(&told)), "{found:?}");
    }
}

#[test]
fn a_shadow_is_not_enforced_before_or_after_its_last_day() {
    // The calls of these tests come on 2025-11-24.
    for until in [
        "2999-01-01",
        "2025-11-25",
        "2025-11-24",
        "2025-11-23",
        "1990-01-01",
    ] {
        let policies = load(&forbid(&format!("@shadow(\"until {until}\")"))).unwrap();
        let decision = ask(&policies, &support(), "payments/createRefund", &refund(1));
        assert!(
            matches!(decision, Decision::Allow(_)),
            "{until}: {decision:?}"
        );
    }
}

#[test]
fn a_shadow_is_watched_to_the_end_of_its_last_day() {
    let policies = load(&forbid("@shadow(\"until 2026-12-31\")")).unwrap();
    let stands = |secs: u64| {
        let found: Vec<Shadow<'_>> = policies.shadows(Timestamp::from_secs(secs)).collect();
        (found[0].stands, found[0].to_string())
    };
    // 2026-12-31T23:59:59Z, and the second after.
    let (before, told) = stands(1_798_761_599);
    assert_eq!(before, ShadowStands::Watched);
    assert_eq!(
        told,
        "test.cedar:1:68: policy `wall` is a shadow until 2026-12-31: watched, not enforced"
    );
    let (after, told) = stands(1_798_761_600);
    assert_eq!(after, ShadowStands::Over);
    assert!(
        told.contains("it is neither enforced nor watched; remove `@shadow` to enforce it"),
        "{told}"
    );
    assert_eq!(stands(1_700_000_000).0, ShadowStands::TooLong);
}

#[test]
fn a_wall_that_becomes_a_shadow_needs_accept_removal_and_a_shadow_that_goes_does_not() {
    let (wall, shadow) = (
        load(&forbid("")).unwrap(),
        load(&forbid("@shadow(\"until 2026-12-31\")")).unwrap(),
    );
    let open = load(OPEN).unwrap();
    let ids = |diff: &PolicyDiff| {
        diff.takes_away()
            .iter()
            .map(|rule| rule.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&PolicyDiff::between(&wall, &shadow)), ["wall"]);
    assert!(ids(&PolicyDiff::between(&shadow, &open)).is_empty());
    assert!(ids(&PolicyDiff::between(&shadow, &wall)).is_empty());
}
