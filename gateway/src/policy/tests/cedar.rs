//! What Cedar itself would let through.

use super::*;

// T12
#[test]
fn cedars_escapes_in_a_body_are_plain_data() {
    let shape = Shape::Record(record([
        (
            "__entity",
            Shape::Record(record([
                ("type", Shape::String, true),
                ("id", Shape::String, true),
            ])),
            false,
        ),
        ("__extn", Shape::String, false),
        ("__expr", Shape::String, false),
    ]));
    let mut vocabulary = vocabulary();
    vocabulary.functions[0] = function(
        "payments/createRefund",
        Effect::Write,
        record([("body", shape, true)]),
    );
    let text = r#"
      @id("open") permit(principal, action, resource);
      @id("data") forbid(principal, action == Action::"payments/createRefund", resource)
      when { context.input.body has "__entity" && context.input.body["__entity"].id == "corp/admins"
             && context.input.body["__expr"] == "Group::\"corp/admins\"" };"#
        .replace(
            "context.input.body[\"__expr\"] ==",
            "context.input.body has \"__expr\" && context.input.body[\"__expr\"] ==",
        );
    let policies = load_with(&text, &vocabulary).unwrap();
    let text = |text: &str| Value::String(text.to_owned());
    let entity = Value::Record(
        [
            ("type".to_owned(), text("Group")),
            ("id".to_owned(), text("corp/admins")),
        ]
        .into(),
    );
    let input = body(&[
        ("__entity", entity),
        ("__expr", text("Group::\"corp/admins\"")),
        ("__extn", text("ip")),
    ]);
    let who = support();
    let request = Request {
        subject: who.view(),
        function: &vocabulary.functions[0],
        input: &input,
        facts: &facts(),
    };
    let Decision::Deny(denial) = policies.decide(&request, &BTreeSet::new()) else {
        panic!()
    };
    assert_eq!(denial.policies, ["data"]);
}

fn permitting() -> Policies {
    load(r#"@id("all") permit(principal, action, resource);"#).unwrap()
}

fn error(decision: Decision) -> String {
    match decision {
        Decision::Deny(denial) => match denial.reason {
            super::super::DenialReason::Error(text) => text,
            other => panic!("{other:?}"),
        },
        other @ (Decision::Allow(_) | Decision::Ask(_)) => panic!("{other:?}"),
    }
}

// T10: no policy reads these members; a request that does not fit is refused all the same.
#[test]
fn an_input_that_does_not_fit_its_declared_shape_is_denied() {
    let policies = permitting();
    let amount = ("amount", Value::Long(1));
    for input in [
        Input::default(),
        body(&[]),
        body(&[("amount", Value::String("1".to_owned()))]),
        body(&[amount.clone(), ("undeclared", Value::Bool(true))]),
        body(&[amount.clone(), ("Amount", Value::Long(2))]),
        body(&[amount.clone(), ("extra", Value::Bool(true))]),
        body(&[amount.clone(), ("tags", Value::Set(vec![Value::Long(1)]))]),
    ] {
        let decision = ask(&policies, &support(), "payments/createRefund", &input);
        let text = error(decision);
        assert_eq!(text, "the input holds a value that policies cannot hold");
    }
}

// T13
#[test]
fn a_number_that_cedar_cannot_hold_is_denied() {
    let policies = permitting();
    for price in [
        "1",
        "1.",
        ".5",
        "1.00001",
        "1e3",
        "922337203685478.0",
        "NaN",
        "",
    ] {
        let price = ("price", Value::Decimal(price.to_owned()));
        let input = body(&[("amount", Value::Long(1)), price.clone()]);
        error(ask(&policies, &support(), "payments/createRefund", &input));
    }
}

#[test]
fn an_error_shows_no_value_of_the_caller() {
    let text = r#"@id("all") permit(principal, action, resource);
        @id("errs") forbid(principal, action == Action::"payments/createRefund", resource)
        when { context.input.body.amount * 9223372036854775807 > 0 };"#;
    let policies = load(text).unwrap();
    let decision = ask(
        &policies,
        &support(),
        "payments/createRefund",
        &refund(424_242),
    );
    assert!(!error(decision).contains("424242"));
}

#[test]
fn a_claim_of_another_type_is_denied() {
    let mut vocabulary = vocabulary();
    let kind = crate::identity::ExposedType::Strings;
    vocabulary.claims.insert("roles".to_owned(), kind);
    let text = r#"@id("all") permit(principal, action, resource);
        @id("role") forbid(principal, action, resource)
        when { principal.claims has roles && principal.claims.roles.contains("guest") };"#;
    let policies = load_with(text, &vocabulary).unwrap();
    let mut who = support();
    let asked = |who: &Someone| ask(&policies, who, "crm/findPerson", &Input::default());
    assert!(matches!(asked(&who), Decision::Allow(_)));
    let roles = |role: &str| Exposed::Strings([role.to_owned()].into());
    who.claims.insert("roles".to_owned(), roles("user"));
    assert!(matches!(asked(&who), Decision::Allow(_)));
    who.claims.insert("roles".to_owned(), roles("guest"));
    assert!(matches!(asked(&who), Decision::Deny(_)));
    let text = Exposed::String("user".to_owned());
    who.claims.insert("roles".to_owned(), text);
    assert!(error(asked(&who)).contains("claim `roles`"));
}

#[test]
fn subjects_and_groups_cannot_be_written_as_each_other() {
    let text = r#"@id("ann") permit(principal == Caller::"corp/ann", action, resource);
        @id("leads") permit(principal in Group::"corp/leads", action, resource);"#;
    let policies = load(text).unwrap();
    for name in ["leads", "ann\"", "/ann", "ann/", "Ann", "ann\u{0}"] {
        let who = someone(
            name,
            Kind::Human,
            &["corp/ann", "leads", "CORP/leads", "ci/leads"],
        );
        let decision = ask(&policies, &who, "crm/findPerson", &Input::default());
        assert!(
            matches!(decision, Decision::Deny(_)),
            "{name}: {decision:?}"
        );
    }
}
