//! People's rights, unmasking, explanations, what a reload changes, and the starter policies.

use std::net::Ipv6Addr;

use super::super::{
    Error, NearMiss, PersonAction, PersonFacts, PersonResource, PolicyDiff, RuleTerms, starter,
};
use super::*;
use crate::mask::DataClass;

fn by(source: IpAddr) -> PersonFacts {
    PersonFacts {
        at: Timestamp::from_secs(1_764_000_000),
        source,
    }
}

fn here() -> PersonFacts {
    by(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)))
}

fn leader() -> Someone {
    someone("lea", Kind::Human, &["corp/leads"])
}

const RULE: &str = r#"@id("wait") @approval("corp/leads") forbid(principal, action in Action::"payments/*", resource);"#;
const LEADS_APPROVE: &str = r#"@id("leads") permit(principal in Group::"corp/leads", action == Action::"approve", resource in Connection::"payments");"#;

fn may(policies: &Policies, who: &Someone, function: &str) -> Result<bool, Error> {
    let rule = policies
        .rules()
        .iter()
        .find(|rule| rule.id == "wait")
        .unwrap();
    let terms = rule.terms.as_ref().unwrap();
    policies.may_approve(&who.view(), terms, &function.parse().unwrap(), here())
}

#[test]
fn an_approver_is_named_and_permitted_and_human() {
    let policies = load(&[RULE, LEADS_APPROVE].concat()).unwrap();
    assert_eq!(may(&policies, &leader(), "payments/createRefund"), Ok(true));
    assert_eq!(may(&policies, &leader(), "crm/findPerson"), Ok(false));
    let agent = someone("lea", Kind::Agent, &["corp/leads"]);
    assert_eq!(may(&policies, &agent, "payments/createRefund"), Ok(false));
    let workload = someone("lea", Kind::Workload, &["corp/leads"]);
    assert_eq!(
        may(&policies, &workload, "payments/createRefund"),
        Ok(false)
    );
}

#[test]
fn a_named_person_without_the_right_to_approve_is_no_approver() {
    let policies = load(RULE).unwrap();
    assert_eq!(
        may(&policies, &leader(), "payments/createRefund"),
        Ok(false)
    );
}

#[test]
fn a_permitted_person_whom_the_rule_does_not_name_is_no_approver() {
    let all = r#"@id("all") permit(principal, action, resource);"#;
    let policies = load(&[RULE, all].concat()).unwrap();
    let other = someone("bob", Kind::Human, &["corp/sales"]);
    assert_eq!(may(&policies, &other, "payments/createRefund"), Ok(false));
    assert_eq!(may(&policies, &leader(), "payments/createRefund"), Ok(true));
}

#[test]
fn a_right_is_refused_when_a_policy_errs() {
    let errs = r#"@id("errs") forbid(principal, action == Action::"approve", resource)
        when { principal.kind == "human" && 9223372036854775807 + 1 > 0 };"#;
    let policies = load(&[RULE, LEADS_APPROVE, errs].concat()).unwrap();
    let refused = may(&policies, &leader(), "payments/createRefund").unwrap_err();
    assert!(
        matches!(refused, Error::Evaluation { ref id, .. } if id == "errs"),
        "{refused:?}"
    );
}

#[test]
fn a_forbid_takes_a_right_away_with_or_without_approval() {
    for approval in ["", "@approval(\"corp/leads\")"] {
        let forbid = format!(
            "@id(\"no\") {approval} forbid(principal, action == Action::\"approve\", resource) \
             when {{ context.rule == \"wait\" }};"
        );
        let policies = load(&[RULE, LEADS_APPROVE, &forbid].concat()).unwrap();
        assert_eq!(
            may(&policies, &leader(), "payments/createRefund"),
            Ok(false)
        );
    }
}

