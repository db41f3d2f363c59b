//! What does not load, and what the operator reads about it.

use super::*;

#[test]
fn a_misspelt_member_is_named_with_its_place() {
    let text = "@id(\"a\")\npermit(principal, action == Action::\"payments/createRefund\", resource)\n\
                when { context.input.body.amuont > 1 };";
    let faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].starts_with("test.cedar:3:8: policy `a`: attribute"),
        "{faults:?}"
    );
    assert!(
        faults[0].contains("amuont") && faults[0].contains("did you mean"),
        "{faults:?}"
    );
}

#[test]
fn a_policy_that_does_not_parse_is_named_with_its_place() {
    let faults = faults("@id(\"a\")\npermit(principal, action, resource)\nwhen context.x };");
    assert!(faults[0].starts_with("test.cedar:3:6: "), "{faults:?}");
}

#[test]
fn approval_on_a_permit_is_refused() {
    let faults =
        faults("@id(\"a\") @approval(\"corp/leads\")\npermit(principal, action, resource);");
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains("`@approval` on a permit"), "{faults:?}");
}

// P22
#[test]
fn a_group_of_no_issuer_is_refused() {
    for text in [
        r#"@id("a") permit(principal in Group::"copr/leads", action, resource);"#,
        r#"@id("a") @approval("corp/x or copr/leads") forbid(principal, action in Action::"call", resource);"#,
        r#"@id("a") permit(principal, action, resource) when { principal in Group::"leads" };"#,
        r#"@id("a") permit(principal == Caller::"copr/leads", action, resource);"#,
    ] {
        let faults = faults(text);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0].contains("leads`") && faults[0].contains("issuers: ci, corp"),
            "{faults:?}"
        );
    }
}

// T14
#[test]
fn one_mistake_over_300_functions_is_one_fault() {
    let mut vocabulary = vocabulary();
    for index in 0..300 {
        vocabulary.functions.push(function(
            &format!("crm/f{index}"),
            Effect::Read,
            Default::default(),
        ));
    }
    let text = r#"@id("a") permit(principal, action in Action::"crm/*", resource) when { context.input.body.x == 1 };"#;
    let faults = load_with(text, &vocabulary).unwrap_err();
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(
        faults[0].contains("the same for 301 functions, such as `crm/f0` and `crm/f1`"),
        "{faults:?}"
    );
}
