//! The room's own evaluation against Cedar's authorizer over the whole set: slices leave out nothing,
//! the core's evaluator answers as the authorizer does, and a context passes here if and only if it
//! passes Cedar's check against the schema.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Decision as CedarDecision, Entities, Entity, EntityUid, Policy, PolicyId,
    PolicySet, Request as CedarRequest, Response, RestrictedExpression as Expr,
};
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::{select, subsequence};

use super::*;

const ACTIONS: &[&str] = &[
    "action",
    r#"action in Action::"call""#,
    r#"action in Action::"read""#,
    r#"action in Action::"write""#,
    r#"action in Action::"payments/*""#,
    r#"action in Action::"crm/*""#,
    r#"action == Action::"payments/createRefund""#,
    r#"action == Action::"crm/findPerson""#,
    r#"action in [Action::"crm/findPerson", Action::"write", Action::"unmask"]"#,
    r#"action in [Action::"read", Action::"payments/*"]"#,
    r#"action == Action::"approve""#,
];
const PRINCIPALS: &[&str] = &[
    "principal",
    "principal is Caller",
    r#"principal in Group::"corp/support""#,
    r#"principal in Group::"corp/leads""#,
    r#"principal is Caller in Group::"ci/builders""#,
    r#"principal == Caller::"corp/ann""#,
];
const RESOURCES: &[&str] = &[
    "resource",
    "resource is Connection",
    r#"resource == Connection::"payments""#,
    r#"resource in Connection::"crm""#,
    r#"resource in Gateway::"this""#,
];
const CONDITIONS: &[&str] = &[
    "",
    r#"when { principal.kind == "agent" }"#,
    r#"unless { principal.kind == "agent" }"#,
    r#"when { principal in Group::"corp/leads" || principal.subject == "bob" }"#,
    r#"when { context.source.isInRange(ip("10.0.0.0/8")) }"#,
    r#"when { context.time < datetime("2020-01-01") }"#,
    r#"when { principal.kind == "human" && 9223372036854775807 + 1 > 0 }"#,
    r#"when { principal.actors.contains("corp/agent") }"#,
];
/// Conditions that only fit `payments/createRefund`.
const INPUT_CONDITIONS: &[&str] = &[
    "when { context.input.body.amount > 100 }",
    "when { context.input.body.amount + 9223372036854775707 > 0 }",
    r#"when { context.input.body has currency && context.input.body.currency == "EUR" }"#,
    r#"when { context.input.body has price && context.input.body.price.lessThan(decimal("1.5")) }"#,
    r#"when { context.input.body has tags && context.input.body.tags.contains("vip") }"#,
    r#"when { resource.labels has env && resource.labels.env == "prod" }"#,
];

fn policy() -> impl Strategy<Value = String> {
    let scope = (select(PRINCIPALS), select(ACTIONS), select(RESOURCES));
    let ask = r#"@approval("corp/leads") forbid"#;
    let head = select(vec![
        "permit", "permit", "permit", "permit", ask, ask, "forbid",
    ]);
    let parts = (
        head,
        scope,
        select(CONDITIONS),
        select(INPUT_CONDITIONS),
        any::<bool>(),
    );
    parts.prop_map(
        |(head, (principal, action, resource), plain, input, typed)| {
            let condition = match action {
                r#"action == Action::"payments/createRefund""# if typed => input,
                r#"action == Action::"approve""# => "",
                _ => plain,
            };
            let resource = match action {
                r#"action == Action::"approve""# => "resource",
                _ => resource,
            };
            format!("{head}({principal}, {action}, {resource}) {condition};")
        },
    )
}

fn caller() -> impl Strategy<Value = Someone> {
    let kind = select(&[Kind::Human, Kind::Workload, Kind::Agent][..]);
    let groups = subsequence(
        vec!["corp/support", "corp/leads", "ci/builders", "corp/x"],
        0..=4,
    );
    let parts = (select(&["ann", "bob"][..]), kind, groups, any::<bool>());
    parts.prop_map(|(name, kind, groups, acted)| {
        let mut who = someone(name, kind, &groups);
        if acted {
            let (issuer, subject) = ("corp".to_owned(), "agent".to_owned());
            who.actors.push(Actor { issuer, subject });
        }
        who
    })
}

