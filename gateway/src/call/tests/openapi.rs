use super::{JSON, bad, get, import, post, seen, send};
use crate::call::input::Value;
use crate::call::shape::Shape;
use crate::call::{Call, CallFault, Catalogue, Durability, Effect};

const PAYMENTS: &str = r##"
openapi: 3.0.3
info: { title: Payments, version: "1" }
servers: [{ url: "https://evil.example/base" }]
paths:
  /customers/{id}:
    parameters:
      - { name: id, in: path, required: true, schema: { type: integer, format: int64 } }
      - { $ref: "#/components/parameters/Trace" }
    get:
      operationId: getCustomer
      summary: |
        Read a customer
        and more
      parameters:
        - { name: expand, in: query, schema: { type: array, items: { type: string } }, explode: false }
        - { name: Accept, in: header, schema: { type: string } }
    delete: { x-callgate-effect: write }
  /refunds:
    post:
      operationId: createRefund
      requestBody:
        required: true
        content:
          application/json: { schema: { $ref: "#/components/schemas/Refund" } }
          application/xml: { schema: { $ref: "#/components/schemas/Refund" } }
  /reports:
    post:
      operationId: uploadReport
      requestBody: { content: { application/pdf: { schema: { type: string, format: binary } } } }
    put: { operationId: "reports/put all" }
components:
  parameters:
    Trace: { name: X-Trace, in: header, schema: { type: string } }
  schemas:
    Refund:
      allOf:
        - $ref: "#/components/schemas/Base"
        - type: object
          required: [amount, id]
          properties:
            id: { type: string, readOnly: true }
            amount: { type: number, minimum: 0, exclusiveMinimum: true }
            parent: { $ref: "#/components/schemas/Refund" }
            reason: { type: string, nullable: true, enum: [fraud, other] }
    Base:
      type: object
      properties:
        labels: { type: object, additionalProperties: { type: string } }
"##;

#[test]
fn a_document_becomes_functions() {
    let catalogue = import(PAYMENTS, "").unwrap();
    let names: Vec<_> = catalogue
        .functions()
        .iter()
        .map(|found| found.id.name())
        .collect();
    let wanted = [
        "createRefund",
        "delete-customers-id",
        "getCustomer",
        "reports-put-all",
        "uploadReport",
    ];
    assert_eq!(names, wanted);
    assert_eq!(catalogue.functions()[1].effect, Effect::Write);
    assert_eq!(
        catalogue.functions()[2].summary.as_deref(),
        Some("Read a customer")
    );
    let notes = catalogue.notes().join("\n");
    assert!(
        notes.contains("api.yaml#/paths/~1customers~1{id}/delete: it has no `operationId`"),
        "{notes}"
    );
    assert!(notes.contains("application~1xml: left out"), "{notes}");
    assert!(notes.contains("`reports-put-all`"), "{notes}");
}

#[test]
fn imported_parameters_are_judged() {
    let catalogue = import(PAYMENTS, "").unwrap();
    let call = send(
        &catalogue,
        "GET",
        "/customers/12?expand=a,b",
        &[("x-trace", "t")],
        b"",
    )
    .unwrap();
    assert_eq!(seen(&call, "path.id"), Some(Value::Long(12)));
    let expand = Value::Set(vec![Value::String("a".into()), Value::String("b".into())]);
    assert_eq!(seen(&call, "query.expand"), Some(expand));
    assert_eq!(
        seen(&call, "header.x-trace"),
        Some(Value::String("t".into()))
    );
    assert!(bad(get(&catalogue, "/customers/12?expand=a%2Cb")).contains("escaped comma"));
    assert!(bad(get(&catalogue, "/customers/12?expand=a&expand=b")).contains("more than once"));
    // The document's `servers` add nothing to the path.
    assert!(matches!(
        get(&catalogue, "/base/customers/12"),
        Err(CallFault::NotFound(_))
    ));
}

