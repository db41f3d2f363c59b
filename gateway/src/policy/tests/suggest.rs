//! Suggested permits are as narrow as what was seen, whatever the order.

use serde_json::json;

use super::super::{NotTaken, SeenCalls};
use super::load;

fn seen(calls: &[(&str, &str, &[&str], &str)]) -> SeenCalls {
    let mut seen = SeenCalls::default();
    for (subject, kind, groups, function) in calls {
        let principal =
            json!({ "issuer": "corp", "subject": subject, "kind": kind, "groups": groups });
        seen.add(&principal, &function.parse().unwrap()).unwrap();
    }
    seen
}

const CREATE: &str = "payments/createRefund";
const LIST: &str = "payments/listRefunds";
const FIND: &str = "crm/findPerson";

#[test]
fn a_group_is_named_only_where_most_of_those_seen_in_it_called_the_function() {
    let calls = [
        ("ann", "human", &["corp/support", "corp/all"][..], FIND),
        ("bob", "human", &["corp/support", "corp/all"], FIND),
        ("ann", "human", &["corp/support", "corp/all"], LIST),
        ("bob", "human", &["corp/support", "corp/all"], LIST),
        ("cron", "workload", &["corp/all"], LIST),
        ("cron", "workload", &["corp/all"], CREATE),
        ("dev", "agent", &["corp/all"], CREATE),
        ("eve", "workload", &["corp/all"], "payments/removeRefund"),
        ("fay", "workload", &["corp/all"], "payments/removeRefund"),
    ];
    let suggested = seen(&calls).policies();
    // It loads, whatever it says.
    assert_eq!(
        load(&suggested.text).unwrap().rules().len(),
        suggested.permits
    );
    let blocks: Vec<&str> = suggested.text.split("\n// ").skip(1).collect();
    let of = |function: &str| {
        let of = blocks
            .iter()
            .filter(|block| block.contains(&format!("\"{function}\"")));
        of.map(|block| block.lines().nth(3).unwrap().trim())
            .collect::<Vec<_>>()
    };
    // Support did, and most of `all` did not.
    assert_eq!(of(FIND), [r#"principal in Group::"corp/support","#]);
    // Three of six in `all` did: more of them than of support.
    assert_eq!(of(LIST), [r#"principal in Group::"corp/all","#]);
    // Two of six: each by name.
    assert_eq!(
        of(CREATE),
        [
            r#"principal == Caller::"corp/cron","#,
            r#"principal == Caller::"corp/dev","#
        ]
    );
    assert!(
        suggested
            .text
            .contains(r#"when { principal.kind == "human" };"#),
        "{}",
        suggested.text
    );
    let mut other = calls;
    other.reverse();
    assert_eq!(seen(&other).policies(), suggested);
}

#[test]
fn names_of_callers_cannot_leave_their_quotes() {
    let name = "x\"); permit(principal, action, resource); //\\";
    let suggested = seen(&[(name, "human", &[], FIND)]).policies();
    let policies = load(&suggested.text).unwrap();
    assert_eq!(policies.rules().len(), 1, "{}", suggested.text);
    let mut seen = SeenCalls::default();
    let broken = seen.add(&json!({ "issuer": "corp" }), &FIND.parse().unwrap());
    assert_eq!(broken, Err(NotTaken::Principal));
}
