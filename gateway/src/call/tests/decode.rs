use super::{JSON, bad, catalogue, get, post, seen, send};
use crate::call::input::Value;
use crate::call::{Call, CallFault, PASSED_HEADERS};

pub(super) const REFUNDS: &str = r#"
inline:
  createRefund:
    method: POST
    path: /customers/{id}/refunds
    query:
      dry_run: { schema: { type: boolean } }
      tag: { schema: { type: array, items: { type: string } } }
      ids: { schema: { type: array, maxItems: 3, items: { type: integer } } }
    headers:
      x-reason: { required: true, schema: { type: string, maxLength: 20 } }
    parameters: { id: { type: integer } }
    body:
      schema:
        type: object
        required: [amount]
        properties:
          amount: { type: integer, minimum: 1 }
          price: { type: number }
          currency: { type: string, enum: [EUR, USD] }
          note: { type: [string, "null"] }
          tags: { type: array, items: { type: string } }
          meta: { type: object }
          customer:
            type: object
            properties: { email: { type: string }, vip: { type: boolean } }
  getCustomer: { method: GET, path: "/customers/{id}" }
  export: { method: POST, path: /export }
  upload: { method: PUT, path: /blob, body: { media_types: [text/plain] } }
"#;

fn refund(body: &str) -> Result<crate::call::HttpCall, CallFault> {
    let catalogue = catalogue(REFUNDS);
    let headers = [JSON, ("x-reason", "late")];
    send(
        &catalogue,
        "POST",
        "/customers/7/refunds",
        &headers,
        body.as_bytes(),
    )
}

#[test]
fn a_declared_request_is_projected_by_the_table() {
    let catalogue = catalogue(REFUNDS);
    let call = send(
        &catalogue,
        "POST",
        "/customers/42/refunds?dry_run=true&tag=a&tag=b",
        &[JSON, ("x-reason", "late")],
        br#"{"amount":12,"price":1.25e1,"currency":"EUR","note":null,"tags":["a"],"meta":{"x":[1]},
            "customer":{"email":"a@b.example"}}"#,
    )
    .unwrap();
    let string = |text: &str| Some(Value::String(text.to_owned()));
    assert_eq!(seen(&call, "path.id"), Some(Value::Long(42)));
    assert_eq!(seen(&call, "query.dry_run"), Some(Value::Bool(true)));
    let tags = Value::Set(vec![Value::String("a".into()), Value::String("b".into())]);
    assert_eq!(seen(&call, "query.tag"), Some(tags));
    assert_eq!(seen(&call, "header.x-reason"), string("late"));
    assert_eq!(seen(&call, "body.amount"), Some(Value::Long(12)));
    assert_eq!(
        seen(&call, "body.price"),
        Some(Value::Decimal("12.5".into()))
    );
    assert_eq!(seen(&call, "body.currency"), string("EUR"));
    assert_eq!(seen(&call, "body.note"), None);
    assert_eq!(seen(&call, "body.meta"), None);
    assert_eq!(seen(&call, "body.customer.email"), string("a@b.example"));
    assert_eq!(call.function().id.to_string(), "payments/createRefund");
}

// T4, P3: what the policy reads is what the function reads, or the call is refused.
#[test]
fn duplicate_members_are_refused() {
    for body in [
        r#"{"amount":1,"amount":9999}"#,
        r#"{"amount":1,"amoun\u0074":9999}"#,
        r#"{"amount":1,"customer":{"vip":true,"vip":false}}"#,
        r#"{"amount":1,"meta":{"a":1,"a":2}}"#,
    ] {
        assert!(bad(refund(body)).contains("duplicate member"), "{body}");
    }
}

// P3
#[test]
fn undeclared_members_and_case_variants_are_refused_at_every_depth() {
    let cases = [
        (
            r#"{"amount":1,"amuont":2}"#,
            "`body.amuont` is not declared by the function",
        ),
        (
            r#"{"amount":1,"Amount":2}"#,
            "`body.Amount` differs only in case from the declared `amount`",
        ),
        (
            r#"{"amount":1,"customer":{"Email":"x"}}"#,
            "`body.customer.Email` differs only in case from the declared `email`",
        ),
        (
            r#"{"amount":1,"customer":{"role":"admin"}}"#,
            "`body.customer.role` is not declared by the function",
        ),
        // The Kelvin sign and the long s fold to plain letters.
        (
            "{\"amount\":1,\"tag\u{17f}\":[]}",
            "`body.tag\\u{17f}` differs only in case from the declared `tags`",
        ),
    ];
    for (body, text) in cases {
        assert_eq!(bad(refund(body)), text, "{body}");
    }
}

