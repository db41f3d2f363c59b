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

fn fault(annotations: &str, policy: &str) -> String {
    let faults = faults(&format!("{annotations}\n{policy}"));
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].clone()
}

#[test]
fn a_step_up_is_read_and_a_mistake_in_it_is_told() {
    let text = format!(
        "@id(\"a\") @approval(\"corp/leads\") @acr(\"phr  phrh\") @max_age(\"2m\")\n{FORBID}"
    );
    let policies = load(&text).unwrap();
    let terms = policies.rules()[0].terms.as_ref().unwrap();
    assert_eq!(terms.step_up.acr, ["phr", "phrh"]);
    assert_eq!(
        terms.step_up.max_age,
        Some(std::time::Duration::from_secs(120))
    );
    let approval = "@id(\"a\") @approval(\"corp/leads\")";
    let empty = fault(&format!("{approval} @acr(\" \")"), FORBID);
    assert!(empty.contains("`@acr` is ` `"), "{empty}");
    for bad in ["0s", "11m", "1", "-1s"] {
        let fault = fault(&format!("{approval} @max_age(\"{bad}\")"), FORBID);
        assert!(
            fault.contains(&format!("`@max_age` is `{bad}`")) && fault.contains("at most 10m"),
            "{fault}"
        );
    }
    for alone in ["acr", "max_age"] {
        let fault = fault(&format!("@id(\"a\") @{alone}(\"1m\")"), FORBID);
        assert!(fault.contains("without `@approval`"), "{fault}");
    }
}

const FORBID: &str = "forbid(principal is Caller, action, resource);";

#[test]
fn a_way_around_the_quorum_is_read_and_a_mistake_in_it_is_told() {
    for (annotations, expected) in [
        (
            "@id(\"a\") @break_glass(\"corp/on-call\")",
            "`@break_glass` without `@approval`",
        ),
        (
            "@id(\"a\") @approval(\"corp/a\") @break_glass(\"corp/on-call\")",
            "`@break_glass` without `@acr`",
        ),
        (
            "@id(\"a\") @approval(\"corp/a\") @acr(\"mfa\") @break_glass(\"corp/a or\")",
            "`@break_glass` is `corp/a or`: it does not end with a group",
        ),
        (
            "@id(\"a\") @approval(\"corp/a\") @acr(\"mfa\") @break_glass(\"corp/a\") @break_glass_within(\"16m\")",
            "`@break_glass_within` is `16m`",
        ),
        (
            "@id(\"a\") @approval(\"corp/a\") @break_glass_within(\"5m\")",
            "`@break_glass_within` without `@break_glass`",
        ),
    ] {
        let fault = fault(annotations, FORBID);
        assert!(fault.contains(expected), "{annotations}: {fault}");
    }
}

#[test]
fn annotations_are_checked() {
    let approval = "@id(\"a\") @approval(\"corp/leads\")";
    for (annotations, expected) in [
        ("", "1:0"),
        ("@id(\"\")", "`@id` is ``"),
        ("@id(\"a b\")", "`@id` is `a b`"),
        (
            "@id(\"a\") @aproval(\"corp/leads\")",
            "unknown annotation `@aproval`",
        ),
        ("@id(\"a\") @quorum(\"2\")", "`@quorum` without `@approval`"),
        ("@id(\"a\") @approval(\"\")", "it does not end with a group"),
        (
            "@id(\"a\") @approval(\"corp/a and\")",
            "it does not end with a group",
        ),
        (
            "@id(\"a\") @approval(\"or corp/a\")",
            "`or` has no group before it",
        ),
        (
            "@id(\"a\") @approval(\"corp/a corp/b\")",
            "neither `and` nor `or` before `corp/b`",
        ),
        ("@id(\"a\") @approval(\"'corp/a\")", "a quote is not closed"),
        (
            "@id(\"a\") @approval(\"corp/a, corp/b\")",
            "neither `and` nor `or`",
        ),
    ] {
        let fault = fault(annotations, FORBID);
        let expected = if expected == "1:0" {
            "policy without `@id`"
        } else {
            expected
        };
        assert!(fault.contains(expected), "{annotations}: {fault}");
    }
    for bad in ["0", "21", "-1", "+1", "two", "1.5", ""] {
        let fault = fault(&format!("{approval} @quorum(\"{bad}\")"), FORBID);
        assert!(fault.contains("`@quorum` is"), "{fault}");
    }
    for bad in [
        "0m",
        "15",
        "m",
        "-1m",
        "1.5h",
        "8d",
        "99999999999999999999s",
        "15 m",
        "1h30m",
    ] {
        let fault = fault(&format!("{approval} @decide_within(\"{bad}\")"), FORBID);
        assert!(fault.contains("`@decide_within` is"), "{fault}");
    }
}