#[test]
fn rights_are_separate_and_on_what_they_name() {
    let policies = load(
        r#"@id("read") permit(principal, action == Action::"audit.read", resource in Connection::"crm")
             when { context.source.isInRange(ip("10.0.0.0/8")) };
           @id("lock") permit(principal, action == Action::"revoke", resource == Connection::"crm");
           @id("policy") permit(principal, action == Action::"policy.read", resource == Gateway::"this");"#,
    )
    .unwrap();
    let crm: FunctionId = "crm/findPerson".parse().unwrap();
    let refund: FunctionId = "payments/createRefund".parse().unwrap();
    let name = "crm".parse().unwrap();
    let payments = "payments".parse().unwrap();
    let who = leader();
    let ask =
        |action, resource, facts| policies.permits_person(&who.view(), action, resource, facts);
    let read = PersonAction::AuditRead;
    assert_eq!(ask(read, PersonResource::Function(&crm), here()), Ok(true));
    assert_eq!(
        ask(read, PersonResource::Function(&refund), here()),
        Ok(false)
    );
    assert_eq!(ask(read, PersonResource::Gateway, here()), Ok(false));
    let outside = by(IpAddr::V6(Ipv6Addr::LOCALHOST));
    assert_eq!(
        ask(read, PersonResource::Function(&crm), outside),
        Ok(false)
    );
    let mapped = by(IpAddr::V6(Ipv4Addr::new(10, 9, 9, 9).to_ipv6_mapped()));
    assert_eq!(ask(read, PersonResource::Function(&crm), mapped), Ok(true));
    assert_eq!(
        ask(
            PersonAction::AuditReplay,
            PersonResource::Function(&crm),
            here()
        ),
        Ok(false)
    );
    assert_eq!(
        ask(
            PersonAction::Revoke,
            PersonResource::Connection(&name),
            here()
        ),
        Ok(true)
    );
    assert_eq!(
        ask(
            PersonAction::Revoke,
            PersonResource::Connection(&payments),
            here()
        ),
        Ok(false)
    );
    assert_eq!(
        ask(PersonAction::PolicyRead, PersonResource::Gateway, here()),
        Ok(true)
    );
}

#[test]
fn a_right_on_what_it_does_not_apply_to_is_refused() {
    let policies = load(r#"@id("all") permit(principal, action, resource);"#).unwrap();
    let crm: FunctionId = "crm/findPerson".parse().unwrap();
    let who = leader();
    let asked = policies.permits_person(
        &who.view(),
        PersonAction::PolicyRead,
        PersonResource::Function(&crm),
        here(),
    );
    assert_eq!(asked, Err(Error::Request));
}

fn classes(names: &[&str]) -> BTreeSet<DataClass> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// `crm/findPerson` can find all classes, `payments/createRefund` only cards.
fn masked() -> Vocabulary {
    let mut vocabulary = vocabulary();
    let all = classes(&["email", "iban", "payment-card"]);
    vocabulary.classes = all.iter().cloned().collect();
    vocabulary.function_classes = BTreeMap::from([
        ("crm/findPerson".parse().unwrap(), all),
        (
            "payments/createRefund".parse().unwrap(),
            classes(&["payment-card"]),
        ),
    ]);
    vocabulary
}

fn unmasked(text: &str, who: &Someone, function: &str, opened: &[&str]) -> BTreeSet<String> {
    let calls = r#"@id("calls") permit(principal, action in Action::"call", resource);"#;
    let policies = load_with(&[calls, text].concat(), &masked()).unwrap();
    let named = |rule: &&super::super::Rule| opened.contains(&rule.id.as_str());
    let opened = policies
        .rules()
        .iter()
        .filter(named)
        .map(|rule| rule.hash)
        .collect();
    let input = if function.starts_with("payments") {
        refund(1)
    } else {
        Input::default()
    };
    match ask_opened(&policies, who, function, &input, &opened) {
        Decision::Allow(obligations) => obligations
            .unmask()
            .iter()
            .map(ToString::to_string)
            .collect(),
        other @ (Decision::Deny(_) | Decision::Ask(_)) => panic!("{other:?}"),
    }
}

#[test]
fn everything_is_masked_unless_a_permit_unmasks() {
    let nothing: [&str; 0] = [];
    assert_eq!(
        unmasked("", &support(), "crm/findPerson", &[]),
        nothing.map(String::from).into()
    );
    let text = r#"@id("see") permit(principal in Group::"corp/support", action == Action::"unmask",
        resource in DataClass::"payment") when { context.function in Connection::"crm" };"#;
    let both = ["iban", "payment-card"].map(String::from).into();
    assert_eq!(unmasked(text, &support(), "crm/findPerson", &[]), both);
    assert_eq!(
        unmasked(text, &leader(), "crm/findPerson", &[]),
        BTreeSet::new()
    );
    assert_eq!(
        unmasked(text, &support(), "payments/createRefund", &[]),
        BTreeSet::new()
    );
}