fn input() -> impl Strategy<Value = Input> {
    let members = (
        select(&[0i64, 100, 101, i64::MAX, i64::MIN][..]),
        proptest::option::of(select(&["EUR", "USD"][..])),
        proptest::option::of(select(&["1.4", "1.5000", "-3.25"][..])),
        proptest::option::of(subsequence(vec!["vip", "new"], 0..=2)),
    );
    members.prop_map(|(amount, currency, price, tags)| {
        let text = |text: &str| Value::String(text.to_owned());
        let mut members = vec![("amount", Value::Long(amount))];
        members.extend(currency.map(|currency| ("currency", text(currency))));
        members.extend(price.map(|price| ("price", Value::Decimal(price.to_owned()))));
        members.extend(tags.map(|tags| ("tags", Value::Set(tags.into_iter().map(text).collect()))));
        body(&members)
    })
}

fn uid(text: &str) -> EntityUid {
    text.parse().unwrap()
}

fn expression(value: &Value) -> Option<Expr> {
    Some(match value {
        Value::Bool(value) => Expr::new_bool(*value),
        Value::Long(value) => Expr::new_long(*value),
        Value::Decimal(text) => Expr::new_decimal(text),
        Value::String(text) => Expr::new_string(text.clone()),
        Value::Set(values) => {
            Expr::new_set(values.iter().map(expression).collect::<Option<Vec<_>>>()?)
        }
        Value::Record(members) => record_expression(members)?,
    })
}

fn record_expression(members: &BTreeMap<String, Value>) -> Option<Expr> {
    let members: Option<Vec<_>> = members
        .iter()
        .map(|(name, value)| Some((name.clone(), expression(value)?)))
        .collect();
    Expr::new_record(members?).ok()
}

/// The request by Cedar's own builders, checked against the schema.
fn official(
    policies: &Policies,
    who: &Someone,
    function: &Function,
    input: &Input,
) -> Option<CedarRequest> {
    let context = Context::from_pairs([
        ("input".to_owned(), record_expression(&input.members)?),
        (
            "time".to_owned(),
            Expr::new_datetime("2025-11-24T16:00:00Z"),
        ),
        ("source".to_owned(), Expr::new_ip("10.1.2.3")),
        ("tls".to_owned(), Expr::new_bool(true)),
        ("protocol".to_owned(), Expr::new_string("h2".to_owned())),
        ("method".to_owned(), Expr::new_string("POST".to_owned())),
    ])
    .ok()?;
    CedarRequest::new(
        uid(&format!("Caller::\"corp/{}\"", who.name)),
        uid(&format!("Action::\"{}\"", function.id)),
        uid(&format!("Connection::\"{}\"", function.id.connection())),
        context,
        Some(&policies.schema),
    )
    .ok()
}

/// All entities of the gateway and the caller with all its groups, checked against the schema.
fn everything(policies: &Policies, who: &Someone) -> Entities {
    let text = |text: &str| Expr::new_string(text.to_owned());
    let labels = |labels: Vec<(String, Expr)>| {
        HashMap::from([("labels".to_owned(), Expr::new_record(labels).unwrap())])
    };
    let gateway = HashSet::from([uid("Gateway::\"this\"")]);
    let actors = who
        .actors
        .iter()
        .map(|a| text(&format!("{}/{}", a.issuer, a.subject)));
    let attributes = HashMap::from([
        ("issuer".to_owned(), text("corp")),
        ("subject".to_owned(), text(who.name)),
        ("kind".to_owned(), text(who.kind.as_str())),
        ("method".to_owned(), text("jwt")),
        ("actors".to_owned(), Expr::new_set(actors)),
        ("claims".to_owned(), Expr::new_record([]).unwrap()),
    ]);
    let groups = who
        .groups
        .iter()
        .map(|group| uid(&format!("Group::\"{group}\"")));
    let me = uid(&format!("Caller::\"corp/{}\"", who.name));
    let prod = vec![("env".to_owned(), text("prod"))];
    let entities = [
        Entity::new(me, attributes, groups.collect()).unwrap(),
        Entity::new(
            uid("Connection::\"payments\""),
            labels(prod),
            gateway.clone(),
        )
        .unwrap(),
        Entity::new(uid("Connection::\"crm\""), labels(vec![]), gateway).unwrap(),
    ];
    Entities::from_entities(entities, Some(&policies.schema)).unwrap()
}

fn whole(text: &str) -> Vec<Policy> {
    let set: PolicySet = text.parse().unwrap();
    set.policies()
        .map(|policy| policy.new_id(PolicyId::new(policy.annotation("id").unwrap())))
        .collect()
}