#[test]
fn imported_bodies_are_judged() {
    let catalogue = import(PAYMENTS, "").unwrap();
    let call = post(
        &catalogue,
        "/refunds",
        r#"{"amount":2.5,"reason":null,"labels":{"a":"b"},"parent":{"amount":1}}"#,
    )
    .unwrap();
    assert_eq!(
        seen(&call, "body.amount"),
        Some(Value::Decimal("2.5".into()))
    );
    let Shape::Record(body) = &call.function().input.members["body"].shape else {
        panic!("no record");
    };
    assert_eq!(body.members["labels"].shape, Shape::Opaque);
    assert_eq!(body.members["parent"].shape, Shape::Opaque);
    assert!(!body.members["id"].required && body.members["amount"].required);
    assert_eq!(
        bad(post(&catalogue, "/refunds", r#"{"amount":0}"#)),
        "`body.amount` is too small"
    );
    let nested = r#"{"amount":1,"parent":{"amount":1,"evil":1}}"#;
    let text = "`body.parent.evil` is not declared by the function";
    assert_eq!(bad(post(&catalogue, "/refunds", nested)), text);
    let xml = send(
        &catalogue,
        "POST",
        "/refunds",
        &[("content-type", "application/xml")],
        b"<a/>",
    );
    assert!(matches!(xml, Err(CallFault::UnsupportedMediaType(_))));
    let pdf = send(
        &catalogue,
        "POST",
        "/reports",
        &[("content-type", "application/pdf")],
        b"x",
    );
    assert!(pdf.is_ok());
    let json = send(&catalogue, "POST", "/reports", &[JSON], b"{}");
    assert!(matches!(json, Err(CallFault::UnsupportedMediaType(_))));
    // A function without `requestBody` takes none.
    assert_eq!(
        bad(send(&catalogue, "PUT", "/reports", &[JSON], b"{}")),
        "the function takes no body"
    );
}

#[test]
fn overrides_and_omissions_apply_by_name() {
    let config = r#"
omit: [uploadReport]
overrides:
  createRefund: { effect: destructive, durability: async, additional: allow }
"#;
    let catalogue = import(PAYMENTS, config).unwrap();
    let refund = &catalogue.functions()[0];
    assert_eq!(
        (refund.effect, refund.durability),
        (Effect::Destructive, Durability::Async)
    );
    assert!(post(&catalogue, "/refunds", r#"{"amount":1,"extra":1}"#).is_ok());
    let omitted = send(
        &catalogue,
        "POST",
        "/reports",
        &[("content-type", "application/pdf")],
        b"x",
    );
    assert!(matches!(omitted, Err(CallFault::NotFound(_))));
    let wrong = import(PAYMENTS, "omit: [nothing]\noverrides: { CreateRefund: {} }").unwrap_err();
    let text: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    assert!(
        text[0].contains("the document has no function `nothing`"),
        "{text:?}"
    );
    assert!(text[1].contains("did you mean `createRefund`?"), "{text:?}");
}

fn fault(operation: &str) -> String {
    let document =
        format!("openapi: 3.1.0\npaths: {{ /a: {{ post: {{ operationId: a, {operation} }} }} }}");
    let faults = import(&document, "").unwrap_err();
    faults.iter().map(|fault| format!("{fault}\n")).collect()
}

#[test]
fn what_cannot_be_judged_is_a_fault_with_its_place() {
    let cases = [
        (
            "parameters: [{ name: c, in: cookie, schema: {} }]",
            "cookie parameters are not supported",
        ),
        (
            "parameters: [{ name: c, in: query, style: deepObject, schema: {} }]",
            "style `deepObject` is not supported",
        ),
        (
            "parameters: [{ name: c, in: query, content: { application/json: {} } }]",
            "the parameter has no `schema`",
        ),
        (
            "parameters: [{ name: c, in: body, schema: {} }]",
            "is not a place",
        ),
        (
            "parameters: [{ name: x-forwarded-for, in: header, required: true, schema: {} }]",
            "header `x-forwarded-for` is never forwarded",
        ),
        (
            "parameters: [{ name: c, in: query, schema: { type: object } }]",
            "`query.c` is an object",
        ),
        (
            "parameters: [{ name: c, in: query, schema: {} }, { name: c, in: query, schema: {} }]",
            "the parameter is declared twice",
        ),
        (
            "requestBody: { content: { application/json: { schema: { not: {} } } } }",
            "api.yaml#/paths/~1a/post/requestBody/content/application~1json/schema/not: keyword `not` is not supported",
        ),
        ("x-callgate-effect: none", "is not an effect"),
        (
            "requestBody: { content: { application/json: { schema: { type: string } }, application/x-www-form-urlencoded: { schema: { type: object } } } }",
            "its media types have different schemas",
        ),
    ];
    for (operation, text) in cases {
        let found = fault(operation);
        assert!(found.contains(text), "{operation}\n{found}");
    }
}

// X6: the loader never leaves the document.
#[test]
fn references_out_of_the_document_are_faults_and_never_fetched() {
    for reference in [
        "http://127.0.0.1:1/a.yaml",
        "https://169.254.169.254/latest",
        "//metadata/a",
        "file:///etc/passwd",
        "other.yaml#/a",
        "../x.yaml",
        "/etc/passwd",
        "http://[::ffff:169.254.169.254]/",
    ] {
        for operation in [
            format!("requestBody: {{ $ref: '{reference}' }}"),
            format!("parameters: [{{ $ref: '{reference}' }}]"),
            format!(
                "requestBody: {{ content: {{ application/json: {{ schema: {{ $ref: '{reference}' }} }} }} }}"
            ),
        ] {
            let found = fault(&operation);
            assert!(
                found.contains("the reference leads out of the document"),
                "{operation}\n{found}"
            );
        }
    }
}

#[test]
fn other_documents_are_refused() {
    for (document, text) in [
        ("swagger: '2.0'\npaths: {}", "is not 3.0.x or 3.1.x"),
        ("openapi: 3.2.0\npaths: {}", "is not 3.0.x or 3.1.x"),
        ("openapi: 3.1.0", "is missing"),
        (
            "openapi: 3.1.0\npaths: {}",
            "the connection has no functions",
        ),
        ("openapi: 3.1.0\nopenapi: 3.1.0", "uplicate"),
        ("a: [", "api.yaml"),
    ] {
        let faults = import(document, "").unwrap_err();
        assert!(faults[0].to_string().contains(text), "{faults:?}");
    }
    let missing = super::load("openapi: nowhere.yaml").unwrap_err();
    assert!(missing[0].to_string().contains("nowhere.yaml"));
}

/// What generators of common frameworks write.
const GENERATED: &str = r##"
openapi: 3.1.0
paths:
  /items/:
    get:
      operationId: list_items__get
      parameters:
        - { name: q, in: query, required: false, schema: { anyOf: [{ type: string }, { type: "null" }], title: Q } }
        - { name: tag, in: query, schema: { anyOf: [{ type: array, items: { type: string } }, { type: "null" }] } }
        - { name: pageable, in: query, required: true, schema: { $ref: "#/components/schemas/Pageable" } }
    post:
      operationId: create_item
      requestBody:
        content:
          application/json: { schema: { $ref: "#/components/schemas/Item" } }
          text/json: { schema: { $ref: "#/components/schemas/Item" } }
          application/*+json: { schema: { $ref: "#/components/schemas/Item" } }
  /files: { post: { operationId: upload, requestBody: { content: { multipart/form-data: { schema: { type: object } } } } } }
components:
  schemas:
    Pageable:
      type: object
      required: [size]
      properties: { page: { type: integer, format: int32, minimum: 0 }, size: { type: integer, minimum: 1 } }
    Item:
      title: Item
      type: object
      required: [name, kind]
      properties:
        name: { type: string, title: Name, minLength: 1 }
        price: { anyOf: [{ type: number, exclusiveMinimum: 0 }, { type: "null" }] }
        kind: { type: integer, enum: [0, 1, 2], format: int32 }
        owner: { allOf: [{ $ref: "#/components/schemas/Owner" }], default: {} }
        extra: { type: object, additionalProperties: true }
    Owner: { type: object, properties: { id: { type: string, format: uuid } } }
"##;

#[test]
fn what_generators_write_can_be_judged() {
    let catalogue = import(GENERATED, "").unwrap();
    let call = get(&catalogue, "/items/?q=a&tag=b&page=0&size=10").unwrap();
    assert_eq!(seen(&call, "query.q"), Some(Value::String("a".into())));
    assert_eq!(
        seen(&call, "query.tag"),
        Some(Value::Set(vec![Value::String("b".into())]))
    );
    assert_eq!(seen(&call, "query.size"), Some(Value::Long(10)));
    assert_eq!(
        bad(get(&catalogue, "/items/?page=0")),
        "`query.size` is missing"
    );
    assert_eq!(
        bad(get(&catalogue, "/items/?size=1&page=-1")),
        "`query.page` is too small"
    );
    let item = r#"{"name":"a","kind":1,"price":2.5,"extra":{"x":1},
        "owner":{"id":"00000000-0000-0000-0000-000000000000"}}"#;
    let call = post(&catalogue, "/items/", item).unwrap();
    assert_eq!(
        seen(&call, "body.price"),
        Some(Value::Decimal("2.5".into()))
    );
    assert_eq!(seen(&call, "body.kind"), Some(Value::Long(1)));
    assert!(seen(&call, "body.owner.id").is_some());
    assert!(
        bad(post(&catalogue, "/items/", r#"{"name":"a","kind":3}"#)).contains("declared values")
    );
    let form = [("content-type", "multipart/form-data; boundary=x")];
    assert!(send(&catalogue, "POST", "/files", &form, b"--x--").is_ok());
}

#[test]
fn headers_that_the_gateway_sets_are_not_asked_of_callers() {
    let document = "openapi: 3.1.0\npaths: { /a: { get: { operationId: a, parameters: [ \
        { name: X-Api-Key, in: header, required: true, schema: {} }, \
        { name: api_key, in: header, schema: {} } ] } } }";
    let catalogue = import(document, "provided: [x-api-key]").unwrap();
    assert!(get(&catalogue, "/a").is_ok());
    assert!(catalogue.notes()[0].contains("header `api_key` never goes on"));
    let asked = import(document, "").unwrap();
    assert_eq!(bad(get(&asked, "/a")), "`header.x-api-key` is missing");
}

#[test]
fn json_documents_are_read_strictly() {
    let folder = tempfile::tempdir().unwrap();
    let load = |text: &str| {
        std::fs::write(folder.path().join("api.json"), text).unwrap();
        let config = serde_saphyr::from_str("openapi: api.json").unwrap();
        Catalogue::load(&config, &"payments".parse().unwrap(), folder.path())
    };
    let good = r#"{"openapi":"3.1.0","x-a":"\ud83d\ude00","paths":{"x-note":1,"/a":{"get":{"operationId":"a"}}}}"#;
    assert_eq!(load(good).unwrap().functions().len(), 1);
    let twice = r#"{"openapi":"3.1.0","paths":{"/a":{"get":{}},"/a":{"post":{}}}}"#;
    assert!(
        load(twice).unwrap_err()[0]
            .to_string()
            .contains("duplicate member")
    );
}

#[test]
fn yaml_words_stay_texts() {
    let document = "openapi: 3.1.0\npaths: { /a: { get: { operationId: a, parameters: [ \
        { name: c, in: query, schema: { enum: [no, on, 010, 1_000] } } ] } } }";
    let catalogue = import(document, "").unwrap();
    for value in ["no", "on", "010", "1_000"] {
        assert!(get(&catalogue, &format!("/a?c={value}")).is_ok(), "{value}");
    }
}

#[test]
fn a_parameter_carries_the_class_that_the_document_or_the_config_gives_it() {
    let document = r#"
openapi: 3.0.3
info: { title: x, version: "1" }
paths:
  /people/{id}:
    get:
      operationId: find
      parameters:
        - { name: id, in: path, required: true, schema: { type: string } }
        - { name: mail, in: query, schema: { type: string }, x-callgate-class: email }
"#;
    let change = "overrides: { find: { classes: { path.id: customer } } }";
    let catalogue = import(document, change).unwrap();
    let function = &catalogue.functions()[0];
    let classes: Vec<_> = function
        .classes
        .iter()
        .map(|(place, class)| format!("{place} {class}"))
        .collect();
    assert_eq!(classes, ["path.id customer", "query.mail email"]);
    let wrong = document.replace("x-callgate-class: email", "x-callgate-class: 7");
    assert!(import(&wrong, "").is_err());
}