#[test]
fn approval_groups_are_joined_by_and_before_or() {
    let text = "@id(\"a\") @approval(\"corp/a and 'corp/b c' or ci/d or corp/e and corp/e\")";
    let policies = load(&format!("{text} {FORBID}")).unwrap();
    let terms = policies.rules()[0].terms.as_ref().unwrap();
    assert_eq!(
        terms.who.any_of,
        [vec!["corp/a", "corp/b c"], vec!["ci/d"], vec!["corp/e"]]
    );
}

#[test]
fn an_id_is_taken_once() {
    let text = format!("@id(\"a\") {FORBID}\n@id(\"b\") {FORBID}\n@id(\"a\") {FORBID}");
    let expected = "test.cedar:3:1: policy `a`: the `@id` is taken, by the policy at test.cedar:1:1 \
                    (help: give each policy a name of its own)";
    assert_eq!(faults(&text), [expected]);
}

#[test]
fn every_fault_of_every_file_is_told_at_once() {
    let file = |name: &str, text: &str| PolicyFile {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let files = [
        file(
            "b.cedar",
            "permit(principal, action, resource);\n@id(\"x\") permit(principal in Group::\"no/x\", action, resource);",
        ),
        file("a.cedar", "permit(principal, action, resource"),
        file(
            "c.cedar",
            "@id(\"t\") permit(principal == ?principal, action, resource);",
        ),
    ];
    let faults = Policies::load(&files, &vocabulary()).unwrap_err();
    let places: Vec<String> = faults.iter().map(|fault| fault.place.to_string()).collect();
    assert_eq!(
        places,
        ["a.cedar:1:35", "b.cedar:1:1", "b.cedar:2:37", "c.cedar:1:1"],
        "{faults:#?}"
    );
}

#[test]
fn unknown_names_are_told() {
    for (policy, expected) in [
        (
            "permit(principal, action == Action::\"payments/createRefnd\", resource);",
            "payments/createRefnd",
        ),
        (
            "permit(principal, action, resource == Connection::\"paymnets\");",
            "unknown connection `paymnets`",
        ),
        (
            "permit(principal, action == Action::\"audit.read\", resource == Function::\"crm/x\");",
            "unknown function `crm/x`",
        ),
        (
            "permit(principal, action, resource == Gateway::\"main\");",
            "the gateway is `Gateway::\"this\"`",
        ),
        ("permit(principal is Person, action, resource);", "Person"),
        (
            "permit(principal, action == Action::\"call\", resource);",
            "never match",
        ),
    ] {
        let faults = faults(&format!("@id(\"a\") {policy}"));
        assert!(
            faults.iter().any(|fault| fault.contains(expected)),
            "{policy}: {faults:?}"
        );
    }
}

#[test]
fn a_policy_that_can_never_match_is_refused() {
    let behind_has = "@id(\"a\") forbid(principal, action in Action::\"call\", resource) \
                      when { context.input has body && context.input.body has amuont };";
    let fault = faults(behind_has);
    assert!(
        fault[0].contains("misspelt member after `has`"),
        "{fault:?}"
    );
}

#[test]
fn a_policy_about_functions_that_are_not_there_yet_waits() {
    let mut vocabulary = vocabulary();
    vocabulary.functions.clear();
    let text = r#"@id("a") forbid(principal, action in [Action::"destructive", Action::"crm/*"], resource);"#;
    load_with(text, &vocabulary).unwrap();
}

#[test]
fn text_that_turns_around_is_refused() {
    let text = "@id(\"a\") permit(principal, action, resource) when { principal.subject == \"a\u{202e}b\" };";
    let faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:?}");
}

// T13: what has no Cedar type stands in no schema, so that a policy that names it does not load.
#[test]
fn a_member_without_a_type_cannot_be_named() {
    let text = "@id(\"a\") permit(principal, action == Action::\"payments/createRefund\", resource) \
                when { context.input.body.extra == \"x\" };";
    let fault = faults(text);
    assert!(fault[0].contains("`input.body.extra`"), "{fault:?}");
}

#[test]
fn the_schema_is_readable() {
    let mut vocabulary = vocabulary();
    vocabulary.claims.insert(
        "cost \"centre\"".to_owned(),
        crate::identity::ExposedType::Strings,
    );
    let mut function = Function {
        summary: Some("Refund a\ncharge".to_owned()),
        ..clone(&vocabulary.functions[0])
    };
    function.input.members.insert(
        "path\\\"".to_owned(),
        Member {
            shape: Shape::Bool,
            required: true,
        },
    );
    vocabulary.functions[0] = Arc::new(function);
    let policies = load_with("@id(\"a\") permit(principal, action, resource) when { principal.claims has \"cost \\\"centre\\\"\" };", &vocabulary).unwrap();
    insta::assert_snapshot!(policies.schema_text());
}

fn clone(function: &Function) -> Function {
    Function {
        id: function.id.clone(),
        effect: function.effect,
        input: function.input.clone(),
        durability: function.durability,
        summary: None,
        mask: None,
        classes: Vec::new(),
    }
}