#[test]
fn an_approval_rule_or_an_error_at_unmask_means_masked() {
    let see = r#"@id("see") permit(principal, action == Action::"unmask", resource);"#;
    let cards = r#"@id("cards") @approval("corp/leads") forbid(principal, action == Action::"unmask",
        resource == DataClass::"payment-card");"#;
    let errs = r#"@id("errs") forbid(principal, action == Action::"unmask", resource == DataClass::"email")
        when { principal.kind == "workload" && 9223372036854775807 + 1 > 0 };"#;
    let text = [see, cards, errs].concat();
    assert_eq!(
        unmasked(&text, &support(), "crm/findPerson", &[]),
        ["iban"].map(String::from).into()
    );
    let opened = ["iban", "payment-card"].map(String::from).into();
    assert_eq!(
        unmasked(&text, &support(), "crm/findPerson", &["cards"]),
        opened
    );
    let human = unmasked(&text, &leader(), "crm/findPerson", &[]);
    assert_eq!(human, ["email", "iban"].map(String::from).into());
}

#[test]
fn a_class_that_nothing_finds_is_no_class() {
    let text = r#"@id("see") permit(principal, action == Action::"unmask", resource == DataClass::"emial");"#;
    let faults = load_with(text, &masked()).unwrap_err();
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        ["test.cedar:1:81: policy `see`: unknown data class `emial`"]
    );
}

#[test]
fn an_explanation_names_what_matched_and_what_nearly_did() {
    let policies = load(
        r#"@id("reads") permit(principal, action in Action::"read", resource);
           @id("small") permit(principal in Group::"corp/support", action == Action::"payments/createRefund", resource)
             when { context.input.body.amount < 10 };
           @id("leads") permit(principal in Group::"corp/leads", action in Action::"payments/*", resource);
           @id("wait") @approval("corp/leads") @reason("why") forbid(principal, action in Action::"payments/*", resource);"#,
    )
    .unwrap();
    let vocabulary = vocabulary();
    let (who, facts) = (support(), facts());
    let explain = |amount| {
        let input = refund(amount);
        let request = Request {
            subject: who.view(),
            function: &vocabulary.functions[0],
            input: &input,
            facts: &facts,
        };
        let explanation = policies.explain(&request, &BTreeSet::new());
        assert_eq!(
            explanation.decision,
            policies.decide(&request, &BTreeSet::new())
        );
        explanation
    };
    let asked = explain(5);
    let ids: Vec<&str> = asked
        .matched
        .iter()
        .map(|matched| matched.id.as_str())
        .collect();
    assert_eq!(ids, ["small", "wait"]);
    assert_eq!(asked.matched[1].annotations["reason"], "why");
    assert_eq!((asked.evaluated, asked.near_misses.len()), (2, 0));
    let denied = explain(10);
    let near = [
        NearMiss::Condition("small".to_owned()),
        NearMiss::Principal("leads".to_owned()),
    ];
    assert_eq!(denied.near_misses, near);
}

#[test]
fn a_reload_tells_what_it_takes_away() {
    let permit =
        |condition: &str| format!("@id(\"p\") permit(principal, action, resource) {condition};");
    let forbid = |id: &str, extra: &str| {
        format!("@id(\"{id}\") {extra} forbid(principal is Caller, action, resource);")
    };
    let rule = "@approval(\"corp/leads\")";
    let before = [
        permit(""),
        forbid("wall", ""),
        forbid("gone", rule),
        forbid("gate", ""),
        forbid("same", rule),
    ];
    let after = [
        format!("// moved\n{}", forbid("same", rule)),
        permit("when { principal.kind == \"human\" }"),
        forbid("gate", rule),
        forbid("new", ""),
        "@id(\"wall\") permit(principal, action, resource);".to_owned(),
    ];
    let (before, after) = (
        load(&before.concat()).unwrap(),
        load(&after.concat()).unwrap(),
    );
    assert_ne!(before.version(), after.version());
    let diff = PolicyDiff::between(&before, &after);
    let ids = |rules: Vec<&super::super::Rule>| -> Vec<String> {
        rules.into_iter().map(|rule| rule.id.clone()).collect()
    };
    assert_eq!(ids(diff.added.iter().collect()), ["new"]);
    assert_eq!(ids(diff.removed.iter().collect()), ["gone"]);
    assert_eq!(
        ids(diff.changed.iter().map(|(old, _)| old).collect()),
        ["gate", "p", "wall"]
    );
    let mut taken = ids(diff.takes_away());
    taken.sort();
    assert_eq!(taken, ["gate", "gone", "wall"]);
    assert!(PolicyDiff::between(&after, &after).is_empty());
}