// T5, T13
#[test]
fn numbers_that_policy_cannot_hold_are_refused() {
    let cases = [
        (
            r#"{"amount":9223372036854775808}"#,
            "`body.amount` is not within 64 bits",
        ),
        (
            r#"{"amount":1.0}"#,
            "`body.amount` is not an integer (without point or exponent)",
        ),
        (
            r#"{"amount":1e3}"#,
            "`body.amount` is not an integer (without point or exponent)",
        ),
        (
            r#"{"amount":"1"}"#,
            "`body.amount` is not an integer (without point or exponent)",
        ),
        (
            r#"{"amount":null}"#,
            "`body.amount` is not an integer (without point or exponent)",
        ),
        (r#"{"amount":0}"#, "`body.amount` is too small"),
        (r#"{}"#, "`body.amount` is missing"),
        (
            r#"{"amount":1,"price":0.00001}"#,
            "`body.price` has more than four digits after the point, or is too large",
        ),
        (
            r#"{"amount":1,"price":1e18}"#,
            "`body.price` has more than four digits after the point, or is too large",
        ),
        (
            r#"{"amount":1,"currency":"eur"}"#,
            "`body.currency` is not one of the declared values",
        ),
    ];
    for (body, text) in cases {
        assert_eq!(bad(refund(body)), text, "{body}");
    }
    let call = refund(r#"{"amount":9223372036854775807,"price":-0.1234}"#).unwrap();
    assert_eq!(seen(&call, "body.amount"), Some(Value::Long(i64::MAX)));
    assert_eq!(
        seen(&call, "body.price"),
        Some(Value::Decimal("-0.1234".into()))
    );
}

// T12: names that are escapes in Cedar's JSON form are members like others, so undeclared.
#[test]
fn cedar_escapes_in_a_body_are_undeclared_members() {
    for name in ["__entity", "__extn", "__expr"] {
        let body = format!(r#"{{"amount":1,"customer":{{"{name}":{{"type":"T","id":"x"}}}}}}"#);
        let text = format!("`body.customer.{name}` is not declared by the function");
        assert_eq!(bad(refund(&body)), text);
    }
}

#[test]
fn undeclared_and_repeated_parameters_are_refused() {
    let catalogue = catalogue(REFUNDS);
    let query = |query: &str| {
        let target = format!("/customers/7/refunds?{query}");
        bad(send(
            &catalogue,
            "POST",
            &target,
            &[JSON, ("x-reason", "a")],
            br#"{"amount":1}"#,
        ))
    };
    assert_eq!(
        query("dry_run=true&dry_run=false"),
        "`query.dry_run` is given more than once"
    );
    assert_eq!(
        query("dryrun=true"),
        "`query.dryrun` is not declared by the function"
    );
    let text = "`query.Dry_run` differs only in case from the declared `dry_run`";
    assert_eq!(query("Dry_run=true"), text);
    assert_eq!(
        query("dry_run=1"),
        "`query.dry_run` is not `true` or `false`"
    );
    assert_eq!(query("dry_run"), "`query.dry_run` is not `true` or `false`");
    assert_eq!(
        query("tag[]=a"),
        "`query.tag[]` is not declared by the function"
    );
    assert_eq!(
        query("ids=1&ids=2&ids=3&ids=4"),
        "`query.ids` has too many elements"
    );
    assert_eq!(
        query("ids=007"),
        "`query.ids` is not an integer in its plain form"
    );
    assert!(query("tag=a+b").contains("write `%20`"));
    assert!(query("tag=a&&tag=b").contains("`&`"));
}

#[test]
fn path_parameters_are_typed() {
    let catalogue = catalogue(REFUNDS);
    for id in ["x", "007", "+7", "7.0", "-0", "9223372036854775808", "7%20"] {
        let Ok(target) = wire::http::Target::parse(&format!("/customers/{id}/refunds")) else {
            continue;
        };
        let headers = [JSON, ("x-reason", "a")];
        let result = send(
            &catalogue,
            "POST",
            target.as_str(),
            &headers,
            br#"{"amount":1}"#,
        );
        assert!(bad(result).starts_with("`path.id` is not"), "{id}");
    }
    // An inline path parameter without a schema is a string.
    let call = get(&catalogue, "/customers/%61b%20c").unwrap();
    assert_eq!(seen(&call, "path.id"), Some(Value::String("ab c".into())));
    assert_eq!(call.target().as_str(), "/customers/ab%20c");
}

#[test]
fn declared_headers_are_single_and_typed() {
    let catalogue = catalogue(REFUNDS);
    let with = |headers: &[(&str, &str)]| {
        let mut all = vec![JSON];
        all.extend_from_slice(headers);
        bad(send(
            &catalogue,
            "POST",
            "/customers/7/refunds",
            &all,
            br#"{"amount":1}"#,
        ))
    };
    assert_eq!(with(&[]), "`header.x-reason` is missing");
    let twice = [("x-reason", "a"), ("x-reason", "b")];
    assert_eq!(with(&twice), "`header.x-reason` is given more than once");
    let long = "a".repeat(21);
    assert_eq!(
        with(&[("x-reason", &long)]),
        "`header.x-reason` is too long"
    );
}

// I6, and design 7: credentials, identity and hop headers never go on.
#[test]
fn only_declared_and_listed_headers_are_forwarded() {
    assert!(PASSED_HEADERS.is_sorted());
    let catalogue = catalogue(REFUNDS);
    let headers = [
        JSON,
        ("x-reason", "late"),
        ("accept", "application/json"),
        ("idempotency-key", "k1"),
        ("authorization", "Bearer caller"),
        ("accept-encoding", "gzip"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-user-id", "root"),
        ("x_reason", "x"),
        ("connection", "close"),
        ("host", "a.example"),
        ("content-length", "13"),
        ("x-undeclared", "1"),
        ("callgate-call", "1"),
    ];
    let call = send(
        &catalogue,
        "POST",
        "/customers/7/refunds",
        &headers,
        br#"{"amount":12}"#,
    )
    .unwrap();
    let mut names: Vec<_> = call
        .headers()
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["accept", "content-type", "idempotency-key", "x-reason"]
    );
    let shown = format!("{:?} {}", call, call.content().head);
    assert!(!shown.contains("Bearer"));
}

#[test]
fn additional_input_is_forwarded_only_where_allowed() {
    let open = catalogue(
        r#"
        headers: [x-tenant]
        inline:
          search:
            method: POST
            path: /search
            additional: allow
            query: { limit: { schema: { type: integer } } }
            body: { schema: { type: object, properties: { term: { type: string } } } }
        "#,
    );
    let headers = [
        JSON,
        ("x-any", "1"),
        ("cookie", "a=b"),
        ("authorization", "Bearer x"),
        ("x-user", "root"),
        ("x-forwarded-for", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("x_user", "root"),
        ("te", "trailers"),
    ];
    let body = br#"{"term":"a","more":{"deep":[1]}}"#;
    let call = send(&open, "POST", "/search?limit=1&x=1&x=2", &headers, body).unwrap();
    assert_eq!(call.target().as_str(), "/search?limit=1&x=1&x=2");
    assert!(call.headers().contains_key("x-any") && call.headers().contains_key("cookie"));
    // I6, I7: whatever is allowed, these are not.
    for name in [
        "authorization",
        "x-user",
        "x-forwarded-for",
        "forwarded",
        "x_user",
        "te",
    ] {
        assert!(!call.headers().contains_key(name), "{name}");
    }
    assert_eq!(call.input().members.len(), 2);
    // Even there nothing may stand beside a declared name and differ in case only.
    assert!(bad(post(&open, "/search?Limit=5", "{}")).contains("differs only in case"));
    assert!(bad(post(&open, "/search", r#"{"TERM":"b"}"#)).contains("differs only in case"));
    assert!(bad(post(&open, "/search?limit=1&limit=2", "{}")).contains("more than once"));
}

#[test]
fn one_path_apis_are_told_apart_by_the_body_or_a_header() {
    let rpc = catalogue(
        r#"
        inline:
          refund: &f
            method: POST
            path: /rpc
            when: { body: { action: refund } }
            body: { schema: { type: object, properties: { action: { type: string }, amount: { type: integer } } } }
          cancel: { <<: *f, when: { body: { action: cancel } } }
          viaHeader: { method: POST, path: /rpc2, when: { header: { x-target: A } } }
          viaOther: { method: POST, path: /rpc2, when: { header: { x-target: B } } }
        "#,
    );
    let name = |call: crate::call::HttpCall| call.function().id.name().to_owned();
    let call = post(&rpc, "/rpc", r#"{"action":"refund","amount":1}"#);
    assert_eq!(call.map(name), Ok("refund".to_owned()));
    assert_eq!(
        post(&rpc, "/rpc", r#"{"action":"cancel"}"#).map(name),
        Ok("cancel".to_owned())
    );
    for body in [
        r#"{"action":"drop"}"#,
        r#"{"Action":"refund"}"#,
        "{}",
        "[]",
        r#"{"action":null}"#,
    ] {
        assert!(
            matches!(post(&rpc, "/rpc", body), Err(CallFault::NotFound(_))),
            "{body}"
        );
    }
    assert!(
        bad(post(
            &rpc,
            "/rpc",
            r#"{"action":"refund","action":"cancel"}"#
        ))
        .contains("duplicate")
    );
    assert!(bad(post(&rpc, "/rpc", "")).contains("missing"));
    let header = send(&rpc, "POST", "/rpc2", &[("x-target", "B")], b"x");
    assert_eq!(header.map(name), Ok("viaOther".to_owned()));
    // I6: the first of several values is not taken for all of them.
    for headers in [&[][..], &[("x-target", "A"), ("x-target", "B")]] {
        let result = send(&rpc, "POST", "/rpc2", headers, b"x");
        assert!(matches!(result, Err(CallFault::NotFound(_))), "{headers:?}");
    }
}

#[test]
fn plus_is_a_space_only_when_the_operator_says_so() {
    let yaml = "inline: { find: { method: GET, path: /find, query: { q: {} } } }";
    assert!(bad(get(&catalogue(yaml), "/find?q=a+b")).contains('+'));
    let call = get(
        &catalogue(&format!("plus: space\n{yaml}")),
        "/find?q=a+b%2B",
    )
    .unwrap();
    assert_eq!(seen(&call, "query.q"), Some(Value::String("a b+".into())));
    assert_eq!(call.target().as_str(), "/find?q=a%20b%2B");
}

#[test]
fn form_bodies_are_typed_as_their_members() {
    let form = catalogue(
        r#"
        inline:
          pay:
            method: POST
            path: /pay
            body:
              media_types: [application/x-www-form-urlencoded]
              schema:
                type: object
                required: [amount]
                properties:
                  amount: { type: integer }
                  live: { type: boolean }
                  tags: { type: array, items: { type: string } }
        "#,
    );
    let media = [("content-type", "application/x-www-form-urlencoded")];
    let pay = |body: &str| send(&form, "POST", "/pay", &media, body.as_bytes());
    let call = pay("amount=12&live=true&tags=a+b&tags=c").unwrap();
    assert_eq!(seen(&call, "body.amount"), Some(Value::Long(12)));
    let tags = Value::Set(vec![Value::String("a b".into()), Value::String("c".into())]);
    assert_eq!(seen(&call, "body.tags"), Some(tags));
    assert_eq!(
        bad(pay("amount=1&amount=2")),
        "`body.amount` is given more than once"
    );
    assert_eq!(
        bad(pay("amount=1&x=2")),
        "`body.x` is not declared by the function"
    );
    assert!(bad(pay("amount=1&Amount=2")).contains("differs only in case"));
    assert_eq!(bad(pay("live=true")), "`body.amount` is missing");
    assert!(bad(pay("amount=1;live=true")).contains("percent-encoded"));
}

#[test]
fn json_that_two_readers_read_differently_is_refused() {
    for body in [
        "\u{feff}{\"amount\":1}",
        r#"{"amount":1} {"amount":2}"#,
        r#"{"amount":1}x"#,
        r#"{"amount":1,}"#,
        r#"{amount:1}"#,
        r#"{"amount":0x1}"#,
        r#"{"amount":01}"#,
        r#"{"amount":NaN}"#,
        r#"{"amount":1/**/}"#,
        r#"{"amount":1,"note":"\ud800"}"#,
        r#"{"amount":1,"a\u0000":1}"#,
        "",
        " ",
        "null",
        "[]",
    ] {
        bad(refund(body));
    }
    let deep = format!(
        r#"{{"amount":1,"meta":{}{}}}"#,
        r#"{"a":"#.repeat(70),
        "1".to_owned() + &"}".repeat(70)
    );
    assert!(bad(refund(&deep)).contains("deep"));
}

#[test]
fn refusals_never_repeat_values() {
    let secret = "s3cr3t";
    let catalogue = catalogue(REFUNDS);
    let results = [
        refund(&format!(r#"{{"amount":"{secret}"}}"#)).map(|_| ()),
        refund(&format!(r#"{{"amount":1,"currency":"{secret}"}}"#)).map(|_| ()),
        refund(&format!("{{{secret}")).map(|_| ()),
        get(&catalogue, &format!("/customers/7?{secret}={secret}")).map(|_| ()),
        send(
            &catalogue,
            "PUT",
            "/blob",
            &[("content-type", secret)],
            b"x",
        )
        .map(|_| ()),
    ];
    for (at, result) in results.into_iter().enumerate() {
        let text = result.unwrap_err().to_string();
        // Only the name of the undeclared parameter may be repeated.
        assert_eq!(text.matches(secret).count(), usize::from(at == 3), "{text}");
    }
}

#[test]
fn optional_parameters_are_absent_from_a_record_that_is_there() {
    let catalogue = catalogue("inline: { find: { method: GET, path: /find, query: { q: {} } } }");
    let call = get(&catalogue, "/find").unwrap();
    assert_eq!(
        seen(&call, "query"),
        Some(Value::Record(std::collections::BTreeMap::new()))
    );
    assert!(catalogue.functions()[0].input.members["query"].required);
}
