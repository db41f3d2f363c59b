//! Rights on data classes that are asked about a request: values of tokens, and parameters with a class.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Someone, facts, load_with, support, vocabulary};
use crate::call::input::Value;
use crate::call::{Function, Input, Shape};
use crate::mask::DataClass;
use crate::policy::{Decision, Request, Vocabulary};

fn class(name: &str) -> DataClass {
    name.parse().unwrap()
}

/// `crm/findPerson` can be searched by `query.mail`, which is an `email`.
fn classed() -> Vocabulary {
    let mut vocabulary = vocabulary();
    vocabulary.classes = vec![class("email"), class("payment-card")];
    let query = super::record([
        ("mail", Shape::String, false),
        ("limit", Shape::Long, false),
    ]);
    let input = super::record([("query", Shape::Record(query), false)]);
    let place = vocabulary
        .functions
        .iter()
        .position(|function| function.id.to_string() == "crm/findPerson")
        .unwrap();
    vocabulary.functions[place] = Arc::new(Function {
        classes: vec![("query.mail".to_owned(), class("email"))],
        ..Function::new(
            "crm/findPerson".parse().unwrap(),
            crate::call::Effect::Read,
            input,
        )
    });
    vocabulary
}

fn may(text: &str, who: &Someone, function: &str, name: &str) -> bool {
    let policies = load_with(text, &classed()).unwrap();
    policies.may_detokenise(
        &who.view(),
        &function.parse().unwrap(),
        &facts(),
        &class(name),
    )
}

#[test]
fn a_function_gets_the_values_of_tokens_only_where_a_permit_says_so() {
    let text = r#"@id("d") permit(principal in Group::"corp/support", action == Action::"detokenise",
        resource == DataClass::"email") when { context.function in Connection::"crm" };"#;
    assert!(may(text, &support(), "crm/findPerson", "email"));
    let elsewhere = text.replace("corp/support", "corp/leads");
    assert!(!may(&elsewhere, &support(), "crm/findPerson", "email"));
    assert!(!may(text, &support(), "payments/listRefunds", "email"));
    assert!(!may(text, &support(), "crm/findPerson", "payment-card"));
    assert!(!may(text, &support(), "crm/noSuch", "email"));
    assert!(!may(text, &support(), "crm/findPerson", "phone"));
    let unmask = r#"@id("u") permit(principal, action == Action::"unmask", resource);"#;
    assert!(!may(unmask, &support(), "crm/findPerson", "email"));
    let group = r#"@id("g") permit(principal, action == Action::"detokenise", resource in DataClass::"contact");"#;
    assert!(may(group, &support(), "crm/findPerson", "email"));
    assert!(!may(group, &support(), "crm/findPerson", "payment-card"));
}

#[test]
fn an_unopened_approval_rule_a_forbid_or_an_error_gives_no_value() {
    let permit = r#"@id("d") permit(principal, action == Action::"detokenise", resource);"#;
    for more in [
        r#"@id("a") @approval("corp/leads") forbid(principal, action == Action::"detokenise", resource);"#,
        r#"@id("f") forbid(principal, action == Action::"detokenise", resource == DataClass::"email");"#,
        r#"@id("e") forbid(principal, action == Action::"detokenise", resource)
            when { 9223372036854775807 + 1 > 0 };"#,
    ] {
        assert!(may(permit, &support(), "crm/findPerson", "email"));
        let text = [permit, more].concat();
        assert!(!may(&text, &support(), "crm/findPerson", "email"), "{more}");
    }
}

fn decided(text: &str, members: &[(&str, Value)]) -> Decision {
    let calls = r#"@id("calls") permit(principal, action in Action::"call", resource);"#;
    let vocabulary = classed();
    let policies = load_with(&[calls, text].concat(), &vocabulary).unwrap();
    let function = vocabulary
        .functions
        .iter()
        .find(|function| function.id.to_string() == "crm/findPerson")
        .unwrap();
    let query: BTreeMap<String, Value> = members
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let input = Input {
        members: [("query".to_owned(), Value::Record(query))].into(),
    };
    let who = support();
    let request = Request {
        subject: who.view(),
        function,
        input: &input,
        facts: &facts(),
    };
    policies.decide(&request, &std::collections::BTreeSet::new())
}

#[test]
fn whoever_may_not_see_a_class_may_not_filter_by_it() {
    let mail = ("mail", Value::String("bob@example.com".to_owned()));
    let limit = ("limit", Value::Long(3));
    let both = [mail.clone(), limit.clone()];
    assert!(matches!(decided("", &[limit]), Decision::Allow(_)));
    assert!(matches!(decided("", &both), Decision::Deny(_)));
    let see = r#"@id("see") permit(principal in Group::"corp/support", action == Action::"unmask",
        resource == DataClass::"email");"#;
    assert!(matches!(decided(see, &both), Decision::Allow(_)));
    let other = see.replace("\"email\"", "\"payment-card\"");
    assert!(matches!(decided(&other, &both), Decision::Deny(_)));
    // People are not asked about a call that would be refused anyway.
    let asks = r#"@id("ask") @approval("corp/leads") forbid(principal, action == Action::"crm/findPerson", resource);"#;
    assert!(matches!(
        decided(asks, std::slice::from_ref(&mail)),
        Decision::Deny(_)
    ));
    let both = [see, asks].concat();
    assert!(matches!(decided(&both, &[mail]), Decision::Ask(_)));
}