#[test]
fn the_version_ignores_order_and_layout() {
    let (a, b) = (
        r#"@id("a") permit(principal, action, resource);"#,
        r#"@id("b") forbid(principal is Caller, action, resource);"#,
    );
    let version = |text: String| load(&text).unwrap().version().to_owned();
    assert_eq!(
        version([a, b].concat()),
        version(format!("// text\n{b}\n\n{a}"))
    );
    assert_ne!(version(a.to_owned()), version([a, b].concat()));
}

#[test]
fn the_starter_policies_load_on_an_empty_gateway_and_on_a_full_one() {
    let text = starter("corp/gateway admins").unwrap();
    assert!(!text.contains("ADMIN"), "{text}");
    let empty = Vocabulary {
        issuers: ["corp".to_owned()].into(),
        ..Vocabulary::default()
    };
    load_with(&text, &empty).unwrap();
    let policies = load(&text).unwrap();
    let admin = someone("ada", Kind::Human, &["corp/gateway admins"]);
    assert!(matches!(
        ask(&policies, &admin, "payments/createRefund", &refund(1)),
        Decision::Allow(_)
    ));
    let removal = ask(
        &policies,
        &admin,
        "payments/removeRefund",
        &Input::default(),
    );
    let Decision::Ask(terms) = removal else {
        panic!("{removal:?}");
    };
    assert_eq!(terms.rules[0].who.any_of, [["corp/gateway admins"]]);
    let function = "payments/removeRefund".parse().unwrap();
    assert_eq!(
        policies.may_approve(&admin.view(), &terms.rules[0], &function, here()),
        Ok(true)
    );
    assert!(matches!(
        ask(&policies, &support(), "crm/findPerson", &Input::default()),
        Decision::Deny(_)
    ));
}

#[test]
fn a_group_that_is_none_makes_no_starter_policies() {
    for group in [
        "admins",
        "corp/",
        "/admins",
        "corp/a\"b",
        "corp/a'b",
        "corp/a\nb",
        "corp/a\\",
    ] {
        assert_eq!(starter(group), Err(Error::AdminGroup(group.to_owned())));
    }
}

// P20
#[test]
fn a_glass_is_broken_by_a_person_whom_the_rule_names_and_policy_permits() {
    let policies = load(
        r#"@id("rule") @approval("corp/leads") @acr("mfa") @break_glass("corp/on-call and corp/staff")
           forbid (principal, action == Action::"payments/createRefund", resource);
           @id("may") permit (principal in Group::"corp/on-call", action == Action::"break-glass",
             resource in Connection::"payments") when { context.rule == "rule" };
           @id("approves") permit (principal, action == Action::"approve", resource);"#,
    )
    .unwrap();
    let rule = policies
        .rules()
        .iter()
        .find(|rule| rule.id == "rule")
        .unwrap();
    let terms = rule.terms.clone().unwrap();
    assert_eq!(terms.break_glass.as_ref().unwrap().within.as_secs(), 900);
    let function: FunctionId = "payments/createRefund".parse().unwrap();
    let may = |who: &Someone| {
        policies
            .may_break_glass(&who.view(), &terms, &function, here())
            .unwrap()
    };
    let named = ["corp/on-call", "corp/staff"];
    assert!(may(&someone("olga", Kind::Human, &named)));
    assert!(
        !may(&someone("olga", Kind::Human, &named[..1])),
        "both groups"
    );
    assert!(!may(&someone("olga", Kind::Agent, &named)));
    assert!(
        !may(&someone("olga", Kind::Human, &["corp/leads"])),
        "an approver is not named"
    );
    let other = RuleTerms {
        id: "other".to_owned(),
        ..terms.clone()
    };
    let who = someone("olga", Kind::Human, &named);
    let asked = policies.may_break_glass(&who.view(), &other, &function, here());
    assert_eq!(asked, Ok(false), "policy is told of the rule");
    let none = RuleTerms {
        break_glass: None,
        ..terms
    };
    let asked = policies.may_break_glass(&who.view(), &none, &function, here());
    assert_eq!(asked, Ok(false));
}
