use super::{bad, catalogue, load, post, seen};
use crate::call::input::Value;
use crate::call::shape::Shape;
use crate::call::{CallFault, Catalogue};

/// A function with one body schema, given in YAML flow style.
fn with(schema: &str) -> Catalogue {
    catalogue(&format!(
        "inline: {{ f: {{ method: POST, path: /f, body: {{ schema: {schema} }} }} }}"
    ))
}

fn takes(catalogue: &Catalogue, body: &str) -> bool {
    match post(catalogue, "/f", body) {
        Ok(_) => true,
        Err(CallFault::BadRequest(_)) => false,
        Err(other) => panic!("{other:?}"),
    }
}

fn verdicts(schema: &str, good: &[&str], wrong: &[&str]) {
    let catalogue = with(schema);
    for body in good {
        assert!(takes(&catalogue, body), "{schema} must take {body}");
    }
    for body in wrong {
        assert!(!takes(&catalogue, body), "{schema} must refuse {body}");
    }
}

fn shape(schema: &str) -> Shape {
    with(schema).functions()[0].input.members["body"]
        .shape
        .clone()
}

#[test]
fn scalar_rules_hold() {
    verdicts(
        "{ type: integer, minimum: 1, exclusiveMaximum: 3 }",
        &["1", "2"],
        &["0", "3", "2.5", "\"1\""],
    );
    verdicts(
        "{ type: number, multipleOf: 0.1 }",
        &["0.3", "1", "-2.20"],
        &["0.35", "1e-2"],
    );
    verdicts(
        "{ type: number, minimum: -0.5 }",
        &["-0.5", "-0.50", "-5e-1"],
        &["-0.51"],
    );
    verdicts(
        "{ type: integer, format: int32 }",
        &["2147483647"],
        &["2147483648", "-2147483649"],
    );
    verdicts(
        "{ type: string, minLength: 2, maxLength: 3 }",
        &["\"éé\"", "\"abc\""],
        &["\"é\"", "\"abcd\""],
    );
    verdicts(
        "{ type: string, pattern: '^\\d+$' }",
        &["\"12\""],
        &["\"\"", "\"1x\"", "\"\u{0661}\"", "\"1\\n\""],
    );
    verdicts(
        "{ type: string, format: uuid }",
        &["\"00000000-0000-0000-0000-000000000000\""],
        &["\"x\"", "\"{00000000-0000-0000-0000-000000000000}\""],
    );
    verdicts(
        "{ type: string, format: date }",
        &["\"2026-02-28\""],
        &["\"2026-02-30\"", "\"2026-2-28\""],
    );
    verdicts(
        "{ type: string, format: date-time }",
        &["\"2026-02-28T00:00:00Z\""],
        &["\"2026-02-28\""],
    );
    verdicts(
        "{ type: string, format: ipv4 }",
        &["\"192.0.2.1\""],
        &["\"192.0.2.01\"", "\"1\""],
    );
    verdicts(
        "{ enum: [a, 1, true, null] }",
        &["\"a\"", "1", "true", "null"],
        &["\"b\"", "2", "false"],
    );
    verdicts("{ const: x }", &["\"x\""], &["\"y\"", "null"]);
    verdicts("{ type: boolean }", &["true"], &["\"true\"", "1", "null"]);
}

