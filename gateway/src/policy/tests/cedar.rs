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