fn ids<'a>(ids: impl Iterator<Item = &'a PolicyId>) -> BTreeSet<String> {
    ids.map(ToString::to_string).collect()
}

/// Design 5, word by word, with nothing but Cedar's authorizer: `opened` are removed, any error
/// denies; ask only if every matched forbid is an approval rule and the set without them allows.
fn reference(
    policies: &[Policy],
    opened: &BTreeSet<String>,
    answer: impl Fn(&PolicySet) -> Response,
) -> String {
    let without = |out: &BTreeSet<String>| {
        let kept = policies
            .iter()
            .filter(|policy| !out.contains(&policy.id().to_string()));
        answer(&PolicySet::from_policies(kept.cloned()).unwrap())
    };
    if without(&BTreeSet::new())
        .diagnostics()
        .errors()
        .next()
        .is_some()
    {
        return "error".to_owned();
    }
    let response = without(opened);
    let reasons = ids(response.diagnostics().reason());
    if response.decision() == CedarDecision::Allow {
        return format!("allow {reasons:?}");
    }
    let open = |id: &String| {
        let policy = policies
            .iter()
            .find(|policy| policy.id().to_string() == *id)
            .unwrap();
        policy.annotation("approval").is_some()
    };
    let removed = opened.union(&reasons).cloned().collect();
    if reasons.is_empty()
        || !reasons.iter().all(open)
        || without(&removed).decision() == CedarDecision::Deny
    {
        return "deny".to_owned();
    }
    format!("ask {reasons:?}")
}