// T5: never through a float.
#[test]
fn large_numbers_are_compared_exactly() {
    verdicts(
        "{ type: object, properties: { m: { type: object, properties: { n: { type: integer, maximum: 9007199254740992 } } } } }",
        &[r#"{"m":{"n":9007199254740992}}"#],
        &[r#"{"m":{"n":9007199254740993}}"#],
    );
    verdicts(
        "{ type: integer, multipleOf: 3 }",
        &["9007199254740993"],
        &["9007199254740994"],
    );
}

#[test]
fn array_and_object_rules_hold() {
    verdicts(
        "{ type: array, items: { type: integer }, minItems: 1, maxItems: 2 }",
        &["[1]", "[1,2]"],
        &["[]", "[1,2,3]", "[\"a\"]", "[null]"],
    );
    verdicts(
        "{ type: array, items: {}, uniqueItems: true }",
        &["[1,\"1\",[1],{\"a\":1}]"],
        &["[1,1.0]", "[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1}]"],
    );
    verdicts(
        "{ type: object, properties: { a: {} }, required: [a] }",
        &[r#"{"a":null}"#],
        &["{}", r#"{"b":1}"#],
    );
    verdicts(
        "{ type: object, additionalProperties: { type: integer }, minProperties: 1 }",
        &[r#"{"x":1}"#],
        &["{}", r#"{"x":"y"}"#],
    );
    verdicts(
        "{ type: object, properties: { a: {} }, additionalProperties: true }",
        &[r#"{"a":1,"b":2}"#],
        &[r#"{"A":1}"#],
    );
    verdicts("{ type: object, properties: {} }", &["{}"], &[r#"{"a":1}"#]);
    verdicts("{ type: object }", &["{}", r#"{"a":1}"#], &["[]"]);
    verdicts(
        "{ type: object, maxProperties: 1, additionalProperties: true }",
        &[r#"{"a":1}"#],
        &[r#"{"a":1,"b":1}"#],
    );
}

#[test]
fn all_of_is_one_object() {
    let schema = "{ allOf: [ { type: object, properties: { a: { type: integer } }, required: [a] }, \
        { type: object, properties: { b: { type: string }, a: { minimum: 5 } }, additionalProperties: false } ] }";
    verdicts(
        schema,
        &[r#"{"a":5,"b":"x"}"#],
        &[r#"{"a":4}"#, r#"{"b":"x"}"#, r#"{"a":5,"c":1}"#],
    );
    let Shape::Record(record) = shape(schema) else {
        panic!("{:?}", shape(schema));
    };
    assert_eq!(record.members["a"].shape, Shape::Long);
    assert_eq!(record.members["b"].shape, Shape::String);
}

#[test]
fn unions_are_judged_but_opaque() {
    let schema = "{ type: object, properties: { k: { type: string } }, required: [k], oneOf: [ \
        { properties: { card: { type: string } }, required: [card] }, \
        { properties: { iban: { type: string } }, required: [iban] } ] }";
    verdicts(
        schema,
        &[r#"{"k":"a","card":"x"}"#, r#"{"k":"a","iban":"x"}"#],
        &[
            r#"{"k":"a"}"#,
            r#"{"k":"a","card":"x","iban":"y"}"#,
            r#"{"k":"a","card":"x","z":1}"#,
            r#"{"k":"a","card":1}"#,
            r#"{"k":"a","Card":"x","card":"y"}"#,
        ],
    );
    assert_eq!(shape(schema), Shape::Opaque);
    let any = "{ anyOf: [ { type: object, properties: { a: {} } }, { type: object, properties: { b: {} } }, { type: string } ] }";
    verdicts(
        any,
        &[r#"{"a":1,"b":2}"#, "\"x\"", "{}"],
        &[r#"{"c":1}"#, "1"],
    );
    // Branches that overlap on paper: the one that accounts for all members decides.
    let pets = "{ oneOf: [ { type: object, properties: { name: {} } }, { type: object, properties: { name: {}, bark: {} } } ] }";
    verdicts(
        pets,
        &[r#"{"name":"x","bark":1}"#],
        &[r#"{"name":"x"}"#, r#"{"meow":1}"#],
    );
}

#[test]
fn null_means_absent() {
    for schema in [
        "{ type: object, properties: { a: { type: [integer, 'null'] } }, required: [a] }",
        "{ type: object, properties: { a: { oneOf: [ { type: integer }, { type: 'null' } ] } }, required: [a] }",
        "{ type: object, properties: { a: { type: integer, nullable: true } }, required: [a] }",
        "{ type: object, properties: { a: { nullable: true, allOf: [ { type: integer } ] } }, required: [a] }",
    ] {
        let Shape::Record(record) = shape(schema) else {
            panic!("{schema}");
        };
        assert_eq!(record.members["a"].shape, Shape::Long, "{schema}");
        assert!(!record.members["a"].required, "{schema}");
        let catalogue = with(schema);
        let call = post(&catalogue, "/f", r#"{"a":null}"#).unwrap();
        assert_eq!(seen(&call, "body.a"), None);
        assert_eq!(
            seen(&post(&catalogue, "/f", r#"{"a":1}"#).unwrap(), "body.a"),
            Some(Value::Long(1))
        );
        assert_eq!(bad(post(&catalogue, "/f", "{}")), "`body.a` is missing");
    }
}

// X10
#[test]
fn recursion_is_judged_and_opaque_and_ends() {
    let schema = "{ $ref: '#/$defs/Tree', $defs: { Tree: { type: object, properties: { \
        v: { type: integer }, kids: { type: array, items: { $ref: '#/$defs/Tree' } }, left: { $ref: '#/$defs/Tree' } } } } }";
    verdicts(
        schema,
        &[r#"{"v":1,"kids":[{"v":2,"left":{"v":3}}]}"#],
        &[r#"{"left":{"left":{"x":1}}}"#, r#"{"kids":[{"v":"x"}]}"#],
    );
    let Shape::Record(record) = shape(schema) else {
        panic!("no record");
    };
    assert_eq!(record.members["v"].shape, Shape::Long);
    assert_eq!(record.members["left"].shape, Shape::Opaque);
    assert_eq!(record.members["kids"].shape, Shape::Opaque);
}

// X10: unions that multiply are refused, not computed.
#[test]
fn exploding_unions_are_refused_in_time() {
    let catalogue = with(
        "{ $ref: '#/$defs/E', $defs: { E: { oneOf: [ \
            { type: object, properties: { a: { $ref: '#/$defs/E' }, t: { const: x } }, required: [t] }, \
            { type: object, properties: { a: { $ref: '#/$defs/E' }, t: { const: y } }, required: [t] }, \
            { type: string } ] } } }",
    );
    let body = format!("{}\"x\"{}", r#"{"t":"z","a":"#.repeat(30), "}".repeat(30));
    let begun = std::time::Instant::now();
    bad(post(&catalogue, "/f", &body));
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
}

#[test]
fn circles_without_a_value_are_refused() {
    let circle = load(
        "inline: { f: { method: POST, path: /f, body: { schema: { $ref: '#/$defs/A', \
            $defs: { A: { allOf: [ { $ref: '#/$defs/A' } ] } } } } } }",
    );
    assert!(circle.is_err());
    let union = with(
        "{ $ref: '#/$defs/A', $defs: { A: { oneOf: [ { $ref: '#/$defs/A' }, { type: string } ] } } }",
    );
    assert!(!takes(&union, "1"));
}

#[test]
fn shapes_follow_the_published_table() {
    let cases = [
        ("{ type: boolean }", Shape::Bool),
        ("{ type: integer }", Shape::Long),
        (
            "{ type: integer, format: int64, enum: [1, 2] }",
            Shape::Long,
        ),
        ("{ type: number, format: double }", Shape::Decimal),
        ("{ type: string, format: byte }", Shape::String),
        ("{ enum: [a, b] }", Shape::String),
        (
            "{ type: array, items: { type: string } }",
            Shape::Set(Box::new(Shape::String)),
        ),
        (
            "{ type: array, items: { type: array, items: { type: string } } }",
            Shape::Opaque,
        ),
        (
            "{ type: array, items: { type: object, properties: {} } }",
            Shape::Opaque,
        ),
        (
            "{ type: array, items: { type: [string, 'null'] } }",
            Shape::Opaque,
        ),
        ("{ type: array }", Shape::Opaque),
        ("{ type: object }", Shape::Opaque),
        (
            "{ type: object, additionalProperties: { type: string } }",
            Shape::Opaque,
        ),
        ("{ type: [string, integer] }", Shape::Opaque),
        ("{}", Shape::Opaque),
        ("{ type: number, x-callgate-opaque: true }", Shape::Opaque),
    ];
    for (schema, wanted) in cases {
        assert_eq!(shape(schema), wanted, "{schema}");
    }
}

#[test]
fn opaque_members_take_numbers_of_any_precision() {
    let catalogue = catalogue(
        "inline: { f: { method: POST, path: /f, opaque: [body.at.lat], body: { schema: { type: object, \
            properties: { at: { type: object, properties: { lat: { type: number, maximum: 90 } } } } } } } }",
    );
    let call = post(&catalogue, "/f", r#"{"at":{"lat":52.5200081}}"#).unwrap();
    assert_eq!(seen(&call, "body.at.lat"), None);
    assert_eq!(
        bad(post(&catalogue, "/f", r#"{"at":{"lat":90.00001}}"#)),
        "`body.at.lat` is too large"
    );
}

#[test]
fn keywords_that_cannot_be_judged_are_faults() {
    for keyword in [
        "not: {}",
        "if: {}",
        "then: {}",
        "patternProperties: {}",
        "propertyNames: {}",
        "dependentRequired: {}",
        "dependentSchemas: {}",
        "contains: {}",
        "prefixItems: []",
        "unevaluatedProperties: true",
        "$dynamicRef: '#a'",
        "$id: 'http://a'",
        "$anchor: a",
        "requird: [a]",
        "additionalItems: false",
        "pattern: '(?=a)'",
        "pattern: '(a)\\1'",
        "pattern: '('",
        "type: text",
        "minLength: -1",
        "multipleOf: 0",
        "enum: [[1]]",
        "required: a",
        "oneOf: []",
        "$ref: 'other.yaml#/a'",
        "$ref: 'https://a.example/b'",
        "$ref: '//169.254.169.254/x'",
        "$ref: '#/nowhere'",
        "$ref: 'file:///etc/passwd'",
    ] {
        let yaml = format!(
            "inline: {{ f: {{ method: POST, path: /f, body: {{ schema: {{ {keyword} }} }} }} }}"
        );
        assert!(load(&yaml).is_err(), "{keyword}");
    }
}

/// A second opinion: for objects that are closed on paper, the validator of another project agrees.
#[test]
fn verdicts_agree_with_another_validator() {
    let schemas = [
        r#"{"type":"object","properties":{"a":{"type":"integer","minimum":2},"b":{"type":["string","null"],"maxLength":2}},"required":["a"],"additionalProperties":false}"#,
        r#"{"type":"array","items":{"anyOf":[{"type":"integer"},{"type":"string","pattern":"^a"}]},"uniqueItems":true,"maxItems":3}"#,
        r#"{"type":"object","additionalProperties":{"type":"number","multipleOf":0.5}}"#,
        r#"{"enum":["a",1,null,true]}"#,
        r#"{"oneOf":[{"type":"integer","maximum":5},{"type":"integer","minimum":4}]}"#,
        r#"{"type":"string","minLength":1,"pattern":"^[a-c]+$"}"#,
    ];
    let values = [
        "{}",
        r#"{"a":1}"#,
        r#"{"a":2}"#,
        r#"{"a":2,"b":null}"#,
        r#"{"a":2,"b":"abc"}"#,
        r#"{"a":2,"c":1}"#,
        "[]",
        "[1,\"a\"]",
        "[1,1]",
        "[1,\"b\"]",
        "[1,2,3,4]",
        r#"{"x":1.5}"#,
        r#"{"x":1.3}"#,
        "\"a\"",
        "1",
        "4",
        "5",
        "6",
        "null",
        "true",
        "false",
        "\"abc\"",
        "\"\"",
        "\"abd\"",
        "3.5",
    ];
    for schema in schemas {
        let document: serde_json::Value = serde_json::from_str(schema).unwrap();
        let other = jsonschema::validator_for(&document).unwrap();
        let ours = with(schema);
        for value in values {
            let parsed: serde_json::Value = serde_json::from_str(value).unwrap();
            assert_eq!(
                takes(&ours, value),
                other.is_valid(&parsed),
                "{schema} on {value}"
            );
        }
    }
}

#[test]
fn large_inputs_are_seen_less_deeply_but_evenly() {
    let leaf: Vec<String> = (0..60)
        .map(|n| format!("m{n}: {{ type: integer }}"))
        .collect();
    let leaf = format!("{{ type: object, properties: {{ {} }} }}", leaf.join(", "));
    let parts: Vec<String> = (0..10).map(|n| format!("p{n}: {leaf}")).collect();
    let schema = format!(
        "{{ type: object, properties: {{ a: {{ type: object, properties: {{ {} }} }}, z: {{ type: string }} }} }}",
        parts.join(", ")
    );
    let Shape::Record(record) = shape(&schema) else {
        panic!("no record");
    };
    let Shape::Record(a) = &record.members["a"].shape else {
        panic!("no record");
    };
    // 600 members at the third level are too many; those of the levels above are all there.
    assert_eq!(record.members["z"].shape, Shape::String);
    assert!(
        a.members
            .values()
            .all(|member| member.shape == Shape::Opaque)
    );
}

// Documents refer in chains that are longer than a stack.
#[test]
fn long_chains_of_references_are_followed() {
    let mut schemas = String::new();
    for n in 0..5000 {
        schemas += &format!(
            "S{n}: {{ type: object, properties: {{ v: {{ type: integer }}, n: {{ $ref: '#/$defs/S{}' }} }} }}, ",
            n + 1
        );
    }
    let schema =
        format!("{{ $ref: '#/$defs/S0', $defs: {{ {schemas} S5000: {{ type: string }} }} }}");
    let catalogue = with(&schema);
    let deep = format!("{}{}{}", r#"{"n":"#.repeat(60), "{}", "}".repeat(60));
    assert!(takes(&catalogue, &deep));
    let wrong = format!(
        "{}{}{}",
        r#"{"n":"#.repeat(60),
        r#"{"v":"x"}"#,
        "}".repeat(60)
    );
    assert!(!takes(&catalogue, &wrong));
}