fn told(decision: &Decision) -> String {
    match decision {
        Decision::Allow(obligations) => {
            format!(
                "allow {:?}",
                obligations
                    .policies()
                    .iter()
                    .cloned()
                    .collect::<BTreeSet<_>>()
            )
        }
        Decision::Ask(terms) => {
            format!(
                "ask {:?}",
                terms
                    .rules
                    .iter()
                    .map(|rule| rule.id.clone())
                    .collect::<BTreeSet<_>>()
            )
        }
        Decision::Deny(denial) => match denial.reason {
            super::super::DenialReason::Error(_) => "error".to_owned(),
            super::super::DenialReason::NoPermit | super::super::DenialReason::Forbidden => {
                "deny".to_owned()
            }
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_slice_decides_as_the_whole_set_does(
        texts in proptest::collection::vec(policy(), 1..9),
        who in caller(),
        input in input(),
        function in 0usize..4,
        open in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let text: String = texts.iter().enumerate()
            .map(|(index, text)| format!("@id(\"p{index}\") {text}\n"))
            .collect();
        let Ok(policies) = load(&text) else {
            // A condition that its actions can never meet.
            return Ok(());
        };
        let vocabulary = vocabulary();
        let function = &vocabulary.functions[function];
        let input = if function.id.name() == "createRefund" { input } else { Input::default() };
        let rules = || policies.rules().iter().zip(&open).filter(|(_, open)| **open);
        let opened: BTreeSet<RuleHash> = rules().filter(|(rule, _)| rule.terms.is_some()).map(|(rule, _)| rule.hash).collect();
        let same = |rule: &super::super::Rule| opened.contains(&rule.hash);
        let opened_ids = policies.rules().iter().filter(|rule| same(rule)).map(|rule| rule.id.clone()).collect();
        let request = official(&policies, &who, function, &input).unwrap();
        let entities = everything(&policies, &who);
        let all = whole(&text);
        let expected = reference(&all, &opened_ids, |set| {
            Authorizer::new().is_authorized(&request, set, &entities)
        });
        let decision = ask_opened(&policies, &who, &function.id.to_string(), &input, &opened);
        prop_assert_eq!(told(&decision), expected, "{}", text);
    }
}

/// The decision with policies whose `@shadow` stands as given, and what the shadows would make of it.
fn decided_with(
    texts: &[(usize, String)],
    asked: (&Someone, usize, &Input),
    opened: &BTreeSet<String>,
) -> Option<(String, Option<super::super::Shadowed>)> {
    let text: String = texts
        .iter()
        .map(|(n, text)| format!("@id(\"p{n}\") {text}\n"))
        .collect();
    let policies = load(&text).ok()?;
    let rules = policies.rules().iter();
    let opened = rules
        .filter(|rule| opened.contains(&rule.id))
        .map(|rule| rule.hash);
    let (who, function, input) = asked;
    let function = &vocabulary().functions[function];
    let input = if function.id.name() == "createRefund" {
        input
    } else {
        &Input::default()
    };
    let request = super::super::Request {
        subject: who.view(),
        function,
        input,
        facts: &super::facts(),
    };
    let (decision, shadowed) = policies.decide_shadowed(&request, &opened.collect());
    let unmask = match &decision {
        Decision::Allow(obligations) => format!("{:?}", obligations.unmask()),
        Decision::Deny(_) | Decision::Ask(_) => String::new(),
    };
    Some((format!("{} {unmask}", told(&decision)), shadowed))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever shadows say, and however they fail, the decision is that without them; and what they
    /// are said to make of it is what they would make of it.
    #[test]
    fn shadows_never_change_a_decision_and_say_what_they_would(
        texts in proptest::collection::vec(policy(), 1..9),
        watched in proptest::collection::vec(any::<bool>(), 9),
        who in caller(),
        input in input(),
        function in 0usize..4,
        open in proptest::collection::vec(any::<bool>(), 9),
    ) {
        let all: Vec<(usize, String)> = texts.into_iter().enumerate().collect();
        let shadow = |n: usize, text: &str| watched[n] && !text.contains("\"approve\"") && !text.contains("\"unmask\"");
        let with: Vec<_> = all.iter().map(|(n, text)| match shadow(*n, text) {
            true => (*n, format!("@shadow(\"until 2999-01-01\") {text}")),
            false => (*n, text.clone()),
        }).collect();
        let without: Vec<_> = all.iter().filter(|(n, text)| !shadow(*n, text)).cloned().collect();
        // What people opened is no shadow.
        let opened = without.iter().filter(|(n, text)| open[*n] && text.contains("@approval"));
        let opened: BTreeSet<String> = opened.map(|(n, _)| format!("p{n}")).collect();
        let asked = (&who, function, &input);
        let (Some((decision, shadowed)), Some((plain, none)), Some((enforced, _))) = (
            decided_with(&with, asked, &opened),
            decided_with(&without, asked, &opened),
            decided_with(&all, asked, &opened),
        ) else {
            // A condition that its actions can never meet.
            return Ok(());
        };
        prop_assert_eq!(&decision, &plain, "{:?}", with);
        prop_assert_eq!(none, None);
        let word = enforced.split(' ').next().unwrap().replace("error", "deny");
        let would = shadowed.map_or_else(|| plain.split(' ').next().unwrap().replace("error", "deny"), |would| would.decided.to_owned());
        prop_assert_eq!(would, word, "{:?}", with);
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Long),
        select(&["1.0", "1.23456", "x", "922337203685477.5808"][..])
            .prop_map(|text| Value::Decimal(text.to_owned())),
        select(&["EUR", "", "\u{202e}", "ip(\"::1\")"][..])
            .prop_map(|text| Value::String(text.to_owned())),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let record = proptest::collection::btree_map(member_name(), inner.clone(), 0..4);
        prop_oneof![
            proptest::collection::vec(inner, 0..3).prop_map(Value::Set),
            record.prop_map(Value::Record),
        ]
    })
}

fn member_name() -> impl Strategy<Value = String> {
    let names = [
        "amount", "currency", "price", "tags", "extra", "Amount", "__entity", "__extn",
    ];
    select(names.to_vec()).prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    // T10, T13
    #[test]
    fn an_input_passes_if_and_only_if_it_fits_the_schema(
        good in input(),
        changed in proptest::option::of((member_name(), proptest::option::of(any_value()))),
        outside in proptest::option::of((select(&["body", "query", "Body"][..]), any_value())),
    ) {
        let policies = load("@id(\"all\") permit(principal, action, resource);").unwrap();
        let vocabulary = vocabulary();
        let function = &vocabulary.functions[0];
        let mut input = good;
        if let (Some((name, value)), Some(Value::Record(body))) = (changed, input.members.get_mut("body")) {
            match value {
                Some(value) => body.insert(name, value),
                None => body.remove(&name),
            };
        }
        if let Some((name, value)) = outside {
            input.members.insert(name.to_owned(), value);
        }
        let fits = official(&policies, &support(), function, &input).is_some();
        let decision = ask(&policies, &support(), "payments/createRefund", &input);
        prop_assert_eq!(matches!(decision, Decision::Allow(_)), fits, "{:?}", input);
    }
}
